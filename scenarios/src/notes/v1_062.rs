//! Synapse 1.62.0.

use harness::prelude::*;

notes!("1.62.0": spam_checker_callbacks);

/// What the module's callbacks say, which asks a file: by default that all may go on.
const MODULE: &str = r#"
import json
import synapse.module_api
from synapse.module_api.errors import Codes

ANSWERS = {
    "False": False, "True": True, "None": None, "NOT_SPAM": synapse.module_api.NOT_SPAM, "a code": Codes.LIMIT_EXCEEDED,
}
MAY = [
    "user_may_join_room", "user_may_invite", "user_may_send_3pid_invite", "user_may_create_room",
    "user_may_create_room_alias", "user_may_publish_room",
]

class Checker:
    def __init__(self, config, api):
        # Who is asked first lets all pass, and keeps nobody from being asked next.
        for kind in (self.content, self.callback):
            callbacks = {name: kind(name, True) for name in MAY}
            callbacks["check_media_file_for_spam"] = kind("check_media_file_for_spam", False)
            api.register_spam_checker_callbacks(**callbacks)

    def content(self, name, otherwise):
        async def answer(*_):
            return otherwise
        return answer

    def callback(self, name, otherwise):
        async def answer(*_):
            try:
                with open("/tmp/answers") as answers:
                    return ANSWERS[json.load(answers)[name]]
            except (FileNotFoundError, KeyError):
                return otherwise
        return answer
"#;

/// Seven callbacks of the spam checker answer `NOT_SPAM` or a code. Before, both let everything pass, but for media, which
/// both held up.
///
/// Upstream: PRs 12846, 12857, 12894. That None now means no is not in the note, and what code a media file was refused
/// with is not passed on.
fn spam_checker_callbacks() -> Scenario {
    let may = |done: Value, before: Value, after: fn(&str) -> Value| {
        let all = |no: Value, none: Value, code: Value| json!({ "True": done, "NOT_SPAM": done, "False": no, "None": none, "a code": code });
        (
            all(before, done.clone(), done.clone()),
            all(after("M_FORBIDDEN"), after("M_FORBIDDEN"), after("M_LIMIT_EXCEEDED")),
        )
    };
    let no_join = |code: &str| refusal(403, code, "Not allowed to join this room");
    let no_invite = |code: &str| refusal(403, code, "Invites have been disabled on this server");
    let no_foreign_invite =
        |code: &str| refusal(403, code, "This user is not permitted to send invites to this server/user");
    let no_mail = |code: &str| refusal(403, code, "Cannot send threepid invite");
    let no_room = |code: &str| refusal(403, code, "You are not permitted to create rooms");
    let no_alias = |code: &str| refusal(403, code, "This user is not permitted to create this alias");
    let no_list = |code: &str| refusal(403, code, "This user is not permitted to publish rooms to the room list");
    let joins = may(status(200), no_join("M_UNKNOWN"), no_join);
    let invites = may(status(200), no_invite("M_UNKNOWN"), no_invite);
    let foreign_invites = may(status(200), no_foreign_invite("M_UNKNOWN"), no_foreign_invite);
    // Permitted, to an identity server that is not there.
    let nobody = refusal(500, "M_UNKNOWN", "Internal server error");
    let mails = may(nobody, no_mail("M_UNKNOWN"), no_mail);
    let rooms = may(status(200), no_room("M_FORBIDDEN"), no_room);
    let aliases = may(status(200), no_alias("M_FORBIDDEN"), no_alias);
    let lists = may(status(200), no_list("M_FORBIDDEN"), no_list);
    // Without a rule that allows it nobody may, since #18175.
    let unlisted = may(refusal(403, "M_UNKNOWN", "Not allowed to publish room"), no_list("M_FORBIDDEN"), no_list);
    let bad = || refusal(400, "M_UNKNOWN", "Bad content");
    Scenario::for_note("New signatures for spam checker callbacks")
        .disagreement(
            "a code tells the user why, for all of these callbacks",
            "who uploads a file that `check_media_file_for_spam` refuses gets M_UNKNOWN, whatever the code",
        )
        .hop("1.61.0", "1.62.0")
        .peer("peer.test", json!({}))
        .alone("its module refuses what others do")
        .module("spam", MODULE)
        .log_error("Failed handle request via 'RoomMembershipRestServlet'")
        .config(json!({ "modules": [{ "module": "spam.Checker" }] }))
        .fact("user_may_join_room", each("user_may_join_room"))
        .changes(joins.0, joins.1)
        .fact("user_may_invite", each("user_may_invite"))
        .changes(invites.0, invites.1)
        .fact("user_may_invite, from another server", each("user_may_invite, from another server"))
        .changes(foreign_invites.0, foreign_invites.1)
        .fact("user_may_send_3pid_invite", each("user_may_send_3pid_invite"))
        .changes(mails.0, mails.1)
        .fact("user_may_create_room", each("user_may_create_room"))
        .changes(rooms.0.clone(), rooms.1.clone())
        .fact("user_may_create_room, in place of another", each("user_may_create_room, in place of another"))
        .changes(rooms.0, rooms.1)
        .fact("user_may_create_room_alias", each("user_may_create_room_alias"))
        .changes(aliases.0, aliases.1)
        .fact("user_may_publish_room", each("user_may_publish_room"))
        .changes(lists.0, lists.1)
        .since("1.126.0", unlisted.1)
        .fact("check_media_file_for_spam", each("check_media_file_for_spam"))
        .changes(
            json!({ "False": status(200), "None": status(200), "True": bad(), "NOT_SPAM": bad(), "a code": bad() }),
            json!({ "False": status(200), "NOT_SPAM": status(200), "True": bad(), "None": bad(), "a code": bad() }),
        )
        .fact("what is logged of None", log_lines("Module returned invalid value"))
        .changes(json!([]), {
            let of =
                |what: &str| matches(&format!("WARNING - Module returned invalid value, rejecting {what} as spam$"));
            json!([
                of("join"),
                of("invite"),
                of("invite"),
                of("3pid invite"),
                of("room creation"),
                of("room creation"),
                of("room create"),
                of("room publication"),
                of("media file"),
            ])
        })
}

/// What is answered to Bob, or to who invites him, by what the callback says that is asked about this.
fn each(deed: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut answers = serde_json::Map::new();
        for says in ["True", "NOT_SPAM", "False", "None", "a code"] {
            answers.insert(says.to_owned(), attempt(&hs, deed, says).await?);
        }
        Ok(Value::Object(answers))
    })
}

async fn attempt(hs: &Live, deed: &str, says: &str) -> Result<Value> {
    let callback = deed.split(',').next().unwrap_or(deed);
    let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
    let public = alice.create_room(&json!({ "preset": "public_chat" })).await?;
    let own = bob.create_room(&json!({})).await?;
    let room = format!("/_matrix/client/v3/rooms/{}", escape(&own));
    let say = async |answers: Value| hs.exec(&["sh", "-c", &format!("echo '{answers}' > /tmp/answers")]).await?.ok();
    say(json!({ (callback): says })).await?;
    let answer = match deed {
        "user_may_join_room" => bob.post(&format!("/_matrix/client/v3/join/{}", escape(&public)), &json!({})),
        "user_may_invite" => bob.post(&format!("{room}/invite"), &json!({ "user_id": alice.id() })),
        "user_may_invite, from another server" => {
            let carol = hs.peer("peer.test")?.user("carol").await?;
            let theirs = carol.create_room(&json!({})).await?;
            let path = format!("/_matrix/client/v3/rooms/{}/invite", escape(&theirs));
            carol.post(&path, &json!({ "user_id": bob.id() }))
        }
        "user_may_send_3pid_invite" => {
            let whom = json!({
                "medium": "email", "address": "carol@example.test", "id_server": "127.0.0.1:1", "id_access_token": "token",
            });
            bob.post(&format!("{room}/invite"), &whom)
        }
        "user_may_create_room" => bob.post("/_matrix/client/v3/createRoom", &json!({})),
        "user_may_create_room, in place of another" => {
            bob.post(&format!("{room}/upgrade"), &json!({ "new_version": "9" }))
        }
        "user_may_create_room_alias" => {
            let alias = escape(&format!("#{}:hs.test", hs.unique("alias")));
            bob.put(&format!("/_matrix/client/v3/directory/room/{alias}"), &json!({ "room_id": own }))
        }
        "user_may_publish_room" => bob.put(
            &format!("/_matrix/client/v3/directory/list/room/{}", escape(&own)),
            &json!({ "visibility": "public" }),
        ),
        _ => bob.request(harness::Method::POST, "/_matrix/media/v3/upload").body("text/plain", b"a file".to_vec()),
    };
    let answer = answer.await?.refusal();
    say(json!({})).await?;
    Ok(answer)
}
