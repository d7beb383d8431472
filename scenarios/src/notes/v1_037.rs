//! Synapse 1.37.0.

use harness::prelude::*;

use crate::kit::settings::said_of;

notes!("1.37.0": spam_checker_interface_deprecated);

/// Spam checkers become modules like any other. One with the old interface goes on, with a warning; it need no longer have every
/// method, and what it says of a message reaches the sender.
///
/// Upstream: PRs 10062, 10210, 10238.
fn spam_checker_interface_deprecated() -> Scenario {
    let module = |class: &str| json!({ "module": format!("spam.{class}"), "config": { "worse": "no room for this" } });
    let old = |class: &str| json!({ "spam_checker": [module(class)] });
    let new = || json!({ "modules": [module("New")] });
    let accepted = || json!({ "status": 200, "error": null });
    let refused = |text: &str| json!({ "status": 403, "errcode": "M_FORBIDDEN", "error": text });
    let fixed_text = "Spam is not permitted here";
    // Since #12808.
    let later_text = "This message has been rejected as probable spam";
    let prints = "what the server prints";
    let warning =
        "This server is using a spam checker module that is implementing the deprecated spam checker interface.";
    Scenario::for_note("Deprecation of the current spam checker interface")
        .disagreement(
            "the old interface is to be removed in August 2021",
            "1.53.0, of February 2022, still loads such a module",
        )
        .hop("1.36.0", "1.37.1")
        .config(json!({
            "enable_registration": true,
            // Asked for since 1.56.0.
            "enable_registration_without_verification": true,
            "user_directory": { "search_all_users": true },
        }))
        .module("spam", SPAM)
        .variant("the old interface", |it| {
            it.then("1.53.0")
                .config(old("Old"))
                .fact("no spam", message("hello"))
                .always(accepted())
                .fact("spam", message("spam"))
                .until("1.60.0", refused(fixed_text))
                .since("1.60.0", refused(later_text))
                .fact("spam of which the module says something", message("worse"))
                .changes(refused(fixed_text), refused("no room for this"))
                .fact("what else a module may refuse", else_refused())
                .always(all_refused())
                .fact(prints, printed())
                .changes("", contains(warning))
                .step("the module is ported", |it| it.unset("spam_checker").reconfigure(new()).now(prints, ""))
        })
        .variant("the old interface, one method of it", |it| {
            it.without_estate("no room can be made before")
                .config(old("Bare"))
                .log_error("Failed handle request via 'RoomCreateRestServlet'")
                .fact("a new room", post("/_matrix/client/r0/createRoom", json!({})).by("alice"))
                .changes(error(500, "M_UNKNOWN"), status(200))
        })
        .variant("the new interface", |it| {
            it.config(new())
                .fact("no spam", message("hello"))
                .always(accepted())
                .fact("spam", message("spam"))
                .changes(accepted(), refused(fixed_text))
                .since("1.60.0", refused(later_text))
                .fact("spam of which the module says something", message("worse"))
                .changes(accepted(), refused("no room for this"))
                .fact("what else a module may refuse", else_refused())
                .changes(nothing_refused(), all_refused())
                .fact("a page of the module's own", get("/_spam").body())
                .changes(
                    json!({ "status": 404, "body": anything() }),
                    json!({ "status": 200, "body": "no room for this" }),
                )
                .fact(
                    "what is said to a setting that is no list of modules",
                    said_of(&json!([
                        { "modules": ["spam.New"] },
                        { "spam_checker": ["spam.Old"] },
                        { "spam_checker": "spam.Old" },
                        { "spam_checker": module("Old") },
                    ])),
                )
                .changes(
                    json!([null, "expected a mapping", "spam_checker syntax is incorrect", null]),
                    json!(["expected a mapping", "expected a mapping", "spam_checker syntax is incorrect", null]),
                )
                .fact(prints, printed())
                .always("")
        })
}

/// The same rules with both interfaces.
const SPAM: &str = r#"
import inspect, io
from synapse.spam_checker_api import RegistrationBehaviour
from twisted.web.resource import Resource

class Bare:
    def __init__(self, config):
        self.words = config

    @staticmethod
    def parse_config(config):
        return config

    def check_event_for_spam(self, event):
        return {"spam": True, "worse": self.words.get("worse")}.get(event.content.get("body"), False)

class Old(Bare):
    def __init__(self, config, api):
        super().__init__(config)

    def user_may_invite(self, inviter, invitee, room_id):
        return not invitee.startswith("@mallory")

    def user_may_create_room(self, user):
        return not user.startswith("@mallory")

    def user_may_create_room_alias(self, user, alias):
        return not alias.localpart.startswith("forbidden")

    def user_may_publish_room(self, user, room_id):
        return not user.startswith("@shy")

    def check_username_for_spam(self, profile):
        return profile["display_name"] == "unwanted"

    def check_registration_for_spam(self, email, name, requests):
        unwanted = name and name.startswith("unwanted")
        return RegistrationBehaviour.DENY if unwanted else RegistrationBehaviour.ALLOW

    async def check_media_file_for_spam(self, file, info):
        content = io.BytesIO()
        await file.write_chunks_to(content.write)
        return content.getvalue() == b"unwanted"

class Page(Resource):
    isLeaf = True

    def __init__(self, text):
        super().__init__()
        self.text = text

    def render_GET(self, request):
        return self.text.encode()

def later(method):
    async def callback(*arguments):
        result = method(*arguments)
        return await result if inspect.isawaitable(result) else result

    return callback

class New(Old):
    def __init__(self, config, api):
        super().__init__(config, api)
        names = [name for name in dir(Old) if name.startswith(("check_", "user_"))]
        api.register_spam_checker_callbacks(**{name: later(getattr(self, name)) for name in names})
        api.register_web_resource("/_spam", Page(config["worse"]))

    def check_registration_for_spam(self, email, name, requests, provider):
        return super().check_registration_for_spam(email, name, requests)
"#;

/// What becomes of a message.
fn message(text: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let answer = alice.say(&room, text).await?;
        let mut shown = answer.brief();
        shown["error"] = answer.json()?["error"].clone();
        Ok(shown)
    })
}

/// What becomes of other things that the module forbids.
fn else_refused() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, mallory, shy) = (hs.user("alice").await?, hs.user("mallory").await?, hs.user("shy").await?);
        // Before they make rooms: of who joins one the directory learns behind the answer, and puts the name of then
        // over a newer one.
        for (somebody, name) in [(&shy, "welcome"), (&mallory, "unwanted")] {
            let profile = format!("/_matrix/client/r0/profile/{}/displayname", somebody.id());
            somebody.put(&profile, &json!({ "displayname": name })).await?.ok()?;
        }
        let (room, shys) = (alice.create_room(&json!({})).await?, shy.create_room(&json!({})).await?);
        let escaped = escape(&room);
        let invitation = json!({ "user_id": mallory.id() });
        let invited = alice.post(&format!("/_matrix/client/r0/rooms/{escaped}/invite"), &invitation).await?;
        let made = mallory.post("/_matrix/client/r0/createRoom", &json!({})).await?;
        let alias = escape(&format!("#{}:hs.test", hs.unique("forbidden")));
        let named = json!({ "room_id": room });
        let named = alice.put(&format!("/_matrix/client/r0/directory/room/{alias}"), &named).await?;
        let public = json!({ "visibility": "public" });
        let published = shy.put(&format!("/_matrix/client/r0/directory/list/room/{}", escape(&shys)), &public).await?;
        let account = json!({
            "username": hs.unique("unwanted"),
            "password": "Pa55w0rd!",
            "auth": { "type": "m.login.dummy" },
        });
        let registration = hs.anonymous().post("/_matrix/client/r0/register", &account).await?;
        let upload = alice.request(harness::Method::POST, "/_matrix/media/r0/upload");
        let uploaded = upload.body("text/plain", b"unwanted".to_vec()).await?;
        let mut found = json!({});
        for (somebody, name) in [(&shy, "welcome"), (&mallory, "unwanted")] {
            let search = json!({ "search_term": name });
            let answer = alice.post("/_matrix/client/r0/user_directory/search", &search).await?.ok()?.json()?;
            found[name] =
                json!(answer["results"].as_array().into_iter().flatten().any(|it| it["user_id"] == somebody.id()));
        }
        let shown = |answer: &harness::Answer| -> Result<Value> {
            Ok(json!({ "status": answer.status(), "error": answer.json()?["error"] }))
        };
        let membership = format!("/_matrix/client/r0/rooms/{escaped}/state/m.room.member/{}", escape(mallory.id()));
        Ok(json!({
            "an invitation": shown(&invited)?,
            "mallory's membership": alice.get(&membership).await?.json()?["membership"],
            "a room of mallory's": shown(&made)?,
            "an alias": shown(&named)?,
            "publishing a room": shown(&published)?,
            "a registration": shown(&registration)?,
            "a file": shown(&uploaded)?,
            "found in the directory": found,
        }))
    })
    // One that makes the directory anew finds nobody for a while.
    .once_updated()
}

fn all_refused() -> Value {
    let refused = |text: &str| json!({ "status": 403, "error": text });
    json!({
        "an invitation": refused("Invites have been disabled on this server"),
        "mallory's membership": null,
        "a room of mallory's": refused("You are not permitted to create rooms"),
        "an alias": refused("This user is not permitted to create this alias"),
        "publishing a room": refused("This user is not permitted to publish rooms to the room list"),
        // So that whoever is refused cannot tell.
        "a registration": { "status": 429, "error": "Rate limited" },
        "a file": { "status": 400, "error": "Bad content" },
        "found in the directory": { "welcome": true, "unwanted": false },
    })
}

fn nothing_refused() -> Value {
    let done = || json!({ "status": 200, "error": null });
    json!({
        "an invitation": done(),
        "mallory's membership": "invite",
        "a room of mallory's": done(),
        "an alias": done(),
        "publishing a room": done(),
        "a registration": done(),
        "a file": done(),
        "found in the directory": { "welcome": true, "unwanted": true },
    })
}
