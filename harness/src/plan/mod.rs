//! The plan: which deployments walk which paths, and which trials ride along. Data, made and printed without Docker.

mod estimate;
pub(crate) mod qualify;
pub(crate) mod refusal;

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

pub(crate) use estimate::Estimate;
use images::{Companion, Patch, Version, Wanted};
use reports::WalkPlan;

use crate::{
    Database, Deployment, Scenario,
    estate::Size,
    path::Path,
    scenario::{self, Leg, Variant, mutant::Mutant},
    verdict,
};

/// Since then a database says which releases may open it.
pub(crate) const YOUNG: &str = "1.37.0";

/// A scenario on one database: the unit that has a name, is selected and gets a verdict.
#[derive(Clone, Debug)]
pub struct Trial {
    /// `v1_53_0::msc3283_capabilities::sqlite`.
    pub name: String,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) database: Database,
    /// What is wrong with the release that the note is of, where the trial is about that being noticed.
    pub(crate) mutant: Option<Arc<Mutant>>,
}

/// All trials, in the order of the releases.
pub fn trials(scenarios: &[Scenario]) -> Vec<Trial> {
    let mut trials: Vec<Trial> = scenarios
        .iter()
        .flat_map(|scenario| {
            scenario.databases.iter().map(move |&database| Trial {
                name: format!("{}::{}", scenario.path(), database.key()),
                scenario: Arc::new(scenario.on(database)),
                database,
                mutant: None,
            })
        })
        .collect();
    // Upstream's order within a release is kept.
    trials.sort_by(|a, b| a.scenario.release.cmp(&b.scenario.release));
    trials
}

/// The same trials; ignored, where the note is of a release that hardly anybody upgrades from.
pub(crate) fn without_old(mut trials: Vec<Trial>) -> Vec<Trial> {
    let young = scenario::version(YOUNG);
    for trial in trials.iter_mut().filter(|trial| trial.scenario.release < young) {
        Arc::make_mut(&mut trial.scenario).ignored = true;
    }
    trials
}

/// A trial for each mutant: its scenario's variants that have the fact which must notice, up to the mutant release.
///
/// # Errors
///
/// One sentence for each mutant of no scenario, variant or fact.
pub fn mutants(scenarios: &[Scenario], mutants: &[Mutant]) -> Result<Vec<Trial>, Vec<String>> {
    let (mut trials, mut problems) = (Vec::new(), Vec::new());
    for mutant in mutants {
        match mutant.of(scenarios) {
            Ok((scenario, database)) => trials.push(Trial {
                name: format!("{}::{}::{}", mutant.scenario, mutant.name, database.key()),
                scenario: Arc::new(scenario),
                database,
                mutant: Some(Arc::new(mutant.clone())),
            }),
            Err(problem) => problems.push(format!("the mutant {}::{}: {problem}", mutant.scenario, mutant.name)),
        }
    }
    if problems.is_empty() { Ok(trials) } else { Err(problems) }
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) trials: Vec<Trial>,
    pub(crate) walks: Vec<Walk>,
    /// The first walk's number, of a run that goes on from an earlier part of it.
    pub(crate) first: usize,
    pub(crate) control: bool,
    /// Walks follow each other instead of going side by side.
    pub(crate) one_at_a_time: bool,
    /// The run's options that change what a trial does, as they would be typed.
    pub(crate) options: Vec<String>,
    /// What it qualifies, if it does.
    pub(crate) qualification: Option<Box<reports::Qualifies>>,
}

/// One deployment on one path, with everyone who observes there.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) database: Database,
    /// As it starts out; steps change it on the way.
    pub(crate) deployment: Deployment,
    /// The longest rider's legs.
    pub(crate) legs: Vec<Leg>,
    pub(crate) riders: Vec<RiderPlan>,
    pub(crate) from_scratch: bool,
    pub(crate) estate: Option<Size>,
    pub(crate) control: bool,
    /// This release's code is patched.
    pub(crate) mutant: Option<(Version, Vec<Patch>)>,
    /// The line that it was made of, if it is about a path instead of a note.
    pub(crate) line: Option<Path>,
}

/// A variant of a trial that rides on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RiderPlan {
    /// Index into [`Plan::trials`].
    pub(crate) trial: usize,
    /// Index into the scenario's running variants.
    pub(crate) variant: usize,
}

/// One part of a run for CI: `1/4`. Hops are never split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let shard = Self { index: index.parse().ok()?, count: count.parse().ok()? };
            (1..=shard.count).contains(&shard.index).then_some(shard)
        };
        parse().ok_or_else(|| format!("`{text}` is not a shard (expected a form like `1/4`)"))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A hop named on the command line: `1.52.0..1.60.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The release that is left.
    pub(crate) from: Version,
    /// The release that is reached.
    pub(crate) to: Version,
}

impl std::str::FromStr for Hop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text
            .split_once("..")
            .ok_or_else(|| format!("`{text}` is not a hop (expected a form like `1.52.0..1.60.0`)"))?;
        let version = |text: &str| text.parse::<Version>().map_err(|error| error.to_string());
        Ok(Self { from: version(from)?, to: version(to)? })
    }
}

impl Hop {
    /// What it is short for: one path on each database.
    pub(crate) fn paths(&self) -> [Path; 2] {
        Database::ALL.map(|database| Path::over(database, &[self.from.clone(), self.to.clone()]))
    }
}

/// The options that change what a trial does, without those that say which paths are walked.
pub(crate) fn without_paths(options: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    let mut options = options.iter();
    while let Some(word) = options.next() {
        if ["--path", "--hop", "--random"].contains(&word.as_str()) {
            options.next();
        } else {
            words.push(word.clone());
        }
    }
    words
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> Cow<'_, str> {
    // Only a word with a NUL has no form, and no argument has one.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

impl Trial {
    pub(crate) fn variant(&self, index: usize) -> &Variant {
        &self.scenario.running()[index]
    }

    /// Is it run only when it is asked for?
    pub(crate) fn is_ignored(&self) -> bool {
        self.scenario.ignored
    }

    /// By one of its variants, where they differ in configuration.
    pub(crate) fn in_short(self) -> Self {
        Self { scenario: Arc::new(Arc::unwrap_or_clone(self.scenario).in_short(self.database)), ..self }
    }

    /// What decides the shard: the hop; without one, nobody shares with it.
    fn hop(&self) -> (Version, Version, String) {
        let legs = &self.scenario.running()[0].legs;
        let (from, to) = (legs[0].release.clone(), legs[legs.len().min(2) - 1].release.clone());
        let own = if from == to { self.name.clone() } else { String::new() };
        (from, to, own)
    }

    fn legs(&self) -> usize {
        self.scenario.running().iter().map(|variant| variant.legs.len()).sum()
    }
}

impl Shard {
    /// The trials of this shard: whole hops, spread so that the shards have about as many legs each.
    pub fn select(self, trials: Vec<Trial>) -> Vec<Trial> {
        let mut hops: BTreeMap<_, usize> = BTreeMap::new();
        for trial in &trials {
            *hops.entry(trial.hop()).or_default() += trial.legs();
        }
        let mut largest: Vec<_> = hops.into_iter().collect();
        largest.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut loads = vec![0; self.count];
        let mut mine = Vec::new();
        for (hop, legs) in largest {
            let lightest = (0..self.count).min_by_key(|&shard| loads[shard]).unwrap_or_default();
            loads[lightest] += legs;
            if lightest + 1 == self.index {
                mine.push(hop);
            }
        }
        trials.into_iter().filter(|trial| mine.contains(&trial.hop())).collect()
    }
}

impl Plan {
    /// Plans the trials: variants that can share a deployment do. Those that wait for long set out first; within a release
    /// those that are soon home do, so that there is something to read.
    pub fn new(trials: Vec<Trial>) -> Self {
        let mut walks: Vec<Walk> = Vec::new();
        for walk in Walk::of_each_variant(&trials) {
            match walks.iter_mut().find_map(|other| Some((other.joined(&walk, &trials)?, other))) {
                Some((joined, other)) => *other = joined,
                None => walks.push(walk),
            }
        }
        walks.sort_by_key(|walk| {
            let waits = |rider: &RiderPlan| trials[rider.trial].variant(rider.variant).waits.is_some();
            let legs = walk.riders.iter().map(|rider| trials[rider.trial].legs()).min();
            // What takes long sets out first, lest it walk alone in the end.
            let is_long = walk.riders.iter().any(waits) || walk.estate == Some(Size::Rich);
            (!is_long, trials[walk.riders[0].trial].scenario.release.clone(), legs)
        });
        Self { trials, walks, first: 0, control: false, one_at_a_time: false, options: Vec::new(), qualification: None }
    }

    /// The obvious procedure: every variant has deployments of its own, which begin with nothing, and walks when the one
    /// before has come home.
    pub fn one_at_a_time(trials: Vec<Trial>) -> Self {
        let walks = Walk::of_each_variant(&trials).map(|walk| Walk { from_scratch: true, ..walk }).collect();
        Self { trials, walks, first: 0, control: false, one_at_a_time: true, options: Vec::new(), qualification: None }
    }

    /// The same plan as a control: each path's first release goes on running under the later releases' version numbers.
    /// Every fact that changes must then notice; those of what must not change have nothing to show, and walk
    /// nowhere.
    #[must_use]
    pub fn as_control(mut self) -> Self {
        self.control = true;
        for walk in &mut self.walks {
            walk.control = true;
            walk.riders.retain(|rider| self.trials[rider.trial].scenario.invariant.is_none());
        }
        self.walks.retain(|walk| !walk.riders.is_empty());
        self
    }

    /// The same plan, as a later part of a run that has had so many walks.
    #[must_use]
    pub(crate) fn after(mut self, walks: usize) -> Self {
        self.first = walks;
        self
    }

    /// The same plan, run with these arguments.
    pub(crate) fn run_with(mut self, options: Vec<String>) -> Self {
        self.options = options;
        self
    }

    /// The same plan, as a part of all that a candidate is held to.
    pub(crate) fn qualifying(mut self, candidate: &qualify::Candidate, all: &[Trial]) -> Self {
        let ignored = all.iter().filter(|trial| trial.is_ignored()).count();
        let trials = all.len() - ignored;
        let (candidate, against) = (candidate.version.to_string(), candidate.against.to_string());
        let (notes, notes_unread) = (Vec::new(), None);
        let qualifies = reports::Qualifies { candidate, against, trials, ignored, notes, notes_unread };
        self.qualification = Some(Box::new(qualifies));
        self
    }

    /// How many legs of a variant's are over when the candidate runs for the first time; none where there is no candidate.
    pub(crate) fn legs_before_the_candidate(&self, trial: &Trial, variant: usize) -> usize {
        let Some(qualifies) = &self.qualification else { return 0 };
        let mut legs = trial.variant(variant).legs.iter();
        legs.position(|leg| leg.release.to_string() == qualifies.candidate).unwrap_or(0)
    }

    /// The command that runs one trial again as it ran here.
    pub(crate) fn rerun(&self, trial: &Trial) -> String {
        // A qualification's paths are its own business: their names say which.
        let Some(line) = trial.scenario.line.as_ref().filter(|_| trial.scenario.area.is_none()) else {
            let asked = trial.is_ignored().then_some("--include-ignored");
            let words = self.options.iter().map(String::as_str).chain(asked).chain(["--exact", &trial.name]);
            return format!("cargo test --test upgrades -- {}", words.map(quoted).collect::<Vec<_>>().join(" "));
        };
        // Instead of all the paths of this run.
        let (options, line) = (without_paths(&self.options), line.to_string());
        let mut words: Vec<&str> = options.iter().map(String::as_str).collect();
        words.extend(["--path", &line]);
        format!("cargo test --test upgrades -- {}", words.into_iter().map(quoted).collect::<Vec<_>>().join(" "))
    }

    /// The images that the plan needs, in the order in which they are wanted.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for walk in &self.walks {
            for image in walk.wanted() {
                if !wanted.contains(&image) {
                    wanted.push(image);
                }
            }
        }
        wanted
    }

    /// For the report and for the reader.
    pub(crate) fn describe(&self, index: usize, walk: &Walk) -> WalkPlan {
        WalkPlan {
            evidence: walk.evidence(index),
            walk: index,
            title: walk.title(),
            legs: walk.legs.iter().map(Leg::head).collect(),
            trials: walk
                .riders
                .iter()
                .map(|rider| {
                    let trial = &self.trials[rider.trial];
                    let variant = &trial.variant(rider.variant).name;
                    if variant.is_empty() { trial.name.clone() } else { format!("{} ({variant})", trial.name) }
                })
                .collect(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let legs: usize = self.walks.iter().map(|walk| walk.legs.len()).sum();
        writeln!(f, "{} trials on {} walks with {legs} legs", self.trials.len(), self.walks.len())?;
        for (index, walk) in self.walks.iter().enumerate() {
            let plan = self.describe(index, walk);
            writeln!(f, "\n{:>3}  {}", index + 1, plan.title)?;
            for leg in &plan.legs {
                writeln!(f, "       {leg}")?;
            }
            for trial in &plan.trials {
                writeln!(f, "     - {trial}")?;
            }
        }
        Ok(())
    }
}

impl Walk {
    fn of_each_variant(trials: &[Trial]) -> impl Iterator<Item = Self> + '_ {
        let riders = trials.iter().enumerate().flat_map(|(trial, planned)| {
            (0..planned.scenario.running().len()).map(move |variant| RiderPlan { trial, variant })
        });
        riders.map(|rider| Self::alone(trials, rider))
    }

    /// The walk that a variant would make by itself.
    pub(crate) fn alone(trials: &[Trial], rider: RiderPlan) -> Self {
        let trial = &trials[rider.trial];
        let variant = trial.variant(rider.variant);
        Self {
            database: trial.database,
            deployment: variant.deployment.clone(),
            legs: variant.legs.clone(),
            riders: vec![rider],
            from_scratch: variant.from_scratch,
            estate: match variant.without_estate {
                Some(_) => None,
                None => Some(variant.estate.clone()),
            },
            control: false,
            mutant: trial.mutant.as_ref().map(|mutant| (trial.scenario.first_release(), mutant.patch.clone())),
            line: trial.scenario.line.clone(),
        }
    }

    /// Both as one walk, if neither can notice the other.
    fn joined(&self, other: &Self, trials: &[Trial]) -> Option<Self> {
        let sociable = |walk: &Self| {
            walk.riders.iter().all(|rider| {
                let variant = trials[rider.trial].variant(rider.variant);
                variant.alone.is_none()
                    && variant.health.is_empty()
                    && variant.log_errors.is_empty()
                    && variant.legs.iter().all(|leg| variant.starts(leg, walk.database))
            })
        };
        let (longer, shorter) = if self.legs.len() >= other.legs.len() { (self, other) } else { (other, self) };
        let same_path = shorter.legs.iter().zip(&longer.legs).all(|(a, b)| {
            a.release == b.release
                && a.title.is_none()
                && b.title.is_none()
                && a.before.is_empty()
                && b.before.is_empty()
        });
        // What one variant leaves out is part of what it says.
        let siblings = self.riders.iter().any(|a| other.riders.iter().any(|b| a.trial == b.trial));
        if siblings
            || self.mutant.is_some()
            || other.mutant.is_some()
            || self.database != other.database
            || self.from_scratch != other.from_scratch
            || self.estate != other.estate
            || !same_path
            || !sociable(self)
            || !sociable(other)
        {
            return None;
        }
        Some(Self {
            deployment: self.deployment.joined(&other.deployment)?,
            legs: longer.legs.clone(),
            riders: self.riders.iter().chain(&other.riders).copied().collect(),
            ..self.clone()
        })
    }

    /// Its directory, relative to the run's.
    pub(crate) fn evidence(&self, index: usize) -> String {
        format!("walks/{:03}-{}", index + 1, self.slug())
    }

    /// `1.52.0 → 1.53.0, SQLite`; of a path, the path.
    pub(crate) fn title(&self) -> String {
        if let Some(line) = &self.line {
            return line.to_string();
        }
        let mut releases: Vec<String> = self.legs.iter().map(|leg| leg.release.to_string()).collect();
        releases.dedup();
        format!("{}, {}", releases.join(" → "), self.database.title())
    }

    /// The name of its directory of evidence, after its number.
    fn slug(&self) -> String {
        let title = match &self.line {
            Some(line) => format!("{}-{}", self.database.key(), line.slug()),
            None => self.title().to_lowercase().replace(" → ", "-to-").replace(", ", "-"),
        };
        // A long path has more than a file system takes.
        title.chars().take(120).collect()
    }

    /// The images it needs, in order.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        if self.database == Database::Postgres || self.legs.iter().any(|leg| leg.ported) {
            wanted.push(Wanted::Companion(Companion::Postgres(self.postgres())));
        }
        if !self.deployment.workers.is_empty() {
            wanted.push(Wanted::Companion(Companion::Redis));
        }
        if !self.deployment.proxies.is_empty() {
            wanted.push(Wanted::Companion(Companion::Nginx));
        }
        if !self.deployment.peers.is_empty() {
            wanted.push(Wanted::Companion(Companion::NameServer));
        }
        wanted.extend(self.deployment.companions.values().map(|spec| Wanted::Companion(spec.kind)));
        for leg in &self.legs {
            let releases = std::iter::once(&leg.release).chain(&leg.workers);
            wanted.extend(releases.map(|release| self.homeserver(&self.deployment, release)));
        }
        wanted
    }

    /// What runs a leg, with the deployment as it is then.
    pub(crate) fn homeserver(&self, deployment: &Deployment, release: &Version) -> Wanted {
        let first = &self.legs[0].release;
        let code = |release: &Version| {
            let plain = Wanted::Homeserver { version: release.clone(), suite: deployment.suite };
            let whole = plain.with_packages(deployment.packages.clone());
            match &self.mutant {
                Some((mutant, patches)) if mutant == release => whole.patched(patches.clone()),
                _ => whole,
            }
        };
        if self.control && verdict::control::is_forged(release, first) {
            code(first).reporting(release.clone())
        } else {
            code(release)
        }
    }

    /// PostgreSQL's major version.
    pub(crate) fn postgres(&self) -> u32 {
        postgres(&self.deployment)
    }
}

/// PostgreSQL's major version for a deployment.
pub(crate) fn postgres(deployment: &Deployment) -> u32 {
    deployment.postgres.unwrap_or(15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{prelude::*, scenario::expected};

    fn scenario(name: &str, release: &str) -> Scenario {
        Scenario::for_note("A heading").named(release, name)
    }

    fn on_hop(name: &str) -> Scenario {
        scenario(name, "1.53.0").hop("1.52.0", "1.53.0")
    }

    fn plan(scenarios: &[Scenario]) -> Plan {
        Plan::new(trials(scenarios).into_iter().filter(|trial| trial.database == Database::Sqlite).collect())
    }

    #[test]
    fn what_no_database_sees_is_walked_on_one() {
        let plain = on_hop("plain").fact("page", get("/")).changes(json!(1), json!(2)).named("1.53.0", "plain");
        let two = plain.clone().variant("one", |it| it).variant("other", |it| it);
        let usual = |scenario: &Scenario| -> Vec<Database> {
            let trials = trials(std::slice::from_ref(scenario));
            trials.iter().filter(|trial| !trial.is_ignored()).map(|trial| trial.database).collect()
        };
        assert_eq!(usual(&plain), [Database::Postgres]);
        assert_eq!(usual(&plain.clone().only_on(Database::Sqlite)), [Database::Sqlite]);
        assert_eq!(usual(&plain.on_both()), Database::ALL);
        assert_eq!(usual(&two), [Database::Sqlite]);
        assert_eq!(usual(&two.every_variant()), Database::ALL);
    }

    #[test]
    fn what_is_old_is_left_out() {
        let of = |release: &str, before: &str| scenario("name", release).hop(before, release).on_both();
        let left = |scenario: Scenario| without_old(trials(&[scenario])).iter().filter(|it| !it.is_ignored()).count();
        assert_eq!([left(of("1.36.0", "1.35.1")), left(of("1.37.0", "1.36.0"))], [0, 2]);
    }

    #[test]
    fn configurations_are_walked_on_the_first_database() {
        let plain = on_hop("configured")
            .fact("page", get("/"))
            .variant("the same on both", |it| it.always(json!(1)))
            .variant("another", |it| it.config(json!({ "a": 1 })).changes(json!(1), json!(2)))
            .variant("a third", |it| it.config(json!({ "a": 2 })).changes(json!(1), json!(2)))
            .named("1.53.0", "configured");
        let walked = |scenario: &Scenario| -> Vec<(Database, Vec<String>)> {
            let names = |trial: &Trial| trial.scenario.running().iter().map(|variant| variant.name.clone()).collect();
            trials(std::slice::from_ref(scenario)).iter().map(|trial| (trial.database, names(trial))).collect()
        };
        let all = ["the same on both", "another", "a third"].map(str::to_owned).to_vec();
        assert_eq!(walked(&plain), [(Database::Sqlite, all.clone()), (Database::Postgres, vec!["another".to_owned()])]);
        let short = |scenario: &Scenario| trials(std::slice::from_ref(scenario)).remove(0).in_short().scenario;
        assert_eq!(short(&plain).running()[0].name, "another");
        assert_eq!(short(&plain).running().len(), 1);
        assert_eq!(short(&plain.clone().every_variant()).running().len(), 3);
        let data = plain.clone().every_variant();
        assert_eq!(walked(&data), [(Database::Sqlite, all.clone()), (Database::Postgres, all)]);
    }

    #[test]
    fn scenarios_share_a_walk_where_neither_can_notice() {
        let refused_start =
            on_hop("refused").fact("start", start()).until("1.53.0", started()).since("1.53.0", refused("x"));
        let scenarios = [
            on_hop("plain"),
            on_hop("longer").then("1.54.0"),
            on_hop("configured").config(json!({ "caches": { "cache_entry_ttl": "2s" } })),
            on_hop("configured_otherwise").config(json!({ "caches": { "cache_entry_ttl": "3s" } })),
            on_hop("in_front").proxy("proxy", [("^/_matrix/", "main")]),
            on_hop("unsociable").alone("it counts requests"),
            on_hop("stepping").begin_step("a step").change(|deployment| {
                deployment.unset("caches");
            }),
            refused_start.named("1.53.0", "refused"),
            on_hop("two_ways")
                .variant("one", |it| it.config(json!({ "a": 1 })))
                .variant("other", |it| it.config(json!({ "b": 1 }))),
        ];
        insta::assert_snapshot!(plan(&scenarios), @"
        9 trials on 4 walks with 10 legs

          1  1.52.0 → 1.53.0 → 1.54.0, SQLite
               1.52.0
               1.53.0
               1.54.0
             - v1_53_0::plain::sqlite
             - v1_53_0::longer::sqlite
             - v1_53_0::configured::sqlite
             - v1_53_0::in_front::sqlite
             - v1_53_0::two_ways::sqlite (one)

          2  1.52.0 → 1.53.0, SQLite
               1.52.0
               1.53.0
               1.53.0, a step
             - v1_53_0::configured_otherwise::sqlite
             - v1_53_0::stepping::sqlite
             - v1_53_0::two_ways::sqlite (other)

          3  1.52.0 → 1.53.0, SQLite
               1.52.0
               1.53.0
             - v1_53_0::unsociable::sqlite

          4  1.52.0 → 1.53.0, SQLite
               1.52.0
               1.53.0
             - v1_53_0::refused::sqlite
        ");
    }

    #[test]
    fn those_that_wait_set_out_first() {
        let patient = on_hop("patient").alone("it counts seconds").waits("many of them");
        let plan = plan(&[on_hop("prompt"), patient]);
        assert_eq!(plan.walks[0].riders[0].trial, 1);
    }

    #[test]
    fn the_obvious_procedure_shares_nothing() {
        let scenarios =
            [on_hop("plain"), on_hop("two_ways").variant("one", |it| it).variant("other", |it| it).every_variant()];
        let plan = Plan::one_at_a_time(trials(&scenarios));
        assert!(plan.walks.iter().all(|walk| walk.riders.len() == 1 && walk.from_scratch));
        assert_eq!(plan.walks.len(), 2 * 3);
    }

    #[test]
    fn a_plan_names_its_images_in_the_order_in_which_they_are_wanted() {
        let scenarios =
            [on_hop("postgres").only_on(Database::Postgres), scenario("mail", "1.4.0").hop("1.3.1", "1.4.0").mail()];
        let wanted: Vec<_> =
            Plan::new(trials(&scenarios)).wanted().into_iter().map(|wanted| wanted.to_string()).collect();
        insta::assert_snapshot!(wanted.join("\n"), @"
        mail-sink
        synapse 1.3.1
        synapse 1.4.0
        postgres 15
        synapse 1.52.0
        synapse 1.53.0
        ");
    }

    #[test]
    fn a_rerun_repeats_what_changes_a_trial() {
        let options = ["--image", "1.53.0=fork:1", "--path", "sqlite: 1.52.0 > 1.53.0"].map(str::to_owned);
        let plan = plan(&[on_hop("there_and_back").on_both(), on_hop("elsewhere")]).run_with(options.to_vec());
        let again = |asked: &str, name: &str| {
            format!(
                "cargo test --test upgrades -- --image '1.53.0=fork:1' --path 'sqlite: 1.52.0 > 1.53.0' \
                 {asked}--exact v1_53_0::{name}::sqlite"
            )
        };
        assert_eq!(plan.rerun(&plan.trials[0]), again("", "there_and_back"));
        assert_eq!(plan.rerun(&plan.trials[1]), again("--include-ignored ", "elsewhere"));
    }

    #[test]
    fn a_hop_is_short_for_two_paths() {
        let paths = |text: &str| text.parse::<Hop>().map(|hop| hop.paths().map(|path| path.to_string()));
        assert_eq!(
            paths("1.60.0..1.46.0"),
            Ok(["sqlite: 1.60.0 > 1.46.0", "postgres: 1.60.0 > 1.46.0"].map(str::to_owned))
        );
        assert!(paths("1.46.0").unwrap_err().contains("expected a form like"));
    }

    #[test]
    fn a_path_is_planned_and_run_again_as_it_was_written() {
        let lines = [
            "sqlite: 1.52.0 undrained > 1.53.0 kill(delta=68/05) > 1.53.0",
            "sqlite config=encrypted: 1.53.0 > 1.52.0 kill > 1.53.0",
            "sqlite: 1.162.0 > 1.99.0 > 1.163.0",
            "sqlite: 1.52.0 > port 1.52.0 > 1.53.0 workers=1.52.0",
        ];
        let scenarios: Vec<Scenario> = lines.iter().map(|line| Scenario::along(&line.parse().unwrap())).collect();
        let plan = Plan::new(trials(&scenarios)).run_with(["--image", "1.53.0=fork:1"].map(str::to_owned).to_vec());
        insta::assert_snapshot!(plan);
        let walked: Vec<String> = plan
            .walks
            .iter()
            .map(|walk| {
                let variant = plan.trials[walk.riders[0].trial].variant(0);
                let expected = walk.legs.iter().map(|leg| expected(&variant.facts[0], leg, walk.database));
                let starts: Vec<String> = expected.map(|value| value.unwrap_or_default().to_string()).collect();
                let images: Vec<String> = walk.wanted().iter().map(ToString::to_string).collect();
                format!(
                    "{}\n  {}\n  {}",
                    plan.rerun(&plan.trials[walk.riders[0].trial]),
                    images.join(", "),
                    starts.join("\n  ")
                )
            })
            .collect();
        insta::assert_snapshot!(walked.join("\n"));
        for scenario in &scenarios {
            assert_eq!(scenario.problems(), Vec::<String>::new());
        }
    }

    #[test]
    fn a_control_runs_the_first_release_under_later_numbers() {
        let plan = plan(&[on_hop("there_and_back").then("1.52.0")]).as_control();
        let wanted: Vec<_> = plan.walks[0].wanted().into_iter().map(|wanted| wanted.to_string()).collect();
        insta::assert_snapshot!(wanted.join("\n"), @"
        synapse 1.52.0
        synapse 1.53.0 (code of 1.52.0)
        synapse 1.52.0
        ");
    }

    #[test]
    fn a_control_of_what_must_not_change_walks_nowhere() {
        let scenarios = [on_hop("changes"), on_hop("stays").invariant("it must not change")];
        let plan = plan(&scenarios).as_control();
        assert_eq!((plan.trials.len(), plan.walks.len(), plan.walks[0].riders.len()), (2, 1, 1));
    }

    #[test]
    fn a_shard_is_an_index_and_a_count() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, count: 4 }));
        for wrong in ["", "4", "0/4", "5/4", "1/0", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_trial_is_in_one_shard_and_no_hop_is_split(hops in prop::collection::vec(1_u32..20, 1..40), count in 1_usize..6) {
            let scenarios: Vec<Scenario> = hops
                .iter()
                .enumerate()
                .map(|(index, minor)| {
                    scenario(&format!("number_{index}"), &format!("1.{minor}.0"))
                        .hop(&format!("1.{}.0", minor - 1), &format!("1.{minor}.0"))
                })
                .collect();
            let all = trials(&scenarios);
            let mut seen = Vec::new();
            for index in 1..=count {
                let mine = Shard { index, count }.select(all.clone());
                for trial in &mine {
                    let elsewhere = all.iter().filter(|other| other.hop() == trial.hop()).count();
                    prop_assert_eq!(elsewhere, mine.iter().filter(|other| other.hop() == trial.hop()).count());
                }
                seen.extend(mine.into_iter().map(|trial| trial.name));
            }
            let mut names: Vec<_> = all.into_iter().map(|trial| trial.name).collect();
            seen.sort();
            names.sort();
            prop_assert_eq!(seen, names);
        }
    }
}
