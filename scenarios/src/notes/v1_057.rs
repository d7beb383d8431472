//! Synapse 1.57.0.

use harness::prelude::*;

use crate::kit::bridge::{self, Bridge as _};

notes!("1.57.0": transaction_ids_by_sequence, transaction_ids_on_sqlite);

const NOTE: &str = "Changes to database schema for application services";
const NEXT: &str = "the id of the next transaction";
const NEXT_AFTER: &str = "one more than that of the last";

/// On PostgreSQL a sequence gives out the ids of transactions to application services, and goes on where they were. Where a
/// transaction waits with an id that it has yet to reach, the server does not start until it is set as the server says.
///
/// Upstream: PR 12209.
fn transaction_ids_by_sequence() -> Scenario {
    let sequence =
        "SELECT count(*)::int AS there FROM pg_sequences WHERE sequencename = 'application_services_txn_id_seq'";
    let there = |count: i32| json!([{ "there": count }]);
    let set = "SELECT setval('application_services_txn_id_seq', ( SELECT GREATEST(MAX(txn_id), 0) FROM \
               application_services_txns ))";
    let inconsistent = format!(
        "Postgres sequence 'application_services_txn_id_seq' is inconsistent with associated table \
         'application_services_txns'. This can happen if Synapse has been downgraded and then upgraded again, or due \
         to a bad migration. To fix this error, shut down Synapse (including any and all workers) and run the \
         following SQL: {set};"
    );
    scenario()
        .only_on(Database::Postgres)
        .disagreement(
            "downgrading and upgrading again may end in this error",
            "only where a transaction was not delivered: of others the table that is compared holds nothing",
        )
        .fact("the sequence", sql(sequence))
        .changes(there(0), there(1))
        .fact(NEXT, next_id())
        .always(NEXT_AFTER)
        .fact("start", start())
        .always(started())
        .step("a transaction waits with an id above the sequence", |it| {
            it.sql(
                "the row of one that was not delivered",
                "INSERT INTO application_services_txns (as_id, txn_id, event_ids) VALUES ('bridge', 999, '[]')",
                "done",
            )
            .now("start", refused(&inconsistent))
        })
        .step("the sequence is set as the server says", |it| {
            it.sql("setting it", set, "done").now("start", started()).now(NEXT, 1000)
        })
}

/// On SQLite ids begin anew at each start at which nothing waits, so that they are used twice.
fn transaction_ids_on_sqlite() -> Scenario {
    scenario()
        .only_on(Database::Sqlite)
        .disagreement(
            "the way transaction ids are managed is changed, safely and without a risk of using an id again",
            "on SQLite ids are used again after each start: the first is one more than the highest that waits, and mostly none waits",
        )
        .fact(NEXT, next_id())
        .changes(NEXT_AFTER, 1)
}

fn scenario() -> Scenario {
    Scenario::for_note(NOTE)
        .hop("1.56.0", "1.57.0")
        .bridge("bridge", json!({ "namespaces": { "users": [{ "exclusive": false, "regex": "@alice.*" }] } }))
        // 1.56.0 logs it of a service that it hears of for the first time.
        .log_error("None is not a valid ApplicationServiceState")
        .seed(|hs| async move {
            hs.user("alice").await?.room("bridged", &json!({})).await?;
            // More than one, so that an id that begins anew is another.
            for _ in 0..2 {
                anyhow::ensure!(next(&hs).await?.is_some(), "the application service is sent nothing");
            }
            Ok(())
        })
}

/// Which id has the transaction that brings Alice's next message, beside that of the last one?
fn next_id() -> Probe {
    Probe::from(|hs: Live| async move {
        Ok(match next(&hs).await? {
            None => json!("none comes"),
            Some((last, next)) if next == last + 1 => json!(NEXT_AFTER),
            Some((_, next)) => json!(next),
        })
    })
}

/// Alice says something: the id of the last transaction, and of the one that brings this, if one does.
async fn next(hs: &Live) -> Result<Option<(i64, i64)>> {
    let alice = hs.user("alice").await?;
    let room = alice.room("bridged", &json!({})).await?;
    let is_idle = delivered(hs).await?;
    let last = ids(hs).await?.last().copied().unwrap_or(0);
    let event = alice.say(&room, "hello").await?.field("event_id")?;
    if !is_idle || !bridge::is_sent(hs, "bridge", &event).await? || !delivered(hs).await? {
        return Ok(None);
    }
    let next = ids(hs).await?.last().copied().unwrap_or(0);
    Ok(Some((last, next)))
}

/// The ids of the transactions that the application service has accepted, in the order of their coming.
async fn ids(hs: &Live) -> Result<Vec<i64>> {
    let requests = hs.recorder("bridge").requests().await?;
    let paths =
        requests.iter().filter(|request| request["answered"] == 200).filter_map(|request| request["path"].as_str());
    let ids = paths.filter_map(|path| path.split("/transactions/").nth(1)?.split('?').next()?.parse().ok());
    Ok(ids.collect())
}

/// Waits until no transaction to the application service is under way; is it so in the end?
async fn delivered(hs: &Live) -> Result<bool> {
    let look = || hs.sql("SELECT txn_id FROM application_services_txns WHERE txn_id <> 999");
    Ok(eventually(look, Vec::is_empty).await?.is_empty())
}
