//! A room of every version that the release calls stable; people can still talk in each.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("room versions")
        .is_not_checked_by_modules()
        .since("0.99.0")
        .loses("DELETE FROM current_state_events")
        .write(|it: Visit| async move {
            let mut rooms = json!({});
            // All of them once, and on later legs the one that the release prefers.
            let versions = if it.mark == "1" { stable(&it).await? } else { vec![default(&it).await?] };
            for version in versions {
                let options =
                    json!({ "name": format!("Version {version}"), "preset": "private_chat", "room_version": version });
                let room = it.shared(options).await?;
                it.friend.say(&room, "first words").await?;
                rooms[version] = json!(room);
            }
            Ok(json!({ "rooms": rooms }))
        })
        .read(|it: Visit| async move {
            let mut shown = json!({});
            let known = capability(&it).await?["available"].clone();
            for (version, room) in it.kept["rooms"].as_object().into_iter().flatten() {
                let room = text(room);
                // Where a rollback leads nobody may know it: then it waits for a release that does.
                let memory = format!("room of version {version} of leg {}", it.mark);
                if !it.goes_on() && known.get(version).is_none() {
                    shown[version] = serde_json::from_str(&it.live.recall(&memory)?)?;
                    continue;
                }
                let said = it.owner.say(&room, "more words").await?;
                let heard = it.friend.get(&["rooms", &room, "event", &said]).await?;
                shown[version] = json!({
                    "created": it.friend.get(&["rooms", &room, "state", "m.room.create"]).await?,
                    "name": it.friend.get(&["rooms", &room, "state", "m.room.name"]).await?,
                    "heard": heard["content"]["body"],
                });
                it.live.remember(&memory, &shown[version].to_string());
            }
            Ok(shown)
        })
}

async fn capability(it: &Visit) -> Result<Value> {
    Ok(it.owner.get(&["capabilities"]).await?["capabilities"]["m.room_versions"].clone())
}

async fn default(it: &Visit) -> Result<String> {
    Ok(text(&capability(it).await?["default"]))
}

async fn stable(it: &Visit) -> Result<Vec<String>> {
    let versions = capability(it).await?;
    let available = versions["available"].as_object().cloned().unwrap_or_default();
    Ok(available.into_iter().filter(|(_, stability)| stability == "stable").map(|(version, _)| version).collect())
}
