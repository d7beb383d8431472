//! Keys as clients have them: pairs that sign what they vouch for.

use anyhow::Context as _;
use ruma_common::{
    canonical_json::try_from_json_map,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, sign_json};
use serde_json::{Value, json};

/// A fresh ed25519 pair of one user's, with a name: a device's id, or the public key itself.
#[derive(Debug)]
pub struct Signer {
    user_id: String,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A pair named after the device.
    pub fn new(user_id: &str, name: &str) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), name.to_owned())?;
        Ok(Self { user_id: user_id.to_owned(), pair })
    }

    /// A pair named after its public key, as those of users are.
    pub fn named_by_key(user_id: &str) -> anyhow::Result<Self> {
        let document = Ed25519KeyPair::generate();
        let nameless = Self { user_id: user_id.to_owned(), pair: Ed25519KeyPair::from_der(&document, String::new())? };
        let pair = Ed25519KeyPair::from_der(&document, nameless.public_key())?;
        Ok(Self { pair, ..nameless })
    }

    /// Its public key, as the protocol writes it.
    pub fn public_key(&self) -> String {
        Base64::<Standard, _>::new(self.pair.public_key()).encode()
    }

    /// The object with this pair's signature.
    pub fn sign(&self, object: &Value) -> anyhow::Result<Value> {
        let object = object.as_object().context("only objects are signed")?.clone();
        let mut object = try_from_json_map(object)?;
        sign_json(&self.user_id, &self.pair, &mut object)?;
        Ok(json!(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_says_by_whom() {
        let pair = Signer::new("@a:hs.test", "DEVICE").unwrap();
        let signed = pair.sign(&json!({ "key": "one-time" })).unwrap();
        assert_eq!(signed["key"], "one-time");
        assert!(signed["signatures"]["@a:hs.test"]["ed25519:DEVICE"].is_string());
        assert_eq!(pair.public_key().len(), 43);
    }
}
