//! Communities, as long as they were on by default.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("communities")
        .until("1.58.0")
        .fills(&["groups", "group_users", "local_group_membership", "local_group_updates"])
        .config(json!({ "enable_group_creation": true }))
        .write(|it: Visit| async move {
            let localpart = it.named("community");
            let profile = json!({ "name": "Community", "short_description": "ünïcode" });
            let made = it.owner.post(&["create_group"], json!({ "localpart": localpart, "profile": profile })).await?;
            Ok(json!({ "group": made["group_id"] }))
        })
        .read(|it: Visit| async move {
            let group = it.kept("group")?;
            let joined = it.owner.get(&["joined_groups"]).await?;
            Ok(json!({
                "profile": it.owner.get(&["groups", &group, "profile"]).await?,
                "users": it.owner.get(&["groups", &group, "users"]).await?["total_user_count_estimate"],
                "joined": list(&joined["groups"]).contains(&json!(group)),
            }))
        })
}
