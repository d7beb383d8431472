//! Synapse 1.43.0.

use harness::{Answer, Method, prelude::*};

use crate::kit::{federation, processes};

notes!("1.43.0": spaces_summary_on_workers);

const ROOMS: &str = "/_matrix/client/unstable/org.matrix.msc2946/rooms/{space}";
const FEDERATION: &str = "/_matrix/federation/unstable/org.matrix.msc2946";
const SUMMARY: &str = "/_matrix/client/unstable/im.nheko.summary/rooms/{space}/summary";

/// Workers can answer for spaces: what makes it safe is that pages of a hierarchy are remembered in the database, not in
/// the main process.
///
/// Upstream: PR 10648 documents the routes in 1.43.0; PR 10613, in 1.42.0, is the change.
fn spaces_summary_on_workers() -> Scenario {
    let all = ["{space}", "{child 1}", "{child 2}", "{child 3}", "{child 4}"];
    let everywhere = |rooms: &[&str]| {
        ["main", "worker", "proxy"].into_iter().map(|at| (at.to_owned(), json!(rooms))).collect::<Value>()
    };
    let rooms = |rooms: &[&str]| json!({ "answer": status(200), "rooms": rooms });
    let pages = || json!([rooms(&all[..2]), rooms(&all[2..4]), rooms(&all[4..])]);
    let unknown = || json!({ "answer": error(400, "M_INVALID_PARAM"), "rooms": [] });
    // The third page, too, is asked for with what the first says, which its own process remembers.
    let forgotten = || json!([rooms(&all[..2]), unknown(), rooms(&all[2..4])]);
    let otherwise = |by_somebody_else: Value| {
        let invalid = || error(400, "M_INVALID_PARAM");
        json!({ "for suggested rooms": invalid(), "to some depth": invalid(), "by somebody else": by_somebody_else })
    };
    let by_worker = |code: u16| json!({ "status": code, "logged by": ["worker"] });
    Scenario::for_note("The spaces summary APIs can now be handled by workers")
        .disagreement(
            "workers can handle the spaces summary since 1.43.0",
            "they answer in 1.41.1 already, but for pages; those since 1.42.0",
        )
        .only_on(Database::Postgres)
        .hop("1.41.1", "1.42.0")
        .then("1.43.0")
        .config(json!({ "experimental_features": { "msc3266_enabled": true, "spaces_enabled": true } }))
        .peer("peer.test", json!({}))
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
                alice.put(&path, &json!({ "via": ["hs.test"], "order": number.to_string() })).await?.ok()?;
            }
            Ok(())
        })
        .fact("spaces", same_rooms(format!("{ROOMS}/spaces")))
        .always(everywhere(&all))
        .fact("hierarchy", same_rooms(format!("{ROOMS}/hierarchy")))
        .always(everywhere(&all))
        .fact("summary", same_rooms(SUMMARY.to_owned()))
        .always(everywhere(&all[..1]))
        .fact("who answers what the proxy is asked", who_answers())
        .always(json!({
            "spaces": by_worker(200),
            "hierarchy": by_worker(200),
            "summary": by_worker(200),
            "federation's spaces": by_worker(401),
            "federation's hierarchy": by_worker(401),
        }))
        .fact("pages on the main process, the worker, the main process", three_pages(["main", "worker", "main"]))
        .until("1.42.0", forgotten())
        .since("1.42.0", pages())
        .fact("pages on the worker, the main process, the worker", three_pages(["worker", "main", "worker"]))
        .until("1.42.0", forgotten())
        .since("1.42.0", pages())
        .fact("the second page, asked for otherwise than the first", second_page_otherwise())
        .until("1.42.0", otherwise(status(200)))
        .since("1.42.0", otherwise(error(400, "M_INVALID_PARAM")))
        .fact("where pages are remembered", |hs: Live| async move {
            if !hs.has_table("sessions").await? {
                return Ok(Value::Null);
            }
            Ok(json!(hs.sql("SELECT DISTINCT session_type FROM sessions").await?))
        })
        .until("1.42.0", Value::Null)
        .since("1.42.0", json!([{ "session_type": "room_hierarchy_pagination" }]))
        .fact(
            "federation's hierarchy on the worker, unsigned",
            get(&format!("{FEDERATION}/hierarchy/{{space}}")).at("worker"),
        )
        .always(error(401, "M_UNAUTHORIZED"))
        .fact(
            "federation's spaces on the worker, unsigned",
            get(&format!("{FEDERATION}/spaces/{{space}}")).at("worker"),
        )
        .always(error(401, "M_UNAUTHORIZED"))
        .fact("federation's hierarchy on the worker, by another server", |hs: Live| async move {
            let answer = asked_by_peer(&hs, "hierarchy").await?;
            let body = answer.json()?;
            Ok(json!({ "answer": answer.brief(), "room": body["room"]["room_id"], "children": ids(&body["children"]) }))
        })
        .always(json!({ "answer": status(200), "room": "{space}", "children": &all[1..] }))
        .fact("federation's spaces on the worker, by another server", |hs: Live| async move {
            let answer = asked_by_peer(&hs, "spaces").await?;
            Ok(json!({ "answer": answer.brief(), "rooms": ids(&answer.json()?["rooms"]) }))
        })
        .always(json!({ "answer": status(200), "rooms": all }))
}

/// The ids of the rooms of a list.
fn ids(rooms: &Value) -> Value {
    rooms.as_array().into_iter().flatten().map(|room| room["room_id"].clone()).collect()
}

/// The rooms that each process answers with, and the worker by way of the proxy.
fn same_rooms(path: String) -> Probe {
    Probe::from(move |hs: Live| {
        let path = path.clone();
        async move {
            let mut found = serde_json::Map::new();
            for process in ["main", "worker", "proxy"] {
                let answer = hs.user("alice").await?.at(process)?.get(&hs.fill(&path)?).await?.ok()?.json()?;
                // A summary is of one room.
                let rooms = if answer["rooms"].is_array() { ids(&answer["rooms"]) } else { ids(&json!([answer])) };
                found.insert(process.to_owned(), rooms);
            }
            Ok(Value::Object(found))
        }
    })
}

/// Three pages of two rooms each, each asked of another process with what the one before says of the next.
fn three_pages(processes: [&'static str; 3]) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let mut from = String::new();
        let mut pages = Vec::new();
        for process in processes {
            let path = hs.fill(&format!("{ROOMS}/hierarchy?limit=2{from}"))?;
            let answer = alice.at(process)?.get(&path).await?;
            let body = answer.json()?;
            if let Some(next) = body["next_batch"].as_str() {
                from = format!("&from={next}");
            }
            pages.push(json!({ "answer": answer.brief(), "rooms": ids(&body["rooms"]) }));
        }
        Ok(json!(pages))
    })
}

/// The second page, asked for with other settings than the first, and by somebody else.
fn second_page_otherwise() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
        let path = hs.fill(&format!("{ROOMS}/hierarchy?limit=2"))?;
        let next = format!("{path}&from={}", alice.get(&path).await?.ok()?.field("next_batch")?);
        Ok(json!({
            "for suggested rooms": alice.get(&format!("{next}&suggested_only=true")).await?.brief(),
            "to some depth": alice.get(&format!("{next}&max_depth=3")).await?.brief(),
            "by somebody else": bob.get(&next).await?.brief(),
        }))
    })
}

/// Alice asks the proxy for what it passes on.
fn who_answers() -> Probe {
    Probe::from(|hs: Live| async move {
        let mut who = serde_json::Map::new();
        for (route, path) in [
            ("spaces", format!("{ROOMS}/spaces")),
            ("hierarchy", format!("{ROOMS}/hierarchy")),
            ("summary", SUMMARY.to_owned()),
            ("federation's spaces", format!("{FEDERATION}/spaces/{{space}}")),
            ("federation's hierarchy", format!("{FEDERATION}/hierarchy/{{space}}")),
        ] {
            let marker = hs.unique("marker");
            let answer = hs.user("alice").await?.at("proxy")?.get(&format!("{}?{marker}=", hs.fill(&path)?)).await?;
            let mut logged_by = Vec::new();
            for process in ["main", "worker"] {
                if !processes::lines(&hs, process, &marker).await?.is_empty() {
                    logged_by.push(process);
                }
            }
            who.insert(route.to_owned(), json!({ "status": answer.status(), "logged by": logged_by }));
        }
        Ok(Value::Object(who))
    })
}

/// The other server asks the worker of the space.
async fn asked_by_peer(hs: &Live, what: &str) -> Result<Answer> {
    let path = format!("{FEDERATION}/{what}/{}", escape(&hs.recall("space")?));
    federation::signed_by(hs, "peer.test", "worker", Method::GET, &path).await
}
