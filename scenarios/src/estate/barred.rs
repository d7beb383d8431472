//! Accounts that may do less: locked, suspended, shadow-banned.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("barred accounts")
        .since("1.122.0")
        .loses("UPDATE users SET locked = FALSE, suspended = FALSE, shadow_banned = FALSE")
        .write(|it: Visit| async move {
            let admin = it.admin().await?;
            let (locked, suspended, banned) =
                (it.somebody("locked").await?, it.somebody("suspended").await?, it.somebody("shadow").await?);
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            for person in [&suspended, &banned] {
                person.join(&room).await?;
            }
            admin.put(&["/_synapse/admin/v2", "users", locked.id()], json!({ "locked": true })).await?;
            let path = ["/_synapse/admin/v1", "suspend", suspended.id()];
            admin.put(&path, json!({ "suspend": true })).await?;
            admin.post(&["/_synapse/admin/v1", "users", banned.id(), "shadow_ban"], json!({})).await?;
            let tokens = [locked, suspended, banned].map(|person| person.token().to_owned());
            Ok(json!({ "room": room, "tokens": tokens }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let mut shown = Vec::new();
            for token in list(&it.kept["tokens"]) {
                let person = it.owner.with_token(&text(token));
                let path = ["rooms", &room, "send", "m.room.message", &it.live.unique("txn")];
                let content = json!({ "msgtype": "m.text", "body": "heard?" });
                let said = person.answer(Method::PUT, &path, Some(content)).await?;
                let heard = match said.json()?["event_id"].as_str() {
                    Some(id) => it.owner.answer(Method::GET, &["rooms", &room, "event", id], None).await?.brief(),
                    None => Value::Null,
                };
                shown.push(json!({ "said": said.brief(), "heard": heard }));
            }
            Ok(json!(shown))
        })
}
