//! Synapse 1.144.0.

use harness::prelude::*;

notes!("1.144.0": delayed_restart_on_worker, mutual_rooms_flag);

const DELAYED: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";

/// Workers restart the clock of a delayed event, too.
///
/// Upstream: PR 19207.
fn delayed_restart_on_worker() -> Scenario {
    let nothing_there = || refusal(404, "M_UNRECOGNIZED", "Unrecognized request");
    let restarted = || json!({ "answer": { "status": 200, "body": {} }, "sent later": true });
    let unrecognized = json!({
        "answer": no_such_path(404),
        "sent later": false,
    });
    Scenario::for_note("Worker support for unstable MSC4140 `/restart` endpoint")
        .only_on(Database::Postgres)
        .hop("1.143.0", "1.144.0")
        .config(json!({ "max_event_delay_duration": "24h" }))
        .worker("worker", "synapse.app.generic_worker", ["client"], json!({}))
        .proxy("proxy", [("^/_matrix/client/unstable/org.matrix.msc4140/delayed_events/.*/restart$", "worker")])
        .fact("restart on the main process", restart("main"))
        .always(restarted())
        .fact("restart on the worker", restart("worker"))
        .changes(unrecognized.clone(), restarted())
        .fact("restart through the proxy", restart("proxy"))
        .changes(unrecognized, restarted())
        .fact(
            "restart of an unknown one on the worker",
            post(&format!("{DELAYED}/nope/restart"), json!({})).at("worker").refusal(),
        )
        .changes(nothing_there(), refusal(404, "M_NOT_FOUND", "Delayed event not found"))
        .fact("cancel on the worker", post(&format!("{DELAYED}/nope/cancel"), json!({})).at("worker").refusal())
        .always(nothing_there())
        .fact("send on the worker", post(&format!("{DELAYED}/nope/send"), json!({})).at("worker").refusal())
        .always(nothing_there())
}

/// A delayed event is restarted by way of a process: what it answers, and whether the event is due later than before, by no
/// more than has passed since.
fn restart(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let (room, txn) = (escape(&room), hs.unique("delayed"));
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{txn}?org.matrix.msc4140.delay=600000");
        let id = alice.put(&path, &json!({ "msgtype": "m.text", "body": "later" })).await?.field("delay_id")?;
        let due = format!("SELECT send_ts FROM delayed_events WHERE delay_id = '{id}'");
        let before = hs.sql(&due).await?[0]["send_ts"].as_i64();
        let answer = hs.anonymous().at(process)?.post(&format!("{DELAYED}/{id}/restart"), &json!({})).await?;
        let after = hs.sql(&due).await?[0]["send_ts"].as_i64();
        let later = after.zip(before).is_some_and(|(after, before)| (1..60_000).contains(&(after - before)));
        Ok(json!({ "answer": answer.whole(), "sent later": later }))
    })
}

/// Asking which rooms two users share is an experiment that has to be switched on.
///
/// Upstream: PR 19219.
fn mutual_rooms_flag() -> Scenario {
    let path = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id={bob}";
    let shared = || json!({ "status": 200, "body": { "joined": ["{room}"] } });
    let gone = || no_such_path(404);
    let missing = || refusal(401, "M_MISSING_TOKEN", "Missing access token");
    Scenario::for_note("Unstable mutual rooms endpoint is now behind an experimental feature flag")
        .hop("1.143.0", "1.144.0")
        .seed(|hs| async move {
            let room = hs.user("alice").await?.room("room", &json!({ "preset": "public_chat" })).await?;
            hs.user("bob").await?.join(&room).await
        })
        .fact("asked by a user", get(path).by("alice").body())
        .changes(shared(), gone())
        .fact("asked by nobody", get(path).refusal())
        .changes(missing(), refusal(404, "M_UNRECOGNIZED", "Unrecognized request"))
        .fact(
            "is it announced",
            get("/_matrix/client/versions").field("/unstable_features/uk.half-shot.msc2666.query_mutual_rooms"),
        )
        .changes(true, false)
        // Stable, under another path and name, in #19511.
        .since("1.151.0", Value::Null)
        .step("switched on", |it| {
            it.reconfigure(json!({ "experimental_features": { "msc2666_enabled": true } }))
                .now("asked by a user", shared())
                .now("asked by nobody", missing())
                .now("is it announced", true)
                .now_since("1.151.0", "asked by a user", gone())
                .now_since("1.151.0", "asked by nobody", refusal(404, "M_UNRECOGNIZED", "Unrecognized request"))
                .now_since("1.151.0", "is it announced", Value::Null)
        })
}
