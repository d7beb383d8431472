//! Synapse 1.85.0.

use harness::prelude::*;

use crate::kit::bridge::{self, Bridge as _};

notes!("1.85.0": application_service_user_key);

/// Application services should name a user to register by `username`. That `user` goes on until 1.88.0 is all there is to see in
/// 1.85.0, which only announces its end.
fn application_service_user_key() -> Scenario {
    let registered = |name: &str| json!({ "status": 200, "user": format!("@{name}:hs.test") });
    Scenario::for_note("Application service registration with \"user\" property deprecation")
        .hop("1.84.1", "1.85.0")
        .then("1.88.0")
        .then("1.89.0")
        .bridge("bridge", json!({ "namespaces": { "users": [{ "exclusive": true, "regex": "@bridged.*" }] } }))
        .fact("registered by `username`", register(&["username"]))
        .always(registered("{bridged by username}"))
        .fact("registered by `user`", register(&["user"]))
        .until("1.89.0", registered("{bridged by user}"))
        .since("1.89.0", refusal(400, "M_UNKNOWN", "Desired Username is missing or not a string"))
        .fact("registered by both", register(&["user", "username"]))
        .until("1.89.0", registered("{bridged by user}"))
        .since("1.89.0", registered("{bridged by username}"))
        .fact("what the server prints", printed())
        .always("")
        .fact("what the log says of deprecations", log_lines("eprecat"))
        .always(json!([]))
}

/// Who is registered where these keys each name somebody else.
fn register(keys: &'static [&'static str]) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut body = json!({ "type": "m.login.application_service" });
        for key in keys {
            let name = hs.unique("bridged-").replace('.', "-").to_lowercase();
            hs.remember(&format!("bridged by {key}"), &name);
            body[key] = json!(name);
        }
        let answer = bridge::of(&hs, "bridge").post("/_matrix/client/v3/register", &body).await?;
        let mut shown = answer.refusal();
        if answer.status() == 200 {
            shown["user"] = json!(answer.field("user_id")?);
        }
        Ok(shown)
    })
}
