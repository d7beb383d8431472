//! Keys of devices, one-time keys and a fallback key: no one-time key is given out twice, whatever the release.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("device keys")
        .fills(&["e2e_device_keys_json", "e2e_one_time_keys_json", "device_lists_stream"])
        .write(|it: Visit| async move {
            let person = it.somebody("keyed").await?;
            let (id, device) = (person.id(), person.device());
            let signer = Signer::new(id, device)?;
            let key = |kind: &str| format!("{kind}:{device}");
            let device_keys = signer.sign(&json!({
                "user_id": id, "device_id": device,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    key("curve25519"): Signer::new(id, device)?.public_key(), key("ed25519"): signer.public_key(),
                },
            }))?;
            // Names enough for one claim on each leg of the longest walk: who gives them out looks at no more than those.
            let key = signer.sign(&json!({ "key": Signer::new(id, "x")?.public_key() }))?;
            let one_time: Value =
                (0..200).map(|number| (format!("signed_curve25519:AAA{number:03}"), key.clone())).collect();
            let keys = json!({ "device_keys": device_keys, "one_time_keys": one_time });
            person.post(&["keys", "upload"], keys).await?;
            // What these releases leave out themselves is nothing to compare with.
            let tells_of_none = !it.from("1.38.0rc1") || it.from("1.41.0rc1");
            Ok(json!({ "user": id, "device": device, "token": person.token(), "tells of none": tells_of_none }))
        })
        .read(|it: Visit| async move {
            let (user, device) = (it.kept("user")?, it.kept("device")?);
            let asked = it.friend.post(&["keys", "query"], json!({ "device_keys": { &user: [] } })).await?;
            let mut shown = asked["device_keys"][&user][&device].clone();
            if let Some(keys) = shown.as_object_mut() {
                keys.shift_remove("unsigned");
            }
            let person = it.owner.with_token(&it.kept("token")?);
            // A count of none was once left out.
            let count = async || -> Result<u64> {
                let seen = person.sync(None, json!({ "room": { "rooms": [] } })).await?;
                Ok(seen["device_one_time_keys_count"]["signed_curve25519"].as_u64().unwrap_or_default())
            };
            let before = count().await?;
            let wanted = json!({ "one_time_keys": { &user: { &device: "signed_curve25519" } } });
            let claimed = it.friend.post(&["keys", "claim"], wanted).await?;
            let claimed = &claimed["one_time_keys"][&user][&device];
            // A worker hears of it a little later.
            let left = eventually(count, |left| before == 0 || *left < before).await?;
            let name = claimed.as_object().and_then(|keys| keys.keys().next()).cloned().unwrap_or_default();
            // A key that was given out before would be among those that are remembered.
            let memory = format!("claimed {user} {name}");
            let is_new = it.live.recall(&memory).is_err();
            it.live.remember(&memory, "once");
            // Clients take what is left out for "as before", and upload no keys.
            let nobody = it.somebody("unkeyed").await?.sync(None, json!({ "room": { "rooms": [] } })).await?;
            let unused = ["device_unused_fallback_key_types", "org.matrix.msc2732.device_unused_fallback_key_types"];
            let told = |is_told: bool| if it.kept["tells of none"] == true { json!(is_told) } else { Value::Null };
            // Some clients say `null` where they have nothing to say; it is taken, or refused.
            let nothing = json!({ "device_keys": null, "one_time_keys": {} });
            Ok(json!({
                "keys": shown,
                "upload of nothing is understood": person.answer(Method::POST, &["keys", "upload"], Some(nothing)).await?.status() < 500,
                "claimed a new one": is_new && name.starts_with("signed_curve25519:"),
                "left": before.saturating_sub(left),
                "of none the count is told": told(nobody["device_one_time_keys_count"].is_object()),
                "of none the fallback is told": told(!it.from("1.28.0") || unused.iter().any(|name| nobody[*name].is_array())),
            }))
        })
}
