//! Synapse 1.57.0.

use harness::prelude::*;

use crate::kit::bridge::{self, Bridge as _};

notes!("1.57.0": transaction_ids_by_sequence, transaction_ids_on_sqlite);

const NOTE: &str = "Changes to database schema for application services";
const NEXT: &str = "the id of the next transaction";
const NEXT_BEHIND: &str = "the id of the next transaction, behind those that wait";
const NEXT_AFTER: &str = "one more than that of the last";

/// On PostgreSQL a sequence gives out the ids of transactions to application services, and goes on where they were. Where a
/// transaction waits with an id that it has yet to reach, the server does not start until it is set as the server says.
///
/// Upstream: PR 12209.
fn transaction_ids_by_sequence() -> Scenario {
    let sequence =
        "SELECT count(*)::int AS there FROM pg_sequences WHERE sequencename = 'application_services_txn_id_seq'";
    let there = |count: i32| json!([{ "there": count }]);
    let undelivered = "INSERT INTO application_services_txns (as_id, txn_id, event_ids) \
                       SELECT 'bridge', last_value + 1, '[]' FROM application_services_txn_id_seq";
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
        .fact("start", start())
        .always(started())
        .variant("all are delivered", |it| {
            it.fact(NEXT, next_id())
                .always(NEXT_AFTER)
                .step("a transaction waits with an id above the sequence", |it| {
                    it.sql("the row of one that was not delivered", undelivered, "done")
                        .now("start", refused(&inconsistent))
                })
                .step("the sequence is set as the server says", |it| {
                    it.sql("setting it", set, "done").now("start", started()).now(NEXT, "2 more than that of the last")
                })
        })
        .variant("some wait", |it| it.seed(goes_away).fact(NEXT_BEHIND, next_id_behind()).always(NEXT_AFTER))
}

/// On SQLite ids begin anew at each start at which nothing waits, so that they are used twice.
fn transaction_ids_on_sqlite() -> Scenario {
    scenario()
        .only_on(Database::Sqlite)
        .disagreement(
            "the way transaction ids are managed is changed, safely and without a risk of using an id again",
            "on SQLite ids are used again after each start: the first is one more than the highest that waits, and mostly none waits",
        )
        .variant("all are delivered", |it| it.fact(NEXT, next_id()).changes(NEXT_AFTER, 1))
        .variant("some wait", |it| it.seed(goes_away).fact(NEXT_BEHIND, next_id_behind()).always(NEXT_AFTER))
}

fn scenario() -> Scenario {
    let of = |users: &str| json!({ "namespaces": { "users": [{ "exclusive": false, "regex": users }] } });
    Scenario::for_note(NOTE)
        .hop("1.56.0", "1.57.0")
        .bridge("bridge", of("@alice.*"))
        .bridge("other", of("@visitor.*"))
        // 1.56.0 logs it of a service that it hears of for the first time.
        .log_error("None is not a valid ApplicationServiceState")
        .seed(|hs| async move {
            // The other one is sent less.
            let room = hs.user("bob").await?.create_room(&json!({ "preset": "public_chat" })).await?;
            hs.user("visitor").await?.join(&room).await?;
            let sent = "SELECT last_txn FROM application_services_state WHERE as_id = 'other' AND last_txn > 0";
            let sent = eventually(|| hs.sql(sent), |rows| !rows.is_empty()).await?;
            anyhow::ensure!(!sent.is_empty(), "the other application service is sent nothing");
            hs.user("alice").await?.room("bridged", &json!({})).await?;
            // More than one, so that an id that begins anew is another.
            for _ in 0..2 {
                anyhow::ensure!(next(&hs).await?.is_some(), "the application service is sent nothing");
            }
            Ok(())
        })
}

/// In a seed: from now on the application service takes nothing, and a transaction waits.
async fn goes_away(hs: Live) -> Result<()> {
    hs.recorder("bridge").script(&json!([{ "path": ".*/transactions/.*", "status": 502 }])).await?;
    let room = hs.recall("bridged")?;
    hs.user("alice").await?.say(&room, "is anybody there?").await?.ok()?;
    let down = "SELECT as_id FROM application_services_state WHERE as_id = 'bridge' AND state = 'down'";
    let down = eventually(|| hs.sql(down), |rows| !rows.is_empty()).await?;
    anyhow::ensure!(!down.is_empty() && !waiting(&hs).await?.is_empty(), "no transaction waits");
    Ok(())
}

/// Which id has the transaction that brings Alice's next message, beside that of the last one?
fn next_id() -> Probe {
    Probe::from(|hs: Live| async move {
        Ok(match next(&hs).await? {
            None => json!("none comes"),
            Some((last, next)) => beside(last, next),
        })
    })
}

/// Which id has the transaction that waits because of Alice's next message, beside that of the last that waits already?
fn next_id_behind() -> Probe {
    Probe::from(|hs: Live| async move {
        let before = waiting(&hs).await?;
        let room = hs.recall("bridged")?;
        hs.user("alice").await?.say(&room, "hello").await?.ok()?;
        let after = eventually(|| waiting(&hs), |after| after.len() > before.len()).await?;
        let next = after.iter().find(|id| !before.contains(id));
        Ok(match (before.last(), next) {
            (Some(last), Some(next)) => beside(*last, *next),
            _ => json!({ "waited": before, "waits": after }),
        })
    })
}

/// An id, beside that of the transaction before.
fn beside(last: i64, id: i64) -> Value {
    match id - last {
        1 => json!(NEXT_AFTER),
        more if more > 1 => json!(format!("{more} more than that of the last")),
        _ => json!(id),
    }
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

/// The ids of the transactions that wait for the application service, the lowest first.
async fn waiting(hs: &Live) -> Result<Vec<i64>> {
    let rows = hs.sql("SELECT txn_id FROM application_services_txns WHERE as_id = 'bridge' ORDER BY txn_id").await?;
    Ok(rows.iter().filter_map(|row| row["txn_id"].as_i64()).collect())
}

/// Waits until no transaction is under way to an application service but what a step put there; is it so in the end?
async fn delivered(hs: &Live) -> Result<bool> {
    let look = || hs.sql("SELECT txn_id FROM application_services_txns WHERE event_ids <> '[]'");
    Ok(eventually(look, Vec::is_empty).await?.is_empty())
}
