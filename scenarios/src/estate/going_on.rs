//! Life goes on in a room from before: whoever comes in, says something, takes it back, uploads, changes the rules, and the
//! others see it.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("going on")
        .loses("DELETE FROM event_forward_extremities")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Goes on", "preset": "public_chat" })).await?;
            let before = it.owner.say(&room, "before").await?;
            let newcomer = it.somebody("newcomer").await?;
            Ok(json!({ "room": room, "said": before, "newcomer": newcomer.id(), "token": newcomer.token() }))
        })
        .read(|it: Visit| async move {
            let (room, newcomer) = (it.kept("room")?, it.kept("newcomer")?);
            let person = it.owner.with_token(&it.kept("token")?);
            let since = text(&it.friend.sync(None, filter(&room)).await?["next_batch"]);
            it.owner.post(&["rooms", &room, "invite"], json!({ "user_id": newcomer })).await?;
            person.join(&room).await?;
            let said = person.say(&room, "I am new here").await?;
            it.owner.put(&["rooms", &room, "redact", &said, &it.live.unique("txn")], json!({})).await?;
            let mut levels = it.owner.get(&["rooms", &room, "state", "m.room.power_levels"]).await?;
            let level = levels["users"][&newcomer].as_i64().unwrap_or_default();
            levels["users"][&newcomer] = json!(if level == 50 { 40 } else { 50 });
            it.owner.state(&room, "m.room.power_levels", "", levels).await?;
            let file = person.client().upload("new.txt", "text/plain", b"new").await?;
            let picture = json!({ "msgtype": "m.file", "body": "new.txt", "url": file });
            person.send(&room, "m.room.message", picture).await?;
            let relation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": it.kept("said")?, "key": it.live.unique("k") } });
            person.send(&room, "m.reaction", relation).await?;
            it.friend.post(&["rooms", &room, "receipt", "m.read", &said], json!({})).await?;
            it.friend.put(&["rooms", &room, "typing", it.friend.id()], json!({ "typing": true, "timeout": 1000 })).await?;
            person.post(&["rooms", &room, "leave"], json!({})).await?;
            let last = |seen: &Value| list(&seen["rooms"]["join"][&room]["timeline"]["events"]).last().cloned().unwrap_or_default();
            let look = || it.friend.sync(Some(&since), filter(&room));
            let seen = eventually(look, |seen| last(seen)["content"]["membership"] == "leave").await?;
            let kinds = |event: &Value| json!([event["type"], event["content"]["membership"]]);
            Ok(list(&seen["rooms"]["join"][&room]["timeline"]["events"])
                .iter()
                .map(kinds)
                .collect())
        })
}

fn filter(room: &str) -> Value {
    json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 50 } } })
}
