//! One page that holds a whole run and asks nothing of the network.

mod ledger;
mod qualification;
mod setup;
mod time;
mod trial;
mod value;

use chrono::DateTime;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    Disagreement, Ledger, Note, Noticed, Outcome, Report, Trial, Verdict, release,
    report::capitalized,
    text::{self, count, duration},
};

/// A report as one self-contained HTML page.
pub fn html(report: &Report) -> String {
    let title = match &report.qualification {
        Some(qualification) => format!("{} · Synapse upgrades", qualification.sentence.trim_end_matches('.')),
        None => format!("{} · Synapse upgrades", capitalized(&text::counts(&report.counts))),
    };
    page(
        &title,
        report.verdict,
        &html! {
            (header(report))
            @if let Some(of) = &report.qualification {
                main id="main" {
                    (qualification::sections(report, of))
                    details.more.everything open[of.areas.is_empty()] {
                        summary { "Everything that was looked at" }
                        (glance(report))
                        (tools(report))
                        (everything(report))
                    }
                }
            } @else {
                (glance(report))
                (tools(report))
                main id="main" { (everything(report)) }
            }
        },
    )
}

/// All sections, after what a reader wants first.
fn everything(report: &Report) -> Markup {
    html! {
        (troubles(report, Outcome::Failed, "Failed", "A homeserver broke its contract."))
        (troubles(
            report,
            Outcome::Errored,
            "Errors",
            "The harness, Docker or an image failed. This says nothing of any homeserver.",
        ))
        (troubles(
            report,
            Outcome::Flaky,
            "Flaky",
            "Did not pass in company, and passed alone. Both tables are shown; one of them is wrong.",
        ))
        (control(report))
        (findings(report))
        (releases(report))
        @if let Some(ledger) = &report.ledger {
            section id="ledger" {
                h2 { "Ledger" }
                (ledger::summary(ledger, Some(report)))
                @if ledger.entries.len() > 30 {
                    details.more { summary { "All notes" } (ledger::table(ledger, Some(report))) }
                } @else {
                    (ledger::table(ledger, Some(report)))
                }
            }
        }
        (time::section(report))
        (setup::images(report))
        (setup::environment(report))
    }
}

/// The ledger as a page of its own, with a run's verdicts when one is given. Those link into the run's page.
pub fn ledger_html(ledger: &Ledger, report: Option<&Report>) -> String {
    let verdict = report.map_or(Verdict::Passed, |report| report.verdict);
    let table = ledger::table(ledger, report).into_string().replace("href=\"#", "href=\"report.html#");
    page(
        "Ledger · Synapse upgrades",
        verdict,
        &html! {
            header.top {
                p.over { "Synapse upgrade conformance" }
                h1 { "Ledger of upstream’s upgrade notes" }
                (ledger::summary(ledger, report))
            }
            main id="main" { section { (PreEscaped(table)) } }
        },
    )
}

fn page(title: &str, verdict: Verdict, body: &Markup) -> String {
    // Nothing on the page needs the network, and what a homeserver said must not get at it.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
    let dot = match verdict {
        Verdict::Passed => "%231a7f4b",
        Verdict::Incomplete => "%23a16207",
        Verdict::Flaky => "%23c2570c",
        Verdict::Errored => "%237c3aed",
        Verdict::Failed => "%23c62828",
    };
    let icon = format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='7' \
         fill='{dot}'/></svg>"
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (title) }
                link rel="icon" href=(icon);
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                a.skip href="#main" { "Skip to the results" }
                (body)
                script { (PreEscaped(include_str!("script.js"))) }
            }
        }
    }
    .into_string()
}

/// The verdict in a sentence or two.
fn sentence(report: &Report) -> String {
    let counts = &report.counts;
    let judged = counts.passed + counts.failed + counts.flaky;
    let unjudged = match counts.errored {
        0 => String::new(),
        1 => " One more could not be judged.".to_owned(),
        errored => format!(" {errored} more could not be judged."),
    };
    match report.verdict {
        Verdict::Passed if counts.flaky > 0 => {
            format!("All {judged} trials that ran passed, {} of them alone only.", counts.flaky)
        }
        Verdict::Passed if judged == 1 => "The one trial that ran passed.".to_owned(),
        Verdict::Passed => format!("All {judged} trials that ran passed."),
        Verdict::Flaky => {
            let does = if counts.flaky == 1 { "passes" } else { "pass" };
            format!("{} of {} {does} alone only.", counts.flaky, count(judged, "trial"))
        }
        Verdict::Failed => {
            format!("{} of {} found a broken contract.{unjudged}", counts.failed, count(judged, "trial"))
        }
        Verdict::Errored => {
            format!(
                "{} could not be judged; {} that ran passed.",
                count(counts.errored, "trial"),
                match judged {
                    0 => "none".to_owned(),
                    judged => format!("the {judged}"),
                },
            )
        }
        Verdict::Incomplete if counts.passed == 0 => "No trial ran to its end.".to_owned(),
        Verdict::Incomplete => format!("Nothing failed in {}, but that is not the whole.", count(judged, "trial")),
    }
}

fn header(report: &Report) -> Markup {
    let totals = &report.totals;
    let run = report.runs.first();
    html! {
        header.top.(verdict_class(report.verdict)) {
            p.over {
                "Synapse upgrade conformance"
                @if let Some(run) = run { " · " (moment(&run.started)) }
                @if report.runs.len() > 1 { " · " (count(report.runs.len(), "shard")) }
            }
            h1 {
                @match &report.qualification {
                    Some(qualification) => (qualification.sentence),
                    None => (sentence(report)),
                }
            }
            @if !report.gaps.is_empty() {
                ul.gaps { @for gap in &report.gaps { li { (gap) } } }
            }
            dl.figures {
                div {
                    dt { "trials" }
                    dd {
                        @for (number, outcome) in [
                            (report.counts.passed, Outcome::Passed),
                            (report.counts.failed, Outcome::Failed),
                            (report.counts.flaky, Outcome::Flaky),
                            (report.counts.errored, Outcome::Errored),
                            (report.counts.not_run, Outcome::NotRun),
                        ] {
                            @if number > 0 {
                                span.count.(trial::class(outcome)) { b { (number) } " " (plural(number, outcome)) }
                                " "
                            }
                        }
                    }
                }
                div {
                    dt { @if report.runs.len() > 1 { "longest run" } @else { "wall time" } }
                    dd {
                        b { (duration(totals.seconds)) }
                        small {
                            (duration(totals.walking_seconds)) " walking" @if report.runs.len() > 1 { " in all" }
                        }
                    }
                }
                div {
                    dt { "homeserver CPU" }
                    dd {
                        b { (duration(totals.homeserver_cpu_seconds)) }
                        @if let Some(floor) = totals.floor_seconds { small { "÷ cores = " (duration(floor)) } }
                    }
                }
                @if let Some(ratio) = totals.ratio {
                    div {
                        dt { "walking ÷ that" }
                        dd { b { (format!("{ratio:.2}")) } small { "1 is the floor" } }
                    }
                }
                div { dt { "boots" } dd { b { (totals.boots) } small { (count(report.walks.len(), "walk")) } } }
                @if let Some(span) = span_of_releases(report) {
                    div { dt { "releases" } dd { b { (span.0) } small { (span.1) } } }
                }
            }
        }
    }
}

fn plural(number: usize, outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Errored if number > 1 => "errors",
        outcome => trial::word(outcome),
    }
}

fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Incomplete => "not-run",
        Verdict::Flaky => "flaky",
        Verdict::Errored => "errored",
        Verdict::Failed => "failed",
    }
}

fn span_of_releases(report: &Report) -> Option<(usize, String)> {
    let releases = releases_of(report.trials.iter());
    let (newest, oldest) = (releases.first()?, releases.last()?);
    let span = if newest == oldest { (*newest).to_owned() } else { format!("{oldest} to {newest}") };
    Some((releases.len(), span))
}

/// Newest first, as upstream's document has them.
fn releases_of<'a>(trials: impl Iterator<Item = &'a Trial>) -> Vec<&'a str> {
    let mut releases: Vec<&str> = trials.map(|trial| trial.result.note.release.as_str()).collect();
    releases.sort_by(|a, b| release::compare(b, a));
    releases.dedup();
    releases
}

fn moment(rfc3339: &str) -> String {
    DateTime::parse_from_rfc3339(rfc3339)
        .map_or_else(|_| rfc3339.to_owned(), |moment| moment.to_utc().format("%-d %B %Y, %H:%M UTC").to_string())
}

/// Every trial as a square, release by release.
fn glance(report: &Report) -> Markup {
    html! {
        @if !report.trials.is_empty() {
            nav.glance.many[releases_of(report.trials.iter()).len() > 8] aria-label="All trials by release" {
                @for release in releases_of(report.trials.iter()) {
                    div.line {
                        span.release { @if release.is_empty() { "–" } @else { (release) } }
                        span.squares {
                            @for trial in report.trials.iter().filter(|trial| trial.result.note.release == release) {
                                @let text = format!("{}: {}", trial.result.trial, trial::word(trial.result.outcome));
                                a.square.(trial::class(trial.result.outcome))
                                    href={ "#" (trial.anchor) } title=(text) aria-label=(text) {}
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where to find what, and a filter that needs the script.
fn tools(report: &Report) -> Markup {
    let counts = &report.counts;
    let findings = disagreements(report).len();
    html! {
        div.tools {
            nav aria-label="Sections" {
                @if counts.failed > 0 { a href="#failed" { "Failed " (counts.failed) } }
                @if counts.errored > 0 { a href="#errored" { "Errors " (counts.errored) } }
                @if counts.flaky > 0 { a href="#flaky" { "Flaky " (counts.flaky) } }
                @if findings > 0 { a href="#findings" { "Findings " (findings) } }
                a href="#notes" { "Notes" }
                @if report.ledger.is_some() { a href="#ledger" { "Ledger" } }
                a href="#time" { "Time" }
                a href="#images" { "Images" }
                a href="#environment" { "Environment" }
            }
            form.filter hidden {
                label { span.vh { "Show trials whose text has" } input type="search" placeholder="Filter trials"; }
                button type="button" data-fold="open" { "Unfold all" }
                button type="button" data-fold="closed" { "Fold all" }
            }
        }
    }
}

fn troubles(report: &Report, outcome: Outcome, title: &str, meaning: &str) -> Markup {
    let trials: Vec<&Trial> = report.trials.iter().filter(|trial| trial.result.outcome == outcome).collect();
    html! {
        @if !trials.is_empty() {
            section.troubles.(trial::class(outcome)) id=(trial::class(outcome)) {
                h2 { (title) }
                p.lead { (meaning) }
                @for trial in trials { (trial::card(report, trial)) }
            }
        }
    }
}

/// A control's facts: how many noticed old code, and each that did not.
fn control(report: &Report) -> Markup {
    let facts = || report.trials.iter().flat_map(|trial| trial.result.control.iter().map(move |fact| (trial, fact)));
    let noticed = facts().filter(|(_, fact)| fact.noticed == Noticed::Yes).count();
    html! {
        @if facts().next().is_some() {
            section id="control" {
                h2 { "Control" }
                p.lead {
                    "Old code ran under the new version number. " (noticed) " of "
                    (count(facts().count(), "changing fact")) " noticed."
                }
                @if noticed < facts().count() {
                    table.facts {
                        thead { tr { th scope="col" { "trial" } th scope="col" { "fact" } th scope="col" { "noticed" } } }
                        tbody {
                            @for (trial, fact) in facts().filter(|(_, fact)| fact.noticed != Noticed::Yes) {
                                tr {
                                    td { a href={ "#" (trial.anchor) } { (trial.result.trial) } }
                                    td {
                                        (value::prose(&fact.fact))
                                        @if !fact.variant.is_empty() { " (" (value::prose(&fact.variant)) ")" }
                                    }
                                    td { (value::prose(&text::noticed(&fact.noticed))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Each disagreement once, with the trials that saw it.
fn disagreements(report: &Report) -> Vec<(&Note, &Disagreement, Vec<&Trial>)> {
    let mut found: Vec<(&Note, &Disagreement, Vec<&Trial>)> = Vec::new();
    for trial in &report.trials {
        for disagreement in &trial.result.disagreements {
            let note = &trial.result.note;
            match found.iter_mut().find(|(known, text, _)| (*known, *text) == (note, disagreement)) {
                Some((.., trials)) => trials.push(trial),
                None => found.push((note, disagreement, vec![trial])),
            }
        }
    }
    found.sort_by(|a, b| release::compare(&b.0.release, &a.0.release));
    found
}

fn findings(report: &Report) -> Markup {
    let findings = disagreements(report);
    html! {
        @if !findings.is_empty() {
            section.findings id="findings" {
                h2 { "Findings" }
                p.lead {
                    "Where upstream’s text and real servers disagree. The trials expect what servers really do; "
                    "the text is what wants a second look."
                }
                @for (note, disagreement, trials) in findings {
                    article.finding {
                        h3 { span.release { (note.release) } " " (trial::heading(note)) }
                        dl {
                            dt { "upstream says" }
                            dd.says { (value::prose(&disagreement.upstream_says)) }
                            dt { "really" }
                            dd { (value::prose(&disagreement.really)) }
                            @let confirmed = trials.iter().any(|trial| trial.result.outcome == Outcome::Passed);
                            dt { @if confirmed { "confirmed by" } @else { "expected by" } }
                            dd.by {
                                @for trial in &trials {
                                    @if !confirmed || trial.result.outcome == Outcome::Passed {
                                        a href={ "#" (trial.anchor) } { (trial.result.trial) } " "
                                    }
                                }
                                @if !confirmed { span.unconfirmed { "not confirmed in this run" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn releases(report: &Report) -> Markup {
    let open = report.trials.len() <= 10;
    html! {
        section id="notes" {
            h2 { "Notes by release" }
            @for release in releases_of(report.trials.iter()) {
                @let trials: Vec<&Trial> =
                    report.trials.iter().filter(|trial| trial.result.note.release == release).collect();
                section.release-notes {
                    h3 id={ "release-" (release) } { @if release.is_empty() { "No release" } @else { (release) } }
                    @for (note, trials) in by_note(&trials) {
                        div.of-note {
                            h4 { (trial::heading(note)) }
                            @for trial in trials {
                                @match trial.result.outcome {
                                    Outcome::Passed => (trial::folded(report, trial, open)),
                                    Outcome::NotRun if !trial.result.tables.is_empty() => (trial::folded(report, trial, true)),
                                    Outcome::NotRun => p.trial.not-run id=(trial.anchor) data-outcome="not-run" {
                                        (trial::badge(Outcome::NotRun)) " "
                                        span.name { (trial.result.trial) } " "
                                        span.why { (trial.result.explanation.as_deref().unwrap_or_default()) }
                                    },
                                    outcome => p.trial.elsewhere data-outcome=(trial::class(outcome)) {
                                        (trial::badge(outcome)) " "
                                        a.name href={ "#" (trial.anchor) } { (trial.result.trial) } " "
                                        span.why { "above" }
                                    },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Notes in the order in which their trials were planned.
fn by_note<'a>(trials: &[&'a Trial]) -> Vec<(&'a Note, Vec<&'a Trial>)> {
    let mut notes: Vec<(&Note, Vec<&Trial>)> = Vec::new();
    for trial in trials {
        match notes.iter_mut().find(|(note, _)| *note == &trial.result.note) {
            Some((_, of_note)) => of_note.push(trial),
            None => notes.push((&trial.result.note, vec![trial])),
        }
    }
    notes
}
