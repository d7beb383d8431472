//! Threads of a room: their list, and what is unread in each.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("threads")
        .fills(&["threads"])
        .since("1.77.0")
        .write(|it: Visit| async move {
            let person = it.somebody("threader").await?;
            let room =
                it.owner.room(json!({ "name": "Threads", "preset": "private_chat", "invite": [person.id()] })).await?;
            person.join(&room).await?;
            let mut roots = Vec::new();
            for number in 0..2 {
                let head = person.say(&room, &format!("root {number}")).await?;
                for answer in 0..2 {
                    let relation = json!({ "rel_type": "m.thread", "event_id": head });
                    // Of a thread that nobody has subscribed to, only who is named hears where there are subscriptions.
                    let mut content = it.naming(&person, &format!("answer {answer}"));
                    content["m.relates_to"] = relation;
                    it.owner.send(&room, "m.room.message", content).await?;
                }
                roots.push(head);
            }
            let last = list(&it.owner.get(&["rooms", &room, "messages", "?dir=b&limit=1"]).await?["chunk"])[0].clone();
            let read = json!({ "thread_id": roots[1] });
            person.post(&["rooms", &room, "receipt", "m.read", &text(&last["event_id"])], read).await?;
            Ok(json!({ "room": room, "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let (person, room) = (it.owner.with_token(&it.kept("token")?), it.kept("room")?);
            let threads = person.get(&["/_matrix/client/v1", "rooms", &room, "threads"]).await?;
            let look = async || {
                let timeline = json!({ "limit": 1, "unread_thread_notifications": true });
                let seen = person.sync(None, json!({ "room": { "rooms": [room], "timeline": timeline } })).await?;
                Ok(seen["rooms"]["join"][&room]["unread_thread_notifications"].clone())
            };
            // What is said is counted a little later.
            let is_counted = |counts: &Value| {
                let threads: Vec<_> = counts.as_object().into_iter().flat_map(|threads| threads.values()).collect();
                matches!(threads[..], [thread] if thread["notification_count"] == 2)
            };
            let unread = eventually(look, is_counted).await?;
            let answers = |root: &Value| {
                let thread = &root["unsigned"]["m.relations"]["m.thread"];
                json!([thread["count"], thread["latest_event"]["event_id"]])
            };
            Ok(json!({
                "threads": list(&threads["chunk"]).iter().map(event).collect::<Value>(),
                "answers": list(&threads["chunk"]).iter().map(answers).collect::<Value>(),
                "unread": unread,
            }))
        })
}
