//! Synapse 1.84.0.

use std::collections::BTreeSet;

use harness::prelude::*;

use crate::kit::workers::{GENERIC, by_map, by_nothing, by_settings, message_through};

notes!("1.84.0": worker_replication_settings_deprecated);

/// Workers find the main process by `instance_map`. Their settings of before go on, and nothing is said of their age; 1.84.0 broke
/// them where there is no map at all.
///
/// Upstream: PRs 15491, 15672.
fn worker_replication_settings_deprecated() -> Scenario {
    let lost = || refusal(502, "M_UNKNOWN", "Failed to talk to master process");
    // In the file for all, as upstream's example has it.
    let others = || json!({ "instance_map": { "other": { "host": "other", "port": 9093 } } });
    let by_file_for_all = |mut config: Value| {
        config["instance_map"] = Value::Null;
        config
    };
    let with_others = by_file_for_all(by_settings());
    // To a place that the worker does not trust, so that it gets no further than TLS.
    let mut settings_with_tls = with_others.clone();
    settings_with_tls["worker_replication_host"] = json!("other");
    settings_with_tls["worker_replication_http_port"] = json!(8443);
    settings_with_tls["worker_replication_http_tls"] = json!(true);
    let mut map_with_tls = by_map();
    map_with_tls["instance_map"]["main"] = json!({ "host": "other", "port": 8443, "tls": true });
    let begins_tls = || json!({ "answer": lost(), "why TLS failed": ["TLSV1_ALERT_UNKNOWN_CA"] });
    let mut contradicting = by_map();
    contradicting["worker_replication_host"] = json!("hs.test");
    contradicting["worker_replication_http_port"] = json!(9094);
    Scenario::for_note("Deprecation of `worker_replication_*` configuration settings")
        .disagreement(
            "the settings still work in 1.84.0",
            "not without any `instance_map`: workers start, and all that they ask the main process for fails; 1.84.1 mends it",
        )
        .only_on(Database::Postgres)
        .variant("settings and maps", |it| {
            it.hop("1.83.0", "1.84.0")
                .then("1.84.1")
                .config(others())
                .worker("settings", GENERIC, ["client"], by_settings())
                .worker("with-others", GENERIC, ["client"], with_others)
                .worker("contradicting", GENERIC, ["client"], contradicting)
                .worker("map", GENERIC, ["client"], by_map())
                .log_error("Failed handle request via 'RoomSendEventRestServlet'")
                .fact("a message through a worker with the settings", message_through("settings"))
                .changes(status(200), refusal(500, "M_UNKNOWN", "Internal server error"))
                .since("1.84.1", status(200))
                .fact("… and a map of others", message_through("with-others"))
                .always(status(200))
                .fact("… and a map of the main process, which contradicts them", message_through("contradicting"))
                .changes(lost(), status(200))
                .fact("a message through a worker with the map", message_through("map"))
                .changes(lost(), status(200))
                .fact("what the log says of the settings", |hs: Live| async move {
                    Ok(json!([
                        hs.log_lines("worker_replication_").await?,
                        hs.log_lines_of("settings", "worker_replication_").await?,
                        hs.printed().await?,
                    ]))
                })
                .always(json!([[], [], ""]))
        })
        .variant("TLS", |it| {
            it.hop("1.83.0", "1.84.0")
                .companion("other", companion::recorder())
                .config(others())
                .worker("settings", GENERIC, ["client"], settings_with_tls)
                .worker("map", GENERIC, ["client"], map_with_tls)
                .fact("a message through a worker whose settings say TLS", message_by_tls("settings"))
                .always(begins_tls())
                .fact("a message through a worker whose map says TLS", message_by_tls("map"))
                .changes(json!({ "answer": lost(), "why TLS failed": [] }), begins_tls())
        })
        .variant("neither", |it| {
            it.hop("1.83.0", "1.84.0")
                .config(others())
                .worker("lost", GENERIC, ["client"], by_file_for_all(by_nothing()))
                .fact("start", start())
                .changes(
                    started(),
                    refused(
                        "Missing data for a worker to connect to main process. Please include 'main' in the `instance_map` \
                         declared in your shared yaml configuration, or optionally(as a deprecated solution)",
                    ),
                )
                .fact("a message through the worker", message_through("lost"))
                .always(lost())
                .leg("1.84.1", "no map at all", |it| it.unset("instance_map"))
        })
}

/// What becomes of a message that is sent to a worker, and how it fails to talk to the main process, where that is said to be
/// the recorder.
fn message_by_tls(worker: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let other = hs.recorder("other");
        other.forget().await?;
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let answer = alice.at(worker)?.say(&room, "hello").await?.refusal();
        // A connection is counted before its handshake, whose end is seen here later than at the worker.
        let ended = |seen: &Value| seen["https"] == 0 || seen["tls_failed"] != json!([]);
        let seen = eventually(|| other.connections(), ended).await?;
        let why: BTreeSet<String> = serde_json::from_value(seen["tls_failed"].clone())?;
        Ok(json!({ "answer": answer, "why TLS failed": why }))
    })
}
