//! Power levels as texts, which releases before 1.42.0 took: the room stays usable.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("levels as texts")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "preset": "private_chat" })).await?;
            let mut levels = it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?;
            let level = |number: i32| if it.from("1.42.0") { json!(number) } else { json!(number.to_string()) };
            levels["notifications"] = json!({ "room": level(20) });
            levels["state_default"] = level(50);
            levels["users"][it.friend.id()] = level(30);
            it.owner.state(&room, "m.room.power_levels", "", levels).await?;
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            // Not to all in the room: what that takes is compared with a number, and never was with a text.
            let words = json!({ "msgtype": "m.text", "body": "all the same" });
            let said = it.friend.send(&room, "m.room.message", words).await?;
            let seen = it.owner.get(&["rooms", &room, "event", &said]).await?;
            Ok(json!({
                "levels": it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?,
                "can be spoken in": seen["content"],
            }))
        })
        .loses("DELETE FROM current_state_events")
}
