//! Synapse 1.89.0.

use harness::prelude::*;

notes!("1.89.0": register_user_property);

/// Application services name the user whom they register by `username`; `user` is no longer looked at.
///
/// Upstream: PR 15928.
fn register_user_property() -> Scenario {
    let bridge = json!({
        "id": "bridge89",
        "url": null,
        "as_token": "bridge89-token",
        "hs_token": "secret",
        "sender_localpart": "bridge89",
        "namespaces": { "users": [{ "exclusive": true, "regex": "@_as_.*" }] },
    });
    let registered = |name: &str| json!({ "status": 200, "user_id": format!("@{{{name}}}:hs.test") });
    let missing = || refusal(400, "M_UNKNOWN", "Desired Username is missing or not a string");
    Scenario::for_note("Removal of unspecced `user` property for `/register`")
        .hop("1.88.0", "1.89.0")
        .config(json!({ "app_service_config_files": ["/data/bridge89.yaml"] }))
        .file("bridge89.yaml", bridge.to_string())
        .fact("`user`", register(|user, _| json!({ "user": user })))
        .changes(registered("user"), missing())
        .fact("`user` and `username`", register(|user, name| json!({ "user": user, "username": name })))
        .changes(registered("user"), registered("username"))
        .fact("`user` that is no text, and `username`", register(|_, name| json!({ "user": 5, "username": name })))
        .changes(missing(), registered("username"))
        .fact("`username` that is no text", register(|_, _| json!({ "username": 5 })))
        .always(refusal(400, "M_UNKNOWN", "Invalid username"))
        .fact("`username`", register(|_, name| json!({ "username": name })))
        .always(registered("username"))
}

/// An application service registers one of two new names: what it is answered.
fn register(body: fn(&str, &str) -> Value) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (user, username) = (hs.unique("_as_user"), hs.unique("_as_name"));
        hs.remember("user", &user);
        hs.remember("username", &username);
        let mut body = body(&user, &username);
        body["type"] = json!("m.login.application_service");
        let bridge = hs.anonymous().with_token("bridge89-token");
        let answer = bridge.post("/_matrix/client/v3/register", &body).await?;
        let mut shown = answer.refusal();
        if let Some(id) = answer.json()?.get("user_id") {
            shown["user_id"] = id.clone();
        }
        Ok(shown)
    })
}
