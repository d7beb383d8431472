//! The `upgrades` test target: arguments, selection, the run, exit codes.

mod candidate;
mod options;
mod resume;
mod search;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use images::{ReleaseTable, Wanted};
use libtest_mimic::{Arguments, Failed};
use reports::{
    Event, Outcome, Reporter, ReporterOptions, RunFinished, RunStarted, TerminalOptions, TrialResult, Verdict,
};

use self::resume::Earlier;
use crate::{
    Mutant, Scenario,
    checks::tolerance::Tolerances,
    cli::search::Tries,
    engine::fixture,
    engine::{self, Engine, Jobs},
    estate::Part,
    path::{LANGUAGE, Path, random},
    plan::{
        self, Estimate, Hop, Plan, Shard, Trial,
        qualify::{self, Candidate, Qualification},
    },
    stage::daemon::Daemon,
};

/// Everything that the engine is told about notes.
pub struct Suite {
    /// All scenarios.
    pub scenarios: Vec<Scenario>,
    /// What users can own.
    pub estate: Vec<Part>,
    /// Releases with one thing wrong, for `--mutants`.
    pub mutants: Vec<Mutant>,
    /// What a candidate is held to besides the scenarios, for `--qualify`.
    pub qualification: Qualification,
    /// The text of the tolerances' file.
    pub tolerances: &'static str,
    /// All of upstream's notes, for the report.
    pub ledger: Option<reports::Ledger>,
    /// The address of a scenario's note in upstream's documentation.
    pub note_url: fn(&Scenario) -> String,
}

/// Exit status when nothing can be run because of the harness, Docker or an image.
const ERRORED: u8 = Verdict::Errored.exit_code();

/// Real Synapse upgrades, held against upstream's notes.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
#[derive(Parser)]
#[command(
    name = "upgrades",
    disable_version_flag = true,
    about = "Starts real homeservers, upgrades them on the same data, and compares what they show with what \
             Synapse's upgrade notes say.",
    after_help = format!("The language of paths:\n{LANGUAGE}\nExit status: 0 all trials passed; 101 a homeserver broke \
                          its contract; 3 the harness, Docker or an image is at fault; 5 something passed alone only; \
                          4 nothing failed, but not all was seen; 2 bad usage; 130 interrupted.")
)]
struct Cli {
    #[command(flatten)]
    libtest: Arguments,

    #[command(flatten, next_help_heading = "Images")]
    images: images::Options,

    /// Print the plan and run nothing.
    #[arg(long, help_heading = "Run")]
    plan: bool,

    /// Run each path's first release under the later releases' version numbers: every fact that the new code changes must notice.
    #[arg(long, help_heading = "Run")]
    control: bool,

    /// Run mutants instead of the releases: each has one small thing wrong, and the fact that is named must notice.
    #[arg(long, conflicts_with = "control", help_heading = "Run")]
    mutants: bool,

    /// Walk all variants of a note on both databases, also what no database sees.
    #[arg(long, help_heading = "Run")]
    every_variant: bool,

    /// Walk of a note's configurations only the first that shows the change, as the plain command does.
    #[arg(long, conflicts_with = "every_variant", help_heading = "Run")]
    in_short: bool,

    /// Give every variant deployments of its own that begin with nothing, and walk them one after the other: for
    /// comparison, or to rule out that company, load or first data blurs a result.
    #[arg(long, help_heading = "Run")]
    one_at_a_time: bool,

    /// Run one part of the trials, `1/4`; hops are never split.
    #[arg(long, value_name = "INDEX/COUNT", env = "SYNAPSE_UPGRADES_SHARD", help_heading = "Run")]
    shard: Option<Shard>,

    /// Walk users' data along this path instead of the notes; may be given several times. Below is the language.
    #[arg(long = "path", value_name = "PATH", help_heading = "Run")]
    paths: Vec<Path>,

    /// Short for the path from one release to the other, on SQLite and on PostgreSQL.
    #[arg(long = "hop", value_name = "FROM..TO", help_heading = "Run")]
    hops: Vec<Hop>,

    /// Walk the path that this seed makes; may be given several times.
    #[arg(long = "random", value_name = "SEED", help_heading = "Run")]
    seeds: Vec<u64>,

    /// Shorten this path, which is red, to the shortest that still is.
    #[arg(long, value_name = "PATH", conflicts_with = "bisect", help_heading = "Run")]
    shrink: Option<Path>,

    /// Find the first release on which this path is red, in the place of its last one.
    #[arg(long, value_name = "PATH", help_heading = "Run")]
    bisect: Option<Path>,

    /// What `--shrink` and `--bisect` want to be red: a row of the report, or a part of what it shows.
    #[arg(long, value_name = "ROW", help_heading = "Run")]
    by: Option<String>,

    /// Go on with a run that was killed or interrupted: walk what of it has no verdict, into the same report. `latest`, or a run's
    /// directory.
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    resume: Option<PathBuf>,

    /// What becomes of the run when a trial does not pass in company and passes alone.
    #[arg(long, value_name = "VERDICT", default_value = "fail", env = "SYNAPSE_UPGRADES_FLAKY", help_heading = "Run")]
    flaky: Flaky,

    /// Lay the whole estate out on this release and say of each table how many rows it has, and which part fills it
    /// (`tables.txt` in the evidence).
    #[arg(long, value_name = "RELEASE", help_heading = "Run")]
    coverage: Option<images::Version>,

    /// Lose what each part of the estate wrote, one at a time, on this release: the part's own row must notice.
    #[arg(long, value_name = "RELEASE", help_heading = "Run")]
    control_estate: Option<images::Version>,

    /// Hold a candidate to everything that is expected of a release: the notes in force, survival into it, back out of it. A
    /// release, a candidate on PyPI, or an image.
    #[arg(
        long,
        value_name = "CANDIDATE",
        conflicts_with_all = [
            "control", "mutants", "paths", "hops", "seeds", "shrink", "bisect", "coverage", "control_estate",
        ],
        help_heading = "Run"
    )]
    qualify: Option<String>,

    /// The number of the candidate, which is an image.
    #[arg(long = "as", value_name = "VERSION", requires = "qualify", help_heading = "Run")]
    number: Option<images::Version>,

    /// The release that the candidate is held against (default: the newest before it).
    #[arg(long, value_name = "RELEASE", requires = "qualify", help_heading = "Run")]
    against: Option<images::Version>,

    /// The candidate's `docs/upgrade.md` (default: that of its source distribution on PyPI; for an image, none).
    #[arg(long, value_name = "FILE", requires = "qualify", help_heading = "Run")]
    upgrade_notes: Option<PathBuf>,

    /// Where runs keep their evidence and reports (default: `target/upgrades`).
    #[arg(long, value_name = "DIRECTORY", env = "SYNAPSE_UPGRADES_EVIDENCE", help_heading = "Run")]
    evidence: Option<PathBuf>,
}

/// What becomes of what passes alone only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Flaky {
    /// The run passes.
    Pass,
    /// The run fails, with an exit status of its own.
    Fail,
}

/// Runs the `upgrades` target with the process's arguments.
pub fn main(suite: Suite) -> ExitCode {
    match begin(suite) {
        Ok(code) => code,
        Err(Stop { code, message }) => {
            tell(&format!("error: {message}"));
            ExitCode::from(code)
        }
    }
}

/// Reads the arguments; of a run that goes on, with those that it had.
fn begin(suite: Suite) -> Result<ExitCode, Stop> {
    let (cli, options) = options::parse(std::env::args());
    let Some(run) = &cli.resume else { return cli.run(suite, options, None) };
    let root = cli.evidence.clone().unwrap_or_else(default_root);
    let earlier = Earlier::read(run, &root).map_err(|error| usage(format!("{error:#}")))?;
    if earlier.left.is_empty() {
        tell(&format!("every trial of {} has a verdict", earlier.directory.display()));
        return Ok(ExitCode::from(earlier.verdict.exit_code()));
    }
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let (cli, options) = options::parse([program].into_iter().chain(earlier.options.iter().cloned()).chain(arguments));
    cli.run(suite, options, Some(&earlier))
}

/// Why nothing was run.
struct Stop {
    code: u8,
    message: String,
}

fn usage(message: impl Into<String>) -> Stop {
    Stop { code: Verdict::USAGE, message: message.into() }
}

#[expect(clippy::print_stderr, reason = "the command line's own voice")]
fn tell(message: &str) {
    eprintln!("{message}");
}

impl Cli {
    fn run(mut self, mut suite: Suite, mut options: Vec<String>, earlier: Option<&Earlier>) -> Result<ExitCode, Stop> {
        if earlier.is_none() && !self.in_short && self.is_plain() {
            self.in_short = true;
            options.push("--in-short".to_owned());
        }
        let table = ReleaseTable::load().map_err(|error| usage(error.to_string()))?;
        let candidate = self.candidate(&table)?;
        let table = table.with(&self.images.further);
        if self.every_variant {
            suite.scenarios = suite.scenarios.into_iter().map(Scenario::every_variant).collect();
        }
        if let Some(candidate) = &candidate {
            suite.scenarios = qualify::scenarios(candidate, &table, &suite.scenarios, &suite.qualification);
        }
        let paths = self.walked(&table);
        if self.shrink.is_some() || self.bisect.is_some() {
            return self.search(&table, &options);
        }
        if !paths.is_empty() {
            suite.scenarios = paths.iter().map(Scenario::along).collect();
        }
        if let Some(release) = &self.coverage {
            suite.scenarios = vec![Scenario::coverage(&release.to_string())];
        }
        if let Some(release) = &self.control_estate {
            let has = suite.estate.iter().filter(|part| part.available(release).is_ok());
            suite.scenarios = has.map(|part| Scenario::part_control(&release.to_string(), part)).collect();
        }
        let problems: Vec<String> = suite
            .scenarios
            .iter()
            .flat_map(|scenario| {
                scenario.problems().into_iter().map(move |problem| format!("{}: {problem}", scenario.path()))
            })
            .collect();
        if !problems.is_empty() {
            return Err(usage(format!("scenarios that cannot run:\n  {}", problems.join("\n  "))));
        }
        let all = if self.mutants {
            let mutants = plan::mutants(&suite.scenarios, &suite.mutants);
            mutants.map_err(|problems| usage(problems.join("\n")))?
        } else {
            plan::trials(&suite.scenarios)
        };
        let all = if self.is_plain() { plan::without_old(all) } else { all };
        // A trial is in the same shard whatever the filter, so that one process per trial divides them alike.
        let mut trials = self.shard.map_or_else(|| all.clone(), |shard| shard.select(all.clone()));
        trials.retain(|trial| earlier.is_none_or(|earlier| earlier.left.contains(&trial.name)));
        if self.libtest.list {
            let listed = trials
                .iter()
                .map(|trial| libtest_mimic::Trial::test(&trial.name, || Ok(())).with_ignored_flag(trial.is_ignored()))
                .collect();
            // A listing has no outcome.
            let _ = libtest_mimic::run(&self.libtest, listed);
            return Ok(ExitCode::SUCCESS);
        }
        let selected = trials.iter().filter(|trial| earlier.is_some() || self.selects(trial)).cloned();
        let selected: Vec<Trial> =
            if self.in_short { selected.map(Trial::in_short).collect() } else { selected.collect() };
        if !all.iter().any(|trial| self.matches(&trial.name)) {
            let filter = self.libtest.filter.as_deref().unwrap_or("");
            return Err(usage(format!(
                "no trial's name matches `{filter}`; `cargo test --test upgrades -- --list` shows all {} names",
                all.len()
            )));
        }
        let plan = if self.one_at_a_time { Plan::one_at_a_time(selected) } else { Plan::new(selected) };
        let plan = if self.control { plan.as_control() } else { plan };
        let plan = plan.run_with(options).after(earlier.map_or(0, |earlier| earlier.walks));
        let mut plan = match &candidate {
            Some(candidate) => plan.qualifying(candidate, &all),
            None => plan,
        };
        self.know(&plan, &table)?;
        if self.plan {
            print(&plan)?;
            return Ok(ExitCode::SUCCESS);
        }
        if let (Some(candidate), Some(qualifies)) = (&candidate, &mut plan.qualification) {
            match self.announcements(candidate)? {
                Ok(document) => qualifies.notes = (suite.qualification.announced)(&document, &candidate.against),
                Err(why) => qualifies.notes_unread = Some(why),
            }
        }
        self.execute(suite, plan, &trials, earlier)
    }

    /// The paths to walk instead of the notes.
    fn walked(&self, table: &ReleaseTable) -> Vec<Path> {
        let hops = self.hops.iter().flat_map(Hop::paths);
        let seeds = self.seeds.iter().map(|&seed| random(seed, table));
        self.paths.iter().cloned().chain(hops).chain(seeds).collect()
    }

    /// Runs paths until it is known which one is to be told.
    fn search(&self, table: &ReleaseTable, options: &[String]) -> Result<ExitCode, Stop> {
        let tries = Tries {
            options: plan::without_paths(options),
            evidence: self.evidence.clone().unwrap_or_else(default_root).join("tries"),
            by: self.by.clone(),
        };
        let stop = |error: anyhow::Error| Stop { code: ERRORED, message: format!("{error:#}") };
        if let Some(path) = &self.bisect {
            let first = tries.bisect(path, table).map_err(stop)?;
            tell(&format!("red since {first}: {path}"));
        }
        if let Some(path) = &self.shrink {
            let shortest = tries.shorten(path).map_err(stop)?;
            tell(&format!("shortest: --path '{shortest}'"));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Every release that is named is one that exists, or one that an image was given for.
    fn know(&self, plan: &Plan, releases: &ReleaseTable) -> Result<(), Stop> {
        let wanted = plan.wanted();
        for named in wanted.iter().chain(self.images.given()) {
            let Wanted::Homeserver { version, .. } = named else { continue };
            let is_given = self.images.given_for(named).is_some() && wanted.contains(named);
            if releases.get(version).is_some() || is_given {
                continue;
            }
            let newest = releases.newest_stable().map_or_else(String::new, |newest| {
                format!("; the newest that the release table knows is {}", newest.version)
            });
            return Err(usage(format!("there is no release {version}{newest}")));
        }
        Ok(())
    }

    /// Is it the plain command, for which each note is one of a hundred, and must not take long?
    fn is_plain(&self) -> bool {
        let asks = self.libtest.filter.is_some() || self.libtest.include_ignored || self.libtest.ignored;
        self.walks_notes() && !asks && !self.every_variant && !self.control
    }

    /// Are its trials the suite's own, as they are?
    fn walks_notes(&self) -> bool {
        let has_paths = !(self.paths.is_empty() && self.hops.is_empty() && self.seeds.is_empty());
        let on_one = self.coverage.is_some() || self.control_estate.is_some() || self.qualify.is_some();
        !has_paths && !on_one && !self.mutants
    }

    /// What a reader of the verdict should know of the run's arguments.
    fn remarks(&self, plan: &Plan) -> Vec<String> {
        let wanted = plan.wanted();
        let unused = self.images.given().filter(|given| !wanted.contains(given));
        let mut remarks: Vec<String> = unused
            .map(|given| format!("no trial of this run uses {given}: the image given for it is not looked at"))
            .collect();
        if self.in_short {
            let young = plan::YOUNG;
            remarks.push(format!(
                "each note walks in the first configuration that shows its change, and before {young} only if it is named: \
                 --every-variant walks all"
            ));
        }
        if let (true, Some(name)) = (plan.trials.is_empty(), &self.libtest.filter) {
            remarks.push(format!("what matches `{name}` is walked when it is asked for: --include-ignored"));
        }
        if let (true, Some(shard)) = (plan.trials.is_empty(), self.shard) {
            remarks.push(format!("shard {shard} has none of the trials that were selected"));
        }
        remarks
    }

    /// libtest's own rule: a substring, or the whole name with `--exact`.
    fn matches(&self, name: &str) -> bool {
        let matches = |filter: &str| if self.libtest.exact { name == filter } else { name.contains(filter) };
        self.libtest.filter.as_deref().is_none_or(matches) && !self.libtest.skip.iter().any(|skip| matches(skip))
    }

    /// libtest's own rule: what is ignored is run when it is asked for.
    fn selects(&self, trial: &Trial) -> bool {
        let kind = if trial.is_ignored() {
            self.libtest.ignored || self.libtest.include_ignored
        } else {
            !self.libtest.ignored
        };
        kind && self.matches(&trial.name) && !self.libtest.bench
    }

    fn execute(self, suite: Suite, plan: Plan, all: &[Trial], earlier: Option<&Earlier>) -> Result<ExitCode, Stop> {
        let tolerances = Tolerances::parse(suite.tolerances).map_err(usage)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Stop { code: ERRORED, message: format!("no runtime: {error}") })?;
        let root = self.evidence.clone().unwrap_or_else(default_root);
        // What is usually ignored may be what needs a tolerance.
        let whole = plan.trials.len() == all.len() && self.shard.is_none() && self.walks_notes() && !self.control;
        let whole = whole && earlier.is_none();
        let prepared =
            runtime.block_on(self.prepare(&plan, suite.ledger, &root, tolerances.clone(), suite.estate, earlier));
        let engine = prepared.map_err(|error| Stop { code: ERRORED, message: format!("{error:#}") })?;

        let plan = Arc::new(plan);
        let (sender, mut verdicts) = tokio::sync::mpsc::unbounded_channel();
        let note_url = suite.note_url;
        let run = runtime.spawn(engine::run(
            Arc::clone(&engine),
            Arc::clone(&plan),
            Arc::new(move |trial: &Trial| note_url(&trial.scenario)),
            sender,
        ));
        let desk = Desk::new(&plan);
        let waiters = desk.waiters(all, self.flaky);
        runtime.spawn(async move {
            while let Some((index, result)) = verdicts.recv().await {
                desk.hand_out(index, result);
            }
        });
        // libtest's threads only wait for verdicts, so each trial gets one and none holds a core.
        // What an earlier run left was asked for there.
        let include_ignored = self.libtest.include_ignored || earlier.is_some();
        let arguments = Arguments { test_threads: Some(plan.trials.len().max(2)), include_ignored, ..self.libtest };
        // The summary below knows more than libtest's conclusion.
        let _ = libtest_mimic::run(&arguments, waiters);
        let summary = runtime.block_on(async {
            let joined = run.await;
            if let Err(error) = joined {
                engine.reporter.emit(Event::Notice { text: format!("the run broke off: {error}") });
            }
            if whole {
                for pattern in tolerances.unused() {
                    engine.reporter.emit(Event::Notice {
                        text: format!("the tolerance `{pattern}` permits nothing any more: remove it"),
                    });
                }
            }
            engine.finish(false).await
        });
        let stale = whole && !tolerances.unused().is_empty();
        let verdict = if stale { summary.verdict.max(Verdict::Errored) } else { summary.verdict };
        Ok(ExitCode::from(verdict.exit_code()))
    }

    async fn prepare(
        &self,
        plan: &Plan,
        ledger: Option<reports::Ledger>,
        root: &std::path::Path,
        tolerances: Tolerances,
        estate: Vec<Part>,
        earlier: Option<&Earlier>,
    ) -> anyhow::Result<Arc<Engine>> {
        let run = run_id();
        let directory = match earlier {
            Some(earlier) => earlier.directory.clone(),
            None => reports::create_run_directory(root, &run, reports::KEPT_RUNS)
                .with_context(|| format!("cannot write evidence below {}", root.display()))?,
        };
        let daemon = Daemon::connect(&run, &directory).await?;
        let version = daemon.version().await?;
        let started = RunStarted {
            run,
            started: jiff::Timestamp::now().to_string(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            shard: self.shard.map(|shard| shard.to_string()),
            flaky_permitted: self.flaky == Flaky::Pass,
            control: self.control,
            qualification: plan.qualification.clone(),
            options: plan.options.clone(),
            environment: vec![("Docker".to_owned(), version), ("cores".to_owned(), engine::cores().to_string())],
            images: plan.wanted().iter().map(ToString::to_string).collect(),
            trials: plan.trials.iter().map(|trial| trial.name.clone()).collect(),
            walks: (plan.first..).zip(&plan.walks).map(|(index, walk)| plan.describe(index, walk)).collect(),
        };
        let options = ReporterOptions { terminal: Some(TerminalOptions::detect()), ledger };
        let begin = if earlier.is_some() { Reporter::resume } else { Reporter::start };
        let reporter = begin(&directory, started, options).context("cannot write the run's record")?;
        for text in self.remarks(plan) {
            reporter.emit(Event::Notice { text });
        }
        let equipped = self.equip(plan, daemon, reporter.clone(), root, tolerances, estate).await;
        if let Err(error) = &equipped {
            reporter.emit(Event::Notice { text: format!("nothing is run: {error:#}") });
            reporter.finish(RunFinished { interrupted: true, ..RunFinished::default() });
        }
        equipped
    }

    async fn equip(
        &self,
        plan: &Plan,
        daemon: Daemon,
        reporter: Reporter,
        root: &std::path::Path,
        tolerances: Tolerances,
        estate: Vec<Part>,
    ) -> anyhow::Result<Arc<Engine>> {
        // Somebody else's container may use what is to go, which is no reason not to run.
        let swept = match daemon.sweep_dead().await {
            Ok(swept) if swept.is_empty() => None,
            Ok(swept) => Some(format!("removed what a killed run had left: {}", swept.join(", "))),
            Err(error) => Some(format!("what a killed run left cannot be removed: {error:#}")),
        };
        if let Some(text) = swept {
            reporter.emit(Event::Notice { text });
        }
        let teller = reporter.clone();
        let images = images::Store::open(self.images.clone(), move |progress| teller.emit(engine::progress(progress)))
            .await
            .context("images cannot be had")?;
        let missing = images.missing(&plan.wanted()).await.map_err(|error| anyhow::anyhow!(error))?;
        let estimate = Estimate::of(plan, missing, engine::cores());
        if estimate.is_long() {
            reporter.emit(Event::Notice { text: estimate.to_string() });
        }
        let jobs = Jobs::of(plan, self.libtest.test_threads);
        let engine = Engine::new(daemon, images, reporter, tolerances, estate, fixture::directory(root), jobs)?;
        let engine = Arc::new(engine);
        tokio::spawn(interrupted(Arc::clone(&engine)));
        // An image that was given is there, and is what it was given for, before anything runs.
        for given in plan.wanted().iter().filter(|wanted| self.images.given_for(wanted).is_some()) {
            engine.vouch(given).await?;
        }
        Ok(engine)
    }
}

/// Prints what was asked for. Who reads it may have read enough (`| head`).
fn print(plan: &Plan) -> Result<(), Stop> {
    match std::io::stdout().write_all(plan.to_string().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Stop { code: ERRORED, message: format!("the plan cannot be printed: {error}") })
        }
        _ => Ok(()),
    }
}

/// Ctrl-C or SIGTERM: report what is known, leave nothing behind. A second Ctrl-C leaves that to the next run.
async fn interrupted(engine: Arc<Engine>) {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            engine.reporter.emit(Event::Notice { text: format!("SIGTERM will not be noticed: {error}") });
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    engine.reporter.emit(Event::Notice { text: "interrupted: removing this run's containers …".to_owned() });
    tokio::select! {
        _ = engine.finish(true) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    #[expect(clippy::exit, reason = "libtest's threads would wait for verdicts that never come")]
    std::process::exit(Verdict::INTERRUPTED.into());
}

fn run_id() -> String {
    let now = jiff::Zoned::now();
    format!("{}-{}", now.strftime("%Y%m%d-%H%M%S"), std::process::id())
}

/// `target/upgrades`, wherever the target directory is.
fn default_root() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"), PathBuf::from);
    let root = target.join("upgrades");
    root.canonicalize().unwrap_or(root)
}

/// Hands verdicts to libtest's waiting threads.
struct Desk {
    names: BTreeMap<usize, String>,
    senders: BTreeMap<String, mpsc::Sender<TrialResult>>,
    receivers: Mutex<BTreeMap<String, mpsc::Receiver<TrialResult>>>,
}

impl Desk {
    fn new(plan: &Plan) -> Self {
        let mut desk = Self { names: BTreeMap::new(), senders: BTreeMap::new(), receivers: Mutex::default() };
        for (index, trial) in plan.trials.iter().enumerate() {
            let (sender, receiver) = mpsc::channel();
            desk.names.insert(index, trial.name.clone());
            desk.senders.insert(trial.name.clone(), sender);
            desk.receivers.lock().unwrap_or_else(PoisonError::into_inner).insert(trial.name.clone(), receiver);
        }
        desk
    }

    fn waiters(&self, all: &[Trial], flaky: Flaky) -> Vec<libtest_mimic::Trial> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        // A line for each of the thousands that are ignored tells nobody anything.
        all.iter()
            .filter(|trial| !trial.is_ignored() || self.names.values().any(|name| *name == trial.name))
            .map(|trial| {
                let receiver = receivers.remove(&trial.name);
                let wait = move || match receiver.map(|receiver| receiver.recv()) {
                    Some(Ok(result)) => verdict(&result, flaky),
                    Some(Err(_)) => Err("the run ended without a verdict".into()),
                    None => Err("not selected by the harness, but by libtest".into()),
                };
                libtest_mimic::Trial::test(&trial.name, wait).with_ignored_flag(trial.is_ignored())
            })
            .collect()
    }

    fn hand_out(&self, index: usize, result: TrialResult) {
        if let Some(sender) = self.names.get(&index).and_then(|name| self.senders.get(name)) {
            // A waiter that is gone has been told already.
            let _ = sender.send(result);
        }
    }
}

fn verdict(result: &TrialResult, flaky: Flaky) -> Result<(), Failed> {
    let text = result.explanation.clone().unwrap_or_default();
    match result.outcome {
        Outcome::Passed | Outcome::NotRun => Ok(()),
        Outcome::Flaky if flaky == Flaky::Pass => Ok(()),
        Outcome::Flaky => Err(text.into()),
        Outcome::Failed => {
            let lines = reports::brief(result).join("\n");
            Err(format!("the homeserver broke its contract; see above and the report. {text}\n{lines}").into())
        }
        Outcome::Errored => Err(format!("error of the environment, not of the homeserver: {text}").into()),
    }
}
