//! Synapse 1.14.0.

use harness::prelude::*;

notes!("1.14.0": outbound_device_lists);

/// The database update that the note does not name: before the server answers, what was last sent of device lists is brought
/// to one row per destination and user, under a unique index.
///
/// Upstream: PR 7388, `58/06dlols_unique_idx.py`.
fn outbound_device_lists() -> Scenario {
    let rows = "SELECT destination, user_id, stream_id FROM device_lists_outbound_last_success \
                WHERE destination IN ('other.test', 'remote.test') ORDER BY destination, user_id, stream_id";
    let row = |destination: &str, user: &str, id: u64| json!({ "destination": destination, "user_id": format!("@{user}:hs.test"), "stream_id": id });
    let sent = |ids: &[u64]| {
        let [other, bob] = [row("other.test", "alice", 1), row("remote.test", "bob", 1)];
        let alice = ids.iter().map(|id| row("remote.test", "alice", *id));
        json!([other].into_iter().chain(alice).chain([bob]).collect::<Vec<_>>())
    };
    let seeded = "INSERT INTO device_lists_outbound_last_success VALUES ('remote.test', '@alice:hs.test', 1), \
                  ('remote.test', '@alice:hs.test', 2), ('remote.test', '@bob:hs.test', 1), \
                  ('other.test', '@alice:hs.test', 1);";
    let next = "INSERT INTO device_lists_outbound_last_success SELECT destination, user_id, MAX(stream_id) + 1 \
                FROM device_lists_outbound_last_success WHERE destination = 'remote.test' \
                AND user_id = '@alice:hs.test' GROUP BY destination, user_id;";
    let indexes = per_database(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'device_lists_outbound_last_success'",
        "SELECT indexname::text AS name FROM pg_indexes WHERE tablename = 'device_lists_outbound_last_success'",
    );
    let update = "SELECT version, file FROM applied_schema_deltas WHERE file LIKE '%dlols_unique_idx%'";
    Scenario::for_note("Upgrading to v1.14.0")
        .on_both()
        .hop("1.13.0", "1.14.0")
        .seed(move |hs| async move { hs.execute(seeded).await })
        .fact("what was last sent", sql(rows))
        // The highest, with the one that the fact below put there.
        .changes(sent(&[1, 2]), sent(&[3]))
        .fact("one more row for the same user", move |hs: Live| async move { hs.attempt(next).await })
        .changes("done", matches("UNIQUE constraint failed|duplicate key value violates unique constraint"))
        .fact("indexes", sql(indexes))
        .changes(
            json!([{ "name": "device_lists_outbound_last_success_idx" }]),
            json!([{ "name": "device_lists_outbound_last_success_unique_idx" }]),
        )
        .fact("the update on record", sql(update))
        .changes(json!([]), json!([{ "version": 58, "file": "58/06dlols_unique_idx.py" }]))
        .fact("the log up to the first listener", |hs: Live| async move {
            let (rebuilding, listening) = ("Rebuilding device_lists_outbound_last_success", "now listening on");
            let lines = hs.log_lines("").await?;
            let told =
                lines.iter().filter_map(|line| [rebuilding, listening].into_iter().find(|text| line.contains(text)));
            Ok(json!(told.collect::<Vec<_>>()))
        })
        .changes(
            json!(["now listening on"]),
            json!(["Rebuilding device_lists_outbound_last_success", "now listening on"]),
        )
}
