//! Sliding sync: the list of rooms, and a connection that goes on.

use super::prelude::*;

const ROOT: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575";

pub(super) fn part() -> Part {
    Part::new("sliding sync")
        .since("1.121.0")
        .fills(&[
            "sliding_sync_connections", "sliding_sync_connection_positions", "sliding_sync_connection_streams",
            "sliding_sync_connection_required_state", "sliding_sync_connection_room_configs",
            "sliding_sync_joined_rooms", "sliding_sync_membership_snapshots",
        ])
        .write(|it: Visit| async move {
            let person = it.somebody("slider").await?;
            for number in 0..2 {
                let options = json!({ "name": format!("Slide {number}"), "preset": "private_chat", "invite": [person.id()] });
                let room = it.owner.room(options).await?;
                if number == 0 {
                    person.join(&room).await?;
                }
            }
            // A server says that somebody has joined before it says so here.
            let joined = |seen: &Value| {
                let rooms = seen["rooms"].as_object();
                let counts: i64 = rooms.into_iter().flatten().filter_map(|(_, room)| room["joined_count"].as_i64()).sum();
                seen["lists"]["all"]["count"] == 2 && counts >= 2
            };
            let path = [ROOT, "sync", "?timeout=0"];
            let seen = eventually(|| person.post(&path, body("kept")), joined).await?;
            Ok(json!({ "token": person.token(), "pos": seen["pos"] }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let fresh = person.post(&[ROOT, "sync", "?timeout=0"], body(&it.live.unique("fresh"))).await?;
            let query = format!("?timeout=0&pos={}", harness::escape(&it.kept("pos")?));
            // After a rollback the release may not know all that the position names.
            let is_known = it.goes_on() || super::sync_tokens::knows(&text(&fresh["pos"]), &it.kept("pos")?);
            let gone_on = if is_known { person.post(&[ROOT, "sync", &query], body("kept")).await? } else { json!({}) };
            let shown = |room: &Value| {
                json!({
                    "name": room["name"], "joined": room["joined_count"], "invited": room["invited_count"],
                    "state": super::rooms::by_key(&room["required_state"]),
                    "timeline": list(&room["timeline"]).iter().map(event).collect::<Value>(),
                    "invitation": room["invite_state"].is_array() || room["stripped_state"].is_array(),
                })
            };
            let rooms = fresh["rooms"].as_object().cloned().unwrap_or_default();
            let rooms: std::collections::BTreeMap<_, _> = rooms.iter().map(|(id, room)| (id.clone(), shown(room))).collect();
            Ok(json!({
                "count": fresh["lists"]["all"]["count"], "rooms": rooms,
                "nothing new on the old connection": gone_on["rooms"].as_object().is_none_or(serde_json::Map::is_empty),
            }))
        })
}

fn body(connection: &str) -> Value {
    let list = json!({ "ranges": [[0, 20]], "timeline_limit": 5, "required_state": [["m.room.name", ""], ["m.room.create", ""]] });
    json!({ "conn_id": connection, "lists": { "all": list } })
}
