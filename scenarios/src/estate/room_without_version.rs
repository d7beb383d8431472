//! A room that everybody has left, as releases up to 1.11 have left some: the database knows what is in it, and not
//! which version it is. No update that looks at every room ends there.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("room without a version")
        // The next release counts all rooms again; it and 1.75.0 get stuck here (#14873). What is older comes there for
        // other faults.
        .since("1.73.0rc1")
        .until("1.74.0rc1")
        .write(|it: Visit| async move {
            let person = it.somebody("departed").await?;
            let room = person.room(json!({ "preset": "private_chat" })).await?;
            person.post(&["rooms", &room, "leave"], json!({})).await?;
            // What is still to be done might end here too.
            if it.is_updated(None).await? {
                let state = format!(
                    "INSERT INTO current_state_events (event_id, room_id, type, state_key) \
                     SELECT event_id, room_id, type, state_key FROM state_events \
                     WHERE room_id = '{room}' AND type <> 'm.room.member' ON CONFLICT DO NOTHING"
                );
                it.live.execute(&state).await?;
                it.live.execute(&format!("UPDATE rooms SET room_version = NULL WHERE room_id = '{room}'")).await?;
            }
            Ok(json!({}))
        })
        // Nobody is there to read it: the row `background updates left` shows it.
        .loses("DELETE FROM rooms WHERE room_version IS NULL")
}
