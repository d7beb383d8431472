//! A room that everybody has left: who was in it looks back.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rooms left by all")
        .write(|it: Visit| async move {
            let person = it.somebody("last-out").await?;
            let room = person.room(json!({ "name": "Left", "preset": "private_chat" })).await?;
            person.say(&room, "and lights out").await?;
            person.post(&["rooms", &room, "leave"], json!({})).await?;
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let (person, room) = (it.somebody("last-out").await?, it.kept("room")?);
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "include_leave": true } });
            let seen = person.sync(None, filter).await?;
            let said = |events: &Value| -> Value {
                list(events).iter().filter_map(|event| event["content"].get("body").cloned()).collect()
            };
            // 1.10.0 throws away what it knows of rooms that all have left before, and does not let them look back any more;
            // from 1.61.0 that is not asked for.
            let memory = format!("the room left by all of leg {}", it.mark);
            let is_shut = !it.written_from("1.10.0") && it.from("1.11.0") && !it.from("1.61.0");
            let back = if is_shut {
                serde_json::from_str(&it.live.recall(&memory)?)?
            } else {
                let pages = person.get(&["rooms", &room, "messages", "?dir=b&limit=50"]).await?;
                let state = person.get(&["rooms", &room, "state"]).await?;
                json!({ "said": said(&pages["chunk"]), "name": typed(&state, &[])["m.room.name"] })
            };
            it.live.remember(&memory, &back.to_string());
            Ok(json!({
                "synchronised": said(&seen["rooms"]["leave"][&room]["timeline"]["events"]),
                "back": back,
            }))
        })
        .loses("UPDATE room_memberships SET forgotten = 1")
}
