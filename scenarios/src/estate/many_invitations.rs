//! Somebody whom no rate limit holds makes a room for many people at once.

use super::prelude::*;

/// More than whoever is held may invite at once.
const MANY: i32 = 12;

pub(super) fn part() -> Part {
    Part::new("many invitations")
        .fills(&["ratelimit_override"])
        // What servers have that say nothing.
        .config(json!({ "rc_invites": { "per_room": { "per_second": 0.3, "burst_count": 10 } } }))
        .write(|it: Visit| async move {
            // Written once: it is long.
            if it.mark != "1" {
                return Ok(json!({}));
            }
            let host = it.somebody("sociable").await?;
            let statement = format!(
                "INSERT INTO ratelimit_override (user_id, messages_per_second, burst_count) VALUES ('{}', 0, 0)",
                host.id()
            );
            it.live.execute(&statement).await?;
            let mut guests = Vec::new();
            for number in 0..MANY {
                guests.push(it.somebody(&format!("one-of-many-{number}")).await?.id().to_owned());
            }
            Ok(json!({ "guests": guests }))
        })
        .read(|it: Visit| async move {
            // From 1.27.0 to 1.33.2 it is refused to everybody (#9968): looked for on the first of these releases, or
            // every walk that ends on one of them would show it.
            let is_due = super::is_looked_for(&it, "1.27.0rc1", "1.28.0rc1", "1.34.0rc1");
            if it.kept["guests"].is_null() || !is_due {
                return Ok(json!(200));
            }
            let options = json!({ "preset": "private_chat", "invite": it.kept["guests"] });
            let host = it.somebody("sociable").await?;
            Ok(json!(host.answer(Method::POST, &["createRoom"], Some(options)).await?.status()))
        })
        .loses("DELETE FROM ratelimit_override")
}
