//! Synapse 1.32.0.

use std::collections::BTreeSet;

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _, becomes, requires_python};

notes!("1.32.0": prometheus_regression, old_platforms, list_accounts_v1, appservice_registration_type);

/// Python has to be 3.6, PostgreSQL 9.6 and SQLite 3.22 or newer. The versions are faked: those refused are not to be had.
///
/// Upstream: PR 9766.
fn old_platforms() -> Scenario {
    let start_there = "start, on the faked version";
    let database_refused = || {
        per_database(
            refused("RuntimeError: Synapse requires sqlite 3.22 or above."),
            refused("RuntimeError: Synapse requires PostgreSQL 9.6 or above."),
        )
    };
    Scenario::for_note("Dropping support for old Python, Postgres and SQLite versions")
        .on_both()
        .disagreement(
            "1.32.0 requires Python 3.6",
            "only pip says so; once installed, 1.32.0 runs under an interpreter that calls itself 3.5, and 1.33.0 does not",
        )
        .hop("1.31.0", "1.32.0")
        .begin_variant("PostgreSQL 9.5 or SQLite 3.21, faked")
        .faked(Old::Postgres(90_525))
        .faked(Old::Sqlite(3, 21, 0))
        .fact(start_there, start())
        .changes(started(), database_refused())
        .begin_step("PostgreSQL 9.6 or SQLite 3.22, faked")
        .change(becomes(Old::Postgres(90_600)))
        .change(becomes(Old::Sqlite(3, 22, 0)))
        .now(start_there, started())
        .begin_variant("Python 3.5, faked")
        .then("1.33.0")
        .faked(Old::Python(3, 5))
        .fact(start_there, start())
        .until("1.33.0", started())
        .since("1.33.0", refused("Synapse requires Python 3.6 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .changes("~=3.5", "~=3.6")
        .begin_step("Python 3.6, faked")
        .change(becomes(Old::Python(3, 6)))
        .now(start_there, started())
}

/// The first list of accounts, which showed password hashes, gives way to `v2`.
fn list_accounts_v1() -> Scenario {
    let all = || json!({ "@admin:hs.test": true, "@alice:hs.test": false });
    Scenario::for_note("Removal of old List Accounts Admin API")
        .hop("1.31.0", "1.32.0")
        .fact("v1 list", get("/_synapse/admin/v1/users/{admin}").by_admin())
        .changes(status(200), unrecognized())
        .since("1.74.0", not_found())
        .fact("a password's hash in it", |hs: Live| async move {
            let admin = hs.admin().await?;
            let list = admin.get(&format!("/_synapse/admin/v1/users/{}", escape(admin.id()))).await?.json()?;
            // Others in the list may have no password.
            let own = list.as_array().and_then(|list| list.iter().find(|account| account["name"] == admin.id()));
            Ok(own.map_or(Value::Null, |account| account["password_hash"].clone()))
        })
        .changes(matches(r"^\$2"), Value::Null)
        .fact("who is on the v1 list", listed("/_synapse/admin/v1/users/{admin}"))
        .changes(all(), Value::Null)
        .fact("who is on the v2 list", listed("/_synapse/admin/v2/users?limit=1000"))
        .always(all())
        .fact("v2 list, by name", get("/_synapse/admin/v2/users?user_id={admin}").by_admin().field("/users/0/name"))
        .always("@admin:hs.test")
        .fact("v2 account", get("/_synapse/admin/v2/users/{admin}").by_admin().field("/name"))
        .always("@admin:hs.test")
}

/// Alice and the admin on this list, and who of them is said to be an admin.
fn listed(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (admin, alice) = (hs.admin().await?, hs.user("alice").await?);
        let answer = admin.get(&hs.fill(path)?).await?.json()?;
        let Some(accounts) = answer.as_array().or_else(|| answer["users"].as_array()) else { return Ok(Value::Null) };
        let named = |id: &str| accounts.iter().find(|account| account["name"] == id);
        // One of the lists has numbers.
        let is_admin = |account: &Value| json!(account["admin"] == true || account["admin"] == 1);
        Ok(json!({
            "@admin:hs.test": named(admin.id()).map(is_admin),
            "@alice:hs.test": named(alice.id()).map(is_admin),
        }))
    })
}

/// An application service registers its users under its own type; an access token on any other registration is refused.
///
/// Upstream: PR 9548. The older behaviour is said to be deprecated since 1.30.0; its servers log nothing of that.
fn appservice_registration_type() -> Scenario {
    let bridge = json!({
        "id": "bridge",
        "url": null,
        "as_token": "bridge-token",
        "hs_token": "secret",
        "sender_localpart": "bridge",
        "namespaces": { "users": [{ "exclusive": true, "regex": "@bridged_.*" }] },
    });
    let own = "m.login.application_service";
    let registered = || json!({ "status": 200, "keys": ["access_token", "device_id", "home_server", "user_id"] });
    let refused = |status: u16, errcode: &str, text: &str| json!({ "status": status, "errcode": errcode, "error": contains(text) });
    let no_token_wanted =
        || refused(400, "M_UNKNOWN", "An access token should not be provided on requests to /register");
    let unknown_token = || refused(401, "M_UNKNOWN_TOKEN", "Unrecognised access token");
    Scenario::for_note("Application Services must use type `m.login.application_service` when registering users")
        .hop("1.31.0", "1.32.0")
        .config(json!({ "app_service_config_files": ["/data/bridge.yaml"], "enable_registration": true }))
        .file("bridge.yaml", bridge.to_string())
        .fact("no type, its token", register(None, Some("bridge-token")))
        .changes(registered(), no_token_wanted())
        .fact(
            "no type, its token in the address",
            register_at("/_matrix/client/r0/register?access_token=bridge-token", None, None),
        )
        .changes(registered(), no_token_wanted())
        .fact("another type, its token", register(Some("m.login.dummy"), Some("bridge-token")))
        .changes(registered(), no_token_wanted())
        .fact("its type, its token", register(Some(own), Some("bridge-token")))
        .always(registered())
        .fact(
            "its type, its token, a name that is not its own",
            post("/_matrix/client/r0/register", json!({ "type": own, "username": "stranger" }))
                .header("authorization", "Bearer bridge-token")
                .refusal(),
        )
        .always(refusal(400, "M_EXCLUSIVE", "Invalid user localpart for this application service."))
        .fact("its type, an unknown token", register(Some(own), Some("nobody's")))
        .always(unknown_token())
        .fact("its type, no token", register(Some(own), None))
        .changes(
            refused(400, "M_EXCLUSIVE", "reserved by an application service"),
            refused(400, "M_UNKNOWN", "Appservice token must be provided"),
        )
        .fact("no type, an unknown token", register(None, Some("nobody's")))
        .changes(unknown_token(), no_token_wanted())
        .fact("no type, no token", register(None, None))
        .always(refused(400, "M_EXCLUSIVE", "reserved by an application service"))
}

fn register(kind: Option<&'static str>, token: Option<&'static str>) -> Probe {
    register_at("/_matrix/client/r0/register", kind, token)
}

/// What becomes of the registration of a user in the application service's namespace.
fn register_at(path: &'static str, kind: Option<&'static str>, token: Option<&'static str>) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut body = json!({ "username": hs.unique("bridged_") });
        if let Some(kind) = kind {
            body["type"] = json!(kind);
        }
        let mut request = hs.anonymous().post(path, &body);
        if let Some(token) = token {
            request = request.header("authorization", &format!("Bearer {token}"));
        }
        let answer = request.await?;
        let body = answer.json()?;
        if answer.status() == 200 {
            let keys: BTreeSet<_> = body.as_object().map(|body| body.keys().collect()).unwrap_or_default();
            return Ok(json!({ "status": 200, "keys": keys }));
        }
        Ok(json!({ "status": answer.status(), "errcode": body["errcode"], "error": body["error"] }))
    })
}

/// Every start of a background process gets a time series of its own, until 1.32.1 or a way back.
///
/// Upstream: issue 9853, PR 9854. What the many series do to Prometheus is not seen here.
fn prometheus_regression() -> Scenario {
    Scenario::for_note("Regression causing connected Prometheus instances to become overwhelmed")
        .hop("1.31.0", "1.32.0")
        .resources(["metrics"])
        .config(json!({ "enable_metrics": true }))
        .fact("time series of a background process that is started often", series())
        .changes(1, "one for every start")
        .since("1.32.1", 1)
        .fact("labels of one that is started once", |hs: Live| async move {
            let metrics = hs.metrics("main", "/_synapse/metrics").await?;
            let samples = metrics.of("synapse_background_process_ru_utime_seconds_total");
            Ok(json!(
                samples.map(|sample| &sample.labels).filter(|l| l.contains("background_updates")).collect::<Vec<_>>()
            ))
        })
        .changes(json!(["name=\"background_updates\""]), json!(["name=\"background_updates-0\""]))
        .since("1.32.1", json!(["name=\"background_updates\""]))
        // Added in #18670.
        .since("1.136.0", json!(["name=\"background_updates\",server_name=\"hs.test\""]))
        .begin_variant("the repair")
        .then("1.32.1")
        .begin_variant("the way back")
        .then("1.31.0")
}

/// How many time series the process has that stores events, after it was started ten times and more.
fn series() -> Probe {
    Probe::from(|hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let mut starts = 0.0;
        // Messages that meet may be stored together.
        for _ in 0..200 {
            alice.say(&room, "hello").await?.ok()?;
            let metrics = hs.metrics("main", "/_synapse/metrics").await?;
            let values = |name: &str| -> Vec<f64> {
                let of_it = metrics.of(name).filter(|sample| sample.labels.contains("name=\"persist_events"));
                of_it.map(|sample| sample.value).collect()
            };
            let sum = |name: &str| values(name).iter().sum::<f64>();
            // The first name is gone with 1.73.0, and older releases have both.
            starts =
                sum("synapse_background_process_start_count").max(sum("synapse_background_process_start_count_total"));
            if starts >= 10.0 {
                let series = values("synapse_background_process_ru_utime_seconds_total").len();
                let of_all = f64::from(u32::try_from(series)?) >= starts;
                return Ok(if of_all { json!("one for every start") } else { json!(series) });
            }
        }
        Ok(json!(format!("200 messages started it {starts} times")))
    })
}
