//! Power levels as texts, which releases before 1.42.0 took: the room stays usable.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("levels as texts")
        .is_not_checked_by_modules()
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "preset": "private_chat" })).await?;
            let mut levels = it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?;
            let level = |number: i32| if it.from("1.42.0") { json!(number) } else { json!(number.to_string()) };
            levels["notifications"] = json!({ "room": level(20) });
            levels["state_default"] = level(50);
            levels["users"][it.friend.id()] = level(30);
            it.owner.state(&room, "m.room.power_levels", "", levels).await?;
            // No level at all, which rooms of these versions may say.
            let mut without = Value::Null;
            if it.from("1.5.0") && !it.from("1.42.0rc1") {
                let room = it.shared(json!({ "preset": "private_chat", "room_version": "5" })).await?;
                let mut levels = it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?;
                levels["notifications"] = json!({ "room": null });
                it.owner.state(&room, "m.room.power_levels", "", levels).await?;
                without = json!(room);
            }
            Ok(json!({ "room": room, "without": without }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            // Not to all in the room: what that takes is compared with a number, and never was with a text.
            let words = json!({ "msgtype": "m.text", "body": "all the same" });
            let said = it.friend.send(&room, "m.room.message", words.clone()).await?;
            let seen = it.owner.get(&["rooms", &room, "event", &said]).await?;
            // From 1.69.0 to 1.76.0 nobody can speak in a room without a level (#14942): passed over on the first of
            // these releases, where walks end for what it has mended (#14060).
            let without = match it.kept["without"].as_str() {
                Some(room) if !it.from("1.69.0rc1") || it.from("1.70.0rc1") && !it.from("1.71.0rc1") || it.from("1.76.0rc1") => {
                    let path = ["rooms", room, "send", "m.room.message", &it.live.unique("txn")];
                    it.friend.answer(Method::PUT, &path, Some(words)).await?.status()
                }
                _ => 200,
            };
            Ok(json!({
                "levels": it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?,
                "can be spoken in": seen["content"],
                "without a level": without,
            }))
        })
        .loses("DELETE FROM current_state_events")
}
