//! A room whose history an admin purges on a later release, up to what was done in it last: the redaction of something that
//! is gone then. Life goes on in it.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("history purged later")
        .since("1.13.0")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            // Whoever is in it may not be able to synchronise any more, with all their rooms.
            let person = it.somebody("chronicler").await?;
            let room = person.room(json!({ "name": "Annals", "preset": "private_chat" })).await?;
            person.say(&room, "old").await?;
            let said = person.say(&room, "regretted").await?;
            let path = ["rooms", &room, "redact", &said, &it.live.unique("txn")];
            let redaction = text(&person.put(&path, json!({})).await?["event_id"]);
            let waiting = json!(["complete", true, ["new"]]);
            Ok(json!({ "room": room, "said": said, "redaction": redaction, "waiting": waiting }))
        })
        .read(|it: Visit| async move {
            let (room, said) = (it.kept("room")?, it.kept("said")?);
            let rows = format!("SELECT event_id FROM events WHERE event_id = '{said}'");
            if it.live.sql(&rows).await?.is_empty() {
                return Ok(json!([]));
            }
            let person = it.somebody("chronicler").await?;
            let purged = super::purged_history::purge(&it, &room, &it.kept("redaction")?).await?;
            let filter = json!({ "presence": { "limit": 0 }, "room": { "timeline": { "limit": 1 } } });
            // From 1.58.0 to 1.60.0 the redaction is not found then, and nobody in the room synchronises any more (#12905):
            // looked for on the first of these releases, or every walk that ends on one of them would show it.
            if !it.from("1.59.0") || it.from("1.61.0") {
                person.sync(None, filter.clone()).await?;
            }
            person.say(&room, "new").await?;
            let synced = person.sync(None, filter).await?;
            let words = async || {
                let pages = person.get(&["rooms", &room, "messages", "?dir=b&limit=50"]).await?;
                Ok(list(&pages["chunk"]).iter().filter_map(|event| event["content"].get("body").cloned()).collect::<Value>())
            };
            Ok(json!([
                purged,
                synced["rooms"]["join"].get(&room).is_some(),
                eventually(words, |words| !list(words).is_empty()).await?,
            ]))
        })
        .loses("DELETE FROM event_json")
}
