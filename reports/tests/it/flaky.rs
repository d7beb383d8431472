//! What did not pass in company and passed alone.

use reports::{
    Event, Outcome, Recording, Report, RunFinished, Terminal, TerminalOptions, TrialResult, Verdict, html, junit,
};

use crate::{fixture, junit::validate};

/// A run with one trial, which passed alone only.
fn report(permitted: bool) -> Report {
    let company = fixture::capabilities("sqlite", 0, false);
    let result = TrialResult {
        outcome: Outcome::Flaky,
        explanation: Some("Failed in company, passed alone.".into()),
        in_company: company.tables,
        ..fixture::capabilities("sqlite", 4, true)
    };
    let mut started = fixture::started(None);
    started.trials = vec![result.trial.clone()];
    started.flaky_permitted = permitted;
    let events = [
        Event::RunStarted(started),
        Event::TrialFinished(Box::new(result)),
        Event::RunFinished(RunFinished::default()),
    ];
    let entries = events.into_iter().map(|event| reports::Entry { at: 0.0, event }).collect();
    Report::new([Recording { entries, ..Recording::default() }])
}

#[test]
fn it_is_red_unless_permitted() {
    assert_eq!((report(false).verdict, report(false).counts.flaky), (Verdict::Flaky, 1));
    assert_eq!((report(true).verdict, report(true).counts.flaky), (Verdict::Passed, 1));
}

#[test]
fn junit_has_a_mark_for_it() {
    for permitted in [false, true] {
        let (elements, sums) = validate(&junit(&report(permitted)));
        assert_eq!(elements.get("flakyFailure"), Some(&1));
        assert_eq!((elements.contains_key("failure"), sums["failures"] == 1), (!permitted, !permitted));
    }
    // One that fails alone, too, shows what it was in company.
    let mut failed = report(false);
    failed.trials[0].result.outcome = Outcome::Failed;
    let (elements, _) = validate(&junit(&failed));
    assert_eq!((elements.get("failure"), elements.get("rerunFailure")), (Some(&1), Some(&1)));
}

#[test]
fn page_and_terminal_show_both_tables() {
    let report = report(false);
    let page = html(&report);
    assert!(page.contains("id=\"flaky\""));
    assert_eq!(page.matches("<table class=\"facts\"><thead><tr><th scope=\"col\">fact").count(), 2);

    let mut terminal = Terminal::new(Vec::new(), TerminalOptions::plain());
    let result = Box::new(report.trials[0].result.clone());
    terminal.entry(&reports::Entry { at: 1.0, event: Event::TrialFinished(result) }).unwrap();
    let told = String::from_utf8(terminal.into_inner()).unwrap();
    for part in ["FLAKY [1/0]", "m.set_displayname on 1.53.0, in company", "observed  null", "walk-00", "walk-04"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

/// The one table of exit codes, which runs and merged reports share.
#[test]
fn exit_codes() {
    let table = [
        (Verdict::Passed, 0),
        (Verdict::Errored, 3),
        (Verdict::Incomplete, 4),
        (Verdict::Flaky, 5),
        (Verdict::Failed, 101),
    ];
    for (verdict, code) in table {
        assert_eq!(verdict.exit_code(), code);
    }
    let mut codes: Vec<u8> = table.iter().map(|(_, code)| *code).collect();
    codes.extend([Verdict::USAGE, Verdict::INTERRUPTED]);
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), table.len() + 2, "each says one thing");
}
