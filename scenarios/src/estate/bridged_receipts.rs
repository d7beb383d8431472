//! An application service that is told what people read where its own are.

use super::{
    bridged::{READER, beside_a_bridge, ghost, join},
    prelude::*,
};

pub(super) fn part() -> Part {
    beside_a_bridge(Part::new("receipts for an application service"))
        // Older ones may take it for one that has nobody in a room (#14670).
        .since("1.74.0")
        .write(|it: Visit| async move {
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            Ok(json!({ "ghost": ghost(&it, READER, "listener", &room).await? }))
        })
        .read(|it: Visit| async move { Ok(json!({ "is told": is_told(&it).await? })) })
        .loses("DELETE FROM users WHERE name LIKE '@_reader%'")
}

/// Is it told of receipts in a room that one of its people came into only now? Not on 1.156.0 (#19928).
async fn is_told(it: &Visit) -> Result<bool> {
    let person = it.somebody("reading").await?;
    let room = person.room(json!({ "preset": "public_chat" })).await?;
    join(it, READER, &it.kept("ghost")?, &room).await?;
    let is_due = super::is_looked_for(it, "1.156.0rc1", "1.157.0rc1", "1.157.0rc1");
    if !is_due || *it.live.release() == it.written_on {
        return Ok(true);
    }
    // After a restart on SQLite receipts may get numbers of which it has been told: so there is always one more.
    let told = async || -> Result<bool> {
        let said = person.say(&room, "to be read").await?;
        person.post(&["rooms", &room, "receipt", "m.read", &said], json!({})).await?;
        let transactions = it.live.recorder(READER).transactions().await?;
        let keys = ["ephemeral", "de.sorunome.msc2409.ephemeral"];
        let mut told = transactions.iter().flat_map(|one| keys.into_iter().flat_map(|key| list(&one["json"][key])));
        Ok(told.any(|event| event["type"] == "m.receipt" && event["room_id"] == room.as_str()))
    };
    eventually(told, |told| *told).await
}
