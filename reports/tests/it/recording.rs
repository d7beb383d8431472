use std::{fs, path::Path};

use reports::{
    Entry, Event, Outcome, Recording, Report, Reporter, ReporterOptions, RunFinished, Verdict, create_run_directory,
};

use crate::fixture;

fn jsonl(entries: &[Entry]) -> String {
    entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect()
}

#[test]
fn a_reporter_leaves_a_record_and_the_reports() {
    let root = tempfile::tempdir().unwrap();
    let directory = create_run_directory(root.path(), "run", 10).unwrap();
    let options = ReporterOptions { terminal: None, ledger: Some(fixture::ledger()) };
    let reporter = Reporter::start(&directory, fixture::started(None), options).unwrap();

    let mut totals = None;
    for entry in fixture::entries() {
        match entry.event {
            Event::RunStarted(_) => {}
            Event::RunFinished(finished) => totals = Some(finished),
            event => reporter.clone().emit(event),
        }
    }
    let summary = reporter.finish(totals.clone().unwrap());
    assert_eq!(summary.verdict, Verdict::Failed);
    assert_eq!(summary.counts.total(), 7);
    assert!(summary.unwritten.is_empty(), "{:?}", summary.unwritten);
    assert_eq!(reporter.finish(totals.unwrap()), summary, "a second end changes nothing");

    let recording = Recording::read(&directory).unwrap();
    let events = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.event).collect::<Vec<_>>();
    assert_eq!(events(recording.entries.clone()), events(fixture::entries()));
    assert_eq!(recording.ledger, Some(fixture::ledger()));

    let written: Report = serde_json::from_slice(&fs::read(directory.join(reports::JSON)).unwrap()).unwrap();
    assert_eq!(written, Report::new([recording]));
}

/// Who reads this file relies on its shape: a change here is a change of the format.
#[test]
fn the_shape_of_the_json() {
    let mut report = Report::new([Recording { entries: fixture::interrupted(), ..Recording::default() }]);
    // One of each kind says it all.
    report.trials.retain(|trial| trial.result.outcome != Outcome::Passed);
    report.trials.truncate(2);
    for trial in &mut report.trials {
        for table in &mut trial.result.tables {
            table.facts.drain(..2);
            table.health.drain(1..);
        }
    }
    report.walks.truncate(1);
    report.images.truncate(2);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn what_comes_after_the_end_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let reporter = Reporter::start(root.path(), fixture::started(None), ReporterOptions::default()).unwrap();
    let summary = reporter.finish(RunFinished {
        seconds: 0.0,
        walking_seconds: 0.0,
        homeserver_cpu_seconds: 0.0,
        boots: 0,
        cores: 2,
        interrupted: true,
    });
    assert_eq!((summary.verdict, summary.counts.not_run), (Verdict::Incomplete, 7));
    reporter.emit(Event::Notice { text: "too late".into() });
    assert_eq!(Recording::read(root.path()).unwrap().entries.len(), 2);
}

#[test]
fn a_cut_last_line_is_tolerated_and_said() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(reports::EVENTS);
    let text = jsonl(&fixture::entries());
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let recording = Recording::read(&path).unwrap();
    assert!(recording.truncated);
    let report = Report::new([recording]);
    insta::assert_debug_snapshot!(report.gaps, @r#"
    [
        "The end of the run is not on record: it was killed, or is still under way.",
        "The last line of the record of the run is cut off; the event in it is lost.",
    ]
    "#);
    assert_eq!(report.counts, Report::new([fixture::recording()]).counts);
}

#[test]
fn another_malformed_line_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(reports::EVENTS);
    let mut lines: Vec<String> = jsonl(&fixture::entries()).lines().map(str::to_owned).collect();
    lines[3] = r#"{"at":1.0,"event":"a_new_kind"}"#.into();
    fs::write(&path, lines.join("\n")).unwrap();
    let said = |path: &Path| {
        let error = anyhow::Error::from(Recording::read(path).unwrap_err());
        format!("{error:#}").replace(root.path().to_str().unwrap(), "RUN")
    };
    insta::assert_snapshot!(said(root.path()), @"RUN/events.jsonl, line 4 is not as it should be: unknown variant `a_new_kind`, expected one of `run_started`, `run_resumed`, `notice`, `image_started`, `image_step`, `image_ready`, `image_failed`, `walk_started`, `walk_added`, `leg_ready`, `cell_seen`, `leg_finished`, `walk_finished`, `trial_finished`, `run_finished` at line 1 column 31");
    insta::assert_snapshot!(said(&root.path().join("nowhere")), @"cannot read RUN/nowhere: No such file or directory (os error 2)");
}

#[test]
fn a_killed_run_still_reports() {
    let entries = fixture::entries().into_iter().take_while(|entry| entry.at < 31.0).collect();
    let report = Report::new([Recording { entries, ..Recording::default() }]);
    assert_eq!(report.verdict, Verdict::Failed, "what failed before the kill did fail");
    insta::assert_debug_snapshot!(report.gaps, @r#"
    [
        "The end of the run is not on record: it was killed, or is still under way.",
    ]
    "#);
    insta::assert_debug_snapshot!(report.runs[0].totals, @"
    RunFinished {
        seconds: 30.4,
        walking_seconds: 8.7,
        homeserver_cpu_seconds: 6.75,
        boots: 5,
        cores: 0,
        interrupted: false,
    }
    ");
    let without: Vec<&str> = report
        .trials
        .iter()
        .filter(|trial| trial.finished_at.is_none())
        .filter_map(|trial| trial.result.explanation.as_deref())
        .collect();
    insta::assert_debug_snapshot!(without, @r#"
    [
        "The run was killed, or is still under way.",
        "The run was killed, or is still under way.",
        "The run was killed, or is still under way.",
    ]
    "#);
}

#[test]
fn a_planned_trial_that_a_finished_run_forgot_is_an_error() {
    let mut entries = fixture::entries();
    entries.retain(|entry| !matches!(&entry.event, Event::TrialFinished(result) if result.outcome != Outcome::Passed));
    let report = Report::new([Recording { entries, ..Recording::default() }]);
    assert_eq!(report.verdict, Verdict::Errored);
    assert_eq!((report.counts.passed, report.counts.errored), (2, 5));
}
