//! Synapse 1.38.0.

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
                  ('federation_stream_position', 'stream_id'), ('application_services_state', 'last_txn'), \
                  ('application_services_state', 'read_receipt_stream_id'), \
                  ('application_services_state', 'presence_stream_id')) ORDER BY 1";
    let all_others = |kind: &str| {
        json!([
            { "name": "application_services_state.last_txn", "type": kind },
            { "name": "application_services_state.presence_stream_id", "type": kind },
            { "name": "application_services_state.read_receipt_stream_id", "type": kind },
            { "name": "federation_stream_position.stream_id", "type": kind },
            { "name": "pushers.last_stream_ordering", "type": kind },
        ])
    };
    let indexes = "SELECT indexname::text AS name, indexdef LIKE 'CREATE UNIQUE %' AS is_unique, \
                   substring(indexdef FROM 'USING btree (.*)') AS on_columns \
                   FROM pg_indexes WHERE tablename = 'events' ORDER BY 1";
    let index = |name: &str, unique: bool, on: &str| json!({ "name": name, "is_unique": unique, "on_columns": on });
    let with_key = |key: &str| {
        let room_order = "(room_id, topological_ordering, stream_ordering)";
        let with_url = format!("{room_order} WHERE ((contains_url = true) AND (outlier = false))");
        let mut all = [
            index("event_contains_url_index", false, &with_url),
            index("events_event_id_key", true, "(event_id)"),
            index("events_order_room", false, room_order),
            index("events_room_stream", false, "(room_id, stream_ordering)"),
            index("events_ts", false, "(origin_server_ts, stream_ordering)"),
            index(key, true, "(stream_ordering)"),
        ];
        all.sort_by_key(|index| index["name"].to_string());
        json!(all)
    };
    let deltas = "SELECT file FROM applied_schema_deltas WHERE version = 60 ORDER BY file";
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
        .fact("the deltas", sql(deltas))
        .changes(
            json!([]),
            json!([
                { "file": "60/01recreate_stream_ordering.sql.postgres" },
                { "file": "60/02change_stream_ordering_columns.sql.postgres" },
            ]),
        )
        .fact("what is done in the background, in this order", background_updates())
        .changes(json!([]), json!(UPDATES))
        .fact("columns in the end", sql(columns))
        .changes(column("integer"), column("bigint"))
        .fact("columns of other tables", sql(others))
        .changes(all_others("integer"), all_others("bigint"))
        .fact("indexes in the end", sql(indexes))
        .changes(with_key("events_pkey"), with_key("events_stream_ordering"))
        .fact("rules on the table", sql("SELECT rulename::text AS name FROM pg_rules WHERE tablename = 'events'"))
        .always(json!([]))
        .fact("what is logged of the last step", |hs: Live| async move {
            let lines = hs.log_lines("completing stream_ordering migration: ").await?;
            Ok(lines.iter().filter_map(|line| line.split("completing stream_ordering migration: ").nth(1)).collect())
        })
        .changes(json!([]), json!(LAST_STEP))
        // An index without entries has 8192 bytes.
        .fact(
            "the disk that the note asks to check",
            sql("SELECT pg_size_pretty(pg_relation_size('events_order_room'));"),
        )
        .always(json!([{ "pg_size_pretty": matches("^[0-9]+ kB$") }]))
        .fact("where the first events of the room are in the stream", places())
        .always("where they were")
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
        .changes(json!({ "messages": 31, "in order": true }), json!({ "messages": 32, "in order": true }))
}

/// The background updates, each of which waits for the one before.
const UPDATES: [&str; 7] = [
    "populate_stream_ordering2",
    "index_stream_ordering2",
    "index_stream_ordering2_room_order",
    "index_stream_ordering2_contains_url",
    "index_stream_ordering2_room_stream",
    "index_stream_ordering2_ts",
    "replace_stream_ordering_column",
];

/// What the last of them does.
const LAST_STEP: [&str; 8] = [
    "UPDATE events SET stream_ordering2 = stream_ordering WHERE stream_ordering2 IS NULL",
    "DROP RULE populate_stream_ordering2 ON events",
    "ALTER TABLE events DROP COLUMN stream_ordering",
    "ALTER TABLE events RENAME COLUMN stream_ordering2 TO stream_ordering",
    "ALTER INDEX event_contains_url_index2 RENAME TO event_contains_url_index",
    "ALTER INDEX events_order_room2 RENAME TO events_order_room",
    "ALTER INDEX events_room_stream2 RENAME TO events_room_stream",
    "ALTER INDEX events_ts2 RENAME TO events_ts",
];

/// Are the room's first events where they were in the stream on the first leg? If not, where they are.
fn places() -> Probe {
    Probe::from(|hs: Live| async move {
        let first = "SELECT event_id, stream_ordering FROM events WHERE room_id = '{room}' ORDER BY 2 LIMIT 30";
        let places = json!(hs.sql(&hs.fill(first)?).await?);
        let before = hs.recall("places").unwrap_or_else(|_| places.to_string());
        let before: Value = serde_json::from_str(&before)?;
        hs.remember("places", &before.to_string());
        Ok(if places == before { json!("where they were") } else { places })
    })
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
        .changes(json!([{ "version": 59 }]), json!([{ "version": 60 }]))
        // Whether a later one is right is seen to on every leg.
        .since("1.39.0", not(json!([{ "version": 59 }])))
        // Later releases have deltas and updates of their own.
        .fact("its deltas", sql("SELECT file FROM applied_schema_deltas WHERE version >= 60"))
        .until("1.39.0", json!([]))
        .fact("what is done in the background", background_updates())
        .until("1.39.0", json!([]))
        .fact("indexes", sql(indexes))
        // More are made since, by updates that begin with the server.
        .until("1.76.0", json!(named.map(|name| json!({ "name": name }))))
}

/// The background updates for the column, as they began. The indexes that they built get their old names in the last step, so
/// only the log still tells of them.
fn background_updates() -> Probe {
    Probe::from(|hs: Live| async move {
        let lines = hs.log_lines("Starting update batch on background update '").await?;
        let mut names: Vec<_> = lines.iter().filter_map(|line| line.split('\'').nth(1)).collect();
        names.retain(|name| name.contains("stream_ordering"));
        names.dedup();
        Ok(json!(names))
    })
    .once_updated()
}
