//! A run that was killed: what it saw, and how it goes on.

use std::{fs, path::Path, process::Command};

use reports::{
    CellSeen, EVENTS, Entry, Event, Observer, Outcome, Report, Reporter, ReporterOptions, RunFinished, TrialResult,
    Verdict,
};
use serde_json::json;

use crate::fixture;

const TRIAL: &str = "v1_53_0::msc3283_capabilities::sqlite";
const OTHER: &str = "v1_53_0::webclient::sqlite";

fn seen(walk: usize, leg: usize, fact: &str, cell: reports::Cell) -> Event {
    let observers = vec![Observer { trial: TRIAL.into(), variant: String::new() }];
    Event::CellSeen(Box::new(CellSeen { walk, leg, observers, fact: fact.into(), health: false, cell }))
}

/// Two trials are planned; one has a verdict, the other has seen its first leg when the run is killed.
fn killed(last: reports::Cell) -> Vec<Event> {
    let mut started = fixture::started(None);
    started.trials = vec![TRIAL.into(), OTHER.into()];
    let other = TrialResult { trial: OTHER.into(), ..fixture::capabilities("sqlite", 2, true) };
    vec![
        Event::RunStarted(started),
        Event::WalkStarted { walk: 0 },
        Event::WalkStarted { walk: 2 },
        seen(0, 0, "what was seen", fixture::seen(json!(null))),
        Event::WalkFinished { walk: 2, seconds: 1.0 },
        Event::TrialFinished(Box::new(other)),
        seen(0, 1, "what was seen", last),
    ]
}

/// As a kill leaves it, with the last line cut.
fn save(directory: &Path, events: Vec<Event>) {
    let entries = (0_u8..).zip(events);
    let lines: Vec<String> =
        entries.map(|(at, event)| serde_json::to_string(&Entry { at: at.into(), event }).unwrap() + "\n").collect();
    fs::write(directory.join(EVENTS), lines.concat() + "{\"at\": 9, \"eve").unwrap();
}

fn trial<'a>(report: &'a Report, name: &str) -> &'a reports::Trial {
    report.trials.iter().find(|trial| trial.result.trial == name).unwrap()
}

#[test]
fn what_a_killed_walk_saw_is_in_the_report() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), killed(fixture::seen(json!({"enabled": true}))));
    let report = Report::of(root.path()).unwrap();
    let trial = trial(&report, TRIAL);
    assert_eq!(trial.result.outcome, Outcome::NotRun);
    let row = &trial.result.tables[0].facts[0];
    assert_eq!(row.cells, [fixture::seen(json!(null)), fixture::seen(json!({"enabled": true}))]);
    assert_eq!(trial.result.tables[0].evidence, "walk-00");
    assert_eq!(report.verdict, Verdict::Incomplete);

    let code = Command::new(env!("CARGO_BIN_EXE_reports")).arg("rebuild").arg(root.path()).status().unwrap().code();
    assert_eq!(code, Some(Verdict::Incomplete.exit_code().into()));
    let page = fs::read_to_string(root.path().join(reports::PAGE)).unwrap();
    assert!(page.contains("what was seen"));
    let again: Report = serde_json::from_slice(&fs::read(root.path().join(reports::JSON)).unwrap()).unwrap();
    assert_eq!(again, report);
}

#[test]
fn a_contract_that_a_killed_walk_saw_broken_is_broken() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), killed(fixture::differs(json!({"enabled": true}), json!(null))));
    let report = Report::of(root.path()).unwrap();
    assert_eq!((trial(&report, TRIAL).result.outcome, report.verdict), (Outcome::Failed, Verdict::Failed));
    // In a control facts must differ.
    let mut control = killed(fixture::differs(json!({"enabled": true}), json!(null)));
    if let Event::RunStarted(started) = &mut control[0] {
        started.control = true;
    }
    save(root.path(), control);
    assert_eq!(trial(&Report::of(root.path()).unwrap(), TRIAL).result.outcome, Outcome::NotRun);
}

#[test]
fn a_run_goes_on_in_its_own_record() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), killed(fixture::seen(json!({"enabled": true}))));
    let mut left = fixture::started(None);
    left.trials = vec![TRIAL.into()];
    left.walks.truncate(1);
    left.walks[0].walk = 4;
    let reporter = Reporter::resume(root.path(), left.clone(), ReporterOptions::default()).unwrap();
    assert!(
        Reporter::resume(root.path(), left, ReporterOptions::default()).is_err(),
        "a run that is under way is left alone"
    );
    reporter.emit(Event::WalkStarted { walk: 4 });
    reporter.emit(Event::WalkFinished { walk: 4, seconds: 1.0 });
    reporter.emit(Event::TrialFinished(Box::new(fixture::capabilities("sqlite", 4, true))));
    let totals = RunFinished { seconds: 3.0, walking_seconds: 1.0, cores: 2, boots: 2, ..RunFinished::default() };
    let summary = reporter.finish(totals);
    assert_eq!((summary.verdict, summary.counts.passed, summary.counts.total()), (Verdict::Passed, 2, 2));

    let report = Report::of(root.path()).unwrap();
    assert_eq!(report.gaps, Vec::<String>::new());
    let names: Vec<&str> = report.trials.iter().map(|trial| trial.result.trial.as_str()).collect();
    assert_eq!(names, [TRIAL, OTHER], "in the plan's order");
    let walk = &report.walks[trial(&report, TRIAL).result.tables[0].walk];
    assert_eq!(walk.number, 5);
    assert!(walk.started_at >= Some(6.0), "times go on from where the record was cut: {:?}", walk.started_at);
    assert!((report.totals.seconds - (6.0 + 3.0)).abs() < 1e-9);
}
