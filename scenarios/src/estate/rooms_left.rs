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
            let pages = person.get(&["rooms", &room, "messages", "?dir=b&limit=50"]).await?;
            let said = |events: &Value| -> Value {
                list(events).iter().filter_map(|event| event["content"].get("body").cloned()).collect()
            };
            Ok(json!({
                "synchronised": said(&seen["rooms"]["leave"][&room]["timeline"]["events"]),
                "back": said(&pages["chunk"]),
                "name": typed(&person.get(&["rooms", &room, "state"]).await?, &[])["m.room.name"],
            }))
        })
        .loses("UPDATE room_memberships SET forgotten = 1")
}
