//! What a qualification comes to, and how it is told.

use reports::{
    Announced, Entry, Event, LegFinished, Outcome, Qualifies, Recording, Report, Terminal, TerminalOptions, WalkPlan,
    html, junit,
};
use serde_json::{Value, json};

use crate::fixture::{self, seen, trial};

const AGAINST: &str = "1.163.2";
const CANDIDATE: &str = "1.164.0rc1";

fn named(area: &str, outcome: Outcome, observed: Value) -> reports::TrialResult {
    let good = outcome == Outcome::Passed;
    let cell = if good { seen(observed) } else { fixture::differs(json!("as before"), observed) };
    let row = reports::FactRow { fact: "answers".into(), cells: vec![seen(json!([])), cell] };
    let table = reports::FactTable {
        variant: String::new(),
        walk: 0,
        legs: vec![AGAINST.into(), CANDIDATE.into()],
        facts: vec![row],
        health: Vec::new(),
        evidence: "walks/001".into(),
    };
    trial(&format!("qualify::{area}::sqlite"), fixture::note(CANDIDATE, "Users' data survives"), outcome, vec![table])
}

/// A run that holds a candidate to so many trials.
fn recording(trials: usize, results: Vec<reports::TrialResult>) -> Recording {
    recording_of(trials, results, Vec::new())
}

/// The same, of a candidate with these notes.
fn recording_of(trials: usize, results: Vec<reports::TrialResult>, notes: Vec<Announced>) -> Recording {
    let mut started = fixture::started(None);
    started.trials = results.iter().map(|result| result.trial.clone()).collect();
    started.images.clear();
    started.qualification = Some(Box::new(Qualifies {
        candidate: CANDIDATE.into(),
        against: AGAINST.into(),
        trials,
        ignored: 12,
        notes,
        notes_unread: None,
    }));
    started.walks = (0..3)
        .map(|walk| WalkPlan {
            walk,
            title: format!("sqlite: {AGAINST} > {CANDIDATE} > {AGAINST} > {CANDIDATE}"),
            legs: [AGAINST, CANDIDATE, AGAINST, CANDIDATE].map(str::to_owned).to_vec(),
            trials: started.trials.clone(),
            evidence: String::new(),
        })
        .collect();
    let mut events = vec![Event::RunStarted(started)];
    let mut at = 0.0;
    let mut entries = Vec::new();
    for walk in 0..3 {
        for leg in 0..4 {
            let slow = leg % 2 == 1;
            events.push(Event::LegReady { walk, leg, started: true, seconds: if slow { 6.0 } else { 3.0 } });
            events.push(Event::LegFinished(LegFinished {
                walk,
                leg,
                seconds: 20.0,
                homeserver_cpu_seconds: 5.0,
                memory_bytes: 100_000_000,
                database_bytes: 2_000_000,
                boots: 1,
                fingerprints: Vec::new(),
            }));
        }
    }
    events.extend(results.into_iter().map(|result| Event::TrialFinished(Box::new(result))));
    events.push(Event::RunFinished(reports::RunFinished::default()));
    for event in events {
        at += 10.0;
        entries.push(Entry { at, event });
    }
    Recording { entries, ..Recording::default() }
}

fn sentence(trials: usize, results: Vec<reports::TrialResult>) -> String {
    Report::new([recording(trials, results)]).qualification.map(|it| it.sentence).unwrap_or_default()
}

#[test]
fn the_sentence_says_what_may_be_said_and_no_more() {
    let passed = || named("survival::a", Outcome::Passed, json!("as before"));
    let changed = || named("changes::answers", Outcome::Passed, json!(["GET /x → y is new", "GET /x → z is gone"]));
    let sentences = [
        sentence(2, vec![passed(), changed()]),
        sentence(1, vec![passed()]),
        sentence(70, vec![passed()]),
        sentence(2, vec![passed(), named("back::b", Outcome::Failed, json!("less"))]),
        sentence(2, vec![passed(), named("back::b", Outcome::Errored, json!("less"))]),
        sentence(2, vec![passed(), named("notes::c", Outcome::Flaky, json!("less"))]),
        sentence(1, vec![named("notes::c", Outcome::NotRun, json!("less"))]),
    ];
    insta::assert_snapshot!(sentences.join("\n"));
}

#[test]
fn the_page_begins_with_the_sentence_and_what_broke() {
    let results = vec![
        named("survival::a", Outcome::Failed, json!("less")),
        named("changes::answers", Outcome::Passed, json!(["GET /x → y is new"])),
    ];
    let report = Report::new([recording(2, results)]);
    let page = html(&report);
    std::fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("qualification.html"), &page).unwrap();
    let places: Vec<usize> = [
        "must not be released",
        "What broke",
        "What changed without a note",
        ">Cost<",
        "Everything that was looked at",
    ]
    .map(|text| page[page.find("<body").unwrap()..].find(text).unwrap())
    .to_vec();
    assert!(places.is_sorted(), "{places:?}");
    insta::assert_json_snapshot!(report.qualification);
}

#[test]
fn junit_and_the_terminal_tell_it_too() {
    let results = vec![named("changes::answers", Outcome::Passed, json!(["GET /x → y is new"]))];
    let report = Report::new([recording(1, results)]);
    let sentence = &report.qualification.as_ref().unwrap().sentence;
    let xml = junit(&report);
    assert!(xml.contains(&format!("name=\"verdict\" value=\"{sentence}\"")), "{xml}");
    crate::junit::validate(&xml);
    let mut terminal = Terminal::new(Vec::new(), TerminalOptions::plain());
    terminal.summary(&report, &["report.html".to_owned()]).unwrap();
    let told = String::from_utf8(terminal.into_inner()).unwrap();
    assert_eq!(told.lines().last(), Some(sentence.as_str()));
    assert!(told.contains("changed answers: GET /x → y is new"), "{told}");
}

#[test]
fn what_every_database_shows_is_one_change() {
    let mut other = named("changes::answers", Outcome::Passed, json!(["GET /x → y is new", "and this"]));
    other.trial = other.trial.replace("sqlite", "postgres");
    other.database = "PostgreSQL".into();
    let results = vec![named("changes::answers", Outcome::Passed, json!(["GET /x → y is new"])), other];
    let changes = Report::new([recording(2, results)]).qualification.unwrap().changes;
    let seen: Vec<_> = changes.iter().map(|change| (change.text.as_str(), change.databases.len())).collect();
    assert_eq!(seen, [("GET /x → y is new", 2), ("and this", 1)]);
}

#[test]
fn a_change_that_a_note_speaks_of_is_announced_and_a_new_note_is_told() {
    let changes = json!([
        "GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms → 404 M_UNRECOGNIZED",
        "GET /_matrix/client/v3/account/whoami → user_id is gone",
    ]);
    let note = |heading: &str, is_known| Announced {
        heading: heading.to_owned(),
        url: "https://example.test/upgrade.html".to_owned(),
        text: "The endpoint `mutual_rooms` goes. Its user_id stays.".to_owned(),
        is_known,
        is_recent: true,
        is_gone: false,
    };
    let notes = vec![note("Mutual rooms go", true), note("Another thing", false)];
    let results = vec![named("changes::answers", Outcome::Passed, changes)];
    let report = Report::new([recording_of(1, results, notes)]);
    let qualification = report.qualification.as_ref().unwrap();
    let announced: Vec<_> = qualification.changes.iter().map(|change| change.note.as_deref()).collect();
    assert_eq!(announced, [Some("Mutual rooms go"), None]);
    let sentence = &qualification.sentence;
    assert!(sentence.contains("1 change without a note"), "{sentence}");
    assert!(sentence.contains("1 note that no scenario knows in these words"), "{sentence}");
    let page = html(&report);
    assert!(page.contains("Notes that no scenario knows") && page.contains("Another thing"), "{page}");
}

#[test]
fn what_is_taken_away_without_a_note_breaks_the_contract() {
    let whoami = json!([{ "breaks": "GET /_matrix/client/v3/account/whoami → is_guest is gone" }]);
    let note = Announced {
        heading: "Guests are gone".to_owned(),
        url: String::new(),
        text: "`is_guest` goes.".to_owned(),
        is_known: true,
        is_recent: true,
        is_gone: false,
    };
    let judged = |notes| {
        let report =
            Report::new([recording_of(1, vec![named("changes::answers", Outcome::Passed, whoami.clone())], notes)]);
        (report.verdict, report.qualification.unwrap().sentence)
    };
    let (verdict, sentence) = judged(Vec::new());
    assert_eq!(verdict, reports::Verdict::Failed);
    assert!(
        sentence.contains("must not be released: 1 of 1 trial found a broken contract (1 in changes)"),
        "{sentence}"
    );
    assert_eq!(judged(vec![note]).0, reports::Verdict::Passed);
}

#[test]
fn a_path_that_a_note_names_is_announced_and_what_an_old_note_says_or_a_body_holds_is_not() {
    let note = |text: &str, is_recent| Announced {
        heading: "It goes".to_owned(),
        url: String::new(),
        text: text.to_owned(),
        is_known: true,
        is_recent,
        is_gone: false,
    };
    let announced = |change: &str, note: Announced| {
        let results = vec![named("changes::answers", Outcome::Passed, json!([{ "breaks": change }]))];
        let changes = Report::new([recording_of(1, results, vec![note])]).qualification.unwrap().changes;
        changes[0].note.is_some()
    };
    let whois = "admin GET /_synapse/admin/v1/whois/{alice}: was {\"status\":200}, is {\"status\":404}";
    assert!(announced(whois, note("`GET /_synapse/admin/v1/whois/<user_id>` is removed.", true)));
    assert!(!announced(whois, note("`GET /_synapse/admin/v1/whois/<user_id>` is removed.", false)));
    assert!(!announced(whois, note("`GET /_synapse/admin/v2/users` is removed.", true)));
    let sent = "alice POST /register{\"client_secret\":1}: was {\"status\":200}, is {\"status\":404}";
    assert!(!announced(sent, note("The `client_secret` may be read from a file.", true)));
}

#[test]
fn four_shards_merged_say_what_one_run_says() {
    let results = || {
        let passed =
            ["a", "b", "c"].map(|name| named(&format!("survival::{name}"), Outcome::Passed, json!("as before")));
        let failed = named("back::d", Outcome::Failed, json!("less"));
        let changed = named("changes::answers", Outcome::Passed, json!(["GET /x → y is new"]));
        passed.into_iter().chain([failed, changed])
    };
    let one = Report::new([recording(5, results().collect())]).qualification.unwrap();
    let shards = (0..4).map(|shard| {
        let mine = results().enumerate().filter(|(at, _)| at % 4 == shard).map(|(_, result)| result);
        recording(5, mine.collect())
    });
    let merged = Report::new(shards).qualification.unwrap();
    assert_eq!(merged.sentence, one.sentence);
    assert_eq!(merged.changes, one.changes);
    let sorted = |of: &reports::Qualification| {
        let mut broken: Vec<String> = of.broken.iter().map(|it| format!("{it:?}")).collect();
        broken.sort();
        broken
    };
    assert_eq!(sorted(&merged), sorted(&one));
}
