//! Synapse 1.53.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

notes!(
    "1.53.0":
    webclient_listener,
    registration_token_validity,
    cache_expiry,
    cache_entries_expire,
    msc3283_capabilities,
    user_may_create_room_with_invites,
);

/// A `webclient` resource and a web client on disk were warned about in 1.51 and 1.52; now the configuration is refused.
///
/// Upstream: PR 11895.
fn webclient_listener() -> Scenario {
    let app = "https://app.example.com/";
    let warning = "To remove this warning";
    let leads_to = |place: &str| json!({ "status": 302, "location": place });
    let root = || page("/");
    let client = || page("/_matrix/client/");
    let nothing_there = json!({ "status": 404, "body": contains("No Such Resource") });
    let client_api = json!({ "status": 400, "body": { "errcode": "M_UNRECOGNIZED", "error": anything() } });
    let web_client = "<p>A web client</p>";
    Scenario::for_note("Dropping support for `webclient` listeners and non-HTTP(S) `web_client_location`")
        .disagreement(
            "support for listeners of type `webclient` is dropped",
            "`webclient` was a resource's name; a listener of that type was refused by the releases before, too",
        )
        .hop("1.52.0", "1.53.0")
        .variant("a listener with the resource webclient")
        .resources(["webclient"])
        .config(json!({ "web_client_location": app }))
        .fact("start", start())
        .until("1.53.0", started())
        .since("1.53.0", refused("Unknown listener resource"))
        .fact("what it prints", printed())
        .until("1.53.0", contains(warning))
        .since("1.53.0", contains("(got 'webclient')"))
        .fact("/", root())
        .always(leads_to(app))
        .fact("/_matrix/client/", client())
        .until("1.53.0", leads_to(app))
        .since("1.53.0", client_api.clone())
        .step("webclient is taken out of the listener")
        .change(|deployment| {
            deployment.resources.remove("webclient");
        })
        .now("start", started())
        .now("what it prints", "")
        .variant("a listener with the resource webclient, and no location")
        .resources(["webclient"])
        .fact("start", start())
        .until("1.53.0", started())
        .since("1.53.0", refused("Unknown listener resource"))
        .fact("what it prints", printed())
        .until("1.53.0", contains(warning))
        .since("1.53.0", contains("(got 'webclient')"))
        .fact("what it logs", log_lines("web_client_location"))
        .until("1.53.0", json!([contains("Not enabling webclient resource, as web_client_location is unset.")]))
        .since("1.53.0", json!([]))
        .variant("a listener with the resource webclient, and a web client on disk")
        .resources(["webclient"])
        .config(json!({ "web_client_location": "/data/webclient" }))
        .file("webclient/index.html", web_client)
        .fact("start", start())
        .until("1.53.0", started())
        .since("1.53.0", refused("Unknown listener resource"))
        .fact("/", root())
        .until("1.53.0", leads_to("/_matrix/client"))
        .since("1.53.0", leads_to(app))
        .fact("/_matrix/client/", client())
        .until("1.53.0", json!({ "status": 200, "body": web_client }))
        .since("1.53.0", client_api.clone())
        .step("webclient is taken out of the listener")
        .change(|deployment| {
            deployment.resources.remove("webclient");
        })
        .now("start", refused("web_client_location must point to a HTTP(S) URL."))
        .step("and the location becomes a URL")
        .change(move |deployment| {
            deployment.config(json!({ "web_client_location": app }));
        })
        .now("start", started())
        .variant("a web client on disk")
        .config(json!({ "web_client_location": "/data/webclient" }))
        .file("webclient/index.html", web_client)
        .fact("start", start())
        .until("1.53.0", started())
        .since("1.53.0", refused("web_client_location must point to a HTTP(S) URL."))
        .fact("what it prints", printed())
        .until("1.53.0", contains(warning))
        .since("1.53.0", contains("Error in configuration"))
        .fact("/", root())
        .until("1.53.0", leads_to("/_matrix/static"))
        .since("1.53.0", leads_to(app))
        .fact("/_matrix/client/", client())
        .until("1.53.0", nothing_there.clone())
        .since("1.53.0", client_api.clone())
        .step("the location becomes a URL")
        .change(move |deployment| {
            deployment.config(json!({ "web_client_location": app }));
        })
        .now("start", started())
        .now("what it prints", "")
        .variant("a URL, valid on both sides")
        .config(json!({ "web_client_location": app }))
        .fact("/", root())
        .always(leads_to(app))
        .fact("/_matrix/client/", client())
        .until("1.53.0", nothing_there)
        .since("1.53.0", client_api)
}

/// Where a page leads, or what it shows.
fn page(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let answer = hs.anonymous().get(path).await?;
        Ok(match answer.header("location") {
            Some(place) => json!({ "status": answer.status(), "location": place }),
            None => answer.whole(),
        })
    })
}

/// The validity check of registration tokens moves to a stable path, and the authentication stage to a stable name.
///
/// Upstream: PR 11867. Tokens outlive the move; what must follow is the reverse proxy that lets the path through.
fn registration_token_validity() -> Scenario {
    let old =
        "/_matrix/client/unstable/org.matrix.msc3231/register/org.matrix.msc3231.login.registration_token/validity";
    let new = "/_matrix/client/v1/register/m.login.registration_token/validity";
    let twin = "/_matrix/client/unstable/register/m.login.registration_token/validity";
    let fallback = |stage: &str| get(&format!("/_matrix/client/r0/auth/{stage}/fallback/web?session=x"));
    let (old_stage, new_stage) = ("org.matrix.msc3231.login.registration_token", "m.login.registration_token");
    let valid = |valid: bool| json!({ "status": 200, "body": { "valid": valid } });
    let stages = |stage: &str| json!([stage, "m.login.dummy"]);
    let nginx_refuses = || json!({ "status": 404, "body": contains("nginx") });
    let unrecognized = || json!({ "status": 400, "body": { "errcode": "M_UNRECOGNIZED", "error": anything() } });
    let ask = |path: &str, token: &str| get(&format!("{path}?token={token}")).body();
    Scenario::for_note("Stablisation of MSC3231")
        .hop("1.52.0", "1.53.0")
        .config(json!({ "enable_registration": true, "registration_requires_token": true }))
        .proxy("proxy with the old rule", [(&format!("^{old}$"), "main")])
        .proxy("proxy with the new rule", [(&format!("^{new}$"), "main")])
        .seed(|hs| async move {
            let path = "/_synapse/admin/v1/registration_tokens/new";
            hs.admin().await?.post(path, &json!({ "token": "abcd" })).await?.ok()?;
            Ok(())
        })
        .fact("old path, known token", ask(old, "abcd"))
        .until("1.53.0", valid(true))
        .since("1.53.0", unrecognized())
        .fact("old path, unknown token", ask(old, "nope"))
        .until("1.53.0", valid(false))
        .since("1.53.0", unrecognized())
        .fact("new path, known token", ask(new, "abcd"))
        .until("1.53.0", unrecognized())
        .since("1.53.0", valid(true))
        .fact("new path, unknown token", ask(new, "nope"))
        .until("1.53.0", unrecognized())
        .since("1.53.0", valid(false))
        .fact("new path without its version, known token", ask(twin, "abcd"))
        .until("1.53.0", unrecognized())
        .since("1.53.0", valid(true))
        .fact("old path, proxy with the old rule", ask(old, "abcd").at("proxy with the old rule"))
        .until("1.53.0", valid(true))
        .since("1.53.0", unrecognized())
        .fact("new path, proxy with the old rule", ask(new, "abcd").at("proxy with the old rule"))
        .always(nginx_refuses())
        .fact("new path, proxy with the new rule", ask(new, "abcd").at("proxy with the new rule"))
        .until("1.53.0", unrecognized())
        .since("1.53.0", valid(true))
        .fact(
            "stages of a registration",
            post("/_matrix/client/r0/register", json!({ "username": "stages", "password": "Pa55w0rd!" }))
                .field("/flows/0/stages"),
        )
        .until("1.53.0", stages(old_stage))
        .since("1.53.0", stages(new_stage))
        .fact("fallback page of the old stage", fallback(old_stage))
        .until("1.53.0", status(200))
        .since("1.53.0", error(404, "M_UNKNOWN"))
        .fact("fallback page of the new stage", fallback(new_stage))
        .until("1.53.0", error(404, "M_UNKNOWN"))
        .since("1.53.0", status(200))
        .fact("a registration with the token, under the stage's new name", |hs: Live| async move {
            let path = "/_matrix/client/r0/register";
            let mut body = json!({ "username": hs.unique("newcomer"), "password": "Pa55w0rd!" });
            let session = hs.anonymous().post(path, &body).await?.field("session")?;
            for auth in
                [json!({ "type": "m.login.registration_token", "token": "abcd" }), json!({ "type": "m.login.dummy" })]
            {
                body["auth"] = auth;
                body["auth"]["session"] = json!(session);
                let answer = hs.anonymous().post(path, &body).await?;
                if body["auth"]["type"] == "m.login.dummy" || answer.json()?["completed"].is_null() {
                    return Ok(answer.brief());
                }
            }
            Ok(Value::Null)
        })
        .until("1.53.0", error(400, "M_INVALID_PARAM"))
        .since("1.53.0", status(200))
}

/// Entries of caches expire after 30 minutes unless told otherwise; `cache_entry_ttl` and `expire_caches` replace
/// `expiry_time`, which still counts.
///
/// Upstream: PR 11849. What a configuration comes to is read with Synapse's own reader.
fn cache_expiry() -> Scenario {
    let (incompatible, deprecated) = ("two incompatible options", "Expiry_time is a deprecated option");
    let ttl = |caches: &'static str| {
        Probe::from(move |hs: Live| async move {
            let program = format!(
                "import json, logging, sys\n\
                 from synapse.config.homeserver import HomeServerConfig\n\
                 open('/tmp/caches.yaml', 'w').write('caches: {caches}')\n\
                 config = HomeServerConfig.load_config('', ['-c', '/data/homeserver.yaml', '-c', '/tmp/caches.yaml'])\n\
                 print(json.dumps(config.caches.expiry_time_msec))"
            );
            let output = hs.exec(&["python", "-c", &program]).await?;
            let mut warnings = vec![incompatible, deprecated];
            warnings.retain(|warning| output.stderr.contains(warning));
            Ok(json!({ "milliseconds": serde_json::from_str::<Value>(&output.ok()?)?, "warnings": warnings }))
        })
    };
    let comes_to =
        |milliseconds: Option<u64>, warnings: &[&str]| json!({ "milliseconds": milliseconds, "warnings": warnings });
    let at_its_start = "what the server says at its start";
    Scenario::for_note("Time-based cache expiry is now enabled by default")
        .hop("1.52.0", "1.53.0")
        .fact("without any setting", ttl("{}"))
        .until("1.53.0", comes_to(None, &[]))
        .since("1.53.0", comes_to(Some(1_800_000), &[]))
        .fact("cache_entry_ttl: 2s", ttl("{cache_entry_ttl: 2s}"))
        .until("1.53.0", comes_to(None, &[]))
        .since("1.53.0", comes_to(Some(2000), &[]))
        .fact("expire_caches: false", ttl("{expire_caches: false, cache_entry_ttl: 2s}"))
        .always(comes_to(None, &[]))
        .fact("expiry_time: 5m", ttl("{expiry_time: 5m}"))
        .until("1.53.0", comes_to(Some(300_000), &[]))
        .since("1.53.0", comes_to(Some(300_000), &[incompatible, deprecated]))
        .fact("expiry_time: 5m, expire_caches: false", ttl("{expiry_time: 5m, expire_caches: false}"))
        .until("1.53.0", comes_to(Some(300_000), &[]))
        .since("1.53.0", comes_to(Some(300_000), &[deprecated]))
        .fact(at_its_start, log_lines("Expiring LRU caches"))
        .until("1.53.0", json!([]))
        .since("1.53.0", json!([contains("Expiring LRU caches after 1800 seconds")]))
        .step("the operator wants it as before")
        .change(|deployment| {
            deployment.config(json!({ "caches": { "expire_caches": false } }));
        })
        .now(at_its_start, json!([]))
}

/// An entry that nobody reads is gone after its time: seen in the gauge, as the eviction counter does not count these.
fn cache_entries_expire() -> Scenario {
    Scenario::for_note("Time-based cache expiry is now enabled by default")
        .hop("1.52.0", "1.53.0")
        .config(json!({ "enable_metrics": true, "caches": { "cache_entry_ttl": "2s" } }))
        .listener(metrics_listener())
        .alone("others' requests would keep entries alive")
        .without_estate("its owners' entries would be counted")
        .waits("the loop that drops entries runs every 30 seconds")
        .fact("an entry after more than 30 seconds", |hs: Live| async move {
            hs.user("alice").await?.get("/_matrix/client/r0/account/whoami").await?.ok()?;
            let size = async || -> Result<Option<f64>> {
                let metrics = hs.metrics("main:9000", "/metrics").await?;
                Ok(metrics.value("synapse_util_caches_cache:size", "name=\"get_user_by_access_token\""))
            };
            let (begun, before) = (Instant::now(), size().await?);
            // The loop runs every 30 seconds, and passes over what was read less than two seconds ago; 1.52 has none.
            let mut after = before;
            while after == before && begun.elapsed() < Duration::from_secs(35) {
                tokio::time::sleep(Duration::from_millis(250)).await;
                after = size().await?;
            }
            let says_so = !hs.log_lines("items from caches").await?.is_empty();
            Ok(json!({ "read": before, "left alone": after, "says so": says_so }))
        })
        .until("1.53.0", json!({ "read": 1.0, "left alone": 1.0, "says so": false }))
        .since("1.53.0", json!({ "read": 1.0, "left alone": 0.0, "says so": true }))
}

/// Capabilities of MSC3283 become stable; the unstable names go one release later.
///
/// Upstream: PRs 11933, 11989; the removal is 12018, in 1.54.0. The old names need `msc3283_enabled`: without it their
/// absence would prove nothing.
fn msc3283_capabilities() -> Scenario {
    let enabled = |enabled: bool| json!({ "enabled": enabled });
    // What 1.52.0 says under the old names, and 1.53.0 under the new ones.
    let capabilities = |scenario: Scenario, old: &Value, new: &Value| {
        ["set_displayname", "set_avatar_url", "3pid_changes"].into_iter().fold(scenario, |scenario, name| {
            let (unstable, stable) = (format!("org.matrix.msc3283.{name}"), format!("m.{name}"));
            scenario
                .fact(&unstable, capability(&unstable))
                .until("1.54.0", old.clone())
                .since("1.54.0", Value::Null)
                .fact(&stable, capability(&stable))
                .until("1.53.0", Value::Null)
                .since("1.53.0", new.clone())
        })
    };
    let with_old_names = json!({ "experimental_features": { "msc3283_enabled": true } });
    let scenario = Scenario::for_note("Deprecation of `capability` `org.matrix.msc3283.*`")
        .disagreement(
            "the `org.matrix.msc3283.*` capabilities are there until 1.54.0",
            "they are there only with `experimental_features: {msc3283_enabled: true}`",
        )
        .hop("1.52.0", "1.53.0")
        .then("1.54.0")
        .variant("with the old names")
        .config(with_old_names.clone());
    let scenario = capabilities(scenario, &enabled(true), &enabled(true)).variant("without a setting");
    let scenario = capabilities(scenario, &Value::Null, &enabled(true))
        .variant("nobody may change anything")
        .without_estate("its owners change their profiles")
        .config(with_old_names)
        .config(
            json!({ "enable_set_displayname": false, "enable_set_avatar_url": false, "enable_3pid_changes": false }),
        );
    capabilities(scenario, &enabled(false), &enabled(false))
        .fact("a change of the display name", change_of_name())
        .always(error(400, "M_FORBIDDEN"))
}

fn change_of_name() -> Probe {
    Probe::from(|hs: Live| async move {
        let alice = hs.user("alice").await?;
        let path = format!("/_matrix/client/r0/profile/{}/displayname", alice.id());
        Ok(alice.put(&path, &json!({ "displayname": "Alice" })).await?.brief())
    })
}

fn capability(name: &str) -> Probe {
    get("/_matrix/client/r0/capabilities").by("alice").field(&format!("/capabilities/{name}")).into()
}

/// The module callback is gone: a module that registers it keeps the server from starting, and is ported to
/// `user_may_invite` with `get_room_state`.
///
/// Upstream: PR 11950.
fn user_may_create_room_with_invites() -> Scenario {
    let module = r#"
from synapse.module_api import ModuleApi

class Old:
    def __init__(self, config, api):
        api.register_spam_checker_callbacks(user_may_create_room_with_invites=self.check)

    async def check(self, user, invites, threepid_invites):
        return not invites

class Ported:
    def __init__(self, config, api):
        self.api = api
        api.register_spam_checker_callbacks(user_may_invite=self.check)

    async def check(self, inviter, invitee, room_id):
        state = await self.api.get_room_state(room_id, [("m.room.create", "")])
        return ("m.room.create", "") not in state
"#;
    let room = |by_admin: bool, invite: bool| {
        Probe::from(move |hs: Live| async move {
            let bob = hs.user("bob").await?;
            let creator = if by_admin { hs.admin().await? } else { hs.user("alice").await? };
            let rooms = async || -> Result<usize> {
                let joined = creator.get("/_matrix/client/r0/joined_rooms").await?.ok()?.json()?;
                Ok(joined["joined_rooms"].as_array().map_or(0, Vec::len))
            };
            let before = rooms().await?;
            let options = if invite { json!({ "invite": [bob.id()] }) } else { json!({}) };
            let answer = creator.post("/_matrix/client/r0/createRoom", &options).await?;
            let error = answer.json()?["error"].clone();
            Ok(json!({ "answer": answer.brief(), "error": error, "rooms made": rooms().await? - before }))
        })
    };
    let made = || json!({ "answer": { "status": 200 }, "error": null, "rooms made": 1 });
    Scenario::for_note("Removal of `user_may_create_room_with_invites`")
        .hop("1.52.0", "1.53.0")
        .without_estate("the module forbids rooms with invitations")
        .module("invites", module)
        .config(json!({ "modules": [{ "module": "invites.Old" }] }))
        .fact("start", start())
        .until("1.53.0", started())
        .since("1.53.0", refused("got an unexpected keyword argument 'user_may_create_room_with_invites'"))
        .fact("a room without invitations", room(false, false))
        .always(made())
        .fact("an admin's room with an invitation", room(true, true))
        .always(made())
        .fact("a room with an invitation", room(false, true))
        .until(
            "1.53.0",
            json!({
                "answer": { "status": 403, "errcode": "M_FORBIDDEN" },
                "error": "You are not permitted to create rooms",
                "rooms made": 0,
            }),
        )
        // The room is made before the invitation is refused.
        .since(
            "1.53.0",
            json!({
                "answer": { "status": 403, "errcode": "M_UNKNOWN" },
                "error": "Invites have been disabled on this server",
                "rooms made": 1,
            }),
        )
        .step("the module is ported to `user_may_invite`")
        .change(|deployment| {
            deployment.unset("modules").config(json!({ "modules": [{ "module": "invites.Ported" }] }));
        })
        .now("start", started())
}
