//! Paths as data: which releases a deployment runs one after the other, and how each leg ends.
//!
//! One line says it all, the same on the command line, in scenarios, in plans, in reports and in a rerun line:
//!
//! ```text
//! sqlite: 1.52.0 undrained > 1.53.0 kill(delta=68/05) > 1.53.0
//! postgres-13 config=encrypted: 1.53.0 > 1.52.0 > 1.53.0
//! sqlite: 1.52.0 kill > port 1.53.0 > 1.54.0 workers=1.53.0
//! ```
#![doc = concat!("\n```text\n", include_str!("language.txt"), "```")]

mod archetype;
mod outlook;
mod parse;
mod random;
pub(crate) mod scenario;

use std::{fmt, time::Duration};

use images::{Suite, Version};
use serde::{Deserialize, Serialize};

pub(crate) use archetype::Archetype;
pub(crate) use outlook::Outlook;
pub use parse::ParsePathError;
pub(crate) use random::{random, shorter};

use crate::Database;

/// The language of paths, for `--help`.
pub(crate) const LANGUAGE: &str = include_str!("language.txt");

/// A sequence of legs on the same data, and what the deployment is made of. [Printed](fmt::Display) and
/// [parsed](std::str::FromStr) as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path {
    pub(crate) database: Database,
    /// PostgreSQL's major version, unless it is the default.
    pub(crate) postgres: Option<u32>,
    /// How the homeserver is configured, beyond the base.
    pub(crate) config: Option<Archetype>,
    /// Debian suite, for its Python and SQLite, instead of each release's own.
    pub(crate) suite: Option<Suite>,
    pub(crate) estate: Extent,
    /// What made it, if chance did.
    pub(crate) seed: Option<u64>,
    pub(crate) legs: Vec<Leg>,
}

/// How much of the estate walks a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All its parts.
    #[default]
    Whole,
    /// Those that ride along on every walk.
    Small,
    /// None of it: nobody has done anything on the server yet.
    None,
}

/// One period on one release, with what the operator does before it, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) release: Version,
    /// Before it starts, this release's own tool moves the data from SQLite to PostgreSQL.
    pub(crate) ported: bool,
    /// The workers' release, where it is not the main process's.
    pub(crate) workers: Option<Version>,
    pub(crate) ending: Ending,
}

/// How a leg ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server is asked to stop when its background updates are done.
    #[default]
    Stopped,
    /// It is asked to stop when this many batches of background updates are done; further ones are kept from running.
    Undrained { batches: u32 },
    /// It is killed where it would have been asked to stop.
    Killed,
    /// It is killed at a moment, and nobody does anything on this leg but wait for that.
    KilledAt(Moment),
}

/// When a process is killed: at an event, after a while, or a while after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) event: Option<Occurrence>,
    /// From the event on, or from the start of the process.
    pub(crate) after: Duration,
}

/// Something that happens in a homeserver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Occurrence {
    /// A schema delta whose file begins so (`68/05`) has been applied, and is not noted as applied yet.
    Delta(String),
    /// A batch of a background update begins, counted from 1.
    Update { name: String, batch: u32 },
    /// A background update has done its work, and is not noted as done yet.
    Updated(String),
    /// A line with this text has been logged.
    Log(String),
}

impl Path {
    /// A plain path on this database.
    pub fn over(database: Database, releases: &[Version]) -> Self {
        let legs = releases.iter().cloned().map(Leg::on).collect();
        Self { database, postgres: None, config: None, suite: None, estate: Extent::Whole, seed: None, legs }
    }

    /// As a part of a trial's name: no spaces, nothing that a shell or a file system minds.
    pub(crate) fn slug(&self) -> String {
        let text = self.to_string();
        let (head, legs) = text.split_once(": ").unwrap_or((&text, ""));
        let options = head.split_once(' ').map_or(String::new(), |(_, options)| format!("{options} "));
        let text = format!("{options}{}", legs.replace(" > ", ".."));
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._=-".contains(c) { c } else { '-' };
        text.trim_end_matches(')').chars().map(plain).collect::<String>().replace("-..", "..")
    }

    /// Does it need a PostgreSQL server?
    pub(crate) fn is_ported(&self) -> bool {
        self.legs.iter().any(|leg| leg.ported)
    }

    /// Are there workers? They want PostgreSQL: on SQLite each process counts for itself, and two give the same number.
    pub(crate) fn has_workers(&self) -> bool {
        matches!(self.config, Some(Archetype::Workers | Archetype::Roles))
            || self.legs.iter().any(|leg| leg.workers.is_some())
    }
}

impl Leg {
    /// A leg that ends as legs usually do.
    pub(crate) fn on(release: Version) -> Self {
        Self { release, ported: false, workers: None, ending: Ending::Stopped }
    }
}

impl Ending {
    /// Is the leg over when this moment comes, whatever else goes on?
    pub(crate) fn moment(&self) -> Option<&Moment> {
        match self {
            Self::KilledAt(moment) => Some(moment),
            _ => None,
        }
    }

    /// Is the leg stopped while background updates are still to be done?
    pub(crate) fn leaves_updates(&self) -> bool {
        matches!(self, Self::Undrained { .. })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.database.key())?;
        if let Some(major) = self.postgres {
            write!(f, "-{major}")?;
        }
        if let Some(config) = self.config {
            write!(f, " config={config}")?;
        }
        if let Some(suite) = self.suite {
            write!(f, " suite={suite}")?;
        }
        match self.estate {
            Extent::Whole => {}
            Extent::Small => f.write_str(" estate=small")?,
            Extent::None => f.write_str(" estate=none")?,
        }
        if let Some(seed) = self.seed {
            write!(f, " seed={seed}")?;
        }
        for (number, leg) in self.legs.iter().enumerate() {
            write!(f, "{} {leg}", if number == 0 { ":" } else { " >" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ported {
            f.write_str("port ")?;
        }
        write!(f, "{}", self.release)?;
        if let Some(workers) = &self.workers {
            write!(f, " workers={workers}")?;
        }
        match &self.ending {
            Ending::Stopped => Ok(()),
            ending => write!(f, " {ending}"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Undrained { batches: 0 } => f.write_str("undrained"),
            Self::Undrained { batches } => write!(f, "undrained(batches={batches})"),
            Self::Killed => f.write_str("kill"),
            Self::KilledAt(moment) => write!(f, "kill({moment})"),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.after.as_millis();
        match &self.event {
            None => write!(f, "ms={milliseconds}"),
            Some(event) if milliseconds == 0 => write!(f, "{event}"),
            Some(event) => write!(f, "{event},ms={milliseconds}"),
        }
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delta(delta) => write!(f, "delta={delta}"),
            Self::Update { name, batch: 1 } => write!(f, "update={name}"),
            Self::Update { name, batch } => write!(f, "update={name},batch={batch}"),
            Self::Updated(name) => write!(f, "update={name},done"),
            Self::Log(text) => write!(f, "log={}", serde_json::Value::from(text.as_str())),
        }
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for Path {
    type Error = ParsePathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
