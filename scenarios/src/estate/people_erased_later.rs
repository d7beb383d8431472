//! Somebody who leaves the homeserver on a later release and wants to be forgotten: they are gone, and what they said is
//! known only to those who heard it. Until an admin takes them back.

use super::{prelude::*, pushers::pusher};

pub(super) fn part() -> Part {
    Part::new("people erased later")
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let person = it.somebody("forgettable").await?;
            person.put(&["profile", person.id(), "displayname"], json!({ "displayname": "Forgettable" })).await?;
            // Of a kind that has no thumbnails, which cannot be made everywhere.
            let picture = person.client().upload("face.svg", "image/svg+xml", b"<svg/>").await?;
            // Not everywhere may everybody show one.
            let path = ["profile", person.id(), "avatar_url"];
            person.answer(Method::PUT, &path, Some(json!({ "avatar_url": picture }))).await?;
            let data = json!({ "url": "http://push.test/_matrix/push/v1/notify" });
            person.post(&["pushers", "set"], pusher("test.app", &it.named("forgettable"), &data)).await?;
            let room = it.shared(json!({ "preset": "public_chat" })).await?;
            person.join(&room).await?;
            let said = person.say(&room, "forget me").await?;
            // Nor has everybody a profile.
            let id = it.somebody("nameless").await?.id().to_owned();
            let profile = format!("DELETE FROM profiles WHERE '@' || user_id || ':{}' = '{id}'", harness::SERVER_NAME);
            it.live.execute(&profile).await?;
            // Nor is everybody in a room.
            let alone = it.somebody("unlisted").await?;
            alone.put(&["profile", alone.id(), "displayname"], json!({ "displayname": "Unlisted" })).await?;
            let waiting = json!([403, null, [], false, "forget me", null, [200, NAME], true, true]);
            Ok(json!({ "room": room, "said": said, "waiting": waiting }))
        })
        .read(|it: Visit| async move {
            let (room, said) = (it.kept("room")?, it.kept("said")?);
            let person = it.somebody("forgettable").await?;
            if person.answer(Method::GET, &["account", "whoami"], None).await?.status() == 401 {
                return Ok(json!([]));
            }
            erase(&person).await?;
            // They leave their rooms a little later.
            let joined = async || Ok(it.owner.get(&["rooms", &room, "joined_members"]).await?["joined"].clone());
            let joined = eventually(joined, |joined| joined.get(person.id()).is_none()).await?;
            let newcomer = it.somebody("latecomer").await?;
            newcomer.join(&room).await?;
            let heard = async |who: &Person| -> Result<Value> {
                let pages = who.get(&["rooms", &room, "messages", "?dir=b&limit=50"]).await?;
                let event = list(&pages["chunk"]).iter().find(|event| event["event_id"] == json!(said));
                Ok(event.map_or(json!("nothing"), |event| event["content"]["body"].clone()))
            };
            let name = if it.from("1.26.0") {
                it.friend.answer(Method::GET, &["profile", person.id()], None).await?.json()?["displayname"].clone()
            } else {
                // It stayed.
                Value::Null
            };
            let pushers = format!("SELECT app_id FROM pushers WHERE user_name = '{}'", person.id());
            Ok(json!([
                super::passwords::try_to_log_in(&it, person.id(), person.password()).await?.status(),
                name,
                it.live.sql(&pushers).await?,
                joined.get(person.id()).is_some(),
                heard(&it.friend).await?,
                heard(&newcomer).await?,
                taken_back(&it, &person).await?,
                nameless_are_erased(&it).await?,
                erased_are_not_listed(&it).await?,
            ]))
        })
        .loses(LOG_OUT)
}

/// Somebody leaves, and wants to be forgotten.
async fn erase(person: &Person) -> Result<Value> {
    person.post_as_oneself(&["account", "deactivate"], json!({ "erase": true })).await
}

/// Can somebody be erased who has no profile? Not from 1.26.0 to 1.37.1 (#10252).
async fn nameless_are_erased(it: &Visit) -> Result<bool> {
    if !super::is_looked_for(it, "1.26.0rc1", "1.27.0rc1", "1.38.0rc1") {
        return Ok(true);
    }
    let person = it.somebody("nameless").await?;
    Ok(erase(&person).await.is_ok())
}

/// Is nothing of somebody in the directory who is erased? From 1.26.0 to 1.149.1 there is, of who is in no room (#19542).
async fn erased_are_not_listed(it: &Visit) -> Result<bool> {
    if !super::is_looked_for(it, "1.26.0rc1", "1.27.0rc1", "1.150.0rc1") {
        return Ok(true);
    }
    let person = it.somebody("unlisted").await?;
    erase(&person).await?;
    let listed = format!("SELECT user_id FROM user_directory WHERE user_id = '{}'", person.id());
    eventually(async || Ok(it.live.sql(&listed).await?.is_empty()), |is_gone| *is_gone).await
}

/// Who is taken back takes another name.
const NAME: &str = "Remembered";

/// How it goes when an admin takes them back: they log in, and have a name.
async fn taken_back(it: &Visit, person: &Person) -> Result<Value> {
    // It can be done since 1.18.0. From 1.19.0 to 1.20.1 it fails for who was erased (#8362), and from 1.150.0 to 1.156.0 they
    // cannot have a name (#19902): looked for on the first or the last of these releases, or every walk that ends on one of
    // them would show it.
    let is_looked_for = it.from("1.21.0rc1")
        && !it.from("1.151.0rc1")
        // What is older comes to 1.150.0 for what it has mended.
        && (!it.from("1.150.0rc1") || it.written_from("1.149.0rc1"))
        || it.from("1.156.0rc1")
        || it.from("1.19.0rc1") && !it.from("1.19.1");
    // Since 1.157.0 it fails as long as an index of profiles is to be made. Every database that begins undrained there would
    // show it: it is looked for where one from before that index is upgraded.
    let is_stuck = it.from("1.157.0rc1")
        && it.written_from("1.83.0rc1")
        && !it.is_updated(Some("profiles_full_user_id_key_idx")).await?;
    if !is_looked_for || is_stuck {
        return Ok(json!([200, NAME]));
    }
    let account = ["/_synapse/admin/v2", "users", person.id()];
    let active = json!({ "deactivated": false, "password": person.password() });
    let back = it.admin().await?.answer(Method::PUT, &account, Some(active)).await?;
    if back.status() != 200 {
        return Ok(json!([back.status(), null]));
    }
    let login = super::passwords::try_to_log_in(it, person.id(), person.password()).await?;
    let Ok(token) = login.field("access_token") else { return Ok(json!([login.status(), null])) };
    let again = it.owner.with_token(&token);
    let path = ["profile", person.id(), "displayname"];
    let named = again.answer(Method::PUT, &path, Some(json!({ "displayname": NAME }))).await?.status();
    let profile = it.friend.answer(Method::GET, &path[..2], None).await?.json()?;
    Ok(json!([named, profile["displayname"]]))
}
