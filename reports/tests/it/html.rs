use std::{fs, path::Path, time::Instant};

use reports::{Entry, Event, Outcome, Recording, Report, html, ledger_html};

use crate::fixture;

/// Keeps a page where a person can look at it.
fn keep(name: &str, page: &str) {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), page).unwrap();
}

/// What lies between two marks, a block an own line.
fn fragment(page: &str, from: &str, to: &str) -> String {
    let start = page.find(from).unwrap();
    let end = start + page[start..].find(to).unwrap();
    let mut text = page[start..end].to_owned();
    for tag in [
        "<article", "<header", "<p", "<div", "<dl", "<dt", "<table", "<thead", "<tbody", "<tr", "<th", "<td",
        "<details", "<section", "<h3", "<h4",
    ] {
        text = text.replace(&format!("{tag} "), &format!("\n{tag} ")).replace(&format!("{tag}>"), &format!("\n{tag}>"));
    }
    text.trim().to_owned()
}

#[test]
fn the_whole_run() {
    let page = html(&Report::new([fixture::recording()]));
    keep("report.html", &page);
    insta::assert_snapshot!("header", fragment(&page, "<header class=\"top", "<div class=\"tools"));
    insta::assert_snapshot!(
        "failed",
        fragment(&page, "<section class=\"troubles failed", "<section class=\"troubles err")
    );
    insta::assert_snapshot!(
        "errored",
        fragment(&page, "<section class=\"troubles errored", "<section class=\"findings")
    );
    insta::assert_snapshot!("findings", fragment(&page, "<section class=\"findings", "<section id=\"notes"));
    insta::assert_snapshot!("ledger", fragment(&page, "<section id=\"ledger", "<section class=\"time"));
}

#[test]
fn other_pages() {
    let recording =
        |entries: Vec<Entry>| Recording { entries, ledger: Some(fixture::ledger()), ..Recording::default() };
    let interrupted = html(&Report::new([recording(fixture::interrupted())]));
    assert!(interrupted.contains("The run was interrupted."));
    keep("interrupted.html", &interrupted);

    let passed = Report::new([recording(good(fixture::entries()))]);
    keep("passed.html", &html(&passed));
    keep("ledger.html", &ledger_html(&fixture::ledger(), Some(&passed)));
    keep("empty.html", &html(&Report::new([])));
}

/// The stream without what went wrong.
fn good(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.retain(|entry| !matches!(&entry.event, Event::TrialFinished(result) if result.outcome != Outcome::Passed));
    for entry in &mut entries {
        if let Event::RunStarted(started) = &mut entry.event {
            started
                .trials
                .retain(|trial| trial.ends_with("sqlite") && !trial.contains("msc3231") && !trial.contains("54"));
        }
    }
    entries.retain(|entry| !matches!(&entry.event, Event::ImageFailed { .. }));
    entries
}

#[test]
fn a_page_asks_nothing_of_the_network() {
    let page = html(&Report::new([fixture::recording()]));
    for loads in ["src=", "@import", "url(", "<link rel=\"stylesheet", "<iframe", "fetch("] {
        assert!(!page.contains(loads), "{loads}");
    }
}

#[test]
fn what_a_homeserver_says_is_never_markup() {
    let nasty = "</script><script>alert(1)</script><img onerror=x>";
    let mut entries = fixture::entries();
    for entry in &mut entries {
        if let Event::TrialFinished(result) = &mut entry.event {
            result.explanation = Some(nasty.into());
            result.note.heading = nasty.into();
            result.note.url = "javascript:alert(1)".into();
            for table in &mut result.tables {
                table.evidence = format!("\"{nasty}");
                table.facts[0].fact = nasty.into();
                table.facts[0].cells[0] = fixture::differs(nasty.into(), format!("{nasty}\n{nasty}").into());
            }
        }
    }
    let page = html(&Report::new([Recording { entries, ..Recording::default() }]));
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("href=\"javascript"));
}

#[test]
fn three_hundred_trials_stay_light() {
    let templates = fixture::entries();
    let mut entries = Vec::new();
    let mut started = fixture::started(None);
    let plans = started.walks.clone();
    (started.trials, started.walks) = (Vec::new(), Vec::new());
    let mut events = Vec::new();
    for number in 0..60 {
        let release = format!("1.{}.0", 20 + number);
        let module = format!("v1_{}_0", 20 + number);
        for plan in &plans {
            let mut plan = plan.clone();
            plan.walk += number * 10;
            started.walks.push(plan);
        }
        for entry in &templates {
            let at = f64::from(u32::try_from(number).unwrap()) * 22.0 + entry.at - 20.0;
            let mut event = entry.event.clone();
            match &mut event {
                Event::TrialFinished(result) => {
                    if result.outcome != Outcome::Passed && number % 20 != 7 {
                        result.outcome = Outcome::Passed;
                        result.explanation = None;
                    }
                    result.trial = result
                        .trial
                        .replace("v1_53_0", &module)
                        .replace("v1_54_0", &module)
                        .replace("v1_57_0", &module);
                    result.note.release.clone_from(&release);
                    for table in &mut result.tables {
                        table.walk += number * 10;
                    }
                    started.trials.push(result.trial.clone());
                }
                Event::WalkStarted { walk } | Event::LegReady { walk, .. } | Event::WalkFinished { walk, .. } => {
                    *walk += number * 10;
                }
                Event::LegFinished(leg) => leg.walk += number * 10,
                Event::WalkAdded(plan) => plan.walk += number * 10,
                _ => continue,
            }
            events.push(Entry { at, event });
        }
    }
    entries.push(Entry { at: 0.0, event: Event::RunStarted(started) });
    entries.extend(events);
    if let Some(end) = templates.last() {
        let mut end = end.clone();
        end.at = 1345.0;
        if let Event::RunFinished(finished) = &mut end.event {
            (finished.seconds, finished.walking_seconds, finished.homeserver_cpu_seconds) = (1345.0, 1310.0, 2390.0);
        }
        entries.push(end);
    }
    let report = Report::new([Recording { entries, ledger: Some(fixture::ledger()), ..Recording::default() }]);
    assert_eq!(report.counts.total(), 420);
    let begun = Instant::now();
    let page = html(&report);
    println!("{} trials: {} KiB in {:?}", report.counts.total(), page.len() / 1024, begun.elapsed());
    keep("large.html", &page);
    assert!(page.len() < 3 << 20, "{} bytes", page.len());
}
