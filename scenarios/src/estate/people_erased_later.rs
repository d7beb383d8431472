//! Somebody who leaves the homeserver on a later release and wants to be forgotten: they are gone, and what they said is
//! known only to those who heard it.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("people erased later")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let person = it.somebody("forgettable").await?;
            person.put(&["profile", person.id(), "displayname"], json!({ "displayname": "Forgettable" })).await?;
            // Of a kind that has no thumbnails, which cannot be made everywhere.
            let picture = person.client().upload("face.svg", "image/svg+xml", b"<svg/>").await?;
            // Not everywhere may everybody show one.
            let path = ["profile", person.id(), "avatar_url"];
            person.answer(Method::PUT, &path, Some(json!({ "avatar_url": picture }))).await?;
            let pusher = json!({
                "kind": "http", "app_id": "test.app", "pushkey": it.named("forgettable"), "app_display_name": "App",
                "device_display_name": "Device", "lang": "en", "data": { "url": "http://push.test/_matrix/push/v1/notify" },
            });
            person.post(&["pushers", "set"], pusher).await?;
            let room = it.shared(json!({ "preset": "public_chat" })).await?;
            person.join(&room).await?;
            let said = person.say(&room, "forget me").await?;
            Ok(json!({ "room": room, "said": said, "waiting": [403, null, [], false, "forget me", null] }))
        })
        .read(|it: Visit| async move {
            let (room, said) = (it.kept("room")?, it.kept("said")?);
            let person = it.somebody("forgettable").await?;
            if person.answer(Method::GET, &["account", "whoami"], None).await?.status() == 401 {
                return Ok(json!([]));
            }
            person.post_as_oneself(&["account", "deactivate"], json!({ "erase": true })).await?;
            // They leave their rooms a little later.
            let joined = async || Ok(it.owner.get(&["rooms", &room, "joined_members"]).await?["joined"].clone());
            let joined = eventually(joined, |joined| joined.get(person.id()).is_none()).await?;
            let newcomer = it.somebody("latecomer").await?;
            newcomer.join(&room).await?;
            let heard = async |who: &Person| -> Result<Value> {
                let pages = who.get(&["rooms", &room, "messages", "?dir=b&limit=50"]).await?;
                let event = list(&pages["chunk"]).iter().find(|event| event["event_id"] == json!(said));
                Ok(event.map_or(json!("nothing"), |event| event["content"]["body"].clone()))
            };
            let name = if it.from("1.26.0") {
                it.friend.answer(Method::GET, &["profile", person.id()], None).await?.json()?["displayname"].clone()
            } else {
                // It stayed.
                Value::Null
            };
            let pushers = format!("SELECT app_id FROM pushers WHERE user_name = '{}'", person.id());
            Ok(json!([
                super::passwords::try_to_log_in(&it, person.id(), person.password()).await?.status(),
                name,
                it.live.sql(&pushers).await?,
                joined.get(person.id()).is_some(),
                heard(&it.friend).await?,
                heard(&newcomer).await?,
            ]))
        })
        .loses("DELETE FROM access_tokens")
}
