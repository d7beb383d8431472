//! Synapse 1.24.0.

use std::collections::BTreeSet;

use harness::prelude::*;

notes!("1.24.0": oidc_mapping_provider, historical_admin_api);

/// A module that maps users of an OpenID Connect provider has to make a valid local part itself. One that did so before
/// had it done twice.
///
/// Upstream: PR 8678.
fn oidc_mapping_provider() -> Scenario {
    let module = r#"
from synapse.types import map_username_to_mxid_localpart

class AsItIs:
    def __init__(self, config):
        pass

    @staticmethod
    def parse_config(config):
        return config

    def get_remote_user_id(self, userinfo):
        return userinfo.sub

    async def map_user_attributes(self, userinfo, token):
        return {"localpart": userinfo["name"], "display_name": None}

    async def get_extra_attributes(self, userinfo, token):
        return {}

class Normalised(AsItIs):
    async def map_user_attributes(self, userinfo, token):
        return {"localpart": map_username_to_mxid_localpart(userinfo["name"]), "display_name": None}
"#;
    let maps_by = |provider: Value| json!({ "oidc_config": { "user_mapping_provider": provider } });
    let user = |id: &str| json!({ "user": id });
    Scenario::for_note("Custom OpenID Connect mapping provider breaking change")
        .hop("1.23.1", "1.24.0")
        .module("mapping", module)
        .config(json!({
            "public_baseurl": "http://hs.test/",
            "sso": { "client_whitelist": ["http://app.test/"] },
            "oidc_config": {
                "enabled": true,
                "issuer": "http://idp.test/",
                "client_id": "synapse",
                "client_secret": "secret",
                "scopes": ["openid", "profile"],
                "skip_verification": true,
            },
        }))
        .companion(
            "idp.test",
            companion::identity_provider(&json!({
                "portal": "http://idp.test",
                "oidc": [{
                    "client_id": "synapse",
                    "client_secret": "secret",
                    "redirect_uris": ["http://hs.test/_synapse/oidc/callback"],
                }],
            })),
        )
        .variant("a module that gives the name as it is", |it| {
            it.config(maps_by(json!({ "module": "mapping.AsItIs", "config": {} })))
                .log_error("localpart is invalid|Could not map user")
                .fact("a first login", first_login())
                .changes(
                    user("@first=20last:hs.test"),
                    json!({ "status": 400, "page": contains("localpart is invalid: First Last") }),
                )
                .fact("what is logged of it", log_lines("MappingException: "))
                .changes(json!([]), json!([contains("localpart is invalid")]))
                .step("the module normalises it", |it| {
                    it.reconfigure(maps_by(json!({ "module": "mapping.Normalised" })))
                        .now("a first login", user("@first=20last:hs.test"))
                        .now("what is logged of it", json!([]))
                })
        })
        .variant("a module that normalises the name", |it| {
            it.config(maps_by(json!({ "module": "mapping.Normalised", "config": {} })))
                .fact("a first login", first_login())
                .changes(user("@first=3d20last:hs.test"), user("@first=20last:hs.test"))
        })
        .variant("upstream's provider", |it| {
            it.config(maps_by(json!({ "config": { "localpart_template": "{{ user.name }}" } })))
                .fact("a first login", first_login())
                .always(user("@first=20last:hs.test"))
        })
}

/// Somebody who has never been here logs in: a user who is known is not mapped again. Shown as if the name were always
/// First Last.
fn first_login() -> Probe {
    const PEOPLE: [(&str, &str, &str); 3] =
        [("dwho", "Doctor", "Who"), ("rtyler", "Rose", "Tyler"), ("msmith", "Mickey", "Smith")];
    Probe::from(|hs: Live| async move {
        let logins = hs.recall("logins").unwrap_or_default();
        hs.remember("logins", &format!("{logins}+"));
        let (user, first, last) = PEOPLE[logins.len()];
        let nameless = |text: &str| {
            let text = text.replace(first, "First").replace(last, "Last");
            text.replace(&first.to_lowercase(), "first").replace(&last.to_lowercase(), "last")
        };
        let mut browser = hs.browser("main");
        let begin = "http://hs.test/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";
        let mut page = browser.open(begin).await?;
        for _ in 0..3 {
            if page.url.host_str() == Some("idp.test") && page.has_form() {
                page = browser.submit(&page, &[("user", user), ("password", user)]).await?;
            }
        }
        let Some(token) = page.parameter("loginToken") else {
            return Ok(json!({ "status": page.status(), "page": nameless(&page.text()) }));
        };
        let login = json!({ "type": "m.login.token", "token": token });
        let user = hs.anonymous().post("/_matrix/client/r0/login", &login).await?.field("user_id")?;
        Ok(json!({ "user": nameless(&user) }))
    })
}

/// The admin API is no longer served under three prefixes of the client API; only `whois` stays, as the specification has it.
///
/// Upstream: PR 8785.
fn historical_admin_api() -> Scenario {
    let scenario = Scenario::for_note("Removal historical Synapse Admin API")
        .disagreement(
            "`whois` is also available in the client API, at the specification's `r0` path",
            "it stays under `api/v1` and `unstable`, too",
        )
        .hop("1.23.1", "1.24.0")
        .seed(|hs| async move {
            hs.user("alice").await?.room("lobby", &json!({})).await?;
            Ok(())
        })
        .fact("/_synapse/admin/v1", calls("/_synapse/admin/v1"))
        // Later notes take some of them away.
        .until("1.32.0", answers(|_, served| served));
    ["/_matrix/client/api/v1/admin", "/_matrix/client/unstable/admin", "/_matrix/client/r0/admin"].into_iter().fold(
        scenario,
        |scenario, prefix| {
            let all_but_whois = |not_served: Value| {
                answers(move |name, served| if name == "whois" { served } else { not_served.clone() })
            };
            scenario
                .fact(prefix, calls(prefix))
                .changes(answers(|_, served| served), all_but_whois(unrecognized()))
                .since("1.74.0", all_but_whois(not_found()))
        },
    )
}

/// Everything that once had the four prefixes: a name, a call that succeeds where it is served, and the keys of what it then
/// answers (of the first, where that is a list).
fn endpoints() -> Vec<(&'static str, Option<Value>, &'static str, Vec<&'static str>)> {
    let nothing = || Some(json!({}));
    let far = 4_000_000_000_000_u64;
    vec![
        ("register", None, "register", vec!["nonce"]),
        (
            "users",
            None,
            "users/{admin}",
            vec!["admin", "deactivated", "is_guest", "name", "password_hash", "user_type"],
        ),
        (
            "search_users",
            None,
            "search_users/{admin}?term=a",
            vec!["admin", "is_guest", "name", "password_hash", "user_type"],
        ),
        ("whois", None, "whois/{alice}", vec!["devices", "user_id"]),
        ("list of a room's media", None, "room/{lobby}/media", vec!["local", "remote"]),
        ("quarantine of a room's media", nothing(), "room/{lobby}/media/quarantine", vec!["num_quarantined"]),
        ("quarantine of a room's media, old name", nothing(), "quarantine_media/{lobby}", vec!["num_quarantined"]),
        ("quarantine of a user's media", nothing(), "user/{alice}/media/quarantine", vec!["num_quarantined"]),
        ("quarantine of one medium", nothing(), "media/quarantine/hs.test/none", vec![]),
        ("purge_media_cache", nothing(), "purge_media_cache?before_ts=1", vec!["deleted"]),
        ("purge_history", Some(json!({ "purge_up_to_ts": far })), "purge_history/{attic}", vec!["purge_id"]),
        ("purge_history_status", None, "purge_history_status/{purge}", vec!["status"]),
        (
            "shutdown_room",
            Some(json!({ "new_room_user_id": "{alice}" })),
            "shutdown_room/{hall}",
            vec!["failed_to_kick_users", "kicked_users", "local_aliases", "new_room_id"],
        ),
        ("reset_password", Some(json!({ "new_password": "new" })), "reset_password/{leaver}", vec![]),
        (
            "account_validity",
            Some(json!({ "user_id": "{leaver}", "expiration_ts": far })),
            "account_validity/validity",
            vec!["expiration_ts"],
        ),
        ("deactivate", nothing(), "deactivate/{leaver}", vec!["id_server_unbind_result"]),
        ("delete_group", nothing(), "delete_group/{group}", vec![]),
    ]
}

fn answers(answer: impl Fn(&str, Value) -> Value) -> Value {
    let served = |keys: Vec<&str>| json!({ "status": 200, "keys": keys });
    endpoints().into_iter().map(|(name, _, _, keys)| (name.to_owned(), answer(name, served(keys)))).collect()
}

fn calls(prefix: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        // Whoever leaves and the rooms that suffer are new each time.
        hs.remember("leaver", hs.user(&hs.unique("leaver")).await?.id());
        let (alice, admin) = (hs.user("alice").await?, hs.admin().await?);
        for name in ["hall", "attic", "cellar"] {
            let room = alice.create_room(&json!({})).await?;
            alice.say(&room, "hello").await?.ok()?;
            hs.remember(name, &room);
        }
        let purge = hs.fill("/_synapse/admin/v1/purge_history/{cellar}")?;
        let purge = admin.post(&purge, &json!({ "purge_up_to_ts": 4_000_000_000_000_u64 })).await?.ok()?;
        hs.remember("purge", &purge.field("purge_id")?);
        let group = json!({ "localpart": hs.unique("group"), "profile": {} });
        let group = admin.post("/_matrix/client/r0/create_group", &group).await?;
        // Without groups (#12344, #12553), the one of an earlier leg is as good as any.
        if ![unrecognized(), not_found()].contains(&group.brief()) {
            hs.remember("group", &escape(&group.ok()?.field("group_id")?));
        }
        let mut seen = json!({});
        for (name, body, path, _) in endpoints() {
            let path = hs.fill(&format!("{prefix}/{path}"))?;
            let answer = match body {
                None => admin.get(&path).await?,
                Some(body) => admin.post(&path, &serde_json::from_str(&hs.fill(&body.to_string())?)?).await?,
            };
            let body = answer.json()?;
            let keys: Option<BTreeSet<_>> = body.get(0).unwrap_or(&body).as_object().map(|body| body.keys().collect());
            seen[name] = if answer.status() == 200 { json!({ "status": 200, "keys": keys }) } else { answer.brief() };
        }
        Ok(seen)
    })
}
