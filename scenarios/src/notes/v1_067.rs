//! Synapse 1.67.0.

use harness::prelude::*;

use crate::kit::{
    platform::{Old, Platform as _},
    sync::message_arrives_at,
};

notes!("1.67.0": direct_tcp_replication, sqlite_next_release);

/// Workers no longer connect to the main process directly: neither its listener nor their setting is allowed any more.
fn direct_tcp_replication() -> Scenario {
    let app = "synapse.app.generic_worker";
    let link = "https://matrix-org.github.io/synapse/latest/upgrade.html\
                #direct-tcp-replication-is-no-longer-supported-migrate-to-redis";
    let unsupported = "Using direct TCP replication for workers is no longer supported.";
    let at_listener = format!("Error in configuration at 'listeners.1.type': {unsupported} Please see {link}");
    // The worker prints the exception as it is.
    let at_setting = format!(r"('\n{unsupported}\n\nPlease see {link}\n', ('worker_replication_port',))");
    Scenario::for_note("Direct TCP replication is no longer supported: migrate to Redis")
        .only_on(Database::Postgres)
        .hop("1.66.0", "1.67.0")
        .fact("a message arrives in an open sync on the worker", message_arrives_at("sync"))
        .always(true)
        .variant("the main process listens", |it| {
            it.config(json!({ "redis": { "enabled": false } }))
                .listener(json!({ "type": "replication", "port": 9092, "bind_addresses": ["0.0.0.0"] }))
                .worker("sync", app, ["client"], json!({ "worker_replication_port": 9092 }))
                .fact("start", start())
                .changes(started(), refused(&at_listener))
                .fact("the main process on port 9092", greeting())
                .always(matches(r"^SERVER hs\.test\nPING \d+$"))
                .step("Redis instead", |it| {
                    it.without_listener(9092)
                        .reconfigure(json!({ "redis": { "enabled": true } }))
                        .worker("sync", app, ["client"], json!({}))
                        .now("start", started())
                        .now("the main process on port 9092", "refuses the connection")
                })
        })
        .variant("only the worker has its setting", |it| {
            it.worker("sync", app, ["client"], json!({ "worker_replication_port": 0 }))
                .fact("start", start())
                .changes(started(), refused(&at_setting))
                .step("the setting is removed", |it| {
                    it.worker("sync", app, ["client"], json!({})).now("start", started())
                })
        })
}

/// What the main process says first to whoever connects to port 9092.
fn greeting() -> Probe {
    let program = r#"
import socket
try:
    lines = socket.create_connection(("127.0.0.1", 9092), 10).makefile()
    print(lines.readline() + lines.readline())
except ConnectionRefusedError:
    print("refuses the connection")
"#;
    Probe::from(move |hs: Live| async move { Ok(json!(hs.python(program).await?.trim())) })
}

/// The last release for SQLite 3.22 to 3.26. The library's version is faked.
fn sqlite_next_release() -> Scenario {
    Scenario::for_note("SQLite version requirement in the next release")
        .only_on(Database::Sqlite)
        .hop("1.66.0", "1.67.0")
        .faked(Old::Sqlite(3, 22, 0))
        .fact("start, on the faked version", start())
        .until("1.68.0", started())
        .since("1.68.0", refused("Synapse requires sqlite 3.27 or above."))
        .since("1.142.0", refused("Synapse requires sqlite 3.37.2 or above."))
        .step("SQLite 3.21, faked", |it| {
            it.faked(Old::Sqlite(3, 21, 0))
                .now("start, on the faked version", refused("Synapse requires sqlite 3.22 or above."))
                .now_since("1.68.0", "start, on the faked version", refused("Synapse requires sqlite 3.27 or above."))
                .now_since(
                    "1.142.0",
                    "start, on the faked version",
                    refused("Synapse requires sqlite 3.37.2 or above."),
                )
        })
        .leg("1.68.0", "SQLite 3.22 again, faked", |it| it.faked(Old::Sqlite(3, 22, 0)))
}
