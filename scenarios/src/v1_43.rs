//! Synapse 1.43.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

notes!("1.43.0": spaces_summary_on_workers);

/// Workers can answer for spaces: what makes it safe is that pages of a hierarchy are remembered in the database, not in
/// the main process.
///
/// Upstream: PR 10648 documents the routes in 1.43.0; PR 10613, in 1.42.0, is the change.
fn spaces_summary_on_workers() -> Scenario {
    let rooms = "/_matrix/client/unstable/org.matrix.msc2946/rooms/{space}";
    let summary = "/_matrix/client/unstable/im.nheko.summary/rooms/{space}/summary";
    let federation = "/_matrix/federation/unstable/org.matrix.msc2946";
    let same_rooms = |path: &'static str| {
        Probe::from(move |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let mut lists = Vec::new();
            for process in ["main", "worker", "proxy"] {
                let answer = alice.at(process)?.get(&hs.fill(path)?).await?.ok()?.json()?;
                let rooms = answer["rooms"].as_array().cloned().unwrap_or_else(|| vec![answer]);
                let mut ids: Vec<String> =
                    rooms.iter().filter_map(|room| room["room_id"].as_str().map(str::to_owned)).collect();
                ids.sort();
                lists.push(ids);
            }
            Ok(json!({ "rooms": lists[0].len(), "the same everywhere": lists.iter().all(|list| *list == lists[0]) }))
        })
    };
    Scenario::for_note("The spaces summary APIs can now be handled by workers")
        .disagreement(
            "workers can handle the spaces summary since 1.43.0",
            "they answer in 1.41.1 already, but for pages; those since 1.42.0",
        )
        .only_on(Database::Postgres)
        .hop("1.41.1", "1.42.0")
        .then("1.43.0")
        .config(json!({ "experimental_features": { "msc3266_enabled": true, "spaces_enabled": true } }))
        .worker("worker", "synapse.app.generic_worker", ["client", "federation"], json!({}))
        .proxy(
            "proxy",
            [
                ("^/_matrix/client/unstable/org.matrix.msc2946/rooms/.*/(spaces|hierarchy)$", "worker"),
                ("^/_matrix/client/unstable/im.nheko.summary/rooms/.*/summary$", "worker"),
                ("^/_matrix/federation/unstable/org.matrix.msc2946/(spaces|hierarchy)/", "worker"),
            ],
        )
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            let space = json!({ "creation_content": { "type": "m.space" }, "preset": "public_chat" });
            let space = alice.room("space", &space).await?;
            for number in 1..=4 {
                let child = alice.room(&format!("child {number}"), &json!({ "preset": "public_chat" })).await?;
                let path =
                    format!("/_matrix/client/r0/rooms/{}/state/m.space.child/{}", escape(&space), escape(&child));
                alice.put(&path, &json!({ "via": ["hs.test"] })).await?.ok()?;
            }
            Ok(())
        })
        .fact("spaces", same_rooms("/_matrix/client/unstable/org.matrix.msc2946/rooms/{space}/spaces"))
        .always(json!({ "rooms": 5, "the same everywhere": true }))
        .fact("hierarchy", same_rooms("/_matrix/client/unstable/org.matrix.msc2946/rooms/{space}/hierarchy"))
        .always(json!({ "rooms": 5, "the same everywhere": true }))
        .fact("summary", same_rooms(summary))
        .always(json!({ "rooms": 1, "the same everywhere": true }))
        .fact("who answers what the proxy is asked", move |hs: Live| async move {
            let mut who = serde_json::Map::new();
            for (route, path) in [
                ("spaces", format!("{rooms}/spaces")),
                ("hierarchy", format!("{rooms}/hierarchy")),
                ("summary", summary.to_owned()),
                ("federation's spaces", format!("{federation}/spaces/{{space}}")),
                ("federation's hierarchy", format!("{federation}/hierarchy/{{space}}")),
            ] {
                let marker = hs.unique("marker");
                let path = format!("{}?{marker}=", hs.fill(&path)?);
                hs.user("alice").await?.at("proxy")?.get(&path).await?;
                who.insert(route.to_owned(), logged_by(&hs, &marker).await?);
            }
            Ok(Value::Object(who))
        })
        .always(json!({
            "spaces": ["worker"],
            "hierarchy": ["worker"],
            "summary": ["worker"],
            "federation's spaces": ["worker"],
            "federation's hierarchy": ["worker"],
        }))
        .fact("page two on the worker, page one on the main process", move |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let path = hs.fill(&format!("{rooms}/hierarchy?limit=2"))?;
            let token = alice.get(&path).await?.field("next_batch")?;
            let answer = alice.at("worker")?.get(&format!("{path}&from={token}")).await?;
            let rooms = answer.json()?["rooms"].as_array().map(Vec::len);
            Ok(json!({ "answer": answer.brief(), "rooms": rooms }))
        })
        .until("1.42.0", json!({ "answer": error(400, "M_INVALID_PARAM"), "rooms": null }))
        .since("1.42.0", json!({ "answer": status(200), "rooms": 2 }))
        .fact(
            "federation's hierarchy on the worker, unsigned",
            get(&format!("{federation}/hierarchy/{{space}}")).at("worker"),
        )
        .always(error(401, "M_UNAUTHORIZED"))
}

/// The processes whose logs show a request; looks until one does.
async fn logged_by(hs: &Live, marker: &str) -> Result<Value> {
    let (begun, limit) = (Instant::now(), Duration::from_secs(10));
    loop {
        let mut processes = Vec::new();
        for process in ["main", "worker"] {
            if !hs.log_lines_of(process, marker).await?.is_empty() {
                processes.push(process);
            }
        }
        if !processes.is_empty() || begun.elapsed() > limit {
            return Ok(json!(processes));
        }
    }
}
