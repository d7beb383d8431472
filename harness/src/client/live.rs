//! The deployment as it is on one leg, as seeds, steps and probes meet it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use hmac::{Hmac, Mac as _};
use images::Version;
use reqwest::Url;
use ruma_client_api::discovery::get_supported_versions;
use ruma_common::api::{IncomingResponseExt as _, MatrixVersion, SupportedVersions};
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::sync::OnceCell;

use crate::{
    Database, Deployment, PATIENCE,
    checks::health,
    client::{AuthenticationService, Browser, Client, ForwardProxy, Mailbox, Recorder, Transcript, metrics::Metrics},
    database::Store,
    scenario::expect,
    stage::assistant::Assistant,
    stage::config,
    stage::daemon::{Daemon, Output},
    stage::homeserver::Start,
    stage::log::{Log, Stream},
};

/// A handle to the deployment as it is on one leg, for one scenario. Cheap to clone.
///
/// What a scenario makes it names: users, rooms and other texts are remembered under their names across the legs, and
/// observed values show the names, so that a fact reads `@alice:hs.test` and `{lobby}` whatever the server called them.
#[derive(Clone, Debug)]
pub struct Live {
    pub(crate) leg: Arc<Leg>,
    pub(crate) rider: Arc<Rider>,
}

/// What is common to all who look at the deployment on this leg.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) release: Version,
    /// Where people's requests go: a process, or a way in.
    pub(crate) front: String,
    pub(crate) database: Database,
    pub(crate) deployment: Deployment,
    pub(crate) daemon: Daemon,
    pub(crate) start: Start,
    /// Process or companion (with port) to loopback address.
    pub(crate) addresses: BTreeMap<String, String>,
    pub(crate) logs: BTreeMap<String, Log>,
    /// In the main process's container, while it runs.
    pub(crate) assistant: Option<Arc<Assistant>>,
    pub(crate) store: Store,
    /// The leg's image and the data volume, for looking at data at rest.
    pub(crate) image: String,
    pub(crate) volume: String,
    pub(crate) http: reqwest::Client,
    pub(crate) transcript: Transcript,
    pub(crate) versions: OnceCell<SupportedVersions>,
    /// The other homeservers, by name.
    pub(crate) peers: BTreeMap<String, Arc<Leg>>,
}

/// One scenario's memory across the legs.
#[derive(Debug)]
pub(crate) struct Rider {
    /// Appended to local parts, so that scenarios in company do not meet.
    pub(crate) suffix: String,
    memory: Mutex<BTreeMap<String, String>>,
    users: tokio::sync::Mutex<BTreeMap<String, crate::client::Identity>>,
    counter: Mutex<u32>,
    /// Its memory of other homeservers.
    peers: Mutex<BTreeMap<String, Arc<Rider>>>,
}

impl Rider {
    pub(crate) fn new(suffix: &str) -> Self {
        Self {
            suffix: suffix.to_owned(),
            memory: Mutex::default(),
            users: tokio::sync::Mutex::default(),
            counter: Mutex::default(),
            peers: Mutex::default(),
        }
    }
}

impl Live {
    // What runs.

    /// The release that runs.
    pub fn release(&self) -> &Version {
        &self.leg.release
    }

    /// The database it runs on.
    pub fn database(&self) -> Database {
        self.leg.database
    }

    /// The deployment as it is configured on this leg.
    pub fn deployment(&self) -> &Deployment {
        &self.leg.deployment
    }

    pub(crate) fn start(&self) -> &Start {
        &self.leg.start
    }

    pub(crate) fn transcript(&self) -> Transcript {
        self.leg.transcript.clone()
    }

    /// The base URL of a process (`main`, a worker, `proxy`), a further listener (`main:9000`) or a companion
    /// (`mail:8080`), from here.
    pub fn address(&self, process: &str) -> anyhow::Result<Url> {
        match self.leg.addresses.get(process) {
            Some(address) => Ok(Url::parse(&format!("http://{address}/"))?),
            None if self.leg.start != Start::Started => {
                bail!("`{process}` does not run: the homeserver refused to start")
            }
            None => {
                let known: Vec<_> = self.leg.addresses.keys().cloned().collect();
                bail!("nothing is called `{process}` here; there is {}", known.join(", "))
            }
        }
    }

    /// The other homeserver of this name, as this one is seen here. It has users and a memory of its own.
    pub fn peer(&self, server_name: &str) -> anyhow::Result<Self> {
        let leg =
            self.leg.peers.get(server_name).with_context(|| format!("there is no homeserver `{server_name}` here"))?;
        let mut riders = self.rider.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let rider = riders.entry(server_name.to_owned()).or_insert_with(|| Arc::new(Rider::new(&self.rider.suffix)));
        Ok(Self { leg: Arc::clone(leg), rider: Arc::clone(rider) })
    }

    // Memory.

    /// Remembers a text under a name, for later legs and for the names in observed values.
    pub fn remember(&self, name: &str, text: &str) {
        let mut memory = self.rider.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(name.to_owned(), text.to_owned());
    }

    /// The text remembered under a name.
    pub fn recall(&self, name: &str) -> anyhow::Result<String> {
        let memory = self.rider.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(name).cloned().ok_or_else(|| anyhow!("nothing is remembered as `{name}`"))
    }

    /// A text that no other call gives, for transaction ids and the like.
    pub fn unique(&self, prefix: &str) -> String {
        // A number at the other end would run into the suffix's: `.1` and 13 would be `.11` and 3.
        format!("{prefix}{}{}-{}", self.counted(), self.rider.suffix, self.leg.release)
    }

    /// A number that no other call gives.
    pub(crate) fn counted(&self) -> u32 {
        let mut counter = self.rider.counter.lock().unwrap_or_else(PoisonError::into_inner);
        *counter += 1;
        *counter
    }

    /// The text with `{name}` replaced by what is remembered under it.
    pub fn fill(&self, text: &str) -> anyhow::Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('{') {
            filled.push_str(before);
            let name = tail
                .split_once('}')
                .map(|(name, _)| name)
                .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_- ".contains(c)));
            if let Some(name) = name {
                filled.push_str(&self.recall(name)?);
                rest = &tail[name.len() + 1..];
            } else {
                filled.push('{');
                rest = tail;
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The JSON with `{name}` replaced in every text.
    pub(crate) fn fill_json(&self, value: &Value) -> anyhow::Result<Value> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(items) => items.iter().map(|item| self.fill_json(item)).collect::<Result<_, _>>()?,
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| Ok((self.fill(key)?, self.fill_json(value)?)))
                    .collect::<anyhow::Result<_>>()?,
            ),
            other => other.clone(),
        })
    }

    /// The observed value with remembered texts replaced by their names: the reverse of [`Live::fill`].
    pub(crate) fn scrub(&self, value: Value) -> Value {
        let memory = self.rider.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut names: Vec<(&String, &String)> = memory.iter().filter(|(_, text)| text.len() > 5).collect();
        // The longest first, as one may contain another.
        names.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        let suffix = &self.rider.suffix;
        let users = |text: String| {
            if suffix.is_empty() {
                text
            } else {
                text.replace(&format!("{suffix}:{}", config::SERVER_NAME), &format!(":{}", config::SERVER_NAME))
            }
        };
        map_texts(value, &|text| {
            let readable = names.iter().fold(text, |text, (name, secret)| {
                if secret.starts_with('@') { text } else { text.replace(secret.as_str(), &format!("{{{name}}}")) }
            });
            users(readable)
        })
    }

    /// The choice for this deployment's database, as text.
    pub(crate) fn choose(&self, value: &Value) -> anyhow::Result<String> {
        match expect::resolve(value, self.leg.database) {
            Value::String(text) => Ok(text),
            other => bail!("a text is needed here, not {other}"),
        }
    }

    // People.

    /// Nobody: a client without a token.
    pub fn anonymous(&self) -> Client {
        self.client(None)
    }

    /// The user that this scenario calls `name`: registered on first use, with a token that is kept across the legs.
    pub async fn user(&self, name: &str) -> anyhow::Result<Client> {
        self.person(name, false).await
    }

    /// An address for the user that this scenario calls `name`, which no other scenario uses.
    pub fn email(&self, name: &str) -> String {
        format!("{name}{}@example.test", self.rider.suffix)
    }

    /// A server admin.
    pub async fn admin(&self) -> anyhow::Result<Client> {
        self.person("admin", true).await
    }

    fn client(&self, identity: Option<crate::client::Identity>) -> Client {
        // A process that does not run is noticed when it is talked to.
        let base = self
            .address(&self.leg.front)
            .unwrap_or_else(|_| Url::parse("http://127.0.0.1:9/").expect("a constant URL"));
        Client { live: self.clone(), http: self.leg.http.clone(), base, identity }
    }

    async fn person(&self, name: &str, admin: bool) -> anyhow::Result<Client> {
        let mut users = self.rider.users.lock().await;
        if let Some(identity) = users.get(name) {
            return Ok(self.client(Some(identity.clone())));
        }
        let identity = self.register(&format!("{name}{}", self.rider.suffix), admin).await?;
        self.remember(name, &identity.user_id);
        users.insert(name.to_owned(), identity.clone());
        Ok(self.client(Some(identity)))
    }

    /// Registers through the shared-secret API, which works whatever the scenario does to open registration.
    async fn register(&self, localpart: &str, admin: bool) -> anyhow::Result<crate::client::Identity> {
        // Before 0.99.4 it lived with the client API.
        let path = if self.leg.release < "0.99.4".parse().expect("a constant version") {
            "/_matrix/client/r0/admin/register"
        } else {
            "/_synapse/admin/v1/register"
        };
        let client = self.anonymous();
        let nonce = client.get(path).await?.ok()?.field("nonce")?;
        let password = format!("password of {localpart}");
        let role = if admin { "admin" } else { "notadmin" };
        let mut mac = Hmac::<Sha1>::new_from_slice(config::REGISTRATION_SECRET.as_bytes()).expect("any key will do");
        mac.update([nonce.as_str(), localpart, &password, role].join("\0").as_bytes());
        let body = json!({
            "nonce": nonce,
            "username": localpart,
            "password": password,
            "admin": admin,
            "mac": hex::encode(mac.finalize().into_bytes()),
        });
        let answer = client.post(path, &body).await?.ok()?;
        Ok(crate::client::Identity {
            user_id: answer.field("user_id")?,
            device_id: answer.field("device_id")?,
            token: answer.field("access_token")?,
            password,
        })
    }

    /// What `/versions` says, in ruma's terms; asked once per leg.
    pub(crate) async fn supported_versions(&self) -> anyhow::Result<SupportedVersions> {
        let versions = self
            .leg
            .versions
            .get_or_try_init(|| async {
                let answer = self.anonymous().get("/_matrix/client/versions").await?.ok()?;
                let response = http::Response::builder().status(answer.status()).body(answer.bytes().as_ref())?;
                let response = get_supported_versions::Response::try_from_http_response(response)
                    .map_err(|error| anyhow!("unreadable /versions: {error}"))?;
                let mut supported = response.as_supported_versions();
                // Releases before 1.0 announce none that ruma knows, and speak r0 all the same.
                supported.versions.insert(MatrixVersion::V1_0);
                anyhow::Ok(supported)
            })
            .await?;
        Ok(versions.clone())
    }

    // Companions.

    /// The mail sink that the deployment calls `host`.
    pub fn mail(&self, host: &str) -> Mailbox {
        Mailbox { live: self.clone(), host: host.to_owned() }
    }

    /// The recorder that the deployment calls `host`.
    pub fn recorder(&self, host: &str) -> Recorder {
        Recorder { live: self.clone(), host: host.to_owned() }
    }

    /// The Matrix Authentication Service that the deployment calls `host`.
    pub fn authentication_service(&self, host: &str) -> AuthenticationService {
        AuthenticationService { recorder: self.recorder(host) }
    }

    /// The forward proxy that the deployment calls `host`.
    pub fn forward_proxy(&self, host: &str) -> ForwardProxy {
        ForwardProxy { live: self.clone(), host: host.to_owned() }
    }

    /// A browser with no past, to which the server's name is this process: `main`, or a proxy.
    pub fn browser(&self, front: &str) -> Browser {
        Browser::new(self.clone(), front)
    }

    // The inside.

    /// The rows of one query on the homeserver's database, which may run or not.
    pub async fn sql(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let rows = self.leg.store.rows(query, self.leg.assistant.as_deref()).await?;
        Ok(rows.into_iter().map(Value::Object).collect())
    }

    /// Does the database have a table of this name?
    pub async fn has_table(&self, name: &str) -> anyhow::Result<bool> {
        let query = match self.leg.database {
            Database::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ",
            Database::Postgres => {
                "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' AND tablename = "
            }
        };
        Ok(!self.sql(&format!("{query}'{name}'")).await?.is_empty())
    }

    /// The background updates that are left, with their progress, when none goes on any more.
    pub async fn background_updates_left(&self) -> anyhow::Result<Vec<Value>> {
        let rows = health::background_updates_left(&self.leg.store, self.leg.assistant.as_deref()).await?;
        Ok(rows.into_iter().map(Value::Object).collect())
    }

    /// Runs SQL statements; an error is the harness's.
    pub async fn execute(&self, statements: &str) -> anyhow::Result<()> {
        self.run_sql(statements).await?.map_err(|error| anyhow!("SQL failed: {error}\n{statements}"))
    }

    /// Runs SQL statements; what becomes of them: `"done"`, or the database's error.
    pub async fn attempt(&self, statements: &str) -> anyhow::Result<Value> {
        Ok(match self.run_sql(statements).await? {
            Ok(()) => json!("done"),
            Err(error) => json!(error),
        })
    }

    async fn run_sql(&self, statements: &str) -> anyhow::Result<Result<(), String>> {
        self.leg.store.run(statements, self.leg.assistant.as_deref()).await
    }

    /// Runs a command in the main process's container.
    pub async fn exec(&self, command: &[&str]) -> anyhow::Result<Output> {
        let assistant = self.leg.assistant.as_ref().context("the homeserver does not run, so nothing runs in it")?;
        assistant.run(command).await
    }

    /// A file of the data directory (or of the container, while the homeserver runs) as text; `null` where there is none.
    pub async fn read(&self, path: &str) -> anyhow::Result<Value> {
        const READ: &str = "import os, sys; p = sys.argv[1]; out = getattr(sys.stdout, 'buffer', sys.stdout)\n\
            sys.exit(4) if not os.path.exists(p) else out.write(open(p, 'rb').read())";
        let arguments = ["-c", READ, path];
        let output = match &self.leg.assistant {
            Some(assistant) => assistant.run(&[&["python"], &arguments[..]].concat()).await?,
            None => self.leg.daemon.run_once(&self.leg.image, Some(&self.leg.volume), &arguments).await?,
        };
        if output.status == 4 { Ok(Value::Null) } else { Ok(json!(output.ok()?)) }
    }

    /// The image of this leg's homeserver: how it is to be run (`config`, as Docker has it), and its size (`bytes`).
    pub async fn image(&self) -> anyhow::Result<Value> {
        self.leg.daemon.image(&self.leg.image).await
    }

    /// Runs this leg's image as whoever pulls it does, beside the homeserver and with data of its own: its own entry point and
    /// user, first to generate a configuration, then to serve. How far that came.
    pub async fn as_delivered(&self, environment: &[&str]) -> anyhow::Result<Value> {
        self.leg.daemon.as_delivered(&self.leg.image, &format!("{}-delivered", self.leg.volume), environment).await
    }

    /// Runs a Python program where the installed Synapse can be imported: in the main process's container, and between
    /// the legs in one like it with the same data directory.
    pub async fn python(&self, program: &str) -> anyhow::Result<String> {
        match &self.leg.assistant {
            Some(_) => self.exec(&["python", "-c", program]).await?.ok(),
            None => self.leg.daemon.run_once(&self.leg.image, Some(&self.leg.volume), &["-c", program]).await?.ok(),
        }
    }

    /// Lines of the main process's log on this leg that contain `text`, without their time stamps. What was logged
    /// before the call is there: the call waits for its own line in the log.
    pub async fn log_lines(&self, text: &str) -> anyhow::Result<Vec<String>> {
        self.log_lines_of("main", text).await
    }

    /// Lines of a process's log on this leg that contain `text`, without their time stamps.
    pub async fn log_lines_of(&self, process: &str, text: &str) -> anyhow::Result<Vec<String>> {
        let log = self.log(process)?;
        if process == "main" {
            self.settle(&log).await?;
        }
        Ok(log
            .lines(Stream::Out)
            .iter()
            .filter(|line| line.contains(text))
            .map(|line| line.split_once(" - ").map_or(line.as_str(), |(_, rest)| rest).to_owned())
            .collect())
    }

    /// Waits until the main process logs a line that contains `text`; an error when it does not within `limit`.
    pub async fn await_log(&self, text: &str, limit: Duration) -> anyhow::Result<()> {
        if self.log("main")?.wait_for(text, limit).await {
            Ok(())
        } else {
            bail!("no log line contained `{text}` within {} s", limit.as_secs())
        }
    }

    /// What the main process printed on standard error: what it says before logging is set up. What Python says of the age of
    /// libraries is left out, as that depends on their versions only.
    pub async fn printed(&self) -> anyhow::Result<String> {
        let log = self.log("main")?;
        self.settle(&log).await?;
        Ok(without_deprecations(&log.lines(Stream::Err)))
    }

    pub(crate) fn log(&self, process: &str) -> anyhow::Result<Log> {
        self.leg.logs.get(process).cloned().with_context(|| format!("nothing called `{process}` has a log"))
    }

    /// Waits until everything logged so far has arrived here.
    async fn settle(&self, log: &Log) -> anyhow::Result<()> {
        if self.leg.assistant.is_none() {
            log.ended().await?;
            return Ok(());
        }
        let marker = self.unique("settle-");
        self.anonymous().get(&format!("/_matrix/client/versions?{marker}")).await?;
        if log.wait_for(&marker, PATIENCE).await {
            Ok(())
        } else {
            bail!(
                "the log did not show a request within {} s; does the scenario change the log's configuration?",
                PATIENCE.as_secs()
            )
        }
    }

    /// The samples that a Prometheus endpoint shows. `process` as in [`Live::address`]; the path is `/metrics` on a
    /// metrics listener and `/_synapse/metrics` on an HTTP listener.
    ///
    /// A scrape that meets a series in the making fails, as upstream iterates over what other requests change; Prometheus
    /// comes again then, and so does this, a few times.
    pub async fn metrics(&self, process: &str, path: &str) -> anyhow::Result<Metrics> {
        let client = self.anonymous().at(process)?;
        let mut answer = client.get(path).await?;
        for _ in 0..3 {
            if answer.status() == 500 {
                answer = client.get(path).await?;
            }
        }
        Ok(Metrics::parse(&answer.ok()?.text()))
    }
}

fn without_deprecations(lines: &[String]) -> String {
    let mut kept = Vec::new();
    let mut lines = lines;
    while let Some((line, rest)) = lines.split_first() {
        lines = rest;
        if line.contains("DeprecationWarning: ") {
            // Its source follows, indented, if Python has it. The message itself may go on before that; an error is no part of it.
            let source = rest.iter().take(3).position(|line| line.starts_with("  "));
            if let Some(source) = source.filter(|&source| !rest[..source].iter().any(|line| line.contains("Error"))) {
                lines = &rest[source + 1..];
            }
        } else {
            kept.push(line.as_str());
        }
    }
    kept.join("\n")
}

fn map_texts(value: Value, edit: &impl Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(edit(text)),
        Value::Array(items) => items.into_iter().map(|item| map_texts(item, edit)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (edit(key), map_texts(value, edit))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_says_of_libraries_is_left_out() {
        let said = |text: &str| without_deprecations(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(said("a\nx.py:1: DeprecationWarning: old\n  import old\nb"), "a\nb");
        assert_eq!(said("a\nx.py:1: XDeprecationWarning: old.\nUntil 2.0.\n  import old\nb"), "a\nb");
        assert_eq!(said("a\nx.py:1: DeprecationWarning: old"), "a");
        assert_eq!(said("sys:1: DeprecationWarning: old\nError in it:\n  b"), "Error in it:\n  b");
        assert_eq!(said("a\nx.py:1: DeprecationWarning: old\nb\nc\nd\n  e"), "a\nb\nc\nd\n  e");
    }
}
