//! Messages with labels, found by them.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("labels")
        .since("1.7.0")
        .fills(&["event_labels"])
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Labels", "preset": "private_chat" })).await?;
            let content = json!({ "msgtype": "m.text", "body": "labelled", "org.matrix.labels": ["#fun"] });
            it.owner.send(&room, "m.room.message", content).await?;
            it.owner.say(&room, "not labelled").await?;
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let filter = harness::escape(&json!({ "org.matrix.labels": ["#fun"] }).to_string());
            let query = format!("?dir=b&limit=9&filter={filter}");
            let pages = it.friend.get(&["rooms", &it.kept("room")?, "messages", &query]).await?;
            Ok(list(&pages["chunk"]).iter().map(event).collect())
        })
}
