//! What an operator does to a deployment, as data: named, printable, comparable.

use std::fmt;

use images::Suite;
use serde::Serialize;
use serde_json::{Map, Value};

use super::deployment::{CompanionSpec, Deployment, Proxy, Worker};

/// One change of a deployment, at its making or between two legs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Merges a fragment into `homeserver.yaml`.
    Configure(Map<String, Value>),
    /// Takes a top-level key out of it.
    Unset(String),
    /// Adds or replaces a file.
    File(String, String),
    /// Deletes a file.
    RemoveFile(String),
    /// Sets a variable of the homeserver's processes.
    Environment(String, String),
    /// Adds a resource to the main listener.
    Resource(String),
    /// Takes a resource from the main listener.
    RemoveResource(String),
    /// Adds a listener.
    Listener(Value),
    /// Takes the listener on this port away.
    RemoveListener(u16),
    /// Adds a worker, or puts another in the place of the one of that name.
    Worker(Worker),
    /// Takes a worker away.
    RemoveWorker(String),
    /// Adds or replaces a way in through nginx.
    Proxy(String, Proxy),
    /// Replaces the further directives of a way in.
    Directives(String, Vec<String>),
    /// Adds or replaces a companion.
    Companion(String, CompanionSpec),
    /// Takes a companion away.
    RemoveCompanion(String),
    /// Another homeserver to federate with.
    Peer(String, Map<String, Value>),
    /// Runs on another Debian suite.
    Suite(#[serde(serialize_with = "super::deployment::display")] Suite),
    /// Has these Python distributions beside those of the release.
    Packages(Vec<String>),
    /// Moves to a PostgreSQL server of another major version, by dump and restore.
    Postgres(u32),
    /// Moves to a database of another collation and character type, by dump and restore.
    Locale(String),
    /// Further arguments on the homeserver's command line.
    Arguments(Vec<String>),
}

impl Action {
    /// Does it.
    ///
    /// # Panics
    ///
    /// Panics if what is to be changed is not there; a unit test builds every scenario, so a run never meets that.
    pub(crate) fn apply(&self, deployment: &mut Deployment) {
        match self.clone() {
            Self::Configure(fragment) => {
                for key in fragment.keys() {
                    deployment.without.remove(key);
                }
                deployment.config(Value::Object(fragment));
            }
            Self::Unset(key) => {
                deployment.unset(&key);
            }
            Self::File(path, content) => {
                deployment.file(&path, content);
            }
            Self::RemoveFile(path) => {
                deployment.files.remove(&path).unwrap_or_else(|| panic!("there is no file `{path}` to remove"));
            }
            Self::Environment(name, value) => {
                deployment.environment.insert(name, value);
            }
            Self::Resource(name) => {
                deployment.resources.insert(name);
            }
            Self::RemoveResource(name) => {
                assert!(deployment.resources.remove(&name), "the listener has no resource `{name}` to take away");
            }
            Self::Listener(listener) => deployment.listeners.push(listener),
            Self::RemoveListener(port) => {
                let before = deployment.listeners.len();
                deployment.listeners.retain(|listener| listener["port"] != port);
                assert!(deployment.listeners.len() < before, "there is no listener on port {port} to take away");
            }
            Self::Worker(worker) => match deployment.workers.iter_mut().find(|other| other.name == worker.name) {
                Some(other) => *other = worker,
                None => deployment.workers.push(worker),
            },
            Self::RemoveWorker(name) => {
                let before = deployment.workers.len();
                deployment.workers.retain(|worker| worker.name != name);
                assert!(deployment.workers.len() < before, "there is no worker `{name}` to take away");
            }
            Self::Proxy(name, proxy) => {
                deployment.proxies.insert(name, proxy);
            }
            Self::Directives(name, lines) => {
                let proxy = deployment.proxies.get_mut(&name);
                proxy.unwrap_or_else(|| panic!("there is no proxy `{name}`: say `.proxy(name, routes)`")).directives =
                    lines;
            }
            Self::Companion(host, spec) => {
                deployment.companions.insert(host, spec);
            }
            Self::RemoveCompanion(host) => {
                let removed = deployment.companions.remove(&host);
                removed.unwrap_or_else(|| panic!("there is no companion `{host}` to take away"));
            }
            Self::Peer(server_name, config) => {
                deployment.peers.insert(server_name, config);
            }
            Self::Suite(suite) => deployment.suite = Some(suite),
            Self::Packages(packages) => deployment.packages = packages,
            Self::Postgres(major) => deployment.postgres = Some(major),
            Self::Locale(locale) => deployment.locale = Some(locale),
            Self::Arguments(arguments) => deployment.arguments.extend(arguments),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure(fragment) => write!(f, "configure {}", Value::Object(fragment.clone())),
            Self::Unset(key) => write!(f, "unset {key}"),
            Self::File(path, _) => write!(f, "write {path}"),
            Self::RemoveFile(path) => write!(f, "remove {path}"),
            Self::Environment(name, value) => write!(f, "{name}={value}"),
            Self::Resource(name) => write!(f, "add the resource {name}"),
            Self::RemoveResource(name) => write!(f, "remove the resource {name}"),
            Self::Listener(listener) => write!(f, "add the listener {listener}"),
            Self::RemoveListener(port) => write!(f, "remove the listener on port {port}"),
            Self::Worker(worker) => write!(f, "run the worker {}", worker.name),
            Self::RemoveWorker(name) => write!(f, "run no worker {name}"),
            Self::Proxy(name, _) => write!(f, "put nginx in front ({name})"),
            Self::Directives(name, lines) => write!(f, "nginx ({name}): {}", lines.join(" ")),
            Self::Companion(host, spec) => write!(f, "run {} as {host}", spec.kind),
            Self::RemoveCompanion(host) => write!(f, "run nothing as {host}"),
            Self::Peer(server_name, _) => write!(f, "federate with {server_name}"),
            Self::Suite(suite) => write!(f, "move to {suite}"),
            Self::Packages(packages) => write!(f, "install {}", packages.join(", ")),
            Self::Postgres(major) => write!(f, "move to PostgreSQL {major}"),
            Self::Locale(locale) => write!(f, "move to the locale {locale}"),
            Self::Arguments(arguments) => write!(f, "start with {}", arguments.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("an object") };
        map
    }

    #[test]
    fn what_is_configured_again_is_no_longer_left_out() {
        let mut deployment = Deployment::default();
        Action::Unset("email".to_owned()).apply(&mut deployment);
        assert!(deployment.without.contains("email"));
        Action::Configure(object(json!({ "email": {} }))).apply(&mut deployment);
        assert!(!deployment.without.contains("email"));
    }

    #[test]
    #[should_panic(expected = "no worker `w` to take away")]
    fn what_is_not_there_cannot_be_taken_away() {
        Action::RemoveWorker("w".to_owned()).apply(&mut Deployment::default());
    }
}
