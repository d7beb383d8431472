//! What somebody has not read yet: counts, highlights, and the list of notifications.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("unread counts")
        .fills(&["event_push_actions", "event_push_summary", "event_push_summary_stream_ordering"])
        .write(|it: Visit| async move {
            let person = it.somebody("unread").await?;
            let room = it.owner.room(json!({ "name": "Busy", "preset": "private_chat", "invite": [person.id()] })).await?;
            person.join(&room).await?;
            let read = it.owner.say(&room, "read").await?;
            person.post(&["rooms", &room, "receipt", "m.read", &read], json!({})).await?;
            for words in ["not read", "nor this"] {
                it.owner.say(&room, words).await?;
            }
            it.owner.send(&room, "m.room.message", naming(&person, "hey")).await?;
            // Counts that were made before there were threads, beside such as were made since: some databases have both, and
            // 1.85.0 does not start on them (#15738). Of nobody's, so that nothing else comes by them.
            // After a rollback from there they cannot be made any more.
            let is_old = async || -> Result<bool> {
                Ok(it.live.sql("SELECT version FROM schema_version WHERE version < 77").await?.len() == 1)
            };
            if it.from("1.75.0")
                && !it.from("1.85.0rc1")
                && is_old().await?
                && it.is_updated(Some("event_push_backfill_thread_id")).await?
            {
                for thread in ["NULL", "'main'"] {
                    let statement = format!(
                        "INSERT INTO event_push_summary (user_id, room_id, notif_count, stream_ordering, thread_id) \
                         VALUES ('@nobody-{0}:hs.test', '!nowhere-{0}:hs.test', 1, 1, {thread})",
                        it.mark
                    );
                    it.live.execute(&statement).await?;
                }
            }
            Ok(json!({ "token": person.token(), "room": room }))
        })
        .read(|it: Visit| async move {
            let (person, room) = (it.owner.with_token(&it.kept("token")?), it.kept("room")?);
            let look = async || {
                let seen = person.sync(None, json!({ "room": { "rooms": [room], "timeline": { "limit": 1 } } })).await?;
                Ok(seen["rooms"]["join"][&room]["unread_notifications"].clone())
            };
            // Counted after the events are sent.
            let counts = eventually(look, |counts| counts["notification_count"] == 3).await?;
            // The rest of the list is forgotten by and by.
            let notified = person.get(&["notifications", "?only=highlight"]).await?;
            let shown = |notified: &Value| {
                json!({ "event": event(&notified["event"]), "read": notified["read"], "room": notified["room_id"] })
            };
            Ok(json!({
                "notifications": counts["notification_count"], "highlights": counts["highlight_count"],
                "list": list(&notified["notifications"]).iter().map(shown).collect::<Value>(),
            }))
        })
}
