//! Synapse 1.26.0.

use harness::{health, prelude::*};

notes!("1.26.0": rollback_to_1_25);

/// The documented way back to 1.25.0, with the SQL as upstream prints it. It does not work as printed: a table that 1.25.0
/// reads at its start is gone, and on PostgreSQL the quotes are those of column names. The repair is proven, and the way
/// up again.
fn rollback_to_1_25() -> Scenario {
    let too_new = "Cannot use this database as it is too new for the server to understand";
    let deltas = |quote: &str| {
        ["59/01ignored_user.py", "59/06chain_cover_index.sql"]
            .map(|file| {
                format!("DELETE FROM applied_schema_deltas WHERE version = 59 AND file = {quote}{file}{quote};")
            })
            .join("\n")
    };
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
            Ok(())
        })
        .fact("start", start())
        .always(started())
        .fact("the list of ignored users, as the user sees it", ignored_users())
        .always(json!({ "@bad:hs.test": {} }))
        .fact("the table of ignored users", |hs: Live| async move {
            let query = "SELECT ignored_user_id FROM ignored_users";
            Ok(hs.sql(query).await.map_or(Value::Null, |rows| json!(rows)))
        })
        .until("1.26.0", Value::Null)
        .since("1.26.0", json!([{ "ignored_user_id": "@bad:hs.test" }]))
        .then("1.25.0")
        .titled("nothing done")
        .now("start", refused(too_new))
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
        .then("1.25.0")
        .titled("after the repair")
        .sql("the missing table", missing_table, "done")
        .sql("step 4, with the quotes of values", deltas("'"), "done")
        .health(health::SCHEMA_VERSION, 58)
        .then("1.26.0")
        .titled("again")
        .health(health::SCHEMA_VERSION, 59)
}

fn ignored_users() -> Probe {
    get("/_matrix/client/r0/user/{alice}/account_data/m.ignored_user_list").by("alice").field("/ignored_users").into()
}
