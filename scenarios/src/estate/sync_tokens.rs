//! Tokens of one release go on in the next: nothing is left out, nothing comes twice.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("sync tokens")
        .fills(&["stream_ordering_to_exterm"])
        .loses("DELETE FROM event_json")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "name": "Goes on", "preset": "private_chat" })).await?;
            for number in 0..3 {
                it.owner.say(&room, &format!("before {number}")).await?;
            }
            let token = text(&it.friend.sync(None, filter(&room)).await?["next_batch"]);
            for number in 0..3 {
                it.owner.say(&room, &format!("after {number}")).await?;
            }
            it.owner.state(&room, "m.room.topic", "", json!({ "topic": "what comes next" })).await?;
            Ok(json!({ "room": room, "token": token }))
        })
        .read(|it: Visit| async move {
            let (room, token) = (it.kept("room")?, kept_token(&it).await?);
            let seen = it.friend.sync(Some(&token), filter(&room)).await?;
            let page = async |direction: &str| -> Result<Value> {
                let query = format!("?dir={direction}&limit=4&from={token}");
                Ok(list(&it.friend.get(&["rooms", &room, "messages", &query]).await?["chunk"]).iter().map(event).collect())
            };
            let joined = &seen["rooms"]["join"][&room];
            Ok(json!({
                "since": list(&joined["timeline"]["events"]).iter().map(event).collect::<Value>(),
                "state since": typed(&joined["state"]["events"], &[]),
                "has a gap": joined["timeline"]["limited"],
                "back": page("b").await?,
                "on": page("f").await?,
            }))
        })
}

/// The `token` that was given. After a rollback it may have more to it than the release knows: then it is only the place among
/// the events, as no release takes what it does not know.
pub(super) async fn kept_token(it: &Visit) -> Result<String> {
    let token = it.kept("token")?;
    if it.goes_on() {
        return Ok(token);
    }
    let own = it.friend.sync(None, json!({ "room": { "rooms": [] }, "presence": { "limit": 0 } })).await?;
    let is_known = knows(&text(&own["next_batch"]), &token);
    Ok(if is_known { token } else { token.split('_').next().unwrap_or_default().to_owned() })
}

/// Has a release that gives `own` tokens all the streams that another's names?
pub(super) fn knows(own: &str, other: &str) -> bool {
    own.matches('_').count() >= other.matches('_').count()
}

fn filter(room: &str) -> Value {
    json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 50 } } })
}
