//! Which Python distributions each release runs with.
//!
//! A lock file holds one suite: its *era*, the pins that an image layer shared by all its releases is made of, and then
//! for each release what changed since the release before it in the file. That is compact, and reads as a history.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;

use crate::Version;

/// Exact versions by the normalized name of the distribution.
pub(crate) type Pins = BTreeMap<String, String>;

/// The locks of one suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    /// The pins that releases share.
    pub(crate) era: Era,
    /// The full lock of each release.
    pub(crate) releases: BTreeMap<Version, Pins>,
}

/// What the shared layer of a suite holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Era {
    /// The day whose build tools its source distributions are built with.
    pub(crate) day: String,
    /// Its pins.
    pub(crate) pins: Pins,
}

/// A lock file that is not one.
#[derive(Debug, thiserror::Error)]
#[error("the locks of {suite} are wrong: {reason}")]
pub struct LockError {
    /// The suite of the file.
    pub suite: String,
    /// What is wrong.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    era: Era,
    #[serde(default)]
    changes: BTreeMap<Version, Pins>,
}

impl Locks {
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: LockFile = toml::from_str(text)?;
        let mut current = Pins::new();
        let mut releases = BTreeMap::new();
        for (version, changes) in file.changes {
            merge(&mut current, changes);
            releases.insert(version, current.clone());
        }
        Ok(Self { era: file.era, releases })
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::from(
            "# Written by `images lock`. Each release: what changed since the release before it; \"\" is a pin dropped.\n\n[era]\n",
        );
        // Writing to a string cannot fail.
        let _ = write!(text, "day = \"{}\"\n\n[era.pins]\n", self.era.day);
        for (name, version) in &self.era.pins {
            let _ = writeln!(text, "{name} = \"{version}\"");
        }
        let mut previous = &Pins::new();
        for (version, pins) in &self.releases {
            let _ = write!(text, "\n[changes.\"{version}\"]\n");
            for (name, pin) in difference(previous, pins) {
                let _ = writeln!(text, "{name} = \"{pin}\"");
            }
            previous = pins;
        }
        text
    }

    /// The lock of the newest older release.
    pub(crate) fn predecessor(&self, version: &Version) -> Pins {
        self.releases.range(..version.clone()).next_back().map(|(_, pins)| pins.clone()).unwrap_or_default()
    }

    /// The lock to start from for a release that has none: its predecessor's, or else the oldest there is.
    pub(crate) fn seed(&self, version: &Version) -> Pins {
        let oldest = || self.releases.values().next().cloned().unwrap_or_default();
        Some(self.predecessor(version)).filter(|pins| !pins.is_empty()).unwrap_or_else(oldest)
    }
}

/// Applies changes to a lock; an empty version drops the pin.
fn merge(pins: &mut Pins, changes: Pins) {
    for (name, version) in changes {
        if version.is_empty() {
            pins.remove(&name);
        } else {
            pins.insert(name, version);
        }
    }
}

/// The changes that make one lock of another: the inverse of [`merge`].
fn difference(from: &Pins, to: &Pins) -> Pins {
    let dropped = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), String::new()));
    let changed = to.iter().filter(|(name, version)| from.get(*name) != Some(version));
    dropped.chain(changed.map(|(name, version)| (name.clone(), version.clone()))).collect()
}

/// The pins that these locks share: distributions that at least a twentieth of them have, each in its most common version (the
/// newer one of two equally common). A release that has none of it does not look for it.
pub(crate) fn common<'a>(locks: impl IntoIterator<Item = &'a Pins>) -> Pins {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut total = 0;
    for pins in locks {
        total += 1;
        for (name, version) in pins {
            *counts.entry(name).or_default().entry(version).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, versions)| versions.values().sum::<usize>() * 20 >= total)
        .filter_map(|(name, versions)| {
            let (version, _) = versions.into_iter().max_by_key(|(_, count)| *count)?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Pins as the requirements of an installation.
pub(crate) fn requirements(pins: &Pins) -> String {
    pins.iter().fold(String::new(), |mut text, (name, version)| {
        let _ = writeln!(text, "{name}=={version}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pins() -> impl Strategy<Value = Pins> {
        proptest::collection::btree_map("[a-e]", "[1-3]", 0..5)
    }

    proptest! {
        #[test]
        fn merging_the_difference_gives_the_other_lock(from in pins(), to in pins()) {
            let mut merged = from.clone();
            merge(&mut merged, difference(&from, &to));
            prop_assert_eq!(merged, to);
        }

        #[test]
        fn a_lock_file_reads_back_as_it_was_written(era in pins(), first in pins(), second in pins(), third in pins()) {
            let version = |text: &str| text.parse::<Version>().unwrap();
            let releases = [("1.9.0", first), ("1.10.0rc1", second), ("1.10.0", third)];
            let locks = Locks {
                era: Era { day: "2022-01-01".to_owned(), pins: era },
                releases: releases.into_iter().map(|(text, pins)| (version(text), pins)).collect(),
            };
            prop_assert_eq!(Locks::parse(&locks.render()).unwrap(), locks);
        }
    }

    #[test]
    fn a_lock_is_written_as_what_changed() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let pin =
            |pins: &[(&str, &str)]| pins.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Pins>();
        let locks = Locks {
            era: Era { day: "2022-02-22".to_owned(), pins: pin(&[("attrs", "21.4.0")]) },
            releases: BTreeMap::from([
                (version("1.52.0"), pin(&[("attrs", "21.4.0"), ("six", "1.16.0")])),
                (version("1.53.0"), pin(&[("attrs", "21.4.0"), ("jinja2", "3.0.3")])),
            ]),
        };
        insta::assert_snapshot!(locks.render(), @r#"
        # Written by `images lock`. Each release: what changed since the release before it; "" is a pin dropped.

        [era]
        day = "2022-02-22"

        [era.pins]
        attrs = "21.4.0"

        [changes."1.52.0"]
        attrs = "21.4.0"
        six = "1.16.0"

        [changes."1.53.0"]
        jinja2 = "3.0.3"
        six = ""
        "#);
    }

    #[test]
    fn the_era_is_what_enough_locks_share() {
        let lock =
            |pins: &[(&str, &str)]| pins.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Pins>();
        let mut locks = vec![lock(&[("a", "2")]); 40];
        locks[0] = lock(&[("a", "1"), ("rare", "1")]);
        locks[1] = lock(&[("a", "2"), ("b", "1")]);
        locks[2] = lock(&[("a", "2"), ("b", "1")]);
        assert_eq!(common(&locks), lock(&[("a", "2"), ("b", "1")]));
    }
}
