//! The `upgrades` test target: arguments, selection, the run, exit codes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use anyhow::Context as _;
use clap::Parser;
use images::{ReleaseTable, Wanted};
use libtest_mimic::{Arguments, Failed};
use reports::{
    Event, Outcome, Reporter, ReporterOptions, RunFinished, RunStarted, TerminalOptions, TrialResult, Verdict,
};

use crate::{
    Scenario,
    daemon::Daemon,
    fixture,
    plan::{self, Hop, Plan, Shard, Trial},
    run::{self, Engine, Jobs},
    tolerance::Tolerances,
};

/// Everything that the engine is told about notes.
pub struct Suite {
    /// All scenarios.
    pub scenarios: Vec<Scenario>,
    /// The text of the tolerances' file.
    pub tolerances: &'static str,
    /// All of upstream's notes, for the report.
    pub ledger: Option<reports::Ledger>,
    /// The address of a scenario's note in upstream's documentation.
    pub note_url: fn(&Scenario) -> String,
}

/// Exit status when a homeserver broke its contract; libtest's own.
const FAILED: u8 = 101;
/// Exit status when the harness, Docker or an image is at fault.
const ERRORED: u8 = 3;
/// Exit status for bad usage.
const USAGE: u8 = 2;

/// Real Synapse upgrades, held against upstream's notes.
#[derive(Parser)]
#[command(
    name = "upgrades",
    disable_version_flag = true,
    about = "Starts real homeservers, upgrades them on the same data, and compares what they show with what \
             Synapse's upgrade notes say.",
    after_help = "Exit status: 0 all trials passed; 101 a homeserver broke its contract; 3 the harness, Docker or an \
                  image is at fault; 2 bad usage; 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    libtest: Arguments,

    #[command(flatten, next_help_heading = "Images")]
    images: images::Options,

    /// Print the plan and run nothing.
    #[arg(long, help_heading = "Run")]
    plan: bool,

    /// Run each path's first release under the later releases' version numbers: every trial must notice, by a fact.
    #[arg(long, help_heading = "Run")]
    control: bool,

    /// Give every variant deployments of its own that begin with nothing, and walk them one after the other: for
    /// comparison, or to rule out that company, load or first data blurs a result.
    #[arg(long, help_heading = "Run")]
    one_at_a_time: bool,

    /// Run one part of the trials, `1/4`; hops are never split.
    #[arg(long, value_name = "INDEX/COUNT", env = "SYNAPSE_UPGRADES_SHARD", help_heading = "Run")]
    shard: Option<Shard>,

    /// Walk a rich estate along this hop instead of the notes: does users' data survive it?
    #[arg(long, value_name = "FROM..TO", help_heading = "Run")]
    hop: Option<Hop>,

    /// Where runs keep their evidence and reports.
    #[arg(long, value_name = "DIRECTORY", env = "SYNAPSE_UPGRADES_EVIDENCE", help_heading = "Run")]
    evidence: Option<PathBuf>,
}

/// Runs the `upgrades` target with the process's arguments.
pub fn main(suite: Suite) -> ExitCode {
    let cli = Cli::parse();
    match cli.run(suite) {
        Ok(code) => code,
        Err(Stop { code, message }) => {
            tell(&format!("error: {message}"));
            ExitCode::from(code)
        }
    }
}

/// Why nothing was run.
struct Stop {
    code: u8,
    message: String,
}

fn usage(message: impl Into<String>) -> Stop {
    Stop { code: USAGE, message: message.into() }
}

#[expect(clippy::print_stderr, reason = "the command line's own voice")]
fn tell(message: &str) {
    eprintln!("{message}");
}

impl Cli {
    fn run(self, mut suite: Suite) -> Result<ExitCode, Stop> {
        if let Some(Hop { from, to }) = &self.hop {
            suite.scenarios = vec![Scenario::survival(&from.to_string(), &to.to_string())];
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
        let all = plan::trials(&suite.scenarios);
        // A trial is in the same shard whatever the filter, so that one process per trial divides them alike.
        let trials = self.shard.map_or_else(|| all.clone(), |shard| shard.select(all.clone()));
        if self.libtest.list {
            let listed = trials.iter().map(|trial| libtest_mimic::Trial::test(&trial.name, || Ok(()))).collect();
            // A listing has no outcome.
            let _ = libtest_mimic::run(&self.libtest, listed);
            return Ok(ExitCode::SUCCESS);
        }
        let selected: Vec<Trial> = trials.iter().filter(|trial| self.selects(&trial.name)).cloned().collect();
        if !all.iter().any(|trial| self.selects(&trial.name)) {
            let filter = self.libtest.filter.as_deref().unwrap_or("");
            return Err(usage(format!(
                "no trial's name matches `{filter}`; `cargo test --test upgrades -- --list` shows all {} names",
                all.len()
            )));
        }
        let plan = if self.one_at_a_time { Plan::one_at_a_time(selected) } else { Plan::new(selected) };
        let plan = if self.control { plan.as_control() } else { plan };
        let plan = plan.run_with(std::env::args().skip(1));
        self.know(&plan)?;
        if self.plan {
            print(&plan);
            return Ok(ExitCode::SUCCESS);
        }
        self.execute(suite, plan, &trials)
    }

    /// Every release that is named is one that exists, or one that an image was given for.
    fn know(&self, plan: &Plan) -> Result<(), Stop> {
        let releases = ReleaseTable::load().map_err(|error| usage(error.to_string()))?;
        let given = self.given();
        let wanted = plan.wanted();
        for named in wanted.iter().chain(given.iter().copied()) {
            let Wanted::Homeserver { version, .. } = named else { continue };
            if releases.get(version).is_some() || (given.contains(&named) && wanted.contains(named)) {
                continue;
            }
            let newest = releases.newest_stable().map_or_else(String::new, |newest| {
                format!("; the newest that the release table knows is {}", newest.version)
            });
            return Err(usage(format!("there is no release {version}{newest}")));
        }
        Ok(())
    }

    /// What images were given for.
    fn given(&self) -> Vec<&Wanted> {
        self.images.overrides.iter().map(|given| &given.wanted).collect()
    }

    /// What a reader of the verdict should know of the run's arguments.
    fn remarks(&self, plan: &Plan) -> Vec<String> {
        let wanted = plan.wanted();
        let unused = self.given().into_iter().filter(|given| !wanted.contains(given));
        let mut remarks: Vec<String> = unused
            .map(|given| format!("no trial of this run uses {given}: the image given for it is not looked at"))
            .collect();
        if let (true, Some(shard)) = (plan.trials.is_empty(), self.shard) {
            remarks.push(format!("shard {shard} has none of the trials that were selected"));
        }
        remarks
    }

    /// libtest's own rule: a substring, or the whole name with `--exact`.
    fn selects(&self, name: &str) -> bool {
        let matches = |filter: &str| if self.libtest.exact { name == filter } else { name.contains(filter) };
        self.libtest.filter.as_deref().is_none_or(matches)
            && !self.libtest.skip.iter().any(|skip| matches(skip))
            && !self.libtest.ignored
            && !self.libtest.bench
    }

    fn execute(self, suite: Suite, plan: Plan, all: &[Trial]) -> Result<ExitCode, Stop> {
        let tolerances = Tolerances::parse(suite.tolerances).map_err(usage)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Stop { code: ERRORED, message: format!("no runtime: {error}") })?;
        let root = self.evidence.clone().unwrap_or_else(default_root);
        let whole = plan.trials.len() == all.len() && self.shard.is_none() && self.hop.is_none() && !self.control;
        let prepared = runtime.block_on(self.prepare(&plan, suite.ledger, &root, tolerances.clone()));
        let engine = prepared.map_err(|error| Stop { code: ERRORED, message: format!("{error:#}") })?;

        let plan = Arc::new(plan);
        let (sender, mut verdicts) = tokio::sync::mpsc::unbounded_channel();
        let note_url = suite.note_url;
        let run = runtime.spawn(run::run(
            Arc::clone(&engine),
            Arc::clone(&plan),
            Arc::new(move |trial: &Trial| note_url(&trial.scenario)),
            sender,
        ));
        let desk = Desk::new(&plan);
        let waiters = desk.waiters(all);
        runtime.spawn(async move {
            while let Some((index, result)) = verdicts.recv().await {
                desk.hand_out(index, result);
            }
        });
        // libtest's threads only wait for verdicts, so each trial gets one and none holds a core.
        let arguments = Arguments { test_threads: Some(plan.trials.len().max(2)), ..self.libtest };
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
        Ok(match summary.verdict {
            Verdict::Passed if stale => ExitCode::from(ERRORED),
            Verdict::Passed => ExitCode::SUCCESS,
            Verdict::Failed => ExitCode::from(FAILED),
            _ => ExitCode::from(ERRORED),
        })
    }

    async fn prepare(
        &self,
        plan: &Plan,
        ledger: Option<reports::Ledger>,
        root: &Path,
        tolerances: Tolerances,
    ) -> anyhow::Result<Arc<Engine>> {
        let run = run_id();
        let directory = reports::create_run_directory(root, &run, reports::KEPT_RUNS)
            .with_context(|| format!("cannot write evidence below {}", root.display()))?;
        let daemon = Daemon::connect(&run, &directory).await?;
        let version = daemon.version().await?;
        let started = RunStarted {
            run,
            started: jiff::Timestamp::now().to_string(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            shard: self.shard.map(|shard| shard.to_string()),
            environment: vec![
                ("Docker".to_owned(), version),
                ("cores".to_owned(), std::thread::available_parallelism().map_or(1, usize::from).to_string()),
            ],
            images: plan.wanted().iter().map(ToString::to_string).collect(),
            trials: plan.trials.iter().map(|trial| trial.name.clone()).collect(),
            walks: plan.walks.iter().enumerate().map(|(index, walk)| plan.describe(index, walk)).collect(),
        };
        let options = ReporterOptions { terminal: Some(TerminalOptions::detect()), ledger };
        let reporter = Reporter::start(&directory, started, options).context("cannot write the run's record")?;
        for text in self.remarks(plan) {
            reporter.emit(Event::Notice { text });
        }
        let equipped = self.equip(plan, daemon, reporter.clone(), root, tolerances).await;
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
        root: &Path,
        tolerances: Tolerances,
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
        let images = images::Store::open(self.images.clone(), move |progress| teller.emit(run::progress(progress)))
            .await
            .context("images cannot be had")?;
        let jobs = Jobs::of(plan, self.libtest.test_threads);
        let engine = Engine::new(daemon, images, reporter, tolerances, fixture::directory(root), jobs)?;
        let engine = Arc::new(engine);
        tokio::spawn(interrupted(Arc::clone(&engine)));
        // An image that was given is there, and is what it was given for, before anything runs.
        let wanted = plan.wanted();
        for given in self.given().into_iter().filter(|given| wanted.contains(given)) {
            engine.vouch(given).await?;
        }
        Ok(engine)
    }
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn print(plan: &Plan) {
    print!("{plan}");
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
    std::process::exit(130);
}

fn run_id() -> String {
    let now = jiff::Zoned::now();
    format!("{}-{}", now.strftime("%Y%m%d-%H%M%S"), std::process::id())
}

/// `target/upgrades`, wherever the target directory is.
fn default_root() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
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

    fn waiters(&self, all: &[Trial]) -> Vec<libtest_mimic::Trial> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|trial| {
                let receiver = receivers.remove(&trial.name);
                libtest_mimic::Trial::test(&trial.name, move || match receiver.map(|receiver| receiver.recv()) {
                    Some(Ok(result)) => verdict(&result),
                    Some(Err(_)) => Err("the run ended without a verdict".into()),
                    None => Err("not selected by the harness, but by libtest".into()),
                })
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

fn verdict(result: &TrialResult) -> Result<(), Failed> {
    let text = result.explanation.clone().unwrap_or_default();
    match result.outcome {
        Outcome::Passed | Outcome::NotRun => Ok(()),
        Outcome::Failed => Err(format!("the homeserver broke its contract; see above and the report. {text}").into()),
        Outcome::Errored => Err(format!("error of the environment, not of the homeserver: {text}").into()),
    }
}
