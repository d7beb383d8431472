//! What an operator's modules say goes: who logs in by their word, and what people may not do.

use super::{
    passwords::{login, try_to_log_in, try_to_log_in_by_address},
    prelude::*,
};

pub(super) fn part() -> Part {
    Part::new("modules")
        .is_checked_by_modules()
        // What a release does is looked at on the next one.
        .reads_since("0.34.0")
        .write(|it: Visit| async move {
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            Ok(json!({ "room": room, "waiting": [] }))
        })
        .read(|it: Visit| async move {
            let mut unheeded = log_in(&it).await?;
            unheeded.extend(are_told(&it).await?);
            unheeded.extend(do_what_they_may_not(&it).await?);
            unheeded.extend(do_what_they_may(&it).await?);
            Ok(json!(unheeded))
        })
        .loses(LOG_OUT)
}

/// Who has an account, who has none yet, and who gives an address: what of that does not go.
async fn log_in(it: &Visit) -> Result<Vec<&'static str>> {
    let word = &text(&it.live.deployment().config["password_providers"][0]["config"]["word"]);
    let person = it.somebody("worded").await?;
    let (newcomer, address) = (it.live.unique("newcomer"), format!("{}@example.test", it.live.unique("addressed")));
    let logins = [
        ("somebody logs in by the word", try_to_log_in(it, person.id(), word).await?),
        ("somebody new logs in by the word", try_to_log_in(it, &newcomer, word).await?),
        ("an address logs in by the word", try_to_log_in_by_address(it, &address, word).await?),
        ("a password goes on", try_to_log_in(it, person.id(), person.password()).await?),
    ];
    let mut unheeded = refused(logins);
    if try_to_log_in(it, person.id(), "another word").await?.status() != 403 {
        unheeded.push("another word does not");
    }
    Ok(unheeded)
}

/// Who is told when somebody logs out. From 1.46.0 on such modules as were there before are not (#11340, mended in 1.48.0), and
/// those that take their time are not waited for (#11786, mended in 1.51.0).
async fn are_told(it: &Visit) -> Result<Vec<&'static str>> {
    let person = it.somebody("departing").await?;
    let token = login(it, person.id(), person.password()).await?;
    it.owner.with_token(&token).post(&["logout"], json!({})).await?;
    let said = it.live.read("/data/told_of_logouts").await?;
    let is_told = |by: &str| text(&said).lines().any(|line| line == format!("{by} {}", person.id()));
    let mut unheeded = Vec::new();
    if super::is_looked_for(it, "1.46.0rc1", "1.47.0rc1", "1.48.0rc1") && !is_told("first") {
        unheeded.push("a module is told of a logout");
    }
    if it.from("1.46.0rc1") && super::is_looked_for(it, "1.46.0rc1", "1.47.0rc1", "1.51.0rc1") && !is_told("later") {
        unheeded.push("a module of the later interface is told of a logout");
    }
    Ok(unheeded)
}

/// What the modules forbid, and is done all the same.
async fn do_what_they_may_not(it: &Visit) -> Result<Vec<&'static str>> {
    let room = it.kept("room")?;
    let (aloof, homeless) = (it.somebody("aloof").await?, it.somebody("homeless").await?);
    let mut done = vec![("an unwanted message is refused", it.owner.client().say(&room, "unwanted").await?)];
    let invitation = Some(json!({ "user_id": aloof.id() }));
    done.push((
        "who is aloof is not invited",
        it.owner.answer(Method::POST, &["rooms", &room, "invite"], invitation).await?,
    ));
    done.push((
        "who is homeless makes no room",
        homeless.answer(Method::POST, &["createRoom"], Some(json!({}))).await?,
    ));
    let alias = format!("#{}:{}", it.live.unique("unwanted"), harness::SERVER_NAME);
    let named = Some(json!({ "room_id": room }));
    done.push((
        "an unwanted alias is refused",
        it.owner.answer(Method::PUT, &["directory", "room", &alias], named).await?,
    ));
    if it.from("1.2.0") {
        done.push(("a message against the rules is refused", it.owner.client().say(&room, "against the rules").await?));
    }
    // What was said of rooms was not heard before (#6781).
    if it.from("1.11.0rc1") {
        let options = Some(json!({ "topic": "against the rules" }));
        done.push((
            "a room against the rules is refused",
            it.owner.answer(Method::POST, &["createRoom"], options).await?,
        ));
    }
    let mut unheeded: Vec<_> =
        done.into_iter().filter(|(_, answer)| answer.status() != 403).map(|(what, _)| what).collect();
    let is_checked = it.from("1.29.0rc1");
    if is_checked && it.owner.client().upload("unwanted.txt", "text/plain", b"unwanted").await.is_ok() {
        unheeded.push("an unwanted file is refused");
    }
    Ok(unheeded)
}

/// What the modules permit or do by themselves, and does not come about.
async fn do_what_they_may(it: &Visit) -> Result<Vec<&'static str>> {
    let room = it.kept("room")?;
    let mut unheeded = Vec::new();
    // Refused from 1.142.0 to 1.153.0 where a module sees it first (#19634).
    if super::is_looked_for(it, "1.142.0rc1", "1.143.0rc1", "1.154.0rc1") {
        let mentions = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [it.friend.id()] } });
        let path = ["rooms", &room, "send", "m.room.message", &it.live.unique("txn")];
        unheeded.extend(refused([(
            "a message with a mention is sent",
            it.owner.answer(Method::PUT, &path, Some(mentions)).await?,
        )]));
    }
    if it.from("1.23.0rc1") {
        it.owner.say(&room, "otherwise").await?;
        let newest = it.owner.get(&["rooms", &room, "messages", "?dir=b&limit=1"]).await?;
        if newest["chunk"][0]["content"]["body"] != "replaced" {
            unheeded.push("a message is replaced");
        }
    }
    // From 1.122.0 to 1.124.0 they are all shown (#18135).
    if it.from("1.13.0rc1") && super::is_looked_for(it, "1.122.0rc1", "1.123.0rc1", "1.125.0rc1") {
        unheeded.extend(are_shown(it).await?);
    }
    Ok(unheeded)
}

/// Somebody is found whom the modules hide, or is not found whom they show.
async fn are_shown(it: &Visit) -> Result<Option<&'static str>> {
    let (hidden, shown) = (it.somebody("hidden").await?, it.somebody("shown").await?);
    let name = it.named("findable").replace('-', "");
    for (person, name) in [(&hidden, format!("Unwanted {name}")), (&shown, format!("Wanted {name}"))] {
        person.put(&["profile", person.id(), "displayname"], json!({ "displayname": name })).await?;
        person.room(json!({ "preset": "public_chat" })).await?;
    }
    let look = async || it.friend.post(&["user_directory", "search"], json!({ "search_term": name })).await;
    let seen = eventually(look, |seen| list(&seen["results"]).iter().any(|one| one["user_id"] == shown.id())).await?;
    let found: Vec<_> = list(&seen["results"]).iter().map(|one| text(&one["user_id"])).collect();
    Ok((found != [shown.id()]).then_some("who is unwanted is not found, and who is wanted is"))
}

/// What was refused of this.
fn refused<const N: usize>(done: [(&'static str, harness::Answer); N]) -> Vec<&'static str> {
    done.into_iter().filter(|(_, answer)| answer.status() != 200).map(|(what, _)| what).collect()
}
