//! What belongs to an application service: its people, its aliases, and that nobody else may have such.

use harness::prelude::{companion, escape};

use super::prelude::*;

/// The host name of the application service; what it calls its own begins with `_bridge_`.
pub(super) const HOST: &str = "bridge";
/// Another's, which is told of more than events. It asks so by the name from before that was in the specification.
pub(super) const READER: &str = "reader";

/// A part beside application services.
pub(super) fn beside_a_bridge(part: Part) -> Part {
    let files = [HOST, READER].map(|host| format!("/data/{host}.yaml"));
    let part = part.config(json!({ "app_service_config_files": files }));
    [HOST, READER].into_iter().fold(part, |part, host| {
        let own = |sigil: &str| json!([{ "exclusive": true, "regex": format!("{sigil}_{host}_.*") }]);
        let secret = format!("{host}-secret");
        let registration = json!({
            "id": host, "url": format!("http://{host}:8080"), "as_token": format!("{host}-token"), "hs_token": secret,
            "sender_localpart": host, "rate_limited": false,
            "namespaces": { "users": own("@"), "aliases": own("#"), "rooms": [] },
            "de.sorunome.msc2409.push_ephemeral": host == READER,
        });
        part.file(&format!("{host}.yaml"), registration.to_string())
            .companion(host, companion::application_service(&secret))
    })
}

/// An application service, as it talks to the homeserver.
fn service(it: &Visit, host: &str) -> Person {
    it.owner.with_token(&format!("{host}-token"))
}

fn bridge(it: &Visit) -> Person {
    service(it, HOST)
}

/// Registers somebody of an application service's own, who joins this room; their id.
pub(super) async fn ghost(it: &Visit, host: &str, name: &str, room: &str) -> Result<String> {
    let body = json!({ "type": "m.login.application_service", "username": format!("_{host}_{}", it.named(name)) });
    let id = text(&service(it, host).post(&["register"], body).await?["user_id"]);
    join(it, host, &id, room).await?;
    Ok(id)
}

/// Has one of an application service's people join a room.
pub(super) async fn join(it: &Visit, host: &str, id: &str, room: &str) -> Result<Value> {
    service(it, host).post(&["rooms", room, "join", &acting(id)], json!({})).await
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
            let ghost = ghost(&it, HOST, "ghost", &room).await?;
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
                "is counted for": is_counted_for(&it, &room, &ghost).await?,
                "alias": it.owner.get(&["directory", "room", &alias]).await?["room_id"],
                "for others": it.owner.answer(Method::PUT, &taken, Some(json!({ "room_id": room }))).await?.brief(),
            }))
        })
        .loses("DELETE FROM room_aliases WHERE room_alias LIKE '#_bridge%'")
}

/// Is what is said in a room counted as unread for one of the application service's people? On 1.63.0 it is (#13332).
async fn is_counted_for(it: &Visit, room: &str, ghost: &str) -> Result<bool> {
    if !super::is_looked_for(it, "1.63.0rc1", "1.63.1", "1.63.1") {
        return Ok(false);
    }
    let said = it.owner.say(room, "for nobody to count").await?;
    let counted = format!("SELECT user_id FROM event_push_actions WHERE event_id = '{said}' AND user_id = '{ghost}'");
    Ok(!it.live.sql(&counted).await?.is_empty())
}

/// Is the application service told what is said in a room that one of its people came into only now, and in one that
/// got one of its aliases only now?
async fn hears(it: &Visit, ghost: &str) -> Result<[bool; 2]> {
    // On the leg that writes it may take nothing; see `bridge_down`.
    let memory = format!("{ghost} was written on an earlier leg");
    if it.live.recall(&memory).is_err() {
        it.live.remember(&memory, "yes");
        return Ok([true; 2]);
    }
    // Older releases take their time for what waits.
    if !it.from("1.20.0") {
        return Ok([true; 2]);
    }
    let room = passed_over(it).await?;
    join(it, HOST, ghost, &room).await?;
    let by_ghost = is_told(it, &room).await?;
    // Of what follows it is told nothing from 1.55.0 to 1.73.0 (#14670).
    if !super::is_looked_for(it, "1.55.0rc1", "1.56.0rc1", "1.74.0rc1") {
        return Ok([by_ghost, true]);
    }
    let room = passed_over(it).await?;
    let alias = format!("#_bridge_{}:{}", it.live.unique("own"), harness::SERVER_NAME);
    bridge(it).put(&["directory", "room", &alias, &acting(ghost)], json!({ "room_id": room })).await?;
    // Another process may hear of an alias later than of what is said.
    let by_alias = is_told(it, &room).await? || is_told(it, &room).await?;
    Ok([by_ghost, by_alias])
}

/// A room in which something was said that is none of the application service's business.
async fn passed_over(it: &Visit) -> Result<String> {
    let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
    let before = it.owner.say(&room, "before it is here").await?;
    // Whoever tells it has come past that.
    let untold = format!(
        "SELECT event_id FROM events WHERE event_id = '{before}' AND stream_ordering > \
         (SELECT stream_ordering FROM appservice_stream_position)"
    );
    eventually(async || Ok(it.live.sql(&untold).await?), Vec::is_empty).await?;
    Ok(room)
}

/// Is the application service told what is said in this room?
async fn is_told(it: &Visit, room: &str) -> Result<bool> {
    let words = it.live.unique("now it is");
    it.owner.say(room, &words).await?;
    let told = async || -> Result<bool> {
        let transactions = it.live.recorder(HOST).transactions().await?;
        let mut events = transactions.iter().flat_map(|transaction| list(&transaction["json"]["events"]));
        Ok(events.any(|event| event["content"]["body"] == *words))
    };
    eventually(told, |told| *told).await
}
