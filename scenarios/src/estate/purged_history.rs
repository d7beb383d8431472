//! A room that has lost the beginning of its history.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("purged history")
        .since("1.13.0")
        .write(|it: Visit| async move {
            let admin = it.admin().await?;
            let purged = it.shared(json!({ "name": "Purged", "preset": "private_chat" })).await?;
            it.owner.say(&purged, "old").await?;
            let kept = it.owner.say(&purged, "new").await?;
            it.owner.say(&purged, "newer").await?;
            purge(&admin, &purged, &kept).await?;
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
pub(super) async fn purge(admin: &Person, room: &str, event: &str) -> Result<Value> {
    let path = ["/_synapse/admin/v1", "purge_history", room, event];
    let purge = admin.post(&path, json!({ "delete_local_events": true })).await?;
    let path = ["/_synapse/admin/v1", "purge_history_status", &text(&purge["purge_id"])];
    Ok(eventually(|| admin.get(&path), |seen| seen["status"] != "active").await?["status"].clone())
}
