//! Members of a room: joined, invited, left, kicked, banned.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("members")
        .fills(&["room_memberships", "local_current_membership"])
        .write(|it: Visit| async move {
            let room = it.owner.room(json!({ "name": "Members", "preset": "public_chat" })).await?;
            let there = |seen: &Value| seen["rooms"]["join"][&room].is_object();
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 1 } } });
            let alone = text(&eventually(|| it.owner.sync(None, filter.clone()), there).await?["next_batch"]);
            it.friend.join(&room).await?;
            let (guest, gone) = (it.somebody("invited").await?, it.somebody("leaver").await?);
            let (kicked, banned) = (it.somebody("kicked").await?, it.somebody("banned").await?);
            for person in [&gone, &kicked, &banned] {
                person.join(&room).await?;
            }
            it.owner.post(&["rooms", &room, "invite"], json!({ "user_id": guest.id() })).await?;
            gone.post(&["rooms", &room, "leave"], json!({})).await?;
            let reason = |person: &str| json!({ "user_id": person, "reason": "for a reason" });
            it.owner.post(&["rooms", &room, "kick"], reason(kicked.id())).await?;
            it.owner.post(&["rooms", &room, "ban"], reason(banned.id())).await?;
            // A newer release's token has more to it than the place among the events, which an older one does not take.
            let alone = alone.split('_').next().filter(|_| it.from("1.60.0"));
            Ok(json!({
                "room": room, "invited": guest.token(), "left": gone.token(), "banned": banned.token(), "owner alone": alone,
            }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            let members = it.friend.get(&["rooms", &room, "members"]).await?;
            let joined = it.friend.get(&["rooms", &room, "joined_members"]).await?;
            let view = async |who: &str| -> Result<Value> {
                let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": 1 } } });
                let seen = it.owner.with_token(&it.kept(who)?).sync(None, filter).await?;
                let rooms = |membership: &str| -> Value {
                    seen["rooms"][membership].as_object().into_iter().flat_map(|rooms| rooms.keys().cloned()).collect()
                };
                let invitation = &seen["rooms"]["invite"][&room]["invite_state"]["events"];
                Ok(json!({
                    "join": rooms("join"), "invite": rooms("invite"), "leave": rooms("leave"),
                    // What belongs to an invitation grew from release to release.
                    "invitation": typed(invitation, &[])["m.room.name"],
                }))
            };
            let was_alone = async |as_seen_by: &Person| -> Result<Value> {
                let Some(then) = it.kept["owner alone"].as_str() else { return Ok(Value::Null) };
                let path = ["rooms", &room, "members", &format!("?at={then}")];
                let answer = as_seen_by.answer(Method::GET, &path, None).await?;
                let members = if answer.status() == 200 { answer.json()?["chunk"].clone() } else { Value::Null };
                Ok(json!(list(&members).iter().map(|member| &member["state_key"]).eq([it.owner.id()])))
            };
            Ok(json!({
                "the owner alone at first": was_alone(&it.owner).await?,
                "to who joined later": was_alone(&it.friend).await?,
                "all": super::rooms::by_key(&members["chunk"]),
                "joined": joined["joined"].as_object().map(|joined| joined.keys().cloned().collect::<std::collections::BTreeSet<_>>()),
                "as the invited": view("invited").await?,
                "as who left": view("left").await?,
                "as the banned": view("banned").await?,
            }))
        })
}
