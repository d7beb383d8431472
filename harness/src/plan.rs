//! The plan: which deployments walk which paths, and which trials ride along. Data, made and printed without Docker.

use std::{collections::BTreeMap, fmt, sync::Arc};

use images::{Companion, Version, Wanted};
use reports::WalkPlan;

use crate::{
    Database, Deployment, Scenario,
    estate::Size,
    scenario::{Leg, Variant},
};

/// A scenario on one database: the unit that has a name, is selected and gets a verdict.
#[derive(Clone, Debug)]
pub struct Trial {
    /// `v1_53_0::msc3283_capabilities::sqlite`.
    pub name: String,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) database: Database,
}

/// All trials, in the order of the releases.
pub fn trials(scenarios: &[Scenario]) -> Vec<Trial> {
    let mut trials: Vec<Trial> = scenarios
        .iter()
        .flat_map(|scenario| {
            let shared = Arc::new(scenario.clone());
            scenario.databases.iter().map(move |&database| Trial {
                name: format!("{}::{}", shared.path(), database.key()),
                scenario: Arc::clone(&shared),
                database,
            })
        })
        .collect();
    // Upstream's order within a release is kept.
    trials.sort_by(|a, b| a.scenario.release.cmp(&b.scenario.release));
    trials
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) trials: Vec<Trial>,
    pub(crate) walks: Vec<Walk>,
    pub(crate) control: bool,
    /// Walks follow each other instead of going side by side.
    pub(crate) one_at_a_time: bool,
    /// The run's options that a rerun of one trial repeats, as they were typed.
    pub(crate) repeated: Vec<String>,
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
        let hop = Self { from: version(from)?, to: version(to)? };
        if hop.from < hop.to {
            Ok(hop)
        } else {
            Err(format!("{} is not newer than {}: a hop goes up", hop.to, hop.from))
        }
    }
}

/// The arguments that change what a trial does, of all that a run was given.
fn repeated(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    const VALUED: [&str; 5] = ["--hop", "--image", "--images-from", "--registry", "--repository"];
    let mut arguments = arguments.into_iter();
    let mut repeated = Vec::new();
    while let Some(argument) = arguments.next() {
        let name = argument.split('=').next().unwrap_or_default();
        if ["--control", "--one-at-a-time"].contains(&argument.as_str()) || (VALUED.contains(&name) && name != argument)
        {
            repeated.push(argument);
        } else if VALUED.contains(&name) {
            repeated.push(argument);
            repeated.extend(arguments.next());
        }
    }
    repeated
}

impl Trial {
    pub(crate) fn variant(&self, index: usize) -> &Variant {
        &self.scenario.running()[index]
    }

    /// The hop that decides the shard.
    fn hop(&self) -> (Version, Version) {
        let legs = &self.scenario.running()[0].legs;
        (legs[0].release.clone(), legs[legs.len().min(2) - 1].release.clone())
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
            (!walk.riders.iter().any(waits), trials[walk.riders[0].trial].scenario.release.clone(), legs)
        });
        Self { trials, walks, control: false, one_at_a_time: false, repeated: Vec::new() }
    }

    /// The obvious procedure: every variant has deployments of its own, which begin with nothing, and walks when the one
    /// before has come home.
    pub fn one_at_a_time(trials: Vec<Trial>) -> Self {
        let walks = Walk::of_each_variant(&trials).map(|walk| Walk { from_scratch: true, ..walk }).collect();
        Self { trials, walks, control: false, one_at_a_time: true, repeated: Vec::new() }
    }

    /// The same plan as a control: each path's first release goes on running under the later releases' version numbers.
    /// Every trial must then fail, by a fact of its own; those of what must not change have nothing to show, and walk
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

    /// The same plan, run with these arguments.
    pub(crate) fn run_with(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.repeated = repeated(arguments);
        self
    }

    /// The command that runs one trial again as it ran here.
    pub(crate) fn rerun(&self, trial: &Trial) -> String {
        let mut words: Vec<&str> = self.repeated.iter().map(String::as_str).collect();
        words.extend(["--exact", &trial.name]);
        format!("cargo test --test upgrades -- {}", words.join(" "))
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
                None => Some(variant.estate),
            },
            control: false,
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

    /// `1.52.0 → 1.53.0, SQLite`.
    pub(crate) fn title(&self) -> String {
        let mut releases: Vec<String> = self.legs.iter().map(|leg| leg.release.to_string()).collect();
        releases.dedup();
        format!("{}, {}", releases.join(" → "), self.database.title())
    }

    /// The images it needs, in order.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        if self.database == Database::Postgres {
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
        wanted.extend(self.legs.iter().map(|leg| self.homeserver(&leg.release)));
        wanted
    }

    pub(crate) fn homeserver(&self, release: &Version) -> Wanted {
        let first = &self.legs[0].release;
        if self.control && release > first {
            return Wanted::Forged { version: release.clone(), code_of: first.clone() };
        }
        Wanted::Homeserver { version: release.clone(), suite: self.deployment.suite }
    }

    /// PostgreSQL's major version.
    pub(crate) fn postgres(&self) -> u32 {
        self.deployment.postgres.unwrap_or(15)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prelude::*;

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
            on_hop("stepping").step("a step").change(|deployment| {
                deployment.unset("caches");
            }),
            refused_start.named("1.53.0", "refused"),
            on_hop("two_ways").variant("one").config(json!({ "a": 1 })).variant("other").config(json!({ "b": 1 })),
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
        let scenarios = [on_hop("plain"), on_hop("two_ways").variant("one").variant("other")];
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
        let plan = plan(&[on_hop("there_and_back")]).run_with(
            [
                "upgrades",
                "v1_53",
                "--skip",
                "x",
                "--image",
                "1.53.0=fork:1",
                "--registry=mirror.test",
                "--one-at-a-time",
                "--shard",
                "1/2",
            ]
            .map(str::to_owned),
        );
        assert_eq!(
            plan.rerun(&plan.trials[0]),
            "cargo test --test upgrades -- --image 1.53.0=fork:1 --registry=mirror.test --one-at-a-time \
             --exact v1_53_0::there_and_back::sqlite"
        );
    }

    #[test]
    fn a_hop_goes_up() {
        assert_eq!("1.46.0..1.60.0".parse::<Hop>().map(|hop| hop.to.to_string()), Ok("1.60.0".to_owned()));
        assert_eq!("1.60.0..1.46.0".parse::<Hop>(), Err("1.46.0 is not newer than 1.60.0: a hop goes up".to_owned()));
        assert!("1.46.0".parse::<Hop>().unwrap_err().contains("expected a form like"));
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
