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
            let edit = |of: &str, words: &str| {
                json!({
                    "msgtype": "m.text", "body": format!("* {words}"),
                    "m.new_content": { "msgtype": "m.text", "body": words },
                    "m.relates_to": { "rel_type": "m.replace", "event_id": of },
                })
            };
            let thread = json!({ "msgtype": "m.text", "body": "in a thread", "m.relates_to": to("m.thread") });
            let poll = json!({ "m.relates_to": to("m.reference"), "org.matrix.msc3381.poll.response": { "answers": ["a"] } });
            it.owner.send(&room, "m.room.message", edit(&said, "better")).await?;
            it.friend.send(&room, "m.reaction", json!({ "m.relates_to": reaction })).await?;
            it.friend.send(&room, "m.room.message", thread).await?;
            it.friend.send(&room, "org.matrix.msc3381.poll.response", poll).await?;
            let edited = it.owner.say(&room, "first").await?;
            let second = it.owner.send(&room, "m.room.message", edit(&edited, "second")).await?;
            it.owner.send(&room, "m.room.message", edit(&second, "third")).await?;
            Ok(json!({ "room": room, "said": said, "edited": edited }))
        })
        .read(|it: Visit| async move {
            let (room, said) = (it.kept("room")?, it.kept("said")?);
            let related = async |to: &str, kind: &str| -> Result<Value> {
                let path = ["/_matrix/client/unstable", "rooms", &room, "relations", to, kind];
                Ok(list(&it.friend.get(&path).await?["chunk"]).iter().map(event).collect())
            };
            let mut shown = json!({});
            for kind in ["m.annotation", "m.replace", "m.thread", "m.reference"] {
                shown[kind] = related(&said, kind).await?;
            }
            // Before 1.49.0, and from 1.53.0 to 1.58.1 (#12633), an edit of it stands in its place.
            let is_due = it.from("1.50.0") && super::is_looked_for(&it, "1.53.0rc1", "1.54.0rc1", "1.59.0rc1");
            shown["edit that is edited"] = if is_due {
                related(&it.kept("edited")?, "m.replace").await?[0]["content"]["body"].clone()
            } else {
                json!("* second")
            };
            Ok(shown)
        })
}
