//! Edits, reactions, references, threads and polls: events that belong to others.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("relations")
        .fills(&["event_relations"])
        .since("1.10.0")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Relations", "preset": "private_chat" })).await?;
            let said = it.owner.say(&room, "said").await?;
            let to = |kind: &str| json!({ "rel_type": kind, "event_id": said });
            let reaction = json!({ "rel_type": "m.annotation", "event_id": said, "key": "👍" });
            let edit = json!({
                "msgtype": "m.text", "body": "* better", "m.new_content": { "msgtype": "m.text", "body": "better" },
                "m.relates_to": to("m.replace"),
            });
            let thread = json!({ "msgtype": "m.text", "body": "in a thread", "m.relates_to": to("m.thread") });
            let poll = json!({ "m.relates_to": to("m.reference"), "org.matrix.msc3381.poll.response": { "answers": ["a"] } });
            it.owner.send(&room, "m.room.message", edit).await?;
            it.friend.send(&room, "m.reaction", json!({ "m.relates_to": reaction })).await?;
            it.friend.send(&room, "m.room.message", thread).await?;
            it.friend.send(&room, "org.matrix.msc3381.poll.response", poll).await?;
            Ok(json!({ "room": room, "said": said }))
        })
        .read(|it: Visit| async move {
            let (room, said) = (it.kept("room")?, it.kept("said")?);
            let mut shown = json!({});
            for kind in ["m.annotation", "m.replace", "m.thread", "m.reference"] {
                let path = ["/_matrix/client/unstable", "rooms", &room, "relations", &said, kind];
                let answer = it.friend.get(&path).await?;
                shown[kind] = list(&answer["chunk"]).iter().map(event).collect();
            }
            Ok(shown)
        })
}
