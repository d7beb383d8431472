//! A space: its children, their order, what is suggested, and a room for its members only.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("spaces")
        .is_not_checked_by_modules()
        .since("1.60.0")
        .loses("DELETE FROM current_state_events")
        .write(|it: Visit| async move {
            let space = it.shared(json!({ "name": "Space", "preset": "public_chat", "creation_content": { "type": "m.space" } })).await?;
            for (order, suggested) in [("b", true), ("a", false)] {
                let child = it.owner.room(json!({ "name": format!("Child {order}"), "preset": "public_chat" })).await?;
                let content = json!({ "via": [harness::SERVER_NAME], "order": order, "suggested": suggested });
                it.owner.state(&space, "m.space.child", &child, content).await?;
            }
            let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
            let rule = json!({ "join_rule": "restricted", "allow": allow });
            let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }]);
            let options = json!({ "name": "Members only", "room_version": "9", "initial_state": rules });
            let inner = it.owner.room(options).await?;
            it.owner.state(&space, "m.space.child", &inner, json!({ "via": [harness::SERVER_NAME], "order": "c" })).await?;
            Ok(json!({ "space": space, "inner": inner }))
        })
        .read(|it: Visit| async move {
            let path = ["/_matrix/client/v1", "rooms", &it.kept("space")?, "hierarchy"];
            // This is taken from statistics, which are counted after the events are sent; a room's name is its last.
            let named = |tree: &Value| list(&tree["rooms"]).iter().all(|room| room["name"].is_string());
            let tree = eventually(|| it.friend.get(&path), named).await?;
            let shown = |room: &Value| {
                let children = list(&room["children_state"]).iter().map(|child| json!([child["state_key"], child["content"]]));
                json!({ "name": room["name"], "rule": room["join_rule"], "type": room["room_type"], "children": children.collect::<Value>() })
            };
            it.friend.join(&it.kept("inner")?).await?;
            Ok(json!({ "tree": list(&tree["rooms"]).iter().map(shown).collect::<Value>() }))
        })
}
