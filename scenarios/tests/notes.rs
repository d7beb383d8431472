//! What can be known of the scenarios and the ledger without running anything.

use std::collections::BTreeSet;

use reports::Disposition;
use scenarios::ledger;

/// Notes newer than 1.53.0 that nobody has written yet. This number only shrinks.
const TO_COME: usize = 74;

#[test]
fn every_scenario_can_run() {
    let problems: Vec<String> = scenarios::all()
        .iter()
        .flat_map(|s| s.problems().into_iter().map(move |p| format!("{}: {p}", s.path())))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_trial_has_a_name_of_its_own() {
    let trials = harness::trials(&scenarios::all());
    let names: BTreeSet<_> = trials.iter().map(|trial| &trial.name).collect();
    assert_eq!(names.len(), trials.len());
}

#[test]
fn every_note_of_upstream_is_in_the_ledger_once() {
    if let Err(problems) = ledger::ledger(&scenarios::all()) {
        panic!("{}", problems.join("\n"));
    }
}

#[test]
fn the_list_of_notes_to_come_only_shrinks() {
    let ledger = ledger::ledger(&scenarios::all()).expect("the ledger is complete");
    let to_come = ledger.entries.iter().filter(|entry| entry.disposition == Disposition::ToCome).count();
    assert!(to_come <= TO_COME, "{to_come} notes are to come; there were {TO_COME}");
}
