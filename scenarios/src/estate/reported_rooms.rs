//! Rooms and people that were reported to the admins. There is no way to read the rooms' but the database.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("reports of rooms and people")
        .since("1.135.0")
        .fills(&["room_reports", "user_reports"])
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Reported", "preset": "private_chat" })).await?;
            it.friend.post(&["rooms", &room, "report"], json!({ "reason": "a bad place" })).await?;
            let person = it.somebody("rogue").await?;
            let room_of_both = it.owner.room(json!({ "preset": "private_chat", "invite": [person.id()] })).await?;
            person.join(&room_of_both).await?;
            it.owner.post(&["users", person.id(), "report"], json!({ "reason": "a bad person" })).await?;
            Ok(json!({ "room": room, "person": person.id() }))
        })
        .read(|it: Visit| async move {
            let (room, person) = (it.kept("room")?, it.kept("person")?);
            let rooms = format!("SELECT user_id, reason FROM room_reports WHERE room_id = '{room}'");
            let people = format!("SELECT user_id, reason FROM user_reports WHERE target_user_id = '{person}'");
            Ok(json!({ "rooms": it.live.sql(&rooms).await?, "people": it.live.sql(&people).await? }))
        })
}
