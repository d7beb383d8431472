//! Receipts: public and private ones, and the marker of what was fully read.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("receipts")
        .fills(&["receipts_linearized", "receipts_graph"])
        .rides_along()
        .write(|it: Visit| async move {
            // Before 1.16.0 a receipt is answered with 500 while something is being said in its room (#7708): nobody else
            // speaks in this one.
            let quiet = json!({ "name": "Quiet", "preset": "private_chat" });
            let room = if it.from("1.16.0") { it.room.clone() } else { it.shared(quiet).await? };
            let said = it.owner.say(&room, "read this").await?;
            it.friend.post(&["rooms", &room, "receipt", "m.read", &said], json!({})).await?;
            it.friend.post(&["rooms", &room, "read_markers"], json!({ "m.fully_read": said })).await?;
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            // Of all rooms: before 1.140.0 none comes to who asks for those of one (#19002).
            let few = json!({ "timeline": { "limit": 0 }, "state": { "types": ["test.none"] } });
            let filter = json!({ "presence": { "limit": 0 }, "room": few });
            let of_the_friend = async || {
                let seen = it.owner.sync(None, filter.clone()).await?;
                let events = &seen["rooms"]["join"][&room]["ephemeral"]["events"];
                let mut read = Value::Null;
                for receipt in list(events).iter().filter(|event| event["type"] == "m.receipt") {
                    for (event, kinds) in receipt["content"].as_object().into_iter().flatten() {
                        if kinds["m.read"].get(it.friend.id()).is_some() {
                            read = json!(event);
                        }
                    }
                }
                Ok(read)
            };
            // One that was just taken may not come with a first synchronisation.
            let read = eventually(of_the_friend, |read| !read.is_null()).await?;
            let seen = it.friend.sync(None, filter).await?;
            let own = typed(&seen["rooms"]["join"][&room]["account_data"]["events"], &[]);
            Ok(json!({ "of the friend": read, "fully read": own["m.fully_read"] }))
        })
}
