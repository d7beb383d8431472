//! Synapse 1.53.0.

use std::time::{Duration, Instant};

use harness::{Method, prelude::*};

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
    let (app, plain) = ("https://app.example.com/", "http://app.example.com/");
    let leads_to = |place: &str| json!({ "status": 302, "location": place });
    let on_disk = json!({ "web_client_location": "/data/webclient" });
    let web_client = "<p>A web client</p>";
    let resource_warning = "To remove this warning, remove 'webclient' from the 'listeners' configuration.";
    let location_warning = "To remove this warning, configure 'web_client_location' with an HTTP(S) URL.";
    let prints = "what it prints";
    // The names that are allowed come in no order.
    let resource_error = || matches(r"(?s)Error in configuration:\s+Unknown listener resource:.*\(got 'webclient'\)");
    let resource_refused = || json!({ "exit status": 1, "printed": resource_error() });
    let location_error = "Error in configuration: web_client_location must point to a HTTP(S) URL.";
    Scenario::for_note("Dropping support for `webclient` listeners and non-HTTP(S) `web_client_location`")
        .disagreement(
            "support for listeners of type `webclient` is dropped",
            "`webclient` was a resource's name; a listener of that type was refused by the releases before, too",
        )
        .hop("1.52.0", "1.53.0")
        .variant("a listener with the resource webclient", |it| {
            it.resources(["webclient"])
                .config(json!({ "web_client_location": app }))
                .fact("start", start())
                .changes(started(), resource_refused())
                .fact(prints, printed())
                .changes(contains(resource_warning), resource_error())
                .fact("/", page("/"))
                .always(leads_to(app))
                .fact("/_matrix/client/", page("/_matrix/client/"))
                .changes(leads_to(app), no_such_path(400))
                .since("1.74.0", no_such_path(404))
                .step("webclient is taken out of the listener", |it| {
                    it.without_resource("webclient").now("start", started()).now(prints, "")
                })
                .step("and the location is dropped", |it| {
                    it.unset("web_client_location")
                        .now("start", started())
                        .now(prints, "")
                        .now("/", leads_to("/_matrix/static"))
                })
        })
        .variant("a listener with the resource webclient, and no location", |it| {
            it.resources(["webclient"])
                .fact("start", start())
                .changes(started(), resource_refused())
                .fact(prints, printed())
                .changes(contains(resource_warning), resource_error())
                .fact("what it logs", log_lines("web_client_location"))
                .changes(
                    json!([contains("Not enabling webclient resource, as web_client_location is unset.")]),
                    json!([]),
                )
        })
        .variant("a listener with the resource webclient, and a web client on disk", |it| {
            it.resources(["webclient"])
                .config(on_disk.clone())
                .file("webclient/index.html", web_client)
                .fact("start", start())
                .changes(started(), resource_refused())
                .fact("/", page("/"))
                .changes(leads_to("/_matrix/client"), leads_to(app))
                .fact("/_matrix/client/", page("/_matrix/client/"))
                .changes(json!({ "status": 200, "body": web_client }), no_such_path(400))
                .since("1.74.0", no_such_path(404))
                .step("webclient is taken out of the listener", |it| {
                    it.without_resource("webclient").now("start", refused(location_error))
                })
                .step("and the location becomes a URL", |it| {
                    it.reconfigure(json!({ "web_client_location": app })).now("start", started())
                })
        })
        .variant("a web client on disk", |it| {
            it.config(on_disk)
                .file("webclient/index.html", web_client)
                .fact("start", start())
                .changes(started(), refused(location_error))
                .fact(prints, printed())
                .changes(contains(location_warning), contains(location_error))
                .fact("/", page("/"))
                .changes(leads_to("/_matrix/static"), leads_to(app))
                .step("the location becomes a URL of another kind", |it| {
                    it.reconfigure(json!({ "web_client_location": "ftp://app.example.com/" }))
                })
                .step("the location becomes a URL", |it| {
                    it.reconfigure(json!({ "web_client_location": app })).now("start", started()).now(prints, "")
                })
        })
        .variant("a URL, valid on both sides", |it| {
            below_client(it.config(json!({ "web_client_location": app })))
                .fact("/", page("/"))
                .always(leads_to(app))
                .step("one without TLS", |it| {
                    it.reconfigure(json!({ "web_client_location": plain })).now("/", leads_to(plain))
                })
        })
        .variant("no setting", |it| below_client(it).fact("/", page("/")).always(leads_to("/_matrix/static")))
        .variant("a listener of the type webclient", |it| {
            it.listener(json!({ "type": "webclient", "port": 9100, "bind_addresses": ["0.0.0.0"] }))
                .fact("start", start())
                .always(refused("(got 'webclient')"))
        })
}

/// All that lies below `/_matrix/client` belongs to the client API, whatever is set.
fn below_client(it: Scenario) -> Scenario {
    ["/_matrix/client", "/_matrix/client/", "/_matrix/client/anything"].into_iter().fold(it, |it, path| {
        it.fact(path, page(path))
            .changes(json!({ "status": 404, "body": contains("No Such Resource") }), no_such_path(400))
            .since("1.74.0", no_such_path(404))
    })
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

const OLD_STAGE: &str = "org.matrix.msc3231.login.registration_token";
const NEW_STAGE: &str = "m.login.registration_token";

/// The validity check of registration tokens moves to a stable path, and the authentication stage to a stable name. What an
/// operator has to follow is the reverse proxy that lets the path through.
///
/// Upstream: PR 11867.
fn registration_token_validity() -> Scenario {
    let old =
        "/_matrix/client/unstable/org.matrix.msc3231/register/org.matrix.msc3231.login.registration_token/validity";
    let new = "/_matrix/client/v1/register/m.login.registration_token/validity";
    let twin = "/_matrix/client/unstable/register/m.login.registration_token/validity";
    let form = |id: &str, stage: &str| {
        let action = format!("<form {id}method=\"post\" action=\"{}\">", fallback(stage));
        json!({ "status": 200, "body": contains(&action) })
    };
    let with_id = "id=\"registrationForm\" ";
    let no_stage = || json!({ "status": 404, "body": { "errcode": "M_UNKNOWN", "error": "Unknown auth stage type" } });
    let passed = || json!({ "status": 200, "body": contains("You may now close this window") });
    let by_page = |page: Value, in_the_end: u16| json!({ "page": page, "in the end": status(in_the_end) });
    let valid = |valid: bool| json!({ "status": 200, "body": { "valid": valid } });
    let once = |before: Value, registered: u16, after: Value| {
        let registered = status(registered);
        json!({ "before": before, "a registration": registered, "after": after })
    };
    let flows = |stage: &str| json!([{ "stages": [stage, "m.login.dummy"] }]);
    let nginx_refuses = || json!({ "status": 404, "body": contains("nginx") });
    let ask = |path: &str, token: &str| get(&format!("{path}?token={token}")).body();
    let registered = |stage: &str| json!({ "token": status(401), "completed": [stage], "in the end": status(200), "a module sees": ["m.login.dummy", stage] });
    let no_such_token = || {
        json!({
            "token": { "status": 401, "errcode": "M_UNAUTHORIZED", "error": "Invalid registration token" },
            "completed": [],
            "in the end": status(401),
            "a module sees": null,
        })
    };
    let no_such_stage = || {
        json!({
            "token": { "status": 400, "errcode": "M_INVALID_PARAM", "error": "Invalid login submission" },
            "completed": null,
            "in the end": status(401),
            "a module sees": null,
        })
    };
    Scenario::for_note("Stablisation of MSC3231")
        .hop("1.52.0", "1.53.0")
        .config(json!({
            "enable_registration": true,
            "registration_requires_token": true,
            "modules": [{ "module": "results.Results" }],
        }))
        .module("results", RESULTS)
        .proxy("proxy with the old rule", [(format!("^{old}$").as_str(), "main")])
        .proxy("proxy with the new rule", [(format!("^{new}$").as_str(), "main")])
        .seed(|hs| async move {
            let path = "/_synapse/admin/v1/registration_tokens/new";
            hs.admin().await?.post(path, &json!({ "token": "abcd" })).await?.ok()?;
            Ok(())
        })
        .fact("old path, known token", ask(old, "abcd"))
        .changes(valid(true), no_such_path(400))
        .since("1.74.0", no_such_path(404))
        .fact("old path, unknown token", ask(old, "nope"))
        .changes(valid(false), no_such_path(400))
        .since("1.74.0", no_such_path(404))
        .fact("new path, known token", ask(new, "abcd"))
        .changes(no_such_path(400), valid(true))
        .fact("new path, unknown token", ask(new, "nope"))
        .changes(no_such_path(400), valid(false))
        .fact("new path without its version, known token", ask(twin, "abcd"))
        .changes(no_such_path(400), valid(true))
        .fact("new path under r0", ask(&new.replace("/v1/", "/r0/"), "abcd"))
        .until("1.74.0", no_such_path(400))
        .since("1.74.0", no_such_path(404))
        .fact("new path under v3", ask(&new.replace("/v1/", "/v3/"), "abcd"))
        .until("1.74.0", no_such_path(400))
        .since("1.74.0", no_such_path(404))
        .fact("old path, proxy with the old rule", ask(old, "abcd").at("proxy with the old rule"))
        .changes(valid(true), no_such_path(400))
        .since("1.74.0", no_such_path(404))
        .fact("new path, proxy with the old rule", ask(new, "abcd").at("proxy with the old rule"))
        .always(nginx_refuses())
        .fact("new path, proxy with the new rule", ask(new, "abcd").at("proxy with the new rule"))
        .changes(no_such_path(400), valid(true))
        .fact(
            "flows of a registration",
            post("/_matrix/client/r0/register", json!({ "username": "stages", "password": "Pa55w0rd!" }))
                .field("/flows"),
        )
        .changes(flows(OLD_STAGE), flows(NEW_STAGE))
        .fact("fallback page of the old stage", get(&format!("{}?session=x", fallback(OLD_STAGE))).body())
        .changes(form(with_id, OLD_STAGE), no_stage())
        .fact("fallback page of the new stage", get(&format!("{}?session=x", fallback(NEW_STAGE))).body())
        .changes(no_stage(), form(with_id, NEW_STAGE))
        // Changed in #15405.
        .since("1.82.0", form("", NEW_STAGE))
        .fact("a registration under the old name", registration(OLD_STAGE, "abcd"))
        .changes(registered(OLD_STAGE), no_such_stage())
        .fact("a registration under the new name", registration(NEW_STAGE, "abcd"))
        .changes(no_such_stage(), registered(NEW_STAGE))
        .fact("a registration under the new name, unknown token", registration(NEW_STAGE, "nope"))
        .changes(no_such_stage(), no_such_token())
        .fact("a registration by the page of the old stage", registration_by_page(OLD_STAGE))
        .changes(by_page(passed(), 200), by_page(no_stage(), 401))
        .fact("a registration by the page of the new stage", registration_by_page(NEW_STAGE))
        .changes(by_page(no_stage(), 401), by_page(passed(), 200))
        .fact("a token that may be used once", used_once(new))
        .changes(once(no_such_path(400), 401, no_such_path(400)), once(valid(true), 200, valid(false)))
}

/// A module that is told by which stages somebody has registered, and writes them down by what was asked for.
const RESULTS: &str = r#"
import json

class Results:
    def __init__(self, config, api):
        api.register_password_auth_provider_callbacks(get_username_for_registration=self.told)

    async def told(self, uia_results, params):
        with open("/data/results-" + params["username"], "w") as file:
            json.dump(sorted(uia_results), file)
"#;

const REGISTER: &str = "/_matrix/client/r0/register";

/// A registration by this stage with this token: what the stage answers, and what becomes of it in the end.
fn registration(stage: &'static str, token: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move { register(&hs, stage, token).await })
}

async fn register(hs: &Live, stage: &str, token: &str) -> Result<Value> {
    let name = hs.unique("newcomer");
    let mut body = json!({ "username": name, "password": "Pa55w0rd!" });
    let session = hs.anonymous().post(REGISTER, &body).await?.field("session")?;
    body["auth"] = json!({ "type": stage, "token": token, "session": session });
    let by_token = hs.anonymous().post(REGISTER, &body).await?;
    body["auth"] = json!({ "type": "m.login.dummy", "session": session });
    let in_the_end = hs.anonymous().post(REGISTER, &body).await?;
    let results = hs.read(&format!("/data/results-{name}")).await?;
    Ok(json!({
        "token": by_token.refusal(),
        "completed": by_token.json()?["completed"],
        "in the end": in_the_end.brief(),
        "a module sees": results.as_str().map(serde_json::from_str::<Value>).transpose()?,
    }))
}

/// The page at which a stage is passed by people whose clients do not know it.
fn fallback(stage: &str) -> String {
    format!("/_matrix/client/r0/auth/{stage}/fallback/web")
}

/// A registration whose token is given at the page of this stage: what the page shows then, and what becomes of it.
fn registration_by_page(stage: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut body = json!({ "username": hs.unique("newcomer"), "password": "Pa55w0rd!" });
        let session = hs.anonymous().post(REGISTER, &body).await?.field("session")?;
        let page = hs.anonymous().request(Method::POST, &fallback(stage));
        let page = page.form(&[("session", &session), ("token", "abcd")]).await?;
        body["auth"] = json!({ "type": "m.login.dummy", "session": session });
        let in_the_end = hs.anonymous().post(REGISTER, &body).await?;
        Ok(json!({ "page": page.whole(), "in the end": in_the_end.brief() }))
    })
}

/// Is a token that may be used once valid, and still after a registration with it?
fn used_once(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let token = hs.unique("once");
        let made = json!({ "token": token, "uses_allowed": 1 });
        hs.admin().await?.post("/_synapse/admin/v1/registration_tokens/new", &made).await?.ok()?;
        let ask = async || -> Result<Value> { Ok(hs.anonymous().get(&format!("{path}?token={token}")).await?.whole()) };
        let before = ask().await?;
        let registration = register(&hs, NEW_STAGE, &token).await?["in the end"].clone();
        Ok(json!({ "before": before, "a registration": registration, "after": ask().await? }))
    })
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
            let comes_to =
                if output.status == 0 { serde_json::from_str(&output.stdout)? } else { json!(output.stderr) };
            Ok(json!({ "milliseconds": comes_to, "warnings": warnings }))
        })
    };
    let comes_to =
        |milliseconds: Option<u64>, warnings: &[&str]| json!({ "milliseconds": milliseconds, "warnings": warnings });
    let at_its_start = "what the server says at its start";
    Scenario::for_note("Time-based cache expiry is now enabled by default")
        .hop("1.52.0", "1.53.0")
        .fact("without any setting", ttl("{}"))
        .changes(comes_to(None, &[]), comes_to(Some(1_800_000), &[]))
        .fact("cache_entry_ttl: 2s", ttl("{cache_entry_ttl: 2s}"))
        .changes(comes_to(None, &[]), comes_to(Some(2000), &[]))
        .fact("expire_caches: false", ttl("{expire_caches: false, cache_entry_ttl: 2s}"))
        .always(comes_to(None, &[]))
        .fact("expiry_time: 5m", ttl("{expiry_time: 5m}"))
        .changes(comes_to(Some(300_000), &[]), comes_to(Some(300_000), &[incompatible, deprecated]))
        .fact("expiry_time: 5m, expire_caches: false", ttl("{expiry_time: 5m, expire_caches: false}"))
        .changes(comes_to(Some(300_000), &[]), comes_to(Some(300_000), &[deprecated]))
        .fact(at_its_start, log_lines("Expiring LRU caches"))
        .changes(json!([]), json!([contains("Expiring LRU caches after 1800 seconds")]))
        .step("the operator wants it as before", |it| {
            it.reconfigure(json!({ "caches": { "expire_caches": false } })).now(at_its_start, json!([]))
        })
}

/// An entry that nobody reads is gone after its time: seen in the gauge, as the eviction counter does not count these.
fn cache_entries_expire() -> Scenario {
    let (entry, prints) = ("an entry after more than 30 seconds", "what the server prints");
    let stays = || json!({ "entries": 2.0, "in the end": 2.0, "missed": 0.0, "dropped": 0 });
    // What else is dropped with it is not counted, but that something is.
    let goes = || json!({ "entries": 2.0, "in the end": 1.0, "missed": 0.0, "dropped": "some" });
    let both_warnings = matches(
        r"(?s)You have set two incompatible options, expiry_time and.*\nExpiry_time is a deprecated option, please",
    );
    Scenario::for_note("Time-based cache expiry is now enabled by default")
        .hop("1.52.0", "1.53.0")
        .config(json!({ "enable_metrics": true }))
        .listener(metrics_listener())
        .alone("others' requests would keep entries alive")
        .without_estate("its owners' entries would be counted")
        .waits("the loop that drops entries runs every 30 seconds")
        .fact(entry, left_alone())
        .changes(stays(), goes())
        .fact(prints, printed())
        .always("")
        .variant("cache_entry_ttl: 5s", |it| {
            it.config(json!({ "caches": { "cache_entry_ttl": "5s" } })).step("expire_caches: false beside it", |it| {
                it.reconfigure(json!({ "caches": { "expire_caches": false } })).now(entry, stays())
            })
        })
        .variant("expiry_time: 5s", |it| {
            it.config(json!({ "caches": { "expiry_time": "5s" } }))
                .fact(entry, left_alone())
                .always(goes())
                .fact(prints, printed())
                .changes("", both_warnings)
                .step("renamed", |it| {
                    it.unset("caches").reconfigure(json!({ "caches": { "cache_entry_ttl": "5s" } })).now(prints, "")
                })
        })
}

/// What becomes of the entry of alice's token while nobody reads it, and beside it of bob's, which is read all the time.
fn left_alone() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
        let whoami = "/_matrix/client/r0/account/whoami";
        alice.get(whoami).await?.ok()?;
        bob.get(whoami).await?.ok()?;
        // How many entries there are, and how often one was looked for that was not there.
        let cache = async || -> Result<(Option<f64>, Option<f64>)> {
            let metrics = hs.metrics("main:9000", "/metrics").await?;
            let of = |name: &str| metrics.value(name, "name=\"get_user_by_access_token\"");
            // The name without a colon is the only one since 1.73.0.
            let either = |old: &str, new: &str| of(old).or_else(|| of(new));
            let size = either("synapse_util_caches_cache:size", "synapse_util_caches_cache_size");
            let hits = either("synapse_util_caches_cache:hits", "synapse_util_caches_cache_hits");
            let total = either("synapse_util_caches_cache:total", "synapse_util_caches_cache");
            Ok((size, total.zip(hits).map(|(total, hits)| total - hits)))
        };
        let (begun, (before, missed_before)) = (Instant::now(), cache().await?);
        // The loop runs every 30 seconds, and passes over what was read less than five seconds ago; some have none. It may be late
        // where the machine is busy.
        let (mut after, mut missed) = (before, missed_before);
        while after == before && begun.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(250)).await;
            bob.get(whoami).await?.ok()?;
            (after, missed) = cache().await?;
        }
        let dropped = hs.log_lines("items from caches").await?;
        let some = dropped.iter().any(|line| !line.contains("Dropped 0 items"));
        Ok(json!({
            "entries": before,
            "in the end": after,
            "missed": missed.zip(missed_before).map(|(now, then)| now - then),
            "dropped": if some { json!("some") } else { json!(0) },
        }))
    })
}

/// Capabilities of MSC3283 become stable; the unstable names go one release later.
///
/// Upstream: PRs 11933, 11989; the removal is 12018, in 1.54.0. The old names need `msc3283_enabled`: without it their
/// absence would prove nothing.
fn msc3283_capabilities() -> Scenario {
    let (stable, unstable) = ("m.", "org.matrix.msc3283.");
    let (change_name, change_avatar, change_addresses) =
        ("a change of the display name", "a change of the avatar", "changes of addresses");
    let with_old_names = || json!({ "experimental_features": { "msc3283_enabled": true } });
    let none = || enabled([Value::Null, Value::Null, Value::Null]);
    let are = |name: bool, avatar: bool, addresses: bool| {
        enabled([name, avatar, addresses].map(|enabled| json!({ "enabled": enabled })))
    };
    let changed = || json!({ "answer": status(200), "changed": true });
    let not_changed = |status: u16, text: &str| json!({ "answer": { "status": status, "errcode": "M_FORBIDDEN", "error": text }, "changed": false });
    let name_fixed = |status: u16| not_changed(status, "Changing display name is disabled on this server");
    let avatar_fixed = |status: u16| not_changed(status, "Changing avatar is disabled on this server");
    let addresses_fixed = || {
        let refused =
            json!({ "status": 400, "errcode": "M_FORBIDDEN", "error": "3PID changes are disabled on this server" });
        json!({ "binding": refused, "adding": refused, "deleting": refused, "left": true })
    };
    let addresses_change = |incomplete: &str| {
        let wanting = |errcode: &str, text: &str| json!({ "status": 400, "errcode": errcode, "error": contains(text) });
        json!({
            "binding": wanting("M_MISSING_PARAM", "three_pid_creds"),
            "adding": wanting(incomplete, "client_secret"),
            "deleting": status(200),
            "left": false,
        })
    };
    Scenario::for_note("Deprecation of `capability` `org.matrix.msc3283.*`")
        .disagreement(
            "the `org.matrix.msc3283.*` capabilities are there until 1.54.0",
            "they are there only with `experimental_features: {msc3283_enabled: true}`",
        )
        .hop("1.52.0", "1.53.0")
        .then("1.54.0")
        .fact("m.*", capabilities(stable))
        .changes(none(), are(true, true, true))
        .fact("org.matrix.msc3283.*", capabilities(unstable))
        .until("1.54.0", are(true, true, true))
        .since("1.54.0", none())
        .variant("with the old names", |it| {
            it.config(with_old_names())
                .fact("what is said of the setting", log_lines("msc3283"))
                .always(json!([]))
                .fact("what the server prints", printed())
                .always("")
        })
        .variant("without a setting", |it| it.fact("org.matrix.msc3283.*", capabilities(unstable)).always(none()))
        // Two settings a variant, so that no capability can tell of another's.
        .variant("names and avatars are fixed", |it| {
            it.without_estate("its owners change their profiles")
                .config(with_old_names())
                .config(json!({ "enable_set_displayname": false, "enable_set_avatar_url": false }))
                .seed(|hs| async move {
                    let alice = hs.user("alice").await?;
                    let path = format!("/_matrix/client/r0/profile/{}/avatar_url", alice.id());
                    alice.put(&path, &json!({ "avatar_url": "mxc://hs.test/first" })).await?.ok()?;
                    Ok(())
                })
                .fact("m.*", capabilities(stable))
                .changes(none(), are(false, false, true))
                .fact("org.matrix.msc3283.*", capabilities(unstable))
                .until("1.54.0", are(false, false, true))
                .since("1.54.0", none())
                .fact(change_name, change("displayname"))
                // Changed in #20173.
                .until("1.161.0", name_fixed(400))
                .since("1.161.0", name_fixed(403))
                .fact(change_avatar, change("avatar_url"))
                .until("1.161.0", avatar_fixed(400))
                .since("1.161.0", avatar_fixed(403))
                .fact(change_addresses, changes_of_addresses())
                .until("1.68.0", addresses_change("M_MISSING_PARAM"))
                // Two are missing, which pydantic has a code of its own for since #13736.
                .since("1.68.0", addresses_change("M_BAD_JSON"))
        })
        .variant("names and addresses are fixed", |it| {
            it.without_estate("its owners change their profiles")
                .config(with_old_names())
                .config(json!({ "enable_set_displayname": false, "enable_3pid_changes": false }))
                .fact("m.*", capabilities(stable))
                .changes(none(), are(false, true, false))
                .fact("org.matrix.msc3283.*", capabilities(unstable))
                .until("1.54.0", are(false, true, false))
                .since("1.54.0", none())
                .fact(change_name, change("displayname"))
                .until("1.161.0", name_fixed(400))
                .since("1.161.0", name_fixed(403))
                .fact(change_avatar, change("avatar_url"))
                .always(changed())
                .fact(change_addresses, changes_of_addresses())
                .always(addresses_fixed())
        })
}

const CAPABILITIES: [&str; 3] = ["set_displayname", "set_avatar_url", "3pid_changes"];

fn enabled(values: [Value; 3]) -> Value {
    CAPABILITIES.into_iter().map(str::to_owned).zip(values).collect()
}

/// What is said of the three capabilities under this prefix.
fn capabilities(prefix: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let answer = hs.user("alice").await?.get("/_matrix/client/r0/capabilities").await?.ok()?.json()?;
        Ok(enabled(CAPABILITIES.map(|name| answer["capabilities"][format!("{prefix}{name}")].clone())))
    })
}

/// What becomes of a change of alice's profile.
fn change(key: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let path = format!("/_matrix/client/r0/profile/{}/{key}", alice.id());
        let value = format!("mxc://hs.test/{}", hs.unique("next"));
        let answer = alice.put(&path, &json!({ key: value })).await?.refusal();
        let changed = alice.get(&path).await?.ok()?.json()?[key] == value;
        Ok(json!({ "answer": answer, "changed": changed }))
    })
}

/// What becomes of three ways to change alice's addresses, the last of which needs nobody else.
fn changes_of_addresses() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, address) = (hs.user("alice").await?, hs.email(&hs.unique("alice")));
        alice.add_email(&address).await?;
        let account = "/_matrix/client/r0/account/3pid";
        let binding = alice.post(account, &json!({})).await?;
        let adding = alice.post(&format!("{account}/add"), &json!({})).await?;
        let gone = json!({ "medium": "email", "address": address });
        let deleting = alice.post(&format!("{account}/delete"), &gone).await?;
        let left = alice.get(account).await?.ok()?.text().contains(&address);
        Ok(json!({
            "binding": binding.refusal(),
            "adding": adding.refusal(),
            "deleting": deleting.refusal(),
            "left": left,
        }))
    })
}

/// The module callback is gone: a module that registers it keeps the server from starting, and is ported to
/// `user_may_invite` with `get_room_state`, or to `on_create_room`.
///
/// Upstream: PR 11950.
fn user_may_create_room_with_invites() -> Scenario {
    let (without, with, by_admin) =
        ("a room without invitations", "a room with an invitation", "an admin's room with an invitation");
    let made = |asked: Value| json!({ "answer": status(200), "rooms made": 1, "the module is asked": asked });
    let refused_room = |errcode: &str, text: &str, rooms: u32, asked: Value| {
        let answer = json!({ "status": 403, "errcode": errcode, "error": text });
        json!({ "answer": answer, "rooms made": rooms, "the module is asked": asked })
    };
    let nothing = || json!([]);
    let old = "You are not permitted to create rooms";
    // The room is made before the invitation is refused.
    let of_invitation = |errcode: &str| {
        let asked = json!([["@alice:hs.test", "@bob:hs.test"]]);
        refused_room(errcode, "Invites have been disabled on this server", 1, asked)
    };
    Scenario::for_note("Removal of `user_may_create_room_with_invites`")
        .hop("1.52.0", "1.53.0")
        .without_estate("the module forbids rooms with invitations")
        .module("invites", INVITES)
        .config(json!({ "modules": [{ "module": "invites.Old" }] }))
        .fact("start", start())
        .changes(started(), refused("got an unexpected keyword argument 'user_may_create_room_with_invites'"))
        .fact(without, room("alice", false))
        .changes(made(json!([["@alice:hs.test", [], []]])), made(nothing()))
        .fact(with, room("alice", true))
        .changes(
            refused_room("M_FORBIDDEN", old, 0, json!([["@alice:hs.test", ["@bob:hs.test"], []]])),
            of_invitation("M_UNKNOWN"),
        )
        // Changed in #12857.
        .since("1.62.0", of_invitation("M_FORBIDDEN"))
        .fact(by_admin, room("admin", true))
        .always(made(nothing()))
        .step("the module is ported to `user_may_invite`", |it| {
            it.unset("modules")
                .reconfigure(json!({ "modules": [{ "module": "invites.MayInvite" }] }))
                .now("start", started())
        })
        .step("the module is ported to `on_create_room`", |it| {
            let asked = |by: &str| json!([[by, ["@bob:hs.test"], by == "@admin:hs.test"]]);
            it.unset("modules")
                .reconfigure(json!({ "modules": [{ "module": "invites.OnCreateRoom" }] }))
                .now("start", started())
                .now(without, made(json!([["@alice:hs.test", [], false]])))
                .now(with, refused_room("M_FORBIDDEN", "no invitations here", 0, asked("@alice:hs.test")))
                .now(by_admin, made(asked("@admin:hs.test")))
        })
}

/// Nobody but admins may make a room and invite somebody at once. Each writes down what it is asked.
const INVITES: &str = r#"
import json
from synapse.api.errors import SynapseError

def asked(*what):
    with open("/data/asked", "a") as file:
        file.write(json.dumps(what) + "\n")

class Old:
    def __init__(self, config, api):
        api.register_spam_checker_callbacks(user_may_create_room_with_invites=self.check)

    async def check(self, user, invites, threepid_invites):
        asked(user, invites, threepid_invites)
        return not invites

class MayInvite:
    def __init__(self, config, api):
        self.api = api
        api.register_spam_checker_callbacks(user_may_invite=self.check)

    async def check(self, inviter, invitee, room_id):
        asked(inviter, invitee)
        state = await self.api.get_room_state(room_id, [("m.room.create", "")])
        return ("m.room.create", "") not in state

class OnCreateRoom:
    def __init__(self, config, api):
        api.register_third_party_rules_callbacks(on_create_room=self.check)

    async def check(self, requester, config, is_requester_admin):
        asked(requester.user.to_string(), config.get("invite", []), is_requester_admin)
        if config.get("invite") and not is_requester_admin:
            raise SynapseError(403, "no invitations here", "M_FORBIDDEN")
"#;

/// What becomes of somebody's wish for a room, with an invitation or without, and what the module is asked of it.
fn room(creator: &'static str, invites: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let bob = hs.user("bob").await?;
        let creator = if creator == "admin" { hs.admin().await? } else { hs.user(creator).await? };
        let rooms = async || -> Result<usize> {
            let joined = creator.get("/_matrix/client/r0/joined_rooms").await?.ok()?.json()?;
            Ok(joined["joined_rooms"].as_array().map_or(0, Vec::len))
        };
        let asked = async || -> Result<Vec<Value>> {
            let lines = hs.read("/data/asked").await?;
            lines.as_str().unwrap_or_default().lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
        };
        let (rooms_before, asked_before) = (rooms().await?, asked().await?.len());
        let options = if invites { json!({ "invite": [bob.id()] }) } else { json!({}) };
        let answer = creator.post("/_matrix/client/r0/createRoom", &options).await?;
        Ok(json!({
            "answer": answer.refusal(),
            "rooms made": rooms().await? - rooms_before,
            "the module is asked": asked().await?.split_off(asked_before),
        }))
    })
}
