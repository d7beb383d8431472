//! The vocabulary between the harness and everything that reports.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One event with its time, as a line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds since the run started.
    pub at: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan is made; nothing runs yet. Always the first event.
    RunStarted(RunStarted),
    /// A run that was killed or interrupted goes on, with what of its plan has no verdict yet.
    RunResumed(RunStarted),
    /// Something that a reader of the log should know and that is nobody's failure.
    Notice {
        /// One sentence.
        text: String,
    },
    /// An image is not at hand and is being obtained.
    ImageStarted {
        /// Name as in [`RunStarted::images`].
        image: String,
        /// How: `pulling docker.io/…`, `building`.
        how: String,
    },
    /// Progress within one image.
    ImageStep {
        /// Name as in [`RunStarted::images`].
        image: String,
        /// The step, one line.
        step: String,
    },
    /// An image can be used.
    ImageReady(ImageReady),
    /// An image cannot be had; the trials that need it will be errors.
    ImageFailed {
        /// Name as in [`RunStarted::images`].
        image: String,
        /// What went wrong, in full sentences, with the log's path.
        error: String,
        /// Seconds spent.
        seconds: f64,
    },
    /// A deployment sets out on its path.
    WalkStarted {
        /// Index into [`RunStarted::walks`]; walks added later (reruns) are announced by [`Event::WalkAdded`].
        walk: usize,
    },
    /// A walk that the plan did not have: a scenario that failed in company, alone.
    WalkAdded(WalkPlan),
    /// A leg's homeserver answered for the first time, or refused to start.
    LegReady {
        /// The walk.
        walk: usize,
        /// Index into [`WalkPlan::legs`].
        leg: usize,
        /// `true` when the server answers, `false` when it refused to start.
        started: bool,
        /// Seconds from the container's creation until then.
        seconds: f64,
    },
    /// Something was observed. Told as soon as it is, so that a run that is killed keeps it; a later event on the same cell
    /// replaces it, and a verdict brings all of its trial's cells again, in order.
    CellSeen(Box<CellSeen>),
    /// A leg is over: observed, stopped and checked.
    LegFinished(LegFinished),
    /// A deployment reached the end of its path, or broke off.
    WalkFinished {
        /// The walk.
        walk: usize,
        /// Seconds since [`Event::WalkStarted`].
        seconds: f64,
    },
    /// One trial's verdict.
    TrialFinished(Box<TrialResult>),
    /// The run is over. The last event of a run that was not killed.
    RunFinished(RunFinished),
}

/// The run and its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The run's id, also the name of its evidence directory and the label on all it has in Docker.
    pub run: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// The command line that started the run.
    pub command: String,
    /// `1/4`, when this is one shard.
    pub shard: Option<String>,
    /// Was the run told to let pass what is [`Outcome::Flaky`]?
    #[serde(default)]
    pub flaky_permitted: bool,
    /// Is it a control, in which facts must come out otherwise than expected?
    #[serde(default)]
    pub control: bool,
    /// The candidate that it holds to what is expected of a release, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualification: Option<Box<Qualifies>>,
    /// The options that change what a trial does, as they would be typed.
    #[serde(default)]
    pub options: Vec<String>,
    /// What the run runs on: Docker's version, cores, and so on, as name and value.
    pub environment: Vec<(String, String)>,
    /// Images needed, in the order in which they are wanted.
    pub images: Vec<String>,
    /// Names of the selected trials.
    pub trials: Vec<String>,
    /// The deployments that will be walked.
    pub walks: Vec<WalkPlan>,
}

/// What a run qualifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qualifies {
    /// The candidate's number.
    pub candidate: String,
    /// The release that it is held against.
    pub against: String,
    /// How many trials it is held to in all, whatever is selected of them.
    pub trials: usize,
    /// How many more there are that are run only when they are asked for.
    #[serde(default)]
    pub ignored: usize,
    /// What its upgrade notes announce since then, and what they say that no scenario knows.
    #[serde(default)]
    pub notes: Vec<Announced>,
    /// Why its upgrade notes were not read, if they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_unread: Option<String>,
}

impl Qualifies {
    /// What its upgrade notes say, or say no more, that the ledger has otherwise.
    pub(crate) fn new_notes(&self) -> impl Iterator<Item = &Announced> {
        self.notes.iter().filter(|note| !note.is_known)
    }
}

/// A section of a candidate's upgrade notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its heading, in upstream's words.
    pub heading: String,
    /// Where it will be read.
    pub url: String,
    /// What it says, its parts included: Markdown.
    pub text: String,
    /// Does the ledger have it, in these words?
    pub is_known: bool,
    /// Is it about a release since the one that the candidate is held against?
    #[serde(default)]
    pub is_recent: bool,
    /// Does the ledger have it, and the candidate's document not?
    #[serde(default)]
    pub is_gone: bool,
}

/// One deployment's path and who rides along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WalkPlan {
    /// Index of this walk.
    pub walk: usize,
    /// For people: `1.52.0 → 1.53.0, SQLite`.
    pub title: String,
    /// One title per leg: `1.53.0`, `1.53.0, after: remove the listener`.
    pub legs: Vec<String>,
    /// Trials that observe on this walk.
    pub trials: Vec<String>,
    /// Evidence directory, relative to the run's directory.
    #[serde(default)]
    pub evidence: String,
}

/// One cell of the tables of those who observed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellSeen {
    /// The walk.
    pub walk: usize,
    /// Index into [`WalkPlan::legs`].
    pub leg: usize,
    /// Whose tables it belongs to.
    pub observers: Vec<Observer>,
    /// The fact's or check's name.
    pub fact: String,
    /// A check of the leg's health, rather than a fact of the scenario's?
    pub health: bool,
    /// What was seen.
    pub cell: Cell,
}

/// A variant of a trial that observes on a walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observer {
    /// The trial's name.
    pub trial: String,
    /// The variant's name; empty for a scenario with only one.
    pub variant: String,
}

/// An image that can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageReady {
    /// Name as in [`RunStarted::images`]: `synapse 1.53.0`, `postgres 15`.
    pub image: String,
    /// `override`, `present`, `registry` or `built`.
    pub source: String,
    /// What Docker calls it.
    pub reference: String,
    /// Content digest (`sha256:…`).
    pub id: String,
    /// Seconds it took to obtain; about zero for one that was present.
    pub seconds: f64,
}

/// A finished leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegFinished {
    /// The walk.
    pub walk: usize,
    /// Index into [`WalkPlan::legs`].
    pub leg: usize,
    /// Seconds from the container's creation to its removal.
    pub seconds: f64,
    /// CPU seconds that the homeserver's processes (workers included) used; what is measured is what the kernel
    /// accounted to their containers.
    pub homeserver_cpu_seconds: f64,
    /// Memory that they held at the end, in bytes; 0 where that is not known.
    #[serde(default)]
    pub memory_bytes: u64,
    /// How large the database was, in bytes; 0 where nothing answered.
    #[serde(default)]
    pub database_bytes: u64,
    /// Homeserver processes started (one, and one per worker).
    pub boots: usize,
    /// What the deployment said it is: name and value.
    pub fingerprints: Vec<(String, String)>,
}

/// The verdict on one trial, with everything needed to explain it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// `v1_53_0::msc3283_capabilities::sqlite`.
    pub trial: String,
    /// What is being held to its word.
    pub note: Note,
    /// `SQLite` or `PostgreSQL`.
    pub database: String,
    /// The verdict.
    pub outcome: Outcome,
    /// Why, for an outcome other than `passed`: plain text, of several lines if need be. It need not repeat the facts
    /// that differ: reports show those from the tables, right after it.
    pub explanation: Option<String>,
    /// Seconds from the trial's first leg to its verdict (its images excluded).
    pub seconds: f64,
    /// Fact tables, one per variant of the scenario.
    pub tables: Vec<FactTable>,
    /// What variants showed in company, of those that did not pass there and walked again alone: their tables above are from
    /// the second walk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_company: Vec<FactTable>,
    /// For a control: every fact that the new code changes, and whether it noticed that the code was old.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlFact>,
    /// Where upstream's text and real servers disagree; expected as it really is, reported as a finding.
    pub disagreements: Vec<Disagreement>,
    /// Command that reruns just this trial.
    pub rerun: String,
}

/// A section of upstream's `docs/upgrade.md`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The release it belongs to: `1.53.0`.
    pub release: String,
    /// The section's heading as upstream writes it (Markdown inline code kept). Empty where a release has text only.
    pub heading: String,
    /// Link to the section in upstream's published documentation.
    pub url: String,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every fact was as expected.
    Passed,
    /// The homeserver broke its contract.
    Failed,
    /// It did not pass in company and passed alone; both tables are kept.
    Flaky,
    /// The harness, Docker or an image did: nothing is said of the homeserver.
    Errored,
    /// Not run; the explanation says why.
    NotRun,
}

/// A fact that the new code changes, as a control saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFact {
    /// The variant's name; empty for a scenario with only one.
    pub variant: String,
    /// The fact's name.
    pub fact: String,
    /// Did it notice old code under the new version number?
    pub noticed: Noticed,
}

/// Whether a fact noticed old code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noticed {
    /// It came out otherwise than expected, as it must.
    Yes,
    /// It came out as expected of the new code.
    No,
    /// It could not be looked at, and why.
    NotLookedAt(String),
    /// It came out as expected of the new code, and the scenario says why it cannot notice.
    Exempt(String),
}

/// The facts of one variant: rows are facts, columns are legs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactTable {
    /// The variant's name; empty for a scenario with only one.
    pub variant: String,
    /// The walk it was observed on.
    pub walk: usize,
    /// Column heads, as in [`WalkPlan::legs`].
    pub legs: Vec<String>,
    /// The scenario's own facts.
    pub facts: Vec<FactRow>,
    /// What is checked on every leg of every walk: schema version, log, database integrity, survival …
    pub health: Vec<FactRow>,
    /// Evidence directory, relative to the run's directory.
    pub evidence: String,
}

/// One fact across the legs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactRow {
    /// The fact's name.
    pub fact: String,
    /// One cell per leg.
    pub cells: Vec<Cell>,
}

/// One fact on one leg.
///
/// Expected values are JSON in which an object with a single key that starts with `$` is a matcher:
/// `{"$contains": "text"}`, `{"$matches": "regex"}`, `{"$any": true}`, `{"$not": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What the table says of this release; `None`: recorded without expectation.
    ///
    /// Left out of the JSON when `None`, because a `null` there is an expectation: the value `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub expected: Option<Value>,
    /// What was seen.
    pub observed: Observed,
    /// How the two compare.
    pub verdict: CellVerdict,
    /// For a mismatch: a readable difference of several lines.
    pub diff: Option<String>,
    /// Seconds the probe took.
    pub seconds: f64,
}

/// A field that is there has a value, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What a probe brought back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// A value.
    Value(Value),
    /// A value too long to be kept here.
    Long {
        /// How it begins.
        start: String,
        /// How long it is as JSON.
        bytes: usize,
        /// The file that holds it whole, relative to the table's evidence directory.
        whole: String,
    },
    /// The probe could not look: the harness or the environment is at fault.
    Error(String),
    /// The leg offers nothing to look at (the server refused to start, as expected; or the walk broke off earlier).
    Nothing(String),
}

/// How expected and observed compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellVerdict {
    /// As expected.
    Match,
    /// Not as expected.
    Mismatch,
    /// The probe failed.
    Error,
    /// Nothing to compare.
    NotCompared,
}

/// Upstream's text against what real servers do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// What the note (or another of upstream's documents) says.
    pub upstream_says: String,
    /// What was observed.
    pub really: String,
}

/// Totals of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFinished {
    /// Wall time in seconds, from the first event; without compiling.
    pub seconds: f64,
    /// Wall time in seconds during which at least one walk was under way.
    pub walking_seconds: f64,
    /// CPU seconds of all homeserver processes.
    pub homeserver_cpu_seconds: f64,
    /// Homeserver processes started.
    pub boots: usize,
    /// Cores that the run could use.
    pub cores: usize,
    /// `true` when the run was interrupted before all trials had a verdict.
    pub interrupted: bool,
}
