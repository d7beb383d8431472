"""What an operator's homeserver asks before it lets people do things, by the interfaces that such modules had first."""

import asyncio

from twisted.internet import defer

TOLD = "/data/told_of_logouts"


def soon(value):
    return defer.ensureDeferred(value) if asyncio.iscoroutine(value) else value


def told(by, user):
    with open(TOLD, "a") as file:
        file.write("%s %s\n" % (by, user))


class Module(object):
    @staticmethod
    def parse_config(config):
        return config


class People(Module):
    """Knows people by a word that is no password of theirs, as a directory does, and makes whoever is new."""

    def __init__(self, config, account_handler):
        self.word, self.api = config["word"], account_handler

    @defer.inlineCallbacks
    def check_password(self, user_id, password):
        if password != self.word:
            return False
        if not (yield soon(self.api.check_user_exists(user_id))):
            yield soon(self.api.register(user_id[1:].split(":")[0]))
        return True

    @defer.inlineCallbacks
    def check_3pid_auth(self, medium, address, password):
        user_id = self.api.get_qualified_user_id(address.split("@")[0])
        return user_id if (yield self.check_password(user_id, password)) else None

    def on_logged_out(self, user_id, device_id, access_token):
        return defer.succeed(told("first", user_id))


class Later(Module):
    """Is told by the interface that came later, and takes its time."""

    def __init__(self, config, api):
        register = getattr(api, "register_password_auth_provider_callbacks", None)
        if register:
            register(on_logged_out=self.on_logged_out)

    async def on_logged_out(self, user_id, device_id, access_token):
        told("later", user_id)


class Wishes(Module):
    """What people may not do, and who is not shown."""

    def __init__(self, config):
        pass

    def check_event_for_spam(self, event):
        return event.content.get("body") == "unwanted"

    def user_may_invite(self, inviter, invitee, *room):
        return not invitee.startswith("@aloof")

    def user_may_create_room(self, user, *room):
        return not user.startswith("@homeless")

    def user_may_create_room_alias(self, user, alias):
        return "unwanted" not in str(alias)

    def user_may_publish_room(self, user, room):
        return True

    def check_username_for_spam(self, profile):
        return (profile.get("display_name") or "").startswith("Unwanted")

    def check_registration_for_spam(self, address, name, requests):
        from synapse.spam_checker_api import RegistrationBehaviour

        return RegistrationBehaviour.ALLOW

    @defer.inlineCallbacks
    def check_media_file_for_spam(self, file, info):
        parts = []
        yield soon(file.write_chunks_to(parts.append))
        return b"unwanted" in b"".join(parts)


class Rules(Module):
    """What may not be said, and what is said otherwise."""

    def __init__(self, config, **apis):
        pass

    def check_event_allowed(self, event, state):
        body = event.content.get("body")
        if body == "otherwise":
            replacement = event.get_dict()
            replacement["content"] = {"msgtype": "m.text", "body": "replaced"}
            return defer.succeed(replacement)
        return defer.succeed(body != "against the rules")

    def on_create_room(self, requester, config, is_requester_admin):
        return defer.succeed(config.get("topic") != "against the rules")

    def check_threepid_can_be_invited(self, medium, address, state):
        return defer.succeed(True)

    def check_visibility_can_be_modified(self, room_id, state, visibility):
        return defer.succeed(True)
