//! What is checked on every leg, whatever the note: the schema is the release's, background updates end, the database is
//! sound, sequences are past their tables, and the log has no error that nobody expects.
//!
//! A health check is a fact like any other: a name, an expected value, an observed one. A scenario says with
//! [`crate::Scenario::health`] where its note makes one of them come out otherwise.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use images::Version;
use serde_json::{Value, json};

use crate::{
    Database,
    checks::{
        confluence, rows,
        tolerance::{Subject, Tolerances},
    },
    database::postgres,
    database::{Row, Store},
    stage::assistant::Assistant,
    stage::hook::Hook,
    stage::log::{Log, Stream},
    verdict::cell::ANSWERS,
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
/// Whether the homeserver comes to rest when nobody asks it for anything.
pub const IDLE: &str = "at rest when idle";
/// The homeserver runs until the harness stops it.
pub const STAYS_UP: &str = "stays up";

/// What is looked at on every leg on which a homeserver runs.
pub(crate) fn checks(database: Database) -> impl Iterator<Item = &'static str> {
    let sequences = (database == Database::Postgres).then_some(SEQUENCES);
    [SCHEMA_VERSION, BACKGROUND_UPDATES, INTEGRITY, LOG_ERRORS, ANSWERS].into_iter().chain(sequences)
}

/// Background updates that make no progress for so long are stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(60);
/// How long between two looks at them, at first and later.
const POLL: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(400));
/// And those that still go on after so long never end: a fresh database of the slowest release takes a minute.
const ENDLESS: Duration = Duration::from_secs(600);

/// What a look at the database brought.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Engine and version, as it says itself.
    pub(crate) engine: String,
    /// Name and observed value of each check.
    pub(crate) checks: Vec<(&'static str, Value)>,
}

/// Waits until no background update is left, or they have made no progress for `patience`, and looks at the database.
/// While it waits the server works at its own pace: before 1.54 it pauses for a second before each update.
pub(crate) async fn database(store: &Store, running: &Assistant, patience: Duration) -> anyhow::Result<Checked> {
    let left = match drained(store, Some(running), patience).await? {
        Ok(left) => left.iter().map(|row| row["update_name"].clone()).collect(),
        Err(error) => json!({ "not readable": error }),
    };
    let query = match store {
        Store::Sqlite { .. } => "SELECT 'SQLite ' || sqlite_version() AS engine",
        Store::Postgres(_) => "SELECT version() AS engine",
    };
    let row = store.rows(query, Some(running)).await?.pop();
    let engine = row.and_then(|row| Some(row["engine"].as_str()?.to_owned())).unwrap_or_default();
    let mut checks = vec![(BACKGROUND_UPDATES, left)];
    checks.extend(sound(store, running).await?);
    if let Store::Postgres(database) = store {
        checks.push((SEQUENCES, sequences(database).await?));
    }
    Ok(Checked { engine, checks })
}

/// The part of it that waits for nothing, which is looked at in other homeservers' databases as well.
pub(crate) async fn sound(store: &Store, running: &Assistant) -> anyhow::Result<[(&'static str, Value); 2]> {
    let integrity = match store {
        Store::Sqlite { .. } => quick_check(store, running).await?,
        Store::Postgres(database) => {
            // An index that a broken migration left invalid is not used, and nobody notices.
            let invalid = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid ORDER BY 1";
            let invalid: Vec<Value> = database.rows(invalid).await?.into_iter().map(Value::Object).collect();
            if invalid.is_empty() { json!("sound") } else { json!({ "invalid indexes": invalid }) }
        }
    };
    Ok([(SCHEMA_VERSION, schema_version(store, running).await?), (INTEGRITY, integrity)])
}

/// What a check shows where another homeserver may show something else: both, if it does.
pub(crate) fn together(own: &Value, name: &str, other: Value) -> Value {
    if *own == other { other } else { json!({ "this homeserver": own, name: other }) }
}

/// The schema version; what is there instead, where there is none.
async fn schema_version(store: &Store, running: &Assistant) -> anyhow::Result<Value> {
    Ok(match store.ask("SELECT version FROM schema_version", Some(running)).await? {
        Ok(rows) => match &rows[..] {
            [row] => row["version"].clone(),
            rows => json!({ "rows of `schema_version`": rows }),
        },
        Err(error) => json!({ "not readable": error }),
    })
}

async fn quick_check(store: &Store, running: &Assistant) -> anyhow::Result<Value> {
    Ok(match store.ask("PRAGMA quick_check", Some(running)).await? {
        Ok(rows) => {
            let said: Vec<Value> = rows.iter().flat_map(|row| row.values().cloned()).collect();
            if said == ["ok"] { json!("sound") } else { json!(said) }
        }
        Err(error) => json!({ "not readable": error }),
    })
}

/// The background updates that are left, with their progress, when none goes on any more.
pub(crate) async fn background_updates_left(store: &Store, running: Option<&Assistant>) -> anyhow::Result<Vec<Row>> {
    drained(store, running, STUCK).await?.map_err(|error| anyhow!("SQL failed: {error}"))
}

/// Likewise; the inner error is the database's own message.
async fn drained(
    store: &Store,
    running: Option<&Assistant>,
    patience: Duration,
) -> anyhow::Result<Result<Vec<Row>, String>> {
    let mut left = Vec::new();
    let begun = Instant::now();
    let mut since = begun;
    let mut pause = POLL.0;
    loop {
        let query = "SELECT update_name, progress_json FROM background_updates ORDER BY update_name";
        let rows = match store.ask(query, running).await? {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        if rows != left {
            left = rows;
            since = Instant::now();
        }
        if left.is_empty() || since.elapsed() > patience || begun.elapsed() > ENDLESS {
            return Ok(Ok(left));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL.1);
    }
}

/// Waits until a homeserver that nobody asks for anything rests. One that still takes half a core after so long spins.
pub(crate) async fn idle(running: &Assistant) -> anyhow::Result<Value> {
    let mut share = 0.0;
    let mut last = (Instant::now(), running.all_cpu_seconds().await?);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = (Instant::now(), running.all_cpu_seconds().await?);
        let (Some(before), Some(after)) = (last.1, next.1) else { bail!("Docker does not tell its CPU time") };
        share = (after - before) / (next.0 - last.0).as_secs_f64();
        if share < 0.5 {
            return Ok(json!("at rest"));
        }
        last = next;
    }
    Ok(json!({ "cores in use": (share * 10.0).round() / 10.0 }))
}

/// What each check must show. `schema` is the highest schema version of the releases that the data has met.
pub(crate) fn expected(check: &str, schema: Option<u32>) -> Option<Value> {
    match check {
        SCHEMA_VERSION => schema.map(|version| json!(version)),
        INTEGRITY => Some(json!("sound")),
        BACKGROUND_UPDATES | SEQUENCES | LOG_ERRORS | rows::FEWER | confluence::SCHEMA => Some(json!([])),
        STAYS_UP => Some(json!("until it is stopped")),
        ANSWERS => Some(json!("as documented")),
        IDLE => Some(json!("at rest")),
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

/// Shows a sequence where it is behind the highest value that something holds already.
fn behind(sequence: &str, what: &str, highest: &str) -> String {
    format!(
        "SELECT '{sequence}' AS sequence, '{what}' AS compared, s.value, t.value AS highest FROM \
         (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS value FROM {sequence}) AS s, \
         ({highest}) AS t WHERE t.value > s.value"
    )
}

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
        let mut compared = |what: &str, highest: String| queries.push(behind(sequence, what, &highest));
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
    // Those that a column owns or takes its default from are in the database's own catalogue.
    let used = "SELECT DISTINCT s.relname::text AS sequence, t.relname::text AS t, a.attname::text AS c \
                FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' \
                JOIN pg_class t ON t.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid \
                WHERE d.refobjsubid > 0 AND s.relnamespace = 'public'::regnamespace \
                UNION SELECT s.relname::text, t.relname::text, a.attname::text \
                FROM pg_depend d JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' \
                JOIN pg_attrdef f ON f.oid = d.objid AND d.classid = 'pg_attrdef'::regclass \
                JOIN pg_class t ON t.oid = f.adrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = f.adnum \
                WHERE s.relnamespace = 'public'::regnamespace";
    for row in database.rows(used).await? {
        if let (Some(sequence), Some(table), Some(column)) =
            (row["sequence"].as_str(), row["t"].as_str(), row["c"].as_str())
        {
            queries.push(behind(sequence, table, &format!("SELECT max({column})::bigint AS value FROM {table}")));
        }
    }
    if queries.is_empty() {
        return Ok(json!([]));
    }
    let behind = database.rows(&queries.join(" UNION ALL ")).await?;
    Ok(json!(behind.into_iter().map(Value::Object).collect::<Vec<_>>()))
}

/// What processes say, once they are being stopped, when they part from each other, from Redis, and from requests under way.
const PARTING: &str = "(?i)\\b(redis|replication)\\b|\\blost connection\\b|connection\\b.*\\b(aborted|closed|done|lost|refused|reset)\\b|\
                       Connection(Aborted|Done|Lost|Refused)|CancelledError";

/// ERROR and CRITICAL lines that nobody expects, without their time stamps.
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
    let parting = regex::Regex::new(PARTING).expect("a constant pattern");
    // As Python's `asctime` has it; containers live in UTC.
    let stopped = stopped.strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
    let mut errors = Vec::new();
    for entry in logs.iter().flat_map(|log| entries(log.lines(Stream::Out))) {
        let Some((time, rest)) = entry.split_once(" - ") else { continue };
        // With nothing after it, where only an exception follows.
        let level = rest.split(" - ").nth(2).unwrap_or_default().trim_end_matches(" -");
        if !matches!(level, "ERROR" | "CRITICAL")
            || time > stopped.as_str() && parting.is_match(rest)
            || own.iter().any(|pattern| pattern.is_match(rest))
            || rest.contains(Hook::SAYS)
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

/// The lines that begin with a time, each with the last of those that follow it: of a traceback that is the exception. What goes
/// to standard error is logged line by line, so that each line of a traceback has a time; it is one entry all the same.
fn entries(lines: Vec<String>) -> Vec<String> {
    let mut entries: Vec<(String, Option<String>)> = Vec::new();
    // Who logs a traceback line by line, and where its entry is.
    let mut open: Option<(String, usize)> = None;
    for line in lines {
        let begins = line.starts_with("20") && line.contains(" - ");
        let (by, message) = line.split_once(" - ").map_or(("", ""), |(_, rest)| rest.split_at(message_at(rest)));
        match (entries.last_mut(), &open) {
            (Some((_, last)), _) if !begins => {
                *last = Some(line);
                open = None;
            }
            (_, Some((who, at))) if who == by => {
                entries[*at].1 = Some(message.to_owned());
                if !message.starts_with(' ') {
                    open = None;
                }
            }
            _ if message == TRACEBACK => {
                open = Some((by.to_owned(), entries.len()));
                entries.push((line[..line.len() - TRACEBACK.len()].trim_end().to_owned(), None));
            }
            _ => entries.push((line, None)),
        }
    }
    let whole = |(line, last): (String, Option<String>)| match last {
        Some(last) if line.ends_with(" -") => format!("{line} {last}"),
        Some(last) => format!("{line}: {last}"),
        None => line,
    };
    announced(entries.into_iter().map(whole).collect())
}

/// What Twisted says before a failure that nobody took: the failure is an entry of its own, by the same logger.
const ANNOUNCEMENT: &str = " - Unhandled error in Deferred:";

/// The entries, with an announcement and the failure that it is about as one: by itself it says nothing.
fn announced(entries: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    // Where announcements are whose failure is to come.
    let mut waiting: Vec<usize> = Vec::new();
    for entry in entries {
        let (_, rest) = entry.split_once(" - ").unwrap_or_default();
        let announces = |&at: &usize| {
            let by = joined[at].split_once(" - ").and_then(|(_, by)| by.strip_suffix(ANNOUNCEMENT));
            by.is_some_and(|by| rest.starts_with(by) && !rest.ends_with(ANNOUNCEMENT))
        };
        if let Some(index) = waiting.iter().position(announces) {
            let (_, failure) = rest.split_at(message_at(rest));
            let at = waiting.remove(index);
            joined[at] = format!("{} {failure}", joined[at]);
            continue;
        }
        if entry.ends_with(ANNOUNCEMENT) {
            waiting.push(joined.len());
        }
        joined.push(entry);
    }
    joined
}

/// How a traceback begins.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// Where the message begins in what follows a line's time: after logger, place and level.
fn message_at(rest: &str) -> usize {
    rest.match_indices(" - ").nth(2).map_or(0, |(at, separator)| at + separator.len())
}

/// A release that the harness took for another proves nothing: what the deployment says of itself must agree with its
/// label. A candidate may stand for the release that it is a candidate for.
pub(crate) fn agree(label: &Version, said: &str) -> anyhow::Result<()> {
    // `1.53.0 (b=develop,…)` from a checkout, `1.53.0+fork.1` from a fork, `1.53.0-1` or `1.53.0.post1` from who packages it.
    let version = said.split([' ', '+', '-']).next().unwrap_or_default();
    let version = version.split(".post").next().unwrap_or_default();
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
    fn a_traceback_that_is_logged_line_by_line_is_one_entry() {
        let lines = [
            "2026-11-28 02:06:57,941 - twisted - 281 - ERROR - Traceback (most recent call last):",
            "2026-11-28 02:06:57,942 - twisted - 281 - ERROR -   File \"handlers.py\", line 137, in run",
            "2026-11-28 02:06:57,942 - synapse - 1 - INFO - all is well",
            "2026-11-28 02:06:57,943 - twisted - 281 - ERROR - RuntimeError: dictionary changed size during iteration",
            "2026-11-28 02:06:57,944 - twisted - 281 - ERROR - another",
        ];
        insta::assert_snapshot!(entries(lines.map(str::to_owned).to_vec()).join("\n"), @"
        2026-11-28 02:06:57,941 - twisted - 281 - ERROR - RuntimeError: dictionary changed size during iteration
        2026-11-28 02:06:57,942 - synapse - 1 - INFO - all is well
        2026-11-28 02:06:57,944 - twisted - 281 - ERROR - another
        ");
    }

    #[test]
    fn a_failure_that_twisted_announces_is_one_entry() {
        let lines = [
            "2026-11-28 02:06:57,941 - twisted - 273 - CRITICAL - Unhandled error in Deferred:",
            "2026-11-28 02:06:57,942 - synapse - 1 - INFO - all is well",
            "2026-11-28 02:06:57,943 - twisted - 273 - CRITICAL -",
            "Traceback (most recent call last):",
            "RuntimeError: dictionary changed size during iteration",
            "2026-11-28 02:06:57,944 - twisted - 273 - CRITICAL - Unhandled error in Deferred:",
        ];
        insta::assert_snapshot!(entries(lines.map(str::to_owned).to_vec()).join("\n"), @"
        2026-11-28 02:06:57,941 - twisted - 273 - CRITICAL - Unhandled error in Deferred: RuntimeError: dictionary changed size during iteration
        2026-11-28 02:06:57,942 - synapse - 1 - INFO - all is well
        2026-11-28 02:06:57,944 - twisted - 273 - CRITICAL - Unhandled error in Deferred:
        ");
    }

    #[test]
    fn what_processes_say_when_they_part_is_no_error_unless_they_run() {
        let stopped: jiff::Timestamp = "2026-11-26T00:10:00Z".parse().unwrap();
        let errors = |lines: &[&str]| {
            let log = Log::of(lines);
            log_errors(&[log], stopped, &"1.53.0".parse().unwrap(), &Tolerances::parse("").unwrap(), &[]).unwrap()
        };
        let before = "2026-11-26 00:09:59,000 - a - 1 - ERROR - Lost connection to Redis";
        let after = "2026-11-26 00:10:01,000 - a - 1 - ERROR - Lost connection to Redis";
        let fault = "2026-11-26 00:10:01,000 - a - 1 - ERROR - Could not write pushers";
        assert_eq!(errors(&[after]), json!([]));
        assert_eq!(errors(&[before]), json!(["a - 1 - ERROR - Lost connection to Redis"]));
        assert_eq!(errors(&[fault]), json!(["a - 1 - ERROR - Could not write pushers"]));
    }

    #[test]
    fn another_homeservers_database_shows_where_it_differs() {
        assert_eq!(together(&json!(68), "other.test", json!(68)), json!(68));
        let both = json!({ "this homeserver": "sound", "other.test": ["row 1 missing"] });
        assert_eq!(together(&json!("sound"), "other.test", json!(["row 1 missing"])), both);
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
