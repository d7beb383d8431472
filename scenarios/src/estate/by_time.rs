//! Events by the time at which they were sent.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("events by time")
        .since("1.80.0")
        .loses("UPDATE events SET origin_server_ts = 0")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "In time", "preset": "private_chat" })).await?;
            let said = it.owner.say(&room, "now").await?;
            let time = &it.owner.get(&["rooms", &room, "event", &said]).await?["origin_server_ts"];
            Ok(json!({ "room": room, "time": time }))
        })
        .read(|it: Visit| async move {
            let query = format!("?dir=f&ts={}", it.kept["time"]);
            it.friend.get(&["/_matrix/client/v1", "rooms", &it.kept("room")?, "timestamp_to_event", &query]).await
        })
}
