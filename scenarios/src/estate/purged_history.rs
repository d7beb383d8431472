//! A room that has lost the beginning of its history.

use harness::{SCHEDULED, within};

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("purged history")
        .since("1.13.0")
        .write(|it: Visit| async move {
            let purged = it.shared(json!({ "name": "Purged", "preset": "private_chat" })).await?;
            it.owner.say(&purged, "old").await?;
            let kept = it.owner.say(&purged, "new").await?;
            it.owner.say(&purged, "newer").await?;
            purge(&it, &purged, &kept).await?;
            Ok(json!({ "purged": purged }))
        })
        .read(|it: Visit| async move {
            let pages = it.friend.get(&["rooms", &it.kept("purged")?, "messages", "?dir=b&limit=50"]).await?;
            let members = it.friend.get(&["rooms", &it.kept("purged")?, "joined_members"]).await?;
            Ok(json!({
                "history": list(&pages["chunk"]).iter().map(event).collect::<Value>(),
                "members": members["joined"].as_object().map(serde_json::Map::len),
            }))
        })
        .loses("DELETE FROM current_state_events")
}

/// Takes away what was there before an event; how that ended.
pub(super) async fn purge(it: &Visit, room: &str, event: &str) -> Result<Value> {
    told(it, room).await?;
    let admin = it.admin().await?;
    let path = ["/_synapse/admin/v1", "purge_history", room, event];
    let purge = admin.post(&path, json!({ "delete_local_events": true })).await?;
    let path = ["/_synapse/admin/v1", "purge_history_status", &text(&purge["purge_id"])];
    Ok(within(SCHEDULED, || admin.get(&path), |seen| seen["status"] != "active").await?["status"].clone())
}

/// Waits until who tells other homeservers of a room's events has come past them. What is gone by then, and what follows it,
/// would not be found any more, which is logged as an error.
pub(super) async fn told(it: &Visit, room: &str) -> Result<()> {
    let untold = format!(
        "SELECT event_id FROM events WHERE room_id = '{room}' AND stream_ordering > \
         (SELECT max(stream_id) FROM federation_stream_position WHERE type = 'events')"
    );
    eventually(async || Ok(it.live.sql(&untold).await?), Vec::is_empty).await?;
    Ok(())
}
