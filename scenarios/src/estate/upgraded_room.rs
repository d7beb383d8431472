//! A room that gave way to another.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("upgraded room")
        .since("1.5.0")
        .loses("DELETE FROM current_state_events")
        .write(|it: Visit| async move {
            let old = it.shared(json!({ "name": "Old house", "preset": "private_chat", "room_version": "4" })).await?;
            let answer = it.owner.post(&["rooms", &old, "upgrade"], json!({ "new_version": "5" })).await?;
            Ok(json!({ "old": old, "new": answer["replacement_room"] }))
        })
        .read(|it: Visit| async move {
            let (old, new) = (it.kept("old")?, it.kept("new")?);
            Ok(json!({
                "tombstone": it.friend.get(&["rooms", &old, "state", "m.room.tombstone"]).await?,
                "predecessor": it.owner.get(&["rooms", &new, "state", "m.room.create"]).await?["predecessor"],
                "name": it.owner.get(&["rooms", &new, "state", "m.room.name"]).await?,
            }))
        })
}
