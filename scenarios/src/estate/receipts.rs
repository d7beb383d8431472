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
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 0 } } });
            let seen = it.owner.sync(None, filter.clone()).await?;
            let mut receipts = json!({});
            let events = &seen["rooms"]["join"][&room]["ephemeral"]["events"];
            for receipt in list(events).iter().filter(|event| event["type"] == "m.receipt") {
                for (event, kinds) in receipt["content"].as_object().into_iter().flatten() {
                    for user in kinds["m.read"].as_object().into_iter().flat_map(serde_json::Map::keys) {
                        receipts[user] = json!(event);
                    }
                }
            }
            let seen = it.friend.sync(None, filter).await?;
            let own = typed(&seen["rooms"]["join"][&room]["account_data"]["events"], &[]);
            Ok(json!({ "of the friend": receipts[it.friend.id()], "fully read": own["m.fully_read"] }))
        })
}
