//! An authentication that was begun before the upgrade, and is ended after it.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("authentication under way")
        .since("1.16.0")
        .is_not_ported()
        .fills(&["ui_auth_sessions"])
        .loses("DELETE FROM ui_auth_sessions_ips; DELETE FROM ui_auth_sessions")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let person = it.somebody("interrupted").await?;
            let token = super::passwords::login(&it, person.id(), person.password()).await?;
            let devices = it.owner.with_token(&token).get(&["devices"]).await?;
            let ids = list(&devices["devices"]).iter().map(|one| text(&one["device_id"]));
            let other = ids.filter(|id| id != person.device()).collect::<String>();
            let answer = person.answer(Method::DELETE, &path(&other), Some(json!({}))).await?;
            Ok(json!({
                "session": answer.field("session")?, "token": person.token(), "password": person.password(),
                "user": person.id(), "device": other, "waiting": ["deleted"],
            }))
        })
        .read(|it: Visit| async move {
            let (person, device) = (it.owner.with_token(&it.kept("token")?), it.kept("device")?);
            let devices = person.get(&["devices"]).await?;
            if !list(&devices["devices"]).iter().any(|one| one["device_id"] == json!(device)) {
                return Ok(json!([]));
            }
            let auth = json!({
                "type": "m.login.password", "identifier": { "type": "m.id.user", "user": it.kept("user")? },
                "user": it.kept("user")?, "password": it.kept("password")?, "session": it.kept("session")?,
            });
            person.answer(Method::DELETE, &path(&device), Some(json!({ "auth": auth }))).await?.ok()?;
            Ok(json!(["deleted"]))
        })
}

/// The same on every release: a session holds for the request that began it.
fn path(device: &str) -> [&str; 3] {
    ["/_matrix/client/r0", "devices", device]
}
