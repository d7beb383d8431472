//! Groups, once called communities: disabled by default in 1.58.0, removed in 1.61.0.

use harness::{Method, prelude::*};

/// The configuration with which they work, where a release lets them.
pub(crate) fn enabled() -> Value {
    json!({ "enable_group_creation": true, "experimental_features": { "groups_enabled": true } })
}

/// Alice founds a group: `{group}`, in paths `{group escaped}`.
pub(crate) async fn found(hs: Live) -> Result<()> {
    let body = json!({ "localpart": hs.unique("group"), "profile": { "name": "A group" } });
    let group =
        hs.user("alice").await?.post("/_matrix/client/v3/create_group", &body).await?.ok()?.field("group_id")?;
    hs.remember("group", &group);
    hs.remember("group escaped", &escape(&group));
    Ok(())
}

/// Routes that workers served, too. What is asked of the federation API is not signed.
const ROUTES: [(&str, &str); 11] = [
    ("GET", "/_matrix/client/v3/joined_groups"),
    ("GET", "/_matrix/client/r0/joined_groups"),
    ("GET", "/_matrix/client/unstable/joined_groups"),
    ("GET", "/_matrix/client/v3/groups/{group escaped}/profile"),
    ("GET", "/_matrix/client/r0/groups/{group escaped}/summary"),
    ("POST", "/_matrix/client/v3/publicised_groups"),
    ("POST", "/_matrix/client/unstable/publicised_groups"),
    ("GET", "/_matrix/client/v3/publicised_groups/{alice}"),
    ("GET", "/_matrix/client/r0/publicised_groups/{alice}"),
    ("GET", "/_matrix/federation/v1/groups/{group escaped}/profile"),
    ("POST", "/_matrix/federation/v1/get_groups_publicised"),
];

/// Routes of the main process alone. The group to be deleted is not there.
const MAIN_ROUTES: [(&str, &str); 2] =
    [("POST", "/_matrix/client/v3/create_group"), ("POST", "/_synapse/admin/v1/delete_group/%2Bnobodys:hs.test")];

fn routes(process: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.into_iter().chain(if process == "main" { MAIN_ROUTES.as_slice() } else { &[] }.iter().copied())
}

/// What each route answers: reading to Alice, writing to Bob, so that her groups stay as they are.
pub(crate) fn answers(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut answers = serde_json::Map::new();
        for (method, path) in routes(process) {
            let client = match path {
                path if path.starts_with("/_synapse/") => hs.admin().await?,
                path if path.starts_with("/_matrix/federation/") => hs.anonymous(),
                _ => hs.user(if method == "GET" { "alice" } else { "bob" }).await?,
            };
            let mut request = client.at(process)?.request(Method::from_bytes(method.as_bytes())?, &hs.fill(path)?);
            if method == "POST" {
                request = request.json(&json!({ "localpart": hs.unique("another"), "user_ids": [client.id()] }));
            }
            answers.insert(format!("{method} {path}"), request.await?.refusal());
        }
        Ok(Value::Object(answers))
    })
}

/// What [`answers`] shows where groups are served.
pub(crate) fn served(process: &str) -> Value {
    by_route(process, |path| match path {
        path if path.starts_with("/_synapse/") => {
            json!({ "status": 404, "errcode": "M_UNKNOWN", "error": "Unknown group" })
        }
        path if path.starts_with("/_matrix/federation/") => {
            refusal(401, "M_UNAUTHORIZED", "Missing Authorization headers")
        }
        _ => status(200),
    })
}

/// What [`answers`] shows where they are not.
pub(crate) fn gone(process: &str) -> Value {
    unknown(process, 400)
}

/// Likewise, since 1.74.0.
pub(crate) fn forgotten(process: &str) -> Value {
    unknown(process, 404)
}

fn unknown(process: &str, status: u16) -> Value {
    by_route(process, |_| refusal(status, "M_UNRECOGNIZED", "Unrecognized request"))
}

fn by_route(process: &str, answer: impl Fn(&str) -> Value) -> Value {
    routes(process).map(|(method, path)| (format!("{method} {path}"), answer(path))).collect()
}

/// What Alice's first sync says of her groups; `null` where it says nothing.
pub(crate) fn synced() -> Probe {
    get("/_matrix/client/v3/sync").by("alice").field("/groups/join").into()
}

/// Alice's group, in what [`synced`] shows.
pub(crate) fn joined() -> Value {
    json!({ "{group}": anything() })
}
