//! A room's state, with many things in it.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("room state")
        .fills(&["rooms", "current_state_events", "state_groups", "state_groups_state", "event_to_state_groups"])
        .rides_along()
        .loses("DELETE FROM current_state_events")
        .write(|it: Visit| async move {
            let setting = |index: i32| {
                let content = json!({ "value": index, "nested": { "text": "ünïcode ✓", "list": [1, null, "x"] } });
                json!({ "type": "test.setting", "state_key": format!("key {index}"), "content": content })
            };
            let options = json!({
                "name": "Many settings", "preset": "private_chat", "initial_state": (0..8).map(setting).collect::<Value>(),
            });
            Ok(json!({ "room": it.owner.room(options).await? }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 1 } } });
            let seen = it.owner.sync(None, filter).await?;
            let seen = &seen["rooms"]["join"][&room];
            let synced = [list(&seen["state"]["events"]), list(&seen["timeline"]["events"])].concat();
            Ok(json!({
                "asked for": by_key(&it.owner.get(&["rooms", &room, "state"]).await?),
                "synchronised": by_key(&json!(synced)),
            }))
        })
}

/// State events by type and key.
pub(super) fn by_key(events: &Value) -> Value {
    let key = |event: &Value| format!("{} {}", text(&event["type"]), text(&event["state_key"]));
    let events: std::collections::BTreeMap<_, _> = list(events).iter().map(|e| (key(e), event(e))).collect();
    json!(events)
}
