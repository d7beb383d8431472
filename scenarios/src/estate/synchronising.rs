//! A client that has had all there was goes on: with the token of its last synchronisation, on whatever release. What is
//! new comes, and then nothing does until there is something.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("synchronising")
        // After a restart on SQLite, older ones may give the same account data again and again (upstream: PR 16540).
        .since("1.100.0")
        .loses(LOG_OUT)
        .write(|it: Visit| async move {
            // Nobody else has to do with them, so that nothing comes that is not this part's.
            let (person, speaker) = (it.somebody("up-to-date").await?, it.somebody("speaking").await?);
            let room = speaker.room(json!({ "preset": "private_chat", "invite": [person.id()] })).await?;
            person.join(&room).await?;
            let said = speaker.say(&room, "before").await?;
            person.post(&["rooms", &room, "receipt", "m.read", &said], json!({})).await?;
            person.put(&["user", person.id(), "account_data", "test.kept"], json!({ "of": "this release" })).await?;
            Ok(json!({ "room": room, "id": person.id(), "person": person.token(), "speaker": speaker.token() }))
        })
        .read(|it: Visit| async move {
            let (room, id) = (it.kept("room")?, it.kept("id")?);
            let person = it.owner.with_token(&it.kept("person")?);
            let speaker = it.owner.with_token(&it.kept("speaker")?);
            // Where the last reading ended. An older release may not know the form of a newer one's token.
            let (token, release) = (format!("since of {id}"), format!("release of {id}"));
            let is_known = it.live.recall(&release).is_ok_and(|release| it.from(&release));
            let since = it.live.recall(&token).ok().filter(|_| is_known);
            let said = speaker.say(&room, "what is new").await?;
            let comes = |seen: &Value| {
                let events = &seen["rooms"]["join"][&room]["timeline"]["events"];
                list(events).iter().any(|event| event["event_id"] == *said)
            };
            let seen = eventually(|| person.sync(since.as_deref(), filter(&room)), comes).await?;
            let mut since = text(&seen["next_batch"]);
            let mut rests = false;
            // A worker may hear of the one thing a little later than of the other.
            for _ in 0..5 {
                let then = person.sync(Some(&since), filter(&room)).await?;
                since = text(&then["next_batch"]);
                rests = rests || is_empty(&then);
            }
            // A message to the device, which is deleted when the client comes with the token that it got with it.
            let message = json!({ "messages": { &id: { "*": { "for": "the device" } } } });
            speaker.put(&["sendToDevice", "test.kept", &it.live.unique("txn")], message).await?;
            let has = |seen: &Value| {
                list(&seen["to_device"]["events"]).iter().any(|event| event["type"] == "test.kept")
            };
            // From the beginning: a restart of older releases on SQLite gives messages numbers from before the token.
            let given = eventually(|| person.sync(None, filter(&room)), has).await?;
            let then = person.sync(Some(&text(&given["next_batch"])), filter(&room)).await?;
            it.live.remember(&token, &text(&then["next_batch"]));
            it.live.remember(&release, &it.live.release().to_string());
            Ok(json!({
                "what is new comes": comes(&seen), "rests": rests, "message": has(&given), "message again": has(&then),
            }))
        })
}

fn filter(room: &str) -> Value {
    json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 20 } } })
}

fn is_empty(seen: &Value) -> bool {
    let rooms = ["join", "invite", "leave", "knock"].iter().map(|kind| &seen["rooms"][kind]);
    let none = rooms.into_iter().all(|rooms| rooms.as_object().is_none_or(serde_json::Map::is_empty));
    let lists = [&seen["account_data"]["events"], &seen["to_device"]["events"], &seen["device_lists"]["changed"]];
    none && lists.into_iter().all(|events| list(events).is_empty())
}
