//! One walk: a deployment on its path, observed on every leg.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context as _, anyhow, bail};
use images::{Image, Version, Wanted};
use reports::{Cell, CellVerdict, Event, FactRow, FactTable, LegFinished, Observed};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    Database, Live,
    client::{Transcript, UnexpectedAnswer, database::Store},
    companion, config, estate, expect, fixture, health,
    homeserver::{Homeserver, Site, Start},
    live,
    plan::{Plan, RiderPlan, Walk},
    run::Engine,
    scenario::{Fact, Leg, Step, Variant, expected},
    tolerance::Subject,
};

/// What one rider brings home.
#[derive(Debug)]
pub(crate) struct RiderOutcome {
    pub(crate) rider: RiderPlan,
    pub(crate) table: FactTable,
    /// Why nothing can be said of the homeserver, if that is so.
    pub(crate) trouble: Option<String>,
    /// Was everything there for the walk to begin?
    set_out: bool,
    pub(crate) seconds: f64,
}

impl RiderOutcome {
    pub(crate) fn failed(&self) -> bool {
        self.cells().any(|cell| cell.verdict == CellVerdict::Mismatch)
    }

    pub(crate) fn errors(&self) -> impl Iterator<Item = String> {
        self.cells().filter_map(|cell| match (&cell.verdict, &cell.observed) {
            (CellVerdict::Error, Observed::Error(error)) => Some(error.clone()),
            _ => None,
        })
    }

    /// Names of the scenario's own facts that came out otherwise than expected.
    pub(crate) fn facts_that_differ(&self) -> impl Iterator<Item = &str> {
        let differs = |row: &&FactRow| row.cells.iter().any(|cell| cell.verdict == CellVerdict::Mismatch);
        self.table.facts.iter().filter(differs).map(|row| row.fact.as_str())
    }

    /// Did something go wrong, other than with what was there before the walk set out?
    pub(crate) fn is_company_suspect(&self) -> bool {
        self.errors().next().is_some() || self.trouble.is_some() && self.set_out
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.table.facts.iter().chain(&self.table.health).flat_map(|row| &row.cells)
    }
}

/// A rider under way.
struct Rider<'a> {
    plan: RiderPlan,
    variant: &'a Variant,
    memory: Arc<live::Rider>,
    /// Cells by fact, then leg.
    facts: Vec<Vec<Cell>>,
    health: BTreeMap<&'static str, Vec<Cell>>,
}

/// One leg's fingerprints and figures.
#[derive(Default)]
struct Figures {
    cpu: f64,
    boots: usize,
    fingerprints: Vec<(String, String)>,
}

struct Walking<'a> {
    engine: &'a Engine,
    index: usize,
    walk: &'a Walk,
    deployment: crate::Deployment,
    riders: Vec<Rider<'a>>,
    directory: PathBuf,
    site: Site,
    store: Store,
    postgres: Option<Arc<crate::postgres::Database>>,
    companions: BTreeMap<String, companion::Running>,
    /// The fixture's file, for the first leg of a walk on SQLite.
    first_data: Option<PathBuf>,
    estate_memory: Arc<live::Rider>,
    estate: Option<estate::Estate>,
    /// Highest schema version of the releases that have run.
    schema: Option<u32>,
}

/// Walks, and gives every rider's table. Never fails: what goes wrong is told to the riders.
pub(crate) async fn run(engine: &Engine, plan: &Plan, index: usize, walk: &Walk) -> Vec<RiderOutcome> {
    let begun = Instant::now();
    let company = walk.riders.len() > 1;
    let riders: Vec<Rider<'_>> = walk
        .riders
        .iter()
        .enumerate()
        .map(|(number, &rider)| {
            let variant = plan.trials[rider.trial].variant(rider.variant);
            let suffix = if company { format!(".{}", number + 1) } else { String::new() };
            Rider {
                plan: rider,
                variant,
                memory: Arc::new(live::Rider::new(&suffix)),
                facts: vec![Vec::new(); variant.facts.len()],
                health: BTreeMap::new(),
            }
        })
        .collect();
    let evidence = format!("walks/{:03}-{}", index + 1, slug(&walk.title()));
    let directory = engine.directory.join(&evidence);
    let (riders, trouble, set_out) = match Walking::prepare(engine, index, walk, riders, directory).await {
        Ok(mut walking) => {
            let trouble = walking.legs().await.err();
            let Walking { riders, .. } = walking.clean_up().await;
            (riders, trouble, true)
        }
        Err((riders, error)) => {
            engine.leftover(engine.daemon.sweep_site(&site_name(engine, index)).await);
            (riders, Some(error), false)
        }
    };
    let trouble = trouble.map(|error| format!("{error:#}"));
    riders
        .into_iter()
        .map(|rider| RiderOutcome {
            rider: rider.plan,
            table: rider.table(index, &evidence, trouble.is_some()),
            trouble: trouble.clone(),
            set_out,
            seconds: begun.elapsed().as_secs_f64(),
        })
        .collect()
}

fn site_name(engine: &Engine, index: usize) -> String {
    engine.daemon.name(&(index + 1).to_string())
}

fn slug(title: &str) -> String {
    title.to_lowercase().replace(" → ", "-to-").replace(", ", "-")
}

impl<'a> Walking<'a> {
    async fn prepare(
        engine: &'a Engine,
        index: usize,
        walk: &'a Walk,
        riders: Vec<Rider<'a>>,
        directory: PathBuf,
    ) -> Result<Self, (Vec<Rider<'a>>, anyhow::Error)> {
        let prepared = async {
            fs::create_dir_all(&directory).with_context(|| format!("cannot write {}", directory.display()))?;
            let first = &walk.legs[0].release;
            let image = engine.image(&walk.homeserver(first)).await?;
            let prefix = site_name(engine, index);
            let data_volume = format!("{prefix}-data");
            let server = match walk.database {
                Database::Sqlite => None,
                Database::Postgres => Some(engine.postgres(walk.postgres()).await?),
            };
            let fixture = engine.fixture(walk).await?;
            let name = format!("walk-{}", index + 1);
            let locale = walk.deployment.locale.as_deref();
            let postgres = match (&server, &fixture) {
                (None, _) => None,
                (Some(server), Some(fixture)) => {
                    Some(Arc::new(server.create_from(&name, &fixture.path, &fixture.key, locale).await?))
                }
                (Some(server), None) => Some(Arc::new(server.create_empty(&name, locale).await?)),
            };
            engine.daemon.create_network(&prefix).await?;
            engine.daemon.create_volume(&data_volume, Some(&prefix)).await?;
            let store = match &postgres {
                Some(database) => Store::Postgres(Arc::clone(database)),
                None => Store::Sqlite {
                    daemon: engine.daemon.clone(),
                    volume: data_volume.clone(),
                    image: image.reference.clone(),
                },
            };
            let nginx = if walk.deployment.proxies.is_empty() {
                None
            } else {
                Some(engine.image(&Wanted::Companion(images::Companion::Nginx)).await?.reference)
            };
            let site = Site {
                daemon: engine.daemon.clone(),
                network: prefix.clone(),
                prefix,
                data_volume,
                socket_volume: server.as_ref().map(|server| server.socket_volume.clone()),
                database: postgres.as_ref().map_or_else(fixture::sqlite_config, |database| database.config()),
                server_name: config::SERVER_NAME.to_owned(),
                authority: Arc::clone(&engine.authority),
                http: engine.http.clone(),
                name_server: None,
                nginx,
            };
            let first_data = fixture.filter(|_| postgres.is_none()).map(|fixture| fixture.path);
            anyhow::Ok((site, store, postgres, first_data))
        }
        .await;
        let (site, store, postgres, first_data) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((riders, error)),
        };
        Ok(Self {
            engine,
            index,
            walk,
            deployment: walk.deployment.clone(),
            riders,
            directory,
            site,
            store,
            postgres,
            companions: BTreeMap::new(),
            first_data,
            estate_memory: Arc::new(live::Rider::new(".estate")),
            estate: None,
            schema: None,
        })
    }

    async fn legs(&mut self) -> anyhow::Result<()> {
        for (number, leg) in self.walk.legs.iter().enumerate() {
            let goes_on =
                self.leg(number, leg).await.with_context(|| format!("leg {} ({})", number + 1, leg.head()))?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Starts companions, and again those that a step has changed.
    async fn tend_companions(&mut self) -> anyhow::Result<()> {
        let mut wanted = self.deployment.companions.clone();
        if !self.deployment.workers.is_empty() {
            wanted.insert("redis".to_owned(), companion::redis());
        }
        if !self.deployment.peers.is_empty() {
            wanted.insert("name-server".to_owned(), companion::name_server());
        }
        for (host, spec) in wanted {
            if self.companions.get(&host).is_some_and(|running| running.spec == spec) {
                continue;
            }
            if let Some(old) = self.companions.remove(&host) {
                old.container.remove().await?;
            }
            let image = self.engine.image(&Wanted::Companion(spec.kind)).await?;
            let running = companion::start(&self.site, &image.reference, &host, &spec, &self.directory).await?;
            if spec.kind == images::Companion::NameServer {
                self.site.name_server = Some(running.container.network_address().await?);
            }
            self.companions.insert(host, running);
        }
        Ok(())
    }

    fn companion_addresses(&self) -> BTreeMap<String, String> {
        self.companions.values().flat_map(|running| running.addresses.clone()).collect()
    }

    /// What companions print, since the walk began.
    fn companion_logs(&self) -> impl Iterator<Item = (String, crate::log::Log)> + '_ {
        self.companions.iter().map(|(host, running)| (host.clone(), running.container.log.clone()))
    }

    /// Starts the other homeservers; they have to come up.
    async fn start_peers(
        &self,
        release: &Version,
        image: &str,
        directory: &std::path::Path,
    ) -> anyhow::Result<BTreeMap<String, Homeserver>> {
        let mut peers = BTreeMap::new();
        for (name, config) in &self.deployment.peers {
            let data_volume = format!("{}-{name}-data", self.site.prefix);
            self.engine.daemon.create_volume(&data_volume, Some(&self.site.prefix)).await?;
            let site = Site {
                prefix: format!("{}-{name}", self.site.prefix),
                data_volume,
                socket_volume: None,
                database: fixture::sqlite_config(),
                server_name: name.clone(),
                ..self.site.clone()
            };
            let deployment =
                crate::Deployment { config: config.clone(), is_peer: true, ..crate::Deployment::default() };
            let evidence = directory.join(name);
            fs::create_dir_all(&evidence).with_context(|| format!("cannot write {}", evidence.display()))?;
            let _start = self.engine.starts.take(self.index).await;
            let peer = Homeserver::start(&site, release, image, &deployment, None, &evidence).await?;
            if let Start::Refused { status, printed } = &peer.start {
                bail!("the other homeserver, {name}, ended with status {status}:\n{printed}");
            }
            peers.insert(name.clone(), peer);
        }
        Ok(peers)
    }

    /// Walks one leg. `false` when the homeserver ended by itself: what it left undone would blur what comes after.
    async fn leg(&mut self, number: usize, leg: &Leg) -> anyhow::Result<bool> {
        let begun = Instant::now();
        let engine = self.engine;
        let directory = self.directory.join(format!("{}-{}", number + 1, leg.release));
        fs::create_dir_all(&directory).with_context(|| format!("cannot write {}", directory.display()))?;
        let transcript = Transcript::create(&directory.join("http.jsonl")).context("cannot write evidence")?;
        let image = engine.image(&self.walk.homeserver(&leg.release)).await?;

        if number == 0 {
            self.tend_companions().await?;
        }
        let locale = self.deployment.locale.clone();
        let steps = self.steps(number, leg, &image.reference, &transcript).await?;
        if let Some(database) = self.postgres.as_ref().filter(|_| self.deployment.locale != locale) {
            database.relocate(self.deployment.locale.as_deref()).await?;
        }
        self.tend_companions().await?;
        let peers = self.start_peers(&leg.release, &image.reference, &directory).await?;
        let homeserver = {
            // A start keeps a core busy; what follows mostly waits.
            let _start = engine.starts.take(self.index).await;
            Homeserver::start(
                &self.site,
                &leg.release,
                &image.reference,
                &self.deployment,
                self.first_data.take().as_deref(),
                &directory,
            )
            .await?
        };
        let started = homeserver.start == Start::Started;
        engine.reporter.emit(Event::LegReady {
            walk: self.index,
            leg: number,
            started,
            seconds: homeserver.start_seconds,
        });
        let mut figures = Figures { boots: homeserver.processes(), ..Figures::default() };
        figures.fingerprints.push(("image".to_owned(), format!("{} {}", image.reference, image.id)));

        let mut addresses = homeserver.addresses(&self.deployment)?;
        addresses.extend(self.companion_addresses());
        let leg_state = live::Leg {
            release: leg.release.clone(),
            database: self.walk.database,
            deployment: self.deployment.clone(),
            daemon: engine.daemon.clone(),
            start: homeserver.start.clone(),
            addresses,
            logs: self.companion_logs().chain(homeserver.logs()).collect(),
            container: started.then(|| homeserver.main.id().to_owned()),
            store: self.store.clone(),
            image: image.reference.clone(),
            volume: self.site.data_volume.clone(),
            http: engine.http.clone(),
            transcript,
            versions: OnceCell::new(),
            peers: BTreeMap::new(),
        };
        let leg_state = Arc::new(self.with_peers(leg_state, &peers)?);
        if !started {
            health::agree(&leg.release, &engine.image_says(&image).await?)?;
        }
        let looked = self.look(number, leg, &leg_state, &steps, &mut figures).await;
        // What went wrong may come from a homeserver that is no more: then that is what there is to say.
        let suspected = looked.is_err() || self.probes(number).any(|cell| cell.verdict == CellVerdict::Error);
        let casualty = if started { homeserver.casualty(suspected).await? } else { None };
        let seen = match (looked, &casualty) {
            (Ok(seen), _) => seen,
            (Err(_), Some(_)) => Vec::new(),
            (Err(error), None) => return Err(error),
        };
        let goes_on = casualty.is_none();
        if !goes_on {
            self.forgive(number);
        }
        figures.cpu = homeserver.cpu_seconds().await;
        let stopped = jiff::Timestamp::now();
        for peer in peers.values() {
            figures.cpu += peer.cpu_seconds().await;
            figures.boots += peer.processes();
            peer.stop().await?;
        }
        homeserver.stop().await?;
        self.check_health(number, leg, seen, casualty, &homeserver, stopped)?;
        homeserver.remove().await?;
        for peer in peers.into_values() {
            peer.remove().await?;
        }
        engine.reporter.emit(Event::LegFinished(LegFinished {
            walk: self.index,
            leg: number,
            seconds: begun.elapsed().as_secs_f64(),
            homeserver_cpu_seconds: figures.cpu,
            boots: figures.boots,
            fingerprints: figures.fingerprints,
        }));
        engine.count(figures.cpu, figures.boots);
        Ok(goes_on)
    }

    /// All that is done with a homeserver on a leg; gives what the checks of its health showed.
    async fn look(
        &mut self,
        number: usize,
        leg: &Leg,
        state: &Arc<live::Leg>,
        steps: &BTreeMap<(usize, String), Value>,
        figures: &mut Figures,
    ) -> anyhow::Result<Vec<(&'static str, Value)>> {
        let Some(main) = &state.container else {
            self.observe(number, state, steps).await;
            return Ok(Vec::new());
        };
        self.fingerprint(state, leg, figures).await?;
        if number == 0 {
            self.seed(state).await?;
        }
        self.observe(number, state, steps).await;
        self.meet_schema(&leg.release);
        let checked = health::database(&self.store, main).await?;
        figures.fingerprints.push(("database".to_owned(), checked.engine));
        Ok(checked.checks.into_iter().chain(self.survival(number, state).await?).collect())
    }

    /// The operator's steps before a leg; what their SQL came to, by rider and fact.
    async fn steps(
        &mut self,
        number: usize,
        leg: &Leg,
        image: &str,
        transcript: &Transcript,
    ) -> anyhow::Result<BTreeMap<(usize, String), Value>> {
        let mut outcomes = BTreeMap::new();
        for index in 0..self.riders.len() {
            let variant = self.riders[index].variant;
            let Some(own) = variant.legs.get(number) else { continue };
            for step in &own.before {
                match step {
                    Step::Change(change) => change(&mut self.deployment),
                    Step::Sql { fact, text } => {
                        let live = self.at_rest(index, leg, image, transcript);
                        let text = live.fill(&live.choose(text)?)?;
                        outcomes.insert((index, fact.clone()), live.attempt(&text).await?);
                    }
                    Step::Act(act) => {
                        act.run(self.at_rest(index, leg, image, transcript))
                            .await
                            .with_context(|| format!("the step before `{}`", leg.head()))?;
                    }
                }
            }
        }
        Ok(outcomes)
    }

    /// The deployment between two legs: nothing runs, the data is there.
    fn at_rest(&self, rider: usize, leg: &Leg, image: &str, transcript: &Transcript) -> Live {
        Live {
            leg: Arc::new(live::Leg {
                release: leg.release.clone(),
                database: self.walk.database,
                deployment: self.deployment.clone(),
                daemon: self.engine.daemon.clone(),
                start: Start::Started,
                addresses: self.companion_addresses(),
                logs: BTreeMap::new(),
                container: None,
                store: self.store.clone(),
                image: image.to_owned(),
                volume: self.site.data_volume.clone(),
                http: self.engine.http.clone(),
                transcript: transcript.clone(),
                versions: OnceCell::new(),
                peers: BTreeMap::new(),
            }),
            rider: Arc::clone(&self.riders[rider].memory),
        }
    }

    fn with_peers(&self, mut leg: live::Leg, peers: &BTreeMap<String, Homeserver>) -> anyhow::Result<live::Leg> {
        let mut legs = BTreeMap::new();
        for (name, peer) in peers {
            let mut addresses = peer.addresses(&crate::Deployment::default())?;
            addresses.extend(self.companion_addresses());
            let volume = format!("{}-{name}-data", self.site.prefix);
            let store = Store::Sqlite { daemon: leg.daemon.clone(), volume: volume.clone(), image: leg.image.clone() };
            legs.insert(
                name.clone(),
                Arc::new(live::Leg {
                    release: leg.release.clone(),
                    database: Database::Sqlite,
                    deployment: leg.deployment.clone(),
                    daemon: leg.daemon.clone(),
                    start: Start::Started,
                    addresses,
                    logs: peer.logs(),
                    container: Some(peer.main.id().to_owned()),
                    store,
                    image: leg.image.clone(),
                    volume,
                    http: leg.http.clone(),
                    transcript: leg.transcript.clone(),
                    versions: OnceCell::new(),
                    peers: BTreeMap::new(),
                }),
            );
        }
        leg.peers = legs;
        Ok(leg)
    }

    async fn fingerprint(&self, state: &Arc<live::Leg>, leg: &Leg, figures: &mut Figures) -> anyhow::Result<()> {
        let live = Live { leg: Arc::clone(state), rider: Arc::clone(&self.estate_memory) };
        let version = live.anonymous().get("/_matrix/federation/v1/version").await?.ok()?.json()?;
        let said = version["server"]["version"].as_str().unwrap_or_default().to_owned();
        health::agree(&leg.release, &said)?;
        figures.fingerprints.push(("server".to_owned(), said));
        if !self.deployment.workers.is_empty() {
            let workers: Vec<_> = self.deployment.workers.iter().map(|worker| worker.name.as_str()).collect();
            figures.fingerprints.push(("workers".to_owned(), workers.join(", ")));
        }
        Ok(())
    }

    async fn seed(&self, state: &Arc<live::Leg>) -> anyhow::Result<()> {
        let estate = async {
            match self.walk.estate {
                Some(size) => {
                    let live = Live { leg: Arc::clone(state), rider: Arc::clone(&self.estate_memory) };
                    estate::seed(&live, size).await.context("laying out users' data")
                }
                None => Ok(()),
            }
        };
        let riders = self.riders.iter().map(|rider| async {
            let live = Live { leg: Arc::clone(state), rider: Arc::clone(&rider.memory) };
            for seed in &rider.variant.seeds {
                seed.run(live.clone()).await.context("the scenario's seed")?;
            }
            anyhow::Ok(())
        });
        let (estate, riders) = tokio::join!(estate, futures::future::try_join_all(riders));
        estate?;
        riders?;
        Ok(())
    }

    /// Runs every rider's probes.
    async fn observe(&mut self, number: usize, state: &Arc<live::Leg>, steps: &BTreeMap<(usize, String), Value>) {
        let database = self.walk.database;
        let observations = self.riders.iter().enumerate().map(|(index, rider)| {
            let live = Live { leg: Arc::clone(state), rider: Arc::clone(&rider.memory) };
            async move {
                let mut cells = Vec::new();
                for fact in &rider.variant.facts {
                    let own = rider.variant.legs.get(number);
                    let expected = own.and_then(|own| expected(fact, own, database));
                    let begun = Instant::now();
                    let observed = match own {
                        None => Observed::Nothing("the scenario's path ends before".to_owned()),
                        Some(_) => observe(&live, fact, steps.get(&(index, fact.name.clone()))).await,
                    };
                    cells.push((observed, expected, begun.elapsed().as_secs_f64()));
                }
                cells
            }
        });
        let observed = futures::future::join_all(observations).await;
        for (rider, cells) in self.riders.iter_mut().zip(observed) {
            for (fact, (observed, expected, seconds)) in rider.facts.iter_mut().zip(cells) {
                fact.push(judge(observed, expected, seconds));
            }
        }
    }

    /// What a leg's probes came to.
    fn probes(&mut self, number: usize) -> impl Iterator<Item = &mut Cell> {
        self.riders.iter_mut().flat_map(|rider| &mut rider.facts).filter_map(move |cells| cells.get_mut(number))
    }

    /// Takes back the errors of a leg's probes.
    fn forgive(&mut self, number: usize) {
        for cell in self.probes(number).filter(|cell| cell.verdict == CellVerdict::Error) {
            let expected = cell.expected.take();
            *cell = judge(Observed::Nothing("the homeserver ended".to_owned()), expected, cell.seconds);
        }
    }

    fn meet_schema(&mut self, release: &Version) {
        let release = self.engine.images.releases().get(release).and_then(|release| release.schema_version);
        self.schema = self.schema.max(release);
    }

    async fn survival(
        &mut self,
        number: usize,
        state: &Arc<live::Leg>,
    ) -> anyhow::Result<Option<(&'static str, Value)>> {
        let Some(size) = self.walk.estate else { return Ok(None) };
        let live = Live { leg: Arc::clone(state), rider: Arc::clone(&self.estate_memory) };
        let Some(before) = &self.estate else {
            if number == 0 {
                self.estate = Some(estate::capture(&live, size).await.context("reading users' data")?);
            }
            return Ok(None);
        };
        let shown = match estate::capture(&live, size).await {
            Ok(after) => {
                let changed: Vec<Value> = before
                    .differences(&after)
                    .into_iter()
                    .filter(|difference| {
                        !self.engine.tolerances.permits(Subject::Estate, &state.release, &difference.to_string())
                    })
                    .map(|d| json!({ "what": d.path, "before": d.before, "after": d.after }))
                    .collect();
                if changed.is_empty() { json!("all there") } else { json!({ "lost or changed": changed }) }
            }
            // The owner could not even look.
            Err(error) if error.downcast_ref::<UnexpectedAnswer>().is_some() => {
                json!({ "not readable": format!("{error:#}") })
            }
            Err(error) => return Err(error.context("reading users' data")),
        };
        Ok(Some((health::SURVIVAL, live.scrub(shown))))
    }

    fn check_health(
        &mut self,
        number: usize,
        leg: &Leg,
        mut seen: Vec<(&'static str, Value)>,
        casualty: Option<String>,
        homeserver: &Homeserver,
        stopped: jiff::Timestamp,
    ) -> anyhow::Result<()> {
        let own: Vec<String> = self.riders.iter().flat_map(|rider| rider.variant.log_errors.clone()).collect();
        let logs: Vec<_> =
            homeserver.logs().into_iter().filter(|(name, _)| name != "proxy").map(|(_, log)| log).collect();
        if homeserver.start == Start::Started {
            let errors = health::log_errors(&logs, stopped, &leg.release, &self.engine.tolerances, &own)?;
            seen.push((health::LOG_ERRORS, errors));
            if let Some(casualty) = casualty {
                seen.push((STAYS_UP, json!(casualty)));
            }
        }
        let database = self.walk.database;
        for rider in &mut self.riders {
            if number >= rider.variant.legs.len() {
                continue;
            }
            for (check, value) in &seen {
                let own = rider.variant.health.get(*check).and_then(|answers| {
                    answers.iter().rev().find(|(on, _)| on.is_none_or(|on| on == number)).map(|(_, value)| value)
                });
                let expected = match own {
                    Some(value) => Some(expect::resolve(value, database)),
                    None if *check == STAYS_UP => Some(json!("until it is stopped")),
                    None => health::expected(check, self.schema),
                };
                let cells = rider.health.entry(check).or_default();
                pad(cells, number, "not checked on this leg");
                cells.push(judge(Observed::Value(value.clone()), expected, 0.0));
            }
        }
        Ok(())
    }

    async fn clean_up(mut self) -> Self {
        self.engine.leftover(self.engine.daemon.sweep_site(&self.site.network).await);
        if let Some(database) = self.postgres.take() {
            self.engine.leftover(database.drop_now().await);
        }
        self
    }
}

/// The homeserver runs until the harness stops it.
const STAYS_UP: &str = "stays up";

async fn observe(live: &Live, fact: &Fact, step: Option<&Value>) -> Observed {
    if fact.probe.is_step() {
        return match step {
            Some(outcome) => Observed::Value(live.scrub(outcome.clone())),
            None => Observed::Nothing("a step before another leg".to_owned()),
        };
    }
    if *live.start() != Start::Started && !fact.probe.works_at_rest() {
        return Observed::Nothing("the homeserver refused to start".to_owned());
    }
    let Some(observation) = fact.probe.observe(live) else {
        return Observed::Nothing("recorded by the engine".to_owned());
    };
    // A panic in a probe is the harness's fault, and no reason to lose the other facts.
    match tokio::spawn(observation).await {
        Ok(Ok(value)) => Observed::Value(live.scrub(value)),
        Ok(Err(error)) => match error.downcast_ref::<UnexpectedAnswer>() {
            Some(answer) => Observed::Value(live.scrub(json!({ "unexpected answer": answer.to_string() }))),
            None => Observed::Error(format!("probe `{}`: {error:#}", fact.name)),
        },
        Err(panic) => Observed::Error(format!("probe `{}` panicked: {panic}", fact.name)),
    }
}

fn judge(observed: Observed, expected: Option<Value>, seconds: f64) -> Cell {
    let (verdict, diff) = match (&observed, &expected) {
        (Observed::Error(_), _) => (CellVerdict::Error, None),
        (Observed::Nothing(_), _) | (Observed::Value(_), None) => (CellVerdict::NotCompared, None),
        (Observed::Value(value), Some(expected)) if expect::satisfies(value, expected) => (CellVerdict::Match, None),
        (Observed::Value(value), Some(expected)) => (CellVerdict::Mismatch, Some(expect::diff(value, expected))),
    };
    Cell { expected, observed, verdict, diff, seconds }
}

/// Fills a row up to a leg.
fn pad(cells: &mut Vec<Cell>, legs: usize, reason: &str) {
    while cells.len() < legs {
        cells.push(judge(Observed::Nothing(reason.to_owned()), None, 0.0));
    }
}

impl Rider<'_> {
    fn table(self, walk: usize, evidence: &str, broke_off: bool) -> FactTable {
        let legs = self.variant.legs.len();
        let unseen = if broke_off { "the walk broke off before" } else { "not looked at" };
        let row = |name: &str, mut cells: Vec<Cell>| {
            cells.truncate(legs);
            pad(&mut cells, legs, unseen);
            FactRow { fact: name.to_owned(), cells }
        };
        let facts = self.variant.facts.iter().zip(self.facts).map(|(fact, cells)| row(&fact.name, cells)).collect();
        let health = self.health.into_iter().map(|(check, cells)| row(check, cells)).collect();
        FactTable {
            variant: self.variant.name.clone(),
            walk,
            legs: self.variant.legs.iter().map(Leg::head).collect(),
            facts,
            health,
            evidence: evidence.to_owned(),
        }
    }
}

/// The image that a leg runs, or why there is none.
impl Engine {
    pub(crate) async fn image(&self, wanted: &Wanted) -> anyhow::Result<Image> {
        self.images.obtain(wanted).await.map_err(|error| anyhow!("no image for {wanted}: {error}"))
    }

    /// An error, unless there is such an image, and its code says that it is the release it is wanted for.
    pub(crate) async fn vouch(&self, wanted: &Wanted) -> anyhow::Result<()> {
        let image = self.image(wanted).await?;
        match wanted {
            Wanted::Homeserver { version, .. } => health::agree(version, &self.image_says(&image).await?),
            Wanted::Forged { .. } | Wanted::Companion(_) => Ok(()),
        }
    }

    /// The version that an image's code says it is.
    pub(crate) async fn image_says(&self, image: &Image) -> anyhow::Result<String> {
        const VERSION: &str = "import synapse\n\
            try: print(synapse.__version__)\n\
            except AttributeError:\n    import importlib.metadata; print(importlib.metadata.version('matrix-synapse'))";
        let once = Arc::clone(self.said.lock().await.entry(image.id.clone()).or_default());
        let said = once
            .get_or_try_init(|| async {
                let output = self.daemon.run_once(&image.reference, None, &["-c", VERSION]).await?;
                match output.ok() {
                    Ok(version) => anyhow::Ok(version.trim().to_owned()),
                    Err(error) => bail!("{} holds no Synapse that can be imported: {error:#}", image.reference),
                }
            })
            .await?;
        Ok(said.clone())
    }
}
