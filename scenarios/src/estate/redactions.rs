//! Redacted events: what they said is gone, and stays gone.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("redactions")
        .fills(&["redactions"])
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Regretted", "preset": "private_chat" })).await?;
            let said = it.owner.say(&room, "said too much").await?;
            let state = it.owner.state(&room, "m.room.topic", "", json!({ "topic": "said too much" })).await?;
            for id in [&said, &state] {
                let path = ["rooms", &room, "redact", id, &it.live.unique("txn")];
                it.owner.put(&path, json!({ "reason": "said too much" })).await?;
            }
            Ok(json!({ "room": room, "said": said, "state": state }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let mut shown = json!({});
            for which in ["said", "state"] {
                let seen = it.friend.get(&["rooms", &room, "event", &it.kept(which)?]).await?;
                let because = &seen["unsigned"]["redacted_because"];
                shown[which] = json!({ "event": event(&seen), "because": event(because), "by": seen["unsigned"]["redacted_by"] });
            }
            shown["topic"] = it.friend.get(&["rooms", &room, "state", "m.room.topic"]).await?;
            Ok(shown)
        })
}
