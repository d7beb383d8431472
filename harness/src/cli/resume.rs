//! Going on with a run that was killed or interrupted.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use reports::{Outcome, Report, Trial, Verdict};

/// What is on record of a run.
#[derive(Debug)]
pub(super) struct Earlier {
    /// The run's directory.
    pub(super) directory: PathBuf,
    /// The options that changed what its trials did.
    pub(super) options: Vec<String>,
    /// Names of the trials that have no verdict.
    pub(super) left: BTreeSet<String>,
    /// How many walks it has had.
    pub(super) walks: usize,
    /// What it came to so far.
    pub(super) verdict: Verdict,
}

impl Earlier {
    /// Reads a run's record: the directory as given, or by its name below `root`.
    pub(super) fn read(run: &Path, root: &Path) -> anyhow::Result<Self> {
        let directory = if run.is_dir() { run.to_owned() } else { root.join(run) };
        // `latest` is a link, which will point elsewhere one day.
        let directory = directory.canonicalize().with_context(|| format!("there is no run {}", run.display()))?;
        let report = Report::of(&directory)?;
        let [of_run] = report.runs.as_slice() else { bail!("{} holds no run", directory.display()) };
        Ok(Self {
            options: of_run.options.clone(),
            left: report.trials.iter().filter(|trial| is_left(trial)).map(|trial| trial.result.trial.clone()).collect(),
            walks: report.walks.len(),
            verdict: report.verdict,
            directory,
        })
    }
}

/// Has a trial no verdict? A contract that was seen broken is one, even where the run was killed before it could say so.
fn is_left(trial: &Trial) -> bool {
    trial.finished_at.is_none() && trial.result.outcome != Outcome::Failed
}

#[cfg(test)]
mod tests {
    use reports::{EVENTS, Entry, Event, Note, RunStarted, TrialResult};

    use super::*;

    fn started(trials: &[&str]) -> RunStarted {
        RunStarted {
            run: "run".to_owned(),
            started: String::new(),
            command: String::new(),
            shard: None,
            flaky_permitted: false,
            control: false,
            qualification: None,
            options: vec!["--image".to_owned(), "1.53.0=fork:1".to_owned()],
            environment: Vec::new(),
            images: Vec::new(),
            trials: trials.iter().map(|&trial| trial.to_owned()).collect(),
            walks: Vec::new(),
        }
    }

    #[test]
    fn what_has_no_verdict_is_left() -> anyhow::Result<()> {
        let root = std::env::temp_dir().join(format!("resume-{}", std::process::id()));
        std::fs::create_dir_all(root.join("run"))?;
        let finished = TrialResult {
            trial: "a::b::sqlite".to_owned(),
            note: Note { release: String::new(), heading: String::new(), url: String::new() },
            database: String::new(),
            outcome: Outcome::Passed,
            explanation: None,
            seconds: 0.0,
            tables: Vec::new(),
            in_company: Vec::new(),
            control: Vec::new(),
            disagreements: Vec::new(),
            rerun: String::new(),
        };
        let events =
            [Event::RunStarted(started(&["a::b::sqlite", "a::b::postgres"])), Event::TrialFinished(finished.into())];
        let lines = events.map(|event| serde_json::to_string(&Entry { at: 0.0, event }).map(|line| line + "\n"));
        std::fs::write(root.join("run").join(EVENTS), lines.into_iter().collect::<Result<String, _>>()?)?;
        let earlier = Earlier::read(Path::new("run"), &root)?;
        assert_eq!(earlier.left.iter().collect::<Vec<_>>(), ["a::b::postgres"]);
        assert_eq!(earlier.options, ["--image", "1.53.0=fork:1"]);
        assert!(Earlier::read(Path::new("another"), &root).is_err());
        std::fs::remove_dir_all(&root)?;
        Ok(())
    }
}
