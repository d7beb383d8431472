//! A qualification: what a candidate has to stand up to before it is released, as trials like all others.
//!
//! Each trial is in an area: notes that are in force, survival into the candidate, back out of it, samples of what else
//! operators do, and whatever [`Qualification::questions`] asks.

use std::collections::BTreeSet;

use images::{Release, ReleaseTable, Version};

use crate::{
    Database, Scenario,
    path::{Archetype, Ending, Extent, Leg, Moment, Path, random},
    plan::refusal::{self, Refusal},
    scenario::{self, Step, Variant, action::Action},
};

/// What is told of releases that the table does not know, and of who runs which.
#[derive(Clone, Debug)]
pub struct Qualification {
    /// What distributions ship today.
    pub shipped: Vec<Shipped>,
    /// Does the table of a note, by its trial's name, hold to this day, and has it been seen to? The others are walked when
    /// they are asked for.
    pub holds: fn(&str) -> bool,
    /// Old configurations that newer releases refuse.
    pub refusals: Vec<Refusal>,
    /// Further scenarios, from the predecessor to the candidate, each with the name of its area.
    pub questions: fn(against: &str, candidate: &str) -> Vec<(&'static str, Scenario)>,
    /// What a candidate's `docs/upgrade.md` announces since the release that it is held against, and what it says that the
    /// ledger does not know.
    pub announced: fn(document: &str, against: &Version) -> Vec<reports::Announced>,
}

/// A release that a distribution ships.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Who ships it.
    pub by: String,
    /// The release.
    pub release: Version,
}

/// What is to be released, and what it is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The number that it has.
    pub(crate) version: Version,
    /// Its predecessor.
    pub(crate) against: Version,
}

/// How many minors before the candidate people are expected to come from.
const MINORS: usize = 6;
/// How far people come at once, when they come late: so many schemas, none older than this, the first that says which releases
/// may open its database.
const FAR: usize = 3;
const OLDEST_SCHEMA: u32 = 59;
/// The seeds of its random plans.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// Everything that a candidate is held to, in the order of the areas.
pub(crate) fn scenarios(
    candidate: &Candidate,
    table: &ReleaseTable,
    notes: &[Scenario],
    given: &Qualification,
) -> Vec<Scenario> {
    let questions = (given.questions)(&candidate.against.to_string(), &candidate.version.to_string());
    // What older releases left on PostgreSQL is not what they left on SQLite, so a note holds on each by itself.
    let on_each = notes.iter().flat_map(|note| {
        let both = note.clone().on_both();
        note.databases.iter().map(move |&database| both.on(database).only_on(database))
    });
    let in_force = on_each.filter_map(|note| {
        let held = in_force(&note, &candidate.version, &given.refusals)?;
        let name = format!("{}::{}", note.path(), note.databases[0].key());
        Some(if (given.holds)(&name) { held } else { held.ignored() })
    });
    let paths = Paths { candidate, table, minors: minors(table, &candidate.version) };
    let mut known = BTreeSet::new();
    in_force
        .chain(paths.survival(&given.shipped))
        .chain(paths.back())
        .chain(paths.samples())
        .chain(questions.into_iter().map(|(area, question)| question.within(area)))
        .filter(|scenario| known.insert((scenario.path(), scenario.databases.clone())))
        .collect()
}

/// A note's scenario, held to on the candidate: its first leg is as it was, and where the note's own release or a later one
/// would run, the candidate does, with the same steps before it, and what it refuses of the old configuration is repaired. A way
/// back ends it: where that leads is the business of another area.
///
/// Nothing for a note that the candidate does not have yet, and for one about the platform of a certain release.
fn in_force(note: &Scenario, candidate: &Version, refusals: &[Refusal]) -> Option<Scenario> {
    if note.is_survival || note.line.is_some() || note.release > candidate.target() {
        return None;
    }
    let mut held = note.clone();
    let running = usize::from(held.variants.len() > 1);
    for variant in &mut held.variants[running..] {
        if variant.legs.first()?.release >= *candidate || is_of_a_platform(variant) {
            return None;
        }
        let had_more = variant.facts.iter().any(|fact| !fact.probe.is_start());
        hold(variant, &note.release, candidate);
        drop_silent(variant);
        // That it starts is not what a note is about, unless nothing else ever was.
        if variant.facts.iter().all(|fact| fact.probe.is_start()) && had_more {
            return None;
        }
        refusal::meet(variant, candidate, note.databases[0], refusals);
    }
    held.disagreements.clear();
    let module = format!("v{}", note.release.to_string().replace('.', "_"));
    let reason = "the note is in force on the candidate";
    let held = if held.invariant.is_none() { held.invariant(reason) } else { held };
    Some(held.within(&format!("notes::{module}")))
}

/// Moves a variant's path onto the candidate.
fn hold(variant: &mut Variant, note: &Version, candidate: &Version) {
    let mut legs: Vec<scenario::Leg> = Vec::new();
    // Which leg each has become.
    let mut places = Vec::new();
    for leg in variant.legs.drain(..) {
        let reached = legs.last().is_some_and(|last| last.release == *candidate);
        let is_old = leg.release.target() < *note || legs.is_empty();
        if is_old && reached {
            break;
        }
        if is_old {
            places.push(legs.len());
            legs.push(leg);
            continue;
        }
        let is_plain = leg.before.is_empty() && leg.title.is_none() && leg.now.is_empty() && !leg.ported;
        if !(reached && is_plain) {
            legs.push(scenario::Leg { release: candidate.clone(), ..leg });
        }
        places.push(legs.len() - 1);
    }
    if legs.last().is_none_or(|last| last.release != *candidate) {
        legs.push(scenario::Leg::on(candidate.clone()));
    }
    // What a step shows is said for its own hop.
    for leg in &mut legs {
        let release = leg.release.target();
        let later = leg.now_since.iter().filter(|(since, ..)| *since <= release);
        leg.now.extend(later.map(|(_, fact, value)| (fact.clone(), value.clone())));
    }
    variant.legs = legs;
    for answers in variant.health.values_mut() {
        answers.retain_mut(|(leg, _)| match leg {
            None => true,
            Some(leg) => places.get(*leg).map(|place| *leg = *place).is_some(),
        });
    }
}

/// Leaves out facts whose table says nothing of a release on the path: what they were about is over.
fn drop_silent(variant: &mut Variant) {
    let Variant { facts, legs, .. } = variant;
    facts.retain(|fact| {
        let says = |leg: &scenario::Leg| leg.now.contains_key(&fact.name) || fact.expected(&leg.release).is_some();
        fact.probe.is_step() || legs.iter().all(says)
    });
    for leg in legs {
        leg.now.retain(|name, _| facts.iter().any(|fact| fact.name == *name));
    }
}

/// Does it run on a platform, or with packages, of a certain release's time?
fn is_of_a_platform(variant: &Variant) -> bool {
    let deployment = &variant.deployment;
    let steps = variant.legs.iter().flat_map(|leg| &leg.before);
    let moves = |step: &Step| matches!(step, Step::Action(Action::Suite(_) | Action::Packages(_)));
    deployment.suite.is_some() || !deployment.packages.is_empty() || steps.into_iter().any(moves)
}

/// The last patches of the minors before a candidate, oldest first; its own minor's patches are among them.
fn minors<'a>(table: &'a ReleaseTable, candidate: &Version) -> Vec<&'a Release> {
    let minor = |release: &Release| release.version.to_string().split('.').take(2).collect::<Vec<_>>().join(".");
    let mut minors: Vec<&Release> = Vec::new();
    for release in stable(table, candidate) {
        match minors.last_mut() {
            Some(last) if minor(last) == minor(release) => *last = release,
            _ => minors.push(release),
        }
    }
    minors.split_off(minors.len().saturating_sub(MINORS))
}

/// The releases before a candidate, oldest first.
fn stable<'a>(table: &'a ReleaseTable, candidate: &Version) -> impl DoubleEndedIterator<Item = &'a Release> {
    let candidate = candidate.clone();
    table.iter().filter(move |it| !it.yanked && !it.version.is_candidate() && it.version < candidate)
}

/// The newest of these releases, oldest first, of each schema.
fn last_of_each_schema<'a>(releases: impl Iterator<Item = &'a Release>) -> Vec<&'a Release> {
    let mut last: Vec<&Release> = Vec::new();
    for release in releases {
        match last.last_mut() {
            Some(same) if same.schema_version == release.schema_version => *same = release,
            _ => last.push(release),
        }
    }
    last
}

/// What makes paths to and from a candidate.
struct Paths<'a> {
    candidate: &'a Candidate,
    table: &'a ReleaseTable,
    minors: Vec<&'a Release>,
}

impl Paths<'_> {
    /// From where people come: the last minors, the last release of each schema that the candidate lets be rolled back to, and
    /// what distributions ship.
    fn survival(&self, shipped: &[Shipped]) -> Vec<Scenario> {
        let candidate = &self.candidate.version;
        let minors = self.minors.iter().map(|it| (it.version.clone(), "one of the last minors".to_owned()));
        let schemas = self.last_of_each_schema().into_iter().map(|it| {
            (it.version.clone(), format!("the last release with schema {}", it.schema_version.unwrap_or_default()))
        });
        let shipped = shipped
            .iter()
            .filter(|it| it.release < *candidate && self.table.get(&it.release).is_some())
            .map(|it| (it.release.clone(), format!("{} ships it", it.by)));
        let far = self.far_below().into_iter().map(|it| (it.version.clone(), "operators come late".to_owned()));
        let into = |from: Version| vec![Leg::on(from), Leg::on(candidate.clone())];
        let near = minors
            .chain(schemas)
            .chain(shipped)
            .flat_map(|(from, why)| self.both("survival", &into(from)).map(|it| it.because(&why)));
        // What was made by releases of then, and no more: whoever skips years has been told to take steps.
        let far = far
            .flat_map(|(from, why)| self.both_with(Extent::Small, "survival", &into(from)).map(|it| it.because(&why)));
        near.chain(far).collect()
    }

    /// The last releases of some schemas that are older than any that the candidate may be gone back to.
    fn far_below(&self) -> Vec<&Release> {
        let Some(oldest) = self.table.get(&self.candidate.version).and_then(|it| it.compat_version) else {
            return Vec::new();
        };
        let older = stable(self.table, &self.candidate.version)
            .filter(|it| it.schema_version.is_some_and(|schema| (OLDEST_SCHEMA..oldest).contains(&schema)));
        let last = last_of_each_schema(older);
        let apart = last.len().div_ceil(FAR).max(1);
        last.into_iter().rev().step_by(apart).collect()
    }

    /// Back to a sample of what it may be rolled back to, with writes on each leg, and up again; and to what must refuse.
    fn back(&self) -> Vec<Scenario> {
        let on = |release: &Version| Leg::on(release.clone());
        let (candidate, against) = (&self.candidate.version, &self.candidate.against);
        let mut scenarios = Vec::new();
        let Some(oldest) = self.table.get(candidate).and_then(|it| it.compat_version.or(it.schema_version)) else {
            return scenarios;
        };
        let (refusing, admitted): (Vec<&Release>, Vec<&Release>) = stable(self.table, candidate)
            .filter(|it| it.schema_version.is_some())
            .partition(|it| it.schema_version < Some(oldest));
        if admitted.iter().any(|it| it.version == *against) {
            let sawtooth = [on(against), on(candidate), on(against), on(candidate)];
            scenarios.extend(self.both("back", &sawtooth).map(|it| it.because("its predecessor is the way back")));
        }
        let sample = [admitted.first(), admitted.get(admitted.len() / 2), admitted.last()];
        let mut sample: Vec<&Version> = sample.into_iter().flatten().map(|it| &it.version).collect();
        sample.dedup();
        let is_far = |older: &Version| sample.len() > 2 && older == sample[0];
        for older in &sample {
            let legs = [on(candidate), on(older), on(candidate)];
            let trials = self.both("back", &legs).map(|it| it.because("its schema admits this release"));
            // As far as the schema goes nobody goes back, and no release of today can: 1.100.0 deletes no room to which newer
            // tables refer, and its streams on SQLite are not taken up again. Known of 1.163.2, so no candidate is blamed.
            scenarios.extend(trials.map(|it| if is_far(older) { it.ignored() } else { it }));
        }
        if let Some(refusing) = refusing.last() {
            let legs = [on(candidate), on(&refusing.version), on(candidate)];
            scenarios.extend(self.both("back", &legs).map(|it| it.because("its schema does not admit this release")));
        }
        scenarios
    }

    /// What else operators do, and what happens to them.
    fn samples(&self) -> Vec<Scenario> {
        let (candidate, against) = (&self.candidate.version, &self.candidate.against);
        let leg = |release: &Version, ending: Ending| Leg { ending, ..Leg::on(release.clone()) };
        let plain = |release: &Version| Leg::on(release.clone());
        let beside = |release: &Version| Leg { workers: Some(release.clone()), ..plain(candidate) };
        let while_it_starts = Ending::KilledAt(Moment { event: None, after: std::time::Duration::from_millis(2500) });
        let mut samples: Vec<(&str, Vec<Leg>)> = vec![
            ("undrained", vec![leg(against, Ending::Undrained { batches: 0 }), plain(candidate)]),
            ("killed", vec![leg(against, Ending::Killed), leg(candidate, Ending::Killed), plain(candidate)]),
            ("killed_at_its_start", vec![plain(against), leg(candidate, while_it_starts), plain(candidate)]),
        ];
        let last: Vec<Leg> = self.minors.iter().map(|it| plain(&it.version)).chain([plain(candidate)]).collect();
        if last.len() > 2 {
            samples.push(("end_of_a_long_walk", last));
        }
        let mut scenarios: Vec<Scenario> =
            samples.iter().flat_map(|(name, legs)| self.both("samples", legs).map(|it| it.called(name))).collect();
        let mixed = vec![plain(against), beside(against), beside(candidate)];
        let hop = || vec![plain(against), plain(candidate)];
        for (name, config, estate, legs) in [
            ("workers", Some(Archetype::Workers), Extent::Whole, hop()),
            ("workers_with_roles", Some(Archetype::Roles), Extent::Small, hop()),
            ("federated", Some(Archetype::Federated), Extent::Small, hop()),
            ("mixed_workers", None, Extent::Whole, mixed),
        ] {
            let path = Path { config, estate, legs, ..Path::over(Database::Postgres, &[]) };
            scenarios.push(self.along("samples", &path).called(name));
        }
        // By the candidate's own tool: another's fault is not its.
        let moved = Leg { ported: true, ..plain(candidate) };
        let legs = vec![plain(against), plain(candidate), moved];
        let path = Path { legs, ..Path::over(Database::Sqlite, &[]) };
        scenarios.push(self.along("samples", &path).called("moved_to_postgresql"));
        // Elsewhere a walk sets out from what its first release has made and drained.
        scenarios
            .extend(self.both("samples", &[plain(candidate)]).map(|it| it.called("new_deployment").from_scratch()));
        scenarios.extend(self.random());
        scenarios
    }

    /// Paths that chance makes among the last minors, and on to the candidate.
    fn random(&self) -> Vec<Scenario> {
        let (Some(first), true) = (self.minors.first(), self.minors.len() > 1) else { return Vec::new() };
        let recent = self.table.between(&first.version, &self.candidate.version);
        SEEDS
            .map(|seed| {
                let mut path = Path { seed: None, ..random(seed, &recent) };
                path.legs.push(Leg::on(self.candidate.version.clone()));
                self.along("samples", &path).called(&format!("random_{seed}"))
            })
            .collect()
    }

    /// The newest release of each schema that may be gone back to.
    fn last_of_each_schema(&self) -> Vec<&Release> {
        let candidate = &self.candidate.version;
        let Some(oldest) = self.table.get(candidate).and_then(|it| it.compat_version) else { return Vec::new() };
        last_of_each_schema(stable(self.table, candidate).filter(|it| it.schema_version >= Some(oldest)))
    }

    fn both(&self, area: &str, legs: &[Leg]) -> [Scenario; 2] {
        self.both_with(Extent::Whole, area, legs)
    }

    fn both_with(&self, estate: Extent, area: &str, legs: &[Leg]) -> [Scenario; 2] {
        Database::ALL
            .map(|database| self.along(area, &Path { legs: legs.to_vec(), estate, ..Path::over(database, &[]) }))
    }

    fn along(&self, area: &str, path: &Path) -> Scenario {
        Scenario::along_by(path, Some(self.table)).within(area)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{plan, prelude::*};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn notes() -> Vec<Scenario> {
        let note = |release: &str, name: &str| Scenario::for_note("A heading").named(release, name);
        vec![
            Scenario::for_note("A heading")
                .hop("1.52.0", "1.53.0")
                .then("1.54.0")
                .fact("a", get("/"))
                .changes(1, 2)
                .step("a repair", |it| {
                    it.reconfigure(json!({ "x": 1 }))
                        .now("a", 3)
                        .now_since("1.160.0", "a", 4)
                        .now_since("1.163.0", "a", 5)
                })
                .health("errors logged", anything())
                .then("1.52.0")
                .named("1.53.0", "changes"),
            note("1.163.0", "not_yet").hop("1.162.0", "1.163.0").invariant("it must stay"),
            note("1.100.0", "unseen").hop("1.99.0", "1.100.0").invariant("it must stay"),
        ]
    }

    fn qualified(candidate: &str, against: &str) -> Vec<Scenario> {
        let candidate = Candidate { version: version(candidate), against: version(against) };
        let given = Qualification {
            shipped: vec![Shipped { by: "a distribution".to_owned(), release: version("1.103.0") }],
            holds: |name| !name.contains("unseen"),
            refusals: Vec::new(),
            questions: |against, candidate| {
                let question =
                    Scenario::for_note("What changed").on_both().hop(against, candidate).invariant("it is listed");
                vec![("changes", question.named(candidate, "answers"))]
            },
            announced: |_, _| Vec::new(),
        };
        scenarios(&candidate, &ReleaseTable::load().unwrap(), &notes(), &given)
    }

    #[test]
    fn what_a_candidate_is_held_to() {
        let trials = plan::trials(&qualified("1.162.0", "1.161.0"));
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for trial in trials {
            let legs: Vec<String> = trial.variant(0).legs.iter().map(scenario::Leg::head).collect();
            let mark = if trial.is_ignored() { " (when asked for)" } else { "" };
            lines.insert(trial.name, format!("{}{mark}", legs.join(" > ")));
        }
        let lines: Vec<String> = lines.into_iter().map(|(name, legs)| format!("{name}: {legs}")).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn everything_can_run() {
        for (candidate, against) in [("1.162.0", "1.161.0"), ("1.163.0rc1", "1.162.0")] {
            for scenario in qualified(candidate, against) {
                assert_eq!(scenario.problems(), Vec::<String>::new(), "{}", scenario.path());
            }
        }
    }

    #[test]
    fn a_note_is_held_to_on_the_candidate_with_its_repairs() {
        let held = in_force(&notes()[0], &version("1.162.0"), &[]).unwrap();
        let variant = &held.running()[0];
        let fact = variant.facts.iter().find(|fact| fact.name == "a").unwrap();
        let shown: Vec<String> = variant
            .legs
            .iter()
            .map(|leg| format!("{} {:?}", leg.head(), scenario::expected(fact, leg, Database::Sqlite)))
            .collect();
        assert_eq!(shown, ["1.52.0 Some(Number(1))", "1.162.0 Some(Number(2))", "1.162.0, a repair Some(Number(4))"]);
        assert_eq!(variant.health["errors logged"], [(Some(2), anything())]);
        assert!(in_force(&notes()[1], &version("1.162.0"), &[]).is_none());
        assert!(in_force(&notes()[1], &version("1.163.0rc1"), &[]).is_some());
    }

    #[test]
    fn a_release_that_must_refuse_is_expected_to() {
        let refused: Vec<String> =
            qualified("1.162.0", "1.161.0").iter().filter(|it| it.is_refused()).map(Scenario::path).collect();
        assert!(refused.len() == 2 && refused.iter().all(|name| name.starts_with("qualify::back::")), "{refused:?}");
    }
}
