//! What is checked on every leg, whatever the note: the schema is the release's, background updates end, the database is
//! sound, sequences are past their tables, and the log has no error that nobody expects.
//!
//! A health check is a fact like any other: a name, an expected value, an observed one. A scenario says with
//! [`crate::Scenario::health`] where its note makes one of them come out otherwise.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use images::Version;
use serde_json::{Value, json};

use crate::{
    client::database::{Row, Store},
    log::{Log, Stream},
    postgres,
    tolerance::{Subject, Tolerances},
};

/// `schema_version` of the database.
pub const SCHEMA_VERSION: &str = "schema version";
/// Background updates that are still to be done.
pub const BACKGROUND_UPDATES: &str = "background updates left";
/// What the database's own check says.
pub const INTEGRITY: &str = "database integrity";
/// PostgreSQL's sequences that are behind their tables or streams.
pub const SEQUENCES: &str = "sequences behind";
/// ERROR and CRITICAL lines in the homeserver's logs.
pub const LOG_ERRORS: &str = "errors logged";
/// What users lost.
pub const SURVIVAL: &str = "users' data as before";

/// Background updates that make no progress for so long are stuck.
const STUCK: Duration = Duration::from_secs(60);

/// On SQLite one program inside the homeserver's container does it all: each command there costs a tenth of a second.
const SQLITE: &str = r#"
import json, sqlite3, sys, time
db = sqlite3.connect("/data/homeserver.db", timeout=30)
# Python 2 has none.
clock = getattr(time, "monotonic", time.time)
left, since = None, clock()
while True:
    rows = db.execute("SELECT update_name, progress_json FROM background_updates ORDER BY 1").fetchall()
    if rows != left:
        left, since = rows, clock()
    if not rows or clock() - since > float(sys.argv[1]):
        break
    time.sleep(0.05)
print(json.dumps({
    "version": sqlite3.sqlite_version,
    "left": [name for name, _ in left],
    "schema": db.execute("SELECT version FROM schema_version").fetchone()[0],
    "check": [line for (line,) in db.execute("PRAGMA quick_check")],
}))
"#;

/// What a look at the database brought.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Engine and version, as it says itself.
    pub(crate) engine: String,
    /// Name and observed value of each check.
    pub(crate) checks: Vec<(&'static str, Value)>,
}

/// Waits until no background update is left, or they are stuck, and looks at the database. While it waits the server
/// works at its own pace: before 1.54 it pauses for a second before each update.
pub(crate) async fn database(store: &Store, running: &str) -> anyhow::Result<Checked> {
    match store {
        Store::Sqlite { daemon, .. } => {
            let text = daemon.exec(running, &["python", "-c", SQLITE, &STUCK.as_secs().to_string()]).await?.ok()?;
            let seen: Value = serde_json::from_str(&text).with_context(|| format!("unreadable: {text}"))?;
            let sound = seen["check"] == json!(["ok"]);
            Ok(Checked {
                engine: format!("SQLite {}", seen["version"].as_str().unwrap_or_default()),
                checks: vec![
                    (BACKGROUND_UPDATES, seen["left"].clone()),
                    (SCHEMA_VERSION, seen["schema"].clone()),
                    (INTEGRITY, if sound { json!("sound") } else { seen["check"].clone() }),
                ],
            })
        }
        Store::Postgres(database) => {
            let left = background_updates_left(store, Some(running)).await?;
            let left: Vec<&Value> = left.iter().map(|row| &row["update_name"]).collect();
            let row = database.rows("SELECT version, version() AS engine FROM schema_version").await?.pop();
            let row = row.context("the database has no schema version")?;
            // An index that a broken migration left invalid is not used, and nobody notices.
            let invalid = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid ORDER BY 1";
            let invalid: Vec<Value> = database.rows(invalid).await?.into_iter().map(Value::Object).collect();
            let integrity = if invalid.is_empty() { json!("sound") } else { json!({ "invalid indexes": invalid }) };
            Ok(Checked {
                engine: row["engine"].as_str().unwrap_or_default().to_owned(),
                checks: vec![
                    (BACKGROUND_UPDATES, json!(left)),
                    (SCHEMA_VERSION, row["version"].clone()),
                    (INTEGRITY, integrity),
                    (SEQUENCES, sequences(database).await?),
                ],
            })
        }
    }
}

/// The background updates that are left, with their progress, when none goes on any more.
pub(crate) async fn background_updates_left(store: &Store, running: Option<&str>) -> anyhow::Result<Vec<Row>> {
    let mut left = Vec::new();
    let mut since = Instant::now();
    loop {
        let query = "SELECT update_name, progress_json FROM background_updates ORDER BY update_name";
        let rows = store.rows(query, running).await?;
        if rows != left {
            left = rows;
            since = Instant::now();
        }
        if left.is_empty() || since.elapsed() > STUCK {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What each check must show. `schema` is the highest schema version of the releases that the data has met.
pub(crate) fn expected(check: &str, schema: Option<u32>) -> Option<Value> {
    match check {
        SCHEMA_VERSION => schema.map(|version| json!(version)),
        INTEGRITY => Some(json!("sound")),
        BACKGROUND_UPDATES | SEQUENCES | LOG_ERRORS => Some(json!([])),
        SURVIVAL => Some(json!("all there")),
        _ => None,
    }
}

/// A sequence, the tables whose ids it gives out, and the stream it belongs to.
type Sequence = (&'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

/// Upstream: the `MultiWriterIdGenerator`s and sequence generators of `synapse/storage/databases`.
const SEQUENCE_TABLES: &[Sequence] = &[
    (
        "account_data_sequence",
        &[("room_account_data", "stream_id"), ("account_data", "stream_id")],
        Some("account_data"),
    ),
    ("application_services_txn_id_seq", &[("application_services_txns", "txn_id")], None),
    ("cache_invalidation_stream_seq", &[("cache_invalidation_stream_by_instance", "stream_id")], Some("caches")),
    (
        "device_inbox_sequence",
        &[("device_inbox", "stream_id"), ("device_federation_outbox", "stream_id")],
        Some("to_device"),
    ),
    ("device_lists_sequence", &[("device_lists_stream", "stream_id"), ("user_signature_stream", "stream_id")], None),
    ("e2e_cross_signing_keys_sequence", &[("e2e_cross_signing_keys", "stream_id")], None),
    ("event_auth_chain_id", &[("event_auth_chains", "chain_id")], None),
    ("events_stream_seq", &[("events", "stream_ordering")], Some("events")),
    ("presence_stream_sequence", &[("presence_stream", "stream_id")], Some("presence_stream")),
    ("push_rules_stream_sequence", &[("push_rules_stream", "stream_id")], Some("push_rules_stream")),
    ("pushers_sequence", &[("pushers", "id"), ("deleted_pushers", "stream_id")], Some("pushers")),
    ("quarantined_media_id_seq", &[("quarantined_media_changes", "stream_id")], None),
    ("receipts_sequence", &[("receipts_linearized", "stream_id")], Some("receipts")),
    ("state_group_id_seq", &[("state_groups", "id")], None),
    ("sticky_events_sequence", &[("sticky_events", "stream_id")], None),
    ("thread_subscriptions_sequence", &[("thread_subscriptions", "stream_id")], None),
];

/// Sequences whose next value is not past what their tables and streams hold already.
async fn sequences(database: &postgres::Database) -> anyhow::Result<Value> {
    let columns = "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns \
                   WHERE table_schema = 'public'";
    let columns = database.rows(columns).await?;
    let exists = |table: &str, column: &str| columns.iter().any(|row| row["t"] == table && row["c"] == column);
    let present = database.rows("SELECT sequencename::text AS name FROM pg_sequences").await?;
    let mut queries = Vec::new();
    for (sequence, tables, stream) in SEQUENCE_TABLES {
        if !present.iter().any(|row| row["name"] == *sequence) {
            continue;
        }
        let mut compared = |what: &str, highest: String| {
            queries.push(format!(
                "SELECT '{sequence}' AS sequence, '{what}' AS compared, s.value, t.value AS highest FROM \
                 (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS value FROM {sequence}) AS s, \
                 ({highest}) AS t WHERE t.value > s.value"
            ));
        };
        for (table, column) in *tables {
            if exists(table, column) {
                compared(table, format!("SELECT max({column})::bigint AS value FROM {table}"));
            }
        }
        if let Some(stream) = stream
            && exists("stream_positions", "stream_id")
        {
            let highest =
                format!("SELECT max(stream_id)::bigint AS value FROM stream_positions WHERE stream_name = '{stream}'");
            compared("stream_positions", highest);
        }
    }
    if queries.is_empty() {
        return Ok(json!([]));
    }
    let behind = database.rows(&queries.join(" UNION ALL ")).await?;
    Ok(json!(behind.into_iter().map(Value::Object).collect::<Vec<_>>()))
}

/// ERROR and CRITICAL lines from before the harness stopped the server that nobody expects, without their time stamps.
/// What processes say while they part from each other is no error.
pub(crate) fn log_errors(
    logs: &[Log],
    stopped: jiff::Timestamp,
    release: &Version,
    tolerances: &Tolerances,
    own: &[String],
) -> anyhow::Result<Value> {
    let own: Vec<regex::Regex> = own
        .iter()
        .map(|pattern| regex::Regex::new(pattern).context("a scenario's `log_error`"))
        .collect::<Result<_, _>>()?;
    // As Python's `asctime` has it; containers live in UTC.
    let stopped = stopped.strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
    let mut errors = Vec::new();
    for entry in logs.iter().flat_map(|log| entries(log.lines(Stream::Out))) {
        let Some((time, rest)) = entry.split_once(" - ") else { continue };
        // With nothing after it, where only an exception follows.
        let level = rest.split(" - ").nth(2).unwrap_or_default().trim_end_matches(" -");
        if !matches!(level, "ERROR" | "CRITICAL")
            || time > stopped.as_str()
            || own.iter().any(|pattern| pattern.is_match(rest))
            || tolerances.permits(Subject::Log, release, rest)
        {
            continue;
        }
        if errors.len() == 20 {
            errors.push(json!("and more"));
            break;
        }
        errors.push(json!(rest));
    }
    Ok(Value::Array(errors))
}

/// The lines that begin with a time, each with the last of those that follow it: of a traceback that is the exception.
fn entries(lines: Vec<String>) -> Vec<String> {
    let mut entries: Vec<(String, Option<String>)> = Vec::new();
    for line in lines {
        let begins = line.starts_with("20") && line.contains(" - ");
        match entries.last_mut() {
            Some((_, last)) if !begins => *last = Some(line),
            _ => entries.push((line, None)),
        }
    }
    let whole = |(line, last): (String, Option<String>)| match last {
        Some(last) if line.ends_with(" -") => format!("{line} {last}"),
        Some(last) => format!("{line}: {last}"),
        None => line,
    };
    entries.into_iter().map(whole).collect()
}

/// A release that the harness took for another proves nothing: what the deployment says of itself must agree with its
/// label. A candidate may stand for the release that it is a candidate for.
pub(crate) fn agree(label: &Version, said: &str) -> anyhow::Result<()> {
    // `1.53.0 (b=develop,…)` from a checkout, `1.53.0+fork.1` from a fork.
    let version = said.split([' ', '+']).next().unwrap_or_default();
    if version.parse::<Version>().is_ok_and(|version| version == *label || version.target() == *label) {
        Ok(())
    } else {
        bail!(
            "the image for {label} says that it is {said}: the image is not what it was taken for, so nothing was \
             judged (see the images of this run, or `--image {label}=…`)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_log_ends_with_its_exception() {
        let lines = [
            "2026-11-26 00:09:46,285 - twisted - 274 - CRITICAL -",
            "Traceback (most recent call last):",
            "RuntimeError: dictionary changed size during iteration",
            "2026-11-26 00:09:46,300 - synapse - 1 - INFO - all is well",
            "2026-11-26 00:09:46,301 - synapse - 2 - ERROR - a call died",
            "ValueError: x",
        ];
        insta::assert_snapshot!(entries(lines.map(str::to_owned).to_vec()).join("\n"), @"
        2026-11-26 00:09:46,285 - twisted - 274 - CRITICAL - RuntimeError: dictionary changed size during iteration
        2026-11-26 00:09:46,300 - synapse - 1 - INFO - all is well
        2026-11-26 00:09:46,301 - synapse - 2 - ERROR - a call died: ValueError: x
        ");
    }

    #[test]
    fn a_deployment_must_be_the_release_it_is_taken_for() {
        let agrees = |said: &str| agree(&"1.53.0".parse().unwrap(), said).is_ok();
        for said in ["1.53.0", "1.53.0rc1", "1.53.0+fork.1", "1.53.0 (b=develop,abcdef)"] {
            assert!(agrees(said), "{said}");
        }
        for said in ["1.52.0", "1.53.1", "1.54.0rc1", "", "unknown"] {
            assert!(!agrees(said), "{said}");
        }
    }
}
