//! Synapse 1.14.0.

use harness::prelude::*;

notes!("1.14.0": outbound_device_lists);

/// The database update that the note does not name: before the server answers, what was last sent of device lists is brought
/// to one row per destination and user, under a unique index.
///
/// Upstream: PR 7388, `58/06dlols_unique_idx.py`.
fn outbound_device_lists() -> Scenario {
    let rows = "SELECT destination, user_id, stream_id FROM device_lists_outbound_last_success \
                WHERE destination = 'remote.test' ORDER BY stream_id";
    let row = |id: u64| json!({ "destination": "remote.test", "user_id": "@alice:hs.test", "stream_id": id });
    let insert = |id: u64| {
        format!("INSERT INTO device_lists_outbound_last_success VALUES ('remote.test', '@alice:hs.test', {id});")
    };
    let indexes = per_database(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'device_lists_outbound_last_success'",
        "SELECT indexname::text AS name FROM pg_indexes WHERE tablename = 'device_lists_outbound_last_success'",
    );
    let update = "SELECT version, file FROM applied_schema_deltas WHERE file LIKE '%dlols_unique_idx%'";
    Scenario::for_note("Upgrading to v1.14.0")
        .hop("1.13.0", "1.14.0")
        .seed(move |hs| async move { hs.execute(&[insert(1), insert(2)].concat()).await })
        .fact("what was last sent", sql(rows))
        .until("1.14.0", json!([row(1), row(2)]))
        // The highest, with the one that the fact below put there.
        .since("1.14.0", json!([row(3)]))
        .fact("one more row for the same user", move |hs: Live| async move { hs.attempt(&insert(3)).await })
        .until("1.14.0", "done")
        .since("1.14.0", matches("UNIQUE constraint failed|duplicate key value violates unique constraint"))
        .fact("indexes", sql(indexes))
        .until("1.14.0", json!([{ "name": "device_lists_outbound_last_success_idx" }]))
        .since("1.14.0", json!([{ "name": "device_lists_outbound_last_success_unique_idx" }]))
        .fact("the update on record", sql(update))
        .until("1.14.0", json!([]))
        .since("1.14.0", json!([{ "version": 58, "file": "58/06dlols_unique_idx.py" }]))
        .fact("the log up to the first listener", |hs: Live| async move {
            let (rebuilding, listening) = ("Rebuilding device_lists_outbound_last_success", "now listening on");
            let lines = hs.log_lines("").await?;
            let told =
                lines.iter().filter_map(|line| [rebuilding, listening].into_iter().find(|text| line.contains(text)));
            Ok(json!(told.collect::<Vec<_>>()))
        })
        .until("1.14.0", json!(["now listening on"]))
        .since("1.14.0", json!(["Rebuilding device_lists_outbound_last_success", "now listening on"]))
}
