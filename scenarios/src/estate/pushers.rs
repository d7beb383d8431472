//! Pushers.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("pushers")
        .fills(&["pushers"])
        .write(|it: Visit| async move {
            let person = it.somebody("pushed").await?;
            let pusher = json!({
                "kind": "http", "app_id": "test.app", "pushkey": it.named("push key"), "app_display_name": "App",
                "device_display_name": "Device", "lang": "en",
                "data": { "url": "http://push.test/_matrix/push/v1/notify", "format": "event_id_only" },
            });
            person.post(&["pushers", "set"], pusher).await?;
            Ok(json!({ "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let seen = it.owner.with_token(&it.kept("token")?).get(&["pushers"]).await?;
            let known = ["kind", "app_id", "pushkey", "app_display_name", "device_display_name", "lang", "data"];
            let shown = |pusher: &Value| known.iter().map(|key| pusher[*key].clone()).collect::<Value>();
            Ok(list(&seen["pushers"]).iter().map(shown).collect())
        })
}
