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
            Ok(json!({
                "fox": find("fox").await?,
                "dög": find("dög").await?,
                "Archive": find("Archive").await?.as_array().map(Vec::len),
                "what each room keeps": kept_by_each(&it).await?,
            }))
        })
}

/// Where messages are deleted: is of two rooms what the one keeps found, and not what the other does not? From 1.63.0 to
/// 1.109.0 both are held to what one of them says (#17272).
async fn kept_by_each(it: &Visit) -> Result<[bool; 2]> {
    let deletes = json!(it.live.deployment().config)["retention"]["enabled"] == true;
    if !deletes || !super::is_looked_for(it, "1.63.0rc1", "1.64.0rc1", "1.110.0rc1") {
        return Ok([true, false]);
    }
    let (word, mut rooms) = (it.live.unique("kept"), Vec::new());
    for lifetime in [None, Some(1)] {
        let room = it.owner.room(json!({ "preset": "private_chat" })).await?;
        if let Some(lifetime) = lifetime {
            it.owner.state(&room, "m.room.retention", "", json!({ "max_lifetime": lifetime })).await?;
        }
        it.owner.say(&room, &word).await?;
        rooms.push(room);
    }
    let criteria = json!({ "search_term": word, "order_by": "recent" });
    let body = json!({ "search_categories": { "room_events": criteria } });
    let seen = it.owner.post(&["search"], body).await?;
    let results = list(&seen["search_categories"]["room_events"]["results"]);
    Ok([0, 1].map(|at| results.iter().any(|result| result["result"]["room_id"] == json!(rooms[at]))))
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
