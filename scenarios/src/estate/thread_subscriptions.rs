//! Threads that somebody follows.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("thread subscriptions")
        .since("1.140.0")
        .fills(&["thread_subscriptions"])
        .config(json!({ "experimental_features": { "msc4306_enabled": true } }))
        .write(|it: Visit| async move {
            let root = it.owner.say(&it.room, "root").await?;
            let path = subscription(&it.room, &root);
            it.friend.put(&path, json!({})).await?;
            Ok(json!({ "root": root }))
        })
        .read(|it: Visit| async move {
            let root = it.kept("root")?;
            it.friend.get(&subscription(&it.room, &root)).await
        })
}

fn subscription<'a>(room: &'a str, thread: &'a str) -> [&'a str; 6] {
    ["/_matrix/client/unstable/io.element.msc4306", "rooms", room, "thread", thread, "subscription"]
}
