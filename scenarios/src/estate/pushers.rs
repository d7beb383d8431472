//! Pushers.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("pushers")
        .fills(&["pushers"])
        .write(|it: Visit| async move {
            let person = it.somebody("pushed").await?;
            let data = json!({ "url": "http://push.test/_matrix/push/v1/notify", "format": "event_id_only" });
            person.post(&["pushers", "set"], pusher("test.app", &it.named("push key"), &data)).await?;
            Ok(json!({ "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let seen = it.owner.with_token(&it.kept("token")?).get(&["pushers"]).await?;
            let known = ["kind", "app_id", "pushkey", "app_display_name", "device_display_name", "lang", "data"];
            let shown = |pusher: &Value| known.iter().map(|key| pusher[*key].clone()).collect::<Value>();
            Ok(list(&seen["pushers"]).iter().map(shown).collect())
        })
}

/// What an application sets that is to be told of events.
pub(super) fn pusher(app: &str, key: &str, data: &Value) -> Value {
    json!({
        "kind": "http", "app_id": app, "pushkey": key, "app_display_name": "App", "device_display_name": "Device",
        "lang": "en", "data": data,
    })
}
