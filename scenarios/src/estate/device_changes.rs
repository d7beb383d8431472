//! Whose devices changed since a token.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("device changes")
        .fills(&["device_lists_changes_in_room"])
        .write(|it: Visit| async move {
            // Who asks shares no other room: what is done to those is no business of this part.
            let (person, watcher) = (it.somebody("changing").await?, it.somebody("watching").await?);
            let room = watcher.room(json!({ "preset": "private_chat", "invite": [person.id()] })).await?;
            person.join(&room).await?;
            let nothing = json!({ "room": { "rooms": [] }, "presence": { "limit": 0 } });
            let token = text(&watcher.sync(None, nothing).await?["next_batch"]);
            let signer = Signer::new(person.id(), person.device())?;
            let keys = signer.sign(&json!({
                "user_id": person.id(), "device_id": person.device(), "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
                "keys": { format!("ed25519:{}", person.device()): signer.public_key() },
            }))?;
            person.post(&["keys", "upload"], json!({ "device_keys": keys })).await?;
            Ok(json!({ "token": token, "person": person.id(), "watcher": watcher.token() }))
        })
        .read(|it: Visit| async move {
            let nothing = json!({ "room": { "rooms": [] }, "presence": { "limit": 0 } });
            let watcher = it.owner.with_token(&it.kept("watcher")?);
            let now = text(&watcher.sync(None, nothing.clone()).await?["next_batch"]);
            let since = super::sync_tokens::kept_token(&it).await?;
            let query = format!("?from={since}&to={now}");
            let changes = watcher.get(&["keys", "changes", &query]).await?;
            let synced = watcher.sync(Some(&since), nothing).await?;
            let has = |changes: &Value| list(&changes["changed"]).contains(&it.kept["person"]);
            // Of what is older is not known in which rooms it was told.
            let age = if it.written_from("1.57.0rc1") { "" } else { ", of before 1.57" };
            let of = |what: &str| format!("{what}{age}");
            Ok(json!({ of("asked for"): has(&changes), of("synchronised"): has(&synced["device_lists"]) }))
        })
}
