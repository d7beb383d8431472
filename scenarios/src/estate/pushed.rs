//! What is pushed: to a client that is told of events by their ids, and to one that is told all; and how many rooms there
//! are with something unread.

use harness::prelude::companion;

use super::{prelude::*, pushers::pusher};

/// The gateway between the homeserver and the clients.
const HOST: &str = "gateway";

const BY_ID: &str = "test.by.id";
const IN_FULL: &str = "test.in.full";

pub(super) fn part() -> Part {
    Part::new("pushed events")
        .companion(HOST, companion::recorder())
        .write(|it: Visit| async move {
            if !is_reached(&it) {
                return Ok(json!({}));
            }
            let person = it.somebody("paged").await?;
            let options = json!({ "name": "Pager", "preset": "private_chat", "invite": [person.id()] });
            // What somebody has left without reading it counts no more.
            let left = it.owner.room(options.clone()).await?;
            person.join(&left).await?;
            it.owner.send(&left, "m.room.message", it.naming(&person, "come")).await?;
            person.post(&["rooms", &left, "leave"], json!({})).await?;
            let room = it.owner.room(options).await?;
            person.join(&room).await?;
            // Older releases count rooms only in which something has been read.
            let said = it.owner.say(&room, "read").await?;
            person.post(&["rooms", &room, "receipt", "m.read", &said], json!({})).await?;
            for app in [BY_ID, IN_FULL] {
                let mut data = json!({ "url": format!("http://{HOST}:8080/_matrix/push/v1/notify") });
                if app == BY_ID {
                    data["format"] = json!("event_id_only");
                }
                person.post(&["pushers", "set"], pusher(app, &it.named("pager"), &data)).await?;
            }
            // Before 1.73.0 no worker pushes whose role it is, unless it is of a kind of its own.
            let is_pushed = pushed(&it, &room).await?.len() >= 2;
            Ok(if is_pushed { json!({ "room": room }) } else { json!({}) })
        })
        .read(|it: Visit| async move {
            let Ok(room) = it.kept("room") else { return Ok(json!("nothing is pushed")) };
            // As gateways say that none of the clients has gone.
            let answer = json!([{ "path": "/_matrix/push/v1/notify", "json": { "rejected": [] } }]);
            it.live.recorder(HOST).script(&answer).await?;
            let mut told = pushed(&it, &room).await?;
            // What is said while a pusher begins may wait for what is said next.
            if told.len() < 2 {
                told = pushed(&it, &room).await?;
            }
            let to =
                |app: &str| told.iter().find(|told| told["devices"][0]["app_id"] == app).cloned().unwrap_or_default();
            let (by_id, in_full) = (to(BY_ID), to(IN_FULL));
            // From 1.100.0 to 1.101.0 rooms that somebody has left are among them (#16904).
            let is_counted = super::is_looked_for_next_door(&it, "1.98.0rc1", "1.100.0rc1", "1.102.0");
            let unread = |told: &Value| if is_counted { told["counts"]["unread"].clone() } else { json!(1) };
            Ok(json!({
                "by its id": [by_id["devices"][0]["pushkey"], by_id["room_id"], by_id["content"]],
                "in full": [
                    in_full["devices"][0]["pushkey"], in_full["room_id"], in_full["room_name"], in_full["type"],
                    in_full["sender"], in_full["content"]["body"], in_full["devices"][0]["tweaks"]["sound"],
                ],
                "rooms with something unread": [unread(&by_id), unread(&in_full)],
                "told of what is read elsewhere": is_told_of_reading(&it, &room).await?,
            }))
        })
        .loses("DELETE FROM pushers WHERE app_id LIKE 'test.%'")
}

/// Does what is pushed get to the gateway, by the operator's settings? A proxy knows nobody here; and newer releases heed
/// what older ones pass over: that addresses are forbidden, and that nothing is to be pushed.
fn is_reached(it: &Visit) -> bool {
    let deployment = it.live.deployment();
    let config = json!(deployment.config);
    let has_proxy = deployment.environment.keys().any(|name| name.eq_ignore_ascii_case("http_proxy"));
    !has_proxy && config["push"]["enabled"] != false && list(&config["ip_range_blacklist"]).is_empty()
}

/// Is a client told that nothing is left to be read, when that is read on another? From 1.54.0 to 1.59.1 it is told once
/// (#12721).
async fn is_told_of_reading(it: &Visit, room: &str) -> Result<bool> {
    if !it.from("1.53.0") || !super::is_looked_for(it, "1.54.0rc1", "1.55.0rc1", "1.60.0rc1") {
        return Ok(true);
    }
    let said = pushed(it, room).await?.first().map(|told| told["event_id"].clone());
    let look = async || -> Result<bool> {
        let told = notifications(it).await?;
        let mut later = told.iter().skip_while(|told| Some(&told["event_id"]) != said.as_ref());
        Ok(later.any(|told| told["event_id"].is_null() && told["counts"]["unread"].as_i64().unwrap_or_default() == 0))
    };
    eventually(look, |is_told| *is_told).await
}

/// All that has come to the gateway, the oldest first.
async fn notifications(it: &Visit) -> Result<Vec<Value>> {
    let requests = it.live.recorder(HOST).requests().await?;
    Ok(requests.iter().map(|request| request["json"]["notification"].clone()).collect())
}

/// What comes to the gateway of something that is said to somebody in a room, who reads it then.
async fn pushed(it: &Visit, room: &str) -> Result<Vec<Value>> {
    let person = it.somebody("paged").await?;
    let said = it.owner.send(room, "m.room.message", it.naming(&person, "come")).await?;
    let look = async || -> Result<Vec<Value>> {
        let mut told = notifications(it).await?;
        told.retain(|told| told["event_id"] == *said);
        Ok(told)
    };
    let told = eventually(look, |told| told.len() >= 2).await?;
    person.post(&["rooms", room, "receipt", "m.read", &said], json!({})).await?;
    Ok(told)
}
