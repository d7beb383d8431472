//! Synapse 1.38.0.

use std::collections::BTreeSet;

use harness::prelude::*;

notes!("1.38.0": events_reindex, events_untouched_on_sqlite);

/// `events.stream_ordering` becomes a 64-bit column through a second column, with its indexes built anew in the background.
///
/// Upstream: PRs 10264 to 10326. The note counts four indexes; five are built, the fifth being the unique index on the new
/// column.
fn events_reindex() -> Scenario {
    let columns = "SELECT column_name::text AS name, data_type::text AS type FROM information_schema.columns \
                   WHERE table_name = 'events' AND column_name LIKE 'stream_ordering%' ORDER BY 1";
    let column = |kind: &str| json!([{ "name": "stream_ordering", "type": kind }]);
    let others = "SELECT table_name || '.' || column_name AS name, data_type::text AS type FROM information_schema.columns \
                  WHERE (table_name, column_name) IN (('pushers', 'last_stream_ordering'), \
                  ('federation_stream_position', 'stream_id'), ('application_services_state', 'last_txn')) ORDER BY 1";
    let all_others = |kind: &str| {
        json!([
            { "name": "application_services_state.last_txn", "type": kind },
            { "name": "federation_stream_position.stream_id", "type": kind },
            { "name": "pushers.last_stream_ordering", "type": kind },
        ])
    };
    let indexes = "SELECT indexname::text AS name FROM pg_indexes WHERE tablename = 'events' ORDER BY 1";
    let named = |key: &str| {
        let kept =
            ["event_contains_url_index", "events_event_id_key", "events_order_room", "events_room_stream", "events_ts"];
        let mut names: Vec<_> = kept.into_iter().chain([key]).collect();
        names.sort_unstable();
        json!(names.into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>())
    };
    let built =
        ["", "_contains_url", "_room_order", "_room_stream", "_ts"].map(|of| format!("index_stream_ordering2{of}"));
    Scenario::for_note("Re-indexing of `events` table on Postgres databases")
        .disagreement(
            "four indexes are built anew, so four times the size of `events_order_room` is needed",
            "five are built: the unique index on the new column comes on top",
        )
        .only_on(Database::Postgres)
        .hop("1.37.1", "1.38.0")
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            let room = alice.room("room", &json!({})).await?;
            for number in 0..30 {
                alice.say(&room, &format!("message {number}")).await?.ok()?;
            }
            Ok(())
        })
        .fact("indexes built in the background", indexes_built())
        .until("1.38.0", json!([]))
        .since("1.38.0", json!(built))
        .fact("columns in the end", sql(columns))
        .until("1.38.0", column("integer"))
        .since("1.38.0", column("bigint"))
        .fact("columns of other tables", sql(others))
        .until("1.38.0", all_others("integer"))
        .since("1.38.0", all_others("bigint"))
        .fact("indexes in the end", sql(indexes))
        .until("1.38.0", named("events_pkey"))
        .since("1.38.0", named("events_stream_ordering"))
        .fact("rules on the table", sql("SELECT rulename::text AS name FROM pg_rules WHERE tablename = 'events'"))
        .always(json!([]))
        .fact("what is logged of the last step", log_lines("completing stream_ordering migration"))
        .until("1.38.0", json!([]))
        .since("1.38.0", json!(vec![contains("completing stream_ordering migration"); 8]))
        // An index without entries has 8192 bytes.
        .fact(
            "the disk that the note asks to check",
            sql("SELECT pg_size_pretty(pg_relation_size('events_order_room'));"),
        )
        .always(json!([{ "pg_size_pretty": matches("^[0-9]+ kB$") }]))
        .fact("messages in their order, the last sent on this leg", |hs: Live| async move {
            let (alice, room) = (hs.user("alice").await?, hs.recall("room")?);
            let before = alice.timeline(&room, 1).await?;
            let last = before[0]["content"]["body"].as_str().and_then(|body| body.strip_prefix("message "));
            let next = last.unwrap_or_default().parse::<u32>()? + 1;
            alice.say(&room, &format!("message {next}")).await?.ok()?;
            let timeline = alice.timeline(&room, 100).await?;
            let numbers: Vec<Option<u32>> = timeline
                .iter()
                .filter_map(|event| event["content"]["body"].as_str()?.strip_prefix("message "))
                .map(|number| number.parse().ok())
                .collect();
            Ok(json!({ "messages": numbers.len(), "in order": numbers.is_sorted() }))
        })
        .until("1.38.0", json!({ "messages": 31, "in order": true }))
        .since("1.38.0", json!({ "messages": 32, "in order": true }))
}

/// SQLite's integers have 64 bits already: the schema has a new version, and `events` stays as it is.
fn events_untouched_on_sqlite() -> Scenario {
    let indexes =
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql IS NOT NULL ORDER BY 1";
    let named = ["event_contains_url_index", "events_order_room", "events_room_stream", "events_ts"];
    Scenario::for_note("Re-indexing of `events` table on Postgres databases")
        .only_on(Database::Sqlite)
        .hop("1.37.1", "1.38.0")
        .fact("version of the schema", sql("SELECT version FROM schema_version"))
        .until("1.38.0", json!([{ "version": 59 }]))
        .since("1.38.0", json!([{ "version": 60 }]))
        .fact("its deltas", sql("SELECT file FROM applied_schema_deltas WHERE version >= 60"))
        .always(json!([]))
        .fact("indexes built in the background", indexes_built())
        .always(json!([]))
        .fact("indexes", sql(indexes))
        .always(json!(named.map(|name| json!({ "name": name }))))
}

/// The background updates that built the indexes. These get their old names in the last step, so only the log still tells
/// of them.
fn indexes_built() -> Probe {
    Probe::from(|hs: Live| async move {
        hs.background_updates_left().await?;
        let lines = hs.log_lines("Starting update batch on background update 'index_stream_ordering2").await?;
        Ok(json!(lines.iter().filter_map(|line| line.split('\'').nth(1)).collect::<BTreeSet<_>>()))
    })
}
