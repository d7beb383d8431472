//! A device that waits, dehydrated.

use super::prelude::*;

const ROOT: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1";

pub(super) fn part() -> Part {
    Part::new("dehydrated devices")
        .since("1.100.0")
        .fills(&["dehydrated_devices"])
        .config(json!({ "experimental_features": { "msc3814_enabled": true, "msc2697_enabled": false } }))
        .write(|it: Visit| async move {
            let person = it.somebody("dry").await?;
            let signer = Signer::new(person.id(), "DRY")?;
            let keys = signer.sign(&json!({
                "user_id": person.id(), "device_id": "DRY", "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
                "keys": { "ed25519:DRY": signer.public_key() },
            }))?;
            let data = json!({ "algorithm": "m.dehydration.v1.olm", "account": "secret" });
            let device = json!({
                "device_id": "DRY", "device_data": data, "device_keys": keys, "initial_device_display_name": "Dry",
            });
            person.put(&[ROOT, "dehydrated_device"], device).await?;
            Ok(json!({ "token": person.token() }))
        })
        .read(|it: Visit| async move { it.owner.with_token(&it.kept("token")?).get(&[ROOT, "dehydrated_device"]).await })
}
