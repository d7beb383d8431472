//! What can be asked for.

use std::{fmt, str::FromStr};

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
    /// A DNS server that knows no name, on UDP port 53: what does not exist is answered for at once.
    NameServer,
}

impl Companion {
    /// One of each kind, with every PostgreSQL that can be built here.
    pub const ALL: [Companion; 11] = [
        Companion::Postgres(13),
        Companion::Postgres(15),
        Companion::Postgres(17),
        Companion::Redis,
        Companion::Nginx,
        Companion::MailSink,
        Companion::IdentityProvider,
        Companion::ForwardProxy,
        Companion::Recorder,
        Companion::Sydent,
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
        /// The platform, where it matters: such an image is always one built here.
        suite: Option<Suite>,
    },
    /// The code of one release that reports another's version: a control that checks must tell from the real one.
    Forged {
        /// The version it reports.
        version: Version,
        /// The release whose code it runs.
        code_of: Version,
    },
    /// A service next to the homeserver.
    Companion(Companion),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Homeserver { version, suite: None } => write!(f, "synapse {version}"),
            Wanted::Homeserver { version, suite: Some(suite) } => write!(f, "synapse {version} on {suite}"),
            Wanted::Forged { version, code_of } => {
                write!(f, "synapse {version} (code of {code_of})")
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
