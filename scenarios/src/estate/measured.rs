//! Metrics, where they are served: how far events have come is among them, and no process in the background is measured
//! by itself, which would be another series each time that it runs.

use super::prelude::*;

const PATH: &str = "/_synapse/metrics";

pub(super) fn part() -> Part {
    Part::new("metrics")
        .write(|it: Visit| async move {
            Ok(json!({ "room": it.owner.room(json!({ "preset": "private_chat" })).await? }))
        })
        .read(|it: Visit| async move {
            // So that there is something to measure.
            it.owner.say(&it.kept("room")?, "measured").await?;
            // Past what is in front of the workers.
            if it.anonymous().client().at("main")?.get(PATH).await?.status() == 404 {
                return Ok(json!("not served"));
            }
            let metrics = it.live.metrics("main", PATH).await?;
            let processes = metrics.names().into_iter().filter(|name| name.starts_with("synapse_background_process"));
            let mut series = processes.flat_map(|name| metrics.of(name));
            // Where another process writes events it stays none.
            let mut positions = metrics.of("synapse_event_persisted_position");
            Ok(json!({
                "a process by itself": series.any(|sample| is_of_one(&sample.labels)),
                "events have come somewhere": positions.any(|sample| sample.value > 0.0),
            }))
        })
        .loses("DELETE FROM access_tokens")
}

/// Do a series' labels name one process, by its number, and not all of its kind?
fn is_of_one(labels: &str) -> bool {
    let name = labels.split_once("name=\"").and_then(|(_, rest)| rest.split('"').next());
    let number = name.and_then(|name| name.rsplit_once('-')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.chars().all(|sign| sign.is_ascii_digit()))
}
