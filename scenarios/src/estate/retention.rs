//! A room says how long messages are to be kept, on a server that pays no heed to it: they stay.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("unheeded retention")
        // Clients began to say it about then. What was said before 1.7.0 stops that release's count of it for good, and with it
        // every update after: see the track record.
        .since("1.6.0")
        .fills(&["room_retention"])
        .loses("DELETE FROM event_json")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Short-lived", "preset": "private_chat" })).await?;
            // So short that they would be gone when they are looked at. Not while the count is still to be made, which what is
            // said now stops just as well: an undrained path would lead nowhere else.
            if it.is_updated(Some("insert_room_retention")).await? {
                it.owner.state(&room, "m.room.retention", "", json!({ "max_lifetime": 1 })).await?;
            }
            for number in 0..3 {
                it.owner.say(&room, &format!("message {number}")).await?;
            }
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 50 } } });
            let seen = it.friend.sync(None, filter).await?;
            let pages = it.friend.get(&["rooms", &room, "messages", "?dir=b&limit=50"]).await?;
            let words = |events: &Value| list(events).iter().filter_map(|event| event["content"].get("body").cloned()).collect::<Value>();
            Ok(json!({ "synchronised": words(&seen["rooms"]["join"][&room]["timeline"]["events"]), "back": words(&pages["chunk"]) }))
        })
}
