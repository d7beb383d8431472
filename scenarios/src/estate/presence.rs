//! Two people are seen to come or go at once.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("presence")
        .since("1.60.0")
        .loses(LOG_OUT)
        .write(|it: Visit| async move {
            // Who watches knows nobody else.
            let watcher = it.somebody("looking").await?;
            let room = watcher.room(json!({ "preset": "public_chat", "visibility": "private" })).await?;
            let mut seen = Vec::new();
            for name in ["seen", "seen-too"] {
                let person = it.somebody(name).await?;
                person.join(&room).await?;
                seen.push(json!({ "id": person.id(), "token": person.token() }));
            }
            Ok(json!({ "watcher": watcher.token(), "seen": seen }))
        })
        .read(|it: Visit| async move {
            let config = json!(it.live.deployment().config);
            if config["use_presence"] == false || config["presence"]["enabled"] == false {
                return Ok(json!("switched off"));
            }
            let nothing = json!({ "room": { "rooms": [] } });
            let watcher = it.owner.with_token(&it.kept("watcher")?);
            let since = text(&watcher.sync(None, nothing.clone()).await?["next_batch"]);
            for kept in list(&it.kept["seen"]) {
                let person = it.owner.with_token(&text(&kept["token"]));
                let status = json!({ "presence": "unavailable", "status_msg": it.live.unique("back soon") });
                person.put(&["presence", &text(&kept["id"]), "status"], status).await?;
            }
            let come = |seen: &Value, kept: &Value| {
                list(&seen["presence"]["events"]).iter().any(|event| event["sender"] == kept["id"])
            };
            let both = |seen: &Value| list(&it.kept["seen"]).iter().all(|kept| come(seen, kept));
            // Who has been away for a while is counted out, and comes once more: each answer is looked at alone.
            Ok(json!({ "both": both(&eventually(|| watcher.sync(Some(&since), nothing.clone()), both).await?) }))
        })
}
