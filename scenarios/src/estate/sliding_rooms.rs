//! Rooms from before there was sliding sync: it lists them by what they are, and shows what is in them when a client comes
//! to them later than to others.

use super::prelude::*;

const SYNC: [&str; 2] = ["/_matrix/client/unstable/org.matrix.simplified_msc3575", "sync"];

pub(super) fn part() -> Part {
    Part::new("rooms in sliding sync")
        .since("1.60.0")
        .reads_since("1.115.0")
        .write(|it: Visit| async move {
            let person = it.somebody("slid").await?;
            let mut rooms = json!({});
            for (name, mut options) in [
                ("named", json!({ "name": "Named" })),
                ("direct", json!({ "is_direct": true, "initial_state": [encryption()] })),
                ("space", json!({ "creation_content": { "type": "m.space" } })),
                ("left", json!({})),
                ("kicked", json!({})),
                ("invited", json!({})),
            ] {
                options["preset"] = json!("private_chat");
                options["invite"] = json!([person.id()]);
                let room = it.owner.room(options).await?;
                if name != "invited" {
                    person.join(&room).await?;
                }
                rooms[name] = json!(room);
            }
            let room = |name: &str| text(&rooms[name]);
            it.owner.say(&room("named"), "the last word").await?;
            let own = ["user", person.id(), "rooms", &room("named")];
            person.put(&[&own[..], &["tags", "u.kept"]].concat(), json!({ "order": 0.5 })).await?;
            person.put(&[&own[..], &["account_data", "test.kept"]].concat(), json!({ "of": "the room" })).await?;
            let direct = json!({ it.owner.id(): [room("direct")] });
            person.put(&["user", person.id(), "account_data", "m.direct"], direct).await?;
            person.post(&["rooms", &room("left"), "leave"], json!({})).await?;
            it.owner.post(&["rooms", &room("kicked"), "kick"], json!({ "user_id": person.id() })).await?;
            // As the client looks first at the room where something happened last.
            it.owner.say(&room("space"), "the very last word").await?;
            let waiting = json!({
                "lists": {
                    "all": ["direct", "invited", "kicked", "named", "space"], "direct": ["direct"], "encrypted": true,
                    "invited": ["invited"], "spaces": ["space"],
                },
                "named": { "name": "Named", "joined": 2, "said": "the last word", "account data": true, "tags": true },
                "direct": { "says so": true, "algorithm": "m.megolm.v1.aes-sha2" },
                "space": "m.space",
                "invitation": true,
                "come back to": true,
            });
            let forgotten = forgotten(&it).await?;
            Ok(json!({ "token": person.token(), "rooms": rooms, "forgotten": forgotten, "waiting": waiting }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let connection = it.live.unique("later");
            let lists = json!({ "all": those([0, 0], &json!({})) });
            let body = json!({ "conn_id": connection, "lists": lists, "extensions": extensions() });
            let first = person.post(&[&SYNC[..], &["?timeout=0"]].concat(), body).await?;
            let lists = json!({
                "all": those([0, 20], &json!({})),
                "direct": those([0, 20], &json!({ "is_dm": true })),
                "encrypted": those([0, 20], &json!({ "is_encrypted": true })),
                "invited": those([0, 20], &json!({ "is_invite": true })),
                "spaces": those([0, 20], &json!({ "room_types": ["m.space"] })),
            });
            let body = json!({ "conn_id": connection, "lists": lists, "extensions": extensions() });
            let query = format!("?timeout=0&pos={}", harness::escape(&text(&first["pos"])));
            let then = person.post(&[&SYNC[..], &[&query]].concat(), body).await?;

            let id = |name: &str| it.kept["rooms"][name].as_str().unwrap_or_default();
            let room = |name: &str| first["rooms"].get(id(name)).unwrap_or(&then["rooms"][id(name)]);
            let listed = |name: &str| -> Vec<&str> {
                let operations = list(&then["lists"][name]["ops"]);
                let ids: Vec<_> = operations.iter().flat_map(|operation| list(&operation["room_ids"])).collect();
                let names = ["direct", "invited", "kicked", "left", "named", "space"];
                names.into_iter().filter(|name| ids.contains(&&it.kept["rooms"][name])).collect()
            };
            let state = |name: &str, kind: &str| {
                let found = list(&room(name)["required_state"]).iter().find(|event| event["type"] == kind);
                found.map(|event| event["content"].clone()).unwrap_or_default()
            };
            let has = |kind: &str| {
                let data = [&first, &then].map(|seen| &seen["extensions"]["account_data"]["rooms"][id("named")]);
                data.into_iter().flat_map(list).any(|event| event["type"] == kind)
            };
            let (named, invited) = (room("named"), room("invited"));
            let said = list(&named["timeline"]).last().map(|event| &event["content"]["body"]);
            Ok(json!({
                "lists": {
                    "all": listed("all"), "direct": listed("direct"), "invited": listed("invited"),
                    "spaces": listed("spaces"), "encrypted": listed("encrypted").contains(&"direct"),
                },
                "named": {
                    "name": named["name"], "joined": named["joined_count"], "said": said,
                    "account data": has("test.kept"),
                    // Given since 1.116.0 (upstream: PR 17707).
                    "tags": !it.from("1.116.0") || has("m.tag"),
                },
                "direct": {
                    "says so": room("direct")["is_dm"] == true,
                    "algorithm": state("direct", "m.room.encryption")["algorithm"],
                },
                "space": state("space", "m.room.create")["type"],
                "invitation": invited["invite_state"].is_array() || invited["stripped_state"].is_array(),
                "come back to": is_come_back_to(&it).await?,
            }))
        })
        // Tables of its own are filled again by the homeserver when they are found to be empty.
        .loses("DELETE FROM current_state_events")
}

/// A room that somebody left and forgot.
async fn forgotten(it: &Visit) -> Result<String> {
    let person = it.somebody("returning").await?;
    let room = it.owner.room(json!({ "preset": "private_chat", "invite": [person.id()] })).await?;
    person.join(&room).await?;
    for action in ["leave", "forget"] {
        person.post(&["rooms", &room, action], json!({})).await?;
    }
    Ok(room)
}

/// Is a room listed that somebody forgot and is in again? Not from 1.115.0 to 1.117.0 (#17835).
async fn is_come_back_to(it: &Visit) -> Result<bool> {
    if !super::is_looked_for(it, "1.115.0rc1", "1.116.0rc1", "1.118.0rc1") {
        return Ok(true);
    }
    let (person, room) = (it.somebody("returning").await?, it.kept("forgotten")?);
    if !list(&person.get(&["joined_rooms"]).await?["joined_rooms"]).contains(&json!(room)) {
        it.owner.post(&["rooms", &room, "invite"], json!({ "user_id": person.id() })).await?;
        person.join(&room).await?;
    }
    let look = async || {
        let body = json!({ "conn_id": it.live.unique("back"), "lists": { "all": those([0, 20], &json!({})) } });
        let seen = person.post(&[&SYNC[..], &["?timeout=0"]].concat(), body).await?;
        let mut listed = list(&seen["lists"]["all"]["ops"]).iter().flat_map(|operation| list(&operation["room_ids"]));
        Ok(listed.any(|id| *id == json!(room)))
    };
    eventually(look, |is_listed| *is_listed).await
}

fn encryption() -> Value {
    json!({ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } })
}

/// A list of the rooms that a filter lets by, as far as this range goes.
fn those(range: [u32; 2], filters: &Value) -> Value {
    let state = json!([["m.room.create", ""], ["m.room.encryption", ""]]);
    json!({ "ranges": [range], "timeline_limit": 1, "required_state": state, "filters": filters })
}

fn extensions() -> Value {
    json!({ "account_data": { "enabled": true } })
}
