//! A room of which the database does not say which version it is, as releases up to 1.11 have left some: its members use
//! the rest of what they have.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("room of unknown version")
        // Older ones get stuck in the updates that look at every room.
        .since("1.130.0")
        .write(|it: Visit| async move {
            let person = it.somebody("member").await?;
            let unknown = person.room(json!({ "preset": "private_chat" })).await?;
            let known = person.room(json!({ "preset": "private_chat" })).await?;
            // What is still to look at every room would end here, and with it every update after it.
            if it.is_updated(None).await? {
                it.live.execute(&format!("UPDATE rooms SET room_version = NULL WHERE room_id = '{unknown}'")).await?;
            }
            Ok(json!({ "token": person.token(), "known": known }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let rooms = person.get(&["joined_rooms"]).await?;
            let filter = json!({ "presence": { "limit": 0 } });
            let synced = person.sync(None, filter).await?;
            let shown = synced["rooms"]["join"].get(it.kept("known")?).is_some();
            Ok(json!({
                "rooms": list(&rooms["joined_rooms"]).len(), "the other room is synchronised": shown,
                "and slid to, again and again": is_slid_to(&it, &person).await?,
            }))
        })
        .loses("DELETE FROM local_current_membership")
}

/// Is the other room given by sliding sync, and is the client answered that goes on from there (#17733)?
async fn is_slid_to(it: &Visit, person: &Person) -> Result<bool> {
    let connection = it.live.unique("unknown");
    let slide = async |query: &str| {
        let all = json!({ "ranges": [[0, 20]], "timeline_limit": 1, "required_state": [] });
        let path = ["/_matrix/client/unstable/org.matrix.simplified_msc3575", "sync", query];
        person.post(&path, json!({ "conn_id": connection, "lists": { "all": all } })).await
    };
    let first = slide("?timeout=0").await?;
    slide(&format!("?timeout=0&pos={}", harness::escape(&text(&first["pos"])))).await?;
    Ok(first["rooms"].get(it.kept("known")?).is_some())
}
