//! Synapse 1.23.0.

use std::collections::BTreeSet;

use harness::prelude::*;

notes!("1.23.0": structured_logging);

/// Structured logs are configured with Python's own handlers and formatters. The old form is converted without a word,
/// and its lines get the new form's keys.
///
/// Upstream: PR 8607.
fn structured_logging() -> Scenario {
    let drains = json!({
        "structured": true,
        "loggers": { "synapse": { "level": "INFO" } },
        "drains": {
            // In this order: 1.22.1 cannot format for the console what it has written as JSON before.
            "console": { "type": "console", "location": "stdout" },
            "file": { "type": "file_json", "location": "/data/structured.log" },
        },
    });
    let handlers = json!({
        "version": 1,
        "disable_existing_loggers": false,
        "formatters": { "structured": { "class": "synapse.logging.JsonFormatter" } },
        "handlers": {
            "file": { "class": "logging.FileHandler", "formatter": "structured", "filename": "/data/structured.log" },
            "console": { "class": "logging.StreamHandler", "stream": "ext://sys.stdout" },
        },
        "root": { "level": "INFO", "handlers": ["file", "console"] },
    })
    .to_string();
    let rewritten = handlers.clone();
    let twisted = json!({
        "keys":
            ["log_flattened", "log_format", "log_level", "log_namespace", "log_text", "log_time", "request", "scope"],
        "level": "info",
    });
    let python =
        || json!({ "keys": ["level", "log", "namespace", "request", "scope", "server_name"], "level": "INFO" });
    let console = "a line on the console, after its time if it has one";
    Scenario::for_note("Structured logging configuration breaking changes")
        .hop("1.22.1", "1.23.0")
        .variant("drains")
        .file("log.config", drains.to_string())
        .fact("the record of a request", record())
        .until("1.23.0", twisted)
        .since("1.23.0", python())
        .fact(console, log_lines("now listening on TCP port 8008"))
        .until("1.23.0", json!([matches(r"^synapse\.\S+ - INFO - .* - Synapse now listening on TCP port 8008$")]))
        .since("1.23.0", json!(["Synapse now listening on TCP port 8008"]))
        .fact("what it prints", printed())
        .always("")
        .fact("warnings that the form is old", log_lines("structured"))
        .always(json!([]))
        .step("rewritten as handlers and formatters")
        .change(move |deployment| {
            deployment.file("log.config", rewritten.clone());
        })
        .variant("handlers and formatters")
        .file("log.config", handlers)
        .fact("start", start())
        .until("1.23.0", refused("Unable to configure formatter 'structured'"))
        .since("1.23.0", started())
        .fact("the record of a request", record())
        .always(python())
}

/// The record of a request in `structured.log`: its keys, and the level among its values.
fn record() -> Probe {
    Probe::from(|hs: Live| async move {
        let request = hs.unique("request-");
        hs.anonymous().get(&format!("/_matrix/client/versions?{request}")).await?.ok()?;
        // A further request has come to the console then, so this one is in the file.
        hs.log_lines(&request).await?;
        let text = hs.read("/data/structured.log").await?;
        let line = text.as_str().unwrap_or_default().lines().find(|line| line.contains(&request));
        // The old form begins each record with a separator.
        let Some(line) = line.map(|line| line.trim_start_matches('\u{1e}')) else { return Ok(Value::Null) };
        let record: serde_json::Map<String, Value> = serde_json::from_str(line)?;
        let level = record.get("level").or_else(|| record.get("log_level")?.get("name"));
        Ok(json!({ "keys": record.keys().collect::<BTreeSet<_>>(), "level": level }))
    })
}
