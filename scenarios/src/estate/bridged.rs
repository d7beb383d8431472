//! What belongs to an application service: its people, its aliases, and that nobody else may have such.

use harness::prelude::{companion, escape};

use super::prelude::*;

/// The host name of the application service; what it calls its own begins with `_bridge_`.
pub(super) const HOST: &str = "bridge";

/// A part beside an application service.
pub(super) fn beside_a_bridge(part: Part) -> Part {
    let own = |sigil: &str| json!([{ "exclusive": true, "regex": format!("{sigil}_bridge_.*") }]);
    let registration = json!({
        "id": HOST, "url": format!("http://{HOST}:8080"), "as_token": "bridge-token", "hs_token": "bridge-secret",
        "sender_localpart": HOST, "rate_limited": false,
        "namespaces": { "users": own("@"), "aliases": own("#"), "rooms": [] },
    });
    let file = format!("{HOST}.yaml");
    part.config(json!({ "app_service_config_files": [format!("/data/{file}")] }))
        .file(&file, registration.to_string())
        .companion(HOST, companion::application_service("bridge-secret"))
}

/// The application service, as it talks to the homeserver.
pub(super) fn bridge(it: &Visit) -> Person {
    it.owner.with_token("bridge-token")
}

/// Registers somebody of the application service's own, who joins this room; their id.
pub(super) async fn ghost(it: &Visit, name: &str, room: &str) -> Result<String> {
    let body = json!({ "type": "m.login.application_service", "username": format!("_bridge_{}", it.named(name)) });
    let id = text(&bridge(it).post(&["register"], body).await?["user_id"]);
    bridge(it).post(&["rooms", room, "join", &acting(&id)], json!({})).await?;
    Ok(id)
}

/// The query by which the application service acts for one of its people.
fn acting(id: &str) -> String {
    format!("?user_id={}", escape(id))
}

pub(super) fn part() -> Part {
    beside_a_bridge(Part::new("bridged people"))
        .fills(&["application_services_state"])
        .write(|it: Visit| async move {
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            let ghost = ghost(&it, "ghost", &room).await?;
            let alias = format!("#_bridge_{}:{}", it.named("room"), harness::SERVER_NAME);
            bridge(&it).put(&["directory", "room", &alias, &acting(&ghost)], json!({ "room_id": room })).await?;
            Ok(json!({ "room": room, "ghost": ghost, "alias": alias }))
        })
        .read(|it: Visit| async move {
            let (room, ghost, alias) = (it.kept("room")?, it.kept("ghost")?, it.kept("alias")?);
            let path = ["rooms", &room, "send", "m.room.message", &it.live.unique("txn"), &acting(&ghost)];
            let said = bridge(&it).put(&path, json!({ "msgtype": "m.text", "body": "for somebody" })).await?;
            let seen = it.owner.get(&["rooms", &room, "event", &text(&said["event_id"])]).await?;
            let taken = format!("#_bridge_{}:{}", it.live.unique("taken"), harness::SERVER_NAME);
            let taken = ["directory", "room", &taken];
            Ok(json!({
                "who": bridge(&it).get(&["account", "whoami", &acting(&ghost)]).await?["user_id"],
                "speaks": json!([seen["sender"], seen["content"]["body"]]),
                "hears": hears(&it, &ghost).await?,
                "alias": it.owner.get(&["directory", "room", &alias]).await?["room_id"],
                "for others": it.owner.answer(Method::PUT, &taken, Some(json!({ "room_id": room }))).await?.brief(),
            }))
        })
        .loses("DELETE FROM room_aliases WHERE room_alias LIKE '#_bridge%'")
}

/// Is the application service told what is said in a room that one of its people came into only now?
async fn hears(it: &Visit, ghost: &str) -> Result<bool> {
    // On the leg that writes it may take nothing; see `bridge_down`.
    let memory = format!("{ghost} was written on an earlier leg");
    if it.live.recall(&memory).is_err() {
        it.live.remember(&memory, "yes");
        return Ok(true);
    }
    // Older releases take their time for what waits.
    if !it.from("1.20.0") {
        return Ok(true);
    }
    let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
    let before = it.owner.say(&room, "before it is here").await?;
    // Whoever tells it has come past what is none of its business.
    let untold = format!(
        "SELECT event_id FROM events WHERE event_id = '{before}' AND stream_ordering > \
         (SELECT stream_ordering FROM appservice_stream_position)"
    );
    eventually(async || Ok(it.live.sql(&untold).await?), Vec::is_empty).await?;
    bridge(it).post(&["rooms", &room, "join", &acting(ghost)], json!({})).await?;
    let words = it.live.unique("now it is");
    it.owner.say(&room, &words).await?;
    let told = async || -> Result<bool> {
        let transactions = it.live.recorder(HOST).transactions().await?;
        let mut events = transactions.iter().flat_map(|transaction| list(&transaction["json"]["events"]));
        Ok(events.any(|event| event["content"]["body"] == *words))
    };
    eventually(told, |told| *told).await
}
