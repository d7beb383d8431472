//! Events by id, with what was said around them.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("context")
        .loses("DELETE FROM event_json")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "In context", "preset": "private_chat" })).await?;
            let mut said = Vec::new();
            for number in 0..5 {
                said.push(it.owner.say(&room, &format!("message {number}")).await?);
            }
            Ok(json!({ "room": room, "said": said[2] }))
        })
        .read(|it: Visit| async move {
            let (room, said) = (it.kept("room")?, it.kept("said")?);
            let seen = it.friend.get(&["rooms", &room, "context", &said, "?limit=4"]).await?;
            let events = |which: &str| list(&seen[which]).iter().map(event).collect::<Value>();
            Ok(json!({
                "event": event(&seen["event"]), "before": events("events_before"), "after": events("events_after"),
                "by id": event(&it.friend.get(&["rooms", &room, "event", &said]).await?),
            }))
        })
}
