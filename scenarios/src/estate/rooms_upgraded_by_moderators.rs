//! A room that a moderator has give way to another on a later release: they are no more than that in the new one.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rooms upgraded by moderators")
        .since("1.5.0")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "preset": "private_chat", "room_version": VERSION })).await?;
            let mut levels = it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?;
            levels["users"][it.friend.id()] = json!(50);
            for kind in ["m.room.tombstone", "m.room.power_levels"] {
                levels["events"][kind] = json!(50);
            }
            it.owner.state(&room, "m.room.power_levels", "", levels.clone()).await?;
            Ok(json!({ "room": room, "waiting": [levels["users"]] }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let tombstone = ["rooms", &room, "state", "m.room.tombstone"];
            if it.owner.answer(Method::GET, &tombstone, None).await?.status() == 200 {
                return Ok(json!([]));
            }
            let upgraded = it.friend.post(&["rooms", &room, "upgrade"], json!({ "new_version": VERSION })).await?;
            let new = text(&upgraded["replacement_room"]);
            Ok(json!([it.friend.get(&["rooms", &new, "state", "m.room.power_levels"]).await?["users"]]))
        })
        .loses("DELETE FROM current_state_events")
}

/// One whose levels name who made the room.
const VERSION: &str = "5";
