//! What a release manager reads first: what broke, what changed, what it costs.

use maud::{Markup, html};

use super::{trial, value};
use crate::{
    Broken, Change, Figure, Outcome, Qualification, Report, Unit,
    text::{count, duration},
};

/// So many things that broke are shown at once.
const SHOWN: usize = 40;

pub(super) fn sections(report: &Report, qualification: &Qualification) -> Markup {
    html! {
        (areas(qualification))
        (broken(report, qualification))
        (changes(qualification))
        (new_notes(qualification))
        (costs(qualification))
    }
}

fn areas(qualification: &Qualification) -> Markup {
    html! {
        section.areas id="areas" {
            ul {
                @for area in &qualification.areas {
                    li {
                        b { (if area.name.is_empty() { "other" } else { &area.name }) } " "
                        @for (number, outcome) in [
                            (area.counts.failed, Outcome::Failed),
                            (area.counts.errored, Outcome::Errored),
                            (area.counts.flaky, Outcome::Flaky),
                            (area.counts.passed, Outcome::Passed),
                            (area.counts.not_run, Outcome::NotRun),
                        ] {
                            @if number > 0 { span.count.(trial::class(outcome)) { b { (number) } " " (trial::word(outcome)) } }
                        }
                    }
                }
            }
        }
    }
}

fn broken(report: &Report, qualification: &Qualification) -> Markup {
    let broken = &qualification.broken;
    html! {
        section id="broken" {
            h2 { "What broke" }
            @if broken.is_empty() { p.lead { "Nothing that was looked at." } } @else {
                ul.broken { @for one in broken.iter().take(SHOWN) { (one_broken(report, one)) } }
                @if broken.len() > SHOWN {
                    details.more {
                        summary { (broken.len() - SHOWN) " more" }
                        ul.broken { @for one in broken.iter().skip(SHOWN) { (one_broken(report, one)) } }
                    }
                }
            }
        }
    }
}

fn one_broken(report: &Report, broken: &Broken) -> Markup {
    let anchor = report.trials.iter().find(|trial| trial.result.trial == broken.trial).map(|trial| &trial.anchor);
    html! {
        li {
            (trial::badge(broken.outcome)) " " span.release { (broken.area) } " "
            @if !broken.row.is_empty() { b { (value::prose(&broken.row)) } " on " (broken.leg) ": " }
            (broken.text) " "
            @if let Some(anchor) = anchor { a href={ "#" (anchor) } { (broken.trial) } }
        }
    }
}

fn changes(qualification: &Qualification) -> Markup {
    let (taken, unannounced): (Vec<&Change>, Vec<&Change>) =
        qualification.unannounced().partition(|change| change.breaks);
    let announced: Vec<&Change> = qualification.changes.iter().filter(|change| change.note.is_some()).collect();
    html! {
        section id="changes" {
            h2 { "What changed without a note" }
            @if !taken.is_empty() {
                p.lead { "Taken away from whoever relied on it, and announced by no note: this is what broke." }
                (listed(&taken))
            }
            @if unannounced.is_empty() && taken.is_empty() {
                p.lead { "Nothing that was compared with " (qualification.against) "." }
            } @else if !unannounced.is_empty() {
                p.lead {
                    "Otherwise than in " (qualification.against) ", and announced by no note: a warning, not a failure."
                }
                (listed(&unannounced))
            }
            @if !announced.is_empty() {
                details.more { summary { (count(announced.len(), "change")) " that a note announces" } (listed(&announced)) }
            }
        }
    }
}

fn new_notes(qualification: &Qualification) -> Markup {
    html! {
        @if !qualification.new_notes.is_empty() || qualification.notes_unread.is_some() {
            section id="new-notes" {
                h2 { "Notes that no scenario knows in these words" }
                @if let Some(why) = &qualification.notes_unread {
                    p.lead { "The candidate's upgrade notes were not read: " (why) "." }
                }
                @for note in &qualification.new_notes {
                    details.more {
                        summary { "“" (value::prose(&note.heading)) "”" }
                        pre { (note.text) }
                        p { a href=(note.url) { (note.url) } }
                    }
                }
            }
        }
    }
}

fn listed(changes: &[&Change]) -> Markup {
    let mut subjects: Vec<&str> = changes.iter().map(|change| change.of.as_str()).collect();
    subjects.dedup();
    html! {
        @for subject in subjects {
            h4 { (value::prose(subject)) }
            ul.changed {
                @for change in changes.iter().filter(|change| change.of == subject) {
                    li {
                        (value::prose(&change.text))
                        @if change.databases.len() == 1 { " " span.release { "on " (change.databases[0]) " only" } }
                        @if let Some(note) = &change.note { " " span.release { "“" (value::prose(note)) "”" } }
                    }
                }
            }
        }
    }
}

fn costs(qualification: &Qualification) -> Markup {
    html! {
        @if !qualification.costs.is_empty() {
            section id="cost" {
                h2 { "Cost" }
                p.lead {
                    "Medians of this run, least and most in small, candidate beside predecessor. Other walks were under way "
                    "meanwhile: only ratios far from 1 say anything."
                }
                div.scroll tabindex="0" role="group" aria-label="cost" {
                    table {
                        thead { tr {
                            th scope="col" { "measured" }
                            th.number scope="col" { (qualification.candidate) }
                            th.number scope="col" { (qualification.against) }
                            th.number scope="col" { "ratio" }
                        } }
                        tbody {
                            @for cost in &qualification.costs {
                                tr {
                                    th scope="row" { (cost.what) }
                                    (figure(&cost.candidate, cost.unit))
                                    (figure(&cost.against, cost.unit))
                                    td.number {
                                        @if cost.is_beyond { b.could-not { (format!("{:.2}", cost.ratio)) } }
                                        @else { (format!("{:.2}", cost.ratio)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figure(figure: &Figure, unit: Unit) -> Markup {
    let shown = |value: f64| match unit {
        Unit::Seconds => duration(value),
        Unit::Bytes => format!("{:.1} MB", value / 1e6),
    };
    html! {
        td.number {
            (shown(figure.median))
            " " small { "(" (shown(figure.least)) "–" (shown(figure.most)) ", " (figure.count) ")" }
        }
    }
}
