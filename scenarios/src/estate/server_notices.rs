//! A notice that the server gave somebody.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("server notices")
        .since("1.31.0")
        .config(json!({
            "server_notices": { "system_mxid_localpart": "notices", "system_mxid_display_name": "Notices", "room_name": "Notices" },
        }))
        .loses("DELETE FROM event_json")
        .write(|it: Visit| async move {
            let person = it.somebody("noticed").await?;
            let content = json!({ "msgtype": "m.text", "body": "please note" });
            let notice = json!({ "user_id": person.id(), "content": content });
            it.admin().await?.post(&["/_synapse/admin/v1", "send_server_notice"], notice).await?;
            // A worker hears of it a little later.
            let invited = |seen: &Value| seen["rooms"]["invite"].as_object().is_some_and(|rooms| !rooms.is_empty());
            let seen = eventually(|| person.sync(None, json!({})), invited).await?;
            let room = seen["rooms"]["invite"].as_object().and_then(|rooms| rooms.keys().next()).cloned();
            if let Some(room) = &room {
                person.join(room).await?;
            }
            Ok(json!({ "room": room, "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let pages = person.get(&["rooms", &it.kept("room")?, "messages", "?dir=b&limit=20"]).await?;
            let name = person.get(&["rooms", &it.kept("room")?, "state", "m.room.name"]).await?;
            let tags = person.sync(None, json!({ "room": { "rooms": [it.kept("room")?] } })).await?;
            let tags = typed(&tags["rooms"]["join"][it.kept("room")?]["account_data"]["events"], &[]);
            Ok(json!({ "name": name, "tags": tags, "said": list(&pages["chunk"]).iter().filter_map(|event| event["content"].get("body")).collect::<Vec<_>>() }))
        })
}
