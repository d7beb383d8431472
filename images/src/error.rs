//! What can go wrong on the way to an image, worded for whoever has to put it right.

use std::{io, path::PathBuf};

use crate::{Suite, Version, lock::LockError, release::TableError, wanted::Wanted};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The release table lacks the release.
    #[error(
        "Synapse {version} is not in the release table (nearest there: {}); if it was published lately, add it with `cargo run -p images -- refresh`",
        list(nearest)
    )]
    UnknownRelease {
        /// What was asked for.
        version: Version,
        /// Its neighbors in the table.
        nearest: Vec<Version>,
    },
    /// The release table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A lock file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No recipe here makes this.
    #[error("no image of {wanted} can be built: {reason}")]
    NoRecipe {
        /// What was asked for.
        wanted: Wanted,
        /// Why there is none.
        reason: String,
    },
    /// An override names an image that is neither here nor to be had.
    #[error("`{reference}`, given for {name}, is not here and cannot be pulled: {reason}")]
    Override {
        /// What it was given for.
        name: String,
        /// The image that was given.
        reference: String,
        /// Why it cannot be pulled.
        reason: String,
    },
    /// `--images-from present`, and it is not.
    #[error("no image of {0} is present, and `--images-from present` forbids to pull or build one")]
    NotPresent(Wanted),
    /// `--images-from registry`, and it has none.
    #[error("the registry has no image of {wanted}: {reason} (`--images-from auto` would build one)")]
    Registry {
        /// What was asked for.
        wanted: Wanted,
        /// What the registry said.
        reason: String,
    },
    /// No daemon answers.
    #[error("no Docker daemon answers at {address}: {reason}; is it installed and running, and is DOCKER_HOST right?")]
    DockerAbsent {
        /// Where it was looked for.
        address: String,
        /// What the attempt gave.
        reason: String,
    },
    /// The daemon's socket is not for us.
    #[error("permission to use the Docker daemon at {address} is denied; add this user to the group `docker`")]
    DockerDenied {
        /// The socket.
        address: String,
    },
    /// The daemon has no BuildKit.
    #[error("the Docker daemon speaks API {found}; building images needs {needed} (Docker 19.03) or newer")]
    DockerTooOld {
        /// Its API version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The daemon refused a request.
    #[error("Docker failed to {doing}: {source}")]
    Docker {
        /// What it was asked to do.
        doing: String,
        /// Its answer.
        source: bollard::errors::Error,
    },
    /// The disk is full.
    #[error(
        "the disk filled up while {doing}: {detail}; free some space, or remove images with `cargo run -p images -- prune`"
    )]
    DiskFull {
        /// What was going on.
        doing: String,
        /// Who said so.
        detail: String,
    },
    /// The package index does not have the release.
    #[error("the package index does not have what {wanted} needs: {detail}\nfull log: {}", log.display())]
    NotPublished {
        /// What was being built.
        wanted: Wanted,
        /// The index's or uv's words.
        detail: String,
        /// The build's log.
        log: PathBuf,
    },
    /// The package index cannot be reached.
    #[error(
        "the package index cannot be reached from the build of {wanted}: {detail}\n(another index: `--pypi-index`; a certificate authority: SSL_CERT_FILE; a proxy: HTTPS_PROXY)\nfull log: {}",
        log.display()
    )]
    IndexUnreachable {
        /// What was being built.
        wanted: Wanted,
        /// What the attempt gave.
        detail: String,
        /// The build's log.
        log: PathBuf,
    },
    /// A build step failed.
    #[error("building {what} failed in step `{step}`:\n{tail}\nfull log: {}", log.display())]
    Build {
        /// What was being built.
        what: String,
        /// The step of the recipe.
        step: String,
        /// The end of its output.
        tail: String,
        /// The build's log.
        log: PathBuf,
    },
    /// There is no Debian base to build on.
    #[error("no base image of Debian {suite}: {reason}")]
    Base {
        /// The suite.
        suite: Suite,
        /// Why not.
        reason: String,
    },
    /// PyPI cannot be asked for its releases.
    #[error("cannot ask {url} for Synapse's releases: {reason}")]
    Index {
        /// The address.
        url: String,
        /// What the attempt gave.
        reason: String,
    },
    /// A file of ours cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// `read`, `write` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Wraps what the daemon answered, and tells a full disk from the rest.
    pub(crate) fn docker(doing: impl Into<String>, source: bollard::errors::Error) -> Self {
        let (doing, detail) = (doing.into(), source.to_string());
        if is_disk_full(&detail) { Self::DiskFull { doing, detail } } else { Self::Docker { doing, source } }
    }

    /// Is it the image that cannot be begun, as the daemon says: no such program in it, or one for another processor?
    pub(crate) fn is_of_the_image(&self) -> bool {
        let Self::Docker { source, .. } = self else { return false };
        let said = source.to_string();
        said.contains("OCI runtime") && said.contains("exec")
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => {
                Self::DiskFull { doing: format!("to {doing} {}", path.display()), detail: source.to_string() }
            }
            _ => Self::File { doing, path, source },
        }
    }
}

/// Does this text of a daemon or a tool speak of a full disk?
pub(crate) fn is_disk_full(text: &str) -> bool {
    let text = text.to_lowercase();
    ["no space left on device", "enospc", "disk quota exceeded"].iter().any(|words| text.contains(words))
}

fn list(versions: &[Version]) -> String {
    let names: Vec<_> = versions.iter().map(Version::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
