//! What somebody in a space is shown of the rooms in it: those that everybody may look into, and none that they were
//! not invited to.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rooms shown in a space")
        .is_not_checked_by_modules()
        .since("1.34.0")
        // On by itself since 1.35.0.
        .config(json!({ "experimental_features": { "spaces_enabled": true } }))
        .write(|it: Visit| async move {
            let options = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
            let space = it.owner.room(options).await?;
            it.somebody("passer-by").await?.join(&space).await?;
            let visibility = json!({ "history_visibility": "world_readable" });
            let visible = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": visibility }]);
            let open = it.owner.room(json!({ "preset": "public_chat", "initial_state": visible })).await?;
            let closed = it.owner.room(json!({ "preset": "private_chat" })).await?;
            for child in [&open, &closed] {
                it.owner.state(&space, "m.space.child", child, json!({ "via": [harness::SERVER_NAME] })).await?;
            }
            Ok(json!({ "space": space, "open": open, "closed": closed }))
        })
        .read(|it: Visit| async move {
            let (person, space) = (it.somebody("passer-by").await?, it.kept("space")?);
            // The older way is there up to 1.55.2.
            let (root, how) = if it.from("1.50.0") {
                ("/_matrix/client/v1", "hierarchy")
            } else {
                ("/_matrix/client/unstable/org.matrix.msc2946", "spaces")
            };
            let seen = person.get(&[root, "rooms", &space, how]).await?;
            let is_shown = |room: &str| list(&seen["rooms"]).iter().any(|shown| shown["room_id"] == it.kept[room]);
            // 1.35.0 shows them to everybody (#10109): what is written there has nothing to be compared with.
            let was_sound = !it.written_from("1.35.0rc1") || it.written_from("1.35.1");
            Ok(json!({ "open": is_shown("open"), "closed": was_sound && is_shown("closed") }))
        })
        .loses("DELETE FROM current_state_events")
}
