//! Synapse 1.26.0.

use harness::{health, prelude::*};

notes!("1.26.0": rollback_to_1_25);

/// The documented way back to 1.25.0, with the SQL as upstream prints it. It does not work as printed: a table that 1.25.0
/// reads at its start is gone, and on PostgreSQL the quotes are those of column names. The repair is proven, and the way
/// up again.
#[expect(clippy::too_many_lines, reason = "one story, leg by leg")]
fn rollback_to_1_25() -> Scenario {
    let too_new = "Cannot use this database as it is too new for the server to understand";
    let deltas = |quote: &str| {
        ["59/01ignored_user.py", "59/06chain_cover_index.sql"]
            .map(|file| {
                format!("DELETE FROM applied_schema_deltas WHERE version = 59 AND file = {quote}{file}{quote};")
            })
            .join("\n")
    };
    let (ignored, covered, applied) =
        ("the table of ignored users", "the room's events in the chain cover", "deltas that step 4 is about");
    let both = || json!([{ "file": "59/01ignored_user.py" }, { "file": "59/06chain_cover_index.sql" }]);
    let ignoring = || json!([{ "ignored_user_id": "@bad:hs.test" }]);
    let in_chains = |events: &str| json!([{ "events": events }]);
    let covered_events = "SELECT CASE WHEN COUNT(*) > 0 THEN 'some' ELSE 'none' END AS events \
                          FROM event_auth_chains JOIN state_events USING (event_id) WHERE room_id = '{lobby}'";
    let stream_ids = "SELECT stream_id FROM account_data UNION SELECT stream_id FROM room_account_data \
                      UNION SELECT stream_id FROM room_tags_revisions";
    let missing_table = format!(
        "CREATE TABLE account_data_max_stream_id (Lock CHAR(1) NOT NULL DEFAULT 'X' UNIQUE, \
             stream_id BIGINT NOT NULL, CHECK (Lock = 'X'));\n\
         INSERT INTO account_data_max_stream_id (stream_id) SELECT COALESCE(MAX(stream_id), 1) FROM ({stream_ids}) AS ids;"
    );
    Scenario::for_note("Rolling back to v1.25.0 after a failed upgrade")
        .disagreement(
            "five steps lead back to 1.25.0",
            "1.25.0 does not start after them: 59/04drop_account_data.sql has dropped account_data_max_stream_id, which \
             it reads; the table has to be made again",
        )
        .disagreement(
            "step 4 deletes two rows of applied_schema_deltas",
            "on PostgreSQL its double quotes make column names of the values, and nothing is deleted",
        )
        .hop("1.25.0", "1.26.0")
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            let path = format!("/_matrix/client/r0/user/{}/account_data/m.ignored_user_list", alice.id());
            alice.put(&path, &json!({ "ignored_users": { "@bad:hs.test": {} } })).await?.ok()?;
            alice.room("lobby", &json!({})).await?;
            Ok(())
        })
        .fact("start", start())
        .always(started())
        .fact("the list of ignored users, as the user sees it", ignored_users())
        .always(json!({ "@bad:hs.test": {} }))
        .fact("left to do in the background", |hs: Live| async move { Ok(json!(hs.background_updates_left().await?)) })
        .always(json!([]))
        .fact(ignored, if_there("ignored_users", "SELECT ignored_user_id FROM ignored_users"))
        .until("1.26.0", Value::Null)
        .since("1.26.0", ignoring())
        .fact(covered, if_there("event_auth_chains", covered_events))
        .until("1.26.0", Value::Null)
        .since("1.26.0", in_chains("some"))
        .fact(
            applied,
            sql("SELECT file FROM applied_schema_deltas \
                 WHERE file IN ('59/01ignored_user.py', '59/06chain_cover_index.sql') ORDER BY file"),
        )
        .until("1.26.0", json!([]))
        .since("1.26.0", both())
        .then("1.25.0")
        .titled("nothing done")
        .now("start", refused(too_new))
        .now(ignored, ignoring())
        .now(covered, in_chains("some"))
        .now(applied, both())
        .then("1.25.0")
        .titled("after the printed steps")
        .sql("step 2, the schema version", "UPDATE schema_version SET version = 58;", "done")
        .sql(
            "step 3, ignored users and chain cover",
            "DROP TABLE IF EXISTS ignored_users; UPDATE rooms SET has_auth_chain_index = false;",
            "done",
        )
        .sql(
            "step 3, for this database",
            per_database(
                "DELETE FROM event_auth_chain_links; DELETE FROM event_auth_chains;",
                "TRUNCATE event_auth_chain_links; TRUNCATE event_auth_chains;",
            ),
            "done",
        )
        .sql(
            "step 4, the deltas",
            deltas("\""),
            per_database("done", contains("column \"59/01ignored_user.py\" does not exist")),
        )
        .now("start", refused("account_data_max_stream_id"))
        .now(covered, in_chains("none"))
        .now(applied, per_database(json!([]), both()))
        .then("1.25.0")
        .titled("after the repair")
        .sql("the missing table", missing_table, "done")
        .sql("step 4, with the quotes of values", deltas("'"), "done")
        .now(covered, in_chains("none"))
        .health(health::SCHEMA_VERSION, 58)
        .then("1.26.0")
        .titled("again, as if 1.26.0 had not finished the chain cover")
        .sql(
            "the unfinished background update",
            "INSERT INTO background_updates (ordering, update_name, progress_json) VALUES (5906, 'chain_cover', '{}');",
            "done",
        )
        .now(
            "start",
            per_database(
                refused("UNIQUE constraint failed: background_updates.update_name"),
                refused("duplicate key value violates unique constraint \"background_updates_uniqueness\""),
            ),
        )
        .now(ignored, Value::Null)
        .now(covered, in_chains("none"))
        .now(applied, json!([]))
        .step("that background update deleted")
        .sql("delete it", "DELETE FROM background_updates WHERE update_name = 'chain_cover';", "done")
        .health(health::SCHEMA_VERSION, 59)
}

fn ignored_users() -> Probe {
    get("/_matrix/client/r0/user/{alice}/account_data/m.ignored_user_list").by("alice").field("/ignored_users").into()
}

/// The rows of a query of this table; `null` where there is no such table.
fn if_there(table: &'static str, query: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        Ok(if hs.has_table(table).await? { json!(hs.sql(&hs.fill(query)?).await?) } else { Value::Null })
    })
    .at_rest()
}
