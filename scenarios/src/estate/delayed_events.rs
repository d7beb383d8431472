//! Events that are to be sent later.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("delayed events")
        // They are there since 1.130.0; none of them is ported before 1.143.0, nor then anything after them.
        .since("1.138.0")
        .fills(&["delayed_events"])
        .config(json!({ "max_event_delay_duration": "24h" }))
        .write(|it: Visit| async move {
            let person = it.somebody("patient").await?;
            let room = person.room(json!({ "preset": "private_chat" })).await?;
            let query = "?org.matrix.msc4140.delay=80000000";
            let path = ["rooms", &room, "send", "m.room.message", &it.live.unique("txn"), query];
            person.put(&path, json!({ "msgtype": "m.text", "body": "much later" })).await?;
            Ok(json!({ "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let path = ["/_matrix/client/unstable/org.matrix.msc4140", "delayed_events"];
            let seen = it.owner.with_token(&it.kept("token")?).get(&path).await?;
            let events = if seen["delayed_events"].is_array() { &seen["delayed_events"] } else { &seen["scheduled"] };
            let brief = |one: &Value| json!([one["delay_id"], one["room_id"], one["type"], one["delay"], one["content"]]);
            Ok(list(events).iter().map(brief).collect())
        })
}
