//! An invitation of somebody who has left the room since, with nobody else in it: it is turned down on a later release.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("invitations of who left")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let (host, guest) = (it.somebody("absent-host").await?, it.somebody("hesitant").await?);
            let room = host.room(json!({ "preset": "private_chat", "invite": [guest.id()] })).await?;
            host.post(&["rooms", &room, "leave"], json!({})).await?;
            Ok(json!({ "room": room, "waiting": [200, true] }))
        })
        .read(|it: Visit| async move {
            let (guest, room) = (it.somebody("hesitant").await?, it.kept("room")?);
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room] } });
            let look = async || guest.sync(None, filter.clone()).await;
            let is_invited = |seen: &Value| seen["rooms"]["invite"].get(&room).is_some();
            if !is_invited(&look().await?) {
                return Ok(json!([]));
            }
            // From 1.10.0 to 1.18.0 it is not known any more where such a room ends (#7139).
            if !super::is_looked_for(&it, "1.10.0rc1", "1.11.0rc1", "1.19.0rc1") {
                it.live.execute(&end_of(&room)).await?;
            }
            let leave = guest.answer(Method::POST, &["rooms", &room, "leave"], Some(json!({}))).await?;
            let is_left = leave.status() == 200 && !is_invited(&eventually(look, |seen| !is_invited(seen)).await?);
            Ok(json!([leave.status(), is_left]))
        })
        .loses("DELETE FROM local_current_membership")
}

/// Says where the room ends, if nothing else does: with its host's leaving.
fn end_of(room: &str) -> String {
    format!(
        "INSERT INTO event_forward_extremities (event_id, room_id) \
         SELECT event_id, room_id FROM local_current_membership WHERE room_id = '{room}' AND membership = 'leave' \
         AND NOT EXISTS (SELECT 1 FROM event_forward_extremities WHERE room_id = '{room}')"
    )
}
