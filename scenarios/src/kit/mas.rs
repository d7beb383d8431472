//! A deployment whose users sign in at a Matrix Authentication Service: the two ways in which a homeserver is told of it.

use harness::prelude::*;

/// The experimental way, which 1.157.0 refuses.
pub(crate) fn by_msc3861() -> Value {
    json!({ "experimental_features": { "msc3861": {
        "enabled": true,
        "issuer": "http://mas:8080/",
        "client_id": "synapse",
        "client_auth_method": "client_secret_post",
        "client_secret": "secret",
        "admin_token": "secret",
    } } })
}

/// The stable way, since 1.136.0.
pub(crate) fn by_section() -> Value {
    json!({ "matrix_authentication_service": { "enabled": true, "endpoint": "http://mas:8080", "secret": "secret" } })
}

/// The service, beside a homeserver that takes no passwords and has yet to be told of it.
pub(crate) fn beside(scenario: Scenario) -> Scenario {
    scenario
        .companion("mas", companion::authentication_service())
        .config(json!({ "password_config": { "enabled": false } }))
        .without_estate("nobody logs in by password")
}

/// The service tells the homeserver of a user with a device: what it is answered.
pub(crate) async fn provision(hs: &Live, localpart: &str) -> Result<Value> {
    let service = hs.anonymous().with_token("secret");
    let user = service.post("/_synapse/mas/provision_user", &json!({ "localpart": localpart })).await?;
    let device = json!({ "localpart": localpart, "device_id": "PHONE" });
    let device = service.post("/_synapse/mas/upsert_device", &device).await?;
    Ok(json!({ "user": user.refusal(), "device": device.refusal() }))
}

/// A user whom the service makes.
pub(crate) fn makes() -> Probe {
    Probe::from(|hs: Live| async move { provision(&hs, &hs.unique("newcomer")).await })
}

/// What [`makes`] shows where it may.
pub(crate) fn made() -> Value {
    json!({ "user": status(201), "device": status(201) })
}

/// What the homeserver takes the holder of this token for.
pub(crate) async fn whoami(hs: &Live, token: &str) -> Result<Value> {
    let answer = hs.anonymous().with_token(token).get("/_matrix/client/v3/account/whoami").await?;
    let body = answer.json()?;
    Ok(match answer.status() {
        200 => json!({ "user": body["user_id"], "device": body["device_id"] }),
        _ => answer.refusal(),
    })
}

/// In a seed: Carol signs in for good; her token is `carol's token`.
pub(crate) async fn carol_signs_in(hs: Live) -> Result<()> {
    let localpart = hs.unique("carol");
    let answers = provision(&hs, &localpart).await?;
    anyhow::ensure!(answers["user"]["status"] == 201, "the homeserver does not take Carol: {answers}");
    // For as long as a walk may take: a session ends after five minutes otherwise.
    let session = json!({ "username": localpart, "device_id": "PHONE", "expires_in": 86_400 });
    let token = hs.authentication_service("mas").sign_in_as(&session).await?;
    hs.remember("carol", &format!("@{localpart}:hs.test"));
    hs.remember("carol's token", &token);
    Ok(())
}

/// Whom Carol's token is for.
pub(crate) fn carol() -> Probe {
    Probe::from(|hs: Live| async move {
        let shown = whoami(&hs, &hs.recall("carol's token")?).await?;
        let hers = json!({ "user": hs.recall("carol")?, "device": "PHONE" });
        Ok(if shown == hers { is_carol() } else { shown })
    })
}

/// What [`carol`] shows where it is good.
pub(crate) fn is_carol() -> Value {
    json!("Carol, on her phone")
}

/// Paths at which users and admins manage accounts that no service manages for them. What is asked there is asked by
/// nobody.
const ACCOUNT_PATHS: [&str; 7] = [
    "/_matrix/client/v3/logout",
    "/_matrix/client/v3/account/password",
    "/_matrix/client/v3/account/deactivate",
    "/_matrix/client/v3/account/3pid",
    "/_matrix/client/v3/delete_devices",
    "/_synapse/admin/v1/reset_password/@nobody:hs.test",
    "/_synapse/admin/v1/registration_tokens/new",
];

/// What each of them answers.
pub(crate) fn account_paths() -> Probe {
    Probe::from(|hs: Live| async move {
        let mut answers = serde_json::Map::new();
        for path in ACCOUNT_PATHS {
            answers.insert(path.to_owned(), hs.anonymous().post(path, &json!({})).await?.brief());
        }
        Ok(Value::Object(answers))
    })
}

/// What [`account_paths`] shows where they are: who asks has to say who they are, by a token or step by step.
pub(crate) fn managed() -> Value {
    let answer = |path: &str| if path.ends_with("/password") { status(401) } else { error(401, "M_MISSING_TOKEN") };
    ACCOUNT_PATHS.into_iter().map(|path| (path.to_owned(), answer(path))).collect()
}

/// What it shows where they are not.
pub(crate) fn unmanaged() -> Value {
    ACCOUNT_PATHS.into_iter().map(|path| (path.to_owned(), not_found())).collect()
}
