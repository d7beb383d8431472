use proptest::{collection::vec, option, prelude::*};
use reports::{
    Cell, CellSeen, CellVerdict, Counts, Disagreement, Entry, Event, FactRow, FactTable, ImageReady, LegFinished, Note,
    Observed, Observer, Outcome, Recording, Report, RunFinished, RunStarted, Terminal, TerminalOptions, TrialResult,
    WalkPlan, html, junit,
};
use serde_json::{Map, Value, json};

use crate::junit::validate;

/// Text as servers and people write it, and worse.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,12}",
        "\\PC{0,8}",
        any::<String>().prop_map(|text| text.chars().take(12).collect()),
        Just("<b>&amp;]]>`\n\t\u{1b}[0m\u{0}".to_owned()),
    ]
}

fn trial() -> impl Strategy<Value = String> {
    prop_oneof!["v1_[1-9]_0::[a-c]::(sqlite|postgres)".prop_map(String::from), text(),]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        text().prop_map(Value::from),
        text().prop_map(|text| json!({ "$contains": text })),
        text().prop_map(|text| json!({ "$matches": text })),
        Just(json!({ "$any": true })),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner.clone()), 0..4).prop_map(|pairs| Value::from(Map::from_iter(pairs))),
            inner.prop_map(|inner| json!({ "$not": inner })),
        ]
    })
}

fn seconds() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.0..100.0, 0.0..1e7]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((text(), text()), 0..3)
}

fn plan() -> impl Strategy<Value = WalkPlan> {
    (0..4_usize, text(), vec(text(), 0..3), vec(trial(), 0..3)).prop_map(|(walk, title, legs, trials)| WalkPlan {
        walk,
        title,
        legs,
        trials,
        evidence: String::new(),
    })
}

fn cell() -> impl Strategy<Value = Cell> {
    let long = (text(), 0..9_usize, text()).prop_map(|(start, bytes, whole)| Observed::Long { start, bytes, whole });
    let observed = prop_oneof![
        long,
        value().prop_map(Observed::Value),
        text().prop_map(Observed::Error),
        text().prop_map(Observed::Nothing),
    ];
    let verdict = prop_oneof![
        Just(CellVerdict::Match),
        Just(CellVerdict::Mismatch),
        Just(CellVerdict::Error),
        Just(CellVerdict::NotCompared),
    ];
    (option::of(value()), observed, verdict, option::of(text()), seconds())
        .prop_map(|(expected, observed, verdict, diff, seconds)| Cell { expected, observed, verdict, diff, seconds })
}

fn table() -> impl Strategy<Value = FactTable> {
    let rows = || vec((text(), vec(cell(), 0..3)).prop_map(|(fact, cells)| FactRow { fact, cells }), 0..3);
    (text(), 0..5_usize, vec(text(), 0..3), rows(), rows(), text()).prop_map(
        |(variant, walk, legs, facts, health, evidence)| FactTable { variant, walk, legs, facts, health, evidence },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Passed),
        Just(Outcome::Failed),
        Just(Outcome::Flaky),
        Just(Outcome::Errored),
        Just(Outcome::NotRun)
    ]
}

fn result() -> impl Strategy<Value = TrialResult> {
    let note = (prop_oneof!["1\\.[0-9]\\.0(rc1)?", text()], text(), text()).prop_map(|(release, heading, url)| Note {
        release,
        heading,
        url,
    });
    let disagreements =
        vec((text(), text()).prop_map(|(upstream_says, really)| Disagreement { upstream_says, really }), 0..2);
    (trial(), note, text(), outcome(), option::of(text()), seconds(), vec(table(), 0..2), disagreements, text())
        .prop_map(|(trial, note, database, outcome, explanation, seconds, tables, disagreements, rerun)| TrialResult {
            trial,
            note,
            database,
            outcome,
            explanation,
            seconds,
            in_company: tables.clone(),
            tables,
            control: Vec::new(),
            disagreements,
            rerun,
        })
}

fn cell_seen() -> impl Strategy<Value = Event> {
    let observers = vec((trial(), text()).prop_map(|(trial, variant)| Observer { trial, variant }), 0..3);
    (0..5_usize, 0..3_usize, observers, text(), any::<bool>(), cell()).prop_map(
        |(walk, leg, observers, fact, health, cell)| {
            Event::CellSeen(Box::new(CellSeen { walk, leg, observers, fact, health, cell }))
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let walk = || 0..5_usize;
    let started = (
        text(),
        text(),
        text(),
        option::of("[1-3]/3"),
        pairs(),
        vec(text(), 0..3),
        vec(trial(), 0..4),
        vec(plan(), 0..3),
    )
        .prop_map(|(run, started, command, shard, environment, images, trials, walks)| {
            Event::RunStarted(RunStarted {
                run,
                started,
                command,
                shard,
                flaky_permitted: false,
                control: false,
                qualification: None,
                options: Vec::new(),
                environment,
                images,
                trials,
                walks,
            })
        });
    let ready = (text(), text(), text(), text(), seconds()).prop_map(|(image, source, reference, id, seconds)| {
        Event::ImageReady(ImageReady { image, source, reference, id, seconds })
    });
    let leg_finished = (walk(), 0..3_usize, seconds(), seconds(), 0..9_usize, pairs()).prop_map(
        |(walk, leg, seconds, homeserver_cpu_seconds, boots, fingerprints)| {
            Event::LegFinished(LegFinished {
                walk,
                leg,
                seconds,
                homeserver_cpu_seconds,
                memory_bytes: 0,
                database_bytes: 0,
                boots,
                fingerprints,
            })
        },
    );
    let finished = (seconds(), seconds(), seconds(), 0..99_usize, 0..9_usize, any::<bool>()).prop_map(
        |(seconds, walking_seconds, homeserver_cpu_seconds, boots, cores, interrupted)| {
            Event::RunFinished(RunFinished {
                seconds,
                walking_seconds,
                homeserver_cpu_seconds,
                boots,
                cores,
                interrupted,
            })
        },
    );
    prop_oneof![
        started,
        text().prop_map(|text| Event::Notice { text }),
        (text(), text()).prop_map(|(image, how)| Event::ImageStarted { image, how }),
        (text(), text()).prop_map(|(image, step)| Event::ImageStep { image, step }),
        ready,
        (text(), text(), seconds()).prop_map(|(image, error, seconds)| Event::ImageFailed { image, error, seconds }),
        walk().prop_map(|walk| Event::WalkStarted { walk }),
        plan().prop_map(Event::WalkAdded),
        (walk(), 0..3_usize, any::<bool>(), seconds())
            .prop_map(|(walk, leg, started, seconds)| { Event::LegReady { walk, leg, started, seconds } }),
        cell_seen(),
        leg_finished,
        (walk(), seconds()).prop_map(|(walk, seconds)| Event::WalkFinished { walk, seconds }),
        result().prop_map(|result| Event::TrialFinished(Box::new(result))),
        result().prop_map(|result| Event::TrialFinished(Box::new(result))),
        result().prop_map(|result| Event::TrialFinished(Box::new(result))),
        finished,
    ]
}

/// Any stream, however little sense it makes.
fn stream() -> impl Strategy<Value = Vec<Entry>> {
    vec((seconds(), event()).prop_map(|(at, event)| Entry { at, event }), 0..12)
}

fn recording(entries: Vec<Entry>) -> Recording {
    Recording { entries, ..Recording::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_stream_renders(entries in stream(), color: bool, status_line: bool) {
        let options = TerminalOptions { color, status_line, width: 60, ..TerminalOptions::plain() };
        let mut terminal = Terminal::new(Vec::new(), options);
        for entry in &entries {
            terminal.entry(entry).unwrap();
            terminal.tick(entry.at + 40.0).unwrap();
        }
        let report = Report::new([recording(entries)]);
        terminal.summary(&report, &[]).unwrap();
        prop_assert!(String::from_utf8(terminal.into_inner()).is_ok());
        prop_assert!(html(&report).ends_with("</html>"));
    }

    #[test]
    fn junit_is_well_formed_and_counts_as_the_report_does(entries in stream()) {
        let report = Report::new([recording(entries)]);
        let (elements, sums) = validate(&junit(&report));
        let element = |name: &str| elements.get(name).copied().unwrap_or(0);
        let sum = |name: &str| sums.get(name).copied().unwrap_or(0);
        let Counts { failed, flaky, errored, not_run, .. } = report.counts;
        prop_assert_eq!((element("testcase"), sum("tests")), (report.counts.total(), report.counts.total()));
        prop_assert_eq!((element("failure"), sum("failures")), (failed + flaky, failed + flaky));
        prop_assert_eq!((element("error"), sum("errors")), (errored, errored));
        prop_assert_eq!((element("skipped"), sum("skipped")), (not_run, not_run));
    }

    #[test]
    fn events_survive_their_line(entries in stream()) {
        for entry in entries {
            let line = serde_json::to_string(&entry).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
        }
    }

    #[test]
    fn a_report_survives_its_json(entries in stream()) {
        let report = Report::new([recording(entries)]);
        let json = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn merging_adds_the_counts(streams in vec(stream(), 0..4)) {
        let alone: Vec<Counts> =
            streams.iter().map(|entries| Report::new([recording(entries.clone())]).counts).collect();
        let merged = Report::new(streams.into_iter().map(recording));
        let sum = |of: fn(&Counts) -> usize| alone.iter().map(of).sum::<usize>();
        prop_assert_eq!(merged.counts, Counts {
            passed: sum(|counts| counts.passed),
            failed: sum(|counts| counts.failed),
            flaky: sum(|counts| counts.flaky),
            errored: sum(|counts| counts.errored),
            not_run: sum(|counts| counts.not_run),
        });
        let mut anchors: Vec<&str> = merged.trials.iter().map(|trial| trial.anchor.as_str()).collect();
        anchors.sort_unstable();
        anchors.dedup();
        prop_assert_eq!(anchors.len(), merged.trials.len());
    }
}
