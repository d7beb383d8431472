//! Several devices of one user, one of them renamed.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("devices")
        .fills(&["devices", "access_tokens"])
        .rides_along()
        .loses(&format!("DELETE FROM devices; {LOG_OUT}"))
        .write(|it: Visit| async move {
            let person = it.somebody("devoted").await?;
            let login = json!({
                "type": "m.login.password", "identifier": { "type": "m.id.user", "user": person.id() }, "user": person.id(),
                "password": person.password(), "initial_device_display_name": "Second device",
            });
            // Who lets nobody log in by password has the first device only.
            let flows = it.anonymous().get(&["login"]).await?;
            let second = if list(&flows["flows"]).iter().any(|flow| flow["type"] == "m.login.password") {
                text(&it.anonymous().post(&["login"], login).await?["access_token"])
            } else {
                person.token().to_owned()
            };
            person.put(&["devices", person.device()], json!({ "display_name": "Ünïque ✓" })).await?;
            Ok(json!({ "token": person.token(), "second": second }))
        })
        .read(|it: Visit| async move {
            let (first, second) = (it.owner.with_token(&it.kept("token")?), it.owner.with_token(&it.kept("second")?));
            let devices = first.get(&["devices"]).await?;
            let names = |device: &Value| (text(&device["device_id"]), device["display_name"].clone());
            let names: serde_json::Map<_, _> = list(&devices["devices"]).iter().map(names).collect();
            Ok(json!({ "devices": names, "as the second": second.get(&["account", "whoami"]).await?["user_id"] }))
        })
}
