//! A room's topic is found as well as its name.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("topics")
        .since("1.60.0")
        .loses("DELETE FROM event_search")
        .write(|it: Visit| async move {
            let options = json!({ "name": "Voltmeter", "topic": "about galvanometer", "preset": "private_chat" });
            Ok(json!({ "room": it.owner.room(options).await? }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let find = async |term: &str| -> Result<Value> {
                let found = super::search::found(&it.owner, &room, term).await?;
                Ok(found.map_or(json!(400), |events| events.iter().map(|event| event["type"].clone()).collect()))
            };
            if !it.is_updated(Some("event_search")).await? {
                return Ok(json!({ "name": ["m.room.name"], "topic": ["m.room.topic"] }));
            }
            Ok(json!({ "name": find("voltmeter").await?, "topic": find("galvanometer").await? }))
        })
}
