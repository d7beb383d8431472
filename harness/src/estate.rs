//! The estate: what users own and see. It is laid out on the first leg, captured before the hop, and must be there
//! unchanged on every later leg, but for tolerances.

use std::{collections::BTreeMap, fmt};

use anyhow::Context as _;
use futures::future::try_join_all;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    Live,
    client::{Client, escape},
    config::SERVER_NAME,
};

/// How much is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// Two people and a room with a little of everything; rides along on every walk.
    Small,
    /// A dozen rooms with history, many state events, and data that later releases rewrite; a trial of its own.
    Rich,
}

/// What is owned, as one document: area, then name, then value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Estate(BTreeMap<String, Value>);

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// `rooms/lobby/state/m.room.name`, components as in the document.
    pub(crate) path: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.path, self.before, self.after)
    }
}

/// People of the estate, by their names in the scenario's memory.
const PEOPLE: [&str; 2] = ["owner", "friend"];

/// Lays out an estate. Rooms and media are remembered under their names.
pub(crate) async fn seed(live: &Live, size: Size) -> anyhow::Result<()> {
    let (owner, friend) = (live.user("owner").await?, live.user("friend").await?);
    let suffix = &live.rider.suffix;
    let lobby = owner
        .room(
            "lobby",
            &json!({
                "name": "Lobby",
                "topic": "Everything in its place",
                "preset": "private_chat",
                "room_alias_name": format!("lobby{suffix}"),
                "invite": [friend.id()],
            }),
        )
        .await?;
    live.remember("rooms", "lobby");
    friend.join(&lobby).await?;
    owner.say(&lobby, "Good morning").await?.ok()?;
    let said = friend.say(&lobby, "Good morning to you").await?.ok()?.field("event_id")?;
    let media = owner.upload("note.txt", "text/plain", b"kept for later").await?;
    live.remember("media", &media);
    let set = |path: String, body: Value| {
        let owner = owner.clone();
        async move { owner.put(&path, &body).await?.ok() }
    };
    let me = escape(owner.id());
    let room = escape(&lobby);
    try_join_all([
        set(format!("/_matrix/client/r0/profile/{me}/displayname"), json!({ "displayname": "The Owner" })),
        set(format!("/_matrix/client/r0/user/{me}/account_data/test.kept"), json!({ "kept": [1, 2, 3] })),
        set(format!("/_matrix/client/r0/user/{me}/rooms/{room}/tags/m.favourite"), json!({ "order": 0.5 })),
        set(
            "/_matrix/client/r0/pushrules/global/content/test.word".to_owned(),
            json!({ "pattern": "word", "actions": ["notify"] }),
        ),
    ])
    .await?;
    friend
        .post(&format!("/_matrix/client/r0/rooms/{room}/receipt/m.read/{}", escape(&said)), &json!({}))
        .await?
        .ok()?;
    if size == Size::Rich {
        seed_rooms(live, &owner, &friend).await?;
        seed_devices(live, &owner, &friend).await?;
    }
    Ok(())
}

/// History, redactions, edits, kicks and many state events.
async fn seed_rooms(live: &Live, owner: &Client, friend: &Client) -> anyhow::Result<()> {
    let mut rooms = vec!["lobby".to_owned()];
    for number in 1..=12 {
        let name = format!("room-{number}");
        let public = number % 3 == 0;
        let mut options = json!({
            "name": format!("Room {number}"),
            "preset": if public { "public_chat" } else { "private_chat" },
            "visibility": if public { "public" } else { "private" },
            "invite": [friend.id()],
            "is_direct": number == 4,
            "initial_state": (0..8).map(|index| json!({
                "type": "test.setting",
                "state_key": format!("key {index}"),
                "content": { "value": index, "nested": { "text": "ünïcode ✓", "list": [1, null, "x"] } },
            })).collect::<Vec<_>>(),
        });
        if number == 5 {
            options["creation_content"] = json!({ "m.federate": false });
        }
        let room = owner.room(&name, &options).await?;
        if number != 7 {
            // One invitation stays open.
            friend.join(&room).await?;
        }
        let mut last = String::new();
        for message in 0..6 {
            let speaker = if message % 2 == 0 || number == 7 { owner } else { friend };
            last = speaker.say(&room, &format!("message {message} of room {number}")).await?.ok()?.field("event_id")?;
        }
        let escaped = escape(&room);
        match number {
            1 => {
                let path =
                    format!("/_matrix/client/r0/rooms/{escaped}/redact/{}/{}", escape(&last), live.unique("txn"));
                owner.put(&path, &json!({ "reason": "said too much" })).await?.ok()?;
            }
            2 => {
                let path = format!("/_matrix/client/r0/rooms/{escaped}/send/m.room.message/{}", live.unique("txn"));
                let edit = json!({
                    "msgtype": "m.text",
                    "body": "* better",
                    "m.new_content": { "msgtype": "m.text", "body": "better" },
                    "m.relates_to": { "rel_type": "m.replace", "event_id": last },
                });
                friend.put(&path, &edit).await?.ok()?;
            }
            3 => {
                owner
                    .post(&format!("/_matrix/client/r0/rooms/{escaped}/kick"), &json!({ "user_id": friend.id() }))
                    .await?
                    .ok()?;
            }
            6 => {
                friend.post(&format!("/_matrix/client/r0/rooms/{escaped}/leave"), &json!({})).await?.ok()?;
            }
            8 => {
                let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
                owner
                    .put(&format!("/_matrix/client/r0/rooms/{escaped}/state/m.room.encryption"), &content)
                    .await?
                    .ok()?;
            }
            _ => {}
        }
        rooms.push(name);
    }
    live.remember("rooms", &rooms.join(" "));
    Ok(())
}

/// Filters, keys, messages to devices, pushers and a second device.
async fn seed_devices(live: &Live, owner: &Client, friend: &Client) -> anyhow::Result<()> {
    let me = escape(owner.id());
    for number in 0..3 {
        let filter = json!({ "room": { "timeline": { "limit": 5 + number } } });
        let id =
            owner.post(&format!("/_matrix/client/r0/user/{me}/filter"), &filter).await?.ok()?.field("filter_id")?;
        live.remember(&format!("filter {number}"), &id);
    }
    let key = |name: &str| format!("{name}:{}", owner.device());
    let keys = json!({
        "device_keys": {
            "user_id": owner.id(),
            "device_id": owner.device(),
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { key("curve25519"): "curve", key("ed25519"): "edwards" },
            "signatures": { owner.id(): { key("ed25519"): "signature" } },
        },
        "one_time_keys": { "signed_curve25519:AAAA": { "key": "one-time" } },
    });
    owner.post("/_matrix/client/r0/keys/upload", &keys).await?.ok()?;
    let message = json!({ "messages": { friend.id(): { "*": { "kept": "for the friend" } } } });
    let path = format!("/_matrix/client/r0/sendToDevice/test.kept/{}", live.unique("txn"));
    owner.put(&path, &message).await?.ok()?;
    let pusher = json!({
        "kind": "http", "app_id": "test.app", "pushkey": "push key", "app_display_name": "App",
        "device_display_name": "Device", "lang": "en", "data": { "url": "http://push.test/_matrix/push/v1/notify" },
    });
    friend.post("/_matrix/client/r0/pushers/set", &pusher).await?.ok()?;
    let second = json!({
        "type": "m.login.password", "user": friend.id(), "password": friend.password(),
        "initial_device_display_name": "Second device",
    });
    let token = live.anonymous().post("/_matrix/client/r0/login", &second).await?.ok()?.field("access_token")?;
    live.remember("second token", &token);
    Ok(())
}

/// Reads the whole estate as its owners see it.
pub(crate) async fn capture(live: &Live, size: Size) -> anyhow::Result<Estate> {
    let mut estate = BTreeMap::new();
    for name in PEOPLE {
        let person = live.user(name).await?;
        let accounts = account(live, &person, size).await.with_context(|| format!("capturing what {name} owns"))?;
        estate.extend(accounts.into_iter().map(|(area, value)| (format!("{name}/{area}"), value)));
    }
    let owner = live.user("owner").await?;
    let media = live.recall("media")?;
    estate.insert("media".to_owned(), download(live, &owner, &media).await?);
    let alias = format!("#lobby{}:{SERVER_NAME}", live.rider.suffix);
    let answer = owner.get(&format!("/_matrix/client/r0/directory/room/{}", escape(&alias))).await?;
    estate.insert("aliases".to_owned(), json!({ alias: answer.json()?["room_id"] }));
    Ok(Estate(estate))
}

async fn account(live: &Live, person: &Client, size: Size) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut areas = BTreeMap::new();
    let me = escape(person.id());
    let read = |path: String| {
        let person = person.clone();
        async move { person.get(&path).await?.ok()?.json() }
    };
    // The token from before the upgrade must still open everything that follows.
    let whoami = read("/_matrix/client/r0/account/whoami".to_owned()).await?;
    areas.insert("whoami".to_owned(), whoami["user_id"].clone());
    let profile = read(format!("/_matrix/client/r0/profile/{me}")).await?;
    areas.insert(
        "profile".to_owned(),
        json!({ "displayname": profile["displayname"], "avatar_url": profile["avatar_url"] }),
    );
    let devices = read("/_matrix/client/r0/devices".to_owned()).await?;
    let devices: Map<_, _> = list(&devices["devices"])
        .iter()
        .map(|device| (text(&device["device_id"]), json!({ "display_name": device["display_name"] })))
        .collect();
    areas.insert("devices".to_owned(), Value::Object(devices));
    let rules = read("/_matrix/client/r0/pushrules/".to_owned()).await?;
    areas.insert("push rules".to_owned(), own_rules(&rules));

    let filter = json!({ "room": { "timeline": { "limit": 500 } }, "presence": { "limit": 0 } }).to_string();
    let sync = read(format!("/_matrix/client/r0/sync?full_state=true&filter={}", escape(&filter))).await?;
    areas.insert("account data".to_owned(), typed(&sync["account_data"]["events"], &["m.push_rules"]));
    for name in live.recall("rooms")?.split(' ') {
        let room = live.recall(name)?;
        for membership in ["join", "invite", "leave"] {
            let seen = &sync["rooms"][membership][&room];
            if !seen.is_null() {
                areas.insert(format!("rooms/{name}"), self::room(seen, membership));
            }
        }
        if !sync["rooms"]["join"][&room].is_null() {
            let state = read(format!("/_matrix/client/r0/rooms/{}/state", escape(&room))).await?;
            let state: BTreeMap<_, _> = list(&state)
                .iter()
                .map(|e| (format!("{} {}", text(&e["type"]), text(&e["state_key"])), event(e)))
                .collect();
            areas.insert(format!("rooms/{name}/state"), json!(state));
        }
    }
    if size == Size::Rich {
        let pushers = read("/_matrix/client/r0/pushers".to_owned()).await?;
        areas.insert("pushers".to_owned(), pushers["pushers"].clone());
        let query = json!({ "device_keys": { person.id(): [] } });
        let keys = person.post("/_matrix/client/r0/keys/query", &query).await?.ok()?.json()?;
        let mut keys = keys["device_keys"][person.id()].clone();
        for device in keys.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(device) = device.as_object_mut() {
                device.shift_remove("unsigned");
            }
        }
        areas.insert("device keys".to_owned(), keys);
        let counts = read("/_matrix/client/r0/sync".to_owned()).await?;
        areas.insert("one-time keys".to_owned(), counts["device_one_time_keys_count"]["signed_curve25519"].clone());
        areas.insert("to-device messages".to_owned(), typed(&sync["to_device"]["events"], &[]));
        if person.id() == live.recall("owner")? {
            for number in 0..3 {
                let id = live.recall(&format!("filter {number}"))?;
                let filter = read(format!("/_matrix/client/r0/user/{me}/filter/{id}")).await?;
                areas.insert(format!("filters/{number}"), filter);
            }
        } else {
            let second = person.with_token(&live.recall("second token")?);
            let whoami = second.get("/_matrix/client/r0/account/whoami").await?;
            areas.insert("second device's token".to_owned(), json!(whoami.status()));
        }
    }
    Ok(areas)
}

fn room(seen: &Value, membership: &str) -> Value {
    // Since 1.10.0 clients are not shown a room's aliases among its events (upstream: PR 6878); the aliases themselves are
    // looked at elsewhere.
    let shown = list(&seen["timeline"]["events"]).iter().filter(|event| event["type"] != "m.room.aliases");
    let timeline: Vec<Value> = shown.map(event).collect();
    let mut receipts = BTreeMap::new();
    for receipt in list(&seen["ephemeral"]["events"]).iter().filter(|event| event["type"] == "m.receipt") {
        for (event, kinds) in receipt["content"].as_object().into_iter().flatten() {
            for user in kinds["m.read"].as_object().into_iter().flat_map(Map::keys) {
                receipts.insert(user.clone(), json!(event));
            }
        }
    }
    json!({
        "membership": membership,
        "timeline": timeline,
        "invitation": typed(&seen["invite_state"]["events"], &["m.room.create"]),
        "receipts": receipts,
        "account data": typed(&seen["account_data"]["events"], &[]),
    })
}

/// What of an event is the user's; what the server says about it (`unsigned`) is the release's.
fn event(event: &Value) -> Value {
    let mut kept = Map::new();
    for key in ["event_id", "type", "state_key", "sender", "origin_server_ts", "content", "redacts"] {
        if let Some(value) = event.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(kept)
}

/// Events by type (and state key), content only.
fn typed(events: &Value, without: &[&str]) -> Value {
    let events: BTreeMap<String, Value> = list(events)
        .iter()
        .filter(|event| !without.contains(&event["type"].as_str().unwrap_or_default()))
        .map(|event| {
            let key = [text(&event["type"]), text(&event["state_key"])].join(" ");
            (key.trim().to_owned(), event["content"].clone())
        })
        .collect();
    json!(events)
}

fn own_rules(rules: &Value) -> Value {
    let mut own = BTreeMap::new();
    for (kind, rules) in rules["global"].as_object().into_iter().flatten() {
        for rule in list(rules).iter().filter(|rule| rule["default"] != true) {
            own.insert(
                format!("{kind} {}", text(&rule["rule_id"])),
                json!({ "pattern": rule["pattern"], "actions": rule["actions"] }),
            );
        }
    }
    json!(own)
}

async fn download(live: &Live, person: &Client, uri: &str) -> anyhow::Result<Value> {
    let path = uri.trim_start_matches("mxc://");
    // Since 1.111 media can be had with authentication, and since 1.120 it must.
    let prefix = if *live.release() >= "1.111.0".parse()? {
        "/_matrix/client/v1/media/download"
    } else {
        "/_matrix/media/r0/download"
    };
    let answer = person.get(&format!("{prefix}/{path}")).await?;
    Ok(json!({
        "status": answer.status(),
        "sha256": hex::encode(Sha256::digest(answer.bytes())),
        "content-type": answer.header("content-type"),
    }))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Estate {
    /// All that differs, deepest paths first named.
    pub(crate) fn differences(&self, after: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let areas: std::collections::BTreeSet<_> = self.0.keys().chain(after.0.keys()).collect();
        for area in areas {
            let value = |estate: &Self| estate.0.get(area).cloned().unwrap_or(Value::Null);
            compare(area, &value(self), &value(after), &mut found);
        }
        found
    }
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    let differs = |before: &Value, after: &Value| Difference {
        path: path.to_owned(),
        before: before.clone(),
        after: after.clone(),
    };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old {
                compare(&format!("{path}/{key}"), old, new.get(key).unwrap_or(&Value::Null), found);
            }
            for (key, new) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                compare(&format!("{path}/{key}"), &Value::Null, new, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}/{index}"), old, new, found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => found.push(differs(old, new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estate(value: Value) -> Estate {
        Estate([("owner/rooms".to_owned(), value)].into())
    }

    #[test]
    fn equal_estates_have_no_differences() {
        let a = estate(json!({ "lobby": { "state": { "m.room.name ": { "name": "Lobby" } } } }));
        assert_eq!(a.differences(&a.clone()), vec![]);
    }

    #[test]
    fn what_is_lost_gained_or_changed_is_named_by_its_path() {
        let before = estate(json!({ "lobby": { "name": "a", "topic": "b", "timeline": [1, 2] } }));
        let after = estate(json!({ "lobby": { "name": "A", "timeline": [1, 2, 3] }, "cellar": 1 }));
        let paths: Vec<_> = before.differences(&after).into_iter().map(|difference| difference.path).collect();
        assert_eq!(
            paths,
            ["owner/rooms/lobby/name", "owner/rooms/lobby/topic", "owner/rooms/lobby/timeline", "owner/rooms/cellar"]
        );
    }
}
