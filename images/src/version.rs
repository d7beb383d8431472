//! Version arithmetic for Synapse's releases.

use std::{fmt, str::FromStr};

use pep440_rs::{Prerelease, PrereleaseKind};
use serde::{Deserialize, Serialize};

/// A Synapse version as PyPI spells it: `0.34.1.1`, `1.53.0`, `1.53.0rc1`.
///
/// Ordered by age as PEP 440 orders these forms: `1.53.0rc1 < 1.53.0 < 1.53.1`, and missing components count as zero
/// (`1.0 == 1.0.0`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pep440_rs::Version);

/// A text that is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Synapse version (expected a form like `1.53.0` or `1.53.0rc1`)")]
pub struct ParseVersionError(pub String);

impl Version {
    /// Is this a release candidate?
    pub fn is_candidate(&self) -> bool {
        self.0.is_pre()
    }

    /// The release that this is, or is a candidate for.
    #[must_use]
    pub fn target(&self) -> Self {
        Self(pep440_rs::Version::new(self.0.release().iter().copied()))
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseVersionError(text.to_owned());
        let version: pep440_rs::Version = text.parse().map_err(|_| error())?;
        // Synapse has used no other forms of PEP 440, and no other spellings of these.
        let candidate = |pre: Prerelease| pre.kind == PrereleaseKind::Rc;
        let known = version.release().len() > 1
            && version.pre().is_none_or(candidate)
            && version.to_string() == text
            && !(version.is_post() || version.is_dev() || version.is_local() || version.epoch() != 0);
        if known { Ok(Self(version)) } else { Err(error()) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_age() {
        let ages = ["0.33.7", "0.34.1", "0.34.1.1", "1.9.0", "1.53.0rc1", "1.53.0rc2", "1.53.0", "1.53.1", "1.163.2"];
        let versions: Vec<Version> = ages.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted());
        assert_eq!(versions.iter().map(ToString::to_string).collect::<Vec<_>>(), ages);
        assert_eq!("1.0".parse::<Version>(), "1.0.0".parse());
        assert_eq!(versions[4].target(), versions[6]);
    }

    #[test]
    fn what_synapse_never_called_itself_is_no_version() {
        for text in
            ["", "1", "1.53.0-rc1", "1.53.0a1", "1.53.0.post1", "1.53.0.dev1", "1.53.0+fork.1", "v1.53.0", "1.x"]
        {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
