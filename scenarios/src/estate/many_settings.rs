//! A room with more state than a state group tells in steps.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("long state")
        .fills(&["state_group_edges"])
        .write(|it: Visit| async move {
            // Written once: it is long.
            if it.mark != "1" {
                return Ok(json!({}));
            }
            let setting = |index: i32| json!({ "type": "test.setting", "state_key": index.to_string(), "content": { "value": index } });
            let settings: Value = (0..40).map(setting).collect();
            let room = it.shared(json!({ "preset": "private_chat", "initial_state": settings })).await?;
            // One by one, as a slow machine takes its time for each.
            let mut last = String::new();
            for index in 40..110 {
                last = it.owner.state(&room, "test.setting", &index.to_string(), json!({ "value": index })).await?;
            }
            Ok(json!({ "room": room, "last": last }))
        })
        .read(|it: Visit| async move {
            let Ok(room) = it.kept("room") else { return Ok(json!("written once")) };
            let values = |state: &Value| -> Vec<i64> {
                let mut values: Vec<i64> =
                    list(state).iter().filter_map(|event| event["content"]["value"].as_i64()).collect();
                values.sort_unstable();
                values
            };
            let now = it.friend.get(&["rooms", &room, "state"]).await?;
            // What it was is told by state groups.
            let then = it.friend.get(&["rooms", &room, "context", &it.kept("last")?, "?limit=0"]).await?;
            Ok(json!({ "now": values(&now), "then": values(&then["state"]) }))
        })
}
