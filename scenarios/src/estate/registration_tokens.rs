//! Registration tokens, with what is left of them.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("registration tokens")
        .since("1.42.0")
        .fills(&["registration_tokens"])
        .write(|it: Visit| async move {
            let token = it.named("token");
            let body = json!({ "token": token, "uses_allowed": 3, "expiry_time": 4_000_000_000_000_i64 });
            it.admin().await?.post(&["/_synapse/admin/v1", "registration_tokens", "new"], body).await?;
            Ok(json!({ "token": token }))
        })
        .read(|it: Visit| async move {
            it.admin().await?.get(&["/_synapse/admin/v1", "registration_tokens", &it.kept("token")?]).await
        })
}
