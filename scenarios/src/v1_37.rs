//! Synapse 1.37.0.

use harness::prelude::*;

notes!("1.37.0": spam_checker_interface_deprecated);

/// Spam checkers become modules like any other. One with the old interface goes on, with a warning; it need no longer have every
/// method, and what it says of a message reaches the sender.
///
/// Upstream: PRs 10062, 10210, 10238.
fn spam_checker_interface_deprecated() -> Scenario {
    let module = r#"
class Checker:
    @staticmethod
    def parse_config(config):
        return config

    def verdict(self, event):
        return {"spam": True, "worse": "no room for this"}.get(event.content.get("body"), False)

class Bare(Checker):
    def __init__(self, config):
        pass

    def check_event_for_spam(self, event):
        return self.verdict(event)

class Old(Bare):
    def allow(self, *arguments):
        return True

    user_may_invite = user_may_create_room = user_may_create_room_alias = user_may_publish_room = allow

class New(Checker):
    def __init__(self, config, api):
        api.register_spam_checker_callbacks(check_event_for_spam=self.check)

    async def check(self, event):
        return self.verdict(event)
"#;
    let old = |class: &str| json!({ "spam_checker": [{ "module": format!("spam.{class}") }] });
    let new = json!({ "modules": [{ "module": "spam.New" }] });
    let accepted = || json!({ "status": 200, "error": null });
    let refused = |text: &str| json!({ "status": 403, "errcode": "M_FORBIDDEN", "error": text });
    let fixed_text = "Spam is not permitted here";
    let prints = "what the server prints";
    let warning =
        "This server is using a spam checker module that is implementing the deprecated spam checker interface.";
    Scenario::for_note("Deprecation of the current spam checker interface")
        .disagreement(
            "the old interface is to be removed in August 2021",
            "1.53.0, of February 2022, still loads such a module",
        )
        .hop("1.36.0", "1.37.1")
        .module("spam", module)
        .variant("the old interface")
        .then("1.53.0")
        .config(old("Old"))
        .fact("no spam", message("hello"))
        .always(accepted())
        .fact("spam", message("spam"))
        .always(refused(fixed_text))
        .fact("spam of which the module says something", message("worse"))
        .until("1.37.0", refused(fixed_text))
        .since("1.37.0", refused("no room for this"))
        .fact(prints, printed())
        .until("1.37.0", "")
        .since("1.37.0", contains(warning))
        .step("the module is ported")
        .change({
            let new = new.clone();
            move |deployment| {
                deployment.unset("spam_checker").config(new.clone());
            }
        })
        .now(prints, "")
        .variant("the old interface, one method of it")
        .without_estate("no room can be made before")
        .config(old("Bare"))
        .log_error("Failed handle request via 'RoomCreateRestServlet'")
        .fact("a new room", post("/_matrix/client/r0/createRoom", json!({})).by("alice"))
        .until("1.37.0", error(500, "M_UNKNOWN"))
        .since("1.37.0", status(200))
        .variant("the new interface")
        .config(new)
        .fact("no spam", message("hello"))
        .always(accepted())
        .fact("spam", message("spam"))
        .until("1.37.0", accepted())
        .since("1.37.0", refused(fixed_text))
        .fact("spam of which the module says something", message("worse"))
        .until("1.37.0", accepted())
        .since("1.37.0", refused("no room for this"))
        .fact(prints, printed())
        .always("")
}

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
