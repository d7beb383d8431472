//! Synapse 1.26.0.

use harness::{health, prelude::*};

notes!("1.26.0": rollback_to_1_25);

/// The documented way back to 1.25.0, with the SQL as upstream prints it. It does not work as printed: a table that 1.25.0
/// reads at its start is gone, and on PostgreSQL the quotes are those of column names. The repair is proven, and the way
/// up again.
#[expect(clippy::too_many_lines, reason = "one story, leg by leg")]
fn rollback_to_1_25() -> Scenario {
    let too_new = "Cannot use this database as it is too new for the server to understand";
    let undone = |quote: &str| {
        ["59/01ignored_user.py", "59/06chain_cover_index.sql"]
            .map(|file| {
                format!("DELETE FROM applied_schema_deltas WHERE version = 59 AND file = {quote}{file}{quote};")
            })
            .join("\n")
    };
    let (ignored, covered, applied) =
        ("the table of ignored users", "the room's state in the chain cover", "deltas of the version");
    let all = || deltas_without(&[]);
    let without_two = || deltas_without(&["59/01ignored_user.py", "59/06chain_cover_index.sql"]);
    let table = "the table that 1.25.0 reads at its start";
    let (new_room, new_list) = ("a new room's state in the chain cover", "who is ignored after a list has changed");
    let ignoring = || {
        let row = |ignored: &str| json!({ "ignorer_user_id": "@alice:hs.test", "ignored_user_id": ignored });
        json!([row("@bad:hs.test"), row("@worse:hs.test")])
    };
    let behind = json!({
        "sequence": "account_data_sequence",
        "value": anything(),
        "compared": "account_data",
        "highest": anything(),
    });
    let in_chains = |events: &str| {
        let (room, first) = if events == "all" { ("marked", "m.room.create") } else { ("not marked", "0") };
        json!([{ "events": events, "room": room, "without_a_link": first }])
    };
    let stream_ids = "SELECT stream_id FROM account_data UNION SELECT stream_id FROM room_account_data \
                      UNION SELECT stream_id FROM room_tags_revisions";
    let missing_table = format!(
        "CREATE TABLE account_data_max_stream_id (Lock CHAR(1) NOT NULL DEFAULT 'X' UNIQUE, \
             stream_id BIGINT NOT NULL, CHECK (Lock = 'X'));\n\
         INSERT INTO account_data_max_stream_id (stream_id) SELECT COALESCE(MAX(stream_id), 1) FROM ({stream_ids}) AS ids;"
    );
    Scenario::for_note("Rolling back to v1.25.0 after a failed upgrade")
        .on_both()
        .disagreement(
            "five steps lead back to 1.25.0",
            "1.25.0 does not start after them: 59/04drop_account_data.sql has dropped account_data_max_stream_id, which \
             it reads; the table has to be made again",
        )
        .disagreement(
            "step 4 deletes two rows of applied_schema_deltas",
            "on PostgreSQL its double quotes make column names of the values, and nothing is deleted",
        )
        .disagreement(
            "after step 4 the deltas run again on upgrade",
            "on PostgreSQL 1.26.0 then stops, if 1.25.0 has stored account data: account_data_sequence is behind it",
        )
        .hop("1.25.0", "1.26.0")
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            let path = format!("/_matrix/client/r0/user/{}/account_data/m.ignored_user_list", alice.id());
            let ignored = json!({ "@bad:hs.test": {}, "@worse:hs.test": {} });
            alice.put(&path, &json!({ "ignored_users": ignored })).await?.ok()?;
            alice.room("lobby", &json!({})).await?;
            Ok(())
        })
        .fact("start", start())
        .always(started())
        .fact("the list of ignored users, as the user sees it", ignored_users())
        .always(json!({ "@bad:hs.test": {}, "@worse:hs.test": {} }))
        .fact("left to do in the background", |hs: Live| async move { Ok(json!(hs.background_updates_left().await?)) })
        .always(json!([]))
        .fact(
            table,
            Probe::from(|hs: Live| async move { Ok(json!(hs.has_table("account_data_max_stream_id").await?)) }).at_rest(),
        )
        .changes(true, false)
        .fact(
            ignored,
            if_there(
                "ignored_users",
                "SELECT * FROM ignored_users WHERE ignorer_user_id = '{alice}' ORDER BY ignored_user_id",
            ),
        )
        .until("1.26.0", Value::Null)
        .since("1.26.0", ignoring())
        .fact(covered, if_there("event_auth_chains", COVERED))
        .until("1.26.0", Value::Null)
        .since("1.26.0", in_chains("all"))
        .fact(new_room, new_room_covered())
        .until("1.26.0", Value::Null)
        .since("1.26.0", in_chains("all"))
        .fact(new_list, new_list_kept())
        .until("1.26.0", Value::Null)
        .since("1.26.0", json!([{ "ignored_user_id": "@still:hs.test" }]))
        .fact(applied, sql("SELECT file FROM applied_schema_deltas WHERE version = 59 ORDER BY file"))
        .until("1.26.0", json!([]))
        .since("1.26.0", all())
        // Later releases add more under the same version.
        .since("1.29.0", not(json!([])))
        .then("1.25.0")
        .titled("nothing done")
        .now("start", refused(too_new))
        .now(table, false)
        .now(ignored, ignoring())
        .now(covered, in_chains("all"))
        .now(applied, all())
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
            undone("\""),
            per_database("done", contains("column \"59/01ignored_user.py\" does not exist")),
        )
        .now("start", refused("account_data_max_stream_id"))
        .now(table, false)
        .now(covered, in_chains("none"))
        .now(applied, per_database(without_two(), all()))
        .then("1.25.0")
        .titled("after the repair")
        .sql("the missing table", missing_table, "done")
        .sql("step 4, with the quotes of values", undone("'"), "done")
        .now(covered, in_chains("none"))
        .now(new_room, in_chains("none"))
        .now(applied, without_two())
        .health(health::SCHEMA_VERSION, 58)
        .health(health::SEQUENCES, per_database(json!([]), json!([behind])))
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
        .now(table, true)
        .now(ignored, Value::Null)
        .now(covered, in_chains("none"))
        .now(applied, without_two())
        .begin_step("that background update deleted")
        .sql("delete it", "DELETE FROM background_updates WHERE update_name = 'chain_cover';", "done")
        .now("start", per_database(started(), refused("Postgres sequence 'account_data_sequence' is inconsistent")))
        .now(table, true)
        .now(covered, per_database(in_chains("all"), in_chains("none")))
        .health(health::SCHEMA_VERSION, 59)
        .begin_step("the sequence is set")
        .now(table, true)
        .sql(
            "what 1.26.0 says to run on PostgreSQL",
            per_database(
                "SELECT 1;",
                "SELECT setval('account_data_sequence', (SELECT GREATEST(MAX(stream_id), 0) FROM account_data));",
            ),
            "done",
        )
        .health(health::SCHEMA_VERSION, 59)
}

/// Is all of a room's state in the chain cover, or some, or none? Is the room marked as one that is in it? And which chain has no
/// link to another: the type of its first event, or how many such chains there are.
const COVERED: &str = "SELECT CASE COUNT(chain_id) WHEN COUNT(*) THEN 'all' WHEN 0 THEN 'none' ELSE 'some' END AS events, \
                       (SELECT CASE WHEN has_auth_chain_index THEN 'marked' ELSE 'not marked' END \
                       FROM rooms WHERE room_id = '{lobby}') AS room, \
                       (SELECT CASE COUNT(*) WHEN 1 THEN MIN(type) ELSE CAST(COUNT(*) AS TEXT) END \
                       FROM events JOIN event_auth_chains USING (event_id) WHERE room_id = '{lobby}' AND sequence_number = 1 \
                       AND chain_id NOT IN (SELECT origin_chain_id FROM event_auth_chain_links)) AS without_a_link \
                       FROM state_events LEFT JOIN event_auth_chains USING (event_id) WHERE room_id = '{lobby}'";

/// The deltas of 1.26.0; SQLite has those of no database.
const DELTAS: [&str; 11] = [
    "59/01ignored_user.py",
    "59/02shard_send_to_device.sql",
    "59/03shard_send_to_device_sequence.sql.postgres",
    "59/04_event_auth_chains.sql",
    "59/04_event_auth_chains.sql.postgres",
    "59/04drop_account_data.sql",
    "59/05cache_invalidation.sql",
    "59/06chain_cover_index.sql",
    "59/06shard_account_data.sql",
    "59/06shard_account_data.sql.postgres",
    "59/07shard_account_data_fix.sql",
];

/// All of them but these.
fn deltas_without(left_out: &[&str]) -> Value {
    let left = |on_postgres: bool| {
        let mut left = DELTAS.to_vec();
        left.retain(|file| !left_out.contains(file) && (on_postgres || !file.ends_with(".postgres")));
        left.into_iter().map(|file| json!({ "file": file })).collect::<Value>()
    };
    per_database(left(false), left(true))
}

/// How much of a room that is made on this leg is in the chain cover; `null` where there is none.
fn new_room_covered() -> Probe {
    Probe::from(|hs: Live| async move {
        // In those of version 12 nothing leads to the creation.
        let room = hs.user("alice").await?.create_room(&json!({ "room_version": "6" })).await?;
        if !hs.has_table("event_auth_chains").await? {
            return Ok(Value::Null);
        }
        Ok(json!(hs.sql(&COVERED.replace("{lobby}", &room)).await?))
    })
}

/// Whom somebody ignores, by the table, whose list had two and then one of them; `null` where there is no table.
fn new_list_kept() -> Probe {
    Probe::from(|hs: Live| async move {
        let somebody = hs.user(&hs.unique("ignorer")).await?;
        let path = format!("/_matrix/client/r0/user/{}/account_data/m.ignored_user_list", somebody.id());
        let two = json!({ "@no-longer:hs.test": {}, "@still:hs.test": {} });
        for list in [two, json!({ "@still:hs.test": {} })] {
            somebody.put(&path, &json!({ "ignored_users": list })).await?.ok()?;
        }
        if !hs.has_table("ignored_users").await? {
            return Ok(Value::Null);
        }
        let query = format!("SELECT ignored_user_id FROM ignored_users WHERE ignorer_user_id = '{}'", somebody.id());
        Ok(json!(hs.sql(&query).await?))
    })
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
