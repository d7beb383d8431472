//! A run: obtains images, walks, judges trials, reports, and leaves nothing behind.

pub(crate) mod fixture;
pub(crate) mod places;
pub(crate) mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use images::{Companion, Version, Wanted};
use reports::{Event, ImageReady, Note, Reporter, RunFinished, Summary, TrialResult};
use tokio::sync::{OnceCell, mpsc};

use crate::{
    Database,
    checks::{
        confluence::{self, Catalogue},
        tolerance::Tolerances,
    },
    database::{Store, postgres},
    engine::fixture::{Fixture, Fixtures},
    engine::places::Places,
    estate::Part,
    plan::{Plan, Trial, Walk},
    stage::assistant::Assistant,
    stage::daemon::Daemon,
    stage::tls::Authority,
    verdict::{self, trial::Home},
};

/// What a run works with; shared by all walks.
pub(crate) struct Engine {
    pub(crate) daemon: Daemon,
    pub(crate) images: images::Store,
    pub(crate) fixtures: Fixtures,
    pub(crate) reporter: Reporter,
    pub(crate) tolerances: Tolerances,
    /// What users can own.
    pub(crate) estate: Vec<Part>,
    pub(crate) http: reqwest::Client,
    pub(crate) authority: Arc<Authority>,
    pub(crate) directory: PathBuf,
    pub(crate) starts: Arc<Places>,
    walks: Places,
    pub(crate) said: tokio::sync::Mutex<BTreeMap<String, Arc<OnceCell<String>>>>,
    servers: tokio::sync::Mutex<BTreeMap<u32, Arc<OnceCell<Started>>>>,
    totals: Mutex<Totals>,
    /// Walks that the plan did not have.
    added: Mutex<usize>,
    cores: usize,
    begun: Instant,
    /// What walks bring home from now on says only that their containers were taken from them.
    interrupted: AtomicBool,
}

/// How much is under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jobs {
    /// Starts keep a core busy each; more at once only slow each other down.
    starts: usize,
    /// Walks: enough to fill the waits of others, few enough for the memory.
    walks: usize,
}

impl Jobs {
    /// For as many cores as `given`, or all.
    pub(crate) fn of(plan: &Plan, given: Option<usize>) -> Self {
        let cores = given.unwrap_or_else(cores).max(1);
        Self { starts: cores, walks: if plan.one_at_a_time { 1 } else { cores * 3 } }
    }
}

/// How much can go on at once here.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A server, or why there is none; it is not tried twice.
type Started = Result<Arc<postgres::Server>, String>;

#[derive(Debug, Default)]
struct Totals {
    cpu: f64,
    boots: usize,
    /// Walks under way, and since when there is one.
    under_way: usize,
    since: Option<Instant>,
    /// How long there was one, before that.
    walking: Duration,
}

impl Engine {
    pub(crate) fn new(
        daemon: Daemon,
        images: images::Store,
        reporter: Reporter,
        tolerances: Tolerances,
        estate: Vec<Part>,
        fixtures: PathBuf,
        jobs: Jobs,
    ) -> anyhow::Result<Self> {
        // `images` gives the shared HTTP library TLS, which then wants a provider before any client is made. An error
        // means that it has one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // Loopback only: a proxy of the environment has no part in this.
            .no_proxy()
            .timeout(Duration::from_secs(90))
            // Twisted ends a connection on which nothing has been asked for a minute: a request after just as long would meet
            // the end, and get no answer.
            .pool_idle_timeout(Duration::from_secs(20))
            .build()
            .context("an HTTP client")?;
        let starts = Arc::new(Places::new(jobs.starts));
        let authority = Arc::new(Authority::new()?);
        Ok(Self {
            fixtures: Fixtures::new(
                fixtures,
                reporter.directory().join("first-data"),
                daemon.clone(),
                http.clone(),
                Arc::clone(&starts),
                Arc::clone(&authority),
            ),
            authority,
            directory: reporter.directory().to_owned(),
            daemon,
            images,
            reporter,
            tolerances,
            estate,
            http,
            starts,
            walks: Places::new(jobs.walks),
            said: tokio::sync::Mutex::default(),
            servers: tokio::sync::Mutex::default(),
            totals: Mutex::default(),
            added: Mutex::default(),
            cores: cores(),
            begun: Instant::now(),
            interrupted: AtomicBool::new(false),
        })
    }

    /// The run's PostgreSQL server of this major version, started on first use.
    pub(crate) async fn postgres(&self, major: u32) -> anyhow::Result<Arc<postgres::Server>> {
        let once = Arc::clone(self.servers.lock().await.entry(major).or_default());
        let start = async || {
            let image = self.image(&Wanted::Companion(Companion::Postgres(major))).await?;
            let server = postgres::Server::start(&self.daemon, &image.reference, major, &self.directory).await?;
            anyhow::Ok(Arc::new(server))
        };
        once.get_or_init(|| async { start().await.map_err(|error| format!("PostgreSQL {major}: {error:#}")) })
            .await
            .clone()
            .map_err(anyhow::Error::msg)
    }

    /// The database that a walk starts on, unless it starts on none.
    pub(crate) async fn fixture(&self, walk: &Walk) -> anyhow::Result<Option<Fixture>> {
        if walk.from_scratch {
            return Ok(None);
        }
        self.fixture_of(walk, walk.database, &walk.legs[0].release).await.map(Some)
    }

    /// The database that a release makes fresh.
    async fn fixture_of(&self, walk: &Walk, database: Database, release: &Version) -> anyhow::Result<Fixture> {
        let image = self.image(&walk.homeserver(&walk.deployment, release)).await?;
        let server = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(self.postgres(walk.postgres()).await?),
        };
        self.fixtures.get(release, &image, server.as_ref(), &|event| self.reporter.emit(event)).await
    }

    /// The schema that a release makes fresh; on SQLite, a homeserver that runs says what it is.
    pub(crate) async fn fresh(
        &self,
        walk: &Walk,
        release: &Version,
        store: &Store,
        running: &Assistant,
    ) -> anyhow::Result<Catalogue> {
        // A port has moved it.
        let database = if matches!(store, Store::Sqlite { .. }) { Database::Sqlite } else { Database::Postgres };
        let fixture = self.fixture_of(walk, database, release).await?;
        match store {
            Store::Sqlite { .. } => {
                let content =
                    std::fs::read(&fixture.path).with_context(|| format!("cannot read {}", fixture.path.display()))?;
                confluence::of_file(running, &content).await
            }
            Store::Postgres(used) => {
                let name = format!("fresh-{}", used.name);
                let database = used.server.create_from(&name, &fixture.path, &fixture.key, None).await?;
                let catalogue = confluence::of_postgres(&database).await;
                database.drop_now().await?;
                catalogue
            }
        }
    }

    pub(crate) fn count(&self, cpu: f64, boots: usize) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.cpu += cpu;
        totals.boots += boots;
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn walk_sets_out(&self) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.under_way += 1;
        totals.since.get_or_insert_with(Instant::now);
    }

    fn walk_comes_home(&self) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.under_way -= 1;
        if let (0, Some(since)) = (totals.under_way, totals.since) {
            totals.walking += since.elapsed();
            totals.since = None;
        }
    }

    /// Something of ours may be left in Docker: the last sweep gets it. Once that is under way, nothing is to be said of it.
    pub(crate) fn leftover(&self, result: anyhow::Result<()>) {
        if let (Err(error), false) = (result, self.is_interrupted()) {
            self.reporter.emit(Event::Notice { text: format!("cleaning up is put off: {error:#}") });
        }
    }

    /// Removes all that the run has in Docker, and writes the reports.
    pub(crate) async fn finish(&self, interrupted: bool) -> Summary {
        self.interrupted.fetch_or(interrupted, Ordering::Relaxed);
        if let Err(error) = self.daemon.close().await {
            let text = format!("something may be left in Docker; the next run removes it: {error:#}");
            self.reporter.emit(Event::Notice { text });
        }
        let totals = {
            let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
            RunFinished {
                seconds: self.begun.elapsed().as_secs_f64(),
                walking_seconds: totals
                    .since
                    .map_or(totals.walking, |since| totals.walking + since.elapsed())
                    .as_secs_f64(),
                homeserver_cpu_seconds: totals.cpu,
                boots: totals.boots,
                cores: self.cores,
                interrupted: self.is_interrupted(),
            }
        };
        self.reporter.finish(totals)
    }
}

/// Runs a plan; every trial's verdict is sent as soon as it is known.
pub(crate) async fn run(
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    note_url: Arc<dyn Fn(&Trial) -> String + Send + Sync>,
    verdicts: mpsc::UnboundedSender<(usize, TrialResult)>,
) {
    // All images at once: the store builds side by side, in this order, and the walks whose images are ready do not
    // wait for the others.
    for wanted in plan.wanted() {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            // A failure is told to each walk that asks for the image.
            let _ = engine.images.obtain(&wanted).await;
        });
    }
    let (sender, mut outcomes) = mpsc::unbounded_channel::<Home>();
    let mut tasks = tokio::task::JoinSet::new();
    for (index, walk) in (plan.first..).zip(&plan.walks) {
        let (engine, plan, walk, sender) = (Arc::clone(&engine), Arc::clone(&plan), walk.clone(), sender.clone());
        tasks.spawn(async move {
            for wanted in walk.wanted() {
                // The walk reports the failure itself.
                let _ = engine.images.obtain(&wanted).await;
            }
            // Likewise; many drain side by side, so this is no time to hold a place among the walks.
            let _ = engine.fixture(&walk).await;
            for outcome in Box::pin(set_out(&engine, &plan, index, &walk)).await {
                // The receiver lives as long as the run.
                let _ = sender.send(outcome);
            }
        });
    }
    drop(sender);

    let tell = |index: usize, result: TrialResult| {
        if engine.is_interrupted() {
            return;
        }
        engine.reporter.emit(Event::TrialFinished(Box::new(result.clone())));
        // Who waits for it outlives the run.
        let _ = verdicts.send((index, result));
    };
    let mut waiting: BTreeMap<usize, Vec<Home>> = BTreeMap::new();
    let walked: BTreeSet<usize> = plan.walks.iter().flat_map(|walk| &walk.riders).map(|rider| rider.trial).collect();
    let mut left: BTreeSet<usize> = (0..plan.trials.len()).collect();
    for (index, trial) in plan.trials.iter().enumerate().filter(|(index, _)| !walked.contains(index)) {
        left.remove(&index);
        tell(index, judge(trial, Vec::new(), None, note_url(trial), &plan));
    }
    while let Some(outcome) = outcomes.recv().await {
        let index = outcome.rider.trial;
        let trial = &plan.trials[index];
        let home = waiting.entry(index).or_default();
        home.push(outcome);
        if home.len() == trial.scenario.running().len() {
            let mut home = waiting.remove(&index).unwrap_or_default();
            home.sort_by_key(|outcome| outcome.rider.variant);
            left.remove(&index);
            tell(index, judge(trial, home, None, note_url(trial), &plan));
        }
    }
    if engine.is_interrupted() {
        // Who interrupted the run ends the process; until then nobody is told that a verdict will not come.
        std::future::pending::<()>().await;
    }
    // A walk that panicked has sent nothing: its trials are errors, not silence.
    let mut panics = BTreeSet::new();
    while let Some(joined) = tasks.join_next().await {
        if let Err(error) = joined {
            panics.insert(error.to_string());
        }
    }
    for index in left {
        let trial = &plan.trials[index];
        let reasons: Vec<String> = panics.iter().cloned().collect();
        let broke_off = Some(format!("a walk broke off: {}", reasons.join("; ")));
        let home = waiting.remove(&index).unwrap_or_default();
        tell(index, judge(trial, home, broke_off, note_url(trial), &plan));
    }
}

/// Walks; who does not pass in company walks again alone.
async fn set_out(engine: &Engine, plan: &Plan, index: usize, walk: &Walk) -> Vec<Home> {
    let _place = engine.walks.take(index).await;
    if engine.is_interrupted() {
        return Vec::new();
    }
    let mut home = step(engine, plan, index, walk).await;
    if walk.riders.len() > 1 && !plan.control {
        for rider in &mut home {
            if rider.is_company_suspect() && !engine.is_interrupted() {
                let alone = Walk::alone(&plan.trials, rider.rider);
                let number = engine.add_walk(plan, &alone);
                if let Some(again) = step(engine, plan, number, &alone).await.pop() {
                    let before = std::mem::replace(rider, again);
                    rider.in_company = Some(Box::new(before));
                }
            }
        }
    }
    home
}

async fn step(engine: &Engine, plan: &Plan, index: usize, walk: &Walk) -> Vec<Home> {
    let begun = Instant::now();
    engine.walk_sets_out();
    engine.reporter.emit(Event::WalkStarted { walk: index });
    let outcomes = walk::run(engine, plan, index, walk).await;
    engine.walk_comes_home();
    engine.reporter.emit(Event::WalkFinished { walk: index, seconds: begun.elapsed().as_secs_f64() });
    outcomes
}

impl Engine {
    fn add_walk(&self, plan: &Plan, walk: &Walk) -> usize {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        *added += 1;
        let number = plan.first + plan.walks.len() - 1 + *added;
        self.reporter.emit(Event::WalkAdded(plan.describe(number, walk)));
        number
    }
}

/// One trial's verdict from what its riders brought home, and why others did not come.
fn judge(trial: &Trial, mut home: Vec<Home>, broke_off: Option<String>, url: String, plan: &Plan) -> TrialResult {
    let mut trouble = verdict::trial::trouble(&home);
    trouble.extend(broke_off);
    let variant = |home: &Home| trial.variant(home.rider.variant);
    let mut control = Vec::new();
    let (outcome, explanation) = if plan.control {
        control
            .extend(home.iter().flat_map(|home| verdict::control::facts(variant(home), trial.database, &home.table)));
        verdict::control::verdict(trial, &trouble, &control)
    } else if let Some(mutant) = &trial.mutant {
        verdict::mutant::verdict(&mutant.noticed_by, home.iter().map(|home| &home.table), &trouble)
    } else {
        let blind: Vec<String> =
            home.iter().flat_map(|home| verdict::blind::facts(variant(home), trial.database, &home.table)).collect();
        let spared: BTreeSet<String> = home
            .iter_mut()
            .flat_map(|home| home.spare(plan.legs_before_the_candidate(trial, home.rider.variant)))
            .collect();
        let (outcome, explanation) = verdict::trial::verdict(&home, &trouble, &blind);
        let spared = spared
            .into_iter()
            .map(|what| format!("Not as expected before the candidate ran, and so not by it: {what}"));
        let told: Vec<String> = explanation.into_iter().chain(spared).collect();
        (outcome, (!told.is_empty()).then(|| told.join("\n")))
    };
    let seconds = home.iter().map(|home| home.seconds).fold(0.0, f64::max);
    let (mut tables, mut in_company) = (Vec::new(), Vec::new());
    for home in home {
        tables.push(home.table);
        in_company.extend(home.in_company.map(|home| home.table));
    }
    TrialResult {
        trial: trial.name.clone(),
        note: Note { release: trial.scenario.release.to_string(), heading: trial.scenario.heading.clone(), url },
        database: trial.database.title().to_owned(),
        outcome,
        explanation,
        seconds,
        tables,
        in_company,
        control,
        disagreements: trial.scenario.disagreements.clone(),
        rerun: plan.rerun(trial),
    }
}

/// A store event in the report's words.
pub(crate) fn progress(progress: images::Progress) -> Event {
    use images::Progress;
    match progress {
        Progress::Notice(text) => Event::Notice { text },
        Progress::Started { wanted, how } => Event::ImageStarted { image: wanted.to_string(), how: how.to_string() },
        Progress::Step { wanted, step } => Event::ImageStep { image: wanted.to_string(), step },
        Progress::Ready(image) => Event::ImageReady(ImageReady {
            image: image.wanted.to_string(),
            source: image.source.to_string(),
            reference: image.reference,
            id: image.id,
            seconds: image.seconds,
        }),
        Progress::Failed { wanted, error, seconds } => {
            Event::ImageFailed { image: wanted.to_string(), error: error.to_string(), seconds }
        }
        other => Event::Notice { text: format!("{other:?}") },
    }
}
