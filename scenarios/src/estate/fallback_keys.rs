//! A fallback key, given out when there is no one-time key: again and again the same.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("fallback keys")
        .since("1.60.0")
        .fills(&["e2e_fallback_keys_json"])
        .write(|it: Visit| async move {
            let person = it.somebody("fallen").await?;
            let signer = Signer::new(person.id(), person.device())?;
            let key = signer.sign(&json!({ "key": signer.public_key(), "fallback": true }))?;
            let keys = json!({ "fallback_keys": { "signed_curve25519:AAAAAQ": key } });
            person.post(&["keys", "upload"], keys).await?;
            Ok(json!({ "user": person.id(), "device": person.device() }))
        })
        .read(|it: Visit| async move {
            let (user, device) = (it.kept("user")?, it.kept("device")?);
            let wanted = json!({ "one_time_keys": { &user: { &device: "signed_curve25519" } } });
            let claimed = it.friend.post(&["keys", "claim"], wanted).await?;
            Ok(claimed["one_time_keys"][&user][&device].clone())
        })
}
