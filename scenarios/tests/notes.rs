//! What can be known of the scenarios and the ledger without running anything.

use std::collections::BTreeSet;

use reports::Disposition;
use scenarios::ledger;

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
fn every_mutant_has_a_fact_that_must_notice_it() {
    let suite = scenarios::suite();
    if let Err(problems) = harness::mutants(&suite.scenarios, &suite.mutants) {
        panic!("{}", problems.join("\n"));
    }
}

#[test]
fn every_note_of_upstream_is_in_the_ledger_once() {
    if let Err(problems) = ledger::ledger(&scenarios::all()) {
        panic!("{}", problems.join("\n"));
    }
}

#[test]
fn no_note_is_to_come() {
    let ledger = ledger::ledger(&scenarios::all()).expect("the ledger is complete");
    let to_come = ledger.entries.iter().filter(|entry| entry.disposition == Disposition::ToCome).count();
    assert_eq!(to_come, 0);
}

#[test]
fn the_readme_shows_a_scenario_as_it_is() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let mut module = include_str!("../src/notes/v1_032.rs").lines().map(str::trim);
    for line in
        example.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "…" && !line.starts_with("notes!"))
    {
        assert!(module.any(|other| other == line), "`{line}` is not, or not in this order, in v1_032.rs");
    }
}
