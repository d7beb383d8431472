//! A room that an admin deletes on a later release: nothing is left of it.

use harness::{SCHEDULED, within};

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rooms deleted later")
        .since("1.18.0")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            // Nobody whom other parts know: how what is gone is taken out of caches changed from release to release.
            let (landlord, lodger) = (it.somebody("landlord").await?, it.somebody("lodger").await?);
            let name = it.named("condemned");
            let alias = format!("#{name}:{}", harness::SERVER_NAME);
            let options = json!({ "name": "Condemned", "preset": "public_chat", "room_alias_name": name });
            let room = landlord.room(options).await?;
            lodger.join(&room).await?;
            let said = landlord.say(&room, "out with you").await?;
            let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": "👎" } });
            lodger.send(&room, "m.reaction", reaction).await?;
            lodger.post(&["rooms", &room, "receipt", "m.read", &said], json!({})).await?;
            lodger.put(&["user", lodger.id(), "rooms", &room, "tags", "u.home"], json!({ "order": 0.5 })).await?;
            landlord.put(&["rooms", &room, "redact", &said, &it.live.unique("txn")], json!({})).await?;
            if !it.live.deployment().peers.is_empty() {
                let stranger = it.stranger("lodger").await?;
                stranger.post(&["join", &alias], json!({})).await?;
                let said = landlord.say(&room, "you as well").await?;
                let path = ["rooms", &room, "event", &said];
                let heard = async || Ok(json!(stranger.answer(Method::GET, &path, None).await?.status()));
                eventually(heard, |status| *status == 200).await?;
            }
            Ok(json!({ "room": room, "alias": alias, "waiting": ["deleted", 404] }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let rows = format!("SELECT room_id FROM rooms WHERE room_id = '{room}'");
            if it.live.sql(&rows).await?.is_empty() {
                return Ok(json!([]));
            }
            let admin = it.admin().await?;
            for person in [it.somebody("lodger").await?, it.somebody("landlord").await?] {
                person.post(&["rooms", &room, "leave"], json!({})).await?;
            }
            super::purged_history::told(&it, &room).await?;
            // Where a worker does it, the way that waits for nobody fails from 1.93.0 to 1.123.0 (#18119).
            if it.from("1.48.0") && super::is_looked_for(&it, "1.93.0rc1", "1.94.0rc1", "1.124.0rc1") {
                let path = ["/_synapse/admin/v2", "rooms", &room];
                admin.answer(Method::DELETE, &path, Some(json!({ "block": true }))).await?.ok()?;
                let path = ["/_synapse/admin/v2", "rooms", &room, "delete_status"];
                // Newer releases know of it once it has begun.
                let state = async || {
                    Ok(admin.answer(Method::GET, &path, None).await?.json()?["results"][0]["status"].clone())
                };
                within(SCHEDULED, state, |state| state == "complete" || state == "failed").await?;
            } else if it.from("1.34.0") {
                admin.delete(&["/_synapse/admin/v1", "rooms", &room]).await?;
            } else {
                admin.post(&["/_synapse/admin/v1", "rooms", &room, "delete"], json!({ "purge": true })).await?;
            }
            let left = it.live.sql(&rows).await?;
            let alias = ["directory", "room", &it.kept("alias")?];
            Ok(json!([
                if left.is_empty() { "deleted" } else { "still there" },
                it.friend.answer(Method::GET, &alias, None).await?.status(),
            ]))
        })
        .loses("DELETE FROM event_json")
}
