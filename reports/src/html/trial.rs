//! A trial as a card: what it says, its tables, where its evidence lies, how to run it again.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::value;
use crate::{
    Cell, CellVerdict, FactRow, FactTable, Leg, Observed, Outcome, Report, Trial,
    text::{self, count, duration},
};

/// A card that stands open, for what a reader must see.
pub(super) fn card(report: &Report, trial: &Trial) -> Markup {
    html! {
        article.trial.(class(trial.result.outcome)) id=(trial.anchor) data-outcome=(class(trial.result.outcome)) {
            header { (head(report, trial)) }
            p.note { (note(trial)) }
            (body(report, trial))
        }
    }
}

/// A card that folds, for what is as it should be.
pub(super) fn folded(report: &Report, trial: &Trial, open: bool) -> Markup {
    html! {
        details.trial.(class(trial.result.outcome)) id=(trial.anchor) data-outcome=(class(trial.result.outcome))
            open[open] {
            summary { (head(report, trial)) }
            (body(report, trial))
        }
    }
}

pub(super) fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Flaky => "flaky",
        Outcome::Errored => "errored",
        Outcome::NotRun => "not-run",
    }
}

pub(super) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Flaky => "flaky",
        Outcome::Errored => "error",
        Outcome::NotRun => "not run",
    }
}

/// One word in the outcome's shape and color.
pub(super) fn badge(outcome: Outcome) -> Markup {
    html! { span.badge.(class(outcome)) { (word(outcome)) } }
}

/// The note a trial is about, with its link.
pub(super) fn note(trial: &Trial) -> Markup {
    let note = &trial.result.note;
    html! {
        @if !note.release.is_empty() { span.release { (note.release) } " " }
        (heading(note))
    }
}

/// A note's heading, linked to upstream's text.
pub(super) fn heading(note: &crate::Note) -> Markup {
    let text = if note.heading.is_empty() { text::heading(note) } else { note.heading.clone() };
    html! {
        // Only links that a page may hold: what was recorded is not trusted with a scheme of its own.
        @if note.url.starts_with("https://") || note.url.starts_with("http://") {
            a href=(note.url) { (value::prose(&text)) }
        } @else {
            (value::prose(&text))
        }
    }
}

fn head(report: &Report, trial: &Trial) -> Markup {
    let result = &trial.result;
    html! {
        (badge(result.outcome))
        " "
        span.name { (broken_name(&result.trial)) }
        span.meta {
            @if !result.database.is_empty() { span { (result.database) } }
            @if trial.finished_at.is_some() && result.seconds > 0.0 { span { (duration(result.seconds)) } }
            @if let Some(shard) = &report.runs[trial.run].shard { span { "shard " (shard) } }
            a.anchor href={ "#" (trial.anchor) } aria-label={ "link to " (result.trial) } { "#" }
        }
    }
}

/// A name that a narrow screen may break where a person would.
fn broken_name(name: &str) -> Markup {
    html! {
        @for part in name.split_inclusive([':', '.', '/', '_']) {
            (part)
            // Not between two colons, nor within a short word.
            @if part.len() > 3 || part.ends_with(':') && part.len() == 1 { wbr; }
        }
    }
}

fn body(report: &Report, trial: &Trial) -> Markup {
    let result = &trial.result;
    let evidence = text::evidence(result);
    html! {
        @if let Some(explanation) = &result.explanation {
            div.explanation { (text::clean(explanation).trim()) }
        }
        @for disagreement in &result.disagreements {
            p.disagrees {
                "Upstream’s text and real servers disagree: "
                (value::prose(&disagreement.really))
            }
        }
        @for facts in &result.tables { (table(report, facts)) }
        @if !result.in_company.is_empty() {
            details.company open[result.outcome == Outcome::Flaky] {
                summary { "in company, before it walked again alone" }
                @for facts in &result.in_company { (table(report, facts)) }
            }
        }
        @if !result.rerun.is_empty() || !evidence.is_empty() {
            dl.trail {
                @if !evidence.is_empty() {
                    dt { "evidence" }
                    dd { @for path in evidence { a href=(link(path)) { (path) } " " } }
                }
                @if !result.rerun.is_empty() {
                    dt { "rerun" }
                    dd.copy { code { (result.rerun) } }
                }
            }
        }
    }
}

/// A relative link to a path.
fn link(path: &str) -> String {
    let mut link = String::from(if path.starts_with('/') { "" } else { "./" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            link.push(byte.into());
        } else {
            let _ = write!(link, "%{byte:02X}");
        }
    }
    link
}

fn table(report: &Report, table: &FactTable) -> Markup {
    let legs = report.walks.get(table.walk).map(|walk| walk.legs.as_slice()).unwrap_or_default();
    let columns = table.legs.len() + 1;
    let wrong = |row: &&FactRow| {
        row.cells.iter().any(|cell| matches!(cell.verdict, CellVerdict::Mismatch | CellVerdict::Error))
    };
    let sick = table.health.iter().filter(wrong).count();
    if table.legs.len() > WIDE && nothing_at_all(table).is_none() {
        return matrix(table);
    }
    if let Some(reason) = nothing_at_all(table) {
        return html! {
            p.nothing { @if !table.variant.is_empty() { (value::prose(&table.variant)) ": " } "nothing was observed, " (reason) }
        };
    }
    html! {
        div.scroll tabindex="0" role="group" aria-label="facts by leg" {
            table.facts {
                @if !table.variant.is_empty() { caption { (value::prose(&table.variant)) } }
                thead {
                    tr {
                        th scope="col" { "fact" }
                        @for (index, title) in table.legs.iter().enumerate() {
                            (column(title, legs.get(index)))
                        }
                    }
                }
                tbody { @for fact in &table.facts { (row(fact, &table.legs)) } }
                @if sick > 0 {
                    tbody.health {
                        tr { th.group colspan=(columns) scope="colgroup" { "health of the legs" } }
                        @for fact in table.health.iter().filter(wrong) { (row(fact, &table.legs)) }
                    }
                }
            }
        }
        @if table.health.len() > sick {
            details.health {
                summary {
                    @let well = table.health.len() - sick;
                    @if sick > 0 { (count(well, "other health check")) } @else { (count(well, "health check")) }
                    " on every leg, all as expected"
                }
                div.scroll tabindex="0" role="group" aria-label="health by leg" {
                    table.facts {
                        thead { tr {
                            th scope="col" { "check" }
                            @for title in &table.legs { th scope="col" { (value::prose(title)) } }
                        } }
                        tbody {
                            @for fact in table.health.iter().filter(|row| !wrong(row)) { (row(fact, &table.legs)) }
                        }
                    }
                }
            }
        }
    }
}

/// More legs than this are not read side by side.
const WIDE: usize = 8;

/// A table of many legs: facts down, legs across, neighbors that came out the same as one cell, and what is wrong below.
fn matrix(table: &FactTable) -> Markup {
    let release = |leg: &str| leg.split_once(", ").map_or(leg, |(release, _)| release).to_owned();
    html! {
        div.scroll tabindex="0" role="group" aria-label="facts by leg" {
            table.facts.matrix {
                @if !table.variant.is_empty() { caption { (value::prose(&table.variant)) } }
                thead {
                    tr {
                        th scope="col" { "fact" }
                        @for leg in &table.legs { th.leg scope="col" title=(leg) { (release(leg)) } }
                    }
                }
                tbody { @for row in &table.facts { (matrix_row(row, &table.legs)) } }
                tbody.health { @for row in &table.health { (matrix_row(row, &table.legs)) } }
            }
        }
    }
}

/// Wrong cells of one row that are shown in full; the others have their marks.
const SHOWN: usize = 6;

fn matrix_row(row: &FactRow, legs: &[String]) -> Markup {
    let same = |a: &Cell, b: &Cell| a.verdict == b.verdict && a.observed == b.observed;
    let wrong = |cell: &Cell| matches!(cell.verdict, CellVerdict::Mismatch | CellVerdict::Error);
    let bad = row.cells.iter().any(|cell| cell.verdict == CellVerdict::Mismatch);
    let error = row.cells.iter().any(|cell| cell.verdict == CellVerdict::Error);
    html! {
        tr.bad[bad].error[error && !bad] {
            th scope="row" { (value::prose(&row.fact)) }
            @for run in row.cells.chunk_by(same) {
                @let (mark, text) = text::in_brief(&run[0]);
                td.ok[run[0].verdict == CellVerdict::Match].bad[run[0].verdict == CellVerdict::Mismatch]
                    .error[run[0].verdict == CellVerdict::Error]
                    colspan=(run.len())
                    title=[(run[0].verdict != CellVerdict::Match || run.len() < 4).then(|| text::shortened(&text, 160))] {
                    (mark)
                    @if run.len() >= 4 { " " (text::shortened(&text, 7 * run.len())) }
                }
            }
        }
        @for (index, cell) in row.cells.iter().enumerate().filter(|(_, cell)| wrong(cell)).take(SHOWN) {
            tr.difference {
                td colspan=(legs.len() + 1) {
                    div.on { "on " (legs.get(index).map_or("", String::as_str)) ":" }
                    @match text::diff(cell) {
                        Some(diff) => (value::diff(&diff)),
                        None => (text::in_brief(cell).1),
                    }
                }
            }
        }
    }
}

/// Why a table is empty, if it is: a walk that broke off before its first leg was observed.
fn nothing_at_all(table: &FactTable) -> Option<&str> {
    let mut cells = table.facts.iter().chain(&table.health).flat_map(|row| &row.cells);
    let Observed::Nothing(reason) = &cells.next()?.observed else {
        return None;
    };
    cells.all(|cell| matches!(&cell.observed, Observed::Nothing(_))).then_some(reason)
}

/// `1.53.0, after: remove the listener` → the release, and what was done below it; how the leg began below that.
fn column(title: &str, leg: Option<&Leg>) -> Markup {
    let (release, step) = title.split_once(", ").map_or((title, None), |(release, step)| (release, Some(step)));
    html! {
        th scope="col" {
            (value::prose(release))
            @if let Some(step) = step { span.step { (value::prose(step)) } }
            @if let Some(Leg { answered: Some(answered), started_at, ready_at, .. }) = leg {
                @let after = started_at.zip(*ready_at).map(|(start, ready)| duration(ready - start));
                @if *answered {
                    @if let Some(after) = after { span.began { "up in " (after) } }
                } @else {
                    span.began.refused { "refused to start" }
                }
            }
        }
    }
}

fn row(row: &FactRow, legs: &[String]) -> Markup {
    let bad = row.cells.iter().any(|cell| cell.verdict == CellVerdict::Mismatch);
    let error = row.cells.iter().any(|cell| cell.verdict == CellVerdict::Error);
    html! {
        tr.bad[bad].error[error && !bad] {
            th scope="row" {
                @if row.fact.contains([' ', '`']) { (value::prose(&row.fact)) } @else { (broken_name(&row.fact)) }
            }
            @for (index, cell) in row.cells.iter().enumerate() {
                (self::cell(cell, index.checked_sub(1).map(|before| &row.cells[before])))
            }
        }
        @for (index, cell) in row.cells.iter().enumerate() {
            @if cell.verdict == CellVerdict::Mismatch && let Some(diff) = text::diff(cell) {
                tr.difference {
                    td colspan=(legs.len() + 1) {
                        div.on { "on " (legs.get(index).map_or("", String::as_str)) ": " del { "− expected" } " " ins { "+ observed" } }
                        (value::diff(&diff))
                    }
                }
            }
        }
    }
}

/// A value that is the same as on the leg before steps back, so that what changed stands out.
fn cell(cell: &Cell, before: Option<&Cell>) -> Markup {
    let same = before.is_some_and(|before| before.observed == cell.observed);
    html! {
        @match cell.verdict {
            CellVerdict::Match => td.ok.same[same] {
                (observed(&cell.observed))
                @if let (Some(expected), Observed::Value(seen)) = (&cell.expected, &cell.observed)
                    && expected != seen {
                    div.rule { (value::value(expected)) }
                }
            },
            CellVerdict::Mismatch if text::diff(cell).is_some() => td.bad {
                span.mark { "✗" } " differs, see below "
                @if let (Some(expected), Observed::Value(seen)) = (&cell.expected, &cell.observed) {
                    div.rule { (value::behind("expected", expected)) " " (value::behind("observed", seen)) }
                }
            },
            CellVerdict::Mismatch => td.bad {
                dl.both {
                    dt { "expected" }
                    dd { @match &cell.expected { Some(expected) => (value::value(expected)), None => "nothing" } }
                    dt { span.mark { "✗" } " observed" }
                    dd { (observed(&cell.observed)) }
                }
            },
            CellVerdict::Error => td.error {
                span.mark { "!" } " " (observed(&cell.observed))
                @if let Some(expected) = &cell.expected {
                    div.rule { "expected " (value::value(expected)) }
                }
            },
            CellVerdict::NotCompared => td.same[same] {
                @if same && matches!(cell.observed, Observed::Nothing(_)) {
                    span.nothing { "–" }
                } @else {
                    (observed(&cell.observed))
                }
            },
        }
    }
}

fn observed(observed: &Observed) -> Markup {
    html! {
        @match observed {
            Observed::Value(seen) => (value::value(seen)),
            Observed::Long { .. } => span.long { (text::observed(observed)) },
            Observed::Error(error) => span.could-not { "could not look: " (error) },
            Observed::Nothing(reason) => span.nothing { (reason) },
        }
    }
}
