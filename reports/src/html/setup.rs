//! What a run ran on: images, and the environment of each shard.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::{
    Image, Report,
    text::{self, duration},
};

pub(super) fn images(report: &Report) -> Markup {
    // Shards that used the very same image share a row.
    let mut rows: Vec<(&Image, Vec<usize>)> = Vec::new();
    for image in &report.images {
        let known = rows.iter_mut().find(|(known, _)| known.image == image.image && known.id == image.id);
        match known {
            Some((_, runs)) if image.id.is_some() => runs.push(image.run),
            _ => rows.push((image, vec![image.run])),
        }
    }
    let mut digests: BTreeMap<&str, usize> = BTreeMap::new();
    for (image, _) in rows.iter().filter(|(image, _)| image.id.is_some()) {
        *digests.entry(&image.image).or_default() += 1;
    }
    html! {
        section id="images" {
            h2 { "Images" }
            @if rows.is_empty() { p.lead { "None." } } @else {
                div.scroll tabindex="0" role="group" aria-label="images" {
                    table {
                        thead { tr {
                            th scope="col" { "image" } th scope="col" { "source" } th scope="col" { "reference" }
                            th scope="col" { "digest" } th.number scope="col" { "time" }
                            @if report.runs.len() > 1 { th scope="col" { "used by" } }
                        } }
                        tbody {
                            @for (image, runs) in rows {
                                tr.error[image.error.is_some()] {
                                    th scope="row" { (image.image) }
                                    @if let Some(error) = &image.error {
                                        td colspan="3" { div.explanation { (text::clean(error)) } }
                                    } @else {
                                        td { (image.source.as_deref().unwrap_or("not needed")) }
                                        td { code { (image.reference.as_deref().unwrap_or_default()) } }
                                        td {
                                            @if let Some(id) = &image.id { code title=(id) { (short_digest(id)) } }
                                            @if digests.get(image.image.as_str()).is_some_and(|count| *count > 1) {
                                                " " span.could-not { "not the same in every shard" }
                                            }
                                        }
                                    }
                                    td.number { @if image.seconds >= 0.05 { (duration(image.seconds)) } }
                                    @if report.runs.len() > 1 {
                                        td { (runs.iter().map(|run| report.run_name(*run)).collect::<Vec<_>>().join(", ")) }
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

fn short_digest(id: &str) -> String {
    let digest = id.strip_prefix("sha256:").unwrap_or(id);
    digest.chars().take(16).collect()
}

pub(super) fn environment(report: &Report) -> Markup {
    html! {
        section id="environment" {
            h2 { "Environment" }
            @if report.runs.len() > 1 { (shards(report)) }
            dl.trail {
                // The table of shards has the runs' names already.
                @for (name, value) in report.environment().into_iter().filter(|(name, _)| {
                    report.runs.len() == 1 || name != "run" && !name.starts_with("run, ")
                }) {
                    dt { (name) }
                    @if name == "command" { dd.copy { code { (value) } } } @else { dd { (value) } }
                }
            }
        }
    }
}

/// Which shards there were, and what each cost.
fn shards(report: &Report) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="shards" {
            table {
                thead { tr {
                    th scope="col" { "shard" } th scope="col" { "run" } th.number scope="col" { "trials" }
                    th.number scope="col" { "wall time" } th.number scope="col" { "walking" }
                    th.number scope="col" { "CPU" } th.number scope="col" { "boots" }
                    th scope="col" { "end" }
                } }
                tbody {
                    @for (index, run) in report.runs.iter().enumerate() {
                        tr {
                            th scope="row" { (run.shard.as_deref().unwrap_or("–")) }
                            td { (run.run) }
                            td.number { (report.trials.iter().filter(|trial| trial.run == index).count()) }
                            td.number { (duration(run.totals.seconds)) }
                            td.number { (duration(run.totals.walking_seconds)) }
                            td.number { (duration(run.totals.homeserver_cpu_seconds)) }
                            td.number { (run.totals.boots) }
                            td {
                                @if !run.ended { span.could-not { "not on record" } }
                                @else if run.totals.interrupted { "interrupted" }
                                @else { "regular" }
                            }
                        }
                    }
                }
            }
        }
    }
}
