//! Sources of paths: families that are made of the release table, and jumps that people have made. They are expensive, so all
//! but a sample is ignored until it is asked for: `-- --ignored skip`.

use std::sync::LazyLock;

use harness::{Path, Scenario, Version};
use images::{Release, ReleaseTable};
use serde::Deserialize;

/// Jumps over releases, with their reasons, and the paths that are walked without being asked for.
static TABLE: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(include_str!("paths.toml")).unwrap_or_else(|error| panic!("{error}")));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    sample: Vec<String>,
    jump: Vec<Jump>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jump {
    legs: String,
    why: String,
    #[serde(default)]
    #[expect(dead_code, reason = "for the reader of the file")]
    source: Option<String>,
}

/// All families, one after the other.
///
/// # Panics
///
/// Panics on a malformed table or line; a unit test meets that first.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let table = ReleaseTable::load().unwrap_or_else(|error| panic!("{error}"));
    let minors = minors(&table);
    [
        skips(&minors),
        sawtooth(&minors),
        rollbacks(&table),
        undrained(&minors),
        killed(&minors),
        ported(&minors),
        mixed(&minors),
        long_walk(&minors),
        every_hop(&table),
        sample(),
    ]
    .concat()
}

/// The last patch of every minor since 1.0, oldest first.
fn minors(table: &ReleaseTable) -> Vec<&Release> {
    let first: Version = version("1.0.0");
    let mut minors: Vec<&Release> = Vec::new();
    for release in table.iter().filter(|it| !it.yanked && !it.version.is_candidate() && it.version >= first) {
        match minors.last_mut() {
            Some(last) if minor(last) == minor(release) => *last = release,
            _ => minors.push(release),
        }
    }
    minors
}

/// `1.53` of `1.53.1`.
fn minor(release: &Release) -> String {
    release.version.to_string().split('.').take(2).collect::<Vec<_>>().join(".")
}

fn version(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The line's scenario on each database, under the family's name.
fn both(family: &str, legs: &str) -> Vec<Scenario> {
    ["sqlite", "postgres"].map(|database| one(family, database, legs)).to_vec()
}

fn one(family: &str, head: &str, legs: &str) -> Scenario {
    member(family, &format!("{head}: {legs}")).ignored()
}

fn member(family: &str, line: &str) -> Scenario {
    let path: Path = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
    Scenario::along(&path).of_family(family)
}

/// What is walked without being asked for.
fn sample() -> Vec<Scenario> {
    TABLE.sample.iter().map(|line| member("sample", line)).collect()
}

fn chain(releases: &[&Release]) -> String {
    releases.iter().map(|release| release.version.to_string()).collect::<Vec<_>>().join(" > ")
}

/// From each minor over one, two and five others, and the jumps that people have made.
fn skips(minors: &[&Release]) -> Vec<Scenario> {
    let known = TABLE.jump.iter().flat_map(|jump| both("skip", &jump.legs).into_iter().map(|it| it.because(&jump.why)));
    let regular = minors.iter().enumerate().flat_map(|(from, release)| {
        [2, 3, 6]
            .into_iter()
            .filter_map(move |over| minors.get(from + over))
            .flat_map(move |to| both("skip", &chain(&[release, to])))
    });
    known.chain(regular).collect()
}

/// Up, down and up again, from each minor since releases record what they may be rolled back to, and from older ones that
/// share their schema.
fn sawtooth(minors: &[&Release]) -> Vec<Scenario> {
    let recorded = version("1.37.0");
    let pairs = minors.windows(2).filter(|pair| {
        let same = pair[0].schema_version == pair[1].schema_version;
        let allowed = pair[1].compat_version.is_some() && pair[1].compat_version <= pair[0].schema_version;
        same || pair[0].version >= recorded && allowed
    });
    pairs.flat_map(|pair| both("sawtooth", &chain(&[pair[0], pair[1], pair[0], pair[1]]))).collect()
}

/// Upstream's table of rollbacks, by its own rule: releases in a row that name the same oldest release. From a row's first and
/// last release to that one, and up again; and every release to its neighbour.
fn rollbacks(table: &ReleaseTable) -> Vec<Scenario> {
    let stable: Vec<&Release> =
        table.iter().filter(|it| !it.yanked && !it.version.is_candidate() && it.version >= version("1.0.0")).collect();
    let rows = stable.chunk_by(|a, b| a.rolls_back_to == b.rolls_back_to);
    rows.flat_map(|row| {
        let (first, last) = (row[0], row[row.len() - 1]);
        let named = first.rolls_back_to.as_ref().unwrap_or(&first.version);
        // 1.96.0 is named, and never was: 1.96.1 is its first.
        let oldest = stable.iter().map(|it| &it.version).find(|it| *it >= named).unwrap_or(named);
        let mut lines: Vec<String> = [first, last]
            .into_iter()
            .filter(|release| release.version != *oldest)
            .map(|release| format!("{} > {oldest} > {0}", release.version))
            .collect();
        lines.dedup();
        lines.into_iter().flat_map(|line| both("rollback", &line)).map(move |scenario| {
            if !scenario.is_refused() {
                return scenario;
            }
            let says = format!("by its table of rollbacks {} may be rolled back to {oldest}", scenario.release());
            scenario.disagreement(&says, "releases before 1.37.0 do not know what newer ones record, and refuse")
        })
    })
    .collect()
}

/// Each minor's updates left undone, or in the middle, and the next meets what is left.
fn undrained(minors: &[&Release]) -> Vec<Scenario> {
    minors
        .windows(2)
        .flat_map(|pair| {
            let (old, new) = (&pair[0].version, &pair[1].version);
            let none = both("undrained", &format!("{old} undrained > {new}"));
            let some = both("undrained", &format!("{old} undrained(batches=3) > {new} undrained > {new}"));
            none.into_iter().chain(some)
        })
        .collect()
}

/// Killed without a clean stop after users have written, and killed a while after each start, on every hop.
fn killed(minors: &[&Release]) -> Vec<Scenario> {
    minors
        .windows(2)
        .flat_map(|pair| {
            let (old, new) = (&pair[0].version, &pair[1].version);
            let stop = both("killed", &format!("{old} kill > {new} kill > {new}"));
            let start = both("killed", &format!("{old} > {new} kill(ms=2500) > {new}"));
            stop.into_iter().chain(start)
        })
        .collect()
}

/// Moved to PostgreSQL, and on to the next release.
fn ported(minors: &[&Release]) -> Vec<Scenario> {
    minors
        .windows(2)
        .map(|pair| {
            let (old, new) = (&pair[0].version, &pair[1].version);
            one("ported", "sqlite", &format!("{old} > port {old} > {new}"))
        })
        .collect()
}

/// A worker of the release before beside each main process since workers are started as they are today, and the reverse.
fn mixed(minors: &[&Release]) -> Vec<Scenario> {
    minors
        .windows(2)
        .filter(|pair| pair[0].version >= version("1.18.0"))
        .map(|pair| {
            let (old, new) = (&pair[0].version, &pair[1].version);
            one("mixed", "postgres", &format!("{old} > {new} workers={old} > {new} workers={new}"))
        })
        .collect()
}

/// One estate through the last patch of every minor, and of every tenth.
fn long_walk(minors: &[&Release]) -> Vec<Scenario> {
    let tens: Vec<&Release> = minors.iter().enumerate().filter(|(at, _)| at % 10 == 0).map(|(_, it)| *it).collect();
    let whole = both("long_walk", &chain(minors)).into_iter().map(|it| it.called("long_walk::every_minor"));
    let tens = both("long_walk", &chain(&tens)).into_iter().map(|it| it.called("long_walk::every_tenth_minor"));
    whole.chain(tens).collect()
}

/// Every release after its neighbour, ten legs at a time; each chain begins where the one before ends.
fn every_hop(table: &ReleaseTable) -> Vec<Scenario> {
    let stable: Vec<&Release> =
        table.iter().filter(|it| !it.yanked && !it.version.is_candidate() && it.version >= version("1.0.0")).collect();
    (0..stable.len().saturating_sub(1))
        .step_by(9)
        .flat_map(|from| {
            let legs = &stable[from..(from + 10).min(stable.len())];
            let (first, last) = (&legs[0].version, &legs[legs.len() - 1].version);
            let name = format!("every_hop::{first}..{last}");
            both("every_hop", &chain(legs)).into_iter().map(move |it| it.called(&name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn families_are_as_large_as_they_are_said_to_be() {
        let mut sizes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for scenario in scenarios() {
            let family = scenario.path().split("::").nth(1).unwrap_or_default().to_owned();
            let size = sizes.entry(family).or_default();
            size.0 += usize::from(!scenario.is_ignored());
            size.1 += 1;
        }
        let lines: Vec<_> = sizes.iter().map(|(family, (usual, all))| format!("{family}: {usual} of {all}")).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_sample_is_of_paths_that_there_are() {
        let all = scenarios();
        assert_eq!(all.iter().filter(|scenario| !scenario.is_ignored()).count(), TABLE.sample.len());
        let name = |scenario: &Scenario| scenario.path().split("::").skip(2).collect::<Vec<_>>().join("::");
        let families: Vec<String> = all.iter().filter(|scenario| scenario.is_ignored()).map(name).collect();
        for line in &TABLE.sample {
            assert!(families.contains(&name(&member("sample", &line.replace(" estate=small", "")))), "{line}");
        }
    }

    #[test]
    fn the_table_of_rollbacks_has_upstreams_rows() {
        let table = ReleaseTable::load().unwrap();
        let lines: Vec<_> = rollbacks(&table).iter().map(Scenario::path).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
