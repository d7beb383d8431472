//! What somebody has not read yet: counts, highlights, and the list of notifications.

use harness::{SCHEDULED, within};

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
            it.owner.send(&room, "m.room.message", it.naming(&person, "hey")).await?;
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
                "read at once": read_at_once(&it).await?,
            }))
        })
}

/// What is unread of a mention that was read at once, when all has been summed up: nothing, but for 1.62.0 (#13223).
async fn read_at_once(it: &Visit) -> Result<Value> {
    // It takes half a minute, since 1.62.0; before it took a day. Once on each release is enough.
    let is_due = it.from("1.62.0rc1") && super::is_looked_for(it, "1.62.0rc1", "1.63.0rc1", "1.63.0rc1");
    if !is_due || *it.live.release() == it.written_on || !it.is_first_time("read at once") {
        return Ok(json!([0, 0]));
    }
    let person = it.somebody("attentive").await?;
    let room = it.owner.room(json!({ "preset": "private_chat", "invite": [person.id()] })).await?;
    person.join(&room).await?;
    let mention = it.owner.send(&room, "m.room.message", it.naming(&person, "hey")).await?;
    person.post(&["rooms", &room, "receipt", "m.read", &mention], json!({})).await?;
    let under_way = format!(
        "SELECT event_id FROM events INNER JOIN receipts_linearized USING (event_id) WHERE event_id = '{mention}' AND \
         (stream_ordering > (SELECT stream_ordering FROM event_push_summary_stream_ordering) OR \
         stream_id > (SELECT stream_id FROM event_push_summary_last_receipt_stream_id))"
    );
    within(SCHEDULED, async || it.live.sql(&under_way).await, Vec::is_empty).await?;
    let seen = person.sync(None, json!({ "room": { "rooms": [room], "timeline": { "limit": 1 } } })).await?;
    let counts = &seen["rooms"]["join"][&room]["unread_notifications"];
    Ok(json!([counts["notification_count"], counts["highlight_count"]]))
}
