//! Configuration: a base that each release runs on, and the deployment's fragment over it.
//!
//! Nothing in the base concerns a note; it is what any operator's file says, with rate limits out of the way and no
//! reason to talk to anyone outside. Keys that a release does not know it ignores. JSON is YAML: the documents are
//! written as indented JSON, which every release reads.

use images::Version;
use serde_json::{Map, Value, json};

use crate::{
    Deployment,
    scenario::deployment::{Worker, merge},
};

/// Every deployment's server name.
pub const SERVER_NAME: &str = "hs.test";
/// The main listener's port.
pub(crate) const PORT: u16 = 8008;
/// Secret of the registration API by which users are made.
pub(crate) const REGISTRATION_SECRET: &str = "registration secret of a deployment under test";
/// One key for all deployments, so that fixtures fit.
pub(crate) const SIGNING_KEY: &str = "ed25519 a_test EEqPTlV6jZOXjcwRYYkU6iVkhPSRTWHPJXGSsEwWSdo\n";
/// Where PostgreSQL's socket is mounted.
pub(crate) const SOCKET_DIRECTORY: &str = "/run/upgrades-postgresql";

fn v(text: &str) -> Version {
    text.parse().expect("a constant version")
}

/// Can the release be told to make rooms of version 10?
pub(crate) fn knows_room_version_10(release: &Version) -> bool {
    *release >= v("1.64.0")
}

/// `homeserver.yaml` of a release.
pub(crate) fn homeserver(
    release: &Version,
    deployment: &Deployment,
    server_name: &str,
    database: &Value,
) -> Map<String, Value> {
    let mut document = base(release);
    document.insert("server_name".to_owned(), json!(server_name));
    let mut resources = vec![json!("client"), json!("federation")];
    resources.extend(deployment.resources.iter().map(|name| json!(name)));
    let mut listeners = vec![listener(release, PORT, &resources)];
    if deployment.federates() {
        let mut federation = listener(release, FEDERATION_PORT, &[json!("federation"), json!("keys")]);
        federation["tls"] = json!(true);
        listeners.push(federation);
        merge(
            &mut document,
            object(json!({
                "no_tls": false,
                "tls_certificate_path": "/data/tls.crt",
                "tls_private_key_path": "/data/tls.key",
                "federation_custom_ca_list": ["/data/ca.crt"],
            })),
        );
    }
    listeners.extend(deployment.listeners.iter().cloned());
    if !deployment.workers.is_empty() {
        listeners.push(listener(release, REPLICATION_PORT, &[json!("replication")]));
        document.insert("redis".to_owned(), json!({ "enabled": true, "host": "redis", "port": 6379 }));
        // In one word: Synapse takes what follows `Bearer` to the next space.
        document.insert("worker_replication_secret".to_owned(), json!("replication-secret"));
    }
    document.insert("listeners".to_owned(), Value::Array(listeners));
    document.insert("database".to_owned(), database.clone());
    for key in &deployment.without {
        document.shift_remove(key);
    }
    merge(&mut document, deployment.config.clone());
    // Who keeps media writes down what is quarantined, where that is written down.
    if *release >= v("1.152.0rc1")
        && let Some(keeper) = deployment.config.get("media_instance_running_background_jobs")
        && let Some(writers) = document.get_mut("stream_writers").and_then(Value::as_object_mut)
    {
        writers.entry("quarantined_media_changes").or_insert_with(|| json!([keeper]));
    }
    document
}

/// Where other servers reach this one.
const FEDERATION_PORT: u16 = 8448;
/// The main process's replication listener.
const REPLICATION_PORT: u16 = 9093;

/// A worker's file, read after `homeserver.yaml`.
pub(crate) fn worker(release: &Version, worker: &Worker) -> Map<String, Value> {
    let resources: Vec<Value> = worker.resources.iter().map(|name| json!(name)).collect();
    let mut document = object(json!({
        "worker_app": worker.app,
        "worker_name": worker.name,
        "worker_log_config": "/data/log.config",
    }));
    if !resources.is_empty() {
        document.insert("worker_listeners".to_owned(), json!([listener(release, PORT, &resources)]));
    }
    // `instance_map` has named the main process since 1.84.0, and it is the only way since 1.88.0.
    if *release >= v("1.84.0") {
        document
            .insert("instance_map".to_owned(), json!({ "main": { "host": SERVER_NAME, "port": REPLICATION_PORT } }));
    } else {
        document.insert("worker_replication_host".to_owned(), json!(SERVER_NAME));
        document.insert("worker_replication_http_port".to_owned(), json!(REPLICATION_PORT));
    }
    merge(&mut document, worker.config.clone());
    drop_nulls(&mut document);
    document
}

fn drop_nulls(document: &mut Map<String, Value>) {
    document.retain(|_, value| !value.is_null());
    document.values_mut().filter_map(Value::as_object_mut).for_each(drop_nulls);
}

fn listener(release: &Version, port: u16, resources: &[Value]) -> Value {
    let mut listener = json!({
        "port": port,
        "type": "http",
        "tls": false,
        "bind_addresses": ["0.0.0.0"],
        "resources": [{ "names": resources, "compress": false }],
    });
    if *release < v("0.99.0") {
        // Once a required key.
        listener["x_forwarded"] = json!(false);
    }
    listener
}

/// Does the release read its TLS certificate even where it serves none?
pub(crate) fn reads_certificate(release: &Version) -> bool {
    *release < v("1.0.0")
}

fn base(release: &Version) -> Map<String, Value> {
    let plenty = json!({ "per_second": 10_000, "burst_count": 10_000 });
    let mut document = object(json!({
        "pid_file": "/data/homeserver.pid",
        "log_config": "/data/log.config",
        "media_store_path": "/data/media_store",
        "signing_key_path": "/data/signing.key",
        "registration_shared_secret": REGISTRATION_SECRET,
        "macaroon_secret_key": "macaroon secret",
        "form_secret": "form secret",
        "report_stats": false,
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "bcrypt_rounds": 4,
        // Containers have private addresses.
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        // Without pauses between batches; older releases pause for a second.
        "background_updates": { "sleep_enabled": false },
        "rc_message": plenty,
        "rc_registration": plenty,
        "rc_registration_token_validity": plenty,
        "rc_login": { "address": plenty, "account": plenty, "failed_attempts": plenty },
        "rc_joins": { "local": plenty, "remote": plenty },
        "rc_joins_per_room": plenty,
        "rc_invites": { "per_room": plenty, "per_user": plenty, "per_issuer": plenty },
        "rc_3pid_validation": plenty,
        "rc_admin_redaction": plenty,
        "rc_media_create": plenty,
        "rc_presence": { "per_user": plenty },
        "rc_room_creation": plenty,
        "rc_delayed_event_mgmt": plenty,
        "rc_reports": plenty,
        "rc_user_directory": plenty,
    }));
    if reads_certificate(release) {
        merge(
            &mut document,
            object(json!({
                "no_tls": true,
                "tls_certificate_path": "/data/tls.crt",
                "tls_private_key_path": "/data/tls.key",
                "tls_dh_params_path": "/data/tls.dh",
                "perspectives": { "servers": {} },
                "uploads_path": "/data/uploads",
                "trusted_third_party_id_servers": [],
                "rc_messages_per_second": 10_000,
                "rc_message_burst_count": 10_000,
            })),
        );
    }
    document
}

/// `log.config`: the log goes to standard output, so that what is printed before logging is set up stands alone on
/// standard error.
pub(crate) fn log_config() -> Map<String, Value> {
    object(json!({
        "version": 1,
        // Modules make loggers while they are imported, before this is read.
        "disable_existing_loggers": false,
        "formatters": {
            "line": { "format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(message)s" },
        },
        "handlers": {
            // The one there is by itself: what takes its place logs what is written to it, when this is read again.
            "console": { "class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.__stdout__" },
        },
        "root": { "level": "INFO", "handlers": ["console"] },
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("called with literals"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(release: &str, deployment: &Deployment) -> String {
        let document = homeserver(&v(release), deployment, SERVER_NAME, &json!({ "name": "sqlite3" }));
        serde_json::to_string_pretty(&document).unwrap()
    }

    #[test]
    fn a_plain_deployment_gets_the_base() {
        insta::assert_snapshot!(document("1.53.0", &Deployment::default()));
    }

    #[test]
    fn a_release_from_before_1_0_gets_what_it_needs() {
        insta::assert_snapshot!(document("0.34.0", &Deployment::default()));
    }

    #[test]
    fn a_fragment_wins_over_the_base_and_what_is_not_wanted_is_gone() {
        let mut deployment = Deployment::default();
        deployment.config(json!({ "bcrypt_rounds": 12, "rc_login": { "account": { "per_second": 1 } } }));
        deployment.unset("ip_range_blacklist");
        let document = homeserver(&v("1.53.0"), &deployment, SERVER_NAME, &Value::Null);
        assert_eq!(document["bcrypt_rounds"], 12);
        assert_eq!(document["rc_login"]["account"], json!({ "per_second": 1, "burst_count": 10_000 }));
        assert!(!document.contains_key("ip_range_blacklist"));
    }

    #[test]
    fn workers_find_the_main_process_as_their_release_wants_it() {
        let media = Worker {
            name: "media".to_owned(),
            app: "synapse.app.media_repository".to_owned(),
            resources: vec!["media".to_owned()],
            config: object(json!({ "enable_media_repo": true })),
        };
        assert_eq!(worker(&v("1.83.0"), &media)["worker_replication_host"], SERVER_NAME);
        assert_eq!(worker(&v("1.84.0"), &media)["instance_map"]["main"]["host"], SERVER_NAME);
        let lost = Worker { config: object(json!({ "instance_map": { "main": null } })), ..media.clone() };
        assert_eq!(worker(&v("1.84.0"), &lost)["instance_map"], json!({}));
        let deployment = Deployment { workers: vec![media], ..Deployment::default() };
        let document = homeserver(&v("1.83.0"), &deployment, SERVER_NAME, &Value::Null);
        assert_eq!(document["redis"]["enabled"], true);
        assert_eq!(document["listeners"][1]["resources"][0]["names"], json!(["replication"]));
    }
}
