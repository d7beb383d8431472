//! Somebody who is ignored is not heard.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("ignored people")
        .fills(&["ignored_users"])
        .write(|it: Visit| async move {
            let (person, bore) = (it.somebody("ignorant").await?, it.somebody("bore").await?);
            let ignored = json!({ "ignored_users": { bore.id(): {} } });
            person.put(&["user", person.id(), "account_data", "m.ignored_user_list"], ignored).await?;
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            person.join(&room).await?;
            bore.join(&room).await?;
            bore.say(&room, "blah").await?;
            it.owner.say(&room, "well").await?;
            Ok(json!({ "token": person.token(), "room": room }))
        })
        .read(|it: Visit| async move {
            let (person, room) = (it.owner.with_token(&it.kept("token")?), it.kept("room")?);
            let filter = json!({ "room": { "rooms": [room], "timeline": { "limit": 50, "types": ["m.room.message"] } } });
            let seen = person.sync(None, filter).await?;
            let heard = list(&seen["rooms"]["join"][&room]["timeline"]["events"]).iter().map(event).collect::<Value>();
            Ok(json!({ "heard": heard, "list": typed(&seen["account_data"]["events"], &["m.push_rules"]) }))
        })
}
