//! When what was under way: a bar per image and walk, on the run's own clock.

use maud::{Markup, html};

use super::value;
use crate::{Image, Leg, Report, Walk, report::capitalized, text::duration};

/// The whole section: each run on its own clock, then its legs in figures.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section.time id="time" {
            h2 { "Time" }
            @if let [_] = report.runs.as_slice() {
                (of_run(report, 0))
            } @else {
                @for (index, run) in report.runs.iter().enumerate() {
                    details.more open[report.runs.len() <= 8] {
                        summary { b { (capitalized(&report.run_name(index))) } ", " (duration(run.totals.seconds)) }
                        (of_run(report, index))
                    }
                }
            }
        }
    }
}

fn of_run(report: &Report, run: usize) -> Markup {
    let this = &report.runs[run];
    let walks: Vec<_> = report.walks.iter().filter(|walk| walk.run == run).collect();
    html! {
        @if this.totals.seconds > 0.0 {
            p.legend aria-hidden="true" {
                span { span.key.image {} "image" }
                span { span.key.boot {} "boots" }
                span { span.key.leg {} "observed" }
                span { span.key.refused {} "refuses to start" }
                @if report.images.iter().any(|image| image.run == run && image.error.is_some()) {
                    span { span.key.lost {} "image not to be had" }
                }
            }
            (timeline(report, run))
        }
        @if !this.notices.is_empty() {
            ul.notices {
                @for notice in &this.notices { li { span.at { (duration(notice.at)) } " " (notice.text) } }
            }
        }
        @if !walks.is_empty() {
            details.more {
                summary { "Legs in figures" }
                div.scroll tabindex="0" role="group" aria-label="legs" {
                    table.legs {
                        thead { tr {
                            th scope="col" { "walk" } th scope="col" { "leg" } th scope="col" { "start" }
                            th.number scope="col" { "whole" } th.number scope="col" { "CPU" }
                            th.number scope="col" { "boots" } th scope="col" { "says of itself" }
                        } }
                        tbody {
                            @for walk in walks {
                                @for (index, leg) in walk.legs.iter().enumerate() {
                                    @let span = |until: Option<f64>| {
                                        leg.started_at.zip(until).map(|(start, end)| duration(end - start))
                                    };
                                    tr.first[index == 0] {
                                        th scope="row" { @if index == 0 { (walk.number) ": " (value::prose(&walk.title)) } }
                                        td { (value::prose(&leg.title)) }
                                        td {
                                            @match leg.answered {
                                                Some(true) => (span(leg.ready_at).unwrap_or_default()),
                                                Some(false) => "refused",
                                                None => "–",
                                            }
                                        }
                                        td.number { (span(leg.finished_at).unwrap_or_else(|| "–".into())) }
                                        td.number { (duration(leg.homeserver_cpu_seconds)) }
                                        td.number { (leg.boots) }
                                        td.fingerprints {
                                            @for (name, value) in &leg.fingerprints {
                                                span { (name) " " b { (value) } } " "
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
    }
}

fn timeline(report: &Report, run: usize) -> Markup {
    let total = report.runs[run].totals.seconds.max(0.001);
    let images: Vec<&Image> = report
        .images
        .iter()
        .filter(|image| image.run == run && image.ended_at.is_some() && image.seconds >= total / 200.0)
        .collect();
    let walks: Vec<&Walk> = report.walks.iter().filter(|walk| walk.run == run && walk.started_at.is_some()).collect();
    let ticks = ticks(total);
    html! {
        div.timeline {
            div.row.axis aria-hidden="true" {
                span.label {}
                span.track { @for tick in &ticks { span.tick style=(at(*tick, total)) { (clock(*tick)) } } }
            }
            @for image in images {
                @let end = image.ended_at.unwrap_or_default();
                div.row {
                    span.label { (image.image) }
                    span.track {
                        @let class = if image.error.is_some() { "lost" } else { "image" };
                        (bar(class, end - image.seconds, end, total, &format!("image, {}", duration(image.seconds))))
                    }
                }
            }
            @for walk in walks {
                div.row {
                    span.label title=(walk.title) {
                        span.index { (walk.number) } (value::prose(&walk.title))
                        @if walk.added { " " span.added { "added" } }
                    }
                    span.track {
                        @if let (Some(start), end) = (walk.started_at, walk.finished_at.unwrap_or(total)) {
                            (bar("walk", start, end, total, &format!("{}, {}", walk.title, duration(end - start))))
                        }
                        @for leg in &walk.legs { (self::leg(leg, total)) }
                    }
                }
            }
        }
    }
}

fn leg(leg: &Leg, total: f64) -> Markup {
    let Some(start) = leg.started_at else {
        return html! {};
    };
    let end = leg.finished_at.or(leg.ready_at).unwrap_or(start);
    let ready = leg.ready_at.unwrap_or(end);
    let (class, word) = match leg.answered {
        Some(false) => ("refused", "refused to start"),
        Some(true) => ("boot", "boots"),
        None => ("boot", "never answered"),
    };
    html! {
        (bar(class, start, ready, total, &format!("{} {word}, {}", leg.title, duration(ready - start))))
        @if end > ready && leg.answered == Some(true) {
            (bar("leg", ready, end, total, &format!("{} is observed, {}", leg.title, duration(end - ready))))
        }
    }
}

fn bar(class: &str, start: f64, end: f64, total: f64, title: &str) -> Markup {
    let style = format!("{}width:{:.2}%", at(start, total), percent(end - start, total).max(0.15));
    html! { span.bar.(class) style=(style) title=(title) {} }
}

fn at(seconds: f64, total: f64) -> String {
    format!("left:{:.2}%;", percent(seconds, total))
}

fn percent(seconds: f64, total: f64) -> f64 {
    (seconds / total * 100.0).clamp(0.0, 100.0)
}

/// Four to eight round figures.
fn ticks(total: f64) -> Vec<f64> {
    let steps = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];
    let step = steps.into_iter().find(|step| total / step < 8.0).unwrap_or(total / 4.0);
    let mut ticks = Vec::new();
    let mut tick = 0.0;
    while tick < total && ticks.len() < 9 {
        ticks.push(tick);
        tick += step;
    }
    ticks
}

fn clock(seconds: f64) -> String {
    if seconds < 60.0 || seconds % 60.0 != 0.0 { format!("{seconds} s") } else { format!("{} min", seconds / 60.0) }
}
