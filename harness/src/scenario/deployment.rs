//! What runs: a homeserver, its workers, its database and its companions, described as data.

use std::collections::{BTreeMap, BTreeSet};

use images::{Companion, Suite};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The database of a deployment's homeserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// A file in the data directory.
    Sqlite,
    /// A database of its own on the run's server.
    Postgres,
}

impl Database {
    /// Both, in the order in which trials are listed.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// As in trial names.
    pub fn key(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// As in reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A deployment as data. The harness turns it into containers, and adds to the configuration what each release needs
/// to run at all (`crate::config`).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Deployment {
    /// Fragment of `homeserver.yaml`, merged over the base for the release.
    pub config: Map<String, Value>,
    /// Top-level keys of the base that this deployment does not want.
    pub without: BTreeSet<String>,
    /// Resources that the main listener serves beyond `client` and `federation`.
    pub resources: BTreeSet<String>,
    /// Listeners beside the main one.
    pub listeners: Vec<Value>,
    /// Files: path to content. A relative path is below `/data`; `{synapse}/…` is inside the installed package.
    pub files: BTreeMap<String, String>,
    /// Environment of the homeserver's processes.
    pub environment: BTreeMap<String, String>,
    /// Further arguments on the homeserver's command line.
    pub arguments: Vec<String>,
    /// Worker processes.
    pub workers: Vec<Worker>,
    /// Reverse proxies in front of the homeserver, by name: server blocks of one real nginx.
    pub proxies: BTreeMap<String, Proxy>,
    /// Services next to the homeserver; PostgreSQL, and Redis where there are workers, come by themselves.
    pub companions: BTreeMap<String, CompanionSpec>,
    /// Other homeservers of the same release that this one federates with, on SQLite: server name to fragment of their
    /// configuration. With one of them, TLS listeners come by themselves.
    pub peers: BTreeMap<String, Map<String, Value>>,
    /// Is it one of the others?
    pub(crate) is_peer: bool,
    /// Debian suite to run on, instead of the one that the release table names.
    pub suite: Option<Suite>,
    /// Python distributions beside those of the release.
    pub packages: Vec<String>,
    /// PostgreSQL major version, instead of the default.
    pub postgres: Option<u32>,
    /// Collation and character type of the database on PostgreSQL, instead of `C`. Where a step changes it the operator
    /// dumps the database, makes it anew, and reads the dump.
    pub locale: Option<String>,
}

/// A worker process of the homeserver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worker {
    /// `worker_name`, host name and log name.
    pub name: String,
    /// `worker_app`: `synapse.app.generic_worker`.
    pub app: String,
    /// Resources of its listener.
    pub resources: Vec<String>,
    /// Fragment of the worker's configuration file.
    pub config: Map<String, Value>,
}

/// One way in through nginx.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Proxy {
    /// `location ~` patterns in order, each with the process that serves it: a worker's name or `main`.
    pub routes: Vec<(String, String)>,
    /// Further directives for the server block.
    pub directives: Vec<String>,
    /// Where requests go that match no route: a process, or nowhere (nginx answers 404).
    pub rest: Option<String>,
}

/// A companion and what it is configured with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompanionSpec {
    /// Which.
    #[serde(serialize_with = "display")]
    pub kind: Companion,
    /// Environment of its container.
    pub environment: BTreeMap<String, String>,
    /// Files: absolute path to content.
    pub files: BTreeMap<String, String>,
}

pub(super) fn display<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Deployment {
    /// Merges a fragment into the homeserver's configuration; later values win.
    ///
    /// # Panics
    ///
    /// Panics if the fragment is not an object.
    pub fn config(&mut self, fragment: Value) -> &mut Self {
        let Value::Object(fragment) = fragment else { panic!("a configuration fragment is an object") };
        merge(&mut self.config, fragment);
        self
    }

    /// Removes a top-level key, from the fragment and from the base.
    pub fn unset(&mut self, key: &str) -> &mut Self {
        self.config.shift_remove(key);
        self.without.insert(key.to_owned());
        self
    }

    /// Adds or replaces a file; a relative path is below `/data`.
    pub fn file(&mut self, path: &str, content: impl Into<String>) -> &mut Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// Does it talk to other homeservers?
    pub(crate) fn federates(&self) -> bool {
        self.is_peer || !self.peers.is_empty()
    }

    /// Can both be one deployment without either noticing? If so, that deployment.
    pub(crate) fn joined(&self, other: &Self) -> Option<Self> {
        let same = self.workers == other.workers
            && self.peers == other.peers
            && self.suite == other.suite
            && self.packages == other.packages
            && self.postgres == other.postgres
            && self.locale == other.locale
            && self.arguments == other.arguments
            && self.environment == other.environment;
        let conflict = self.without.iter().any(|key| other.config.contains_key(key))
            || other.without.iter().any(|key| self.config.contains_key(key))
            || self.without != other.without
            || conflicting(&self.files, &other.files)
            || conflicting(&self.proxies, &other.proxies)
            || conflicting(&self.companions, &other.companions)
            || self.listeners.iter().any(|a| other.listeners.iter().any(|b| a != b && a["port"] == b["port"]))
            || !compatible(&self.config, &other.config);
        if !same || conflict {
            return None;
        }
        let mut joined = self.clone();
        merge(&mut joined.config, other.config.clone());
        joined.resources.extend(other.resources.iter().cloned());
        joined.files.extend(other.files.clone());
        joined.proxies.extend(other.proxies.clone());
        joined.companions.extend(other.companions.clone());
        joined.listeners.extend(other.listeners.iter().filter(|listener| !self.listeners.contains(listener)).cloned());
        Some(joined)
    }
}

/// Do both name something and mean different things?
fn conflicting<T: PartialEq>(a: &BTreeMap<String, T>, b: &BTreeMap<String, T>) -> bool {
    a.iter().any(|(name, a)| b.get(name).is_some_and(|b| a != b))
}

/// Lists whose entries do not disturb each other, so that two fragments' lists are one longer list.
const ADDITIVE: [&str; 2] = ["modules", "app_service_config_files"];

fn compatible(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.iter().all(|(key, a)| match (a, b.get(key)) {
        (_, None) => true,
        (Value::Object(a), Some(Value::Object(b))) => compatible(a, b),
        (Value::Array(_), Some(Value::Array(_))) if ADDITIVE.contains(&key.as_str()) => true,
        (a, Some(b)) => a == b,
    })
}

/// Merges `fragment` into `document`: objects recursively, [`ADDITIVE`] lists by appending, all else by replacing.
pub(crate) fn merge(document: &mut Map<String, Value>, fragment: Map<String, Value>) {
    for (key, value) in fragment {
        match (document.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if ADDITIVE.contains(&key.as_str()) => {
                for item in new {
                    if !old.contains(&item) {
                        old.push(item);
                    }
                }
            }
            (_, value) => {
                document.insert(key, value);
            }
        }
    }
}
