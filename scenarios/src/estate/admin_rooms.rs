//! A room that an admin has blocked.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("blocked rooms")
        .since("1.48.0")
        .fills(&["blocked_rooms"])
        .write(|it: Visit| async move {
            let admin = it.admin().await?;
            let blocked = it.owner.room(json!({ "name": "Blocked", "preset": "public_chat" })).await?;
            admin.put(&["/_synapse/admin/v1", "rooms", &blocked, "block"], json!({ "block": true })).await?;
            Ok(json!({ "blocked": blocked }))
        })
        .read(|it: Visit| async move {
            let join = ["rooms", &it.kept("blocked")?, "join"];
            Ok(json!({ "blocked": it.friend.answer(Method::POST, &join, Some(json!({}))).await?.brief() }))
        })
}
