//! Events that were reported to the admins.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("event reports")
        .since("1.31.0")
        .fills(&["event_reports"])
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Reported", "preset": "private_chat" })).await?;
            let said = it.owner.say(&room, "something bad").await?;
            let report = json!({ "score": -100, "reason": "bäd" });
            it.friend.post(&["rooms", &room, "report", &said], report).await?;
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let query = format!("?room_id={}", harness::escape(&it.kept("room")?));
            let admin = it.admin().await?;
            let reports = admin.get(&["/_synapse/admin/v1", "event_reports", &query]).await?;
            let mut shown = Vec::new();
            for report in list(&reports["event_reports"]) {
                let seen = admin.get(&["/_synapse/admin/v1", "event_reports", &report["id"].to_string()]).await?;
                shown.push(json!({
                    "by": seen["user_id"], "reason": seen["reason"], "score": seen["score"], "event": event(&seen["event_json"]),
                }));
            }
            Ok(json!(shown))
        })
}
