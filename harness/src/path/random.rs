//! Paths that chance makes, and how a path is made shorter.

use images::{Release, ReleaseTable};

use super::{Archetype, Ending, Extent, Leg, Moment, Outlook, Path};
use crate::{Database, scenario::probe};

/// The last patch of each minor since releases record what they may be rolled back to, oldest first.
fn minors(table: &ReleaseTable) -> Vec<&Release> {
    let mut minors: Vec<&Release> = Vec::new();
    let minor =
        |release: &Release| release.version.to_string().split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    for release in table.iter().filter(|it| !it.yanked && !it.version.is_candidate() && it.compat_version.is_some()) {
        match minors.last_mut() {
            Some(last) if minor(last) == minor(release) => *last = release,
            _ => minors.push(release),
        }
    }
    minors
}

/// The path of a seed: releases up and, where the schema's numbers allow it, down; endings, workers and configuration.
pub(crate) fn random(seed: u64, table: &ReleaseTable) -> Path {
    let minors = minors(table);
    let mut chance = fastrand::Rng::with_seed(seed);
    let database = if chance.bool() { Database::Sqlite } else { Database::Postgres };
    let mut path = Path { seed: Some(seed), ..Path::over(database, &[]) };
    if chance.u8(..3) == 0 {
        path.config = chance.choice(Archetype::ALL);
    }
    if path.has_workers() {
        path.database = Database::Postgres;
    }
    let mut at = chance.usize(..minors.len() - 1);
    let mut data = Outlook::default();
    for number in 0..chance.usize(3..=5) {
        let mut leg = Leg::on(minors[at].version.clone());
        data = data.met(minors[at]);
        leg.ending = match chance.u8(..10) {
            0..5 => Ending::Stopped,
            5 => Ending::Undrained { batches: 0 },
            6 => Ending::Undrained { batches: chance.u32(1..4) },
            7 | 8 => Ending::Killed,
            // Somebody must have written something before.
            _ if number > 0 => {
                Ending::KilledAt(Moment { event: None, after: std::time::Duration::from_millis(chance.u64(500..6000)) })
            }
            _ => Ending::Stopped,
        };
        leg.ported = number > 0 && path.database == Database::Sqlite && !path.is_ported() && chance.u8(..8) == 0 && {
            // The tool wants data that are drained, and of its own release.
            path.legs.last().is_some_and(|last: &Leg| last.release == leg.release && last.ending == Ending::Stopped)
        };
        // An older release does not know the updates that a newer one has left.
        let is_drained = matches!(leg.ending, Ending::Stopped | Ending::Killed);
        path.legs.push(leg);
        let down = at
            .checked_sub(1)
            .filter(|&older| is_drained && data.expects(minors[older], None) == Some(probe::started()));
        at = match (chance.u8(..10), down) {
            (0..3, Some(older)) => older,
            (3, _) => at,
            _ => (at + chance.usize(1..=3)).min(minors.len() - 1),
        };
    }
    // The last leg is looked at, and done with.
    if let Some(last) = path.legs.last_mut() {
        last.ending = Ending::Stopped;
    }
    path
}

/// Paths that differ from this one by one thing less, the boldest first. What is red on one of them is red for less.
pub(crate) fn shorter(path: &Path) -> Vec<Path> {
    let mut shorter = Vec::new();
    let mut less = |edit: &dyn Fn(&mut Path)| {
        let mut candidate = path.clone();
        edit(&mut candidate);
        if candidate != *path {
            shorter.push(candidate);
        }
    };
    if path.legs.len() > 1 {
        for at in 0..path.legs.len() {
            less(&|path| {
                path.legs.remove(at);
                path.legs[0].ported = false;
            });
        }
    }
    for at in 0..path.legs.len() {
        less(&|path| path.legs[at].ending = Ending::Stopped);
        less(&|path| path.legs[at].workers = None);
        less(&|path| path.legs[at].ported = false);
    }
    if path.estate == Extent::Whole {
        less(&|path| path.estate = Extent::Small);
    }
    less(&|path| path.config = None);
    less(&|path| path.suite = None);
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_path_each_time_and_no_release_is_expected_to_refuse() {
        let table = ReleaseTable::load().unwrap();
        for seed in 0..200 {
            let path = random(seed, &table);
            assert_eq!(path, random(seed, &table));
            assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
            assert!(!crate::Scenario::along(&path).is_refused(), "{path}");
        }
    }

    #[test]
    fn a_fault_is_shortened_to_what_it_needs() {
        let path: Path =
            "sqlite config=frugal: 1.50.0 > 1.51.0 kill > 1.52.0 undrained > 1.51.0 > 1.53.0".parse().unwrap();
        // Injected: whatever kills 1.51.0 and goes on to 1.53.0 is red.
        let is_red = |path: &Path| {
            let killed = path.legs.iter().position(|leg| leg.to_string() == "1.51.0 kill");
            killed.is_some_and(|at| path.legs[at..].iter().any(|leg| leg.release.to_string() == "1.53.0"))
        };
        let mut shortest = path;
        while let Some(less) = shorter(&shortest).into_iter().find(is_red) {
            shortest = less;
        }
        assert_eq!(shortest.to_string(), "sqlite estate=small: 1.51.0 kill > 1.53.0");
    }
}
