//! The homeserver's processes on one leg: the main one, its workers, and nginx in front.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use images::Version;
use serde_json::{Map, Value, json};

use crate::{
    Deployment,
    scenario::deployment::Proxy,
    stage::assistant::{Assistant, BECOME_SYNAPSE},
    stage::companion,
    stage::config,
    stage::container::{Container, Spec},
    stage::daemon::{Daemon, Usage},
    stage::hook::Hook,
    stage::pulse::{self, Pulse},
    stage::tls::{self, Authority},
};

/// A start may have to migrate, on a machine that is busy with other starts; one that still works after so long says nothing
/// of the homeserver.
const START_LIMIT: Duration = Duration::from_secs(900);
/// How often a start is looked at once it says that it listens.
const POLL: Duration = Duration::from_millis(10);
/// How often before: each look costs a connection through Docker's proxy, and many starts share the cores.
const IDLE_POLL: Duration = Duration::from_millis(250);
/// What a process logs when it listens; not all configurations of logs show it, so that only hastens the next look.
const LISTENS: &str = "now listening on";
/// The main process, among the processes of a deployment.
pub(crate) const MAIN: &str = "main";
/// nginx's first port; further proxies are on the next ones.
const PROXY_PORT: u16 = 80;
/// Synapse gives its own requests some seconds to end; one that still runs after so long hangs.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// nginx has nothing to end.
const PROXY_STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long the moment may keep us waiting at which a process that answers is to be killed.
const MOMENT_LIMIT: Duration = Duration::from_secs(120);
/// The tool that moves data to PostgreSQL, as its container is called.
const PORT: &str = "port";
/// How long it may take.
const PORT_LIMIT: Duration = Duration::from_secs(300);
/// How long Docker may take to learn that a process has ended.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Hang-up, interrupt, kill, terminate: signals that others send. What else ends a process, like a segmentation fault, is
/// its own doing.
const FROM_OUTSIDE: [i64; 4] = [1, 2, 9, 15];
/// What a process ends with that was killed.
const KILLED: i64 = 128 + 9;
/// What one ends with that has no handler for being asked to end, like one that still starts.
const TERMINATED: i64 = 128 + 15;

/// How the homeserver came up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Start {
    /// It answers.
    Started,
    /// It ended by itself instead.
    Refused {
        /// Its exit status.
        status: i64,
        /// What it printed, both streams, without what only says that all is well.
        printed: String,
    },
    /// It neither answered nor ended, and did nothing more.
    Hung {
        /// The last it printed.
        printed: String,
    },
    /// It was killed at the moment that its leg names.
    Killed(String),
}

/// What is particular about the processes of one leg.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// What is planted in the main process.
    pub(crate) hook: Option<Hook>,
    /// Release and image of the workers, where they are not the main process's.
    pub(crate) workers: Option<(Version, String)>,
}

impl Start {
    /// As the fact `start` shows it.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Started => crate::scenario::probe::started(),
            Self::Refused { status, printed } => {
                // The end says why.
                let skip = printed.chars().count().saturating_sub(6000);
                json!({ "exit status": status, "printed": printed.chars().skip(skip).collect::<String>() })
            }
            Self::Hung { printed } => {
                let hangs =
                    format!("for {} s it printed nothing, did nothing, answered nothing", pulse::HANG.as_secs());
                json!({ "hangs": hangs, "printed": printed })
            }
            Self::Killed(moment) => json!({ "killed at": moment }),
        }
    }
}

/// What all legs of a walk have in common.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) daemon: Daemon,
    /// Prefix of container names.
    pub(crate) prefix: String,
    pub(crate) network: String,
    pub(crate) data_volume: String,
    pub(crate) socket_volume: Option<String>,
    /// `database:` of the configuration.
    pub(crate) database: Value,
    pub(crate) server_name: String,
    pub(crate) authority: Arc<Authority>,
    pub(crate) http: reqwest::Client,
    /// Address of the name server, where the deployment has one.
    pub(crate) name_server: Option<String>,
    /// nginx's image, where the deployment has a proxy.
    pub(crate) nginx: Option<String>,
}

/// Running (or just ended) processes.
#[derive(Debug)]
pub(crate) struct Homeserver {
    pub(crate) main: Container,
    pub(crate) workers: Vec<Container>,
    proxy: Option<Container>,
    /// In the main process's container.
    pub(crate) assistant: Arc<Assistant>,
    pub(crate) start: Start,
    pub(crate) start_seconds: f64,
    daemon: Daemon,
}

impl Homeserver {
    /// Writes the configuration to `evidence` and starts everything; returns when all answer, or the first refuses.
    ///
    /// # Errors
    ///
    /// Anything that says nothing of the homeserver: Docker, a signal from outside, a process that still works when the
    /// limit is reached.
    pub(crate) async fn start(
        site: &Site,
        release: &Version,
        image: &str,
        deployment: &Deployment,
        manner: &Manner,
        extra: Option<&Path>,
        evidence: &Path,
    ) -> anyhow::Result<Self> {
        let data = evidence.join("data");
        write_data(&data, site, release, deployment, manner, extra)?;
        let spec = |role: &str, app: &str, files: &[&str]| {
            let mut command = vec!["-m".to_owned(), app.to_owned()];
            for file in files {
                command.extend(["-c".to_owned(), format!("/data/{file}")]);
            }
            let mut volumes = vec![(site.data_volume.clone(), "/data".to_owned())];
            if let Some(socket) = &site.socket_volume {
                volumes.push((socket.clone(), config::SOCKET_DIRECTORY.to_owned()));
            }
            Spec {
                image: image.to_owned(),
                role: role.to_owned(),
                // Others find the main process by the server's name.
                host: if role == MAIN { site.server_name.clone() } else { role.to_owned() },
                name: format!("{}-{role}", site.prefix),
                network: Some(site.network.clone()),
                entrypoint: Some("python".to_owned()),
                command,
                environment: environment(deployment),
                // `python -m` finds modules in its working directory, and `PYTHONPATH` is the image's.
                directory: Some("/data/modules".to_owned()),
                volumes,
                copies: Vec::new(),
                ports: vec![config::PORT],
                name_server: site.name_server.clone(),
            }
        };
        let mut main = spec(MAIN, "synapse.app.homeserver", &["homeserver.yaml"]);
        main.command.extend(deployment.arguments.iter().cloned());
        if let Some(hook) = &manner.hook {
            main.command.insert(1, Hook::MODULE.to_owned());
            main.environment.extend(hook.environment());
        }
        main = as_synapse(main, true);
        main.copies.push((data.clone(), "/data".to_owned()));
        main.copies.extend(package_files(site, image, deployment, evidence).await?);
        main.ports.extend(
            deployment
                .listeners
                .iter()
                .filter_map(|listener| listener["port"].as_u64().and_then(|port| u16::try_from(port).ok())),
        );
        let main = Container::start(&site.daemon, main, evidence).await?;
        let assistant = Arc::new(Assistant::new(site.daemon.clone(), main.id()));
        let mut homeserver = Self {
            main,
            workers: Vec::new(),
            proxy: None,
            assistant,
            start: Start::Started,
            start_seconds: 0.0,
            daemon: site.daemon.clone(),
        };
        homeserver.start = homeserver.await_start(&homeserver.main, &site.http).await?;
        homeserver.start_seconds = homeserver.main.created.elapsed().as_secs_f64();
        if homeserver.start != Start::Started {
            return Ok(homeserver);
        }
        for worker in &deployment.workers {
            let file = format!("{}.yaml", worker.name);
            let mut spec = spec(&worker.name, &worker.app, &["homeserver.yaml", &file]);
            if let Some((_, image)) = &manner.workers {
                spec.image.clone_from(image);
            }
            homeserver.workers.push(Container::start(&site.daemon, as_synapse(spec, false), evidence).await?);
        }
        for (worker, container) in deployment.workers.iter().zip(&homeserver.workers) {
            let start = if worker.resources.is_empty() {
                homeserver.await_line(container).await?
            } else {
                homeserver.await_start(container, &site.http).await?
            };
            if start != Start::Started {
                homeserver.start = start;
                homeserver.start_seconds = homeserver.main.created.elapsed().as_secs_f64();
                return Ok(homeserver);
            }
        }
        if !deployment.proxies.is_empty() {
            let image = site.nginx.clone().context("a proxy needs nginx's image")?;
            homeserver.proxy = Some(start_nginx(site, &image, deployment, evidence).await?);
        }
        homeserver.start_seconds = homeserver.main.created.elapsed().as_secs_f64();
        Ok(homeserver)
    }

    /// Addresses by process name; further published ports of the main process as `main:9000`.
    pub(crate) fn addresses(&self, deployment: &Deployment) -> anyhow::Result<BTreeMap<String, String>> {
        let mut addresses = BTreeMap::new();
        if self.start == Start::Started {
            addresses.insert(MAIN.to_owned(), self.main.address(config::PORT)?);
            for port in deployment.listeners.iter().filter_map(|listener| listener["port"].as_u64()) {
                let number = u16::try_from(port).context("a port")?;
                addresses.insert(format!("{MAIN}:{port}"), self.main.address(number)?);
            }
            for (worker, container) in deployment.workers.iter().zip(&self.workers) {
                if !worker.resources.is_empty() {
                    addresses.insert(worker.name.clone(), container.address(config::PORT)?);
                }
            }
            if let Some(nginx) = &self.proxy {
                for ((name, _), port) in deployment.proxies.iter().zip(PROXY_PORT..) {
                    addresses.insert(name.clone(), nginx.address(port)?);
                }
            }
        }
        Ok(addresses)
    }

    /// Log of a process by name.
    pub(crate) fn logs(&self) -> BTreeMap<String, crate::stage::log::Log> {
        self.own().chain(&self.proxy).map(|container| (container.role.clone(), container.log.clone())).collect()
    }

    /// Homeserver processes: the main one and the workers.
    pub(crate) fn processes(&self) -> usize {
        self.own().count()
    }

    /// The homeserver's own processes, without the proxy in front.
    fn own(&self) -> impl Iterator<Item = &Container> {
        std::iter::once(&self.main).chain(&self.workers)
    }

    async fn await_start(&self, container: &Container, http: &reqwest::Client) -> anyhow::Result<Start> {
        // A container that ended before its port was known has no address; its end is what counts then.
        let url = container.address(config::PORT).map(|address| format!("http://{address}/_matrix/client/versions"));
        let answers = async {
            let Ok(url) = &url else { return std::future::pending().await };
            let mut listens = false;
            loop {
                // Any answer at all: a worker need not serve this path.
                if http.get(url).timeout(Duration::from_secs(10)).send().await.is_ok() {
                    return;
                }
                if listens {
                    tokio::time::sleep(POLL).await;
                } else {
                    listens = container.log.wait_for(LISTENS, IDLE_POLL).await;
                }
            }
        };
        self.started_or_ended(container, answers).await
    }

    /// A process without listeners is up when it says so.
    async fn await_line(&self, container: &Container) -> anyhow::Result<Start> {
        let log = container.log.clone();
        let says = async move {
            if !log.wait_for(LISTENS, START_LIMIT).await {
                std::future::pending::<()>().await;
            }
        };
        self.started_or_ended(container, says).await
    }

    async fn started_or_ended(&self, container: &Container, starts: impl Future<Output = ()>) -> anyhow::Result<Start> {
        let status = tokio::select! {
            biased;
            status = container.exited() => status?,
            () = starts => return Ok(Start::Started),
            hung = self.hangs(container) => {
                hung?;
                return Ok(Start::Hung { printed: tail(&container.log.text(), 20) });
            }
            () = tokio::time::sleep(START_LIMIT) => bail!(
                "`{}` has neither answered nor ended within {} s, and still works: is the machine too busy? The last it \
                 printed:\n{}",
                container.role,
                START_LIMIT.as_secs(),
                tail(&container.log.text(), 20),
            ),
        };
        container.last_words().await?;
        let printed = container.log.text();
        if let (KILLED, Some(moment)) = (status, Hook::killed(&printed)) {
            return Ok(Start::Killed(moment.to_owned()));
        }
        self.own_end(container, status).await?;
        Ok(Start::Refused { status, printed: telling(&printed) })
    }

    /// Waits for the moment at which the main process kills itself.
    ///
    /// # Errors
    ///
    /// The moment does not come, or the process ends otherwise.
    pub(crate) async fn await_kill(&mut self) -> anyhow::Result<()> {
        let ended = tokio::time::timeout(MOMENT_LIMIT, self.main.exited()).await;
        if ended.is_err() {
            let text = self.main.log.text();
            let seen = Hook::seen(&text);
            let seen = if seen.is_empty() { "nothing".to_owned() } else { seen.join("; ") };
            bail!("the moment to kill `main` did not come within {} s; seen: {seen}", MOMENT_LIMIT.as_secs());
        }
        let start = self.started_or_ended(&self.main, std::future::pending()).await?;
        match start {
            Start::Killed(_) => self.start = start,
            other => bail!("`main` ended before the moment to kill it: {}", other.to_json()),
        }
        Ok(())
    }

    /// Kills what runs, as a power cut would.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        for container in self.own() {
            container.kill().await?;
        }
        match &self.proxy {
            Some(proxy) => proxy.stop(PROXY_STOP_LIMIT).await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits until a process hangs.
    async fn hangs(&self, container: &Container) -> anyhow::Result<()> {
        let mut pulse = Pulse::new(Instant::now());
        loop {
            tokio::time::sleep(pulse::LOOK).await;
            let cpu = match self.daemon.cpu_seconds(container.id()).await {
                Ok(Some(cpu)) => cpu,
                // That it has ended is noticed elsewhere.
                Ok(None) => continue,
                // Docker may make an error of an end that it meets.
                Err(_) if container.exit_status().await?.is_some() => continue,
                Err(error) => return Err(error),
            };
            if pulse.is_lost(Instant::now(), container.log.frames(), cpu) {
                return Ok(());
            }
        }
    }

    /// An error, if the process did not end by its own doing.
    async fn own_end(&self, container: &Container, status: i64) -> anyhow::Result<()> {
        if self.daemon.inspect(container.id()).await?.ran_out_of_memory() {
            bail!("`{}` was killed because memory ran out", container.role);
        }
        let signal = status - 128;
        if FROM_OUTSIDE.contains(&signal) {
            bail!(
                "`{}` was killed from outside (signal {signal}); nothing follows about the homeserver",
                container.role
            );
        }
        Ok(())
    }

    /// Did a process end by itself while it should have run? Its name, exit status and last words. Where there is a reason
    /// to suspect it, that is waited for: Docker learns of an end later than who was connected.
    ///
    /// # Errors
    ///
    /// A process that was killed from outside, or lost with the daemon.
    pub(crate) async fn casualty(&self, suspected: bool) -> anyhow::Result<Option<String>> {
        if suspected {
            let ends = self.own().map(|container| Box::pin(container.exited()));
            // Whether and how one ended is looked at below.
            let _ = tokio::time::timeout(END_LIMIT, futures::future::select_all(ends)).await;
        }
        for container in self.own() {
            if let Some(status) = container.exit_status().await? {
                container.last_words().await?;
                self.own_end(container, status).await?;
                return Ok(Some(format!(
                    "`{}` ended by itself with status {status}; the last it printed:\n{}",
                    container.role,
                    tail(&container.log.text(), 20)
                )));
            }
        }
        Ok(None)
    }

    /// What the homeserver's processes have used so far: CPU without what the harness did in their containers.
    pub(crate) async fn usage(&self) -> Usage {
        let mut total = Usage::default();
        for container in self.own() {
            // Figures for the report; a process that has ended takes them with it.
            let used = self.daemon.usage(container.id()).await.ok().flatten().unwrap_or_default();
            total.cpu_seconds += used.cpu_seconds;
            total.memory_bytes += used.memory_bytes;
        }
        total.cpu_seconds -= self.assistant.cpu_seconds().await.unwrap_or(0.0);
        total
    }

    /// Stops what runs: workers first, as upstream's documentation has it. Gives how they ended that did not end in order: the
    /// data that such a one leaves is no clean stop's.
    ///
    /// # Errors
    ///
    /// Docker's, and a signal from outside.
    pub(crate) async fn stop(&self) -> anyhow::Result<Vec<String>> {
        if let Some(proxy) = &self.proxy {
            proxy.stop(PROXY_STOP_LIMIT).await?;
        }
        let mut ends = futures::future::try_join_all(self.workers.iter().map(|worker| self.stop_one(worker))).await?;
        ends.push(self.stop_one(&self.main).await?);
        Ok(ends.into_iter().flatten().collect())
    }

    /// Stops a process that runs; what there is to say of its end.
    async fn stop_one(&self, container: &Container) -> anyhow::Result<Option<String>> {
        if container.exit_status().await?.is_some() {
            container.last_words().await?;
            return Ok(None);
        }
        let begun = Instant::now();
        let status = container.stop(STOP_LIMIT).await?;
        let status = status.with_context(|| format!("Docker did not say how `{}` ended", container.role))?;
        let end = end(status, begun.elapsed());
        if end.is_none() && ![0, TERMINATED].contains(&status) {
            // Neither in order nor its own doing.
            self.own_end(container, status).await?;
        }
        Ok(end.map(|end| {
            format!("`{}` {end}; the last it printed:\n{}", container.role, tail(&container.log.text(), 20))
        }))
    }

    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let containers = std::iter::once(self.main).chain(self.workers).chain(self.proxy);
        futures::future::try_join_all(containers.map(Container::remove)).await?;
        Ok(())
    }
}

/// What there is to say of how a process ended that was asked to end.
fn end(status: i64, after: Duration) -> Option<String> {
    match status {
        0 | TERMINATED => None,
        KILLED if after >= STOP_LIMIT => {
            Some(format!("did not end within {} s of being asked to, and was killed", STOP_LIMIT.as_secs()))
        }
        // The caller looks into who sent it.
        status if FROM_OUTSIDE.contains(&(status - 128)) => None,
        status => Some(format!("ended with status {status} when it was asked to end")),
    }
}

/// Moves the data from SQLite to the database that the site names now, with the release's own tool: `"done"`, or how it
/// ended instead.
pub(crate) async fn port(
    site: &Site,
    release: &Version,
    image: &str,
    deployment: &Deployment,
    evidence: &Path,
) -> anyhow::Result<Value> {
    let data = evidence.join("port");
    write_data(&data, site, release, deployment, &Manner::default(), None)?;
    let arguments = ["--sqlite-database", "/data/homeserver.db", "--postgres-config", "/data/homeserver.yaml"];
    let mut volumes = vec![(site.data_volume.clone(), "/data".to_owned())];
    volumes.extend(site.socket_volume.iter().map(|socket| (socket.clone(), config::SOCKET_DIRECTORY.to_owned())));
    let spec = Spec {
        image: image.to_owned(),
        role: PORT.to_owned(),
        host: PORT.to_owned(),
        name: format!("{}-{PORT}", site.prefix),
        network: Some(site.network.clone()),
        entrypoint: Some("synapse_port_db".to_owned()),
        command: arguments.map(str::to_owned).to_vec(),
        environment: deployment.environment.clone(),
        directory: Some("/data".to_owned()),
        volumes,
        copies: vec![(data, "/data".to_owned())],
        ..Spec::default()
    };
    let container = Container::start(&site.daemon, as_synapse(spec, true), evidence).await?;
    let ended = tokio::time::timeout(PORT_LIMIT, container.exited()).await;
    let text = container.log.text();
    let Ok(status) = ended else {
        bail!(
            "synapse_port_db did not end within {} s; the last it printed:\n{}",
            PORT_LIMIT.as_secs(),
            tail(&text, 20)
        );
    };
    let status = status?;
    container.last_words().await?;
    let text = container.log.text();
    container.remove().await?;
    // Its exit status was once zero whatever happened.
    Ok(if status == 0 && !text.contains("Traceback (most recent call last)") {
        json!("done")
    } else {
        json!({ "exit status": status, "printed": tail(&text, 30) })
    })
}

/// The text without log lines below WARNING and what belongs to them.
fn telling(text: &str) -> String {
    let mut telling = true;
    let mut kept = Vec::new();
    for line in text.lines() {
        // Time stamp, logger, line, level, message.
        if let Some(level) = line.split(" - ").nth(3).filter(|_| line.starts_with("20")) {
            telling = !matches!(level, "INFO" | "DEBUG");
        } else if line.starts_with(|c: char| !c.is_whitespace()) && !telling {
            telling = true;
        }
        if telling {
            kept.push(line);
        }
    }
    kept.join("\n")
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Writes what goes to `/data`: the evidence directory holds exactly what the homeserver reads.
fn write_data(
    data: &Path,
    site: &Site,
    release: &Version,
    deployment: &Deployment,
    manner: &Manner,
    extra: Option<&Path>,
) -> anyhow::Result<()> {
    let write = |name: &str, content: &str| {
        let path = data.join(name);
        fs::create_dir_all(path.parent().unwrap_or(data))
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let document = |value: Map<String, Value>| serde_json::to_string_pretty(&value).expect("a value is JSON");
    write("homeserver.yaml", &document(config::homeserver(release, deployment, &site.server_name, &site.database)))?;
    write("log.config", &document(config::log_config()))?;
    write("signing.key", config::SIGNING_KEY)?;
    // Releases before 1.0 read a certificate whether they serve TLS or not.
    if deployment.federates() || config::reads_certificate(release) {
        let certificate = site.authority.certify(&site.server_name)?;
        write("tls.crt", &certificate.certificate)?;
        write("tls.key", &certificate.key)?;
        write("tls.dh", tls::DH_PARAMETERS)?;
        write("ca.crt", site.authority.pem())?;
    }
    for worker in &deployment.workers {
        let release = manner.workers.as_ref().map_or(release, |(release, _)| release);
        write(&format!("{}.yaml", worker.name), &document(config::worker(release, worker)))?;
    }
    if manner.hook.is_some() {
        write(Hook::FILE, Hook::SOURCE)?;
    }
    for (path, content) in deployment.files.iter().filter(|(path, _)| !path.starts_with(PACKAGE)) {
        write(below_data(path)?, content)?;
    }
    if let Some(extra) = extra {
        let target = data.join("homeserver.db");
        fs::copy(extra, &target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

/// A deployment's file by its path below `/data`: there is nowhere else to put one, on the host least of all.
fn below_data(path: &str) -> anyhow::Result<&str> {
    let below = path.strip_prefix("/data/").unwrap_or(path);
    if Path::new(below).components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(below)
    } else {
        bail!("`.file({path:?}, …)`: a deployment's files lie below /data, or in the package as `{PACKAGE}…`")
    }
}

/// Prefix of files that replace one of the installed package's own.
const PACKAGE: &str = "{synapse}/";

/// What goes into the installed package, and where that is.
async fn package_files(
    site: &Site,
    image: &str,
    deployment: &Deployment,
    evidence: &Path,
) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let directory = evidence.join("package");
    for (path, content) in &deployment.files {
        if let Some(path) = path.strip_prefix(PACKAGE) {
            let target = directory.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&directory))?;
            fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let program = "import os, synapse; print(os.path.dirname(synapse.__file__))";
    let place = site.daemon.run_once(image, Some(&site.data_volume), &["-c", program]).await?.ok()?;
    Ok(vec![(directory, place.trim().to_owned())])
}

/// A program, run by [the user](BECOME_SYNAPSE) who is given what was put into `/data` before, if the program is alone with it.
fn as_synapse(mut spec: Spec, alone: bool) -> Spec {
    const GIVE: &str = "
import os
for place, _, files in os.walk('/data'):
    for path in [place] + [os.path.join(place, name) for name in files]:
        if os.lstat(path).st_uid != 991:
            os.lchown(path, 991, 991)
";
    const RUN: &str = "
import sys
os.execvp(sys.argv[1], sys.argv[1:])
";
    let program = [if alone { GIVE } else { "" }, BECOME_SYNAPSE, RUN].concat();
    let words = ["-S".to_owned(), "-c".to_owned(), program].into_iter();
    spec.command = words.chain(spec.entrypoint.replace("python".to_owned())).chain(spec.command).collect();
    spec
}

/// What the deployment sets, for a process whose output is not buffered.
///
/// One that is asked to end while a write to a full pipe waits logs that it was asked in the middle of the write. Where Python
/// has a buffer of its own, that is an error ("reentrant call inside"), which Synapse logs, which is an error: it dies of it, on
/// a machine that is too busy to read what it prints.
fn environment(deployment: &Deployment) -> BTreeMap<String, String> {
    let unbuffered = ("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
    [unbuffered].into_iter().chain(deployment.environment.clone()).collect()
}

async fn start_nginx(site: &Site, image: &str, deployment: &Deployment, evidence: &Path) -> anyhow::Result<Container> {
    let blocks: Vec<String> =
        deployment.proxies.values().zip(PROXY_PORT..).map(|(proxy, port)| server_block(proxy, port)).collect();
    let directory = evidence.join("nginx");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("default.conf"), blocks.concat())?;
    let spec = Spec {
        image: image.to_owned(),
        role: "proxy".to_owned(),
        host: "proxy".to_owned(),
        name: format!("{}-proxy", site.prefix),
        network: Some(site.network.clone()),
        copies: vec![(directory, "/etc/nginx/conf.d".to_owned())],
        ports: (PROXY_PORT..).take(blocks.len()).collect(),
        ..Spec::default()
    };
    let container = Container::start(&site.daemon, spec, evidence).await?;
    companion::await_http(&container, PROXY_PORT, &site.http).await?;
    Ok(container)
}

fn server_block(proxy: &Proxy, port: u16) -> String {
    let pass = |process: &str| {
        let host = if process == MAIN { config::SERVER_NAME } else { process };
        format!("proxy_pass http://{host}:{};", config::PORT)
    };
    let mut lines = vec![format!("listen {port};"), "client_max_body_size 50M;".to_owned()];
    lines.extend(proxy.directives.iter().cloned());
    lines.extend(proxy.routes.iter().map(|(pattern, process)| format!("location ~ {pattern} {{ {} }}", pass(process))));
    lines.push(match &proxy.rest {
        Some(process) => format!("location / {{ {} }}", pass(process)),
        None => "location / { return 404; }".to_owned(),
    });
    format!("server {{\n    {}\n}}\n", lines.join("\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_writes_nowhere_but_below_data() {
        assert_eq!(below_data("/data/modules/m.py").unwrap(), "modules/m.py");
        assert_eq!(below_data("modules/m.py").unwrap(), "modules/m.py");
        for path in ["/etc/x", "../x", "/data/../x", "modules/../../x", "/data//etc/x"] {
            assert!(below_data(path).unwrap_err().to_string().contains(path), "{path}");
        }
    }

    #[test]
    fn how_a_process_ends_that_was_asked_to() {
        let soon = Duration::from_secs(1);
        assert_eq!(end(0, soon), None);
        assert_eq!(end(TERMINATED, soon), None);
        // Somebody else killed it: the caller makes an error of that.
        assert_eq!(end(KILLED, soon), None);
        let words = |status, after| end(status, after).unwrap_or_default();
        assert!(words(KILLED, STOP_LIMIT).contains("was killed"));
        assert!(words(128 + 11, soon).contains("status 139"));
        assert!(words(1, soon).contains("status 1 "));
    }
}
