//! The two ways in which a worker finds the main process, each without the other.

use harness::prelude::*;

/// The worker of all trades.
pub(crate) const GENERIC: &str = "synapse.app.generic_worker";
/// The main process's replication listener.
const PORT: u16 = 9093;

/// By the worker's own settings, which 1.88.0 refuses.
pub(crate) fn by_settings() -> Value {
    json!({
        "worker_replication_host": "hs.test",
        "worker_replication_http_port": PORT,
        "instance_map": { "main": null },
    })
}

/// By the map of all processes.
pub(crate) fn by_map() -> Value {
    json!({
        "worker_replication_host": null,
        "worker_replication_http_port": null,
        "instance_map": { "main": { "host": "hs.test", "port": PORT } },
    })
}

/// Not at all.
pub(crate) fn by_nothing() -> Value {
    json!({
        "worker_replication_host": null,
        "worker_replication_http_port": null,
        "instance_map": { "main": null },
    })
}

/// What becomes of a message that is sent to a worker, which has to pass it on to the main process.
pub(crate) fn message_through(worker: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        Ok(alice.at(worker)?.say(&room, "hello").await?.refusal())
    })
}

/// On the newer release `worker` is still of the older one, and logs what it does not understand.
pub(crate) fn one_stays_behind(scenario: Scenario, from: &str, to: &str) -> Scenario {
    scenario
        .only_on(Database::Postgres)
        .hop(from, to)
        .workers_of(from)
        .worker("worker", GENERIC, ["client"], json!({}))
        .log_error("Failed to handle command")
}

/// The type errors that a worker logs on this leg, each once: what it makes of what it does not understand.
pub(crate) fn type_errors(worker: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut lines = super::processes::lines(&hs, worker, "TypeError: ").await?;
        lines.sort();
        lines.dedup();
        Ok(json!(lines))
    })
}
