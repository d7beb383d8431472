//! Metrics, where they are served: how far events have come is among them, and no process in the background is measured
//! by itself, which would be another series each time that it runs.

use std::time::Duration;

use harness::within;

use super::prelude::*;

const PATH: &str = "/_synapse/metrics";

pub(super) fn part() -> Part {
    Part::new("metrics")
        .write(|it: Visit| async move {
            Ok(json!({ "room": it.somebody("measured").await?.room(json!({ "preset": "private_chat" })).await? }))
        })
        .read(|it: Visit| async move {
            // So that there is something to measure.
            it.somebody("measured").await?.say(&it.kept("room")?, "measured").await?;
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
                "locks are cleaned up by one": locks_are_cleaned_up_by_one(&it).await?,
            }))
        })
        .loses(LOG_OUT)
}

/// Is there one process that cleans up locks, and not one more for all that is said, as on 1.91.0 (#16220)?
async fn locks_are_cleaned_up_by_one(it: &Visit) -> Result<bool> {
    // They are cleaned up twice a minute.
    if !it.from("1.91.0rc1") || it.from("1.92.0rc1") || !it.is_first_time("locks") {
        return Ok(true);
    }
    let cleaned = async || -> Result<f64> {
        let metrics = it.live.metrics("main", PATH).await?;
        let started = metrics.value("synapse_background_process_start_count_total", "name=\"_cleanup_locks\"");
        Ok(started.unwrap_or_default())
    };
    let (before, person, room) = (cleaned().await?, it.somebody("measured").await?, it.kept("room")?);
    for number in 0..20 {
        person.say(&room, &format!("{number}")).await?;
    }
    let is_many = |now: &f64| now - before >= 15.0;
    Ok(!is_many(&within(Duration::from_secs(45), cleaned, is_many).await?))
}

/// Do a series' labels name one process, by its number, and not all of its kind?
fn is_of_one(labels: &str) -> bool {
    let name = labels.split_once("name=\"").and_then(|(_, rest)| rest.split('"').next());
    let number = name.and_then(|name| name.rsplit_once('-')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.chars().all(|sign| sign.is_ascii_digit()))
}
