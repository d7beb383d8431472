//! A room that gives way to another on a later release: what it has goes along.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rooms upgraded later")
        .since("1.5.0")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let name = it.named("outgrown");
            let options = json!({
                "name": "Outgrown", "topic": "to be moved", "preset": "private_chat", "room_alias_name": name,
            });
            let room = it.shared(options).await?;
            let banned = it.somebody("unwanted").await?;
            it.owner.post(&["rooms", &room, "ban"], json!({ "user_id": banned.id() })).await?;
            let level = if it.from("1.42.0rc1") { json!(LEVEL) } else { json!(LEVEL.to_string()) };
            set_level(&it, &room, level, true).await?;
            Ok(json!({
                "room": room, "alias": format!("#{name}:{}", harness::SERVER_NAME), "banned": banned.id(),
                "waiting": ["Outgrown", "to be moved", LEVEL, "ban", true, true],
            }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let tombstone = ["rooms", &room, "state", "m.room.tombstone"];
            if it.owner.answer(Method::GET, &tombstone, None).await?.status() == 200 {
                return Ok(json!([]));
            }
            // Up to 1.58.1 who has a level as text cannot be taken along (#12657): looked for on the last of these releases,
            // or every walk that ends on one of them would show it.
            // From 1.7.0 to 1.97.0 neither can a room that has no levels for events (#16725): looked for on the first.
            if !it.from("1.57.0") {
                set_level(&it, &room, json!(LEVEL), it.from("1.8.0")).await?;
            }
            let version = &it.owner.get(&["capabilities"]).await?["capabilities"]["m.room_versions"]["default"];
            let upgraded = it.owner.post(&["rooms", &room, "upgrade"], json!({ "new_version": version })).await?;
            let new = text(&upgraded["replacement_room"]);
            let state = async |kind: &str| it.owner.get(&["rooms", &new, "state", kind]).await;
            let member = ["rooms", &new, "state", "m.room.member", &it.kept("banned")?];
            let alias = it.owner.get(&["directory", "room", &it.kept("alias")?]).await?;
            Ok(json!([
                state("m.room.name").await?["name"],
                state("m.room.topic").await?["topic"],
                state("m.room.power_levels").await?["users"][it.friend.id()],
                it.owner.get(&member).await?["membership"],
                alias["room_id"] == json!(new),
                state("m.room.create").await?["predecessor"]["room_id"] == json!(room),
            ]))
        })
        .loses("DELETE FROM current_state_events")
}

/// The friend's.
const LEVEL: i32 = 30;

async fn set_level(it: &Visit, room: &str, level: Value, of_events: bool) -> Result<String> {
    let mut levels = it.owner.get(&["rooms", room, "state", "m.room.power_levels"]).await?;
    levels["users"][it.friend.id()] = level;
    if let Some(levels) = levels.as_object_mut().filter(|_| !of_events) {
        levels.shift_remove("events");
    }
    it.owner.state(room, "m.room.power_levels", "", levels).await
}
