//! A scenario: the executable form of one upgrade note.

pub(crate) mod action;
pub mod deployment;
pub mod expect;
pub(crate) mod mutant;
pub mod probe;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use images::Version;
use reports::Disagreement;
use serde_json::{Map, Value, json};

use crate::{
    Database, Deployment, Live, Probe,
    checks::{health, rows},
    estate::{Part, Size},
    path::Ending,
    stage::{companion, config::SERVER_NAME},
};
use action::Action;
use deployment::{CompanionSpec, Proxy, Worker};
use probe::BoxFuture;

/// The executable form of one note: what is deployed, which path it walks, which facts it must show by release.
///
/// Built as a sentence. What is said first is common to all variants; a [variant](Scenario::variant), a
/// [step](Scenario::step) and a [further leg](Scenario::leg) are blocks, and what is said inside holds there: in a leg's
/// block the words for the deployment (`reconfigure`, `unset`, `file` …) are what the operator does before that leg.
/// [`Scenario::changes`], [`Scenario::until`], [`Scenario::since`] and [`Scenario::always`] apply to the fact begun last.
///
/// # Panics
///
/// Builder methods panic when they are used out of order or with a malformed version. A unit test builds every scenario, so a
/// run never meets that.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says a thing of its own")]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) release: Version,
    pub(crate) heading: String,
    pub(crate) databases: Vec<Database>,
    /// Does it walk on each of them without being asked?
    pub(crate) on_both: bool,
    /// Does every variant walk on each of them?
    pub(crate) every_variant: bool,
    pub(crate) variants: Vec<Variant>,
    pub(crate) disagreements: Vec<Disagreement>,
    pub(crate) invariant: Option<String>,
    pub(crate) inspection: bool,
    pub(crate) is_survival: bool,
    /// The line that it was made of, if it is about a path instead of a note.
    pub(crate) line: Option<crate::Path>,
    /// Is it walked only when it is asked for?
    pub(crate) ignored: bool,
    /// What of a candidate it is held to, if it qualifies one: the first part of its name.
    pub(crate) area: Option<String>,
    /// What words apply to while the scenario is being built.
    place: Place,
}

/// What words apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// All variants.
    Common,
    /// The variant begun last.
    Variant,
    /// The leg begun last.
    Leg,
    /// Nothing any more: a variant has been described, so what is common must have been said.
    Described,
}

/// One deployment of a scenario, with its own path and facts.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) deployment: Deployment,
    pub(crate) legs: Vec<Leg>,
    pub(crate) facts: Vec<Fact>,
    /// The fact that values are given for.
    fact: usize,
    pub(crate) seeds: Vec<Act>,
    /// Why it cannot share its deployment, if it cannot.
    pub(crate) alone: Option<String>,
    pub(crate) waits: Option<String>,
    /// Start on an empty data directory instead of the release's fixture.
    pub(crate) from_scratch: bool,
    /// Health checks that this variant answers otherwise, by check and leg (all legs when `None`).
    pub(crate) health: BTreeMap<String, Vec<(Option<usize>, Value)>>,
    /// ERROR lines that belong to the note, as regular expressions.
    pub(crate) log_errors: Vec<String>,
    /// How much user data is laid out and watched.
    pub(crate) estate: Size,
    /// Why users' data is not watched on this variant, if it is not.
    pub(crate) without_estate: Option<String>,
}

/// One period between start and stop.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) release: Version,
    pub(crate) title: Option<String>,
    /// Before it starts, its release's own tool moves the data from SQLite to PostgreSQL.
    pub(crate) ported: bool,
    /// The workers' release, where it is not the main process's.
    pub(crate) workers: Option<Version>,
    pub(crate) ending: Ending,
    /// What happens between the stop of the leg before and this leg's start.
    pub(crate) before: Vec<Step>,
    /// Facts that this leg shows otherwise than its release says.
    pub(crate) now: BTreeMap<String, Value>,
    /// What they show where a newer release runs instead.
    pub(crate) now_since: Vec<(Version, String, Value)>,
}

/// An operator's step.
#[derive(Clone)]
pub(crate) enum Step {
    Action(Action),
    Change(Arc<dyn Fn(&mut Deployment) + Send + Sync>),
    Sql { fact: String, text: Value },
    Act(Act),
}

/// Something done to a deployment.
#[derive(Clone)]
pub(crate) struct Act(Arc<dyn Fn(Live) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>);

impl Act {
    fn new<F, Fut>(act: F) -> Self
    where
        F: Fn(Live) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self(Arc::new(move |live| Box::pin(act(live))))
    }

    pub(crate) fn run(&self, live: Live) -> BoxFuture<'static, anyhow::Result<()>> {
        (self.0)(live)
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Act")
    }
}

/// A named observation with its expected value by release.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) probe: Probe,
    /// Value for releases before the first entry of `since`.
    pub(crate) until: Option<(Version, Value)>,
    pub(crate) since: Vec<(Version, Value)>,
    pub(crate) always: Option<Value>,
    /// Values before and from the note's own release.
    changes: Option<(Value, Value)>,
    /// Why old code under the new version number shows the new value, too.
    pub(crate) beyond_control: Option<String>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => write!(f, "{action}"),
            Self::Change(_) => f.write_str("Change"),
            Self::Sql { fact, .. } => write!(f, "Sql({fact})"),
            Self::Act(_) => f.write_str("Act"),
        }
    }
}

impl Fact {
    pub(crate) fn new(name: &str, probe: Probe) -> Self {
        Self {
            name: name.to_owned(),
            probe,
            until: None,
            since: Vec::new(),
            always: None,
            changes: None,
            beyond_control: None,
        }
    }

    /// What the table says of a release, if it says anything. A candidate is held to the notes of the release to come.
    pub(crate) fn expected(&self, release: &Version) -> Option<&Value> {
        if let Some(value) = &self.always {
            return Some(value);
        }
        let release = release.target();
        self.since
            .iter()
            .rev()
            .find(|(since, _)| *since <= release)
            .or(self.until.as_ref().filter(|(until, _)| release < *until))
            .map(|(_, value)| value)
    }
}

impl Leg {
    pub(crate) fn on(release: Version) -> Self {
        Self {
            release,
            title: None,
            ported: false,
            workers: None,
            ending: Ending::Stopped,
            before: Vec::new(),
            now: BTreeMap::new(),
            now_since: Vec::new(),
        }
    }

    /// Column head in reports.
    pub(crate) fn head(&self) -> String {
        match &self.title {
            Some(title) => format!("{}, {title}", self.release),
            None => self.release.to_string(),
        }
    }
}

impl Variant {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            deployment: Deployment::default(),
            legs: Vec::new(),
            facts: Vec::new(),
            fact: 0,
            seeds: Vec::new(),
            alone: None,
            waits: None,
            from_scratch: false,
            health: BTreeMap::new(),
            log_errors: Vec::new(),
            estate: Size::Small,
            without_estate: None,
        }
    }

    /// Whether the homeserver is expected to come up on a leg.
    pub(crate) fn starts(&self, leg: &Leg, database: Database) -> bool {
        self.facts
            .iter()
            .filter(|fact| fact.probe.is_start())
            .all(|fact| expected(fact, leg, database).is_none_or(|value| value == probe::started()))
    }
}

/// What a fact must show on a leg.
pub(crate) fn expected(fact: &Fact, leg: &Leg, database: Database) -> Option<Value> {
    leg.now.get(&fact.name).or_else(|| fact.expected(&leg.release)).map(|value| expect::resolve(value, database))
}

fn object(fragment: Value) -> Map<String, Value> {
    match fragment {
        Value::Object(map) => map,
        other => panic!("a configuration fragment is an object, not {other}"),
    }
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

impl Scenario {
    /// A scenario for the section of upstream's `docs/upgrade.md` with this heading (in upstream's words, as the ledger
    /// lists it; for a release whose text has no headings, the ledger's name of the claim).
    pub fn for_note(heading: &str) -> Self {
        Self {
            name: String::new(),
            release: version("0.0"),
            heading: heading.to_owned(),
            databases: Database::ALL.to_vec(),
            on_both: false,
            every_variant: false,
            variants: vec![Variant::new("")],
            disagreements: Vec::new(),
            invariant: None,
            inspection: false,
            is_survival: false,
            line: None,
            ignored: false,
            area: None,
            place: Place::Common,
        }
    }

    /// A scenario of no note: a rich estate must be there unchanged after a hop.
    pub fn survival(from: &str, to: &str) -> Self {
        let mut scenario = Self::for_note("Users' data survives")
            .named(to, "survival")
            .hop(from, to)
            .invariant("what users own is the same before and after")
            .on_both()
            .rich_estate();
        scenario.is_survival = true;
        scenario
    }

    /// A scenario of no note: the whole estate on one release, where each table must be filled, or have its reason.
    pub fn coverage(release: &str) -> Self {
        let mut scenario = Self::for_note("Every table is filled")
            .named(release, "coverage")
            .edit(|variant| variant.legs.push(Leg::on(version(release))))
            .invariant("every table is filled by a part, or has its reason")
            .on_both()
            .rich_estate();
        scenario.is_survival = true;
        scenario
    }

    /// A scenario of no note: what a part wrote is lost between two legs on the same release, and its row must show it.
    pub fn part_control(release: &str, part: &Part) -> Self {
        let row = part.row();
        let lost = part.clone();
        let mut scenario = Self::for_note("A loss is noticed")
            .named(release, &format!("control {}", part.name()))
            .hop(release, release)
            .on_both()
            .titled("after the loss")
            .act(move |live| lost.clone().lose(live))
            .health(&row, expect::not("as before"))
            .health(health::LOG_ERRORS, expect::anything())
            .health(health::INTEGRITY, expect::anything())
            .health(rows::FEWER, expect::anything())
            .invariant("the row of the part that is lost must not be as before")
            .edit(|variant| variant.estate = Size::Only(vec![part.name().to_owned()]));
        if let crate::estate::Place::Under(archetype) = part.place {
            scenario = scenario.edit(|variant| archetype.configure(&mut variant.deployment, &version(release)));
        }
        scenario.is_survival = true;
        scenario
    }

    /// Names the scenario and the release whose note it is; called by the [`notes!`](crate::notes) macro.
    #[must_use]
    pub fn named(mut self, release: &str, name: &str) -> Self {
        self.release = version(release);
        name.clone_into(&mut self.name);
        for variant in &mut self.variants {
            for fact in &mut variant.facts {
                if let Some((before, after)) = fact.changes.take() {
                    fact.until = Some((self.release.clone(), before));
                    fact.since.insert(0, (self.release.clone(), after));
                }
            }
            // That the homeserver comes up goes without saying, and is checked all the same.
            if !variant.facts.iter().any(|fact| fact.probe.is_start()) {
                let start = Fact { always: Some(probe::started()), ..Fact::new("start", probe::start()) };
                variant.facts.insert(0, start);
            }
        }
        self
    }

    /// Only on these databases, because the note is about them only.
    #[must_use]
    pub fn only_on(mut self, database: Database) -> Self {
        self.databases = vec![database];
        self
    }

    /// The note is about what the database does or holds, so it walks on both. (Most are about what no database sees: those
    /// walk on one, and on the other when they are asked for.)
    #[must_use]
    pub fn on_both(mut self) -> Self {
        self.on_both = true;
        self
    }

    /// So are its variants, so each of them walks on both. (Most differ in configuration: there the second database, and the plain
    /// command on either, has the first of them that shows the change.)
    #[must_use]
    pub fn every_variant(mut self) -> Self {
        self.every_variant = true;
        self.on_both()
    }

    /// Does it walk on this one of its databases without being asked? Where there are variants, that is where all of them
    /// walk; else PostgreSQL, which most people run.
    fn walks_on(&self, database: Database) -> bool {
        let usual = if self.running().len() > 1 { self.databases.first() } else { self.databases.last() };
        self.on_both || usual == Some(&database)
    }

    /// The scenario as it is on one of its databases.
    pub(crate) fn on(&self, database: Database) -> Self {
        let mut here = self.clone();
        here.ignored |= !self.walks_on(database);
        if self.databases.first() == Some(&database) { here } else { here.in_short(database) }
    }

    /// Of variants that differ in configuration, the first that shows the change. What the others find is not claimed.
    pub(crate) fn in_short(mut self, database: Database) -> Self {
        let running = self.running();
        if self.every_variant || running.len() == 1 {
            return self;
        }
        let shows = running.iter().find(|variant| variant.changing(database).next().is_some());
        self.variants = vec![shows.unwrap_or(&running[0]).clone()];
        self.disagreements.clear();
        self
    }

    /// Records that upstream's text and real servers disagree. The facts expect what really happens.
    #[must_use]
    pub fn disagreement(mut self, upstream_says: &str, really: &str) -> Self {
        self.disagreements.push(Disagreement { upstream_says: upstream_says.to_owned(), really: really.to_owned() });
        self
    }

    /// Declares that no fact changes across the hop, and why the scenario is worth running all the same.
    #[must_use]
    pub fn invariant(mut self, reason: &str) -> Self {
        self.invariant = Some(reason.to_owned());
        self
    }

    /// In this area of a qualification.
    pub(crate) fn within(mut self, area: &str) -> Self {
        self.area = Some(area.to_owned());
        self
    }

    /// Declares that the scenario looks into the releases' images only, because their servers show no difference.
    #[must_use]
    pub fn inspection(mut self) -> Self {
        self.inspection = true;
        self
    }

    /// A variant: another deployment of the same note. It begins with what is common (path, configuration, companions,
    /// seeds, facts); a fact that it names again is its own.
    #[must_use]
    pub fn variant(mut self, name: &str, describe: impl FnOnce(Self) -> Self) -> Self {
        assert!(matches!(self.place, Place::Common | Place::Described), "a variant inside another block");
        self = self.begin_variant(name);
        self.place = Place::Variant;
        self = describe(self);
        self.place = Place::Described;
        self
    }

    /// Begins a further variant, which ends where the next begins.
    #[must_use]
    pub fn begin_variant(mut self, name: &str) -> Self {
        // The first is the common part, and stays unnamed.
        let common = self.variants[0].clone();
        self.variants.push(Variant { name: name.to_owned(), ..common });
        self
    }

    fn here(&mut self) -> &mut Variant {
        assert!(self.place != Place::Described, "what is common to all variants is said before the first");
        self.variants.last_mut().expect("there is always one")
    }

    fn edit(mut self, edit: impl FnOnce(&mut Variant)) -> Self {
        edit(self.here());
        self
    }

    fn on_leg(self, edit: impl FnOnce(&mut Leg)) -> Self {
        self.edit(|variant| edit(variant.legs.last_mut().expect("begin with `.hop(from, to)`")))
    }

    fn last_fact(self, edit: impl FnOnce(&mut Fact)) -> Self {
        self.edit(|variant| {
            let fact = variant.fact;
            edit(variant.facts.get_mut(fact).expect("begin with `.fact(name, probe)`"));
        })
    }

    /// Does this at the deployment's making or, in a leg's block, before that leg.
    fn does(self, action: Action) -> Self {
        if self.place == Place::Leg {
            self.on_leg(|leg| leg.before.push(Step::Action(action)))
        } else {
            self.edit(|variant| action.apply(&mut variant.deployment))
        }
    }

    /// Only in a leg's block.
    fn operates(self, action: Action) -> Self {
        assert!(self.place == Place::Leg, "`{action}` is an operator's step: say it in `.step(title, …)` or `.leg(…)`");
        self.does(action)
    }

    fn block(mut self, describe: impl FnOnce(Self) -> Self) -> Self {
        let place = std::mem::replace(&mut self.place, Place::Leg);
        assert!(matches!(place, Place::Common | Place::Variant), "a leg inside another leg's block");
        self = describe(self);
        self.place = place;
        self
    }

    // The path.

    /// The path: from one release to another on the same data.
    #[must_use]
    pub fn hop(self, from: &str, to: &str) -> Self {
        let legs = vec![Leg::on(version(from)), Leg::on(version(to))];
        self.edit(|variant| variant.legs = legs)
    }

    /// Lengthens the path by a leg on another release: further up, or back down.
    #[must_use]
    pub fn then(self, release: &str) -> Self {
        let leg = Leg::on(version(release));
        self.edit(|variant| variant.legs.push(leg))
    }

    /// Lengthens the path by a leg on another release, up or back down, before which the operator does something.
    #[must_use]
    pub fn leg(self, release: &str, title: &str, describe: impl FnOnce(Self) -> Self) -> Self {
        self.then(release).titled(title).block(describe)
    }

    /// On the last leg, the workers are still (or already) on this release, not on the main process's.
    #[must_use]
    pub fn workers_of(self, release: &str) -> Self {
        self.on_leg(|leg| leg.workers = Some(version(release)))
    }

    /// Lengthens the path by a leg on the same release, after an operator's step.
    #[must_use]
    pub fn step(self, title: &str, describe: impl FnOnce(Self) -> Self) -> Self {
        self.begin_step(title).block(describe)
    }

    /// Lengthens the path by a leg on the same release, after an operator's step.
    #[must_use]
    pub fn begin_step(self, title: &str) -> Self {
        self.edit(|variant| {
            let release = variant.legs.last().expect("begin with `.hop(from, to)`").release.clone();
            variant.legs.push(Leg { title: Some(title.to_owned()), ..Leg::on(release) });
        })
    }

    /// In a leg's block: merges a fragment into the homeserver's configuration.
    #[must_use]
    pub fn reconfigure(self, fragment: Value) -> Self {
        self.operates(Action::Configure(object(fragment)))
    }

    /// In a leg's block: takes a top-level key out of the homeserver's configuration.
    #[must_use]
    pub fn unset(self, key: &str) -> Self {
        self.operates(Action::Unset(key.to_owned()))
    }

    /// In a leg's block: takes a resource from the main listener.
    #[must_use]
    pub fn without_resource(self, name: &str) -> Self {
        self.operates(Action::RemoveResource(name.to_owned()))
    }

    /// In a leg's block: takes the further listener on this port away.
    #[must_use]
    pub fn without_listener(self, port: u16) -> Self {
        self.operates(Action::RemoveListener(port))
    }

    /// In a leg's block: deletes a file.
    #[must_use]
    pub fn without_file(self, path: &str) -> Self {
        self.operates(Action::RemoveFile(path.to_owned()))
    }

    /// In a leg's block: the worker of this name runs no more.
    #[must_use]
    pub fn without_worker(self, name: &str) -> Self {
        self.operates(Action::RemoveWorker(name.to_owned()))
    }

    /// In a leg's block: the companion of this host name runs no more.
    #[must_use]
    pub fn without_companion(self, host: &str) -> Self {
        self.operates(Action::RemoveCompanion(host.to_owned()))
    }

    /// Gives the last leg a title.
    #[must_use]
    pub fn titled(self, title: &str) -> Self {
        self.on_leg(|leg| leg.title = Some(title.to_owned()))
    }

    /// Before the last leg starts, the operator changes the deployment.
    #[must_use]
    pub fn change(self, change: impl Fn(&mut Deployment) + Send + Sync + 'static) -> Self {
        self.on_leg(|leg| leg.before.push(Step::Change(Arc::new(change))))
    }

    /// Before the last leg starts, with the server stopped, the operator runs SQL exactly as given. What becomes of it is
    /// a fact of that name: `"done"`, or the database's error. `text` and `outcome` may differ
    /// [by database](crate::scenario::expect::per_database).
    #[must_use]
    pub fn sql(self, fact: &str, text: impl Into<Value>, outcome: impl Into<Value>) -> Self {
        let (text, outcome) = (text.into(), outcome.into());
        self.edit(|variant| {
            let leg = variant.legs.last_mut().expect("begin with `.hop(from, to)`");
            leg.before.push(Step::Sql { fact: fact.to_owned(), text });
            leg.now.insert(fact.to_owned(), outcome);
            variant.fact = variant.facts.len();
            variant.facts.push(Fact::new(fact, Probe::of_step()));
        })
    }

    /// Before the last leg starts, with the server stopped, something else is done.
    #[must_use]
    pub fn act<F, Fut>(self, act: F) -> Self
    where
        F: Fn(Live) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.on_leg(|leg| leg.before.push(Step::Act(Act::new(act))))
    }

    /// On the last leg this fact shows another value than the table says of the release.
    #[must_use]
    pub fn now(self, fact: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.on_leg(|leg| {
            leg.now.insert(fact.to_owned(), value);
        })
    }

    /// Where a release from `release` on runs on the last leg instead, this fact shows this.
    #[must_use]
    pub fn now_since(self, release: &str, fact: &str, value: impl Into<Value>) -> Self {
        let later = (version(release), fact.to_owned(), value.into());
        self.on_leg(|leg| leg.now_since.push(later))
    }

    // The deployment.

    /// Merges a fragment into the homeserver's configuration.
    #[must_use]
    pub fn config(self, fragment: Value) -> Self {
        assert!(self.place != Place::Leg, "a leg's block says `.reconfigure(…)`");
        self.does(Action::Configure(object(fragment)))
    }

    /// Leaves out a top-level key that the harness otherwise sets for every deployment.
    #[must_use]
    pub fn without(self, key: &str) -> Self {
        assert!(self.place != Place::Leg, "a leg's block says `.unset(key)`");
        self.edit(|variant| {
            variant.deployment.without.insert(key.to_owned());
        })
    }

    /// Further resources on the main listener: `metrics`, `replication` …
    #[must_use]
    pub fn resources<const N: usize>(self, names: [&str; N]) -> Self {
        names.into_iter().fold(self, |scenario, name| scenario.does(Action::Resource(name.to_owned())))
    }

    /// A further listener, as in `homeserver.yaml`.
    #[must_use]
    pub fn listener(self, listener: Value) -> Self {
        self.does(Action::Listener(listener))
    }

    /// A file; a relative path is below `/data`, `{synapse}/…` inside the installed package.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<String>) -> Self {
        self.does(Action::File(path.to_owned(), content.into()))
    }

    /// A Python module on the path of the homeserver: `name.py` with this source.
    #[must_use]
    pub fn module(self, name: &str, source: &str) -> Self {
        self.file(&format!("modules/{name}.py"), source)
    }

    /// An environment variable of the homeserver's processes.
    #[must_use]
    pub fn environment(self, name: &str, value: &str) -> Self {
        self.does(Action::Environment(name.to_owned(), value.to_owned()))
    }

    /// A worker process; Redis comes along. What its `config` says is merged over what its release needs to find the main
    /// process; `null` takes a key out of that.
    #[must_use]
    pub fn worker<const N: usize>(self, name: &str, app: &str, resources: [&str; N], config: Value) -> Self {
        self.does(Action::Worker(Worker {
            name: name.to_owned(),
            app: app.to_owned(),
            resources: resources.map(str::to_owned).to_vec(),
            config: object(config),
        }))
    }

    /// A reverse proxy in front, a real nginx. A request that matches one of the patterns (regular expressions of the
    /// path) goes to that process, `main` or a worker; nginx answers all others with 404.
    #[must_use]
    pub fn proxy<'a>(self, name: &str, routes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let routes = routes.into_iter().map(|(pattern, process)| (pattern.to_owned(), process.to_owned())).collect();
        self.does(Action::Proxy(name.to_owned(), Proxy { routes, ..Proxy::default() }))
    }

    /// The further nginx directives in the server block of the proxy of this name.
    #[must_use]
    pub fn directives<const N: usize>(self, proxy: &str, lines: [&str; N]) -> Self {
        self.does(Action::Directives(proxy.to_owned(), lines.map(str::to_owned).to_vec()))
    }

    /// A mail sink under the host name `mail`, and a homeserver that sends its mails there.
    #[must_use]
    pub fn mail(self) -> Self {
        self.companion("mail", companion::mail_sink()).config(json!({
            "public_baseurl": format!("http://{SERVER_NAME}/"),
            "email": {
                "smtp_host": "mail",
                "smtp_port": 25,
                "notif_from": "homeserver <noreply@hs.test>",
                "app_name": "app",
                "require_transport_security": false,
            },
        }))
    }

    /// A companion under this host name.
    #[must_use]
    pub fn companion(self, host: &str, spec: CompanionSpec) -> Self {
        self.does(Action::Companion(host.to_owned(), spec))
    }

    /// A second homeserver of the same release, with this server name and fragment of configuration; the two federate
    /// over TLS.
    #[must_use]
    pub fn peer(self, server_name: &str, config: Value) -> Self {
        self.does(Action::Peer(server_name.to_owned(), object(config)))
    }

    /// Runs on this Debian suite (for its Python, OpenSSL and SQLite) instead of the release's usual one.
    #[must_use]
    pub fn suite(self, suite: images::Suite) -> Self {
        self.does(Action::Suite(suite))
    }

    /// Has these Python distributions beside those of the release, in place of any named before: `name==version`, each
    /// that is needed, for what they depend on does not come by itself.
    #[must_use]
    pub fn packages<'a>(self, packages: impl IntoIterator<Item = &'a str>) -> Self {
        self.does(Action::Packages(packages.into_iter().map(str::to_owned).collect()))
    }

    /// On PostgreSQL the server is of this major version. A step that changes it moves the database by dump and restore.
    #[must_use]
    pub fn postgres(self, major: u32) -> Self {
        self.does(Action::Postgres(major))
    }

    /// Further arguments on the homeserver's command line.
    #[must_use]
    pub fn arguments<const N: usize>(self, arguments: [&str; N]) -> Self {
        self.does(Action::Arguments(arguments.map(str::to_owned).to_vec()))
    }

    /// On PostgreSQL the database has this collation and character type instead of `C`; `C/C.utf8` where they differ.
    #[must_use]
    pub fn locale(self, locale: &str) -> Self {
        self.does(Action::Locale(locale.to_owned()))
    }

    // What is seen.

    /// What the data holds before the first hop: done once, on the first leg.
    #[must_use]
    pub fn seed<F, Fut>(self, seed: F) -> Self
    where
        F: Fn(Live) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.edit(|variant| variant.seeds.push(Act::new(seed)))
    }

    /// Begins a fact: a name, and the probe that observes it on every leg.
    #[must_use]
    pub fn fact(self, name: &str, probe: impl Into<Probe>) -> Self {
        let fact = Fact::new(name, probe.into());
        let inherited = if self.variants.len() > 1 { self.variants[0].facts.len() } else { 0 };
        self.edit(|variant| {
            let same = variant.facts.iter().take(inherited).position(|other| other.name == fact.name);
            variant.fact = same.unwrap_or(variant.facts.len());
            match same {
                Some(index) => variant.facts[index] = fact,
                None => variant.facts.push(fact),
            }
        })
    }

    /// Releases before the note's own show the first value, those from it on the second.
    #[must_use]
    pub fn changes(self, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        let values = (before.into(), after.into());
        self.last_fact(|fact| fact.changes = Some(values))
    }

    /// Releases before `release` show this.
    #[must_use]
    pub fn until(self, release: &str, value: impl Into<Value>) -> Self {
        let (release, value) = (version(release), value.into());
        self.last_fact(|fact| fact.until = Some((release, value)))
    }

    /// Releases from `release` on show this.
    #[must_use]
    pub fn since(self, release: &str, value: impl Into<Value>) -> Self {
        let (release, value) = (version(release), value.into());
        self.last_fact(|fact| fact.since.push((release, value)))
    }

    /// Every release shows this.
    #[must_use]
    pub fn always(self, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.last_fact(|fact| fact.always = Some(value))
    }

    /// The change cannot be noticed in a control, which runs the old release's code under the new one's number, and why.
    #[must_use]
    pub fn beyond_control(self, reason: &str) -> Self {
        let reason = reason.to_owned();
        self.last_fact(|fact| fact.beyond_control = Some(reason))
    }

    // Company and health.

    /// This variant needs a deployment of its own, and why.
    #[must_use]
    pub fn alone(self, reason: &str) -> Self {
        self.edit(|variant| variant.alone = Some(reason.to_owned()))
    }

    /// This variant waits for long by its nature, and why: it sets out first, so that others use the cores meanwhile.
    #[must_use]
    pub fn waits(self, reason: &str) -> Self {
        self.edit(|variant| variant.waits = Some(reason.to_owned()))
    }

    /// Starts on an empty data directory: the release's own first start is part of what is observed.
    #[must_use]
    pub fn from_scratch(self) -> Self {
        self.edit(|variant| variant.from_scratch = true)
    }

    /// On the last leg begun (or, before `hop`, on every leg) a health check shows this instead of its usual value.
    #[must_use]
    pub fn health(self, check: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.edit(|variant| {
            let leg = variant.legs.len().checked_sub(1);
            variant.health.entry(check.to_owned()).or_default().push((leg, value));
        })
    }

    /// ERROR lines that match this regular expression belong to the note.
    #[must_use]
    pub fn log_error(self, pattern: &str) -> Self {
        self.edit(|variant| variant.log_errors.push(pattern.to_owned()))
    }

    /// Users' data is not watched on this variant, and why.
    #[must_use]
    pub fn without_estate(self, reason: &str) -> Self {
        self.edit(|variant| variant.without_estate = Some(reason.to_owned()))
    }

    pub(crate) fn rich_estate(self) -> Self {
        self.edit(|variant| variant.estate = Size::Rich)
    }

    // Reading.

    /// The function's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The release whose note it is.
    pub fn release(&self) -> &Version {
        &self.release
    }

    /// The note's heading.
    pub fn heading(&self) -> &str {
        &self.heading
    }

    /// Where upstream's text and real servers disagree.
    pub fn disagreements(&self) -> &[Disagreement] {
        &self.disagreements
    }

    /// The releases on its paths, the oldest first.
    pub fn releases(&self) -> BTreeSet<&Version> {
        self.running().iter().flat_map(|variant| &variant.legs).map(|leg| &leg.release).collect()
    }

    /// Is it about users' data, and of no note?
    pub fn is_survival(&self) -> bool {
        self.is_survival
    }

    /// Does it look into images only?
    pub fn is_inspection(&self) -> bool {
        self.inspection
    }

    /// `v1_53_0::msc3283_capabilities`, without the database.
    pub fn path(&self) -> String {
        if let Some(area) = &self.area {
            return format!("qualify::{area}::{}", self.name);
        }
        if self.line.is_some() {
            return format!("path::{}", self.name);
        }
        format!("v{}::{}", self.release.to_string().replace('.', "_"), self.name)
    }

    /// Variants that run: the common part is none of them once a scenario names variants.
    pub(crate) fn running(&self) -> &[Variant] {
        if self.variants.len() > 1 { &self.variants[1..] } else { &self.variants }
    }

    /// Is the scenario fit to run? One sentence for each thing that is wrong.
    ///
    /// A note that changes something must have a fact whose expected value differs between two legs: only then has the
    /// same probe been seen to return both values.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for variant in self.running() {
            let place = if variant.name.is_empty() { String::new() } else { format!("variant `{}`: ", variant.name) };
            if variant.legs.is_empty() {
                problems.push(format!("{place}no path: say `.hop(from, to)`"));
            }
            if let [first, second, ..] = variant.legs.as_slice()
                && first.release > second.release
                && self.line.is_none()
            {
                problems
                    .push(format!("{place}{} is newer than {}: a path begins upwards", first.release, second.release));
            }
            let mut names = Vec::new();
            for fact in &variant.facts {
                if names.contains(&&fact.name) {
                    problems.push(format!("{place}two facts are named `{}`", fact.name));
                }
                names.push(&fact.name);
                problems.extend(fact.problems().into_iter().map(|problem| format!("{place}{problem}")));
                if !fact.probe.is_step() {
                    for leg in &variant.legs {
                        if !leg.now.contains_key(&fact.name) && fact.expected(&leg.release).is_none() {
                            problems.push(format!("{place}fact `{}` says nothing of {}", fact.name, leg.release));
                        }
                    }
                }
            }
            for leg in &variant.legs {
                for (fact, value) in &leg.now {
                    if !names.contains(&fact) {
                        problems.push(format!("{place}leg {} expects an unknown fact `{fact}`", leg.head()));
                    }
                    if let Err(problem) = expect::check(value) {
                        problems.push(format!("{place}fact `{fact}`: {problem}"));
                    }
                }
            }
        }
        if self.invariant.is_none() && !self.shows_a_change() {
            problems.push(
                "no fact is expected to change on the path, so the scenario would pass whatever the new release does \
                 (add one, or say `.invariant(reason)`)"
                    .to_owned(),
            );
        }
        problems
    }

    /// Is a fact expected to differ between two legs?
    fn shows_a_change(&self) -> bool {
        self.databases
            .iter()
            .all(|&database| self.running().iter().any(|variant| variant.changing(database).next().is_some()))
    }
}

impl Variant {
    /// Facts that are expected to differ between two legs, with the two legs.
    pub(crate) fn changing(&self, database: Database) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.facts.iter().enumerate().flat_map(move |(index, fact)| {
            let expected: Vec<_> = self.legs.iter().map(|leg| expected(fact, leg, database)).collect();
            (1..expected.len())
                .filter(move |&leg| {
                    expected[leg].is_some() && expected[leg - 1].is_some() && expected[leg] != expected[leg - 1]
                })
                .map(move |leg| (index, leg - 1, leg))
        })
    }
}

impl Fact {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let name = &self.name;
        let values = self.until.iter().chain(&self.since).map(|(_, value)| value).chain(&self.always);
        for value in values {
            if let Err(problem) = expect::check(value) {
                problems.push(format!("fact `{name}`: {problem}"));
            }
        }
        if self.changes.is_some() {
            problems.push(format!("fact `{name}` changes with a note whose release nobody named"));
        }
        if self.always.is_some() && (self.until.is_some() || !self.since.is_empty()) {
            problems.push(format!("fact `{name}` is said to hold always and by release"));
        }
        if let (Some((until, _)), Some((since, _))) = (&self.until, self.since.first())
            && until != since
        {
            problems.push(format!("fact `{name}` leaves a gap between `until {until}` and `since {since}`"));
        }
        if !self.since.is_sorted_by(|a, b| a.0 < b.0) {
            problems.push(format!("fact `{name}` has releases out of order"));
        }
        problems
    }
}

/// Collects a release's scenarios: `notes!("1.53.0": webclient_listener, msc3283_capabilities);` defines
/// `pub fn scenarios() -> Vec<Scenario>`, each scenario named after its function.
#[macro_export]
macro_rules! notes {
    ($release:literal : $($scenario:ident),+ $(,)?) => {
        /// The scenarios of this release's notes, in the order of upstream's text.
        pub fn scenarios() -> Vec<$crate::Scenario> {
            vec![$($scenario().named($release, stringify!($scenario))),+]
        }
    };
}

/// A metrics listener on port 9000, as in `homeserver.yaml`.
pub fn metrics_listener() -> Value {
    json!({ "type": "metrics", "port": 9000, "bind_addresses": ["0.0.0.0"] })
}

/// An empty JSON object.
pub fn nothing() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn hop() -> Scenario {
        Scenario::for_note("A heading").named("1.53.0", "name").hop("1.52.0", "1.53.0")
    }

    #[test]
    fn the_value_of_a_fact_is_looked_up_by_release() {
        let scenario = hop().fact("a", get("/")).until("1.53.0", 1).since("1.53.0", 2).since("1.54.0", 3);
        let fact = scenario.running()[0].facts.last().unwrap();
        let expected = |release: &str| fact.expected(&version(release)).cloned();
        assert_eq!(expected("1.30.0"), Some(json!(1)));
        assert_eq!(expected("1.53.0rc1"), Some(json!(2)));
        assert_eq!(expected("1.53.1"), Some(json!(2)));
        assert_eq!(expected("1.163.0"), Some(json!(3)));
    }

    #[test]
    fn a_leg_can_show_otherwise() {
        let scenario = hop().fact("a", get("/")).until("1.53.0", 1).since("1.53.0", 2).begin_step("a step").now("a", 1);
        let variant = &scenario.running()[0];
        let fact = variant.facts.last().unwrap();
        let shown: Vec<_> = variant.legs.iter().map(|leg| expected(fact, leg, Database::Sqlite)).collect();
        assert_eq!(shown, [Some(json!(1)), Some(json!(2)), Some(json!(1))]);
    }

    #[test]
    fn a_scenario_that_shows_no_change_is_refused() {
        let scenario = hop().fact("a", get("/")).always(1);
        assert!(scenario.problems()[0].contains("would pass whatever the new release does"));
        assert_eq!(hop().fact("a", get("/")).always(1).invariant("it must stay").problems(), Vec::<String>::new());
        assert_eq!(hop().fact("a", get("/")).until("1.53.0", 1).since("1.53.0", 2).problems(), Vec::<String>::new());
    }

    #[test]
    fn what_is_malformed_is_named() {
        let scenario = hop()
            .fact("gap", get("/"))
            .until("1.52.0", 1)
            .since("1.53.0", 2)
            .fact("silent", get("/"))
            .since("1.53.0", 1)
            .fact("wrong", get("/"))
            .until("1.53.0", json!({ "$contians": "x" }))
            .since("1.53.0", 1)
            .fact("wrong", get("/"))
            .always(1)
            .now("unknown", 1);
        insta::assert_snapshot!(scenario.problems().join("\n"), @r#"
        fact `gap` leaves a gap between `until 1.52.0` and `since 1.53.0`
        fact `gap` says nothing of 1.52.0
        fact `silent` says nothing of 1.52.0
        fact `wrong`: `{"$contians":"x"}` is not a matcher
        two facts are named `wrong`
        leg 1.53.0 expects an unknown fact `unknown`
        "#);
    }

    #[test]
    fn that_the_homeserver_starts_goes_without_saying() {
        let variant = &hop().running()[0].clone();
        assert!(variant.facts[0].probe.is_start());
        assert!(variant.legs.iter().all(|leg| variant.starts(leg, Database::Sqlite)));
        let refused = hop().fact("start", start()).until("1.53.0", started()).since("1.53.0", refused("x"));
        let refused = refused.named("1.53.0", "name");
        let variant = &refused.running()[0];
        assert_eq!(
            variant.legs.iter().map(|leg| variant.starts(leg, Database::Sqlite)).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn what_is_said_in_a_block_holds_there() {
        let scenario = Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .config(json!({ "common": 1 }))
            .fact("a", get("/"))
            .changes(1, 2)
            .variant("one", |it| {
                it.fact("a", get("/other"))
                    .always(3)
                    .fact("b", get("/"))
                    .changes(4, 5)
                    .step("a step", |it| it.reconfigure(json!({ "common": 2 })).unset("email").now("b", 6))
            })
            .variant("two", |it| it.leg("1.52.0", "rolled back", |it| it.file("x", "y")))
            .named("1.53.0", "name");
        let [one, two] = scenario.running() else { panic!("two variants") };
        let shown = |variant: &Variant, fact: &str| -> Vec<Value> {
            let fact = variant.facts.iter().find(|other| other.name == fact).unwrap();
            variant.legs.iter().filter_map(|leg| expected(fact, leg, Database::Sqlite)).collect()
        };
        assert_eq!(shown(one, "a"), [3, 3, 3]);
        assert_eq!(shown(one, "b"), [4, 5, 6]);
        assert_eq!(shown(two, "a"), [1, 2, 1]);
        assert_eq!(one.deployment, two.deployment);
        insta::assert_debug_snapshot!(one.legs[2].before, @r#"
        [
            configure {"common":2},
            unset email,
        ]
        "#);
        assert_eq!(two.legs[2].head(), "1.52.0, rolled back");
    }

    #[test]
    #[should_panic(expected = "said before the first")]
    fn nothing_common_is_said_after_a_variant() {
        let _ = hop().variant("one", |it| it).config(json!({}));
    }

    #[test]
    #[should_panic(expected = "is an operator's step")]
    fn an_operator_acts_before_a_leg() {
        let _ = hop().unset("email");
    }

    #[test]
    fn variants_begin_with_what_is_common() {
        let scenario = Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .config(json!({ "common": 1 }))
            .begin_variant("one")
            .config(json!({ "own": 1 }))
            .begin_variant("two");
        let configs: Vec<_> =
            scenario.running().iter().map(|variant| Value::Object(variant.deployment.config.clone())).collect();
        assert_eq!(configs, [json!({ "common": 1, "own": 1 }), json!({ "common": 1 })]);
    }
}
