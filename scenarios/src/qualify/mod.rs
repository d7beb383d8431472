//! What a candidate is held to besides the notes' own tables: `--qualify`.

mod image;
mod session;

use std::{collections::BTreeSet, sync::LazyLock};

use harness::{Qualification, Refusal, Scenario, Shipped, Version};
use serde::Deserialize;

use crate::ledger::announced;

/// What distributions ship.
const DISTRIBUTIONS: &str = include_str!("distributions.toml");
/// What newer releases refuse of old configurations.
const REFUSED: &str = include_str!("refused.toml");
/// Names of notes' trials that were seen to hold on the newest release.
const HOLDS: &str = include_str!("holds.txt");

static HOLD: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| HOLDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Distributions {
    shipped: Vec<Distribution>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Distribution {
    by: String,
    release: Version,
    #[expect(dead_code, reason = "for the reader of the file")]
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    refusal: Vec<Refusal>,
}

/// What a candidate is held to.
///
/// # Panics
///
/// Panics on a malformed table; a unit test meets that first.
pub(crate) fn qualification() -> Qualification {
    let distributions: Distributions = toml::from_str(DISTRIBUTIONS).unwrap_or_else(|error| panic!("{error}"));
    let refused: Refused = toml::from_str(REFUSED).unwrap_or_else(|error| panic!("{error}"));
    let shipped = distributions.shipped.into_iter().map(|it| Shipped { by: it.by, release: it.release });
    Qualification {
        shipped: shipped.collect(),
        holds: |name| HOLD.contains(name),
        refusals: refused.refusal,
        questions,
        announced,
    }
}

/// What is asked of the predecessor and of the candidate, and compared.
fn questions(against: &str, candidate: &str) -> Vec<(&'static str, Scenario)> {
    vec![
        ("changes", session::answers(against, candidate)),
        ("changes", image::contract(against, candidate)),
        ("schema", image::deltas(against, candidate)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_the_name_of_a_trial() {
        let names: BTreeSet<String> =
            harness::trials(&crate::notes::all()).into_iter().map(|trial| trial.name).collect();
        let unknown: Vec<_> = HOLD.iter().filter(|name| !names.contains(**name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn a_document_announces_what_is_new_and_what_is_recent() {
        let document = "# Upgrading to v1.900.0\n\n## A note of then\n\nThe thing goes.\n\n### Its part\n\nSlowly.\n\n\
                        # Upgrading to v1.10.0\n\nThis text is not what it was.\n";
        let told = announced(document, &"1.163.2".parse().unwrap());
        let (gone, told): (Vec<_>, Vec<_>) = told.into_iter().partition(|it| it.is_gone);
        assert!(gone.len() > 100 && !gone.iter().any(|it| it.heading == "Upgrading to v1.10.0"), "{}", gone.len());
        let told: Vec<_> = told.iter().map(|it| (it.heading.as_str(), it.text.as_str(), it.is_known)).collect();
        let then = ("A note of then", "The thing goes.\n\nIts part\n\nSlowly.", false);
        assert_eq!(told, [then, ("Upgrading to v1.10.0", "This text is not what it was.", false)]);
    }

    #[test]
    fn what_distributions_ship_is_in_the_table() {
        let table = images::ReleaseTable::load().unwrap();
        for shipped in qualification().shipped {
            assert!(table.get(&shipped.release).is_some(), "{}", shipped.by);
        }
    }
}
