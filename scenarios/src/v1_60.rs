//! Synapse 1.60.0.

use harness::prelude::*;

notes!("1.60.0": check_event_for_spam);

/// The spam checker's `check_event_for_spam` answers `NOT_SPAM` or a code; the old booleans and texts still count.
///
/// The module under test answers what a message asks it to. That a callback which falls off its end now rejects is not
/// in the note.
fn check_event_for_spam() -> Scenario {
    let module = r#"
import synapse.module_api
import synapse.module_api.errors as errors

codes = getattr(errors, "Codes", None)
answers = {
    "False": False,
    "True": True,
    "None": None,
    "text": "no room for this",
    "NOT_SPAM": getattr(synapse.module_api, "NOT_SPAM", "there is no NOT_SPAM"),
    "FORBIDDEN": codes.FORBIDDEN if codes else "there are no Codes",
    "CONSENT_NOT_GIVEN": codes.CONSENT_NOT_GIVEN if codes else "there are no Codes",
}

class Checker:
    def __init__(self, config, api):
        api.register_spam_checker_callbacks(check_event_for_spam=self.check)

    async def check(self, event):
        body = event.content.get("body", "")
        if event.type != "m.room.message" or not body.startswith("answer "):
            return False
        return answers[body[len("answer "):]]
"#;
    let allowed = || json!({ "status": 200, "error": null });
    let rejected = |text: &str| json!({ "status": 403, "errcode": "M_FORBIDDEN", "error": text });
    let (old, new) = ("Spam is not permitted here", "This message has been rejected as probable spam");
    let no_codes = || rejected("there are no Codes");
    Scenario::for_note("New signature for the spam checker callback `check_event_for_spam`")
        .disagreement(
            "booleans and texts keep their meaning until they are removed",
            "a callback that returns None allowed the event until 1.59 and rejects it since 1.60",
        )
        .hop("1.59.0", "1.60.0")
        .module("spam", module)
        .config(json!({ "modules": [{ "module": "spam.Checker" }] }))
        .fact("NOT_SPAM", answer("NOT_SPAM"))
        .until("1.60.0", rejected("there is no NOT_SPAM"))
        .since("1.60.0", allowed())
        .fact("Codes.FORBIDDEN", answer("FORBIDDEN"))
        .until("1.60.0", no_codes())
        .since("1.60.0", rejected(new))
        .fact("Codes.CONSENT_NOT_GIVEN", answer("CONSENT_NOT_GIVEN"))
        .until("1.60.0", no_codes())
        .since("1.60.0", json!({ "status": 403, "errcode": "M_CONSENT_NOT_GIVEN", "error": new }))
        .fact("False", answer("False"))
        .always(allowed())
        .fact("True", answer("True"))
        .until("1.60.0", rejected(old))
        .since("1.60.0", rejected(new))
        .fact("a text", answer("text"))
        .always(rejected("no room for this"))
        .fact("None", answer("None"))
        .until("1.60.0", allowed())
        .since("1.60.0", rejected(new))
        .fact("what is logged of None", log_lines("Module returned invalid value"))
        .until("1.60.0", json!([]))
        .since("1.60.0", json!([contains("rejecting message as spam")]))
}

fn answer(kind: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let answer = alice.say(&room, &format!("answer {kind}")).await?;
        let mut shown = answer.brief();
        shown["error"] = answer.json()?["error"].clone();
        Ok(shown)
    })
}
