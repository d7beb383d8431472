//! Somebody changes their name in a room again and again: that is no joining.

use super::prelude::*;

/// More than anybody may join at once.
const MANY: u32 = 350;

pub(super) fn part() -> Part {
    Part::new("names in rooms")
        // More than the estate joins, and few enough to be seen.
        .config(json!({ "rc_joins": { "local": { "per_second": 0.1, "burst_count": 300 } } }))
        .write(|it: Visit| async move {
            Ok(json!({ "room": it.somebody("fickle").await?.room(json!({ "preset": "private_chat" })).await? }))
        })
        .read(|it: Visit| async move {
            // On 1.19.0 they are held to how often somebody may join (#8153); looked at there and where that was mended.
            let is_due = it.from("1.19.0rc1") && !it.from("1.20.0rc1") && it.is_first_time("names in rooms");
            let (person, room) = (it.somebody("fickle").await?, it.kept("room")?);
            let path = ["rooms", &room, "state", "m.room.member", person.id()];
            let mut status = 200;
            for number in 0..if is_due { MANY } else { 1 } {
                let member = json!({ "membership": "join", "displayname": format!("name {number}") });
                status = person.answer(Method::PUT, &path, Some(member)).await?.status();
                if status != 200 {
                    break;
                }
            }
            Ok(json!(status))
        })
        .loses(LOG_OUT)
}
