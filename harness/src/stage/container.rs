//! One container of a deployment, started through testcontainers.

use std::{
    collections::BTreeMap,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use bollard::models::PortBinding;
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _,
    core::{IntoContainerPort as _, Mount},
    runners::AsyncRunner as _,
};

use crate::{
    stage::daemon::{Daemon, Output},
    stage::log::Log,
};

/// A container may not starve the machine that it shares with others.
const MEMORY: i64 = 4 << 30;
const PROCESSES: i64 = 2048;
/// How long Docker may take to end a container beyond the patience that it was asked to have.
const STOP_MARGIN: Duration = Duration::from_secs(60);
/// How long Docker may take to start one: longer than it may take for any one answer.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How a container is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    /// Image reference with a tag.
    pub(crate) image: String,
    /// What it is in the deployment: `main`, a worker, a companion. Names the log files.
    pub(crate) role: String,
    /// Host name in the deployment's network.
    pub(crate) host: String,
    /// Container name, unique on the daemon.
    pub(crate) name: String,
    /// Labels it as belonging to this site, and names its network.
    pub(crate) network: Option<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Working directory.
    pub(crate) directory: Option<String>,
    /// Volume name to mount point.
    pub(crate) volumes: Vec<(String, String)>,
    /// A host directory whose content is copied to a directory of the container before it starts.
    pub(crate) copies: Vec<(PathBuf, String)>,
    pub(crate) ports: Vec<u16>,
    /// Address of who answers for names that the network does not have; nobody, if there is none.
    pub(crate) name_server: Option<String>,
}

/// A started container. Its owner removes it ([`Container::remove`], [`Daemon::sweep_site`]): what testcontainers does when
/// one goes out of scope blocks a thread, and needs a runtime that may be ending.
#[derive(Debug)]
pub(crate) struct Container {
    inner: ManuallyDrop<ContainerAsync<GenericImage>>,
    daemon: Daemon,
    pub(crate) role: String,
    pub(crate) log: Log,
    ports: BTreeMap<u16, u16>,
    /// In the deployment's network.
    address: Option<String>,
    pub(crate) created: Instant,
}

impl Container {
    /// Creates and starts; does not wait for the program inside.
    pub(crate) async fn start(daemon: &Daemon, spec: Spec, logs: &Path) -> anyhow::Result<Self> {
        let created = Instant::now();
        let (log, feed) =
            Log::create(logs, &spec.role).with_context(|| format!("cannot write evidence to {}", logs.display()))?;
        let whose = format!("a container of {} ({})", spec.image, spec.role);
        let (role, ports) = (spec.role.clone(), spec.ports.clone());
        let request = request(daemon, spec).with_log_consumer(feed);
        let open = daemon.making().await?;
        let started = request.start().await;
        let inner = started.map_err(|error| anyhow!("Docker could not start {whose}: {}", chain(&error)))?;
        drop(open);
        let state = daemon.inspect(inner.id()).await?;
        // A container that has ended already has no ports: what became of it is for the caller to see.
        let ports = ports.into_iter().filter_map(|port| Some((port, state.port(port)?))).collect();
        let address = state.address();
        Ok(Self { inner: ManuallyDrop::new(inner), daemon: daemon.clone(), role, log, ports, address, created })
    }

    pub(crate) fn id(&self) -> &str {
        self.inner.id()
    }

    /// The loopback address of a published port.
    pub(crate) fn address(&self, port: u16) -> anyhow::Result<String> {
        let mapped = self.ports.get(&port).with_context(|| format!("{} ended before its ports opened", self.role))?;
        Ok(format!("127.0.0.1:{mapped}"))
    }

    /// Its address in the deployment's network.
    pub(crate) fn network_address(&self) -> anyhow::Result<String> {
        self.address.clone().with_context(|| format!("{} ended before it had an address", self.role))
    }

    /// Waits until the container ends by itself; gives its exit status.
    pub(crate) async fn exited(&self) -> anyhow::Result<i64> {
        self.daemon.wait(self.id()).await
    }

    /// The exit status of a container that has ended already.
    pub(crate) async fn exit_status(&self) -> anyhow::Result<Option<i64>> {
        Ok(self.daemon.inspect(self.id()).await?.exit_status())
    }

    pub(crate) async fn exec(&self, command: &[&str]) -> anyhow::Result<Output> {
        self.daemon.exec(self.id(), command).await
    }

    pub(crate) async fn upload(&self, directory: &str, archive: Vec<u8>) -> anyhow::Result<()> {
        self.daemon.upload(self.id(), directory, archive).await
    }

    /// Asks the program to end, waits for it, and for the last of what it prints; gives its exit status.
    pub(crate) async fn stop(&self, patience: Duration) -> anyhow::Result<Option<i64>> {
        match tokio::time::timeout(patience + STOP_MARGIN, self.daemon.stop(self.id(), patience)).await {
            Ok(stopped) => stopped?,
            Err(_) => bail!("Docker did not stop `{}` within {} s", self.role, (patience + STOP_MARGIN).as_secs()),
        }
        self.last_words().await?;
        self.exit_status().await
    }

    /// Ends the program at once, and waits for the last of what it has printed.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        self.daemon.kill(self.id()).await?;
        self.last_words().await
    }

    /// Waits for the last of what a program that has ended has printed.
    ///
    /// A log that Docker follows may end without the lines that were written as the program ended, where Docker is busy
    /// (20.10: `waitRead` in its `follow.go`). Whoever asks afterwards gets all that Docker keeps.
    pub(crate) async fn last_words(&self) -> anyhow::Result<()> {
        self.log.ended().await?;
        let printed = tokio::time::timeout(STOP_MARGIN, self.daemon.printed(self.id())).await;
        let (out, err) = printed.with_context(|| format!("Docker did not tell what `{}` printed", self.role))??;
        self.log.complete([&out, &err]);
        Ok(())
    }

    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        self.daemon.remove_container(self.id()).await
    }
}

/// What testcontainers is asked for.
fn request(daemon: &Daemon, spec: Spec) -> ContainerRequest<GenericImage> {
    let (name, tag) = spec.image.rsplit_once(':').unwrap_or((&spec.image, "latest"));
    let mut image = GenericImage::new(name, tag);
    for port in &spec.ports {
        image = image.with_exposed_port(port.tcp());
    }
    if let Some(entrypoint) = &spec.entrypoint {
        image = image.with_entrypoint(entrypoint);
    }
    let ports = spec.ports.clone();
    let name_server = spec.name_server.unwrap_or_else(|| "127.0.0.1".to_owned());
    let mut request = image
        .with_container_name(&spec.name)
        .with_startup_timeout(START_LIMIT)
        .with_hostname(&spec.host)
        // Whatever user the image names: what is started becomes another one by itself.
        .with_user("0")
        .with_labels(daemon.labels(spec.network.as_deref()))
        .with_cmd(spec.command)
        .with_host_config_modifier(move |config| {
            // A first process without handlers ignores SIGTERM; with an init, a stop during start-up works.
            config.init = Some(true);
            // Loopback only, and nothing that the scenario does not ask for.
            let binding = || PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("0".to_owned()) };
            config.publish_all_ports = Some(false);
            config.port_bindings =
                Some(ports.iter().map(|port| (format!("{port}/tcp"), Some(vec![binding()]))).collect());
            // Names of the deployment resolve in its network; others reach nobody outside.
            config.dns = Some(vec![name_server.clone()]);
            config.memory = Some(MEMORY);
            config.pids_limit = Some(PROCESSES);
        });
    if let Some(network) = spec.network {
        request = request.with_network(network);
    }
    if let Some(directory) = spec.directory {
        request = request.with_working_dir(directory);
    }
    for (name, value) in spec.environment {
        request = request.with_env_var(name, value);
    }
    for (volume, target) in spec.volumes {
        request = request.with_mount(Mount::volume_mount(volume, target));
    }
    for (source, target) in spec.copies {
        request = request.with_copy_to(target, source);
    }
    request
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Many errors already print their cause.
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
