use std::{
    fs::{self, File},
    io::{self, Read as _, Stderr, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Counts, EVENTS, Entry, Event, Ledger, Outcome, Report, RunFinished, RunStarted, Terminal, TerminalOptions, Verdict,
    directory, mask, recording,
};

/// What a run tells its events to: it records them, shows them as they come, and writes the reports at the end.
///
/// Clones are handles of the same run. Nothing here fails the run: trouble with writing is told at the end, in
/// [`Summary::unwritten`].
#[derive(Clone, Debug)]
pub struct Reporter(Arc<Shared>);

/// Besides the run itself, what a [`Reporter`] can be given.
#[derive(Clone, Debug, Default)]
pub struct ReporterOptions {
    /// Live progress on standard error; `None` for silence.
    pub terminal: Option<TerminalOptions>,
    /// All of upstream's notes, for the ledger in the report.
    pub ledger: Option<Ledger>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Trials by outcome.
    pub counts: Counts,
    /// The run in one word. [`Verdict::Errored`] at least when a report could not be written.
    pub verdict: Verdict,
    /// What could not be written, and why. Empty when all is well.
    pub unwritten: Vec<String>,
    /// The page.
    pub page: PathBuf,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    begun: Instant,
    /// Seconds on record before that, of a run that goes on.
    before: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// A broken contract stays one, even where the record cannot be written any more.
    failed: bool,
    /// Gone when the run is over.
    record: Option<File>,
    terminal: Option<Terminal<Stderr>>,
    unwritten: Vec<String>,
    summary: Option<Summary>,
}

impl Reporter {
    /// Begins a run's record in `directory`, which is made if need be
    /// (see [`create_run_directory`](crate::create_run_directory)).
    pub fn start(directory: &Path, run: RunStarted, options: ReporterOptions) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        if let Some(ledger) = &options.ledger {
            fs::write(directory.join(recording::LEDGER), serde_json::to_vec_pretty(ledger)?)?;
        }
        let record = File::create(directory.join(EVENTS))?;
        directory::lock(&record)?;
        Ok(Self::begin(directory, record, 0.0, Event::RunStarted(run), options))
    }

    /// Goes on with the record of a run that was killed or interrupted. Times go on, too, from where the record ends.
    ///
    /// # Errors
    ///
    /// A record that cannot be read, or whose run is still under way.
    pub fn resume(directory: &Path, run: RunStarted, options: ReporterOptions) -> io::Result<Self> {
        let path = directory.join(EVENTS);
        let mut record = File::options().read(true).append(true).open(&path)?;
        if record.try_lock().is_err() {
            return Err(io::Error::other(format!("{} is still being written", path.display())));
        }
        let mut last = 0.0_f64;
        let cut = recording::each(&path, |entry| last = last.max(entry.at)).map_err(io::Error::other)?;
        if cut {
            // What is no event goes, so that the next one begins a line.
            let mut bytes = Vec::new();
            record.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            record.set_len(whole as u64)?;
        }
        Ok(Self::begin(directory, record, last, Event::RunResumed(run), options))
    }

    fn begin(directory: &Path, record: File, elapsed: f64, first: Event, options: ReporterOptions) -> Self {
        let terminal = options.terminal.map(|mut terminal| {
            if terminal.evidence_root.is_empty() {
                terminal.evidence_root = shown(directory);
            }
            Terminal::new(io::stderr(), terminal)
        });
        let reporter = Reporter(Arc::new(Shared {
            directory: directory.to_owned(),
            begun: Instant::now(),
            before: elapsed,
            state: Mutex::new(State {
                failed: false,
                record: Some(record),
                terminal,
                unwritten: Vec::new(),
                summary: None,
            }),
        }));
        reporter.emit(first);
        reporter.let_time_pass();
        reporter
    }

    /// The run's directory.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Tells an event. What comes after [`Reporter::finish`] is dropped.
    pub fn emit(&self, event: Event) {
        // The time is taken under the lock, so that it never runs backward in the record.
        let mut state = self.state();
        let at = self.elapsed();
        state.tell(at, event);
    }

    /// Ends the record and writes the reports into the run's directory. Also for a run that is interrupted. A second
    /// call changes nothing.
    pub fn finish(&self, totals: RunFinished) -> Summary {
        let mut state = self.state();
        if let Some(summary) = &state.summary {
            return summary.clone();
        }
        let at = self.elapsed();
        state.tell(at, Event::RunFinished(totals));
        // Ends the lock, too.
        state.record = None;

        let report = Report::of(&self.0.directory).unwrap_or_else(|error| {
            state.unwritten.push(format!("the record cannot be read again: {error}"));
            Report::new([])
        });
        let written = report.write(&self.0.directory);
        let page = self.0.directory.join(crate::PAGE);
        let places = match written {
            Ok(()) => [crate::PAGE, crate::JUNIT, crate::JSON].map(|name| shown(&self.0.directory.join(name))).to_vec(),
            Err(error) => {
                state.unwritten.push(format!("the reports cannot be written: {error}"));
                Vec::new()
            }
        };
        let unwritten = std::mem::take(&mut state.unwritten);
        if let Some(mut terminal) = state.terminal.take() {
            // With standard error gone there is nobody left to tell.
            let _ = terminal.summary(&report, &[unwritten.clone(), places].concat());
        }
        let mut verdict = if unwritten.is_empty() { report.verdict } else { report.verdict.max(Verdict::Errored) };
        if state.failed {
            verdict = Verdict::Failed;
        }
        let summary = Summary { counts: report.counts, verdict, unwritten, page };
        state.summary = Some(summary.clone());
        summary
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not cost the record of what happened.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> f64 {
        // Milliseconds are what the record needs.
        ((self.0.before + self.0.begun.elapsed().as_secs_f64()) * 1000.0).round() / 1000.0
    }

    /// A terminal also shows how long something has been under way.
    fn let_time_pass(&self) {
        if self.state().terminal.is_none() {
            return;
        }
        let shared = Arc::downgrade(&self.0);
        thread::spawn(move || {
            while let Some(shared) = shared.upgrade() {
                let reporter = Reporter(shared);
                let at = reporter.elapsed();
                match &mut reporter.state().terminal {
                    Some(terminal) => drop(terminal.tick(at)),
                    None => return,
                }
                drop(reporter);
                thread::sleep(Duration::from_secs(1));
            }
        });
    }
}

impl State {
    fn tell(&mut self, at: f64, event: Event) {
        let Some(record) = &mut self.record else {
            return;
        };
        let entry = masked(Entry { at, event });
        self.failed |= matches!(&entry.event, Event::TrialFinished(result) if result.outcome == Outcome::Failed);
        let written = serde_json::to_string(&entry)
            .map_err(io::Error::from)
            // One write a line: a kill cuts at most the last one.
            .and_then(|line| record.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written
            && self.unwritten.is_empty()
        {
            self.unwritten.push(format!("{EVENTS} cannot be written: {error}"));
        }
        if let Some(terminal) = &mut self.terminal {
            let _ = terminal.entry(&entry);
        }
    }
}

/// The event without secrets: neither the record nor anything made of it holds them.
fn masked(entry: Entry) -> Entry {
    let Ok(mut value) = serde_json::to_value(&entry) else { return entry };
    if !mask(&mut value) {
        return entry;
    }
    // What was an event is one still: only texts have changed.
    serde_json::from_value(value).unwrap_or(entry)
}

/// A path as the reader can type it where the run was started.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
