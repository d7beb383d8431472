//! Synapse 1.88.0.

use harness::prelude::*;

use crate::kit::{
    platform::{Old, Platform as _, requires_python, wheel},
    workers::{GENERIC, by_map, by_nothing, by_settings, message_through},
};

notes!("1.88.0": python_3_8, worker_replication_settings_removed);

/// Python has to be 3.8 or newer: the package says so to pip, and the homeserver looks by itself. The interpreter's version is
/// faked.
fn python_3_8() -> Scenario {
    Scenario::for_note("Minimum supported Python version")
        .hop("1.87.0", "1.88.0")
        .faked(Old::Python(3, 7))
        .fact("start, on the faked version", start())
        .changes(started(), refused("Synapse requires Python 3.8 or above."))
        .since("1.119.0", refused("Synapse requires Python 3.9 or above."))
        .since("1.142.0", refused("Synapse requires Python 3.10 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .changes(">=3.7.1,<4.0.0", ">=3.8.0,<4.0.0")
        .since("1.119.0", matches("^>=3.9.0, ?<4.0.0$"))
        .since("1.142.0", matches("^>=3.10.0, ?<4.0.0$"))
        .fact("the wheel", wheel())
        .changes(
            json!({ "Root-Is-Purelib": "false", "Tag": matches("^cp37-cp37m-manylinux") }),
            json!({ "Root-Is-Purelib": "false", "Tag": matches("^cp38-cp38-manylinux") }),
        )
        .since("1.119.0", json!({ "Root-Is-Purelib": "false", "Tag": matches("^cp39-(cp39|abi3)-manylinux") }))
        .since("1.142.0", json!({ "Root-Is-Purelib": "false", "Tag": matches("^cp310-(cp310|abi3)-manylinux") }))
        .step("Python 3.8, faked", |it| {
            it.faked(Old::Python(3, 8))
                .now("start, on the faked version", started())
                .now_since("1.119.0", "start, on the faked version", refused("Synapse requires Python 3.9 or above."))
                .now_since("1.142.0", "start, on the faked version", refused("Synapse requires Python 3.10 or above."))
        })
}

/// A worker's own settings of where the main process is are refused, even where they are not needed.
///
/// Upstream: PR 15860.
fn worker_replication_settings_removed() -> Scenario {
    let unsupported = |key: &str, value: &str| {
        refused(&format!(
            "'{key}' is no longer a supported worker setting, please place '{value}' onto your shared configuration under \
             `main` inside the `instance_map`."
        ))
    };
    let with = |mut config: Value, key: &str, value: Value| {
        config[key] = value;
        config
    };
    let (host, port, tls) = ("worker_replication_host", "worker_replication_http_port", "worker_replication_http_tls");
    Scenario::for_note("Removal of `worker_replication_*` settings")
        .only_on(Database::Postgres)
        .hop("1.87.0", "1.88.0")
        .variant("a worker", |it| {
            it.worker("worker", GENERIC, ["client"], by_settings())
                .fact("start", start())
                .changes(started(), unsupported(host, "hs.test"))
                .fact("a message through the worker", message_through("worker"))
                .always(status(200))
                .step("without the host", |it| {
                    let config = with(by_nothing(), port, json!(9093));
                    it.worker("worker", GENERIC, ["client"], config).now("start", unsupported(port, "9093"))
                })
                .step("the map, beside the host", |it| {
                    let config = with(by_map(), host, json!("hs.test"));
                    it.worker("worker", GENERIC, ["client"], config).now("start", unsupported(host, "hs.test"))
                })
                .step("the map, beside TLS", |it| {
                    let config = with(by_map(), tls, json!(true));
                    it.worker("worker", GENERIC, ["client"], config).now("start", unsupported(tls, "True"))
                })
                .step("the map, TLS off", |it| {
                    it.worker("worker", GENERIC, ["client"], with(by_map(), tls, json!(false))).now("start", started())
                })
                .step("nothing at all", |it| {
                    it.worker("worker", GENERIC, ["client"], by_nothing()).now(
                        "start",
                        refused(
                            "Missing data for a worker to connect to main process. Please include 'main' in the \
                             `instance_map` declared in your shared yaml configuration as defined in configuration \
                             documentation here:",
                        ),
                    )
                })
                .step("the map, in the file for all", |it| {
                    it.reconfigure(json!({ "instance_map": { "main": { "host": "hs.test", "port": 9093 } } }))
                        .worker("worker", GENERIC, ["client"], with(by_nothing(), "instance_map", json!(null)))
                        .now("start", started())
                })
        })
        .variant("one process, with the settings", |it| {
            it.config(json!({ host: "hs.test", port: 9093, tls: true })).fact("start", start()).always(started())
        })
}
