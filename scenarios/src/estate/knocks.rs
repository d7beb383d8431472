//! Somebody knocks at the door of a room.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("knocks")
        .since("1.37.0")
        .write(|it: Visit| async move {
            let (porter, knocker) = (it.somebody("porter").await?, it.somebody("knocker").await?);
            let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
            let options = json!({ "name": "Knock first", "room_version": "7", "initial_state": rules });
            let door = porter.room(options).await?;
            knocker.post(&["knock", &door], json!({ "reason": "hello" })).await?;
            Ok(json!({ "door": door }))
        })
        .read(|it: Visit| async move {
            let (porter, knocker) = (it.somebody("porter").await?, it.somebody("knocker").await?);
            let door = it.kept("door")?;
            let seen = knocker.sync(None, json!({ "room": { "rooms": [door] } })).await?;
            let member = porter.get(&["rooms", &door, "state", "m.room.member", knocker.id()]).await?;
            Ok(json!({
                "waits": seen["rooms"]["knock"][&door].is_object(),
                "at the door": [member["membership"], member["reason"]],
            }))
        })
        .loses("DELETE FROM current_state_events")
}
