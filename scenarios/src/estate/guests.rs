//! A guest's account: they are in a room that lets guests in, hear and speak there, and may not do what is for others.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("guests")
        .config(json!({ "allow_guest_access": true }))
        .loses("DELETE FROM users WHERE is_guest = 1")
        .write(|it: Visit| async move {
            let options = json!({
                "preset": "public_chat",
                "initial_state": [{ "type": "m.room.guest_access", "state_key": "", "content": { "guest_access": "can_join" } }],
            });
            let room = it.owner.room(options).await?;
            let guest = it.anonymous().answer(Method::POST, &["register", "?kind=guest"], Some(json!({}))).await?;
            // Where the operator wants none.
            if guest.status() == 403 {
                return Ok(json!({}));
            }
            let guest = guest.ok()?.json()?;
            let (user, token) = (text(&guest["user_id"]), text(&guest["access_token"]));
            let person = it.owner.with_token(&token);
            person.join(&room).await?;
            person.say(&room, "I am only a guest").await?;
            Ok(json!({ "room": room, "user": user, "token": token }))
        })
        .read(|it: Visit| async move {
            let Ok(room) = it.kept("room") else { return Ok(json!("not let in")) };
            let guest = it.owner.with_token(&it.kept("token")?);
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 100 } } });
            let seen = guest.sync(None, filter).await?;
            let events = list(&seen["rooms"]["join"][&room]["timeline"]["events"]);
            Ok(json!({
                "hears": events.iter().filter_map(|event| event["content"].get("body")).collect::<Vec<_>>(),
                "speaks": guest.answer(Method::PUT, &["rooms", &room, "send", "test.word", &it.live.unique("txn")], Some(json!({}))).await?.status(),
                "may make rooms": guest.answer(Method::POST, &["createRoom"], Some(json!({}))).await?.brief(),
            }))
        })
}
