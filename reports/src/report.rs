use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    Ledger, Outcome, Qualification, Qualifies, Recording, RecordingError, RunFinished, TrialResult, reading, recording,
};

/// The HTML page's file name.
pub const PAGE: &str = "report.html";
/// The JUnit file's name.
pub const JUNIT: &str = "junit.xml";
/// The JSON file's name.
pub const JSON: &str = "report.json";

/// One or several recordings put in order: what `report.json` holds.
///
/// The JSON is stable. A change that an existing reader would stumble over raises [`Report::FORMAT`]; a new field does
/// not. Times within a run (`…_at`) are seconds since that run started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this structure, [`Report::FORMAT`].
    pub format: u32,
    /// The whole in one word.
    pub verdict: Verdict,
    /// Trials by outcome.
    pub counts: Counts,
    /// Times and sums over all runs.
    pub totals: Totals,
    /// What keeps this record from being complete, in sentences: a killed shard, a cut line, an interrupt. Empty for a
    /// record that is whole.
    pub gaps: Vec<String>,
    /// The runs, in the order given: one, or one per shard.
    pub runs: Vec<Run>,
    /// The images, run by run.
    pub images: Vec<Image>,
    /// The walks, run by run.
    pub walks: Vec<Walk>,
    /// The trials, in the order of the plans.
    pub trials: Vec<Trial>,
    /// All of upstream's notes, if the run recorded its ledger.
    pub ledger: Option<Ledger>,
    /// What it comes to for a candidate, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualification: Option<Qualification>,
}

/// A run, or a set of shards, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Trials ran, every one that did passed, and nothing is missing.
    Passed,
    /// Nothing failed, but not all was seen: the run was interrupted or killed, a shard is missing, or no trial ran.
    Incomplete,
    /// Something did not pass in company and passed alone, and the run was not told to let that pass.
    Flaky,
    /// No homeserver broke its contract, but the harness, Docker or an image failed at least once.
    Errored,
    /// A homeserver broke its contract.
    Failed,
}

impl Verdict {
    /// What a process that stands for the run exits with, be it the run itself or a report of it. The failed one is libtest's
    /// own.
    pub const fn exit_code(self) -> u8 {
        match self {
            Verdict::Passed => 0,
            Verdict::Errored => 3,
            Verdict::Incomplete => 4,
            Verdict::Flaky => 5,
            Verdict::Failed => 101,
        }
    }

    /// What a process exits with that was used wrongly.
    pub const USAGE: u8 = 2;
    /// What a run exits with that was interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// Trials by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Every fact was as expected.
    pub passed: usize,
    /// The homeserver broke its contract.
    pub failed: usize,
    /// Did not pass in company, and passed alone.
    #[serde(default)]
    pub flaky: usize,
    /// The harness, Docker or an image failed.
    pub errored: usize,
    /// Not run.
    pub not_run: usize,
}

/// Times and sums over all runs of a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Wall time in seconds; of the longest run where there are several.
    pub seconds: f64,
    /// Wall time in seconds during which at least one walk was under way, summed over the runs.
    pub walking_seconds: f64,
    /// CPU seconds of all homeserver processes.
    pub homeserver_cpu_seconds: f64,
    /// Those CPU seconds divided by the cores of the run that spent them: no run can walk in less. `None` where a run
    /// did not tell its cores.
    pub floor_seconds: Option<f64>,
    /// `walking_seconds ÷ floor_seconds`: 1 would be a harness that costs nothing.
    pub ratio: Option<f64>,
    /// Homeserver processes started.
    pub boots: usize,
}

/// One run: a shard, or the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id.
    pub run: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// The command line that started it.
    pub command: String,
    /// `1/4`, for one shard of several.
    pub shard: Option<String>,
    /// Was it told to let pass what is flaky?
    #[serde(default)]
    pub flaky_permitted: bool,
    /// The candidate that it qualifies, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualifies: Option<Qualifies>,
    /// The options that change what a trial does, as they would be typed.
    #[serde(default)]
    pub options: Vec<String>,
    /// What it ran on: name and value.
    pub environment: Vec<(String, String)>,
    /// Its directory as seen from the report's: evidence paths start with it. Empty where the two are the same.
    pub directory: String,
    /// `false` for a run whose end is not on record.
    pub ended: bool,
    /// Its totals; reckoned from the events where the end is not on record, and then with `cores` 0.
    pub totals: RunFinished,
    /// What a reader of the log should know.
    pub notices: Vec<Notice>,
}

/// Something that is nobody's failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// When it was told.
    pub at: f64,
    /// One sentence.
    pub text: String,
}

/// How one image was obtained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Index into [`Report::runs`].
    pub run: usize,
    /// `synapse 1.53.0`.
    pub image: String,
    /// `override`, `present`, `registry` or `built`; `None` for one that was never had.
    pub source: Option<String>,
    /// What Docker calls it.
    pub reference: Option<String>,
    /// Content digest.
    pub id: Option<String>,
    /// Why it could not be had.
    pub error: Option<String>,
    /// When it was ready, or given up.
    pub ended_at: Option<f64>,
    /// Seconds it took.
    pub seconds: f64,
}

/// One deployment's path as it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Index into [`Report::runs`].
    pub run: usize,
    /// Its number within its run, from 1.
    pub number: usize,
    /// `1.52.0 → 1.53.0, SQLite`; several walks may have the same.
    pub title: String,
    /// Trials that observed on it.
    pub trials: Vec<String>,
    /// Evidence directory, relative to the run's directory.
    #[serde(default)]
    pub evidence: String,
    /// `true` for one that the plan did not have: a rerun alone.
    pub added: bool,
    /// When it set out.
    pub started_at: Option<f64>,
    /// When it reached its end, or broke off.
    pub finished_at: Option<f64>,
    /// Its legs.
    pub legs: Vec<Leg>,
}

/// One leg as it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leg {
    /// `1.53.0, after: remove the listener`.
    pub title: String,
    /// `Some(false)` when the server refused to start; `None` when the leg never came to that.
    pub answered: Option<bool>,
    /// When its container was created.
    pub started_at: Option<f64>,
    /// When it answered or refused.
    pub ready_at: Option<f64>,
    /// When it was over.
    pub finished_at: Option<f64>,
    /// CPU seconds of its homeserver's processes.
    pub homeserver_cpu_seconds: f64,
    /// Memory that they held at the end, in bytes; 0 where that is not known.
    #[serde(default)]
    pub memory_bytes: u64,
    /// How large the database was, in bytes; 0 where nothing answered.
    #[serde(default)]
    pub database_bytes: u64,
    /// Homeserver processes started.
    pub boots: usize,
    /// What the deployment said it is: name and value.
    pub fingerprints: Vec<(String, String)>,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Index into [`Report::runs`].
    pub run: usize,
    /// A name for links that no other trial of the report has.
    pub anchor: String,
    /// When its verdict came; `None` when none did.
    pub finished_at: Option<f64>,
    /// Its verdict and tables. [`FactTable::walk`](crate::FactTable::walk) is an index into [`Report::walks`], and
    /// [`FactTable::evidence`](crate::FactTable::evidence) is relative to the report.
    #[serde(flatten)]
    pub result: TrialResult,
}

impl Outcome {
    /// Grows with what a reader should see first.
    pub(crate) fn severity(self) -> u8 {
        match self {
            Outcome::NotRun => 0,
            Outcome::Passed => 1,
            Outcome::Flaky => 2,
            Outcome::Errored => 3,
            Outcome::Failed => 4,
        }
    }
}

impl Counts {
    /// All trials.
    pub fn total(&self) -> usize {
        self.passed + self.failed + self.flaky + self.errored + self.not_run
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Flaky => &mut self.flaky,
            Outcome::Errored => &mut self.errored,
            Outcome::NotRun => &mut self.not_run,
        } += 1;
    }
}

impl Report {
    /// The version of the structure that this code writes.
    pub const FORMAT: u32 = 2;

    /// Puts recordings in order. Several are taken as shards of one whole; one shard's own report is not short of the
    /// others.
    pub fn new(recordings: impl IntoIterator<Item = Recording>) -> Self {
        let mut report = Self::read(recordings);
        report.conclude(report.runs.len() > 1);
        report
    }

    /// Puts the record of one run in order: its directory, or its file of events. Events are not held in memory.
    pub fn of(path: &Path) -> Result<Self, RecordingError> {
        let events = recording::events(path);
        let mut report = Self { ledger: recording::ledger_beside(&events)?, ..Self::read([]) };
        reading::read_file(&mut report, &events)?;
        report.conclude(false);
        Ok(report)
    }

    /// Puts recordings in order that should be all of a whole: shards that are missing are gaps, even if there is one only.
    pub fn merged(recordings: impl IntoIterator<Item = Recording>) -> Self {
        let mut report = Self::read(recordings);
        report.conclude(true);
        report
    }

    fn read(recordings: impl IntoIterator<Item = Recording>) -> Self {
        let mut report = Report {
            format: Self::FORMAT,
            verdict: Verdict::Passed,
            counts: Counts::default(),
            totals: Totals::default(),
            gaps: Vec::new(),
            runs: Vec::new(),
            images: Vec::new(),
            walks: Vec::new(),
            trials: Vec::new(),
            ledger: None,
            qualification: None,
        };
        for mut recording in recordings {
            if let Some(ledger) = recording.ledger.take() {
                report.ledger.get_or_insert(ledger);
            }
            reading::read(&mut report, recording);
        }
        report
    }

    /// Writes [`PAGE`], [`JUNIT`] and [`JSON`] into `directory`.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut json = BufWriter::new(File::create(directory.join(JSON))?);
        serde_json::to_writer_pretty(&mut json, self)?;
        json.flush()?;
        fs::write(directory.join(JUNIT), crate::junit(self))?;
        fs::write(directory.join(PAGE), crate::html(self))?;
        Ok(())
    }

    /// The runs' ids, commands and environments by name; a value that is not the same for all is told for each.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut names: Vec<&str> = Vec::new();
        let mut values: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
        for (index, run) in self.runs.iter().enumerate() {
            let own = [("run", &run.run), ("started", &run.started), ("command", &run.command)];
            let own = own.into_iter().map(|(name, value)| (name, value.as_str()));
            let told = run.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            for (name, value) in own.chain(told) {
                if !names.contains(&name) {
                    names.push(name);
                }
                values.entry(name).or_default().push((index, value));
            }
        }
        let mut environment = Vec::new();
        for name in names {
            let values = &values[name];
            let first = values[0].1;
            if values.len() == self.runs.len() && values.iter().all(|(_, value)| *value == first) {
                environment.push((name.to_owned(), first.to_owned()));
            } else if values.len() > 20 {
                // One process per trial makes hundreds of runs; `runs` has them all.
                environment.push((name.to_owned(), format!("{first} and others")));
            } else {
                let of_each =
                    |(run, value): &(usize, &str)| (format!("{name}, {}", self.run_name(*run)), (*value).to_owned());
                environment.extend(values.iter().map(of_each));
            }
        }
        environment
    }

    /// A run as the report's sentences call it: `the run`, or `shard 1/4`.
    pub(crate) fn run_name(&self, run: usize) -> String {
        match &self.runs[run] {
            Run { shard: Some(shard), .. } => format!("shard {shard}"),
            Run { run, .. } if self.runs.len() > 1 => format!("run {run}"),
            Run { .. } => "the run".to_owned(),
        }
    }

    fn conclude(&mut self, whole: bool) {
        self.find_gaps_between_shards(whole);
        self.name_anchors();

        let qualifies = self.runs.iter().find_map(|run| run.qualifies.clone());
        if let Some(of) = &qualifies {
            for trial in self.trials.iter_mut().filter(|trial| trial.result.outcome == Outcome::Passed) {
                let broken = crate::qualification::broken_without_a_note(trial, of);
                if !broken.is_empty() {
                    trial.result.outcome = Outcome::Failed;
                    trial.result.explanation = Some(format!("No note says so:\n{}", broken.join("\n")));
                }
            }
        }

        for trial in &self.trials {
            self.counts.add(trial.result.outcome);
        }
        // A filter may leave one shard without trials, but not the whole.
        let idle = !whole && self.trials.is_empty() && self.runs.iter().any(|run| run.shard.is_some());
        self.verdict = if self.counts.failed > 0 {
            Verdict::Failed
        } else if self.counts.errored > 0 {
            Verdict::Errored
        } else if self.trials.iter().any(|trial| self.is_flaky(trial)) {
            Verdict::Flaky
        } else if !self.gaps.is_empty() || self.counts.passed + self.counts.flaky == 0 && !idle {
            Verdict::Incomplete
        } else {
            Verdict::Passed
        };

        let totals = &mut self.totals;
        let mut floor = Some(0.0);
        for run in &self.runs {
            let of_run = &run.totals;
            totals.seconds = totals.seconds.max(of_run.seconds);
            totals.walking_seconds += of_run.walking_seconds;
            totals.homeserver_cpu_seconds += of_run.homeserver_cpu_seconds;
            totals.boots += of_run.boots;
            let cores = u32::try_from(of_run.cores).unwrap_or(u32::MAX);
            floor = floor.filter(|_| cores > 0).map(|floor| floor + of_run.homeserver_cpu_seconds / f64::from(cores));
        }
        totals.floor_seconds = floor.filter(|floor| *floor > 0.0);
        totals.ratio = totals.floor_seconds.map(|floor| totals.walking_seconds / floor);

        self.qualification = qualifies.map(|of| Qualification::of(self, &of));
    }

    /// Flaky, and not permitted to be?
    pub(crate) fn is_flaky(&self, trial: &Trial) -> bool {
        trial.result.outcome == Outcome::Flaky && !self.runs[trial.run].flaky_permitted
    }

    /// Shards say how many they are, so a missing one is noticed.
    fn find_gaps_between_shards(&mut self, whole: bool) {
        let mut present: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for run in &self.runs {
            if let Some((index, count)) = run.shard.as_deref().and_then(|shard| shard.split_once('/'))
                && let (Ok(index), Ok(count)) = (index.trim().parse(), count.trim().parse())
            {
                present.entry(count).or_default().insert(index);
            }
        }
        if whole {
            for (count, present) in present {
                for missing in (1..=count.min(1000)).filter(|index| !present.contains(index)) {
                    self.gaps.push(format!("Shard {missing}/{count} is missing: its trials are not in this report."));
                }
            }
        }

        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut twice = Vec::new();
        for trial in &self.trials {
            match seen.get(trial.result.trial.as_str()) {
                Some(&earlier) if earlier != trial.run => {
                    twice.push((trial.result.trial.clone(), earlier, trial.run));
                }
                _ => drop(seen.insert(&trial.result.trial, trial.run)),
            }
        }
        for (trial, earlier, later) in twice {
            let sentence =
                format!("{trial} ran in {} and in {}; both count.", self.run_name(earlier), self.run_name(later));
            self.runs[later].notices.push(Notice { at: 0.0, text: sentence });
        }
    }

    fn name_anchors(&mut self) {
        let mut taken = BTreeSet::new();
        for trial in &mut self.trials {
            let plain: String = trial
                .result
                .trial
                .split("::")
                .map(|part| part.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-"))
                .collect::<Vec<_>>()
                .join(".");
            let mut anchor = plain.clone();
            let mut number = 2;
            while !taken.insert(anchor.clone()) {
                anchor = format!("{plain}.{number}");
                number += 1;
            }
            trial.anchor = anchor;
        }
    }
}

pub(crate) fn capitalized(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
