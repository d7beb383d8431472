//! The daemon: one place for what this crate asks of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    pin::Pin,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use bollard::{
    Docker as Api,
    container::LogOutput,
    errors::Error as ApiError,
    models::{BuildInfoAux, ContainerCreateBody, HostConfig, ImageInspect, ImageSummary},
    query_parameters::{
        AttachContainerOptionsBuilder, BuildImageOptionsBuilder, BuilderVersion, CreateContainerOptions,
        CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder, PruneBuildOptionsBuilder,
        RemoveImageOptions, StartContainerOptions, UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::{Error, error::is_disk_full};

/// Marks every image of this project.
pub(crate) const PROJECT_LABEL: &str = "synapse-upgrades.image";
/// The hash of all that decides what an image holds.
pub(crate) const INPUTS_LABEL: &str = "synapse-upgrades.inputs";

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
const OLDEST_API: (usize, usize) = (1, 39);

#[derive(Clone)]
pub(crate) struct Docker {
    api: Api,
}

/// What a build needs besides its context.
pub(crate) struct Build<'a> {
    pub(crate) what: &'a str,
    pub(crate) reference: &'a str,
    pub(crate) target: &'a str,
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) log: PathBuf,
}

/// A build step that failed, before anybody judged why.
pub(crate) struct FailedStep {
    pub(crate) step: String,
    pub(crate) tail: String,
}

/// A layer of an image, told from others by all that is below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layer {
    chain: String,
    pub(crate) bytes: u64,
}

/// The daemon's own list of what takes space: the client library knows only the form that newer daemons give it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CacheUsage {
    build_cache: Option<Vec<CacheRecord>>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CacheRecord {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    parent: String,
    #[serde(rename = "Type")]
    kind: String,
    description: String,
    in_use: bool,
    /// An image has it too: it takes no space of its own.
    shared: bool,
}

/// Words that only the recipes of this crate have, as the daemon describes their steps.
const OUR_STEPS: [&str; 4] = [
    "/context/host/env",
    "cp /etc/resolv.conf /etc/hosts /builder/etc/",
    "/entrypoint.sh --make-cluster",
    "apt-get update -q  && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends",
];

/// The records that our recipes left and nobody uses: their steps, and what was copied onto those.
fn ours(records: &[CacheRecord], downloads: bool) -> Vec<&str> {
    let mut ours: BTreeSet<&str> = BTreeSet::new();
    loop {
        let known = ours.len();
        for record in records {
            let by_us = OUR_STEPS.iter().any(|words| record.description.contains(words));
            if by_us || ours.contains(record.parent.as_str()) {
                ours.insert(&record.id);
            }
        }
        if ours.len() == known {
            break;
        }
    }
    let unused = records.iter().filter(|record| !record.in_use && !record.shared);
    let droppable = unused.filter(|record| downloads || record.kind != "exec.cachemount");
    droppable.map(|record| record.id.as_str()).filter(|id| ours.contains(id)).collect()
}

/// How a pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pull {
    /// The image is here.
    Done,
    /// The registry answered, and has no such tag.
    NoSuchTag,
    /// The registry does not answer, or not us: reason.
    Unusable(String),
    /// It did not answer this time: reason. The next request may fare better.
    Passing(String),
}

impl Docker {
    pub(crate) async fn connect() -> Result<Self, Error> {
        let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_HOST.to_owned());
        let absent =
            |error: &dyn std::fmt::Display| Error::DockerAbsent { address: address.clone(), reason: error.to_string() };
        let api = Api::connect_with_defaults().map_err(|error| absent(&error))?;
        let version = match api.version().await {
            Ok(version) => version.api_version.unwrap_or_default(),
            Err(error) if is_permission_denied(&error) => {
                return Err(Error::DockerDenied { address });
            }
            Err(error) => return Err(absent(&chain(&error))),
        };
        let mut numbers = version.split('.').filter_map(|part| part.parse::<usize>().ok());
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST_API {
            return Err(Error::DockerTooOld { found: version, needed: "1.39" });
        }
        let api = api.negotiate_version().await.map_err(|error| Error::docker("agree on an API version", error))?;
        Ok(Self { api })
    }

    /// The image behind a name, or `None`.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<ImageInspect>, Error> {
        match self.api.inspect_image(reference).await {
            Ok(image) => Ok(Some(image)),
            Err(ApiError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(Error::docker(format!("inspect the image {reference}"), error)),
        }
    }

    /// All images that carry the project's label.
    pub(crate) async fn ours(&self) -> Result<Vec<ImageSummary>, Error> {
        let filters = [("label", vec![PROJECT_LABEL])].into();
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        self.api.list_images(Some(options)).await.map_err(|error| Error::docker("list images", error))
    }

    /// Removes an image by one of its names, unless a container is made of it.
    pub(crate) async fn remove(&self, reference: &str) -> Result<(), Error> {
        match self.api.remove_image(reference, None::<RemoveImageOptions>, None).await {
            Ok(_) | Err(ApiError::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(Error::docker(format!("remove the image {reference}"), error)),
        }
    }

    /// Pulls an image. What the registry refuses is an answer; only the daemon's own trouble is an error.
    pub(crate) async fn pull(&self, reference: &str) -> Result<Pull, Error> {
        let options = CreateImageOptionsBuilder::default().from_image(reference).build();
        let mut answers = self.api.create_image(Some(options), None, None);
        while let Some(answer) = answers.next().await {
            if let Err(error) = answer {
                let words = match &error {
                    ApiError::DockerResponseServerError { message, .. } => message.clone(),
                    ApiError::DockerStreamError { error } => error.clone(),
                    _ => return Err(Error::docker(format!("pull {reference}"), error)),
                };
                if is_disk_full(&words) {
                    return Err(Error::DiskFull { doing: format!("pulling {reference}"), detail: words });
                }
                return Ok(judge_pull(&words));
            }
        }
        Ok(Pull::Done)
    }

    /// Makes an image of a root file system.
    pub(crate) async fn import(
        &self,
        root: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        repository: &str,
        tag: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let changes: Vec<_> = labels.iter().map(|(name, value)| format!("LABEL {name}=\"{value}\"")).collect();
        let options =
            CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(tag).changes(changes).build();
        let answers = self.api.create_image(Some(options), Some(bollard::body_try_stream(root)), None);
        let done = answers.try_for_each(|_| async { Ok(()) }).await;
        done.map_err(|error| Error::docker(format!("import {repository}:{tag}"), error))
    }

    /// Builds an image, writing what the steps print to the log as it comes.
    pub(crate) async fn build(
        &self,
        build: Build<'_>,
        context: Vec<u8>,
        mut on_step: impl FnMut(&str),
    ) -> Result<Result<(), FailedStep>, Error> {
        let context = Bytes::from(context);
        match self.build_once(&build, context.clone(), &mut on_step).await {
            // A busy daemon breaks off in the middle of its last words at times, with the image made or nearly so: asked
            // again, it answers from its cache.
            Err(Error::Docker { source: ApiError::IOError { .. }, .. }) => {
                self.build_once(&build, context, &mut on_step).await
            }
            done => done,
        }
    }

    async fn build_once(
        &self,
        build: &Build<'_>,
        context: Bytes,
        on_step: &mut impl FnMut(&str),
    ) -> Result<Result<(), FailedStep>, Error> {
        let options = BuildImageOptionsBuilder::default()
            .dockerfile("Dockerfile")
            .t(build.reference)
            .target(build.target)
            .buildargs(&build.arguments.clone().into_iter().collect())
            .labels(&build.labels.clone().into_iter().collect())
            .version(BuilderVersion::BuilderBuildKit)
            .session(&session())
            .build();
        let mut log = Log::create(&build.log)?;
        let mut answers = self.api.build_image(options, None, Some(bollard::body_full(context)));
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(info) => {
                    if let Some(BuildInfoAux::BuildKit(status)) = info.aux {
                        log.record(status, on_step)?;
                    }
                }
                Err(ApiError::DockerStreamError { error }) => {
                    log.write(&format!("{error}\n"))?;
                    if is_disk_full(&error) || is_disk_full(&log.tail()) {
                        return Err(Error::DiskFull { doing: format!("building {}", build.what), detail: error });
                    }
                    return Ok(Err(FailedStep { step: log.step.clone(), tail: log.tail() }));
                }
                Err(error) => return Err(Error::docker(format!("build {}", build.what), error)),
            }
        }
        Ok(Ok(()))
    }

    /// The images that containers are made of.
    pub(crate) async fn images_in_use(&self) -> Result<BTreeSet<String>, Error> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = self.api.list_containers(Some(options)).await;
        let containers = containers.map_err(|error| Error::docker("list containers", error))?;
        Ok(containers.into_iter().filter_map(|container| container.image_id).collect())
    }

    /// The layers of an image that hold anything, lowest first.
    pub(crate) async fn layers(&self, id: &str) -> Result<Vec<Layer>, Error> {
        let history = match self.api.image_history(id).await {
            Ok(history) => history,
            // Removed since it was listed.
            Err(ApiError::DockerResponseServerError { status_code: 404, .. }) => Vec::new(),
            Err(error) => return Err(Error::docker(format!("read the history of {id}"), error)),
        };
        let mut below = Sha256::new();
        let mut layers = Vec::new();
        for step in history.into_iter().rev() {
            below.update(format!("{} {} {}\n", step.created, step.size, step.created_by));
            if let Ok(bytes @ 1..) = u64::try_from(step.size) {
                layers.push(Layer { chain: hex::encode(below.clone().finalize()), bytes });
            }
        }
        Ok(layers)
    }

    /// Drops what the recipes of this crate left in the build cache and no image has: with `downloads`, also those of the
    /// installer, which quicken later builds. The daemon takes its time to list the cache: not for every build.
    pub(crate) async fn drop_our_cache(&self, downloads: bool) -> Result<(), Error> {
        let failed =
            |error: reqwest::Error| Error::DockerAbsent { address: "its socket".to_owned(), reason: chain(&error) };
        let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_HOST.to_owned());
        let Some(socket) = address.strip_prefix("unix://") else { return Ok(()) };
        let client = reqwest::Client::builder().unix_socket(socket).build().map_err(failed)?;
        // What others are made of can be dropped once those are gone.
        loop {
            let answer = client.get("http://docker/v1.41/system/df").send().await.map_err(failed)?;
            let usage: CacheUsage = answer.json().await.map_err(failed)?;
            let records = usage.build_cache.unwrap_or_default();
            let mut dropped = 0;
            // A pattern of a bounded length.
            for ids in ours(&records, downloads).chunks(100) {
                let pattern = format!("^({})$", ids.join("|"));
                let filters = [("id", vec![pattern.as_str()])].into();
                let options = PruneBuildOptionsBuilder::default().all(true).filters(&filters).build();
                let pruned = self.api.prune_build(Some(options)).await;
                let pruned = pruned.map_err(|error| Error::docker("prune the build cache", error))?;
                dropped += pruned.caches_deleted.unwrap_or_default().len();
            }
            if dropped == 0 {
                return Ok(());
            }
        }
    }

    /// Runs a shell command in a container of an image, over the files of an archive unpacked at /context.
    pub(crate) async fn run(&self, image: &str, archive: Vec<u8>, command: &str) -> Result<Lines, Error> {
        let doing = || format!("run a container of {image}");
        let labels = [(PROJECT_LABEL.to_owned(), "work".to_owned())].into();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(["sh", "-ec", command].map(str::to_owned).to_vec()),
            labels: Some(labels),
            working_dir: Some("/context".to_owned()),
            host_config: Some(HostConfig { auto_remove: Some(true), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let created = self.api.create_container(None::<CreateContainerOptions>, body).await;
        let id = created.map_err(|error| Error::docker(doing(), error))?.id;
        let options = UploadToContainerOptionsBuilder::default().path("/context").build();
        let uploaded = self.api.upload_to_container(&id, Some(options), bollard::body_full(archive.into())).await;
        uploaded.map_err(|error| Error::docker(doing(), error))?;
        let options = AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
        let attached = self.api.attach_container(&id, Some(options)).await;
        let output = attached.map_err(|error| Error::docker(doing(), error))?.output;
        let started = self.api.start_container(&id, None::<StartContainerOptions>).await;
        started.map_err(|error| Error::docker(doing(), error))?;
        Ok(Lines { output, text: Vec::new() })
    }
}

/// What a container prints on its standard output, line by line.
pub(crate) struct Lines {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, ApiError>> + Send>>,
    text: Vec<u8>,
}

impl Lines {
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => self.text.extend(message),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Error::docker("read a container's output", error)),
                None => return Ok(None),
            }
        }
    }
}

/// What a refusal to pull says about the registry, from the daemon's words: the only form in which it is given.
fn judge_pull(words: &str) -> Pull {
    let lower = words.to_lowercase();
    // "manifest for R not found: manifest unknown"; a registry that hides what it lacks says "denied" instead, which
    // says nothing of other tags either, but then nothing will be had from it.
    if lower.contains("manifest unknown") || (lower.contains("manifest for") && lower.contains("not found")) {
        return Pull::NoSuchTag;
    }
    let passing = ["timeout", "timed out", "unexpected eof", "connection reset", "bad gateway", "service unavailable"];
    let failing = (500..600).any(|status| {
        [format!("status: {status}"), format!("status code {status}"), format!("http {status}")]
            .iter()
            .any(|form| lower.contains(form))
    });
    let words = words.trim().to_owned();
    if failing || passing.iter().any(|form| lower.contains(form)) {
        Pull::Passing(words)
    } else {
        Pull::Unusable(words)
    }
}

/// A text whose addresses have no user and password: an index's must not reach a log or a report.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|sign: char| sign == '/' || sign.is_whitespace() || "'\"`<>()".contains(sign))
            .unwrap_or(part.len());
        let host = part[..end].rfind('@').map_or(0, |at| at + 1);
        safe.push_str("://");
        safe.push_str(if host == 0 { "" } else { "***@" });
        safe.push_str(&part[host..]);
    }
    safe
}

fn is_permission_denied(error: &ApiError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error with its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = Vec::new();
    for cause in causes {
        let cause = cause.to_string();
        if !words.last().is_some_and(|last| last.contains(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// A name for a build session that no other build on this daemon has.
fn session() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("synapse-upgrades-{}-{}-{}", process::id(), now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A build's log file, and the end of it in memory for an error's message.
struct Log {
    file: File,
    path: PathBuf,
    step: String,
    begun: BTreeSet<String>,
    done: BTreeSet<String>,
    piece: String,
    lines: VecDeque<String>,
}

impl Log {
    const TAIL: usize = 25;

    fn create(path: &Path) -> Result<Self, Error> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
        }
        let file = File::create(path).map_err(Error::file("create", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            step: "start".to_owned(),
            begun: BTreeSet::new(),
            done: BTreeSet::new(),
            piece: String::new(),
            lines: VecDeque::new(),
        })
    }

    fn record(
        &mut self,
        status: bollard::moby::buildkit::v1::StatusResponse,
        on_step: &mut impl FnMut(&str),
    ) -> Result<(), Error> {
        for vertex in status.vertexes {
            let begun = vertex.started.is_some() && !vertex.cached;
            if begun && self.begun.insert(vertex.digest.clone()) {
                self.write(&format!("=> {}\n", vertex.name))?;
                if !vertex.name.starts_with("[internal]") && !vertex.name.starts_with("copy /context") {
                    on_step(&vertex.name);
                }
            }
            if let (Some(started), Some(completed)) = (&vertex.started, &vertex.completed)
                && !vertex.cached
                && self.done.insert(vertex.digest)
            {
                let seconds = completed.seconds - started.seconds;
                let tenths = i64::from(completed.nanos - started.nanos) / 100_000_000;
                let (seconds, tenths) = if tenths < 0 { (seconds - 1, tenths + 10) } else { (seconds, tenths) };
                self.write(&format!("   {seconds}.{tenths} s for {}\n", vertex.name))?;
            }
            if !vertex.error.is_empty() {
                self.step = vertex.name;
            }
        }
        for entry in status.logs {
            let text = String::from_utf8_lossy(&entry.msg);
            self.write(&text)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        // Output comes in pieces that are no lines; only in a whole one is a secret seen for what it is.
        self.piece.push_str(text);
        while let Some(end) = self.piece.find('\n') {
            let line = without_credentials(&self.piece.drain(..=end).collect::<String>());
            self.file.write_all(line.as_bytes()).map_err(Error::file("write", &self.path))?;
            if !line.trim().is_empty() {
                self.lines.push_back(line.trim_end().to_owned());
            }
            if self.lines.len() > Self::TAIL {
                self.lines.pop_front();
            }
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let rest = without_credentials(&self.piece);
        let last = Some(rest.as_str()).filter(|piece| !piece.is_empty());
        self.lines.iter().map(String::as_str).chain(last).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // A log is for whoever looks for a reason, and no reason itself to fail.
        let _ = self.file.write_all(without_credentials(&self.piece).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_unused_cache_is_dropped() {
        let record = |id: &str, parent: &str, description: &str| CacheRecord {
            id: id.to_owned(),
            parent: parent.to_owned(),
            kind: "regular".to_owned(),
            description: description.to_owned(),
            in_use: false,
            shared: false,
        };
        let step = "mount / from exec /bin/sh -c . /context/host/env && python3 /context/install.py era";
        let records = [
            record("copied", "step", "fileop target"),
            record("step", "base", step),
            record("base", "", "from local"),
            CacheRecord { shared: true, ..record("in an image", "step", "fileop target") },
            CacheRecord { in_use: true, ..record("in use", "step", step) },
            CacheRecord { kind: "exec.cachemount".to_owned(), ..record("downloads", "", step) },
            record("foreign", "base", "mount / from exec /bin/sh -c make"),
        ];
        assert_eq!(ours(&records, false), ["copied", "step"]);
        assert_eq!(ours(&records, true), ["copied", "step", "downloads"]);
    }

    #[test]
    fn addresses_lose_their_credentials() {
        let safe = [
            (
                "error at https://user:p%40ss@index.test/simple/x/ (403)",
                "error at https://***@index.test/simple/x/ (403)",
            ),
            ("'http://token@a.test' and https://b.test/@scope", "'http://***@a.test' and https://b.test/@scope"),
            ("https://u:p@w@c.test", "https://***@c.test"),
            ("nothing of the kind: a@b", "nothing of the kind: a@b"),
        ];
        for (text, expected) in safe {
            assert_eq!(without_credentials(text), expected);
        }
    }

    #[test]
    fn what_a_build_prints_is_logged_without_credentials() {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = directory.path().join("log");
        let mut log = Log::create(&path).unwrap_or_else(|error| panic!("{error}"));
        // In pieces, as it comes.
        for piece in ["fetch https://user:pa", "ss@index.test/x\n", "https://user:pass@in", "dex.test/y"] {
            log.write(piece).unwrap_or_else(|error| panic!("{error}"));
        }
        let told = "fetch https://***@index.test/x\nhttps://***@index.test/y";
        assert_eq!(log.tail(), told);
        drop(log);
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}")), told);
    }

    #[test]
    fn a_missing_tag_is_told_from_a_registry_that_cannot_be_used() {
        let missing = [
            "manifest for matrixdotorg/synapse:v1.49.1 not found: manifest unknown: manifest unknown",
            "manifest unknown",
        ];
        for words in missing {
            assert_eq!(judge_pull(words), Pull::NoSuchTag, "{words}");
        }
        let unusable = [
            r#"Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: no such host"#,
            "toomanyrequests: You have reached your pull rate limit.",
            "pull access denied for fork/synapse, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value",
        ];
        for words in unusable {
            assert_eq!(judge_pull(words), Pull::Unusable(words.to_owned()));
        }
        let passing = [
            r#"Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
            "received unexpected HTTP status: 503 Service Unavailable",
            "error parsing HTTP 502 response body: invalid character '<' looking for beginning of value",
            "read tcp 10.0.0.2:4711->10.0.0.1:443: read: connection reset by peer",
        ];
        for words in passing {
            assert_eq!(judge_pull(words), Pull::Passing(words.to_owned()));
        }
    }
}
