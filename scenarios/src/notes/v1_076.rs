//! Synapse 1.76.0.

use std::{collections::BTreeSet, time::Duration};

use harness::{Client, estate::Signer, prelude::*, within};

use crate::kit::{sync, workers};

notes!("1.76.0": faster_joins, account_data_replication_streams);

/// Rooms of other servers are joined before all of their state is known. What upstream's text says to put into the configuration
/// does not prevent it.
fn faster_joins() -> Scenario {
    let asks = "?org.matrix.msc3706.partial_state=true&omit_members=true";
    let (query, resynced) = ("query of the request to join", "the room's state is fetched afterwards");
    Scenario::for_note("Faster joins are enabled by default")
        .disagreement(
            "`experimental: {faster_joins: false}` switches it off",
            "no release reads that; `experimental_features: {faster_joins: false}` does it",
        )
        .hop("1.75.0", "1.76.0")
        .peer("peer.test", json!({}))
        .fact(query, |hs: Live| async move {
            let room = joined(&hs).await?;
            let requests = hs.peer("peer.test")?.log_lines(&format!("/send_join/{}", escape(&room))).await?;
            let line = requests.iter().find_map(|line| line.split_once("\"PUT ")?.1.split_once(" HTTP/"));
            let url = line.map_or("no request", |(url, _)| url);
            Ok(json!(url.find('?').map_or("", |start| &url[start..])))
        })
        .changes("", asks)
        // Only the stable name, in #15625.
        .since("1.85.0", "?omit_members=true")
        .fact(resynced, |hs: Live| async move {
            let room = joined(&hs).await?;
            let rows = format!("SELECT room_id FROM partial_state_rooms WHERE room_id = '{room}'");
            eventually(|| hs.sql(&rows), Vec::is_empty).await?;
            // Logged a moment after the last of the state has been stored.
            let complete = format!("State resync complete for {room}");
            let lines = within(Duration::from_secs(10), || hs.log_lines(&complete), |lines| !lines.is_empty()).await?;
            Ok(json!(!lines.is_empty()))
        })
        .changes(false, true)
        .fact("members of the room, in the end", |hs: Live| async move {
            let path = format!("/_matrix/client/v3/rooms/{}/joined_members", escape(&joined(&hs).await?));
            let answer = hs.user("alice").await?.get(&path).await?.ok()?.json()?;
            // They come as the database gives them, in no order.
            Ok(json!(answer["joined"].as_object().map(|joined| joined.keys().collect::<BTreeSet<_>>())))
        })
        .always(json!(["@alice:hs.test", "@bob:peer.test"]))
        .step("switched off as upstream says", |it| {
            it.reconfigure(json!({ "experimental": { "faster_joins": false } }))
        })
        .step("switched off", |it| {
            it.reconfigure(json!({ "experimental_features": { "faster_joins": false } }))
                .now(query, "")
                .now(resynced, false)
                // Joins can no longer be otherwise.
                .now_since("1.85.0", query, "?omit_members=true")
                .now_since("1.85.0", resynced, true)
        })
}

/// A room that Alice has just joined, made by Bob on the other server.
async fn joined(hs: &Live) -> Result<String> {
    let room = hs.peer("peer.test")?.user("bob").await?.create_room(&json!({ "preset": "public_chat" })).await?;
    let path = format!("/_matrix/client/v3/join/{}?server_name=peer.test", escape(&room));
    hs.user("alice").await?.post(&path, &json!({})).await?.ok()?;
    Ok(room)
}

/// A worker of the older release shows its users' tags as they were, and learns of no change of devices, from a newer main
/// process.
///
/// Upstream: PRs 14826, 14827.
fn account_data_replication_streams() -> Scenario {
    let (tag, device, signed, log) = (
        "a new tag, to its user who waits at the worker",
        "Bob's new device, to Alice who waits at the worker",
        "that she has signed Bob's key, to Alice who waits at the worker",
        "type errors of the worker",
    );
    let tagged = || json!({ "tags": { "u.new": { "order": 0.5 } } });
    let scenario = Scenario::for_note("Changes to the account data replication streams").disagreement(
        "workers of the older release cannot process account data",
        "they can; what they do not learn of is tags, whose old state they show, and changes of devices",
    );
    workers::one_stays_behind(scenario, "1.75.0", "1.76.0")
        .fact("Alice's account data, to her who waits at the worker", account_data(false))
        .always(json!({ "here": true }))
        .fact("Alice's account data of a room, to her who waits at the worker", account_data(true))
        .always(json!({ "here": true }))
        .fact(tag, |hs: Live| async move {
            // Of a new user: whose tags the worker has not read before, it reads when it is told of anything.
            let alice = hs.user(&hs.unique("tagger")).await?;
            let room = alice.create_room(&json!({})).await?;
            let path = format!("/_matrix/client/v3/user/{}/rooms/{}/tags/u.new", escape(alice.id()), escape(&room));
            let found = |answer: &Value| {
                let events = answer["rooms"]["join"][&room]["account_data"]["events"].as_array().cloned();
                let tags = events.unwrap_or_default().into_iter().find(|event| event["type"] == "m.tag");
                tags.map(|event| event["content"].clone())
            };
            sync::told(&alice, "worker", alice.put(&path, &json!({ "order": 0.5 })), found)
                .await
                .map(|told| json!(told))
        })
        .changes(tagged(), json!({ "tags": {} }))
        .fact(device, |hs: Live| async move {
            let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
            let room = alice.room("devices", &json!({ "preset": "public_chat" })).await?;
            bob.join(&room).await?;
            let login = by_password(&bob);
            let deed = hs.anonymous().post("/_matrix/client/v3/login", &login);
            sync::told(&alice, "worker", deed, |answer| changes_of(&bob, answer)).await.map(|told| json!(told))
        })
        .changes("told", Value::Null)
        .fact(signed, signature())
        .always("told")
        .now(signed, OTHER_WORKER)
        .fact(log, workers::type_errors("worker"))
        .changes(json!([]), json!([contains("takes 2 positional arguments but 3 were given")]))
        .step("the worker is upgraded, too", |it| it.now(tag, tagged()).now(device, "told").now(log, json!([])))
}

/// Where the worker is of another release: whether it looks for signatures that it is not told of depends on how many it knew
/// when it started.
const OTHER_WORKER: &str = "the worker is of another release";

/// What Alice, who waits at the worker, is told of Bob when she signs his key. Both are new.
fn signature() -> Probe {
    Probe::from(|hs: Live| async move {
        let (anybody, versions) = (hs.anonymous(), "/_matrix/client/versions");
        let (main, worker) = (anybody.get(versions).await?, anybody.at("worker")?.get(versions).await?);
        if main.header("server") != worker.header("server") {
            return Ok(json!(OTHER_WORKER));
        }
        let (alice, bob) = (hs.user(&hs.unique("signer")).await?, hs.user(&hs.unique("signed")).await?);
        let (_, _, users) = cross_signing_keys(&alice).await?;
        let (master, name, _) = cross_signing_keys(&bob).await?;
        let signed = json!({ bob.id(): { name: users.sign(&master)? } });
        let deed = alice.post("/_matrix/client/v3/keys/signatures/upload", &signed);
        sync::told(&alice, "worker", deed, |answer| changes_of(&bob, answer)).await.map(|told| json!(told))
    })
}

/// Does an answer to who synchronises tell of changes to somebody's devices or keys?
fn changes_of(person: &Client, answer: &Value) -> Option<Value> {
    let changed = answer["device_lists"]["changed"].as_array()?;
    changed.iter().any(|user| user == person.id()).then(|| json!("told"))
}

/// By their password, somebody says who they are.
fn by_password(person: &Client) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": person.id() },
        "password": person.password(),
    })
}

/// Gives somebody keys of their own: the master key, its name, and what signs those of others.
async fn cross_signing_keys(person: &Client) -> Result<(Value, String, Signer)> {
    let id = person.id();
    let key = |usage: &str, public: &str| {
        let name = format!("ed25519:{public}");
        json!({ "user_id": id, "usage": [usage], "keys": { name: public } })
    };
    let (master, users) = (Signer::named_by_key(id)?, Signer::named_by_key(id)?);
    let master_key = key("master", &master.public_key());
    let keys = json!({
        "auth": by_password(person),
        "master_key": master_key,
        "user_signing_key": master.sign(&key("user_signing", &users.public_key()))?,
    });
    person.post("/_matrix/client/v3/keys/device_signing/upload", &keys).await?.ok()?;
    Ok((master_key, master.public_key(), users))
}

/// What Alice, who waits at the worker, is told of new account data, her own or that of a room.
fn account_data(of_a_room: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("annotated", &json!({})).await?;
        let kind = hs.unique("test.kind");
        let (of, place) = if of_a_room {
            (format!("/rooms/{}", escape(&room)), format!("/rooms/join/{room}/account_data/events"))
        } else {
            (String::new(), "/account_data/events".to_owned())
        };
        let path = format!("/_matrix/client/v3/user/{}{of}/account_data/{kind}", escape(alice.id()));
        let found = |answer: &Value| {
            let event = answer.pointer(&place)?.as_array()?.iter().find(|event| event["type"] == kind.as_str())?;
            Some(event["content"].clone())
        };
        sync::told(&alice, "worker", alice.put(&path, &json!({ "here": true })), found).await.map(|told| json!(told))
    })
}
