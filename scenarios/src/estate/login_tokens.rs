//! A token with which another device logs in: once, and then no more.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("login tokens")
        .since("1.90.0")
        .fills(&["login_tokens"])
        .config(json!({
            "login_via_existing_session": { "enabled": true, "require_ui_auth": false, "token_timeout": "24h" },
        }))
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let answer = it.friend.post(&["/_matrix/client/v1", "login", "get_token"], json!({})).await?;
            Ok(json!({ "token": answer["login_token"], "waiting": [it.friend.id()] }))
        })
        .read(|it: Visit| async move {
            let login = json!({ "type": "m.login.token", "token": it.kept("token")? });
            let answer = it.anonymous().answer(Method::POST, &["login"], Some(login)).await?;
            Ok(if answer.status() == 403 { json!([]) } else { json!([answer.ok()?.json()?["user_id"]]) })
        })
}
