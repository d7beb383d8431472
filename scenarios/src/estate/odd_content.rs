//! Events, account data and settings whose content is not what their type asks for, where the server takes them: they stay
//! as they are, and the room stays usable.

use std::collections::BTreeSet;

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("odd content")
        // Before, much of it was answered by an error of the server's, or kept its statistics from being counted.
        .since("1.24.0")
        .write(|it: Visit| async move {
            let room = it.shared(json!({ "preset": "public_chat", "visibility": "public" })).await?;
            let mut taken = Vec::new();
            for (kind, content) in odd_state() {
                let path = ["rooms", &room, "state", kind];
                taken.push(event_of(&it.owner.answer(Method::PUT, &path, Some(content)).await?)?);
            }
            for (kind, content) in odd_messages() {
                let path = ["rooms", &room, "send", kind, &it.live.unique("txn")];
                taken.push(event_of(&it.friend.answer(Method::PUT, &path, Some(content)).await?)?);
            }
            let person = it.somebody("odd").await?;
            person.join(&room).await?;
            let mut names = vec![(&it.friend, Value::Null)];
            // On PostgreSQL older ones fail, or look for people no more; 1.62.0 cannot be rolled back to these.
            if it.from("1.62.0") {
                names.push((&person, json!("Od\0d")));
            }
            for (member, name) in names {
                let content = json!({ "membership": "join", "displayname": name, "avatar_url": null });
                let path = ["rooms", &room, "state", "m.room.member", member.id()];
                taken.push(event_of(&member.answer(Method::PUT, &path, Some(content)).await?)?);
            }
            for (kind, content) in odd_account_data() {
                person.put(&["user", person.id(), "account_data", kind], content.clone()).await?;
                person.put(&["user", person.id(), "rooms", &room, "account_data", kind], content).await?;
            }
            person.put(&["user", person.id(), "rooms", &room, "tags", "u.odd"], json!({ "order": "first" })).await?;
            let events: Value = taken.into_iter().flatten().collect();
            Ok(json!({ "room": room, "events": events, "token": person.token(), "user": person.id() }))
        })
        .read(|it: Visit| async move {
            let (room, person) = (it.kept("room")?, it.owner.with_token(&it.kept("token")?));
            let mut events = Vec::new();
            for id in list(&it.kept["events"]) {
                let seen = it.owner.answer(Method::GET, &["rooms", &room, "event", &text(id)], None).await?;
                events.push(if seen.status() == 200 { event(&seen.json()?) } else { seen.brief() });
            }
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [room], "timeline": { "limit": 100 } } });
            let seen = person.sync(None, filter).await?;
            let own = &seen["rooms"]["join"][&room];
            let synced = [list(&own["state"]["events"]), list(&own["timeline"]["events"])].concat();
            let members = it.owner.get(&["rooms", &room, "joined_members"]).await?;
            let members: BTreeSet<&String> = members["joined"].as_object().into_iter().flat_map(|all| all.keys()).collect();
            let user = it.kept("user")?;
            let mut kept = serde_json::Map::new();
            for (kind, _) in odd_account_data() {
                let of_room = person.get(&["user", &user, "rooms", &room, "account_data", kind]).await?;
                let of_account = person.get(&["user", &user, "account_data", kind]).await?;
                kept.insert(kind.to_owned(), json!([of_account, of_room]));
            }
            let public = it.owner.get(&["directory", "list", "room", &room]).await?;
            Ok(json!({
                "events": events,
                "synchronised": synced.iter().filter(|one| list(&it.kept["events"]).contains(&one["event_id"])).count(),
                "members": members,
                "account data": kept,
                "tags": person.get(&["user", &user, "rooms", &room, "tags"]).await?,
                "visibility": public["visibility"],
                "can be spoken in": !it.friend.say(&room, "all the same").await?.is_empty(),
            }))
        })
        .loses("DELETE FROM current_state_events")
}

/// The id of an event that the server took.
fn event_of(answer: &harness::Answer) -> Result<Option<Value>> {
    Ok(if answer.status() == 200 { Some(json!(answer.field("event_id")?)) } else { None })
}

fn odd_state() -> Vec<(&'static str, Value)> {
    vec![
        ("m.room.name", json!({ "name": 5 })),
        ("m.room.topic", json!({ "topic": { "of": "what" } })),
        ("m.room.avatar", json!({ "url": 7 })),
        ("m.room.pinned_events", json!({ "pinned": "none" })),
        ("m.room.guest_access", json!({ "guest_access": [] })),
        ("m.room.guest_access", json!({ "guest_access": "can\0join" })),
        ("m.room.related_groups", json!({ "groups": 1 })),
        ("m.room.server_acl", json!({ "allow": ["*"], "deny": "nobody", "allow_ip_literals": "yes" })),
        ("m.room.tombstone", json!({})),
        ("m.space.child", json!({ "via": "hs.test", "order": 5 })),
        ("m.room.third_party_invite", json!({})),
        ("m.room.bot.options", json!({ "nested": { "list": [[[[{}]]]] } })),
        ("m.room.message", json!({ "body": "as state" })),
        ("test.empty", json!({})),
    ]
}

fn odd_messages() -> Vec<(&'static str, Value)> {
    let words = |body: Value| json!({ "msgtype": "m.text", "body": body });
    let besides = |key: &str, value: Value| {
        let mut content = words(json!("besides"));
        content[key] = value;
        content
    };
    let messages = [
        json!({}),
        words(json!(5)),
        words(json!({ "of": null })),
        words(json!("x".repeat(30_000))),
        json!({ "msgtype": 5, "body": "of what kind?" }),
        besides("number", json!([9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64])),
        besides("a.b", json!({ "c\\d": { "": 1 }, "👾": "👾\u{200b}" })),
        besides("m.relates_to", json!({ "m.in_reply_to": "nothing" })),
    ];
    let others = [("m.room.encrypted", json!({})), ("m.reaction", json!({})), ("m.sticker", json!({ "url": 5 }))];
    messages.into_iter().map(|content| ("m.room.message", content)).chain(others).collect()
}

fn odd_account_data() -> Vec<(&'static str, Value)> {
    vec![
        ("m.ignored_user_list", json!({ "ignored_users": ["@nobody:hs.test"] })),
        ("m.direct", json!({ "somebody": "a room" })),
        ("m.widgets", json!({ "none": [] })),
    ]
}
