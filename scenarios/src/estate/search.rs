//! Search in what was said.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("search")
        .fills(&["event_search"])
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Archive", "preset": "private_chat" })).await?;
            for words in ["the quick brown fox", "a lazy dög", "another fox"] {
                it.owner.say(&room, words).await?;
            }
            Ok(json!({ "room": room }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let find = async |term: &str| -> Result<Value> {
                Ok(found(&it.friend, &room, term).await?.map_or(json!(400), |events| events.iter().map(event).collect()))
            };
            Ok(json!({ "fox": find("fox").await?, "dög": find("dög").await?, "Archive": find("Archive").await?.as_array().map(Vec::len) }))
        })
}

/// What somebody finds in a room, the last first; nothing where they may not search, as on some servers.
pub(super) async fn found(who: &Person, room: &str, term: &str) -> Result<Option<Vec<Value>>> {
    let criteria = json!({ "search_term": term, "filter": { "rooms": [room] }, "order_by": "recent" });
    let body = json!({ "search_categories": { "room_events": criteria } });
    let answer = who.answer(Method::POST, &["search"], Some(body)).await?;
    if answer.status() == 400 {
        return Ok(None);
    }
    let results = &answer.ok()?.json()?["search_categories"]["room_events"]["results"];
    Ok(Some(list(results).iter().map(|result| result["result"].clone()).collect()))
}
