//! The Docker daemon: all that the harness asks of it, in one place.
//!
//! Everything a run makes carries the run's labels. A run removes its own things when it ends, however it ends, and the
//! things of runs that were killed before they could ([`Daemon::sweep_dead`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use bollard::{
    Docker,
    container::LogOutput,
    exec::{StartExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, ContainerInspectResponse, ExecConfig, HealthStatusEnum, HostConfig, Ipam, IpamConfig,
        NetworkCreateRequest, VolumeCreateRequest,
    },
    query_parameters::{
        ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
        WaitContainerOptionsBuilder,
    },
};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use ipnet::Ipv4Net;
use tokio::{
    io::AsyncWrite,
    sync::{RwLock, RwLockReadGuard},
};

use crate::stage::container;

/// On everything that any run makes.
const RUN: &str = "synapse-upgrades.run";
/// The lock file that the run holds for as long as it lives.
const LOCK: &str = "synapse-upgrades.lock";
/// The machine on which the lock file lies.
const HOST: &str = "synapse-upgrades.host";

/// The network of the deployment that it belongs to, which names the deployment.
const SITE: &str = "synapse-upgrades.site";

/// How long a sweep goes on looking at what Docker does not give up at once, and how often.
const SWEEP_LIMIT: Duration = Duration::from_secs(20);
const SWEEP_POLL: Duration = Duration::from_millis(50);

/// How long Docker may take to learn how a command has ended whose output has.
const EXEC_LIMIT: Duration = Duration::from_secs(60);

/// How long an image that is run as it is delivered may take for what it is to do.
const DELIVERY_LIMIT: Duration = Duration::from_secs(180);

/// How many networks of 32 addresses find room where Docker's own pools are used up.
const SUBNETS: u16 = 1 << 11;

/// One of them.
fn subnet(number: u16) -> String {
    let room = Ipv4Net::new_assert(Ipv4Addr::new(10, 231, 0, 0), 16);
    let subnet = room.subnets(27).ok().and_then(|mut subnets| subnets.nth(number.into()));
    subnet.expect("fewer than there are").to_string()
}

/// A connection to the daemon, on behalf of one run.
#[derive(Clone, Debug)]
pub(crate) struct Daemon(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    docker: Docker,
    run: String,
    /// May the run still make things? Held for reading while something is made.
    open: RwLock<bool>,
    lock_path: PathBuf,
    /// Held, not read: its lock says that the run lives.
    _lock: File,
}

/// What a program says, as Docker hands it on.
pub(crate) type Said = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// A program inside a container, with both ends of it.
pub(crate) struct Conversation {
    pub(crate) input: Pin<Box<dyn AsyncWrite + Send>>,
    pub(crate) output: Said,
}

/// A container as Docker knows it.
#[derive(Debug)]
pub(crate) struct State(ContainerInspectResponse);

impl State {
    /// Of one that has ended.
    pub(crate) fn exit_status(&self) -> Option<i64> {
        let state = self.0.state.as_ref()?;
        if state.running == Some(true) { None } else { state.exit_code }
    }

    /// Was its process killed for want of memory?
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.0.state.as_ref().and_then(|state| state.oom_killed).unwrap_or(false)
    }

    /// The host's port for one of the container's.
    pub(crate) fn port(&self, port: u16) -> Option<u16> {
        let ports = self.0.network_settings.as_ref()?.ports.as_ref()?;
        ports.get(&format!("{port}/tcp"))?.as_ref()?.iter().find_map(|binding| binding.host_port.as_ref()?.parse().ok())
    }

    /// Its address in its only network.
    pub(crate) fn address(&self) -> Option<String> {
        let networks = self.0.network_settings.as_ref()?.networks.as_ref()?;
        networks.values().find_map(|network| network.ip_address.clone().filter(|address| !address.is_empty()))
    }
}

/// What a command inside a container left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status.
    pub status: i64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output, if the command succeeded; otherwise an error that shows what it said.
    pub fn ok(self) -> anyhow::Result<String> {
        if self.status == 0 {
            Ok(self.stdout)
        } else {
            bail!("the command exited with status {}: {}{}", self.status, self.stdout, self.stderr)
        }
    }
}

/// What processes have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// What they hold now.
    pub(crate) memory_bytes: u64,
}

impl Daemon {
    /// Connects, and takes the lock that says this run lives.
    pub(crate) async fn connect(run: &str, directory: &Path) -> anyhow::Result<Self> {
        let docker = Docker::connect_with_defaults().map_err(explain)?;
        let docker = docker.negotiate_version().await.map_err(explain)?;
        // One for each part of a run that goes on: what the part before left is swept like any dead run's.
        let lock_path = directory.join(format!(".lock-{run}"));
        let lock = File::create(&lock_path).with_context(|| format!("cannot write {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
        let lock_path = lock_path.canonicalize().unwrap_or(lock_path);
        Ok(Self(Arc::new(Inner { docker, run: run.to_owned(), open: RwLock::new(true), lock_path, _lock: lock })))
    }

    /// Docker's version, for the report.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let version = self.0.docker.version().await.map_err(explain)?;
        Ok(version.version.unwrap_or_else(|| "unknown".to_owned()))
    }

    /// The labels of what this run makes, for one site or for all.
    pub(crate) fn labels(&self, site: Option<&str>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (RUN.to_owned(), self.0.run.clone()),
            (LOCK.to_owned(), self.0.lock_path.display().to_string()),
            (HOST.to_owned(), host()),
        ]);
        labels.extend(site.map(|site| (SITE.to_owned(), site.to_owned())));
        labels
    }

    /// A name that no other run on this daemon has.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("synapse-upgrades-{}-{suffix}", self.0.run)
    }

    /// To be held while something is made in Docker: the last sweep waits for it, so that it misses nothing. That matters
    /// for containers most, for which Docker makes networks and volumes that are no more, without the run's labels.
    ///
    /// # Errors
    ///
    /// The run is ending.
    pub(crate) async fn making(&self) -> anyhow::Result<RwLockReadGuard<'_, bool>> {
        let open = self.0.open.read().await;
        if *open { Ok(open) } else { bail!("the run is ending: nothing more is started") }
    }

    pub(crate) async fn create_volume(&self, name: &str, site: Option<&str>) -> anyhow::Result<()> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(self.labels(site).into_iter().collect()),
            ..Default::default()
        };
        let _open = self.making().await?;
        self.0.docker.create_volume(request).await.map_err(explain)?;
        Ok(())
    }

    /// A network whose containers see each other and the host's loopback ports, and nothing beyond: without
    /// masquerading no answer finds its way back.
    pub(crate) async fn create_network(&self, name: &str) -> anyhow::Result<()> {
        let _open = self.making().await?;
        match self.network(name, None).await {
            // Docker's own pools hold some thirty networks, which many walks or runs side by side use up.
            Err(error) if says(&error, &["address pool", "fully subnetted"]) => {}
            outcome => return outcome.map_err(explain),
        }
        let first = name.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        for number in (0..SUBNETS).map(|offset| first.wrapping_add(offset) % SUBNETS) {
            match self.network(name, Some(subnet(number))).await {
                Err(error) if says(&error, &["overlaps"]) => {}
                outcome => return outcome.map_err(explain),
            }
        }
        bail!("Docker has no addresses left for another network: remove some that are not in use (`docker network ls`)")
    }

    async fn network(&self, name: &str, subnet: Option<String>) -> Result<(), bollard::errors::Error> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some([("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "false".to_owned())].into()),
            labels: Some(self.labels(Some(name)).into_iter().collect()),
            ipam: subnet.map(|subnet| Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet), ..Default::default() }]),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.0.docker.create_network(request).await.map(|_| ())
    }

    /// Waits until a container's process ends; gives its exit status.
    pub(crate) async fn wait(&self, container: &str) -> anyhow::Result<i64> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        match self.0.docker.wait_container(container, Some(options)).next().await {
            Some(Ok(response)) => Ok(response.status_code),
            // bollard makes an error of a status other than zero.
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(explain(error)),
            None => bail!("Docker did not say how container {container} ended"),
        }
    }

    /// To be called while [`Daemon::making`] is held.
    async fn create_container(&self, body: ContainerCreateBody) -> anyhow::Result<String> {
        Ok(self.0.docker.create_container(None, body).await.map_err(explain)?.id)
    }

    async fn start_container(&self, container: &str) -> anyhow::Result<()> {
        self.0.docker.start_container(container, None).await.map_err(explain)
    }

    pub(crate) async fn inspect(&self, container: &str) -> anyhow::Result<State> {
        Ok(State(self.0.docker.inspect_container(container, None).await.map_err(explain)?))
    }

    /// Asks a container's process to end, and kills it when it has not after so long.
    pub(crate) async fn stop(&self, container: &str, patience: Duration) -> anyhow::Result<()> {
        let seconds = i32::try_from(patience.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        self.0.docker.stop_container(container, Some(options)).await.map_err(explain)
    }

    /// Removes a container, if it is still there. Docker may not give it up at once, and is asked again then.
    pub(crate) async fn remove_container(&self, container: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            match ignore_missing(self.0.docker.remove_container(container, Some(options)).await) {
                Err(_) if begun.elapsed() < SWEEP_LIMIT => tokio::time::sleep(SWEEP_POLL).await,
                removed => return removed,
            }
        }
    }

    /// What a running container has used; `None` once it has ended.
    pub(crate) async fn usage(&self, container: &str) -> anyhow::Result<Option<Usage>> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let stats = self.0.docker.stats(container, Some(options)).try_next().await.map_err(explain)?;
        let Some(stats) = stats else { return Ok(None) };
        let nanoseconds = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage).and_then(|usage| usage.total_usage);
        let Some(nanoseconds) = nanoseconds.filter(|&usage| usage > 0) else { return Ok(None) };
        // What processes hold: of the second version of control groups, and of the first. Cached files are nobody's.
        let memory = stats.memory_stats.and_then(|memory| memory.stats);
        let held = memory.and_then(|held| held.get("anon").or_else(|| held.get("rss")).copied());
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of CPU stay far below 2^52")]
        Ok(Some(Usage { cpu_seconds: nanoseconds as f64 / 1e9, memory_bytes: held.unwrap_or_default() }))
    }

    /// CPU seconds that a running container has used; `None` once it has ended.
    pub(crate) async fn cpu_seconds(&self, container: &str) -> anyhow::Result<Option<f64>> {
        Ok(self.usage(container).await?.map(|usage| usage.cpu_seconds))
    }

    /// Begins a command inside a running container, and leaves its input open.
    pub(crate) async fn converse(&self, container: &str, command: &[&str]) -> anyhow::Result<Conversation> {
        let config = ExecConfig {
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.0.docker.create_exec(container, config).await.map_err(explain)?.id;
        match self.0.docker.start_exec(&exec, None::<StartExecOptions>).await.map_err(explain)? {
            StartExecResults::Attached { output, input } => Ok(Conversation { input, output }),
            StartExecResults::Detached => bail!("Docker detached a command"),
        }
    }

    /// Runs a command inside a running container.
    pub(crate) async fn exec(&self, container: &str, command: &[&str]) -> anyhow::Result<Output> {
        let config = ExecConfig {
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.0.docker.create_exec(container, config).await.map_err(explain)?.id;
        let started = self.0.docker.start_exec(&exec, None::<StartExecOptions>).await.map_err(explain)?;
        let StartExecResults::Attached { output, .. } = started else { bail!("Docker detached a command") };
        let (stdout, stderr) = collect(output).await?;
        // Its output ends before Docker has heard of its end.
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.docker.inspect_exec(&exec).await.map_err(explain)?.exit_code {
                return Ok(Output { status, stdout, stderr });
            }
            if begun.elapsed() > EXEC_LIMIT {
                bail!("Docker did not say how `{}` ended", command.join(" "));
            }
            tokio::time::sleep(SWEEP_POLL).await;
        }
    }

    /// Runs `python` of an image once, with a volume at `/data` if one is given, and removes the container.
    pub(crate) async fn run_once(
        &self,
        image: &str,
        volume: Option<&str>,
        arguments: &[&str],
    ) -> anyhow::Result<Output> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["python".to_owned()]),
            cmd: Some(arguments.iter().map(|&word| word.to_owned()).collect()),
            user: Some("0".to_owned()),
            labels: Some(self.labels(None).into_iter().collect()),
            network_disabled: Some(true),
            host_config: Some(HostConfig {
                binds: volume.map(|volume| vec![format!("{volume}:/data")]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let open = self.making().await?;
        let id = self.create_container(body).await?;
        drop(open);
        let outcome = async {
            self.start_container(&id).await?;
            let status = self.wait(&id).await?;
            let (stdout, stderr) = self.printed(&id).await?;
            Ok(Output { status, stdout, stderr })
        }
        .await;
        self.remove_container(&id).await?;
        outcome
    }

    /// Runs an image as it is, on a volume of its own: once to generate a configuration, once to serve. How far each came.
    pub(crate) async fn as_delivered(
        &self,
        image: &str,
        site: &str,
        environment: &[&str],
    ) -> anyhow::Result<serde_json::Value> {
        let outcome = async {
            self.create_volume(site, Some(site)).await?;
            let generated = self.delivered(image, site, environment, Some("generate")).await?;
            let generated = self.until_it_ends(&generated).await?;
            let serving = self.delivered(image, site, environment, None).await?;
            let served = self.until_it_serves(&serving).await?;
            let mut came = BTreeMap::new();
            match generated {
                Ok(()) => came.insert("generates", serde_json::json!("a configuration")),
                Err(reason) => came.insert("does not generate", serde_json::json!(reason)),
            };
            match served {
                Ok(health) => came.insert("serves", serde_json::json!({ "is healthy": health })),
                Err(reason) => came.insert("does not serve", serde_json::json!(reason)),
            };
            Ok(serde_json::json!(came))
        }
        .await;
        self.sweep_site(site).await?;
        outcome
    }

    /// Makes a container of an image with nothing of its own taken away.
    async fn delivered(
        &self,
        image: &str,
        site: &str,
        environment: &[&str],
        command: Option<&str>,
    ) -> anyhow::Result<String> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: command.map(|word| vec![word.to_owned()]),
            env: Some(environment.iter().map(|&variable| variable.to_owned()).collect()),
            labels: Some(self.labels(Some(site)).into_iter().collect()),
            host_config: Some(HostConfig {
                binds: Some(vec![format!("{site}:/data")]),
                // No way out, but one to itself.
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let _open = self.making().await?;
        self.create_container(body).await
    }

    /// Starts a container and waits until it has done what it was told; why it has not, if so.
    async fn until_it_ends(&self, id: &str) -> anyhow::Result<Result<(), String>> {
        // What an image cannot even begin, Docker says.
        if let Err(error) = self.start_container(id).await {
            return Ok(Err(format!("{error:#}")));
        }
        let Ok(status) = tokio::time::timeout(DELIVERY_LIMIT, self.wait(id)).await else {
            return Ok(Err(format!("it does not end within {} s", DELIVERY_LIMIT.as_secs())));
        };
        match status? {
            0 => Ok(Ok(())),
            status => Ok(Err(format!("it ends with status {status}: {}", self.last_printed(id).await?))),
        }
    }

    /// Starts a container and waits until its homeserver answers; then what its own check of health says, if it has one.
    async fn until_it_serves(&self, id: &str) -> anyhow::Result<Result<Option<bool>, String>> {
        const ASK: &str =
            "import urllib.request as u; print(u.urlopen('http://localhost:8008/health', timeout=5).status)";
        if let Err(error) = self.start_container(id).await {
            return Ok(Err(format!("{error:#}")));
        }
        let begun = Instant::now();
        let mut answers = false;
        while begun.elapsed() < DELIVERY_LIMIT {
            let state = self.0.docker.inspect_container(id, None).await.map_err(explain)?.state.unwrap_or_default();
            if state.running != Some(true) {
                let status = state.exit_code.unwrap_or_default();
                return Ok(Err(format!("it ends with status {status}: {}", self.last_printed(id).await?)));
            }
            answers = answers || self.exec(id, &["python", "-c", ASK]).await?.status == 0;
            match state.health.and_then(|health| health.status) {
                Some(HealthStatusEnum::HEALTHY) if answers => return Ok(Ok(Some(true))),
                Some(HealthStatusEnum::UNHEALTHY) => return Ok(Ok(Some(false))),
                None | Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) if answers => return Ok(Ok(None)),
                _ => tokio::time::sleep(SWEEP_POLL).await,
            }
        }
        let what = if answers { "its check of health does not end" } else { "it does not answer" };
        Ok(Err(format!("{what} within {} s: {}", DELIVERY_LIMIT.as_secs(), self.last_printed(id).await?)))
    }

    async fn last_printed(&self, id: &str) -> anyhow::Result<String> {
        let (stdout, stderr) = self.printed(id).await?;
        let lines: Vec<&str> = stdout.lines().chain(stderr.lines()).filter(|line| !line.trim().is_empty()).collect();
        Ok(lines[lines.len().saturating_sub(5)..].join("\n"))
    }

    /// What a container has printed so far, on standard output and on standard error.
    pub(crate) async fn printed(&self, container: &str) -> anyhow::Result<(String, String)> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        collect(self.0.docker.logs(container, Some(options))).await
    }

    /// How an image is to be run, labels aside, and its size.
    pub(crate) async fn image(&self, reference: &str) -> anyhow::Result<serde_json::Value> {
        let found = self.0.docker.inspect_image(reference).await.map_err(explain)?;
        let mut config = serde_json::to_value(found.config.unwrap_or_default())?;
        // Labels say where it comes from; the rest is what whoever runs it relies on.
        config.as_object_mut().and_then(|config| config.remove("Labels"));
        Ok(serde_json::json!({ "config": config, "bytes": found.size }))
    }

    /// Kills a container's processes (-9), and waits until they are gone.
    pub(crate) async fn kill(&self, container: &str) -> anyhow::Result<()> {
        self.0.docker.kill_container(container, None).await.map_err(explain)?;
        self.wait(container).await.map(drop)
    }

    /// Unpacks a tar archive into a container's directory.
    pub(crate) async fn upload(&self, container: &str, directory: &str, archive: Vec<u8>) -> anyhow::Result<()> {
        let options = bollard::query_parameters::UploadToContainerOptionsBuilder::default().path(directory).build();
        let body = bollard::body_full(archive.into());
        self.0.docker.upload_to_container(container, Some(options), body).await.map_err(explain)
    }

    /// A file or directory of a container, as a tar archive.
    pub(crate) async fn download(&self, container: &str, path: &str) -> anyhow::Result<Vec<u8>> {
        let options = bollard::query_parameters::DownloadFromContainerOptionsBuilder::default().path(path).build();
        let mut archive = Vec::new();
        let mut parts = self.0.docker.download_from_container(container, Some(options));
        while let Some(part) = parts.try_next().await.map_err(explain)? {
            archive.extend_from_slice(&part);
        }
        Ok(archive)
    }

    /// Removes all that this run has in Docker, which can make nothing more from then on.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        *self.0.open.write().await = false;
        let run = self.0.run.clone();
        self.sweep(|labels| labels.get(RUN).is_some_and(|owner| *owner == run)).await.map(|_| ())
    }

    /// Removes what a site of this run has in Docker: containers, network, volumes.
    pub(crate) async fn sweep_site(&self, site: &str) -> anyhow::Result<()> {
        self.sweep(|labels| labels.get(SITE).is_some_and(|owner| *owner == *site)).await.map(|_| ())
    }

    /// Removes what killed runs left in Docker; what it removed, by name. A run is dead when nothing holds its lock file;
    /// runs on other machines that share the daemon are none of our business.
    pub(crate) async fn sweep_dead(&self) -> anyhow::Result<Vec<String>> {
        self.sweep(|labels| {
            labels.get(HOST).is_some_and(|owner| *owner == host())
                && labels.get(RUN).is_some_and(|owner| *owner != self.0.run)
                && labels.get(LOCK).is_some_and(|path| is_dead(Path::new(path)))
        })
        .await
    }

    /// Removes what is doomed, by its labels; gives what it removed, by name. What is in use goes on a later look: somebody
    /// else may be removing it, or what uses it.
    async fn sweep(&self, is_doomed: impl Fn(&BTreeMap<String, String>) -> bool) -> anyhow::Result<Vec<String>> {
        let begun = Instant::now();
        let mut removed = BTreeSet::new();
        loop {
            match self.sweep_once(&is_doomed, &mut removed).await? {
                None => return Ok(removed.into_iter().collect()),
                Some(reason) if begun.elapsed() > SWEEP_LIMIT => return Err(reason),
                Some(_) => tokio::time::sleep(SWEEP_POLL).await,
            }
        }
    }

    /// Tries each thing once; gives why the last one that stays does.
    async fn sweep_once(
        &self,
        is_doomed: impl Fn(&BTreeMap<String, String>) -> bool,
        removed: &mut BTreeSet<String>,
    ) -> anyhow::Result<Option<anyhow::Error>> {
        let docker = &self.0.docker;
        let filter = || [("label", vec![RUN])].into_iter().collect::<std::collections::BTreeMap<_, _>>();
        let mut left = None;
        let mut note = |thing: String, outcome: Result<(), bollard::errors::Error>| match outcome {
            Ok(()) => drop(removed.insert(thing)),
            // Somebody else was quicker.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => left = Some(explain(error).context(thing)),
        };

        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&filter().into_iter().collect()).build();
        for container in docker.list_containers(Some(options)).await.map_err(explain)? {
            let labels = container.labels.unwrap_or_default().into_iter().collect();
            let Some(id) = container.id.filter(|_| is_doomed(&labels)) else { continue };
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            let names = container.names.unwrap_or_default();
            let name = names.first().unwrap_or(&id).trim_start_matches('/');
            note(format!("container {name}"), docker.remove_container(&id, Some(options)).await);
        }
        let options = ListNetworksOptionsBuilder::default().filters(&filter().into_iter().collect()).build();
        for network in docker.list_networks(Some(options)).await.map_err(explain)? {
            let labels = network.labels.unwrap_or_default().into_iter().collect();
            let Some(name) = network.name.filter(|_| is_doomed(&labels)) else { continue };
            note(format!("network {name}"), docker.remove_network(&name).await);
        }
        let options = ListVolumesOptionsBuilder::default().filters(&filter().into_iter().collect()).build();
        for volume in docker.list_volumes(Some(options)).await.map_err(explain)?.volumes.unwrap_or_default() {
            let labels = volume.labels.into_iter().collect();
            if is_doomed(&labels) {
                let options = RemoveVolumeOptionsBuilder::default().force(true).build();
                note(format!("volume {}", volume.name), docker.remove_volume(&volume.name, Some(options)).await);
            }
        }
        Ok(left)
    }
}

async fn collect(
    mut output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
) -> anyhow::Result<(String, String)> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(part) = output.try_next().await.map_err(explain)? {
        match part {
            LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.extend_from_slice(&message),
            LogOutput::StdIn { .. } => {}
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(stdout), text(stderr)))
}

/// The last sweep may be quicker.
fn ignore_missing(result: Result<(), bollard::errors::Error>) -> anyhow::Result<()> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(explain(error)),
    }
}

fn is_dead(lock: &Path) -> bool {
    match File::open(lock) {
        // The lock is only tried: it goes with the file handle.
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// Is it the daemon's own error, with one of these texts?
fn says(error: &bollard::errors::Error, texts: &[&str]) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { message, .. }
        if texts.iter().any(|text| message.contains(text)))
}

/// An error of the daemon in words that a person can act on.
#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
pub(crate) fn explain(error: bollard::errors::Error) -> anyhow::Error {
    use bollard::errors::Error;
    let text = error.to_string();
    match &error {
        Error::DockerResponseServerError { message, .. } => anyhow!("Docker: {message}"),
        _ if container::chain(&error).contains("ermission denied") => anyhow!(
            "Docker's socket may not be used by this user ({text}). Add the user to the group `docker`, or run as root."
        ),
        Error::SocketNotFoundError(_) | Error::HyperResponseError { .. } | Error::HyperLegacyError { .. } => {
            anyhow!("no Docker daemon answers ({}). Start Docker, or set DOCKER_HOST.", container::chain(&error))
        }
        _ => anyhow!("Docker: {}", container::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_networks_have_addresses_of_their_own() {
        let all: BTreeSet<String> = (0..SUBNETS).map(subnet).collect();
        assert_eq!(all.len(), usize::from(SUBNETS));
        assert!(all.contains("10.231.0.0/27") && all.contains("10.231.0.32/27") && all.contains("10.231.255.224/27"));
    }
}
