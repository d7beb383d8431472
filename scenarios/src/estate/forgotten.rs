//! A room that its owner left and forgot.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("forgotten rooms")
        .loses("UPDATE room_memberships SET forgotten = 0")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Forgotten", "preset": "private_chat" })).await?;
            it.friend.post(&["rooms", &room, "leave"], json!({})).await?;
            it.friend.post(&["rooms", &room, "forget"], json!({})).await?;
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let filter = json!({ "room": { "rooms": [room], "include_leave": true } });
            let seen = it.friend.sync(None, filter).await?;
            Ok(json!({
                "left": !seen["rooms"]["leave"][&room].is_null(),
                "can be looked into": it.friend.answer(Method::GET, &["rooms", &room, "messages", "?dir=b&limit=1"], None).await?.status(),
            }))
        })
}
