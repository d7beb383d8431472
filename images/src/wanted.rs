//! What can be asked for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{ParseVersionError, Suite, Version};

/// A service next to the homeserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Companion {
    /// PostgreSQL of this major version. Keeps the contract of the official image: `POSTGRES_*` variables, arguments
    /// for the server, port 5432.
    Postgres(u32),
    /// Redis on port 6379.
    Redis,
    /// A reverse proxy that reads `/etc/nginx/nginx.conf`.
    Nginx,
    /// SMTP on port 25; what arrived as JSON at `GET /messages` on port 8080.
    MailSink,
    /// OIDC, SAML and CAS provider, configured by `/etc/idp/config.json`.
    IdentityProvider,
    /// An HTTP forward proxy on port 8888 with its access log on standard output.
    ForwardProxy,
    /// An HTTP and HTTPS server that records every request and answers by a script.
    Recorder,
    /// A Matrix identity server.
    Sydent,
    /// A stand-in for the Matrix Authentication Service, which no registry has.
    AuthenticationService,
    /// An S3 object store on port 9000.
    ObjectStore,
    /// A DNS server that knows no name, on UDP port 53: what does not exist is answered for at once.
    NameServer,
}

impl Companion {
    /// One of each kind, with every PostgreSQL that can be built here.
    pub const ALL: [Companion; 17] = [
        Companion::Postgres(11),
        Companion::Postgres(13),
        Companion::Postgres(14),
        Companion::Postgres(15),
        Companion::Postgres(16),
        Companion::Postgres(17),
        Companion::Postgres(18),
        Companion::Redis,
        Companion::Nginx,
        Companion::MailSink,
        Companion::IdentityProvider,
        Companion::ForwardProxy,
        Companion::Recorder,
        Companion::Sydent,
        Companion::AuthenticationService,
        Companion::ObjectStore,
        Companion::NameServer,
    ];

    /// The name of its directory and repository.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Companion::Postgres(_) => "postgres",
            Companion::Redis => "redis",
            Companion::Nginx => "nginx",
            Companion::MailSink => "mail-sink",
            Companion::IdentityProvider => "identity-provider",
            Companion::ForwardProxy => "forward-proxy",
            Companion::Recorder => "recorder",
            Companion::Sydent => "sydent",
            Companion::AuthenticationService => "authentication-service",
            Companion::ObjectStore => "object-store",
            Companion::NameServer => "name-server",
        }
    }
}

impl fmt::Display for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Companion::Postgres(major) => write!(f, "postgres {major}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// What an image is wanted for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A release of Synapse.
    Homeserver {
        /// The release.
        version: Version,
        /// The platform, where it matters.
        suite: Option<Suite>,
    },
    /// A homeserver's image with one thing changed: built here in seconds, whatever it is made of.
    Derived {
        /// What is changed.
        of: Box<Wanted>,
        /// The change.
        change: Change,
    },
    /// A service next to the homeserver.
    Companion(Companion),
}

/// What makes a derived image of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It reports this version: a control that checks must tell from the real one.
    Reports(Version),
    /// Its code is patched: a mutant.
    Patches(Vec<Patch>),
    /// It has further Python distributions (`synapse-s3-storage-provider==1.5.0`), exactly these and none that they depend on.
    Packages(Vec<String>),
}

/// One small change to the installed `synapse` package: as data, so that it can stand beside a scenario.
///
/// | `find` | `replace` | |
/// | --- | --- | --- |
/// | text | text | the file has the one exactly once, and then the other in its place |
/// | text | none | and then nothing in its place |
/// | none | text | the file is not there, and then has this content |
/// | none | none | the file is there, and then it is not |
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// The file below the package: `rest/client/capabilities.py`.
    pub file: String,
    /// What it holds exactly once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<String>,
    /// What comes instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
}

impl Wanted {
    /// A release of Synapse on its usual suite.
    pub fn homeserver(version: Version) -> Self {
        Self::Homeserver { version, suite: None }
    }

    /// The same, but that it reports this version.
    #[must_use]
    pub fn reporting(self, version: Version) -> Self {
        self.changed(Change::Reports(version))
    }

    /// The same with patched code; without a patch, itself.
    #[must_use]
    pub fn patched(self, patches: Vec<Patch>) -> Self {
        if patches.is_empty() { self } else { self.changed(Change::Patches(patches)) }
    }

    /// The same with further Python distributions; without any, itself.
    #[must_use]
    pub fn with_packages(self, packages: Vec<String>) -> Self {
        if packages.is_empty() { self } else { self.changed(Change::Packages(packages)) }
    }

    fn changed(self, change: Change) -> Self {
        Self::Derived { of: Box::new(self), change }
    }

    /// The release whose code it runs, patched or not; `None` for a companion.
    pub fn code(&self) -> Option<&Version> {
        match self {
            Self::Homeserver { version, .. } => Some(version),
            Self::Derived { of, .. } => of.code(),
            Self::Companion(_) => None,
        }
    }

    /// The suite that was asked for.
    pub(crate) fn suite(&self) -> Option<Suite> {
        match self {
            Self::Homeserver { suite, .. } => *suite,
            Self::Derived { of, .. } => of.suite(),
            Self::Companion(_) => None,
        }
    }
}

impl Change {
    /// Tells it from others in the tag of an image.
    pub(crate) fn tag(&self) -> String {
        // With its length before each part, no two lists of parts give the same bytes.
        let short = |parts: &[&str]| {
            let mut hash = Sha256::new();
            for part in parts {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
            hex::encode(hash.finalize())[..12].to_owned()
        };
        match self {
            Change::Reports(version) => format!("as-{version}"),
            Change::Patches(patches) => {
                let texts: Vec<_> = patches.iter().map(|patch| format!("{patch:?}")).collect();
                format!("mutant-{}", short(&texts.iter().map(String::as_str).collect::<Vec<_>>()))
            }
            Change::Packages(packages) => {
                format!("with-{}", short(&packages.iter().map(String::as_str).collect::<Vec<_>>()))
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Homeserver { version, suite: None } => write!(f, "synapse {version}"),
            Wanted::Homeserver { version, suite: Some(suite) } => write!(f, "synapse {version} on {suite}"),
            Wanted::Derived { of, change: Change::Reports(version) } => {
                let code = of.to_string();
                write!(f, "synapse {version} (code of {})", code.trim_start_matches("synapse "))
            }
            Wanted::Derived { of, change: change @ Change::Patches(_) } => write!(f, "{of} ({})", change.tag()),
            Wanted::Derived { of, change: Change::Packages(packages) } => {
                write!(f, "{of} with {}", packages.join(", "))
            }
            Wanted::Companion(companion) => companion.fmt(f),
        }
    }
}

/// A text that names nothing that an image can be had for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no image (expected a version such as `1.53.0`, `1.53.0@bookworm` for a certain platform, or one of {})",
    companions()
)]
pub struct ParseWantedError {
    /// The text.
    pub text: String,
}

fn companions() -> String {
    let names: Vec<_> = Companion::ALL.iter().map(|companion| format!("`{}`", name(*companion))).collect();
    names.join(", ")
}

/// How a companion is written where spaces are unwelcome.
fn name(companion: Companion) -> String {
    companion.to_string().replace(' ', "-")
}

impl FromStr for Wanted {
    type Err = ParseWantedError;

    /// Reads `1.53.0`, `1.53.0@bookworm` or a companion's name (`redis`, `postgres-15`, `postgres 15`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseWantedError { text: text.to_owned() };
        let plain = text.trim().replace([' ', ':'], "-");
        if let Some(major) = plain.strip_prefix("postgres-") {
            let major = major.parse().map_err(|_| error())?;
            return Ok(Wanted::Companion(Companion::Postgres(major)));
        }
        if let Some(companion) = Companion::ALL.into_iter().find(|companion| name(*companion) == plain) {
            return Ok(Wanted::Companion(companion));
        }
        let (version, suite) = match plain.split_once('@') {
            Some((version, suite)) => (version.to_owned(), Some(suite.parse().map_err(|_| error())?)),
            None => (plain, None),
        };
        let version = version.trim_start_matches('v').parse().map_err(|_: ParseVersionError| error())?;
        Ok(Wanted::Homeserver { version, suite })
    }
}
