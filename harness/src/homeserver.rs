//! The homeserver's processes on one leg: the main one, its workers, and nginx in front.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use images::Version;
use serde_json::{Map, Value, json};

use crate::{
    Deployment, companion, config,
    container::{Container, Spec},
    daemon::Daemon,
    deployment::Proxy,
    tls::{self, Authority},
};

/// A start may have to migrate, on a machine that is busy with other starts.
const START_LIMIT: Duration = Duration::from_secs(300);
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
/// Synapse gives its own requests some seconds to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long Docker may take to learn that a process has ended.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Hang-up, interrupt, kill, terminate: signals that others send. What else ends a process, like a segmentation fault, is
/// its own doing.
const FROM_OUTSIDE: [i64; 4] = [1, 2, 9, 15];
/// What a process ends with that was killed.
const KILLED: i64 = 128 + 9;

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
}

impl Start {
    /// As the fact `start` shows it.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Started => crate::probe::started(),
            Self::Refused { status, printed } => {
                // The end says why.
                let skip = printed.chars().count().saturating_sub(6000);
                json!({ "exit status": status, "printed": printed.chars().skip(skip).collect::<String>() })
            }
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
    pub(crate) start: Start,
    pub(crate) start_seconds: f64,
    daemon: Daemon,
}

impl Homeserver {
    /// Writes the configuration to `evidence` and starts everything; returns when all answer, or the first refuses.
    ///
    /// # Errors
    ///
    /// Anything that says nothing of the homeserver: Docker, a signal from outside, no answer and no end within
    /// the limit.
    pub(crate) async fn start(
        site: &Site,
        release: &Version,
        image: &str,
        deployment: &Deployment,
        extra: Option<&Path>,
        evidence: &Path,
    ) -> anyhow::Result<Self> {
        let data = evidence.join("data");
        write_data(&data, site, release, deployment, extra)?;
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
                environment: deployment.environment.clone(),
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
        main.copies.push((data.clone(), "/data".to_owned()));
        main.copies.extend(package_files(site, image, deployment, evidence).await?);
        main.ports.extend(
            deployment
                .listeners
                .iter()
                .filter_map(|listener| listener["port"].as_u64().and_then(|port| u16::try_from(port).ok())),
        );
        let main = Container::start(&site.daemon, main, evidence).await?;
        let mut homeserver = Self {
            main,
            workers: Vec::new(),
            proxy: None,
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
            let spec = spec(&worker.name, &worker.app, &["homeserver.yaml", &file]);
            homeserver.workers.push(Container::start(&site.daemon, spec, evidence).await?);
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
    pub(crate) fn logs(&self) -> BTreeMap<String, crate::log::Log> {
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
            () = tokio::time::sleep(START_LIMIT) => bail!(
                "`{}` neither answered nor ended within {} s; the last it printed:\n{}",
                container.role,
                START_LIMIT.as_secs(),
                tail(&container.log.text(), 20),
            ),
        };
        container.log.ended().await;
        self.own_end(container, status).await?;
        Ok(Start::Refused { status, printed: telling(&container.log.text()) })
    }

    /// An error, if the process did not end by its own doing.
    async fn own_end(&self, container: &Container, status: i64) -> anyhow::Result<()> {
        if self.daemon.out_of_memory(container.id()).await? {
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
                container.log.ended().await;
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

    /// CPU seconds of the homeserver's processes so far.
    pub(crate) async fn cpu_seconds(&self) -> f64 {
        let mut total = 0.0;
        for container in self.own() {
            // A figure for the report; a process that has ended takes it with it.
            total += self.daemon.cpu_seconds(container.id()).await.ok().flatten().unwrap_or(0.0);
        }
        total
    }

    /// Stops what runs: workers first, as upstream's documentation has it.
    ///
    /// # Errors
    ///
    /// Docker's; and a process that does not end by itself when asked to: the data that it leaves is no clean stop's.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        if let Some(proxy) = &self.proxy {
            proxy.stop(STOP_LIMIT).await?;
        }
        futures::future::try_join_all(self.workers.iter().map(stop)).await?;
        if self.main.exit_status().await?.is_none() {
            stop(&self.main).await?;
        }
        Ok(())
    }

    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let containers = std::iter::once(self.main).chain(self.workers).chain(self.proxy);
        futures::future::try_join_all(containers.map(Container::remove)).await?;
        Ok(())
    }
}

async fn stop(container: &Container) -> anyhow::Result<()> {
    if container.stop(STOP_LIMIT).await? == Some(KILLED) {
        bail!("`{}` did not end within {} s of being asked to", container.role, STOP_LIMIT.as_secs());
    }
    Ok(())
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
        write(&format!("{}.yaml", worker.name), &document(config::worker(release, worker)))?;
    }
    for (path, content) in deployment.files.iter().filter(|(path, _)| !path.starts_with(PACKAGE)) {
        write(path.trim_start_matches("/data/"), content)?;
    }
    if let Some(extra) = extra {
        let target = data.join("homeserver.db");
        fs::copy(extra, &target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
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
