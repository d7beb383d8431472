//! Synapse 1.23.0.

use std::collections::BTreeSet;

use harness::prelude::*;

use crate::kit::processes;

notes!("1.23.0": structured_logging);

/// Structured logs are configured with Python's own handlers and formatters. The old form is converted without a word,
/// and its lines get the new form's keys.
///
/// Upstream: PR 8607.
fn structured_logging() -> Scenario {
    let levels = json!({ "synapse": { "level": "INFO" }, "synapse.storage.txn": { "level": "DEBUG" } });
    let drains = json!({
        "structured": true,
        "loggers": levels,
        "drains": {
            // In this order: 1.22.1 cannot format for the console what it has written as JSON before.
            "console": { "type": "console", "location": "stdout" },
            "terse": { "type": "console_json_terse", "location": "stdout" },
            "file": { "type": "file_json", "location": "/data/structured.log" },
        },
    });
    let handlers = handlers(&levels).to_string();
    let (rewritten, rewritten_too) = (handlers.clone(), handlers.clone());
    let without_loggers = json!({ "structured": true, "drains": drains["drains"] });
    let (logger, processed) =
        ("synapse.access.http.8008", || matches(r#" Processed request: .*"GET /_matrix/client/versions\?"#));
    let twisted = json!({
        "keys":
            ["log_flattened", "log_format", "log_level", "log_namespace", "log_text", "log_time", "request", "scope"],
        "level": "info",
        "logger": logger,
        "text": processed(),
    });
    let with = |more: &[&str]| {
        let mut keys = [&["level", "log", "namespace", "request", "server_name"][..], more].concat();
        keys.sort_unstable();
        json!({ "keys": keys, "level": "INFO", "logger": logger, "text": processed() })
    };
    let python = || with(&["scope"]);
    // Changed in #8935, and in #9654.
    let (without_scope, of_request) = (|| with(&[]), || with(&OF_REQUEST));
    let removed = "Support for the structured configuration option was removed in Synapse 1.54.0.";
    let detailed = "loggers whose records are below the usual level";
    let console = "a line on the console, and as terse JSON";
    let said_by = |logger: &str| said(logger, LISTENING, &["level", "log", "namespace", "server_name", "time"]);
    // Moved in #14128.
    let (homeserver, base) = ("synapse.app.homeserver", "synapse.app._base");
    Scenario::for_note("Structured logging configuration breaking changes")
        .hop("1.22.1", "1.23.0")
        .disagreement(
            "`structured: true` is deprecated, and a later release will make it an error",
            "it is an error now where no loggers are set: their default has a level's name in small letters",
        )
        .begin_variant("drains")
        .file("log.config", drains.to_string())
        .fact("start", start())
        .until("1.54.0", started())
        .since("1.54.0", refused(removed))
        .fact("the record of a request", record())
        .changes(twisted, python())
        .since("1.25.0", without_scope())
        .since("1.32.0", of_request())
        .fact(detailed, loggers_below_info())
        .always(json!(["synapse.storage.txn"]))
        .fact(console, on_the_console())
        .changes(
            said(
                homeserver,
                matches(&format!(r"^synapse\.app\.homeserver - INFO - .* - {LISTENING}$")),
                &["level", "log", "log_namespace"],
            ),
            said_by(homeserver),
        )
        .since("1.72.0", said_by(base))
        .fact("what other drains become", converted())
        .changes(Value::Null, other_drains().map(|(name, _, handler)| (name, handler)).collect::<Value>())
        .since("1.54.0", Value::Null)
        .fact("what it prints", printed())
        .until("1.54.0", "")
        .since("1.54.0", contains(removed))
        .fact("warnings that the form is old", log_lines("structured"))
        .always(json!([]))
        .begin_step("rewritten as handlers and formatters")
        .change(move |deployment| {
            deployment.file("log.config", rewritten.clone());
        })
        .now("start", started())
        .now("what it prints", "")
        .begin_variant("drains, and no loggers")
        .file("log.config", without_loggers.to_string())
        .fact("start", start())
        .changes(started(), refused("Unable to configure logger 'synapse'"))
        .since("1.54.0", refused(removed))
        .begin_step("rewritten as handlers and formatters")
        .change(move |deployment| {
            deployment.file("log.config", rewritten_too.clone());
        })
        .now("start", started())
        .begin_variant("handlers and formatters")
        .file("log.config", handlers)
        .fact("start", start())
        .changes(refused("Unable to configure formatter 'structured'"), started())
        .fact("the record of a request", record())
        .until("1.25.0", python())
        .since("1.25.0", without_scope())
        .since("1.32.0", of_request())
        .fact(detailed, loggers_below_info())
        .always(json!(["synapse.storage.txn"]))
        .fact(console, on_the_console())
        .until("1.72.0", said_by(homeserver))
        .since("1.72.0", said_by(base))
}

/// Drains that nothing is logged by here, and what is none: each with the handler that it becomes, or why it does not.
fn other_drains() -> impl Iterator<Item = (&'static str, Value, Value)> {
    let network = |buffer: u32| {
        json!({
            "class": "synapse.logging.RemoteHandler",
            "formatter": "tersejson",
            "host": "logs",
            "port": 9001,
            "maximum_buffer": buffer,
        })
    };
    [
        (
            "JSON on the console",
            json!({ "type": "console_json", "location": "stderr" }),
            json!({ "class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr" }),
        ),
        (
            "a plain file",
            json!({ "type": "file", "location": "/data/plain.log" }),
            json!({ "class": "logging.FileHandler", "formatter": null, "filename": "/data/plain.log" }),
        ),
        ("the network", json!({ "type": "network_json_terse", "host": "logs", "port": 9001 }), network(1000)),
        (
            "the network, with a buffer",
            json!({ "type": "network_json_terse", "host": "logs", "port": 9001, "maximum_buffer": 10 }),
            network(10),
        ),
        (
            "a file by a relative path",
            json!({ "type": "file_json", "location": "plain.log" }),
            json!("File paths need to be absolute, 'plain.log' is a relative path"),
        ),
        (
            "a console, but not which",
            json!({ "type": "console" }),
            contains("drain needs the 'location' key set to either 'stdout' or 'stderr'."),
        ),
        ("another type", json!({ "type": "pigeon" }), json!("pigeon is not a known logging drain type.")),
        ("none", Value::Null, json!("The logging configuration requires a list of drains.")),
    ]
    .into_iter()
}

/// What Synapse makes of them; `null` where drains are not converted.
fn converted() -> Probe {
    Probe::from(|hs: Live| async move {
        let drains: Value = other_drains().map(|(name, drain, _)| (name, drain)).collect();
        let program = format!(
            "import json, logging.config\n\
             try:\n\
             \x20   from synapse.logging._structured import setup_structured_logging as convert\n\
             except ImportError:\n\
             \x20   convert = None\n\
             def made_of(drain):\n\
             \x20   try:\n\
             \x20       [handler] = convert({{'drains': {{'drain': drain}}}} if drain else {{}})['handlers'].values()\n\
             \x20       logging.config.BaseConfigurator({{}}).resolve(handler['class'])\n\
             \x20       return handler\n\
             \x20   except TypeError:\n\
             \x20       return None\n\
             \x20   except Exception as error:\n\
             \x20       return getattr(error, 'msg', str(error))\n\
             made = {{name: made_of(drain) for name, drain in json.loads({:?}).items()}}\n\
             print(json.dumps(made if any(made.values()) else None))",
            drains.to_string()
        );
        Ok(serde_json::from_str(&hs.python(&program).await?)?)
    })
}

/// What is logged with Python's own handlers and formatters.
fn handlers(levels: &Value) -> Value {
    json!({
        "version": 1,
        "disable_existing_loggers": false,
        "formatters": {
            "structured": { "class": "synapse.logging.JsonFormatter" },
            "terse": { "class": "synapse.logging.TerseJsonFormatter" },
        },
        "handlers": {
            "file": { "class": "logging.FileHandler", "formatter": "structured", "filename": "/data/structured.log" },
            "console": { "class": "logging.StreamHandler", "stream": "ext://sys.stdout" },
            "terse": { "class": "logging.StreamHandler", "formatter": "terse", "stream": "ext://sys.stdout" },
        },
        "loggers": levels,
        "root": { "level": "INFO", "handlers": ["file", "console", "terse"] },
    })
}

/// What a record says of its request since 1.32.0, besides.
const OF_REQUEST: [&str; 8] =
    ["authenticated_entity", "ip_address", "method", "protocol", "requester", "site_tag", "url", "user_agent"];

/// The record of a request in `structured.log`.
fn record() -> Probe {
    Probe::from(|hs: Live| async move {
        let (_, line) = processes::structured(&hs).await?;
        Ok(line.map_or(Value::Null, |line| told(&line, &[])))
    })
}

/// What the console says of the port that is listened on: a plain line, after its time if it has one, and a record, whose
/// keys of a request are left out, as it is none's.
fn on_the_console() -> Probe {
    Probe::from(|hs: Live| async move {
        let lines = hs.log_lines(LISTENING).await?;
        let (records, plain): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| line.starts_with('{'));
        let terse: Vec<Value> = records.into_iter().map(|line| told(line, &["request", "scope"])).collect();
        Ok(json!({ "plain": plain, "terse": terse }))
    })
}

const LISTENING: &str = "Synapse now listening on TCP port 8008";

/// The plain line, and the record of this logger with these keys.
fn said(logger: &str, plain: impl Into<Value>, keys: &[&str]) -> Value {
    let terse = json!({ "keys": keys, "level": "INFO", "logger": logger, "text": LISTENING });
    json!({ "plain": [plain.into()], "terse": [terse] })
}

/// A record's keys but for these, and what both forms say of it; a line that is no record as it is.
fn told(line: &str, but_for: &[&str]) -> Value {
    // The old form begins each record with a separator.
    let line = line.trim_start_matches('\u{1e}');
    let Ok(record) = serde_json::from_str::<serde_json::Map<String, Value>>(line) else { return json!(line) };
    json!({
        "keys": record.keys().filter(|key| !but_for.contains(&key.as_str())).collect::<BTreeSet<_>>(),
        "level": level(&json!(record)),
        "logger": logger(&json!(record)),
        "text": record.get("log").or_else(|| record.get("log_text")),
    })
}

/// The loggers of which `structured.log` gets records below the level that is usual here, while a room is made.
fn loggers_below_info() -> Probe {
    Probe::from(|hs: Live| async move {
        // The file has the records of earlier legs, too.
        let begin = hs.unique("request-");
        hs.anonymous().get(&format!("/_matrix/client/versions?{begin}")).await?.ok()?;
        hs.user("alice").await?.create_room(&json!({})).await?;
        hs.log_lines(&begin).await?;
        let text = hs.read("/data/structured.log").await?;
        let lines = text.as_str().unwrap_or_default().lines().skip_while(|line| !line.contains(&begin));
        let records = lines.filter_map(|line| serde_json::from_str::<Value>(line.trim_start_matches('\u{1e}')).ok());
        let below = records.filter(|record| level(record).as_str().is_some_and(|it| it.eq_ignore_ascii_case("debug")));
        Ok(json!(below.map(|record| logger(&record).as_str().map(str::to_owned)).collect::<BTreeSet<_>>()))
    })
}

/// The level of a record in either form.
fn level(record: &Value) -> &Value {
    record.get("level").unwrap_or(&record["log_level"]["name"])
}

/// The logger of a record in either form.
fn logger(record: &Value) -> &Value {
    record.get("namespace").unwrap_or(&record["log_namespace"])
}
