//! A room of another homeserver's, with somebody of theirs in it: both go on hearing each other, and each sees what is the
//! other's.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("people of another homeserver")
        .federates()
        .fills(&["destinations", "server_keys_json", "remote_media_cache"])
        .write(|it: Visit| async move {
            let bob = it.stranger("bob").await?;
            bob.put(&["profile", bob.id(), "displayname"], json!({ "displayname": "Bob ✓" })).await?;
            let name = it.named("theirs");
            let options = json!({ "preset": "public_chat", "room_alias_name": name, "name": "Theirs" });
            let room = bob.room(options).await?;
            bob.say(&room, "before").await?;
            let picture = bob.client().upload("theirs.txt", "text/plain", b"theirs").await?;
            let alias = format!("#{name}:peer.test");
            it.owner.post(&["join", &alias], json!({})).await?;
            for (person, words) in [(&bob, "from there"), (&it.owner, "from here")] {
                person.say(&room, words).await?;
            }
            let direct = bob.room(json!({ "preset": "private_chat", "is_direct": true, "invite": [it.owner.id()] })).await?;
            Ok(json!({ "room": room, "alias": alias, "bob": bob.id(), "picture": picture, "direct": direct }))
        })
        .read(|it: Visit| async move {
            let (room, bob, direct) = (it.kept("room")?, it.stranger("bob").await?, it.kept("direct")?);
            let [here, there] = [(&it.owner, &bob), (&bob, &it.owner)].map(|(speaker, hearer)| {
                let room = &room;
                async move {
                    let said = speaker.say(room, "all the same").await?;
                    let path = ["rooms", room, "event", &said];
                    let heard = async || Ok(json!(hearer.answer(Method::GET, &path, None).await?.status()));
                    eventually(heard, |status| *status == 200).await
                }
            });
            let (here, there) = (here.await?, there.await?);
            let words = ["before", "from there", "from here"];
            let timeline = async || {
                let seen = it.owner.get(&["rooms", &room, "messages", "?dir=b&limit=100"]).await?;
                let said = list(&seen["chunk"]).iter().map(|event| event["content"]["body"].clone());
                let mut said: Vec<Value> = said.filter(|said| words.iter().any(|word| said == word)).collect();
                said.reverse();
                Ok(json!(said))
            };
            let picture = super::media::path(&it, "download", &it.kept("picture")?);
            let picture: Vec<&str> = picture.iter().map(String::as_str).collect();
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [direct] } });
            let invited = async || Ok(json!(it.owner.sync(None, filter.clone()).await?["rooms"]["invite"].get(&direct).is_some()));
            Ok(json!({
                "heard there": here,
                "heard here": there,
                "said": eventually(timeline, |said| list(said).len() == words.len()).await?,
                "name": it.owner.get(&["rooms", &room, "state", "m.room.name"]).await?,
                "members": typed(&it.owner.get(&["rooms", &room, "members"]).await?["chunk"], &[]),
                "alias": it.owner.get(&["directory", "room", &it.kept("alias")?]).await?["room_id"],
                "profile": it.owner.get(&["profile", bob.id(), "displayname"]).await?,
                "picture": it.owner.answer(Method::GET, &picture, None).await?.text(),
                "invited": eventually(invited, |there| *there == true).await?,
            }))
        })
        .loses("DELETE FROM current_state_events")
}
