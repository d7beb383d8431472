//! A room whose last event was rejected, as other homeservers send such: its people synchronise all the same.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("last event rejected")
        .fills(&["rejections"])
        // Who wrote it has it at hand still.
        .reads_since("0.34.0")
        .write(|it: Visit| async move {
            // Somebody of their own: where it fails, they are shown nothing at all.
            let person = it.somebody("rejecting").await?;
            let room = person.room(json!({ "preset": "private_chat" })).await?;
            let sound = person.say(&room, "sound").await?;
            let last = person.send(&room, "test.rejected", json!({})).await?;
            for statement in [
                format!("INSERT INTO rejections (event_id, reason, last_check) VALUES ('{last}', 'auth_error', '1')"),
                format!("UPDATE event_forward_extremities SET event_id = '{sound}' WHERE room_id = '{room}'"),
            ] {
                it.live.execute(&statement).await?;
            }
            Ok(json!({ "waiting": 200 }))
        })
        .read(|it: Visit| async move {
            // From 1.58.0 to 1.58.1 nobody gets anything (#12729).
            if !super::is_looked_for(&it, "1.58.0rc1", "1.58.1", "1.59.0rc1") {
                return Ok(json!(200));
            }
            let filter = json!({ "presence": { "limit": 0 }, "room": { "timeline": { "limit": 0 } } });
            let query = format!("?timeout=0&filter={}", harness::prelude::escape(&filter.to_string()));
            let person = it.somebody("rejecting").await?;
            Ok(json!(person.answer(Method::GET, &["sync", &query], None).await?.status()))
        })
        .loses(LOG_OUT)
}
