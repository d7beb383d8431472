//! Backups of room keys: an older version and the newest one, with keys.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("key backup")
        .fills(&["e2e_room_keys", "e2e_room_keys_versions"])
        .write(|it: Visit| async move {
            let person = it.somebody("cautious").await?;
            let mut versions = Vec::new();
            for number in 0..2 {
                let data = json!({ "public_key": format!("key {number}"), "signatures": {} });
                let version = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": data });
                let version = text(&person.post(&["room_keys", "version"], version).await?["version"]);
                let session = |index: u32| {
                    json!({
                        "first_message_index": index, "forwarded_count": 0, "is_verified": true,
                        "session_data": { "ciphertext": format!("secret {index} of {number}"), "mac": "mac" },
                    })
                };
                let keys = json!({ "rooms": { &it.room: { "sessions": { "one": session(1), "two": session(2) } } } });
                person.put(&["room_keys", "keys", &format!("?version={version}")], keys).await?;
                versions.push(version);
            }
            Ok(json!({ "token": person.token(), "versions": versions }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let newest = person.get(&["room_keys", "version"]).await?;
            let mut shown = json!({ "newest": [newest["version"], newest["algorithm"], newest["auth_data"]] });
            for version in list(&it.kept["versions"]).iter().map(text) {
                let path = ["room_keys", "keys", &format!("?version={version}")];
                let mut keys = person.answer(Method::GET, &path, None).await?.whole();
                for room in keys["body"]["rooms"].as_object_mut().into_iter().flat_map(|rooms| rooms.values_mut()) {
                    for session in room["sessions"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
                        // On SQLite older releases said 1 for true.
                        session["is_verified"] = json!(session["is_verified"] == true || session["is_verified"] == 1);
                    }
                }
                // A number and a text by turns, over the releases.
                shown[&version] = json!({
                    "version": person.get(&["room_keys", "version", &version]).await?["auth_data"],
                    "keys": keys,
                });
            }
            Ok(shown)
        })
}
