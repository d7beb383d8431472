//! Synapse 1.12.0.

use std::time::Duration;

use harness::prelude::*;

notes!("1.12.0": room_versions);

/// Rooms whose version was never filled in get it from their create event, before the server answers. The printed check and
/// the temporary index, as printed. A room that everybody has left has no current state; one of the oldest says nothing of its
/// version, which is then 1.
///
/// Upstream: PR 7070, `57/rooms_version_column_3.sql`. On 1.11.1 only older rooms lack their version, so it is taken away.
fn room_versions() -> Scenario {
    let check = "SELECT MAX(q.v) FROM (
        SELECT (
          SELECT ej.json AS v
          FROM state_events se INNER JOIN event_json ej USING (event_id)
          WHERE se.room_id=rooms.room_id AND se.type='m.room.create' AND se.state_key=''
          LIMIT 1
        ) FROM rooms WHERE rooms.room_version IS NULL
      ) q;";
    let repaired = check.replace(") FROM rooms", ") AS v FROM rooms");
    let concurrently = "CREATE INDEX CONCURRENTLY tmp_upgrade_1_12_0_index
      ON state_events(room_id) WHERE type = 'm.room.create';";
    let versions = "SELECT (SELECT room_version FROM rooms WHERE room_id = '{room 1}') AS one, \
                    (SELECT room_version FROM rooms WHERE room_id = '{room 4}') AS four, \
                    (SELECT room_version FROM rooms WHERE room_id = '{room 5}') AS five, \
                    (SELECT room_version FROM rooms WHERE room_id = '{room that was left}') AS gone";
    let valid = per_database(
        "SELECT 1 = 1 AS valid FROM sqlite_master WHERE type = 'index' AND name = 'tmp_upgrade_1_12_0_index'",
        "SELECT indisvalid AS valid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
         WHERE relname = 'tmp_upgrade_1_12_0_index'",
    );
    let no_column = || contains("no such column: q.v");
    let update = "SELECT version, file FROM applied_schema_deltas WHERE file LIKE '%rooms_version_column_3%'";
    Scenario::for_note("Upgrading to v1.12.0")
        .every_variant()
        .disagreement(
            "the check runs on psql and sqlite3",
            "SQLite says `no such column: q.v`: its inner SELECT needs `AS v` after the closing bracket",
        )
        .hop("1.11.1", "1.12.0")
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            for version in ["1", "4", "5"] {
                alice.room(&format!("room {version}"), &json!({ "room_version": version })).await?;
            }
            let left = alice.room("room that was left", &json!({ "room_version": "3" })).await?;
            alice.post(&format!("/_matrix/client/r0/rooms/{left}/leave"), &json!({})).await?.ok()?;
            alice.room("known room", &json!({ "room_version": "4" })).await?;
            take_versions_away(&hs).await
        })
        .fact("versions of rooms", sql(versions))
        .changes(
            json!([{ "one": null, "four": null, "five": null, "gone": null }]),
            json!([{ "one": "1", "four": "4", "five": "5", "gone": "3" }]),
        )
        .variant("an update of before is still to be done", |it| {
            it
                // The one that 1.12.0 makes up for: it would have filled them in as well, in the background.
                .act(|hs| async move {
                    let name = "add_rooms_room_version_column";
                    hs.execute(&format!(
                        "INSERT INTO background_updates (update_name, progress_json) VALUES ('{name}', '{{}}')"
                    ))
                    .await
                })
                .fact("updates done in the background", |hs: Live| async move {
                    hs.await_log("No more background updates to do", Duration::from_secs(300)).await?;
                    let name = "add_rooms_room_version_column";
                    let left = format!("SELECT update_name FROM background_updates WHERE update_name = '{name}'");
                    let run = hs.log_lines(&format!("Starting update batch on background update '{name}'")).await?;
                    Ok(json!({ "run": !run.is_empty(), "left": hs.sql(&left).await? }))
                })
                .changes(json!({ "run": false, "left": [] }), json!({ "run": true, "left": [] }))
        })
        .variant("nothing is left to be done", |it| {
            it.fact("a version that was known", sql("SELECT room_version FROM rooms WHERE room_id = '{known room}'"))
                .always(json!([{ "room_version": "5" }]))
                .fact("the printed check", asked(check.to_owned()))
                .changes(per_database(no_column(), contains("m.room.create")), per_database(no_column(), Value::Null))
                .fact("the check, so that SQLite reads it", asked(repaired))
                .changes(contains("m.room.create"), Value::Null)
                .fact("the temporary index, when the server starts", sql(valid))
                .changes(json!([]), per_database(json!([{ "valid": 1 }]), json!([{ "valid": true }])))
                .fact("its removal", |hs: Live| async move { hs.attempt("DROP INDEX tmp_upgrade_1_12_0_index;").await })
                .changes(contains("tmp_upgrade_1_12_0_index"), "done")
                .fact("its making", move |hs: Live| async move {
                    hs.attempt(&match hs.database() {
                        Database::Sqlite => concurrently.replace("CONCURRENTLY ", ""),
                        Database::Postgres => concurrently.to_owned(),
                    })
                    .await
                })
                .always("done")
                .fact("a message after that", |hs: Live| async move {
                    Ok(hs.user("alice").await?.say(&hs.recall("room 5")?, "still here").await?.brief())
                })
                .always(status(200))
                .fact("the update on record", sql(update))
                .changes(
                    json!([]),
                    per_database(
                        json!([{ "version": 57, "file": "57/rooms_version_column_3.sql.sqlite" }]),
                        json!([{ "version": 57, "file": "57/rooms_version_column_3.sql.postgres" }]),
                    ),
                )
                .fact("the log up to the first listener", told_until_it_listens())
                .changes(
                    json!(["now listening on"]),
                    json!(["Applying engine-specific schema 57/rooms_version_column_3", "now listening on"]),
                )
        })
}

/// Of all rooms but one, whose version is not what its create event says: so one sees whether that is read.
async fn take_versions_away(hs: &Live) -> Result<()> {
    let says_nothing = "UPDATE event_json SET json = replace(json, '\"room_version\"', '\"nothing\"') \
                        WHERE room_id = '{room 1}'";
    hs.execute(&hs.fill(says_nothing)?).await?;
    let known = "CASE WHEN room_id = '{known room}' THEN '5' END";
    hs.execute(&hs.fill(&format!("UPDATE rooms SET room_version = {known}"))?).await
}

/// What the log says of the delta, and of the first listener.
fn told_until_it_listens() -> Probe {
    Probe::from(|hs: Live| async move {
        let (applying, listening) = ("Applying engine-specific schema 57/rooms_version_column_3", "now listening on");
        let lines = hs.log_lines("").await?;
        let told = lines.iter().filter_map(|line| [applying, listening].into_iter().find(|text| line.contains(text)));
        Ok(json!(told.collect::<Vec<_>>()))
    })
}

/// The one value of a query, or what the database says against it.
fn asked(query: String) -> Probe {
    Probe::from(move |hs: Live| {
        let query = query.clone();
        async move {
            match hs.sql(&query).await {
                Ok(rows) => Ok(rows[0].as_object().and_then(|row| row.values().next().cloned()).unwrap_or_default()),
                Err(error) if error.to_string().starts_with("SQL failed: ") => Ok(json!(error.to_string())),
                Err(error) => Err(error),
            }
        }
    })
}
