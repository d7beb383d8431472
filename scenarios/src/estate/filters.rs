//! Several filters of one user, and one that leaves out most of an event, in use.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("filters")
        .fills(&["user_filters"])
        .write(|it: Visit| async move {
            let mut ids = Vec::new();
            for number in 0..3 {
                let filter = json!({ "room": { "timeline": { "limit": 5 + number, "types": [it.named("test")] } } });
                ids.push(text(&it.owner.post(&["user", it.owner.id(), "filter"], filter).await?["filter_id"]));
            }
            // From 1.51.0 to 1.54.0 it is of no use (#12234): what is written there has nothing to be compared with.
            if it.from("1.51.0rc1") && !it.from("1.55.0rc1") {
                return Ok(json!({ "ids": ids }));
            }
            let room = it.shared(json!({ "preset": "private_chat" })).await?;
            let said = it.owner.say(&room, "liked").await?;
            let relation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": "👍" } });
            it.friend.send(&room, "m.reaction", relation).await?;
            // Few, so that there is more than the client has: only then is it told what belongs together.
            let timeline = json!({ "rooms": [room], "timeline": { "limit": 2 } });
            let filter = json!({ "event_fields": ["type", "content.body"], "presence": { "limit": 0 }, "room": timeline });
            let brief = it.owner.post(&["user", it.owner.id(), "filter"], filter).await?;
            Ok(json!({ "ids": ids, "room": room, "brief": brief["filter_id"] }))
        })
        .read(|it: Visit| async move {
            let mut filters = Vec::new();
            for id in list(&it.kept["ids"]) {
                filters.push(it.owner.get(&["user", it.owner.id(), "filter", &text(id)]).await?);
            }
            Ok(json!({ "kept": filters, "in use": in_use(&it).await? }))
        })
}

/// What somebody is told who synchronises by their filter, or how they are refused.
async fn in_use(it: &Visit) -> Result<Value> {
    let Ok(room) = it.kept("room") else { return Ok(Value::Null) };
    let query = format!("?timeout=0&filter={}", it.kept("brief")?);
    let answer = it.owner.answer(Method::GET, &["sync", &query], None).await?;
    if answer.status() != 200 {
        return Ok(json!(answer.status()));
    }
    let told = &answer.json()?["rooms"]["join"][&room]["timeline"]["events"];
    Ok(list(told).iter().map(|event| json!([event["type"], event["content"]["body"]])).collect())
}
