//! Synapse 1.60.0.

use harness::{health, prelude::*};

notes!("1.60.0": state_group_edges_index, check_event_for_spam);

const UPDATE: &str = "state_group_edges_unique_idx";

/// Each edge between two groups of state is in the database once. Where one is there twice, a background update fails until the
/// operator has deleted it as upstream's text says; the server serves on.
///
/// Upstream: PR 12687.
fn state_group_edges_index() -> Scenario {
    let twice = "INSERT INTO state_group_edges SELECT * FROM state_group_edges LIMIT 1";
    let delete = |row: &str, alias: &str| {
        format!(
            "DELETE FROM state_group_edges WHERE ({row}, state_group, prev_state_group) IN ( SELECT row_id, state_group, \
             prev_state_group FROM ( SELECT {row} AS row_id, MIN({row}) OVER (PARTITION BY state_group, prev_state_group) AS \
             min_row_id, state_group, prev_state_group FROM state_group_edges ) {alias} WHERE row_id <> min_row_id )"
        )
    };
    let indexes = per_database(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'state_group_edges' ORDER BY name",
        "SELECT indexname::text AS name FROM pg_indexes WHERE tablename = 'state_group_edges' ORDER BY indexname",
    );
    let named = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Value>();
    let old = || named(&["state_group_edges_idx", "state_group_edges_prev_idx"]);
    let new = || named(&["state_group_edges_prev_idx", UPDATE]);
    // PostgreSQL keeps what has become of the new one.
    let unfinished = named(&["state_group_edges_idx", "state_group_edges_prev_idx", UPDATE]);
    let once = || {
        per_database(
            contains("UNIQUE constraint failed: state_group_edges.state_group, state_group_edges.prev_state_group"),
            contains("duplicate key value violates unique constraint \"state_group_edges_unique_idx\""),
        )
    };
    let failure = per_database(
        contains("UNIQUE constraint failed: state_group_edges.state_group, state_group_edges.prev_state_group"),
        contains("could not create unique index \"state_group_edges_unique_idx\""),
    );
    Scenario::for_note("Adding a new unique index to `state_group_edges` could fail if your database is corrupted")
        .every_variant()
        .hop("1.59.0", "1.60.0")
        .seed(|hs| async move { hs.user("alice").await?.room("room", &json!({})).await.map(drop) })
        .fact("indexes", sql(indexes).once_updated())
        .changes(old(), new())
        .variant("each edge once", |it| {
            it.alone("in the other one is there twice")
                .step("an edge, a second time", |it| it.sql("adding it", twice, once()))
        })
        .variant("an edge twice", |it| {
            it.alone("in the other each is there once")
                .waits("the server tries five times before it gives up")
                .sql("adding an edge a second time, on 1.59.0", twice, "done")
                .now("indexes", per_database(old(), unfinished))
                .health(health::BACKGROUND_UPDATES, json!([UPDATE]))
                .health(health::INTEGRITY, per_database("sound", json!({ "invalid indexes": [{ "name": UPDATE }] })))
                .log_error("Error doing update|5 back-to-back background update failures")
                .fact("the failure that is logged", failures())
                .changes(json!([]), json!([failure]))
                .step("the row is deleted", |it| {
                    it.sql("deleting it", per_database(delete("rowid", ""), delete("ctid", "AS t1")), "done")
                        .now("indexes", new())
                        .now("the failure that is logged", json!([]))
                })
        })
}

/// Why the update fails, each reason once.
fn failures() -> Probe {
    Probe::from(|hs: Live| async move {
        let mut reasons: Vec<_> =
            [hs.log_lines("IntegrityError: ").await?, hs.log_lines("UniqueViolation: ").await?].concat();
        reasons.sort();
        reasons.dedup();
        Ok(json!(reasons))
    })
    .once_updated()
}

/// The spam checker's `check_event_for_spam` answers `NOT_SPAM` or a code; the old booleans and texts still count.
///
/// The module under test answers what a message asks it to, behind one that is content with all. That a callback which
/// falls off its end now rejects is not in the note.
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

class Content:
    def __init__(self, config, api):
        api.register_spam_checker_callbacks(check_event_for_spam=self.check)

    async def check(self, event):
        return False

class Checker:
    def __init__(self, config, api):
        api.register_spam_checker_callbacks(check_event_for_spam=self.check)

    async def check(self, event):
        body = event.content.get("body", "")
        if event.type != "m.room.message" or not body.startswith("answer "):
            return False
        return answers[body[len("answer "):]]
"#;
    let allowed = || json!({ "answer": status(200), "in the room": true });
    let rejected_as =
        |errcode: &str, text: &str| json!({ "answer": refusal(403, errcode, text), "in the room": false });
    let rejected = |text: &str| rejected_as("M_FORBIDDEN", text);
    let (old, new) = ("Spam is not permitted here", "This message has been rejected as probable spam");
    let no_codes = || rejected("there are no Codes");
    Scenario::for_note("New signature for the spam checker callback `check_event_for_spam`")
        .disagreement(
            "booleans and texts keep their meaning until they are removed",
            "a callback that returns None allowed the event until 1.59 and rejects it since 1.60",
        )
        .hop("1.59.0", "1.60.0")
        .module("spam", module)
        .config(json!({ "modules": [{ "module": "spam.Content" }, { "module": "spam.Checker" }] }))
        .peer("peer.test", json!({}))
        .fact("NOT_SPAM", answer("NOT_SPAM"))
        .changes(rejected("there is no NOT_SPAM"), allowed())
        .fact("Codes.FORBIDDEN", answer("FORBIDDEN"))
        .changes(no_codes(), rejected(new))
        .fact("Codes.CONSENT_NOT_GIVEN", answer("CONSENT_NOT_GIVEN"))
        .changes(no_codes(), rejected_as("M_CONSENT_NOT_GIVEN", new))
        .fact("NOT_SPAM, of another server's message", seen_from_elsewhere("NOT_SPAM"))
        .changes(false, true)
        .fact("Codes.CONSENT_NOT_GIVEN, of another server's message", seen_from_elsewhere("CONSENT_NOT_GIVEN"))
        .always(false)
        .fact("a text, of another server's message", seen_from_elsewhere("text"))
        .always(false)
        .fact("False", answer("False"))
        .always(allowed())
        .fact("True", answer("True"))
        .changes(rejected(old), rejected(new))
        .fact("a text", answer("text"))
        .always(rejected("no room for this"))
        .fact("None", answer("None"))
        .changes(allowed(), rejected(new))
        .fact("what is logged of None", log_lines("Module returned invalid value"))
        .changes(json!([]), json!([matches("WARNING - Module returned invalid value, rejecting message as spam$")]))
}

/// What becomes of a message of which the module says this: the answer, and whether others in the room see it.
fn answer(kind: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
        let room = alice.room("room", &json!({ "preset": "public_chat" })).await?;
        bob.join(&room).await?;
        let text = format!("answer {kind}");
        // On each leg anew.
        let before = bob.timeline(&room, 100).await?.len();
        let answer = alice.say(&room, &text).await?;
        let seen = bob.timeline(&room, 100).await?;
        let there = seen.iter().skip(before).any(|event| event["content"]["body"] == text.as_str());
        Ok(json!({ "answer": answer.refusal(), "in the room": there }))
    })
}

/// Does Alice see a message from another server of which the module says this?
fn seen_from_elsewhere(kind: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (alice, carol) = (hs.user("alice").await?, hs.peer("peer.test")?.user("carol").await?);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await?;
        let joining = format!("/_matrix/client/v3/join/{}?server_name=hs.test", escape(&room));
        carol.post(&joining, &json!({})).await?.ok()?;
        let (text, last) = (format!("answer {kind}"), "that is all");
        carol.say(&room, &text).await?.ok()?;
        carol.say(&room, last).await?.ok()?;
        let is_there = |events: &[Value], text: &str| events.iter().any(|event| event["content"]["body"] == text);
        let events = eventually(|| alice.timeline(&room, 100), |events| is_there(events, last)).await?;
        // Nothing is known of it where not even the last has come.
        Ok(json!(is_there(&events, last).then(|| is_there(&events, &text))))
    })
}
