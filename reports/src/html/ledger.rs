//! The ledger: every note of upstream's with what becomes of it.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::trial;
use crate::{Disposition, Ledger, LedgerEntry, Outcome, Report, text::count};

pub(super) fn summary(ledger: &Ledger, report: Option<&Report>) -> Markup {
    let mut dispositions: BTreeMap<u8, usize> = BTreeMap::new();
    for entry in &ledger.entries {
        *dispositions.entry(rank(&entry.disposition)).or_default() += 1;
    }
    let of = |rank: u8| dispositions.get(&rank).copied().unwrap_or(0);
    let judged: Vec<Outcome> = report
        .map(|report| ledger.entries.iter().filter_map(|entry| entry.outcome(report)).collect())
        .unwrap_or_default();
    let with = |outcome: Outcome| judged.iter().filter(|judged| **judged == outcome).count();
    html! {
        p.lead {
            (count(ledger.entries.len(), "note")) ": "
            (of(0)) " with scenarios, " (of(1)) " inspected, " (of(2)) " not testable, " (of(3)) " to come."
            @if report.is_some() {
                " Of them, in this run, "
                (with(Outcome::Passed)) " passed, " (with(Outcome::Failed)) " failed, "
                (with(Outcome::Errored)) " could not be judged."
            }
        }
    }
}

fn rank(disposition: &Disposition) -> u8 {
    match disposition {
        Disposition::Scenarios(_) => 0,
        Disposition::Inspected(_) => 1,
        Disposition::NotTestable(_) => 2,
        Disposition::ToCome => 3,
    }
}

pub(super) fn table(ledger: &Ledger, report: Option<&Report>) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="ledger" {
            table.ledger {
                thead { tr {
                    th scope="col" { "release" }
                    th scope="col" { "note" }
                    th scope="col" { "disposition" }
                    @if report.is_some() { th scope="col" { "this run" } }
                } }
                tbody {
                    @for (index, entry) in ledger.entries.iter().enumerate() {
                        @let first = index == 0 || ledger.entries[index - 1].note.release != entry.note.release;
                        tr.first[first] {
                            td { @if first { (entry.note.release) } @else { span.vh { (entry.note.release) } } }
                            th scope="row" { (trial::heading(&entry.note)) }
                            td { (disposition(entry)) }
                            @if let Some(report) = report { td { (verdict(entry, report)) } }
                        }
                    }
                }
            }
        }
    }
}

fn disposition(entry: &LedgerEntry) -> Markup {
    html! {
        @match &entry.disposition {
            Disposition::Scenarios(names) => @for name in names { code { (name) } " " },
            Disposition::Inspected(names) => { "inspected: " @for name in names { code { (name) } " " } },
            Disposition::NotTestable(reason) => span.reason { "not testable: " (reason) },
            Disposition::ToCome => span.to-come { "to come" },
        }
    }
}

fn verdict(entry: &LedgerEntry, report: &Report) -> Markup {
    let trials = entry.trials(report);
    html! {
        @if trials.is_empty() {
            span.absent { @if entry.names().is_empty() { "" } @else { "not in this run" } }
        }
        @for trial in trials {
            a.verdict.(trial::class(trial.result.outcome)) href={ "#" (trial.anchor) } title=(trial.result.trial) {
                (trial::word(trial.result.outcome))
                @if !trial.result.database.is_empty() { " on " (trial.result.database) }
            }
            " "
        }
    }
}
