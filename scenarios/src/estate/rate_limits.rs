//! Somebody's own rate limit.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rate limits")
        .since("1.36.0")
        .fills(&["ratelimit_override"])
        .write(|it: Visit| async move {
            let person = it.somebody("hasty").await?;
            let limit = json!({ "messages_per_second": 7, "burst_count": 77 });
            it.admin().await?.post(&["/_synapse/admin/v1", "users", person.id(), "override_ratelimit"], limit).await?;
            Ok(json!({ "person": person.id() }))
        })
        .read(|it: Visit| async move {
            let path = ["/_synapse/admin/v1", "users", &it.kept("person")?, "override_ratelimit"];
            it.admin().await?.get(&path).await
        })
}
