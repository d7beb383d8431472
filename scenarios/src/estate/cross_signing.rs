//! Cross-signing keys, and the signature of a device with them.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("cross-signing")
        .since("1.10.0")
        .fills(&["e2e_cross_signing_keys", "e2e_cross_signing_signatures", "user_signature_stream"])
        .write(|it: Visit| async move {
            let person = it.somebody("signer").await?;
            let id = person.id();
            let device = Signer::new(id, person.device())?;
            let device_keys = device.sign(&json!({
                "user_id": id, "device_id": person.device(), "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
                "keys": { format!("ed25519:{}", person.device()): device.public_key() },
            }))?;
            person.post(&["keys", "upload"], json!({ "device_keys": device_keys })).await?;

            let key = |usage: &str, public: &str| {
                json!({ "user_id": id, "usage": [usage], "keys": { format!("ed25519:{public}"): public } })
            };
            let (master, signing, users) = (Signer::named_by_key(id)?, Signer::named_by_key(id)?, Signer::named_by_key(id)?);
            let keys = json!({
                "master_key": key("master", &master.public_key()),
                "self_signing_key": master.sign(&key("self_signing", &signing.public_key()))?,
                "user_signing_key": master.sign(&key("user_signing", &users.public_key()))?,
            });
            // It has a place among the stable paths since 1.60.0.
            let unstable: &[&str] = &["/_matrix/client/unstable", "keys", "device_signing", "upload"];
            let path = if it.from("1.60.0") { &unstable[1..] } else { unstable };
            person.post_as_oneself(path, keys).await?;
            let signed = json!({ id: { person.device(): signing.sign(&device_keys)? } });
            person.post(&["keys", "signatures", "upload"], signed).await?;
            Ok(json!({ "user": id, "device": person.device(), "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let user = it.kept("user")?;
            let asked = json!({ "device_keys": { &user: [] } });
            let own = it.owner.with_token(&it.kept("token")?).post(&["keys", "query"], asked.clone()).await?;
            let of_others = it.friend.post(&["keys", "query"], asked).await?;
            Ok(json!({
                "master": of_others["master_keys"][&user],
                "self-signing": of_others["self_signing_keys"][&user],
                "user-signing": own["user_signing_keys"][&user],
                "device": of_others["device_keys"][&user][it.kept("device")?]["signatures"],
            }))
        })
}
