use std::{fs, path::Path, process::Command};

use reports::{Counts, Entry, Event, Recording, Report, Verdict};

use crate::fixture;

/// One of two shards: those trials and walks of the whole run whose number has the shard's parity.
fn shard(index: usize) -> Vec<Entry> {
    let mine = |name: &str| {
        let position = fixture::started(None).trials.iter().position(|trial| trial == name);
        position.is_some_and(|position| position % 2 == index)
    };
    let mut entries = fixture::entries();
    entries.retain(|entry| !matches!(&entry.event, Event::TrialFinished(result) if !mine(&result.trial)));
    for entry in &mut entries {
        if let Event::RunStarted(started) = &mut entry.event {
            started.trials.retain(|trial| mine(trial));
            started.shard = Some(format!("{}/2", index + 1));
            started.run = format!("shard-{}", index + 1);
        }
    }
    entries
}

fn save(directory: &Path, entries: &[Entry]) {
    fs::create_dir_all(directory).unwrap();
    let lines: String = entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
    fs::write(directory.join(reports::EVENTS), lines).unwrap();
    fs::write(directory.join("ledger.json"), serde_json::to_string(&fixture::ledger()).unwrap()).unwrap();
}

#[test]
fn two_shards_are_one_report() {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("artifacts/one/run-1"), &shard(0));
    save(&root.path().join("artifacts/two/run-2"), &shard(1));
    let out = root.path().join("merged");
    let recordings = Recording::read_shards(&[root.path().join("artifacts")], &out).unwrap();
    let report = Report::new(recordings);
    let whole = Report::new([fixture::recording()]);

    assert_eq!(report.counts, whole.counts);
    assert_eq!(report.gaps, Vec::<String>::new());
    assert_eq!(report.walks.len(), 2 * whole.walks.len());
    for trial in &report.trials {
        for table in &trial.result.tables {
            // Both shards call a walk 0: each trial still finds its own.
            let walk = &report.walks[table.walk];
            assert_eq!(walk.run, trial.run);
            let legs: Vec<&str> = walk.legs.iter().map(|leg| leg.title.as_str()).collect();
            assert_eq!(legs, table.legs);
            assert!(table.evidence.starts_with("../artifacts/"), "{}", table.evidence);
        }
    }
    assert!((report.totals.homeserver_cpu_seconds - 2.0 * whole.totals.homeserver_cpu_seconds).abs() < 1e-9);
    assert_eq!(report.totals.ratio, whole.totals.ratio);
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("merged.html"), reports::html(&report)).unwrap();
}

#[test]
fn a_missing_and_a_killed_shard_are_said() {
    let killed: Vec<Entry> = shard(0).into_iter().take_while(|entry| entry.at < 31.0).collect();
    let mut third = shard(1);
    for entry in [&mut third[0]] {
        if let Event::RunStarted(started) = &mut entry.event {
            started.shard = Some("3/3".into());
        }
    }
    let mut killed = killed;
    if let Event::RunStarted(started) = &mut killed[0].event {
        started.shard = Some("1/3".into());
    }
    let report = Report::new([killed, third].map(|entries| Recording { entries, ..Recording::default() }));
    insta::assert_debug_snapshot!(report.gaps, @r#"
    [
        "The end of shard 1/3 is not on record: it was killed, or is still under way.",
        "Shard 2/3 is missing: its trials are not in this report.",
    ]
    "#);
    assert_eq!(report.verdict, Verdict::Failed);
}

#[test]
fn one_shards_own_report_misses_nothing() {
    let report = Report::new([Recording { entries: shard(1), ..Recording::default() }]);
    assert_eq!(report.gaps, Vec::<String>::new());
    let merged = Report::merged([Recording { entries: shard(1), ..Recording::default() }]);
    assert_eq!(merged.gaps, ["Shard 1/2 is missing: its trials are not in this report."]);
}

#[test]
fn a_shard_may_have_nothing_to_do_but_not_the_whole() {
    let idle = || {
        let mut entries: Vec<Entry> = shard(1)
            .into_iter()
            .filter(|entry| matches!(entry.event, Event::RunStarted(_) | Event::RunFinished(_)))
            .collect();
        if let Event::RunStarted(started) = &mut entries[0].event {
            started.trials.clear();
        }
        Recording { entries, ..Recording::default() }
    };
    assert_eq!(Report::new([idle()]).verdict, Verdict::Passed);
    assert_eq!(Report::merged([idle()]).verdict, Verdict::Incomplete);
}

fn reports(arguments: &[&str], directory: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_reports")).args(arguments).current_dir(directory).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

#[test]
fn the_command_merges_and_renders() {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("one"), &shard(0));
    save(&root.path().join("two"), &shard(1));

    let (code, text) = reports(&["merge", "one", "two", "--out", "merged"], root.path());
    assert_eq!(code, Some(Verdict::Failed.exit_code().into()), "{text}");
    insta::assert_snapshot!("merge", text);
    let report: Report = serde_json::from_slice(&fs::read(root.path().join("merged/report.json")).unwrap()).unwrap();
    assert_eq!(report.counts, Counts { passed: 2, failed: 2, flaky: 0, errored: 2, not_run: 1 });
    for name in [reports::PAGE, reports::JUNIT] {
        assert!(root.path().join("merged").join(name).exists());
    }

    for (kind, begins) in [("html", "<!DOCTYPE html>"), ("junit", "<?xml"), ("json", "{")] {
        let (code, text) = reports(&[kind, "one/events.jsonl"], root.path());
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with(begins));
    }
    let (code, text) = reports(&["replay", "one"], root.path());
    assert_eq!(code, Some(0));
    assert!(text.contains("1.53.0 refuses to start after 1.6 s"), "{text}");
    let (code, text) = reports(&["ledger", "one/ledger.json", "--run", "one"], root.path());
    assert_eq!(code, Some(0));
    assert!(text.contains("Ledger of upstream"));
}

#[test]
fn errors_of_the_command_are_clear() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    fs::create_dir(root.path().join("broken")).unwrap();
    fs::write(root.path().join("broken/events.jsonl"), "not json\n").unwrap();
    let said: Vec<(Option<i32>, String)> = [
        &["merge", "empty", "--out", "out"] as &[&str],
        &["merge", "nowhere", "--out", "out"],
        &["html", "broken"],
        &["junit", "nowhere/events.jsonl"],
    ]
    .into_iter()
    .map(|arguments| reports(arguments, root.path()))
    .collect();
    insta::assert_debug_snapshot!(said, @r#"
    [
        (
            Some(
                2,
            ),
            "error: empty holds no events.jsonl, nor does a directory below it\n",
        ),
        (
            Some(
                2,
            ),
            "error: cannot read nowhere: No such file or directory (os error 2)\n",
        ),
        (
            Some(
                2,
            ),
            "error: broken/events.jsonl, line 1 is not as it should be: expected ident at line 1 column 2\n",
        ),
        (
            Some(
                2,
            ),
            "error: cannot read nowhere/events.jsonl: No such file or directory (os error 2)\n",
        ),
    ]
    "#);
}
