//! Synapse 1.38.0.

use std::{collections::BTreeSet, time::Duration};

use harness::prelude::*;

notes!("1.38.0": events_reindex);

/// `events.stream_ordering` becomes a 64-bit column through a second column, with its indexes built anew in the background.
///
/// Upstream: PRs 10264 to 10326. The note counts four indexes; five are built, the fifth being the unique index on the new
/// column.
fn events_reindex() -> Scenario {
    let columns = "SELECT column_name::text AS name, data_type::text AS type FROM information_schema.columns \
                   WHERE table_name = 'events' AND column_name LIKE 'stream_ordering%' ORDER BY 1";
    let column = |kind: &str| json!([{ "name": "stream_ordering", "type": kind }]);
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
        .fact("indexes built in the background", |hs: Live| async move {
            while !hs.sql("SELECT 1 AS one FROM background_updates").await?.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // The indexes themselves get their old names in the last step, so only the log still tells of them.
            let begins = "Starting update batch on background update 'index_stream_ordering2";
            let built: BTreeSet<_> = hs
                .log_lines(begins)
                .await?
                .iter()
                .filter_map(|line| line.split('\'').nth(1))
                .map(str::to_owned)
                .collect();
            Ok(json!(built))
        })
        .until("1.38.0", json!([]))
        .since("1.38.0", json!(built))
        .fact("columns in the end", sql(columns))
        .until("1.38.0", column("integer"))
        .since("1.38.0", column("bigint"))
        .fact("indexes in the end", sql(indexes))
        .until("1.38.0", named("events_pkey"))
        .since("1.38.0", named("events_stream_ordering"))
        .fact("rules on the table", sql("SELECT rulename::text AS name FROM pg_rules WHERE tablename = 'events'"))
        .always(json!([]))
        .fact("what is logged of the last step", log_lines("completing stream_ordering migration"))
        .until("1.38.0", json!([]))
        .since("1.38.0", json!(vec![contains("completing stream_ordering migration"); 8]))
        .fact("the disk that the note asks to check", sql("SELECT pg_relation_size('events_order_room') > 0 AS known"))
        .always(json!([{ "known": true }]))
        .fact("messages in their order", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let timeline = alice.timeline(&hs.recall("room")?, 100).await?;
            let numbers: Vec<Option<u32>> = timeline
                .iter()
                .filter_map(|event| event["content"]["body"].as_str()?.strip_prefix("message "))
                .map(|number| number.parse().ok())
                .collect();
            Ok(json!({ "messages": numbers.len(), "in order": numbers.is_sorted() }))
        })
        .always(json!({ "messages": 30, "in order": true }))
}
