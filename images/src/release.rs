//! The release table: every published Synapse, with what an upgrade needs to know of it.

use std::{env, fmt, fs, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Version;

/// A Debian suite: the platform (Python, OpenSSL, SQLite) that an image is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 11: Python 3.9, SQLite 3.34, OpenSSL 1.1.1, PostgreSQL 13.
    Bullseye,
    /// Debian 12: Python 3.11, SQLite 3.40, OpenSSL 3.0, PostgreSQL 15.
    Bookworm,
    /// Debian 13: Python 3.13, SQLite 3.46, OpenSSL 3.5, PostgreSQL 17.
    Trixie,
}

impl Suite {
    /// All suites, oldest first.
    pub const ALL: [Suite; 3] = [Suite::Bullseye, Suite::Bookworm, Suite::Trixie];

    fn name(self) -> &'static str {
        match self {
            Suite::Bullseye => "bullseye",
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a suite that images are built on (expected `bullseye`, `bookworm` or `trixie`)")]
pub struct ParseSuiteError(pub String);

impl FromStr for Suite {
    type Err = ParseSuiteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|suite| suite.name() == text);
        found.ok_or_else(|| ParseSuiteError(text.to_owned()))
    }
}

/// One published release of Synapse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The version, as PyPI spells it.
    pub version: Version,
    /// The day of its upload to PyPI, `YYYY-MM-DD`.
    pub date: String,
    /// The suite its image is built on unless a scenario asks for another.
    pub suite: Suite,
    /// Withdrawn from PyPI (but still there).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yanked: bool,
    /// The schema version of a database that it has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// The oldest schema version whose code can still use its database (releases since 1.37.0 record it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat_version: Option<u32>,
    /// The oldest release that upstream's rule allows to roll back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back_to: Option<Version>,
    /// The Python versions it asks for, as its metadata words it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
}

/// Why the release table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("cannot read the release table {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a release table.
    #[error("the release table is wrong at line {line}: {reason}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A version is there twice.
    #[error("the release table lists {0} twice")]
    Twice(Version),
}

/// All known releases, oldest first.
#[derive(Clone, Debug)]
pub struct ReleaseTable {
    releases: Vec<Release>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    #[serde(default)]
    release: Vec<Release>,
}

impl ReleaseTable {
    /// Where the table is: this crate's `releases.toml`, or the file that `SYNAPSE_UPGRADES_RELEASES` names.
    pub fn path() -> PathBuf {
        env::var_os("SYNAPSE_UPGRADES_RELEASES")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("releases.toml"), PathBuf::from)
    }

    /// Reads the table from [`ReleaseTable::path`].
    pub fn load() -> Result<Self, TableError> {
        let path = Self::path();
        let text = fs::read_to_string(&path).map_err(|source| TableError::Read { path, source })?;
        Self::parse(&text)
    }

    /// Reads a table from its text.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let file: TableFile = toml::from_str(text).map_err(|error| TableError::Syntax {
            line: error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1),
            reason: error.message().to_owned(),
        })?;
        let mut releases = file.release;
        releases.sort_by(|a, b| a.version.cmp(&b.version));
        match releases.windows(2).find(|pair| pair[0].version == pair[1].version) {
            Some(pair) => Err(TableError::Twice(pair[0].version.clone())),
            None => Ok(Self { releases }),
        }
    }

    /// The table with further releases; of one that it has, it keeps its own.
    #[must_use]
    pub fn with(mut self, further: &[Release]) -> Self {
        for release in further {
            if let Err(place) = self.releases.binary_search_by(|other| other.version.cmp(&release.version)) {
                self.releases.insert(place, release.clone());
            }
        }
        self
    }

    /// The table of the releases from one on, without another and what is newer than that.
    #[must_use]
    pub fn between(&self, from: &Version, before: &Version) -> Self {
        let within = |release: &&Release| release.version >= *from && release.version < *before;
        Self { releases: self.iter().filter(within).cloned().collect() }
    }

    /// The release of this version.
    pub fn get(&self, version: &Version) -> Option<&Release> {
        let index = self.releases.binary_search_by(|release| release.version.cmp(version)).ok()?;
        self.releases.get(index)
    }

    /// All releases and candidates, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Release> + Clone {
        self.releases.iter()
    }

    /// The newest release that is neither a candidate nor withdrawn.
    pub fn newest_stable(&self) -> Option<&Release> {
        self.stable().next_back()
    }

    /// The newest stable release older than this version (which need not be in the table).
    pub fn before(&self, version: &Version) -> Option<&Release> {
        self.stable().rfind(|release| release.version < *version)
    }

    /// Up to three releases around a version that the table lacks.
    pub(crate) fn nearest(&self, version: &Version) -> Vec<Version> {
        let next = self.releases.partition_point(|release| release.version < *version);
        let around = &self.releases[next.saturating_sub(2)..(next + 1).min(self.releases.len())];
        around.iter().map(|release| release.version.clone()).collect()
    }

    fn stable(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.iter().filter(|release| !release.version.is_candidate() && !release.yanked)
    }
}
