//! A run of 300 trials with 40 legs each, in the memory and on the page that it may take. It has a process of its own, whose
//! memory is measured: `cargo test -p reports --test large -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fs, time::Instant};

use reports::{
    Cell, CellSeen, CellVerdict, Event, FactRow, FactTable, Note, Observed, Observer, Outcome, Reporter,
    ReporterOptions, RunFinished, RunStarted, TrialResult, WalkPlan,
};
use serde_json::json;

const TRIALS: usize = 300;
const LEGS: usize = 40;
const ROWS: usize = 50;
/// Of the harness, in megabytes.
const MEMORY: u64 = 1000;
/// Of the page, in megabytes: what a browser opens without a thought.
const PAGE: u64 = 50;

fn legs() -> Vec<String> {
    (0..LEGS).map(|leg| format!("1.{leg}.0")).collect()
}

fn cell(row: usize, leg: usize) -> Cell {
    let value = json!({ "row": row, "since": leg / 20, "text": "what a part of the estate shows on a leg" });
    Cell {
        expected: Some(value.clone()),
        observed: Observed::Value(value),
        verdict: CellVerdict::Match,
        diff: None,
        seconds: 0.01,
    }
}

fn name(trial: usize) -> String {
    format!("v1_{}_0::number_{trial}::sqlite", trial % 150)
}

fn rows(of: std::ops::Range<usize>) -> Vec<FactRow> {
    of.map(|row| FactRow { fact: format!("part {row}"), cells: (0..LEGS).map(|leg| cell(row, leg)).collect() })
        .collect()
}

fn result(trial: usize) -> TrialResult {
    TrialResult {
        trial: name(trial),
        note: Note { release: format!("1.{}.0", trial % 150), heading: "A heading".into(), url: String::new() },
        database: "SQLite".into(),
        outcome: Outcome::Passed,
        explanation: None,
        seconds: 600.0,
        tables: vec![FactTable {
            variant: String::new(),
            walk: trial,
            legs: legs(),
            facts: rows(0..5),
            health: rows(5..ROWS),
            evidence: format!("walks/{trial}"),
        }],
        in_company: Vec::new(),
        control: Vec::new(),
        disagreements: Vec::new(),
        rerun: String::new(),
    }
}

/// The most memory that this process has had, in megabytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
#[ignore = "it takes a minute"]
fn three_hundred_trials_of_forty_legs() {
    let root = tempfile::tempdir().unwrap();
    let plan = |walk| WalkPlan {
        walk,
        title: "1.0.0 → 1.39.0, SQLite".into(),
        legs: legs(),
        trials: vec![name(walk)],
        evidence: format!("walks/{walk}"),
    };
    let started = RunStarted {
        run: "large".into(),
        started: "2026-11-23T17:19:02Z".into(),
        command: String::new(),
        shard: None,
        flaky_permitted: false,
        control: false,
        qualification: None,
        options: Vec::new(),
        environment: Vec::new(),
        images: Vec::new(),
        trials: (0..TRIALS).map(name).collect(),
        walks: (0..TRIALS).map(plan).collect(),
    };
    let begun = Instant::now();
    let reporter = Reporter::start(root.path(), started, ReporterOptions::default()).unwrap();
    for trial in 0..TRIALS {
        reporter.emit(Event::WalkStarted { walk: trial });
        for leg in 0..LEGS {
            for row in 0..ROWS {
                let observers = vec![Observer { trial: name(trial), variant: String::new() }];
                let fact = format!("part {row}");
                let cell = cell(row, leg);
                let seen = CellSeen { walk: trial, leg, observers, fact, health: row >= 5, cell };
                reporter.emit(Event::CellSeen(Box::new(seen)));
            }
        }
        reporter.emit(Event::TrialFinished(Box::new(result(trial))));
    }
    let running = peak();
    let summary = reporter.finish(RunFinished::default());
    assert_eq!(summary.counts.passed, TRIALS);
    let page = fs::metadata(root.path().join(reports::PAGE)).unwrap().len() >> 20;
    let told = format!(
        "peak {running} MB while it ran, {} MB with the reports; page {page} MB; {:.0} s",
        peak(),
        begun.elapsed().as_secs_f64()
    );
    assert!(peak() <= MEMORY && page <= PAGE, "{told}");
    // For whoever asks with `--nocapture`.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{told}\n").as_bytes());
}
