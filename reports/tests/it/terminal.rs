use reports::{Entry, Event, Report, Terminal, TerminalOptions};

use crate::fixture;

fn told(entries: Vec<Entry>, options: TerminalOptions) -> String {
    let mut terminal = Terminal::new(Vec::new(), options);
    for entry in &entries {
        terminal.entry(entry).unwrap();
    }
    let report = Report::new([reports::Recording { entries, ..Default::default() }]);
    terminal.summary(&report, &["target/upgrades/latest/report.html".into()]).unwrap();
    String::from_utf8(terminal.into_inner()).unwrap()
}

#[test]
fn a_log_reads_line_by_line() {
    let options = TerminalOptions { evidence_root: "target/upgrades/20261123".into(), ..TerminalOptions::plain() };
    let log = told(fixture::entries(), options);
    assert!(!log.contains('\x1b'), "no cursor tricks and no colors in a log");
    insta::assert_snapshot!(log);
}

#[test]
fn an_interrupted_run_says_what_it_did_not_get_to() {
    let log = told(fixture::interrupted(), TerminalOptions::plain());
    let end = log.lines().skip_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(end);
}

#[test]
fn colors_tell_a_failure_from_an_error() {
    let log = told(fixture::entries(), TerminalOptions { color: true, ..TerminalOptions::plain() });
    let color = |word: &str| {
        let at = log.find(word).unwrap();
        log[..at].rsplit('\x1b').next().unwrap().to_owned()
    };
    assert_ne!(color("  FAILED"), color("   ERROR"));
}

#[test]
fn a_status_line_is_cleared_before_anything_else_is_said() {
    let options = TerminalOptions { status_line: true, width: 100, ..TerminalOptions::plain() };
    let log = told(fixture::entries(), options);
    for line in log.lines() {
        // Whatever is drawn in place is gone again before the line ends.
        let visible = line.rsplit("\x1b[2K").next().unwrap();
        assert!(!visible.contains("verdicts;"), "{line:?}");
    }
}

#[test]
fn a_long_silence_is_broken_in_a_log() {
    let mut terminal = Terminal::new(Vec::new(), TerminalOptions::plain());
    for (at, event) in [
        (0.0, Event::RunStarted(fixture::started(Some("2/4")))),
        (1.0, Event::ImageStarted { image: "synapse 1.53.0".into(), how: "building".into() }),
        (2.0, Event::WalkStarted { walk: 1 }),
        (2.5, Event::WalkStarted { walk: 2 }),
    ] {
        terminal.entry(&Entry { at, event }).unwrap();
    }
    for at in [10.0, 31.0, 33.0, 45.0, 63.5] {
        terminal.tick(at).unwrap();
    }
    let log = String::from_utf8(terminal.into_inner()).unwrap();
    insta::assert_snapshot!(log.lines().skip(3).collect::<Vec<_>>().join("\n"), @"
     2.0     walk 2: 1.52.0 → 1.53.0, PostgreSQL 13, 2 workers sets out with 2 trials
     2.5     walk 3: 1.52.0 → 1.53.0, SQLite, a listener with `webclient` sets out with 1 trial
    33.0        … 0/7 verdicts; synapse 1.53.0 for 32.0 s: building; 2 walks, the longest 2: 1.52.0 → 1.53.0, PostgreSQL 13, 2 workers at 1.52.0 for 31.0 s
    63.5        … 0/7 verdicts; synapse 1.53.0 for 62.5 s: building; 2 walks, the longest 2: 1.52.0 → 1.53.0, PostgreSQL 13, 2 workers at 1.52.0 for 61.5 s
    ");
}
