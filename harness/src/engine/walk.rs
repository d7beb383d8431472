//! One walk: a deployment on its path, observed on every leg.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use images::{Image, Version, Wanted};
use reports::{Cell, CellSeen, CellVerdict, Event, FactRow, FactTable, LegFinished, Observed, Observer};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    Database, Live,
    checks::{confluence, health, rows},
    client::live,
    client::{Transcript, UnexpectedAnswer},
    database::Store,
    engine::Engine,
    engine::fixture,
    estate,
    path::Ending,
    path::scenario::{FRONT, PORT},
    plan::{self, Plan, RiderPlan, Walk},
    scenario::expect,
    scenario::{Fact, Leg, Step, Variant, expected},
    stage::assistant::Assistant,
    stage::companion,
    stage::config,
    stage::daemon::Usage,
    stage::homeserver::{self, Homeserver, MAIN, Manner, Site, Start},
    stage::hook::Hook,
    verdict::{cell, trial::Home},
};

/// A rider under way.
struct Rider<'a> {
    plan: RiderPlan,
    observer: Observer,
    variant: &'a Variant,
    memory: Arc<live::Rider>,
    /// Cells by fact, then leg.
    facts: Vec<Vec<Cell>>,
    health: BTreeMap<String, Vec<Cell>>,
}

/// What went wrong on a leg in the harness or Docker. It does not end the leg at once: what was seen stays seen, and what can
/// still be looked at is.
#[derive(Default)]
struct Trouble(Vec<anyhow::Error>);

impl Trouble {
    fn keep<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    fn done(mut self) -> anyhow::Result<()> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => {
                let all: Vec<String> = self.0.iter().map(|error| format!("{error:#}")).collect();
                Err(anyhow!("{}", all.join("; then ")))
            }
        }
    }
}

/// Whose seed an error comes from, as its context.
#[derive(Debug)]
struct SeedOf(usize);

impl fmt::Display for SeedOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scenario's seed")
    }
}

/// One leg's fingerprints and figures.
#[derive(Default)]
struct Figures {
    used: Usage,
    /// How large the database is.
    stored: u64,
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
    postgres: Option<Arc<crate::database::postgres::Database>>,
    companions: BTreeMap<String, companion::Running>,
    /// The fixture's file, for the first leg of a walk on SQLite.
    first_data: Option<PathBuf>,
    estate: Option<estate::Keeper>,
    /// The rows of every table when the leg before ended, and its release.
    counted: Option<(Version, rows::Counts)>,
    /// Which of upstream's whole schemas the data began with.
    snapshot: Option<u32>,
    /// Schema versions of the releases that have run; `None` for one that is not known.
    schemas: Vec<Option<u32>>,
    /// Where the data is: a leg may move it.
    database: Database,
    /// Has something been laid out yet? Nobody writes on a leg that is killed at a moment, nor on one that refuses.
    is_seeded: bool,
}

/// Walks, and gives every rider's table. Never fails: what goes wrong is told to the riders.
pub(crate) async fn run(engine: &Engine, plan: &Plan, index: usize, walk: &Walk) -> Vec<Home> {
    let begun = Instant::now();
    let company = walk.riders.len() > 1;
    let riders: Vec<Rider<'_>> = walk
        .riders
        .iter()
        .enumerate()
        .map(|(number, &rider)| {
            let trial = &plan.trials[rider.trial];
            let variant = trial.variant(rider.variant);
            let suffix = if company { format!(".{}", number + 1) } else { String::new() };
            Rider {
                plan: rider,
                observer: Observer { trial: trial.name.clone(), variant: variant.name.clone() },
                variant,
                memory: Arc::new(live::Rider::new(&suffix)),
                facts: vec![Vec::new(); variant.facts.len()],
                // What is never looked at has a row that says so.
                health: health::checks(walk.database).map(|check| (check.to_owned(), Vec::new())).collect(),
            }
        })
        .collect();
    let evidence = walk.evidence(index);
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
        .map(|rider| Home {
            rider: rider.plan,
            table: rider.table(index, &evidence, trouble.is_some()),
            trouble: trouble.clone(),
            set_out,
            seconds: begun.elapsed().as_secs_f64(),
            in_company: None,
        })
        .collect()
}

fn site_name(engine: &Engine, index: usize) -> String {
    engine.daemon.name(&(index + 1).to_string())
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
            let image = engine.image(&walk.homeserver(&walk.deployment, first)).await?;
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
                nginx: None,
            };
            let first_data = fixture.filter(|_| postgres.is_none()).map(|fixture| fixture.path);
            anyhow::Ok((site, store, postgres, first_data))
        }
        .await;
        let (site, store, postgres, first_data) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((riders, error)),
        };
        let is_ported = walk.legs.iter().any(|leg| leg.ported);
        let keeper =
            |size| estate::Keeper::new(&engine.estate, size, &walk.deployment, is_ported, engine.tolerances.clone());
        let mut estate = walk.estate.as_ref().map(keeper);
        let mut deployment = walk.deployment.clone();
        if let Some(estate) = &mut estate {
            estate.configure(&mut deployment);
            // What a newer release prefers, an older one that comes after it may not know: that is no loss.
            let releases = || walk.legs.iter().map(|leg| &leg.release);
            let goes_down = releases().zip(releases().skip(1)).any(|(from, to)| from > to);
            if goes_down && releases().all(config::knows_room_version_10) {
                deployment.config.entry("default_room_version").or_insert_with(|| json!("10"));
            }
        }
        Ok(Self {
            engine,
            index,
            walk,
            deployment,
            riders,
            directory,
            site,
            store,
            postgres,
            companions: BTreeMap::new(),
            first_data,
            estate,
            counted: None,
            snapshot: None,
            schemas: Vec::new(),
            database: walk.database,
            is_seeded: false,
        })
    }

    async fn legs(&mut self) -> anyhow::Result<()> {
        for (number, leg) in self.walk.legs.iter().enumerate() {
            // Boxed: a leg's future is large.
            let walked =
                Box::pin(self.leg(number, leg)).await.with_context(|| format!("leg {} ({})", number + 1, leg.head()));
            if let Err(error) = &walked {
                self.blame(number, error);
            }
            if !walked? {
                break;
            }
        }
        Ok(())
    }

    /// Starts companions, and again those that a step has changed; stops those that it has taken away.
    async fn tend_companions(&mut self) -> anyhow::Result<()> {
        let mut wanted = self.deployment.companions.clone();
        if !self.deployment.workers.is_empty() {
            wanted.insert("redis".to_owned(), companion::redis());
        }
        if !self.deployment.peers.is_empty() {
            wanted.insert("name-server".to_owned(), companion::name_server());
        }
        let gone: Vec<String> = self.companions.keys().filter(|host| !wanted.contains_key(*host)).cloned().collect();
        for running in gone.iter().filter_map(|host| self.companions.remove(host)) {
            running.container.remove().await?;
        }
        if self.deployment.peers.is_empty() {
            self.site.name_server = None;
        }
        if !self.deployment.proxies.is_empty() && self.site.nginx.is_none() {
            let image = self.engine.image(&Wanted::Companion(images::Companion::Nginx)).await?;
            self.site.nginx = Some(image.reference);
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
                self.site.name_server = Some(running.container.network_address()?);
            }
            self.companions.insert(host, running);
        }
        Ok(())
    }

    fn companion_addresses(&self) -> BTreeMap<String, String> {
        self.companions.values().flat_map(|running| running.addresses.clone()).collect()
    }

    /// What companions print, since the walk began.
    fn companion_logs(&self) -> impl Iterator<Item = (String, crate::stage::log::Log)> + '_ {
        self.companions.iter().map(|(host, running)| (host.clone(), running.container.log.clone()))
    }

    /// Starts the other homeservers, in the walk's turn; they have to come up.
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
            let manner = Manner::default();
            let peer = Homeserver::start(&site, release, image, &deployment, &manner, None, &evidence).await?;
            if peer.start != Start::Started {
                let shown = peer.start.to_json();
                return Err(
                    UnexpectedAnswer::new(format!("the other homeserver, {name}, did not come up: {shown}")).into()
                );
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
        let image = engine.image(&self.walk.homeserver(&self.deployment, &leg.release)).await?;

        if number == 0 {
            self.tend_companions().await?;
        }
        let before = self.deployment.clone();
        let steps = self.steps(number, leg, &image.reference, &transcript).await?;
        if before.postgres != self.deployment.postgres || before.locale != self.deployment.locale {
            self.move_database().await?;
        }
        self.tend_companions().await?;
        // A step may have changed what it is made of.
        let image = engine.image(&self.walk.homeserver(&self.deployment, &leg.release)).await?;
        let manner = self.manner(leg).await?;
        // A start keeps a core busy; what follows mostly waits. The others start in the same turn: what they send to who is not
        // there yet they hold back for ever longer.
        let turn = engine.starts.take(self.index).await;
        let peers = self.start_peers(&leg.release, &image.reference, &directory).await?;
        let mut homeserver = Homeserver::start(
            &self.site,
            &leg.release,
            &image.reference,
            &self.deployment,
            &manner,
            self.first_data.take().as_deref(),
            &directory,
        )
        .await?;
        drop(turn);
        if leg.ending.moment().is_some() && homeserver.start == Start::Started {
            homeserver.await_kill().await?;
        }
        let started = homeserver.start == Start::Started;
        engine.reporter.emit(Event::LegReady {
            walk: self.index,
            leg: number,
            started,
            seconds: homeserver.start_seconds,
        });
        let mut figures = Figures { boots: homeserver.processes(), ..Figures::default() };
        figures.fingerprints.push(("image".to_owned(), format!("{} {}", image.reference, image.id)));

        let leg_state = self.state(leg, &image, &homeserver, &peers, transcript)?;
        if !started {
            health::agree(&leg.release, &engine.image_says(&image).await?)?;
        }
        let looked = self.look(number, leg, &leg_state, &steps, &mut figures).await;
        // What went wrong may come from a homeserver that is no more: then that is what there is to say.
        let suspected = looked.is_err() || self.probes(number).any(|cell| cell.verdict == CellVerdict::Error);
        let mut trouble = Trouble::default();
        let mut casualty = if started { trouble.keep(homeserver.casualty(suspected).await).flatten() } else { None };
        for (name, peer) in &peers {
            let end = if casualty.is_none() { trouble.keep(peer.casualty(suspected).await).flatten() } else { None };
            casualty = casualty.or_else(|| Some(format!("the other homeserver, {name}: {}", end?)));
        }
        let goes_on = casualty.is_none();
        match looked {
            Ok(()) => self.check(number, cell::ANSWERS, None, &json!("as documented")),
            Err(error) if goes_on => {
                self.blame(number, &error);
                trouble.0.push(error);
            }
            Err(_) => {}
        }
        if !goes_on {
            self.forgive(number);
        }
        figures.used = homeserver.usage().await;
        let stopped = jiff::Timestamp::now();
        let mut ends = Vec::new();
        for peer in peers.values() {
            figures.used.cpu_seconds += peer.usage().await.cpu_seconds;
            figures.boots += peer.processes();
            ends.extend(trouble.keep(peer.stop().await).unwrap_or_default());
        }
        match leg.ending {
            Ending::Killed => trouble.keep(homeserver.kill().await).unwrap_or_default(),
            _ => ends.extend(trouble.keep(homeserver.stop().await).unwrap_or_default()),
        }
        let end = casualty.or_else(|| (!ends.is_empty()).then(|| ends.join("\n")));
        trouble.keep(self.check_end(number, leg, end, &homeserver, &peers, stopped));
        trouble.keep(homeserver.remove().await);
        for peer in peers.into_values() {
            trouble.keep(peer.remove().await);
        }
        engine.reporter.emit(Event::LegFinished(LegFinished {
            walk: self.index,
            leg: number,
            seconds: begun.elapsed().as_secs_f64(),
            homeserver_cpu_seconds: figures.used.cpu_seconds,
            memory_bytes: figures.used.memory_bytes,
            database_bytes: figures.stored,
            boots: figures.boots,
            fingerprints: figures.fingerprints,
        }));
        engine.count(figures.used.cpu_seconds, figures.boots);
        trouble.done()?;
        Ok(goes_on)
    }

    /// The deployment as seeds, steps and probes meet it on a leg.
    fn state(
        &self,
        leg: &Leg,
        image: &Image,
        homeserver: &Homeserver,
        peers: &BTreeMap<String, Homeserver>,
        transcript: Transcript,
    ) -> anyhow::Result<Arc<live::Leg>> {
        let mut addresses = homeserver.addresses(&self.deployment)?;
        addresses.extend(self.companion_addresses());
        let state = live::Leg {
            release: leg.release.clone(),
            front: self.front(),
            database: self.database,
            deployment: self.deployment.clone(),
            daemon: self.engine.daemon.clone(),
            start: homeserver.start.clone(),
            addresses,
            logs: self.companion_logs().chain(homeserver.logs()).collect(),
            assistant: (homeserver.start == Start::Started).then(|| Arc::clone(&homeserver.assistant)),
            store: self.store.clone(),
            image: image.reference.clone(),
            volume: self.site.data_volume.clone(),
            http: self.engine.http.clone(),
            transcript,
            versions: OnceCell::new(),
            peers: BTreeMap::new(),
        };
        Ok(Arc::new(self.with_peers(state, peers)?))
    }

    /// All that is done with a homeserver on a leg.
    async fn look(
        &mut self,
        number: usize,
        leg: &Leg,
        state: &Arc<live::Leg>,
        steps: &BTreeMap<(usize, String), Value>,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let Some(assistant) = &state.assistant else {
            self.observe(number, state, steps).await;
            let why = match state.start {
                Start::Killed(_) => "the leg is killed at a moment: nobody does anything but wait for it",
                _ => "the homeserver refused to start",
            };
            for check in health::checks(self.database) {
                self.pass_over(number, check, why);
            }
            return Ok(());
        };
        self.fingerprint(state, leg, figures).await?;
        if !self.is_seeded {
            self.seed(state).await?;
            self.is_seeded = true;
        }
        self.observe(number, state, steps).await;
        self.meet_schema(&leg.release);
        let patience = self.until_held(leg, state).await?;
        let mut checked = health::database(&self.store, assistant, patience).await?;
        for (name, peer) in &state.peers {
            let Some(assistant) = &peer.assistant else { continue };
            for (check, other) in health::sound(&peer.store, assistant).await? {
                for (_, own) in checked.checks.iter_mut().filter(|(of, _)| *of == check) {
                    *own = health::together(own, name, other.clone());
                }
            }
        }
        figures.fingerprints.push(("database".to_owned(), checked.engine));
        for (check, value) in checked.checks {
            self.check(number, check, None, &value);
        }
        figures.stored = self.store.size(assistant).await?;
        self.tend_estate(number, leg, state, assistant).await
    }

    /// Counts rows, and lets the estate's keeper read what is there from older legs and write something new.
    async fn tend_estate(
        &mut self,
        number: usize,
        leg: &Leg,
        state: &Arc<live::Leg>,
        assistant: &Assistant,
    ) -> anyhow::Result<()> {
        let Some(mut estate) = self.estate.take() else { return Ok(()) };
        // A note's own steps and seeds may cost rows by right: those are no users' of the estate.
        let is_rich = self.walk.estate == Some(estate::Size::Rich);
        if let (Some((left, before)), true) = (&mut self.counted, is_rich) {
            if leg.ported {
                before.retain(|table, _| !rows::LEFT_BY_PORT.contains(&table.as_str()));
            }
            let counts = rows::count(&self.store, assistant).await?;
            let fewer = rows::fewer((left, before), (&leg.release, &counts), &self.engine.tolerances);
            self.check(number, rows::FEWER, None, &fewer);
        }
        let is_last = number + 1 == self.walk.legs.len();
        let mut seen = estate.tend(state, number, is_last).await;
        let is_whole = estate.is_whole(&self.engine.estate);
        let counts = if is_rich || is_whole { Some(rows::count(&self.store, assistant).await?) } else { None };
        if let (Some(counts), true) = (&counts, is_whole) {
            let (text, row) = estate.account(&leg.release, counts);
            let path = self.directory.join(format!("{}-{}/tables.txt", number + 1, leg.release));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            // Where it is the question; a hop is no worse for a table that nobody has thought of.
            if self.walk.legs.len() == 1 {
                seen.push(row);
            }
        }
        for row in seen {
            self.enter(number, &row.name, None, &row.observed, row.expected.as_ref(), row.seconds);
        }
        self.counted = counts.map(|counts| (leg.release.clone(), counts));
        self.estate = Some(estate);
        if is_rich {
            self.check_confluence(number, leg, assistant).await?;
            let idle = health::idle(assistant).await?;
            self.check(number, health::IDLE, None, &idle);
        }
        Ok(())
    }

    /// Holds the schema that the path has led to against the one that the release makes fresh. A newer release's stays.
    async fn check_confluence(&mut self, number: usize, leg: &Leg, assistant: &Assistant) -> anyhow::Result<()> {
        if self.walk.control {
            return Ok(());
        }
        if self.walk.legs[..number].iter().any(|earlier| earlier.release > leg.release) {
            self.pass_over(number, confluence::SCHEMA, "a newer release has been here");
            return Ok(());
        }
        if number > 0 && matches!(leg.ending, Ending::Undrained { .. }) {
            self.pass_over(number, confluence::SCHEMA, "its background updates are not done");
            return Ok(());
        }
        let found = confluence::catalogue(&self.store, assistant).await?;
        if number == 0 {
            self.snapshot = confluence::snapshot(&found);
            return Ok(());
        }
        let fresh = self.engine.fresh(self.walk, &leg.release, &self.store, assistant).await?;
        let differences = confluence::differences(&leg.release, &fresh, &found, &self.engine.tolerances);
        let path = self.directory.join(format!("{}-{}/schema.json", number + 1, leg.release));
        fs::write(&path, format!("{differences:#}")).with_context(|| format!("cannot write {}", path.display()))?;
        if confluence::snapshot(&fresh) == self.snapshot {
            self.check(number, confluence::SCHEMA, None, &differences);
        } else {
            let reason = "a fresh one begins with a later whole schema: what differs in form is in schema.json";
            self.pass_over(number, confluence::SCHEMA, reason);
        }
        Ok(())
    }

    /// Takes the database where the deployment now has it: to another server, to another locale.
    async fn move_database(&mut self) -> anyhow::Result<()> {
        let Some(old) = self.postgres.clone() else { return Ok(()) };
        let server = self.engine.postgres(plan::postgres(&self.deployment)).await?;
        let database = Arc::new(old.moved(&server, self.deployment.locale.as_deref()).await?);
        self.site.socket_volume = Some(server.socket_volume.clone());
        self.site.database = database.config();
        self.store = Store::Postgres(Arc::clone(&database));
        self.postgres = Some(database);
        Ok(())
    }

    /// What is particular about a leg's processes.
    async fn manner(&self, leg: &Leg) -> anyhow::Result<Manner> {
        let workers = match &leg.workers {
            None => None,
            Some(release) => {
                let wanted = self.walk.homeserver(&self.deployment, release);
                self.engine.vouch(&wanted).await?;
                Some((release.clone(), self.engine.image(&wanted).await?.reference))
            }
        };
        Ok(Manner { hook: Hook::of(&leg.ending), workers })
    }

    /// Where people's requests go.
    fn front(&self) -> String {
        let is_path = self.walk.line.is_some() && self.deployment.proxies.contains_key(FRONT);
        if is_path { FRONT.to_owned() } else { MAIN.to_owned() }
    }

    /// Waits until the leg has done the background updates that it may do; says how long further ones are waited for.
    async fn until_held(&self, leg: &Leg, state: &live::Leg) -> anyhow::Result<Duration> {
        match leg.ending {
            Ending::Undrained { batches: 0 } => Ok(Duration::ZERO),
            Ending::Undrained { .. } => {
                let log = state.logs.get(MAIN).context("the main process has a log")?;
                let left = health::background_updates_left(&self.store, state.assistant.as_deref());
                tokio::select! {
                    _ = log.wait_for(Hook::HELD, health::STUCK) => {}
                    left = left => { left?; }
                }
                Ok(Duration::ZERO)
            }
            _ => Ok(health::STUCK),
        }
    }

    /// Moves the data to PostgreSQL with the release's own tool, as upstream's documentation has it; gives what became
    /// of that. What follows runs there.
    async fn port(&mut self, leg: &Leg, image: &str, directory: &Path) -> anyhow::Result<Value> {
        let server = self.engine.postgres(plan::postgres(&self.deployment)).await?;
        let name = format!("walk-{}-ported", self.index + 1);
        let database = Arc::new(server.create_empty(&name, self.deployment.locale.as_deref()).await?);
        self.site.database = database.config();
        self.site.socket_volume = Some(server.socket_volume.clone());
        let outcome = homeserver::port(&self.site, &leg.release, image, &self.deployment, directory).await?;
        if outcome == "done" {
            self.put_right_after_port(&leg.release, &database).await?;
        }
        self.store = Store::Postgres(Arc::clone(&database));
        self.postgres = Some(database);
        self.database = Database::Postgres;
        Ok(outcome)
    }

    /// The tool sets some sequences behind the positions of their streams: it counts on from what still waits, not from what
    /// was given out. Synapse refuses to start then, and advises to forget the position, which would give numbers out twice.
    ///
    /// Upstream: issues element-hq/synapse#19467 and #19671.
    async fn put_right_after_port(
        &self,
        release: &Version,
        database: &crate::database::postgres::Database,
    ) -> anyhow::Result<()> {
        for (stream, sequence) in [
            ("to_device", "device_inbox_sequence"),
            ("thread_subscriptions", "thread_subscriptions_sequence"),
            ("sticky_events", "sticky_events_sequence"),
        ] {
            let known = format!("SELECT 1 FROM pg_class WHERE relname = '{sequence}'");
            if database.rows(&known).await?.is_empty() {
                continue;
            }
            let behind = format!(
                "SELECT p.position FROM (SELECT max(stream_id) AS position FROM stream_positions \
                 WHERE stream_name = '{stream}') p, {sequence} s \
                 WHERE p.position > CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END"
            );
            let rows = database.rows(&behind).await?;
            let Some(position) = rows.first().and_then(|row| row["position"].as_u64()) else { continue };
            let text = format!(
                "synapse_port_db of {release} has set {sequence} behind stream_positions (element-hq/synapse#19467, \
                 #19671): it is set to {position}, or Synapse would not start"
            );
            self.engine.reporter.emit(Event::Notice { text });
            database.rows(&format!("SELECT setval('{sequence}', {position})")).await?;
        }
        Ok(())
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
                    Step::Action(action) => action.apply(&mut self.deployment),
                    Step::Change(change) => change(&mut self.deployment),
                    Step::Sql { fact, text } => {
                        let live = self.at_rest(index, leg, image, transcript);
                        let text = live.fill(&live.choose(text)?)?;
                        outcomes.insert((index, fact.clone()), live.attempt(&text).await?);
                    }
                    Step::Act(act) => {
                        ends("a step", act.run(self.at_rest(index, leg, image, transcript)))
                            .await
                            .with_context(|| format!("the step before `{}`", leg.head()))?;
                    }
                }
            }
        }
        if leg.ported {
            let directory = self.directory.join(format!("{}-{}", number + 1, leg.release));
            let outcome = self.port(leg, image, &directory).await?;
            outcomes.extend((0..self.riders.len()).map(|rider| ((rider, PORT.to_owned()), outcome.clone())));
        }
        Ok(outcomes)
    }

    /// The deployment between two legs: nothing runs, the data is there.
    fn at_rest(&self, rider: usize, leg: &Leg, image: &str, transcript: &Transcript) -> Live {
        Live {
            leg: Arc::new(live::Leg {
                release: leg.release.clone(),
                front: self.front(),
                database: self.database,
                deployment: self.deployment.clone(),
                daemon: self.engine.daemon.clone(),
                start: Start::Started,
                addresses: self.companion_addresses(),
                logs: BTreeMap::new(),
                assistant: None,
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
                    front: MAIN.to_owned(),
                    database: Database::Sqlite,
                    deployment: leg.deployment.clone(),
                    daemon: leg.daemon.clone(),
                    start: Start::Started,
                    addresses,
                    logs: peer.logs(),
                    assistant: Some(Arc::clone(&peer.assistant)),
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
        let live = Live { leg: Arc::clone(state), rider: Arc::new(live::Rider::new("")) };
        let version = live.anonymous().get("/_matrix/federation/v1/version").await?.ok()?.json()?;
        let said = version["server"]["version"].as_str().map(str::to_owned);
        let said =
            said.ok_or_else(|| UnexpectedAnswer::new(format!("asked for its version, it answered {version}")))?;
        health::agree(&leg.release, &said)?;
        figures.fingerprints.push(("server".to_owned(), said));
        if !self.deployment.workers.is_empty() {
            let workers: Vec<_> = self.deployment.workers.iter().map(|worker| worker.name.as_str()).collect();
            // Their image has been asked what it is.
            let release = leg.workers.as_ref().unwrap_or(&leg.release);
            figures.fingerprints.push(("workers".to_owned(), format!("{} ({release})", workers.join(", "))));
        }
        Ok(())
    }

    async fn seed(&self, state: &Arc<live::Leg>) -> anyhow::Result<()> {
        let riders = self.riders.iter().map(|rider| async {
            let live = Live { leg: Arc::clone(state), rider: Arc::clone(&rider.memory) };
            for seed in &rider.variant.seeds {
                ends("a seed", seed.run(live.clone())).await?;
            }
            anyhow::Ok(())
        });
        for (rider, seeded) in futures::future::join_all(riders).await.into_iter().enumerate() {
            seeded.context(SeedOf(rider))?;
        }
        Ok(())
    }

    /// Runs every rider's probes.
    async fn observe(&mut self, number: usize, state: &Arc<live::Leg>, steps: &BTreeMap<(usize, String), Value>) {
        let (database, walk, reporter) = (self.database, self.index, &self.engine.reporter);
        let directory = &self.directory;
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
                    let cell = cell::judge(observed, expected, begun.elapsed().as_secs_f64());
                    let cell = cell::shortened(cell, |text| keep(directory, state, number, index, &fact.name, text));
                    if own.is_some() {
                        // At once, so that a walk that is killed keeps it.
                        reporter.emit(Event::CellSeen(Box::new(CellSeen {
                            walk,
                            leg: number,
                            observers: vec![rider.observer.clone()],
                            fact: fact.name.clone(),
                            health: false,
                            cell: cell.clone(),
                        })));
                    }
                    cells.push(cell);
                }
                cells
            }
        });
        let observed = futures::future::join_all(observations).await;
        for (rider, cells) in self.riders.iter_mut().zip(observed) {
            for (fact, cell) in rider.facts.iter_mut().zip(cells) {
                fact.push(cell);
            }
        }
    }

    /// What a leg's probes came to.
    fn probes(&self, number: usize) -> impl Iterator<Item = &Cell> {
        self.riders.iter().flat_map(|rider| &rider.facts).filter_map(move |cells| cells.get(number))
    }

    /// Takes back the errors of a leg's probes.
    fn forgive(&mut self, number: usize) {
        for rider in &mut self.riders {
            for (fact, cells) in rider.variant.facts.iter().zip(&mut rider.facts) {
                let Some(cell) = cells.get_mut(number).filter(|cell| cell.verdict == CellVerdict::Error) else {
                    continue;
                };
                let expected = cell.expected.take();
                *cell = cell::judge(Observed::Nothing("the homeserver ended".to_owned()), expected, cell.seconds);
                self.engine.reporter.emit(Event::CellSeen(Box::new(CellSeen {
                    walk: self.index,
                    leg: number,
                    observers: vec![rider.observer.clone()],
                    fact: fact.name.clone(),
                    health: false,
                    cell: cell.clone(),
                })));
            }
        }
    }

    fn meet_schema(&mut self, release: &Version) {
        let release = self.engine.images.releases().get(release).and_then(|release| release.schema_version);
        self.schemas.push(release);
    }

    /// Records what a check showed on a leg: for all riders that are on it, or for one.
    fn check(&mut self, number: usize, check: &'static str, whose: Option<usize>, value: &Value) {
        let expected = health::expected(check, cell::schema(&self.schemas));
        self.enter(number, check, whose, &Observed::Value(value.clone()), expected.as_ref(), 0.0);
    }

    /// Enters an observation into a row of the riders', against what they say themselves of it, or what is expected of all.
    fn enter(
        &mut self,
        number: usize,
        row: &str,
        whose: Option<usize>,
        observed: &Observed,
        of_all: Option<&Value>,
        seconds: f64,
    ) {
        let database = self.database;
        self.record(number, row, whose, |variant| {
            let own = variant.health.get(row).and_then(|answers| {
                answers.iter().rev().find(|(on, _)| on.is_none_or(|on| on == number)).map(|(_, value)| value)
            });
            let expected = match own {
                Some(value) => Some(expect::resolve(value, database)),
                // What is left undone on purpose is for the reader.
                None if row == health::BACKGROUND_UPDATES && variant.legs[number].ending.leaves_updates() => None,
                None => of_all.cloned(),
            };
            cell::judge(observed.clone(), expected, seconds)
        });
    }

    /// Records why nothing was looked at.
    fn pass_over(&mut self, number: usize, check: &'static str, reason: &str) {
        self.record(number, check, None, |_| cell::not_looked_at(reason));
    }

    /// Enters and tells what a check of a leg's health came to. Riders who expect the same are told of together.
    fn record(&mut self, number: usize, check: &str, whose: Option<usize>, judge: impl Fn(&Variant) -> Cell) {
        let mut told: Vec<(Cell, Vec<Observer>)> = Vec::new();
        for (index, rider) in self.riders.iter_mut().enumerate() {
            if number >= rider.variant.legs.len() || whose.is_some_and(|whose| whose != index) {
                continue;
            }
            let cell = judge(rider.variant);
            if !cell::enter(rider.health.entry(check.to_owned()).or_default(), number, cell.clone()) {
                continue;
            }
            match told.iter_mut().find(|(same, _)| *same == cell) {
                Some((_, observers)) => observers.push(rider.observer.clone()),
                None => told.push((cell, vec![rider.observer.clone()])),
            }
        }
        for (cell, observers) in told {
            self.engine.reporter.emit(Event::CellSeen(Box::new(CellSeen {
                walk: self.index,
                leg: number,
                observers,
                fact: check.to_owned(),
                health: true,
                cell,
            })));
        }
    }

    /// Where an error that ends a leg is the homeserver's own, it has broken its contract with those whom it concerns.
    fn blame(&mut self, number: usize, error: &anyhow::Error) {
        if let Some(fault) = cell::fault(error) {
            let whose = error.downcast_ref::<SeedOf>().map(|SeedOf(rider)| *rider);
            self.check(number, cell::ANSWERS, whose, &json!(fault));
        }
    }

    /// What a homeserver that has been stopped leaves to look at: its log, and how it ended.
    fn check_end(
        &mut self,
        number: usize,
        leg: &Leg,
        end: Option<String>,
        homeserver: &Homeserver,
        peers: &BTreeMap<String, Homeserver>,
        stopped: jiff::Timestamp,
    ) -> anyhow::Result<()> {
        if homeserver.start != Start::Started {
            return Ok(());
        }
        if let Some(end) = end {
            self.check(number, health::STAYS_UP, None, &json!(end));
        }
        let own: Vec<String> = self.riders.iter().flat_map(|rider| rider.variant.log_errors.clone()).collect();
        let logs: Vec<_> = std::iter::once(homeserver)
            .chain(peers.values())
            .flat_map(Homeserver::logs)
            .filter(|(name, _)| name != "proxy")
            .map(|(_, log)| log)
            .collect();
        let errors = health::log_errors(&logs, stopped, &leg.release, &self.engine.tolerances, &own)?;
        self.check(number, health::LOG_ERRORS, None, &errors);
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

/// Writes a value that is too long for the report; its file, relative to the walk's directory.
fn keep(
    directory: &std::path::Path,
    state: &live::Leg,
    number: usize,
    rider: usize,
    fact: &str,
    text: &str,
) -> Option<String> {
    let name: String = fact.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    let file = format!("{}-{}/observed-{}-{name}.json", number + 1, state.release, rider + 1);
    // What cannot be written stays where it is.
    fs::write(directory.join(&file), text).ok().map(|()| file)
}

/// How long a probe, a seed or an operator's step may take: longer than all that each of them waits for.
const LONGEST: Duration = Duration::from_secs(900);

fn endless(what: &str) -> String {
    format!("{what} has not ended within {} minutes", LONGEST.as_secs() / 60)
}

/// What a seed or a step comes to, within the time that it may take.
async fn ends<T>(what: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(LONGEST, work).await.unwrap_or_else(|_| bail!(endless(what)))
}

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
    let task = tokio::spawn(observation);
    let abort = task.abort_handle();
    let Ok(ended) = tokio::time::timeout(LONGEST, task).await else {
        abort.abort();
        return Observed::Error(endless(&format!("probe `{}`", fact.name)));
    };
    match ended {
        Ok(brought) => match cell::observed(&fact.name, brought) {
            Observed::Value(value) => Observed::Value(live.scrub(value)),
            other => other,
        },
        Err(panic) => Observed::Error(format!("probe `{}` panicked: {panic}", fact.name)),
    }
}

impl Rider<'_> {
    fn table(self, walk: usize, evidence: &str, broke_off: bool) -> FactTable {
        let legs = self.variant.legs.len();
        let unseen = if broke_off { "the walk broke off before" } else { "not looked at" };
        let row = |name: &str, mut cells: Vec<Cell>| {
            cells.truncate(legs);
            cell::pad(&mut cells, legs, unseen);
            FactRow { fact: name.to_owned(), cells }
        };
        let facts = self.variant.facts.iter().zip(self.facts).map(|(fact, cells)| row(&fact.name, cells)).collect();
        let health = self.health.into_iter().map(|(check, cells)| row(&check, cells)).collect();
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
            Wanted::Derived { .. } | Wanted::Companion(_) => Ok(()),
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
