//! Public rooms in the directory.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("public rooms")
        .fills(&["room_stats_state", "room_stats_current", "user_stats_current"])
        .config(json!({
            "room_list_publication_rules": [{ "alias": "#open*", "action": "allow" }, { "action": "allow" }],
        }))
        .write(|it: Visit| async move {
            let name = format!("Restaurant{}xyz", it.mark);
            let options = json!({ "name": name, "topic": "at the end", "preset": "public_chat", "visibility": "public" });
            it.somebody("host").await?.room(options).await?;
            Ok(json!({ "name": name }))
        })
        .read(|it: Visit| async move {
            let name = it.kept("name")?;
            // Counted after the events are sent; of those the topic is the last.
            let counted = |seen: &Value| {
                let room = &seen["chunk"][0];
                room["num_joined_members"] == 1 && room["topic"].is_string()
            };
            let rooms = eventually(|| find(&it, &name), counted).await?;
            let known = ["name", "topic", "num_joined_members", "world_readable", "guest_can_join", "room_id"];
            let brief = |room: &Value| known.iter().map(|key| room[*key].clone()).collect::<Value>();
            let shown = |seen: &Value| list(&seen["chunk"]).iter().map(brief).collect::<Value>();
            let lower = find(&it, &name.to_lowercase()).await?;
            Ok(json!({
                "rooms": shown(&rooms),
                "the same in lower case": shown(&lower) == shown(&rooms),
                "members, once one has another name": members_renamed(&it).await?,
            }))
        })
}

async fn find(it: &Visit, term: &str) -> Result<Value> {
    it.friend.post(&["publicRooms"], json!({ "filter": { "generic_search_term": term } })).await
}

/// How many members a new room is said to have whose only one has taken another name. From 1.5.0 to 1.18.0 it is one
/// too many (#7977).
async fn members_renamed(it: &Visit) -> Result<Value> {
    if !it.from("1.5.0") || !super::is_looked_for(it, "1.5.0rc1", "1.6.0rc1", "1.19.0rc1") {
        return Ok(json!(1));
    }
    let (host, name) = (it.somebody("host").await?, it.live.unique("Canteen"));
    let room = host.room(json!({ "name": name, "preset": "public_chat", "visibility": "public" })).await?;
    let member = json!({ "membership": "join", "displayname": "Chef" });
    host.state(&room, "m.room.member", host.id(), member).await?;
    let mut seen = Value::Null;
    // Members are counted after topics are kept: what was before the first topic is counted before the second is there.
    for topic in ["open", "closed"] {
        host.state(&room, "m.room.topic", "", json!({ "topic": topic })).await?;
        seen = eventually(|| find(it, &name), |seen| seen["chunk"][0]["topic"] == topic).await?;
    }
    Ok(seen["chunk"][0]["num_joined_members"].clone())
}
