//! Tags of rooms.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("tags")
        .fills(&["room_tags", "room_tags_revisions"])
        .rides_along()
        .write(|it: Visit| async move {
            for (tag, order) in [("m.favourite", 0.5), ("u.work", 0.25)] {
                let path = ["user", it.owner.id(), "rooms", &it.room, "tags", tag];
                it.owner.put(&path, json!({ "order": order })).await?;
            }
            Ok(json!({}))
        })
        .read(|it: Visit| async move { it.owner.get(&["user", it.owner.id(), "rooms", &it.room, "tags"]).await })
}
