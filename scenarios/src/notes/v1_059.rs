//! Synapse 1.59.0.

use harness::{Method, prelude::*};

use crate::kit::{
    bridge::{self, Bridge as _},
    federation::signed,
    processes,
    workers::GENERIC,
};

notes!("1.59.0": device_names_over_federation, worker_duties, duties_of_workers);

/// Other servers are no longer told how users call their devices, unless the operator wants it.
///
/// Upstream: PRs 12616, 14304 (the second way to ask). The names that go out when a device changes are not seen here.
fn device_names_over_federation() -> Scenario {
    let (devices, keys) =
        ("told to a server that asks for Alice's devices", "told to a server that asks for Alice's keys");
    let told = |name: Option<&str>| json!({ "status": 200, "its keys": "{device}", "its name": name });
    let listed = |name: Option<&str>| {
        let mut told = told(name);
        told["the device"] = json!("{device}");
        told
    };
    let setting = |wanted: bool| json!({ "allow_device_name_lookup_over_federation": wanted });
    // Releases from 1.66.0 to 1.71.0 keep the rule for the user's own name to themselves (issue 14356).
    let rules_kept = |it: Scenario| it.health("part: push rules", anything());
    Scenario::for_note("Device name lookup over federation has been disabled by default")
        .disagreement(
            "the names of devices are no longer visible to users on other servers",
            "they are to a server that asks for keys instead of devices, until 1.71.0",
        )
        .hop("1.58.0", "1.59.0")
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            hs.remember("device", alice.device());
            let path = format!("/_matrix/client/v3/devices/{}", alice.device());
            alice.put(&path, &json!({ "display_name": "My phone" })).await?.ok()?;
            let keys = json!({ "device_keys": {
                "user_id": alice.id(),
                "device_id": alice.device(),
                "algorithms": ["m.megolm.v1.aes-sha2"],
                "keys": { (format!("ed25519:{}", alice.device())): "key" },
                "signatures": {},
            }});
            alice.post("/_matrix/client/v3/keys/upload", &keys).await?.ok()?;
            Ok(())
        })
        .fact("told to a user of the same server", |hs: Live| async move {
            let query = json!({ "device_keys": { (hs.recall("alice")?): [] } });
            let answer = hs.user("bob").await?.post("/_matrix/client/v3/keys/query", &query).await?;
            of_device(&hs, answer.status(), &answer.json()?)
        })
        .always(told(Some("My phone")))
        .variant("no setting", |it| {
            rules_kept(it.then("1.71.0"))
                .fact(devices, asked_for_devices())
                .changes(listed(Some("My phone")), listed(None))
                .fact(keys, asked_for_keys())
                .until("1.71.0", told(Some("My phone")))
                .since("1.71.0", told(None))
        })
        .variant("the operator wants it", |it| {
            it.config(setting(true))
                .fact(devices, asked_for_devices())
                .always(listed(Some("My phone")))
                .fact(keys, asked_for_keys())
                .always(told(Some("My phone")))
                .step("no longer", |it| {
                    it.reconfigure(setting(false)).now(devices, listed(None)).now_since("1.71.0", keys, told(None))
                })
                .leg("1.71.0", "again", |it| rules_kept(it.reconfigure(setting(true))))
        })
}

fn asked_for_devices() -> Probe {
    Probe::from(|hs: Live| async move {
        let path = format!("/_matrix/federation/v1/user/devices/{}", escape(&hs.recall("alice")?));
        let answer = signed(&hs, Method::GET, &path, None).await?;
        let device = &answer.json()?["devices"][0];
        Ok(json!({
            "status": answer.status(),
            "the device": device["device_id"],
            "its keys": device["keys"]["device_id"],
            "its name": device.get("device_display_name"),
        }))
    })
}

fn asked_for_keys() -> Probe {
    Probe::from(|hs: Live| async move {
        let query = json!({ "device_keys": { (hs.recall("alice")?): [] } });
        let answer = signed(&hs, Method::POST, "/_matrix/federation/v1/user/keys/query", Some(&query)).await?;
        of_device(&hs, answer.status(), &answer.json()?)
    })
}

/// What an answer about keys says of Alice's device.
fn of_device(hs: &Live, status: u16, body: &Value) -> Result<Value> {
    let device = &body["device_keys"][hs.recall("alice")?][hs.recall("device")?];
    let name = device["unsigned"].get("device_display_name");
    Ok(json!({ "status": status, "its keys": device["device_id"], "its name": name }))
}

const WORKERS: &str = "Deprecation of the `synapse.app.appservice` and `synapse.app.user_dir` worker application types";

/// A duty and its settings: the old one, which says whether the main process has it, and the new one, which names who has it.
const NOTIFIES: (&str, &str) = ("notify_appservices", "notify_appservices_from_worker");
const UPDATES: (&str, &str) = ("update_user_directory", "update_user_directory_from_worker");

/// Who notifies application services and who keeps the user directory is said in a new way. The old one goes on with a warning; who
/// says both must not contradict themselves.
///
/// Upstream: PRs 12452, 12654.
fn worker_duties() -> Scenario {
    let warning = |(old, new): (&str, &str)| {
        format!(
            "The '{old}' configuration option is deprecated and will be removed in a future Synapse version. \
             Please use ``{new}: name_of_worker`` instead."
        )
    };
    let conflict = |(old, new): (&str, &str)| {
        refused(&format!(
            "Error in configuration: Conflicting configuration options: {old} (legacy), {new} (new). Suggestion: remove {old}."
        ))
    };
    let both_warnings = contains(&format!("{} {}", warning(NOTIFIES), warning(UPDATES)));
    let prints = "what the server prints";
    Scenario::for_note(WORKERS)
        .hop("1.58.0", "1.59.0")
        .variant("the old settings", |it| {
            it.config(json!({ (NOTIFIES.0): false, (UPDATES.0): false }))
                .fact(prints, printed())
                .changes("", both_warnings.clone())
                .step("the new ones beside them, of the same mind", |it| {
                    it.reconfigure(json!({ (NOTIFIES.1): "worker", (UPDATES.1): "worker" }))
                })
                .step("the new ones alone", |it| it.unset(NOTIFIES.0).unset(UPDATES.0).now(prints, ""))
        })
        .variant("a contradiction over application services", |it| {
            it.config(json!({ (NOTIFIES.0): true, (NOTIFIES.1): "worker" }))
                .fact("start", start())
                .changes(started(), conflict(NOTIFIES))
                .step("the old setting is removed", |it| it.unset(NOTIFIES.0).now("start", started()))
                .step("it is against the main process, which the new one names", |it| {
                    it.reconfigure(json!({ (NOTIFIES.0): false, (NOTIFIES.1): "master" }))
                })
                .step("it is for the main process, and the new one names nobody else", |it| {
                    it.reconfigure(json!({ (NOTIFIES.0): true, (NOTIFIES.1): null })).now("start", started())
                })
        })
        .variant("a contradiction over the user directory", |it| {
            it.config(json!({ (UPDATES.0): true, (UPDATES.1): "worker" }))
                .fact("start", start())
                .changes(started(), conflict(UPDATES))
                .step("the old setting is removed", |it| it.unset(UPDATES.0).now("start", started()))
        })
}

/// Whoever is named for a duty has it, and nobody beside them; workers of the old kinds go on where they are told in the old way.
///
/// Upstream: PRs 12452, 12654.
fn duties_of_workers() -> Scenario {
    let (notifies, updates) = ("who notifies application services", "who keeps the user directory");
    let done_by = |process: &str| json!({ "done": true, "by": [process] });
    let resources = ["client", "metrics"];
    Scenario::for_note(WORKERS)
        .only_on(Database::Postgres)
        .hop("1.58.0", "1.59.0")
        .config(json!({ "enable_metrics": true }))
        .resources(["metrics"])
        .bridge("bridge", json!({ "namespaces": { "users": [{ "exclusive": false, "regex": "@alice.*" }] } }))
        // It is logged of a service that is heard of for the first time.
        .log_error("None is not a valid ApplicationServiceState")
        .variant("a worker of the general kind", |it| {
            let processes = ["main", "worker"];
            it.worker("worker", GENERIC, resources, json!({}))
                .config(json!({ (NOTIFIES.1): "worker", (UPDATES.1): "worker" }))
                .fact(notifies, notified_by(processes))
                .changes(done_by("main"), done_by("worker"))
                .fact(updates, updated_by(processes))
                .changes(done_by("main"), done_by("worker"))
        })
        .variant("workers of the old kinds", |it| {
            let processes = ["main", "notifier", "directory"];
            it.worker("notifier", "synapse.app.appservice", resources, json!({}))
                .worker("directory", "synapse.app.user_dir", resources, json!({}))
                .config(json!({ (NOTIFIES.0): false, (UPDATES.0): false }))
                .fact(notifies, notified_by(processes))
                .always(done_by("notifier"))
                .fact(updates, updated_by(processes))
                .always(done_by("directory"))
        })
        .variant("a worker of an old kind, and no setting", |it| {
            it.worker("notifier", "synapse.app.appservice", resources, json!({}))
                .fact("start", start())
                .changes(
                    refused(
                        "The appservices must be disabled in the main synapse process before they can be run in a \
                         separate worker. Please add ``notify_appservices: false`` to the main config",
                    ),
                    refused(
                        "Cannot use deprecated worker app type 'synapse.app.appservice' whilst deprecated option \
                         'notify_appservices' is not set to false. Consider setting \
                         `worker_app: synapse.app.generic_worker` and using the 'notify_appservices_from_worker' option \
                         instead. The 'notify_appservices_from_worker' option replaces 'notify_appservices'.",
                    ),
                )
                .step("the old setting, and the new one, which names another", |it| {
                    it.reconfigure(json!({ (NOTIFIES.0): false, (NOTIFIES.1): "another" })).now(
                        "start",
                        refused(
                            "Conflicting configuration options: notify_appservices (legacy), \
                             notify_appservices_from_worker (new). Suggestion: remove notify_appservices and set \
                             worker_app: synapse.app.generic_worker.",
                        ),
                    )
                })
                .step("the old setting alone", |it| it.unset(NOTIFIES.1).now("start", started()))
        })
}

/// Is the application service sent what Alice says, and which of the processes log that they sent it something?
fn notified_by<const N: usize>(processes: [&'static str; N]) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("bridged", &json!({})).await?;
        let event = alice.say(&room, "hello").await?.field("event_id")?;
        let sent = bridge::is_sent(&hs, "bridge", &event).await?;
        // It is logged before the transaction is done with.
        eventually(|| hs.sql("SELECT txn_id FROM application_services_txns"), Vec::is_empty).await?;
        let mut by = Vec::new();
        for process in processes {
            if !processes::lines(&hs, process, "Received response to PUT http://bridge:8080/").await?.is_empty() {
                by.push(process);
            }
        }
        Ok(json!({ "done": sent, "by": by }))
    })
}

/// Does Alice find whom she shares a room with, and which of the processes have come to a place in the stream of rooms' changes?
fn updated_by<const N: usize>(processes: [&'static str; N]) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (alice, guest) = (hs.user("alice").await?, hs.user(&hs.unique("guest")).await?);
        let name = guest.id().replace(|letter: char| !letter.is_alphanumeric(), "");
        let profile = format!("/_matrix/client/v3/profile/{}/displayname", escape(guest.id()));
        guest.put(&profile, &json!({ "displayname": name })).await?.ok()?;
        let room = guest.create_room(&json!({ "invite": [alice.id()] })).await?;
        alice.join(&room).await?;
        let found = async || -> Result<bool> {
            let search = json!({ "search_term": name });
            let answer = alice.post("/_matrix/client/v3/user_directory/search", &search).await?.ok()?.json()?;
            Ok(answer["results"].as_array().into_iter().flatten().any(|result| result["user_id"] == guest.id()))
        };
        let found = eventually(found, |found| *found).await?;
        let mut by = Vec::new();
        for process in processes {
            let metrics = hs.metrics(process, "/_synapse/metrics").await?;
            if metrics.value("synapse_event_processing_positions", "name=\"user_dir\"").is_some() {
                by.push(process);
            }
        }
        Ok(json!({ "done": found, "by": by }))
    })
}
