//! Version arithmetic for Synapse's releases.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Synapse version as PyPI spells it: `0.34.1.1`, `1.53.0`, `1.53.0rc1`.
///
/// Ordered by age as PEP 440 orders these forms: `1.53.0rc1 < 1.53.0 < 1.53.1`, and missing components count as zero
/// (`1.0 == 1.0.0`).
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    numbers: Vec<u32>,
    candidate: Option<u32>,
}

/// A text that is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Synapse version (expected a form like `1.53.0` or `1.53.0rc1`)")]
pub struct ParseVersionError(pub String);

impl Version {
    /// Is this a release candidate?
    pub fn is_candidate(&self) -> bool {
        self.candidate.is_some()
    }

    /// The release that this is, or is a candidate for.
    #[must_use]
    pub fn target(&self) -> Self {
        Self { candidate: None, ..self.clone() }
    }

    fn significant(&self) -> &[u32] {
        let end = self.numbers.iter().rposition(|&n| n != 0).map_or(0, |last| last + 1);
        &self.numbers[..end]
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseVersionError(text.to_owned());
        let (numbers, candidate) = match text.split_once("rc") {
            Some((numbers, candidate)) => (numbers, Some(candidate.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let numbers =
            numbers.split('.').map(|part| part.parse().map_err(|_| error())).collect::<Result<Vec<u32>, _>>()?;
        if numbers.len() < 2 {
            return Err(error());
        }
        Ok(Self { numbers, candidate })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.numbers.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        match self.candidate {
            Some(candidate) => write!(f, "rc{candidate}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A candidate comes before its release: `Some` sorts before "no candidate".
        let age = |candidate: Option<u32>| candidate.map_or((1, 0), |number| (0, number));
        (self.significant(), age(self.candidate)).cmp(&(other.significant(), age(other.candidate)))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl TryFrom<String> for Version {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}
