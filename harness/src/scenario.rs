//! A scenario: the executable form of one upgrade note.

use std::{collections::BTreeMap, fmt, sync::Arc};

use images::Version;
use reports::Disagreement;
use serde_json::{Map, Value, json};

use crate::{
    Database, Deployment, Live, Probe, companion,
    config::SERVER_NAME,
    deployment::{CompanionSpec, Proxy, Worker},
    estate::Size,
    expect,
    probe::{self, BoxFuture},
};

/// The executable form of one note: what is deployed, which path it walks, which facts it must show by release.
///
/// Built as a sentence. Methods apply to the variant begun last ([`Scenario::variant`]); [`Scenario::until`],
/// [`Scenario::since`] and [`Scenario::always`] to the fact begun last; [`Scenario::change`], [`Scenario::sql`],
/// [`Scenario::act`] and [`Scenario::now`] to the leg begun last.
///
/// # Panics
///
/// Builder methods panic when they are used out of order or with a malformed version. A unit test builds every scenario, so a
/// run never meets that.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) release: Version,
    pub(crate) heading: String,
    pub(crate) databases: Vec<Database>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) disagreements: Vec<Disagreement>,
    pub(crate) invariant: Option<String>,
    pub(crate) inspection: bool,
    pub(crate) is_survival: bool,
}

/// One deployment of a scenario, with its own path and facts.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) deployment: Deployment,
    pub(crate) legs: Vec<Leg>,
    pub(crate) facts: Vec<Fact>,
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
    /// What happens between the stop of the leg before and this leg's start.
    pub(crate) before: Vec<Step>,
    /// Facts that this leg shows otherwise than its release says.
    pub(crate) now: BTreeMap<String, Value>,
}

/// An operator's step.
#[derive(Clone)]
pub(crate) enum Step {
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
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(_) => f.write_str("Change"),
            Self::Sql { fact, .. } => write!(f, "Sql({fact})"),
            Self::Act(_) => f.write_str("Act"),
        }
    }
}

impl Fact {
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
    fn on(release: Version) -> Self {
        Self { release, title: None, before: Vec::new(), now: BTreeMap::new() }
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

fn version(text: &str) -> Version {
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
            variants: vec![Variant::new("")],
            disagreements: Vec::new(),
            invariant: None,
            inspection: false,
            is_survival: false,
        }
    }

    /// A scenario of no note: a rich estate must be there unchanged after a hop.
    pub fn survival(from: &str, to: &str) -> Self {
        let mut scenario = Self::for_note("Users' data survives")
            .named(to, "survival")
            .hop(from, to)
            .invariant("what users own is the same before and after")
            .rich_estate();
        scenario.is_survival = true;
        scenario
    }

    /// Names the scenario and the release whose note it is; called by the [`notes!`](crate::notes) macro.
    #[must_use]
    pub fn named(mut self, release: &str, name: &str) -> Self {
        self.release = version(release);
        name.clone_into(&mut self.name);
        for variant in &mut self.variants {
            // That the homeserver comes up goes without saying, and is checked all the same.
            if !variant.facts.iter().any(|fact| fact.probe.is_start()) {
                let start = Fact {
                    name: "start".to_owned(),
                    probe: probe::start(),
                    until: None,
                    since: Vec::new(),
                    always: Some(probe::started()),
                };
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

    /// Declares that the scenario looks into the releases' images only, because their servers show no difference.
    #[must_use]
    pub fn inspection(mut self) -> Self {
        self.inspection = true;
        self
    }

    /// Begins a further variant: another deployment of the same note. What was said before the first variant
    /// (path, configuration, companions, seeds, facts) is common to all.
    #[must_use]
    pub fn variant(mut self, name: &str) -> Self {
        // The first is the common part, and stays unnamed.
        let common = self.variants[0].clone();
        self.variants.push(Variant { name: name.to_owned(), ..common });
        self
    }

    fn here(&mut self) -> &mut Variant {
        self.variants.last_mut().expect("there is always one")
    }

    fn edit(mut self, edit: impl FnOnce(&mut Variant)) -> Self {
        edit(self.here());
        self
    }

    fn leg(self, edit: impl FnOnce(&mut Leg)) -> Self {
        self.edit(|variant| edit(variant.legs.last_mut().expect("begin with `.hop(from, to)`")))
    }

    fn last_fact(self, edit: impl FnOnce(&mut Fact)) -> Self {
        self.edit(|variant| edit(variant.facts.last_mut().expect("begin with `.fact(name, probe)`")))
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

    /// Lengthens the path by a leg on the same release, after an operator's step.
    #[must_use]
    pub fn step(self, title: &str) -> Self {
        self.edit(|variant| {
            let release = variant.legs.last().expect("begin with `.hop(from, to)`").release.clone();
            variant.legs.push(Leg { title: Some(title.to_owned()), ..Leg::on(release) });
        })
    }

    /// Gives the last leg a title.
    #[must_use]
    pub fn titled(self, title: &str) -> Self {
        self.leg(|leg| leg.title = Some(title.to_owned()))
    }

    /// Before the last leg starts, the operator changes the deployment.
    #[must_use]
    pub fn change(self, change: impl Fn(&mut Deployment) + Send + Sync + 'static) -> Self {
        self.leg(|leg| leg.before.push(Step::Change(Arc::new(change))))
    }

    /// Before the last leg starts, with the server stopped, the operator runs SQL exactly as given. What becomes of it is
    /// a fact of that name: `"done"`, or the database's error. `text` and `outcome` may differ
    /// [by database](crate::expect::per_database).
    #[must_use]
    pub fn sql(self, fact: &str, text: impl Into<Value>, outcome: impl Into<Value>) -> Self {
        let (text, outcome) = (text.into(), outcome.into());
        self.edit(|variant| {
            let leg = variant.legs.last_mut().expect("begin with `.hop(from, to)`");
            leg.before.push(Step::Sql { fact: fact.to_owned(), text });
            leg.now.insert(fact.to_owned(), outcome);
            variant.facts.push(Fact {
                name: fact.to_owned(),
                probe: Probe::of_step(),
                until: None,
                since: Vec::new(),
                always: None,
            });
        })
    }

    /// Before the last leg starts, with the server stopped, something else is done.
    #[must_use]
    pub fn act<F, Fut>(self, act: F) -> Self
    where
        F: Fn(Live) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.leg(|leg| leg.before.push(Step::Act(Act::new(act))))
    }

    /// On the last leg this fact shows another value than the table says of the release.
    #[must_use]
    pub fn now(self, fact: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.leg(|leg| {
            leg.now.insert(fact.to_owned(), value);
        })
    }

    // The deployment.

    /// Merges a fragment into the homeserver's configuration.
    #[must_use]
    pub fn config(self, fragment: Value) -> Self {
        self.edit(|variant| {
            variant.deployment.config(fragment);
        })
    }

    /// Leaves out a top-level key that the harness otherwise sets for every deployment.
    #[must_use]
    pub fn without(self, key: &str) -> Self {
        self.edit(|variant| {
            variant.deployment.without.insert(key.to_owned());
        })
    }

    /// Further resources on the main listener: `metrics`, `replication` …
    #[must_use]
    pub fn resources<const N: usize>(self, names: [&str; N]) -> Self {
        self.edit(|variant| variant.deployment.resources.extend(names.map(str::to_owned)))
    }

    /// A further listener, as in `homeserver.yaml`.
    #[must_use]
    pub fn listener(self, listener: Value) -> Self {
        self.edit(|variant| variant.deployment.listeners.push(listener))
    }

    /// A file; a relative path is below `/data`, `{synapse}/…` inside the installed package.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<String>) -> Self {
        self.edit(|variant| {
            variant.deployment.file(path, content);
        })
    }

    /// A Python module on the path of the homeserver: `name.py` with this source.
    #[must_use]
    pub fn module(self, name: &str, source: &str) -> Self {
        self.file(&format!("modules/{name}.py"), source)
    }

    /// An environment variable of the homeserver's processes.
    #[must_use]
    pub fn environment(self, name: &str, value: &str) -> Self {
        self.edit(|variant| {
            variant.deployment.environment.insert(name.to_owned(), value.to_owned());
        })
    }

    /// A worker process; Redis comes along.
    #[must_use]
    pub fn worker<const N: usize>(self, name: &str, app: &str, resources: [&str; N], config: Value) -> Self {
        let Value::Object(config) = config else { panic!("a configuration fragment is an object") };
        self.edit(|variant| {
            variant.deployment.workers.push(Worker {
                name: name.to_owned(),
                app: app.to_owned(),
                resources: resources.map(str::to_owned).to_vec(),
                config,
            });
        })
    }

    /// A reverse proxy in front, a real nginx. A request that matches one of the patterns (regular expressions of the
    /// path) goes to that process, `main` or a worker; nginx answers all others with 404.
    #[must_use]
    pub fn proxy<const N: usize>(self, name: &str, routes: [(&str, &str); N]) -> Self {
        let routes = routes.map(|(pattern, process)| (pattern.to_owned(), process.to_owned())).to_vec();
        self.edit(|variant| {
            variant.deployment.proxies.insert(name.to_owned(), Proxy { routes, ..Proxy::default() });
        })
    }

    /// Further nginx directives for the server block of the proxy of this name.
    #[must_use]
    pub fn directives<const N: usize>(self, proxy: &str, lines: [&str; N]) -> Self {
        self.edit(|variant| {
            let proxy = variant.deployment.proxies.get_mut(proxy).expect("begin with `.proxy(name, routes)`");
            proxy.directives.extend(lines.map(str::to_owned));
        })
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
        self.edit(|variant| {
            variant.deployment.companions.insert(host.to_owned(), spec);
        })
    }

    /// A second homeserver of the same release, with this server name and fragment of configuration; the two federate
    /// over TLS.
    #[must_use]
    pub fn peer(self, server_name: &str, config: Value) -> Self {
        let Value::Object(config) = config else { panic!("a configuration fragment is an object") };
        self.edit(|variant| {
            variant.deployment.peers.insert(server_name.to_owned(), config);
        })
    }

    /// Runs on this Debian suite (for its Python, OpenSSL and SQLite) instead of the release's usual one.
    #[must_use]
    pub fn suite(self, suite: images::Suite) -> Self {
        self.edit(|variant| variant.deployment.suite = Some(suite))
    }

    /// On PostgreSQL the database has this collation and character type instead of `C`.
    #[must_use]
    pub fn locale(self, locale: &str) -> Self {
        self.edit(|variant| variant.deployment.locale = Some(locale.to_owned()))
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
        let probe = probe.into();
        self.edit(|variant| {
            variant.facts.push(Fact { name: name.to_owned(), probe, until: None, since: Vec::new(), always: None });
        })
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

    fn rich_estate(self) -> Self {
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
        if self.invariant.is_none() && !self.changes() {
            problems.push(
                "no fact is expected to change on the path, so the scenario would pass whatever the new release does \
                 (add one, or say `.invariant(reason)`)"
                    .to_owned(),
            );
        }
        problems
    }

    /// Is a fact expected to differ between two legs?
    fn changes(&self) -> bool {
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
        let scenario = hop().fact("a", get("/")).until("1.53.0", 1).since("1.53.0", 2).step("a step").now("a", 1);
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
    fn variants_begin_with_what_is_common() {
        let scenario = Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .config(json!({ "common": 1 }))
            .variant("one")
            .config(json!({ "own": 1 }))
            .variant("two");
        let configs: Vec<_> =
            scenario.running().iter().map(|variant| Value::Object(variant.deployment.config.clone())).collect();
        assert_eq!(configs, [json!({ "common": 1, "own": 1 }), json!({ "common": 1 })]);
    }
}
