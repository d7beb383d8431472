//! Configurations that operators run, by name.

use std::{fmt, str::FromStr};

use images::Version;
use serde_json::{Map, Value, json};

use crate::{Deployment, deployment::Worker, estate::PEER, stage::config::PORT};

/// A named configuration, over the base that every deployment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Archetype {
    /// Rooms are encrypted unless their creator says otherwise.
    Encrypted,
    /// No presence, no search, no user directory: what small machines run.
    Frugal,
    /// Old messages are deleted.
    Forgetful,
    /// The directory shows everybody, rooms are published freely.
    Open,
    /// Sections without anything in them, as who comments all of a section out leaves them.
    Empty,
    /// No other homeserver is spoken with.
    Closed,
    /// A second configuration file, which overrides the first, and a third that says nothing.
    Split,
    /// Media lie where a symbolic link leads.
    Linked,
    /// What is optional, on: experiments, caches that expire, addresses that are kept.
    Features,
    /// Modules of the operator's are asked who may log in and what people may do, by the interfaces of old.
    Modules,
    /// Another homeserver of the same release is there, and rooms are shared with its people.
    Federated,
    /// A generic worker behind nginx serves what it may.
    Workers,
    /// Workers have all the roles that they can: they write the streams, send to other homeservers, push, keep media, and do
    /// what is to be done now and then. From 1.33.0 on.
    Roles,
}

/// Sections that may be empty, and since when.
const SECTIONS: [(&str, &str); 32] = [
    ("account_threepid_delegates", "1.4.0"),
    ("account_validity", "1.9.0"),
    ("alias_creation_rules", "0.33.0"),
    ("auto_accept_invites", "1.107.0"),
    ("background_updates", "1.50.0"),
    ("caches", "1.15.0"),
    ("cas_config", "0.33.0"),
    ("email", "1.20.0"),
    ("experimental_features", "1.25.0"),
    ("federation_certificate_verification_whitelist", "1.11.0"),
    ("federation_domain_whitelist", "0.33.0"),
    ("jwt_config", "0.33.0"),
    ("limit_remote_rooms", "1.20.0"),
    ("manhole_settings", "1.50.0"),
    ("metrics_flags", "1.20.0"),
    ("modules", "1.37.0"),
    ("oembed", "1.45.0"),
    ("oidc_providers", "1.25.0"),
    ("opentracing", "1.10.0"),
    ("password_config", "1.9.0"),
    ("presence", "1.35.0"),
    ("push", "1.40.0"),
    ("redis", "1.20.0"),
    ("retention", "1.7.0"),
    ("saml2_config", "0.33.0"),
    ("server_notices", "0.33.0"),
    ("spam_checker", "0.33.0"),
    ("sso", "1.20.0"),
    ("stats", "1.0.0"),
    ("templates", "1.40.0"),
    ("ui_auth", "1.40.0"),
    ("user_consent", "0.33.0"),
];

/// Experiments that add to what clients may do, and change nothing that is there without them.
const FEATURES: [&str; 12] = [
    "msc2409_to_device_messages_enabled",
    "msc2654_enabled",
    "msc3026_enabled",
    "msc3266_enabled",
    "msc3391_enabled",
    "msc3664_enabled",
    "msc3720_enabled",
    "msc3773_enabled",
    "msc3874_enabled",
    "msc3881_enabled",
    "msc4133_enabled",
    "msc4155_enabled",
];

/// The streams that a worker has written since 1.33.0.
const STREAMS: [&str; 6] = ["events", "typing", "to_device", "account_data", "receipts", "presence"];
/// The worker that writes them.
pub(super) const WRITER: &str = "writer";
/// The worker that tells others: homeservers, push gateways, application services.
const SENDER: &str = "sender";
/// The worker that does what is to be done now and then.
const BACKGROUND: &str = "background";
/// The worker that keeps media.
pub(super) const MEDIA: &str = "media";

/// Where those are found who write.
fn written_by() -> Value {
    [WRITER, MEDIA].into_iter().map(|name| (name, json!({ "host": name, "port": PORT }))).collect()
}

/// Where the second configuration file lies.
const OVERRIDE: &str = "override.yaml";
/// A third one, with nothing in it.
const EMPTY: &str = "empty.yaml";

/// Where the operator's modules lie, and what they are.
const CHECKED_BY: &str = "modules/checks.py";
const CHECKS: &str = include_str!("checks.py");

impl Archetype {
    pub(crate) const ALL: [Self; 13] = [
        Self::Encrypted,
        Self::Frugal,
        Self::Forgetful,
        Self::Open,
        Self::Empty,
        Self::Closed,
        Self::Split,
        Self::Linked,
        Self::Features,
        Self::Modules,
        Self::Federated,
        Self::Workers,
        Self::Roles,
    ];

    /// Configures a deployment whose oldest release this is.
    pub(crate) fn configure(self, deployment: &mut Deployment, oldest: &Version) {
        deployment.config(self.fragment(oldest));
        let since = |release: &str| *oldest >= release.parse().expect("a constant version");
        match self {
            Self::Split => {
                let overrides = json!({ "max_upload_size": "20M", "report_stats": false });
                let mut files = vec![(OVERRIDE, overrides.to_string())];
                // Older releases do not start with one.
                if since("1.13.0") {
                    files.push((EMPTY, "# Nothing yet.\n".to_owned()));
                }
                for (name, text) in files {
                    deployment.file(name, text);
                    deployment.arguments.extend(["--config-path".to_owned(), format!("/data/{name}")]);
                }
            }
            Self::Modules => {
                deployment.file(CHECKED_BY, CHECKS);
            }
            Self::Federated => {
                deployment.peers.insert(PEER.to_owned(), Map::new());
            }
            // Older ones pass over what they do not know, and leave that to the main process.
            Self::Roles if since("1.33.0") => {
                deployment.config(json!({
                    "instance_map": written_by(),
                    "stream_writers": STREAMS.map(|stream| (stream, WRITER)).into_iter().collect::<Value>(),
                    "send_federation": false,
                    "federation_sender_instances": [SENDER],
                    "start_pushers": false,
                    "pusher_instances": [SENDER],
                    "notify_appservices_from_worker": SENDER,
                    "run_background_tasks_on": BACKGROUND,
                    "update_user_directory_from_worker": BACKGROUND,
                }));
                // Who serves nothing says nothing when it is up.
                for name in [WRITER, SENDER, BACKGROUND] {
                    deployment.workers.push(Worker {
                        name: name.to_owned(),
                        app: "synapse.app.generic_worker".to_owned(),
                        resources: ["client", "replication"].map(str::to_owned).to_vec(),
                        config: Map::from_iter([("instance_map".to_owned(), written_by())]),
                    });
                }
                // Before, a worker of media had others' duties, which routes would have to follow.
                if since("1.41.0") {
                    let keeps =
                        [("enable_media_repo".to_owned(), json!(true)), ("instance_map".to_owned(), written_by())];
                    deployment.workers.push(Worker {
                        name: MEDIA.to_owned(),
                        app: "synapse.app.media_repository".to_owned(),
                        // No more than upstream's documentation says.
                        resources: ["media", "replication"].map(str::to_owned).to_vec(),
                        config: Map::from_iter(keeps),
                    });
                    deployment.config(json!({
                        "enable_media_repo": false,
                        "media_instance_running_background_jobs": MEDIA,
                    }));
                }
            }
            _ => {}
        }
    }

    /// Is a deployment like this, as far as parts of the estate need it?
    pub(crate) fn is_of(self, deployment: &Deployment) -> bool {
        match self {
            Self::Federated => deployment.peers.contains_key(PEER),
            Self::Modules => deployment.files.contains_key(CHECKED_BY),
            _ => false,
        }
    }

    /// Its fragment of `homeserver.yaml`.
    fn fragment(self, oldest: &Version) -> Value {
        match self {
            Self::Encrypted => json!({ "encryption_enabled_by_default_for_room_type": "all" }),
            Self::Frugal => json!({
                "use_presence": false,
                "presence": { "enabled": false },
                "enable_search": false,
                "user_directory": { "enabled": false },
            }),
            // Long enough to delete nothing that the harness writes: what is stored differs all the same.
            Self::Forgetful => json!({
                "retention": {
                    "enabled": true,
                    "default_policy": { "min_lifetime": "1d", "max_lifetime": "1y" },
                    "purge_jobs": [{ "interval": "1d" }],
                },
                "redaction_retention_period": "7d",
                "user_ips_max_age": "1d",
            }),
            Self::Open => json!({
                "user_directory": { "enabled": true, "search_all_users": true },
                "allow_public_rooms_without_auth": true,
                "room_list_publication_rules": [{ "action": "allow" }],
            }),
            Self::Empty => {
                let known = |since: &str| *oldest >= since.parse().expect("a constant version");
                let empty = SECTIONS.iter().filter(|(_, since)| known(since));
                empty.map(|(section, _)| ((*section).to_owned(), Value::Null)).collect::<Map<_, _>>().into()
            }
            Self::Closed => json!({
                "federation_domain_whitelist": [],
                "allow_public_rooms_over_federation": false,
                "allow_device_name_lookup_over_federation": false,
            }),
            // Whose process looks finds all there is at its root.
            Self::Linked => json!({ "media_store_path": "/proc/self/root/data/media_store" }),
            // What it overrides.
            Self::Split => json!({ "max_upload_size": "1K", "report_stats": true }),
            Self::Features => json!({
                "caches": {
                    "global_factor": 0.5, "expire_caches": true, "cache_entry_ttl": "30m",
                    "sync_response_cache_duration": "2m",
                },
                "dynamic_thumbnails": true,
                "enable_metrics": true,
                "experimental_features": FEATURES.map(|feature| (feature, true)).into_iter().collect::<Value>(),
                "presence": { "enabled": true, "include_offline_users_on_sync": true },
                "push": { "include_content": true, "group_unread_count_by_room": false },
                "refreshable_access_token_lifetime": "1d",
                "track_appservice_user_ips": true,
                "track_puppeted_user_ips": true,
            }),
            Self::Modules => json!({
                "password_providers": [{ "module": "checks.People", "config": { "word": "the directory's word" } }],
                "spam_checker": { "module": "checks.Wishes", "config": {} },
                "third_party_event_rules": { "module": "checks.Rules", "config": {} },
                "modules": [{ "module": "checks.Later", "config": {} }],
            }),
            Self::Federated | Self::Workers | Self::Roles => json!({}),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Frugal => "frugal",
            Self::Forgetful => "forgetful",
            Self::Open => "open",
            Self::Empty => "empty",
            Self::Closed => "closed",
            Self::Split => "split",
            Self::Linked => "linked",
            Self::Features => "features",
            Self::Modules => "modules",
            Self::Federated => "federated",
            Self::Workers => "workers",
            Self::Roles => "roles",
        }
    }
}

impl fmt::Display for Archetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Archetype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|archetype| archetype.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join("`, `");
            format!("`{text}` is no configuration that the harness knows (it knows `{names}`)")
        })
    }
}
