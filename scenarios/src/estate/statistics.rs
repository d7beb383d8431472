//! What admins see of people: who uses how much media, and from where they came.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("statistics")
        .since("1.31.0")
        .fills(&["user_ips", "monthly_active_users"])
        .config(json!({ "mau_stats_only": true }))
        .write(|it: Visit| async move {
            let person = it.somebody("counted").await?;
            person.client().upload("a.txt", "text/plain", b"12345").await?;
            Ok(json!({ "person": person.id(), "name": it.named("counted") }))
        })
        .read(|it: Visit| async move {
            let admin = it.admin().await?;
            let person = it.kept("person")?;
            let query = format!("?search_term={}", it.kept("name")?);
            let media = admin.get(&["/_synapse/admin/v1", "statistics", "users", "media", &query]).await?;
            let path = ["/_synapse/admin/v1", "whois", &person];
            let addresses = |seen: &Value| {
                let sessions = seen["devices"][""]["sessions"].as_array().cloned().unwrap_or_default();
                sessions.iter().flat_map(|one| list(&one["connections"]).to_vec()).count()
            };
            // Written down every few seconds.
            let whois = eventually(|| admin.get(&path), |seen| addresses(seen) > 0).await?;
            let brief = |one: &Value| json!([one["user_id"], one["media_count"], one["media_length"]]);
            let month = format!("SELECT user_id FROM monthly_active_users WHERE user_id = '{person}'");
            let monthly = eventually(async || Ok(json!(it.live.sql(&month).await?)), |rows| !list(rows).is_empty()).await?;
            Ok(json!({
                "media": list(&media["users"]).iter().map(brief).collect::<Value>(),
                "came from somewhere": addresses(&whois) > 0, "active": monthly,
            }))
        })
}
