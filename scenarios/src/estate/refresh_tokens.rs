//! Tokens that are refreshed: the one of an older release gives a new one, again and again.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("refresh tokens")
        .since("1.60.0")
        // A row that names a later one is inserted before it (upstream: element-hq/synapse#19148).
        .is_not_ported()
        .fills(&["refresh_tokens"])
        .write(|it: Visit| async move {
            let person = it.somebody("refreshed").await?;
            let login = json!({
                "type": "m.login.password", "identifier": { "type": "m.id.user", "user": person.id() },
                "password": person.password(), "refresh_token": true,
            });
            let answer = it.anonymous().post(&["login"], login).await?;
            Ok(json!({ "token": answer["refresh_token"] }))
        })
        .read(|it: Visit| async move {
            // The newest of the chain that `write` began.
            let chain = format!("refresh chain {}", it.mark);
            let newest = it.live.recall(&chain).or_else(|_| it.kept("token"))?;
            // With the rest of the interface since 1.72.0.
            let path: &[&str] = if it.from("1.72.0") { &["refresh"] } else { &["/_matrix/client/v1", "refresh"] };
            let answer = it.anonymous().post(path, json!({ "refresh_token": newest })).await?;
            it.live.remember(&chain, &text(&answer["refresh_token"]));
            let person = it.owner.with_token(&text(&answer["access_token"]));
            person.get(&["account", "whoami"]).await
        })
}
