//! Public rooms in the directory.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("public rooms")
        .fills(&["room_stats_state", "room_stats_current", "user_stats_current"])
        .config(json!({ "room_list_publication_rules": [{ "action": "allow" }] }))
        .write(|it: Visit| async move {
            let name = format!("Restaurant{}xyz", it.mark);
            let options = json!({ "name": name, "topic": "at the end", "preset": "public_chat", "visibility": "public" });
            it.somebody("host").await?.room(options).await?;
            Ok(json!({ "name": name }))
        })
        .read(|it: Visit| async move {
            let name = it.kept("name")?;
            let find = async |term: &str| it.friend.post(&["publicRooms"], json!({ "filter": { "generic_search_term": term } })).await;
            // Counted after the events are sent; of those the topic is the last.
            let counted = |seen: &Value| {
                let room = &seen["chunk"][0];
                room["num_joined_members"] == 1 && room["topic"].is_string()
            };
            let rooms = eventually(|| find(&name), counted).await?;
            let known = ["name", "topic", "num_joined_members", "world_readable", "guest_can_join", "room_id"];
            let brief = |room: &Value| known.iter().map(|key| room[*key].clone()).collect::<Value>();
            let shown = |seen: &Value| list(&seen["chunk"]).iter().map(brief).collect::<Value>();
            let lower = find(&name.to_lowercase()).await?;
            Ok(json!({ "rooms": shown(&rooms), "the same in lower case": shown(&lower) == shown(&rooms) }))
        })
}
