//! Synapse 1.54.0.

use harness::prelude::*;

use crate::kit::processes;

notes!("1.54.0": structured_logging_removed);

/// Structured logs in the form of before 1.23.0 are no longer converted: who has them does not start.
///
/// Upstream: PR 12008.
fn structured_logging_removed() -> Scenario {
    let drains = json!({
        "structured": true,
        // In capitals: the default, in small letters, is refused by the Python of these images.
        "loggers": { "synapse": { "level": "INFO" } },
        "drains": {
            "console": { "type": "console", "location": "stdout" },
            "file": { "type": "file_json", "location": "/data/structured.log" },
        },
    });
    let handlers = |structured: Option<bool>| {
        let mut handlers = json!({
            "version": 1,
            "disable_existing_loggers": false,
            "formatters": { "json": { "class": "synapse.logging.JsonFormatter" } },
            "handlers": {
                "file": { "class": "logging.FileHandler", "formatter": "json", "filename": "/data/structured.log" },
                "console": { "class": "logging.StreamHandler", "stream": "ext://sys.stdout" },
            },
            "root": { "level": "INFO", "handlers": ["file", "console"] },
        });
        if let Some(structured) = structured {
            handlers["structured"] = json!(structured);
        }
        handlers.to_string()
    };
    let removed = |site: &str| {
        refused(&format!(
            "Support for the structured configuration option was removed in Synapse 1.54.0. \
             You should instead use the standard logging configuration. See \
             https://{site}/synapse/v1.54/structured_logging.html"
        ))
    };
    Scenario::for_note("Legacy structured logging configuration removal")
        .hop("1.53.0", "1.54.0")
        .fact("the record of a request", record())
        .always(json!({ "level": "INFO", "logger": "synapse.access.http.8008", "tells of the request": true }))
        .variant("drains", |it| {
            it.file("log.config", drains.to_string())
                .fact("start", start())
                .changes(started(), removed("matrix-org.github.io"))
                .since("1.99.0", removed("element-hq.github.io"))
                .step("rewritten, but that the switch is left on", |it| it.file("log.config", handlers(Some(true))))
                .step("rewritten as handlers and formatters", |it| {
                    it.file("log.config", handlers(None)).now("start", started())
                })
        })
        .variant("a switch that is off", |it| {
            it.file("log.config", handlers(Some(false))).fact("start", start()).always(started())
        })
}

/// The record of a request in `structured.log`.
fn record() -> Probe {
    Probe::from(|hs: Live| async move {
        let (request, Some(line)) = processes::structured(&hs).await? else { return Ok(Value::Null) };
        let record: Value = serde_json::from_str(&line)?;
        let tells =
            record["log"].as_str().is_some_and(|log| log.contains(&request) && log.contains("Processed request"));
        Ok(json!({ "level": record["level"], "logger": record["namespace"], "tells of the request": tells }))
    })
}
