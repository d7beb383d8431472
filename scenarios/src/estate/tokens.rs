//! Tokens other than of an ordinary login: for OpenID, in somebody's name, and to be refreshed.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("OpenID and delegated tokens")
        .since("1.31.0")
        .fills(&["open_id_tokens", "access_tokens"])
        .loses(&format!("DELETE FROM open_id_tokens; {LOG_OUT}"))
        .write(|it: Visit| async move {
            let path = ["user", it.friend.id(), "openid", "request_token"];
            let token = it.friend.post(&path, json!({})).await?;
            // They hold for an hour; a long walk takes longer.
            let holds = format!(
                "UPDATE open_id_tokens SET ts_valid_until_ms = 4000000000000 WHERE user_id = '{}'",
                it.friend.id()
            );
            it.live.execute(&holds).await?;
            let path = ["/_synapse/admin/v1", "users", it.friend.id(), "login"];
            let as_friend = it.admin().await?.post(&path, json!({})).await?;
            Ok(json!({ "openid": token["access_token"], "as the friend": as_friend["access_token"] }))
        })
        .read(|it: Visit| async move {
            let query = format!("?access_token={}", it.kept("openid")?);
            let delegated = it.owner.with_token(&it.kept("as the friend")?);
            Ok(json!({
                "openid": it.anonymous().get(&["/_matrix/federation/v1", "openid", "userinfo", &query]).await?,
                "as the friend": delegated.get(&["account", "whoami"]).await?["user_id"],
            }))
        })
}
