//! Synapse 1.152.0.

use harness::{Answer, prelude::*};

use crate::kit::{media, processes};

notes!("1.152.0": quarantine_stream_writers);

const CHANGES: &str = "/_synapse/admin/v1/media/quarantine_changes";

/// A process quarantines media only if it writes the stream of such changes. The main process, which writes it unless others
/// are named, is called `master` there.
///
/// Upstream: PRs 19558, 19694.
fn quarantine_stream_writers() -> Scenario {
    let failed = || refusal(500, "M_UNKNOWN", "Internal server error");
    let admin = "@admin:hs.test";
    let quarantined =
        |changes: Value| json!({ "answer": status(200), "quarantined by": admin, "download": 404, "changes": changes });
    let undone =
        |changes: Value| json!({ "answer": failed(), "quarantined by": null, "download": 200, "changes": changes });
    let unquarantined = |changes: Value| json!({ "answer": status(200), "quarantined by": null, "changes": changes });
    let not_freed = |changes: Value| json!({ "answer": failed(), "quarantined by": admin, "changes": changes });
    let untold = || Value::Null;
    let unrecognized =
        || json!({ "answer": refusal(404, "M_UNRECOGNIZED", "Unrecognized request"), "of the old media": null });
    let listed = || {
        let change = json!({ "origin": "hs.test", "media_id": "{old media}", "quarantined": true });
        json!({ "answer": status(200), "of the old media": [change] })
    };
    let writers = |names: Value| json!({ "stream_writers": { "quarantined_media_changes": names } });
    let asserts = "assert self._can_write_quarantined_media_changes";
    let map = json!({ "instance_map": { "worker": { "host": "worker", "port": 8008 } } });
    Scenario::for_note("Workers which quarantine media must be stream writers")
        .only_on(Database::Postgres)
        .hop("1.151.0", "1.152.0")
        .resources(["media"])
        .config(map.clone())
        .worker("worker", "synapse.app.generic_worker", ["client", "federation", "media", "replication"], map)
        .log_error("Failed handle request via 'Quarantine")
        .log_error("Failed handle request via 'Unquarantine")
        .seed(|hs| async move {
            let media = upload(&hs).await?;
            hs.remember("old media", &media);
            hs.admin().await?.post(&quarantine(&media), &json!({})).await?.ok()?;
            Ok(())
        })
        .fact("quarantine on the main process", quarantined_on("main"))
        .changes(quarantined(Value::Null), quarantined(json!([true])))
        .fact("quarantine on the worker", quarantined_on("worker"))
        .changes(quarantined(Value::Null), undone(json!([])))
        .fact("unquarantine on the main process", freed_on("main"))
        .changes(unquarantined(Value::Null), unquarantined(json!([true, false])))
        .fact("unquarantine on the worker", freed_on("worker"))
        .changes(unquarantined(Value::Null), not_freed(json!([true])))
        .fact("what the worker says of that", move |hs: Live| async move {
            let mut lines = processes::lines(&hs, "worker", asserts).await?;
            lines.dedup();
            Ok(json!(lines))
        })
        .changes(json!([]), json!([contains(asserts)]))
        .fact("list of changes, main process", changes_on("main"))
        .changes(unrecognized(), listed())
        .fact("list of changes, worker", changes_on("worker"))
        .changes(unrecognized(), listed())
        .step("the worker writes the stream, too", move |it| {
            it.reconfigure(writers(json!(["master", "worker"])))
                .now("quarantine on the main process", quarantined(untold()))
                .now("quarantine on the worker", quarantined(untold()))
                .now("unquarantine on the main process", unquarantined(untold()))
                .now("unquarantine on the worker", unquarantined(untold()))
                .now("what the worker says of that", json!([]))
        })
        .step("the worker alone writes it", move |it| {
            it.reconfigure(writers(json!(["worker"])))
                .now("quarantine on the main process", undone(untold()))
                .now("quarantine on the worker", quarantined(untold()))
                .now("unquarantine on the main process", not_freed(untold()))
                .now("unquarantine on the worker", unquarantined(untold()))
                .now("what the worker says of that", json!([]))
        })
}

/// A new file, unlike any other: its media id.
async fn upload(hs: &Live) -> Result<String> {
    let content = hs.unique("content");
    let uri = hs.user("alice").await?.upload("a.txt", "text/plain", content.as_bytes()).await?;
    Ok(media::id(&uri).to_owned())
}

fn quarantine(media: &str) -> String {
    format!("/_synapse/admin/v1/media/quarantine/hs.test/{media}")
}

/// Who quarantined it, says the table.
async fn quarantined_by(hs: &Live, media: &str) -> Result<Value> {
    let query = format!("SELECT quarantined_by FROM local_media_repository WHERE media_id = '{media}'");
    Ok(hs.sql(&query).await?[0]["quarantined_by"].clone())
}

/// A file is quarantined on this process: what becomes of it, and what the list says of it then.
fn quarantined_on(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (media, end) = (upload(&hs).await?, end_of_list(&hs).await?);
        let admin = hs.admin().await?.at(process)?;
        let answer = admin.post(&quarantine(&media), &json!({})).await?;
        let by = quarantined_by(&hs, &media).await?;
        let download = admin.get(&format!("/_matrix/client/v1/media/download/hs.test/{media}")).await?;
        let changes = listed_since(&hs, &end, &media, usize::from(answer.status() == 200)).await?;
        Ok(json!({
            "answer": answer.refusal(),
            "quarantined by": by,
            "download": download.status(),
            "changes": changes,
        }))
    })
    .once_updated()
}

/// Media that is quarantined, by whichever process may, is freed on this one.
fn freed_on(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (media, end) = (upload(&hs).await?, end_of_list(&hs).await?);
        let admin = hs.admin().await?;
        if admin.post(&quarantine(&media), &json!({})).await?.status() != 200 {
            admin.at("worker")?.post(&quarantine(&media), &json!({})).await?.ok()?;
        }
        let path = format!("/_synapse/admin/v1/media/unquarantine/hs.test/{media}");
        let answer = admin.at(process)?.post(&path, &json!({})).await?;
        let by = quarantined_by(&hs, &media).await?;
        let changes = listed_since(&hs, &end, &media, 1 + usize::from(answer.status() == 200)).await?;
        Ok(json!({ "answer": answer.refusal(), "quarantined by": by, "changes": changes }))
    })
    .once_updated()
}

/// Where the list of changes ends now; `null` where there is none.
async fn end_of_list(hs: &Live) -> Result<Value> {
    Ok(hs.admin().await?.get(CHANGES).await?.json()?["next_batch"].clone())
}

/// Is a file quarantined, says the list after that place, change by change, once there are so many; nothing where there is
/// no list, nor where the worker writes it: that tells the main process when something else happens to it.
async fn listed_since(hs: &Live, end: &Value, media: &str, much: usize) -> Result<Option<Vec<Value>>> {
    if hs.deployment().config.contains_key("stream_writers") {
        return Ok(None);
    }
    let admin = hs.admin().await?;
    let look = async || -> Result<Option<Vec<Value>>> {
        let answer = admin.get(&format!("{CHANGES}?from={end}")).await?.json()?;
        let of_it = |all: &Vec<Value>| -> Vec<Value> {
            all.iter().filter(|it| it["media_id"] == media).map(|it| it["quarantined"].clone()).collect()
        };
        Ok(answer["changes"].as_array().map(of_it))
    };
    eventually(look, |seen| seen.as_ref().is_none_or(|seen| seen.len() >= much)).await
}

/// The list of changes, once what was quarantined before the upgrade has been filled in.
fn changes_on(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (admin, old) = (hs.admin().await?.at(process)?, hs.recall("old media")?);
        let look = async || -> Result<(Answer, Option<Vec<Value>>)> {
            let answer = admin.get(CHANGES).await?;
            let changes = answer.json()?["changes"].as_array().cloned();
            let of_old = changes.map(|all| all.into_iter().filter(|it| it["media_id"] == old.as_str()).collect());
            Ok((answer, of_old))
        };
        // The worker lists no more than it has been told of by the main process.
        let told = |(_, of_old): &(Answer, Option<Vec<Value>>)| of_old.as_ref().is_none_or(|all| !all.is_empty());
        let (answer, of_old) = eventually(look, told).await?;
        Ok(json!({ "answer": answer.refusal(), "of the old media": of_old }))
    })
    .once_updated()
}
