//! Secrets do not get into what a run leaves.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;
use serde_json::Value;

/// What stands for a secret.
const MASK: &str = "***";

/// Fields, parameters and settings whose texts are secrets.
const NAMES: &str = "access_token|refresh_token|login_token|as_token|hs_token|authorization|password|new_password|\
                     registration_shared_secret|worker_replication_secret|turn_shared_secret|macaroon_secret_key|\
                     form_secret|smtp_pass|mac";

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// Masks texts in a value: those of secrets' names, and secrets within others. Says whether there were any.
pub fn mask(value: &mut Value) -> bool {
    let is_secret = |name: &str| NAMES.split('|').any(|secret| secret.eq_ignore_ascii_case(name));
    match value {
        Value::Object(map) => map.iter_mut().fold(false, |masked, (name, value)| match value {
            Value::String(text) if !text.is_empty() && is_secret(name) => {
                MASK.clone_into(text);
                true
            }
            value => mask(value) | masked,
        }),
        Value::Array(items) => items.iter_mut().fold(false, |masked, item| mask(item) | masked),
        Value::String(text) => match mask_text(text) {
            Cow::Owned(masked) => {
                *text = masked;
                true
            }
            Cow::Borrowed(_) => false,
        },
        _ => false,
    }
}

/// Masks secrets within a text: by name in queries and in JSON, tokens by their form, credentials in addresses.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    static SECRETS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let named = format!(r#"(?i)\b({NAMES})(=|["']\s*:\s*["'])[^\s"'&,;}}]+"#);
        [
            (pattern(&named), "$1$2***"),
            (pattern(r"(?i)\bbearer [A-Za-z0-9._~+/=-]+"), "Bearer ***"),
            // Access tokens as Synapse makes them, now and then (macaroons).
            (pattern(r"\bsy[tr]_[A-Za-z0-9_]{8,}|\bMDAx[A-Za-z0-9_-]{30,}"), MASK),
            (pattern(r"(://)[^/\s:@]+:[^/\s@]+@"), "$1***@"),
        ]
    });
    let mut masked = Cow::Borrowed(text);
    // Most texts have none, and there are many.
    if !["=", "\"", "'", "earer ", "EARER ", "sy", "MDAx", "://"].iter().any(|sign| text.contains(sign)) {
        return masked;
    }
    for (secret, instead) in SECRETS.iter() {
        if let Cow::Owned(without) = secret.replace_all(&masked, *instead) {
            masked = Cow::Owned(without);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_by_name_and_by_form() {
        let mut value = json!({
            "access_token": "syt_YWxpY2U_abcdefgh_123456",
            "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "correct horse",
            "nested": [{ "registration_shared_secret": "shared" }],
            "expected": { "access_token": { "$any": true }, "password": "" },
            "token": "a registration token is shown",
        });
        mask(&mut value);
        assert_eq!(
            value,
            json!({
                "access_token": "***",
                "identifier": { "type": "m.id.user", "user": "alice" },
                "password": "***",
                "nested": [{ "registration_shared_secret": "***" }],
                "expected": { "access_token": { "$any": true }, "password": "" },
                "token": "a registration token is shown",
            })
        );
    }

    #[test]
    fn secrets_within_texts_are_masked_and_the_rest_stays() {
        let table = [
            (
                "GET http://127.0.0.1:1/sync?access_token=abc&since=s1",
                "GET http://127.0.0.1:1/sync?access_token=***&since=s1",
            ),
            ("Authorization header Bearer abc.def", "Authorization header Bearer ***"),
            (r#"{"password": "x", "user": "alice"}"#, r#"{"password": "***", "user": "alice"}"#),
            ("--pypi-index https://me:secret@index.test/simple", "--pypi-index https://***@index.test/simple"),
            ("v1_4_0::password::sqlite", "v1_4_0::password::sqlite"),
            ("Invalid password: too short", "Invalid password: too short"),
            ("@alice:hs.test in https://hs.test:8448/a@b", "@alice:hs.test in https://hs.test:8448/a@b"),
        ];
        for (text, masked) in table {
            assert_eq!(mask_text(text), masked);
        }
    }
}
