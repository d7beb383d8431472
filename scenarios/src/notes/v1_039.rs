//! Synapse 1.39.0.

use harness::prelude::*;

notes!("1.39.0": third_party_rules_interface_deprecated);

/// Third-party rules become modules like any other. A module with the old interface goes on, and nothing is said of its age; but
/// until 1.47.0 an event passes when the module fails to judge it.
///
/// Upstream: PR 10386.
fn third_party_rules_interface_deprecated() -> Scenario {
    let accepted = |text: &str| json!({ "status": 200, "error": null, "sent": text });
    let refused_event = || json!({ "status": 403, "errcode": "M_FORBIDDEN", "error": "This event is not allowed in this context", "sent": null });
    let failed = || json!({ "status": 500, "errcode": "M_UNKNOWN", "error": "Internal server error", "sent": null });
    let refused_room =
        |errcode: &str, text: &str| json!({ "status": 403, "body": { "errcode": errcode, "error": text } });
    let room = |topic: &str| post("/_matrix/client/r0/createRoom", json!({ "topic": topic })).by("alice");
    let words = || json!({ "forbidden": "forbid" });
    let new = move || json!({ "modules": [{ "module": "rules.New", "config": words() }] });
    let failing = "a message that the module fails to judge";
    let forbidden_room = "a room that is forbidden";
    Scenario::for_note("Deprecation of the current third-party rules module interface")
        .disagreement(
            "the old interface is to be removed in September 2021",
            "1.53.0, of February 2022, still loads such a module",
        )
        .hop("1.38.1", "1.39.0")
        .module("rules", RULES)
        .fact("a message", message("hello"))
        .always(accepted("hello"))
        .fact("a message that is forbidden", message("forbid"))
        .always(refused_event())
        .fact("a message that the state of its room forbids", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let locked = alice.create_room(&json!({ "name": "locked" })).await?;
            Ok(alice.say(&locked, "hello").await?.refusal())
        })
        .always(refusal(403, "M_FORBIDDEN", "This event is not allowed in this context"))
        .fact("a message that is replaced", message("replace"))
        .always(accepted("replaced"))
        .fact("a room that is allowed", room("allowed"))
        .always(status(200))
        .fact("publishing a room", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let path = format!("/_matrix/client/r0/directory/list/room/{}", alice.room("room", &json!({})).await?);
            Ok(alice.put(&path, &json!({ "visibility": "public" })).await?.refusal())
        })
        .always(refusal(403, "M_UNKNOWN", "Not allowed to publish room"))
        .fact("publishing a room whose state allows it", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let room = alice.create_room(&json!({ "name": "for all" })).await?;
            let path = format!("/_matrix/client/r0/directory/list/room/{room}");
            Ok(alice.put(&path, &json!({ "visibility": "public" })).await?.refusal())
        })
        .until("1.126.0", status(200))
        // Nobody may publish any room by default since then.
        .since("1.126.0", refusal(403, "M_UNKNOWN", "Not allowed to publish room"))
        .fact("inviting an address", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let path = format!("/_matrix/client/r0/rooms/{}/invite", alice.room("room", &json!({})).await?);
            let address = json!({ "medium": "email", "address": "a@example.test", "id_server": "is.test", "id_access_token": "t" });
            Ok(alice.post(&path, &address).await?.refusal())
        })
        .always(refusal(403, "M_FORBIDDEN", "This third-party identifier can not be invited in this room"))
        .begin_variant("the old interface")
        .then("1.46.0")
        .then("1.47.0")
        .then("1.53.0")
        .fact("what the server prints", printed())
        .always("")
        .fact("deprecations logged", log_lines("eprecat"))
        .always(json!([]))
        .config(json!({ "third_party_event_rules": { "module": "rules.Old", "config": words() } }))
        .log_error("Failed handle request via 'RoomSendEventRestServlet'")
        .fact(failing, message("fail"))
        .changes(failed(), accepted("fail"))
        .since("1.47.0", failed())
        .fact("what is logged of it", log_lines("Failed to run module API callback"))
        .changes(json!([]), json!([contains("cannot say")]))
        .since("1.47.0", json!([]))
        .fact(forbidden_room, room("forbidden").body())
        .changes(refused_room("M_FORBIDDEN", "You are not permitted to create rooms"), refused_room("M_UNKNOWN", "Room creation forbidden with these parameters"))
        .begin_step("the module is ported")
        .change(move |deployment| {
            deployment.unset("third_party_event_rules").config(new());
        })
        .now(forbidden_room, refused_room("M_FORBIDDEN", "no such rooms here"))
        .begin_variant("the new interface")
        .config(new())
        .fact("start", start())
        .changes(refused("'ModuleApi' object has no attribute 'register_third_party_rules_callbacks'"), started())
        .fact(forbidden_room, room("forbidden").body())
        .always(refused_room("M_FORBIDDEN", "no such rooms here"))
}

/// The same rules with both interfaces.
const RULES: &str = r#"
from synapse.api.errors import SynapseError

class Rules:
    @staticmethod
    def parse_config(config):
        return config

    def allows(self, event, state):
        name = state.get(("m.room.name", ""))
        locked = event.type == "m.room.message" and name and name.content["name"] == "locked"
        return not locked and event.content.get("body") != self.words["forbidden"]

    def replacement(self, event):
        replacement = event.get_dict()
        replacement["content"] = {"msgtype": "m.text", "body": "replaced"}
        return replacement

    async def check_threepid_can_be_invited(self, medium, address, state):
        return False

    async def check_visibility_can_be_modified(self, room_id, state, visibility):
        name = state.get(("m.room.name", ""))
        return visibility != "public" or bool(name) and name.content["name"] == "for all"

class Old(Rules):
    def __init__(self, config, module_api):
        self.words = config

    async def check_event_allowed(self, event, state):
        body = event.content.get("body")
        if body == "fail":
            raise RuntimeError("cannot say")
        return self.replacement(event) if body == "replace" else self.allows(event, state)

    async def on_create_room(self, requester, config, is_requester_admin):
        return config.get("topic") != "forbidden"

class New(Rules):
    def __init__(self, config, api):
        self.words = config
        api.register_third_party_rules_callbacks(
            check_event_allowed=self.check_event_allowed,
            on_create_room=self.on_create_room,
            check_threepid_can_be_invited=self.check_threepid_can_be_invited,
            check_visibility_can_be_modified=self.check_visibility_can_be_modified,
        )

    async def check_event_allowed(self, event, state):
        body = event.content.get("body")
        if body == "fail":
            raise RuntimeError("cannot say")
        return (self.allows(event, state), self.replacement(event) if body == "replace" else None)

    async def on_create_room(self, requester, config, is_requester_admin):
        if config.get("topic") == "forbidden":
            raise SynapseError(403, "no such rooms here", "M_FORBIDDEN")
"#;

/// What becomes of a message, and what is in the room then.
fn message(text: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.create_room(&json!({})).await?;
        let answer = alice.say(&room, text).await?;
        let newest = alice.timeline(&room, 1).await?.pop().unwrap_or_default();
        let mut shown = answer.brief();
        shown["error"] = answer.json()?["error"].clone();
        shown["sent"] = newest["content"]["body"].clone();
        Ok(shown)
    })
}
