//! One stream of events, put in order.

use std::{collections::BTreeMap, path::Path};

use crate::{
    Cell, CellSeen, CellVerdict, Entry, Event, FactRow, FactTable, Image, Leg, Note, Notice, Observed, Observer,
    Outcome, Recording, RecordingError, Report, Run, RunFinished, RunStarted, Trial, TrialResult, Walk, WalkPlan,
    recording, release, report::capitalized, text::count,
};

/// Adds a run to a report. Walks are renumbered, so that those of several shards can stand side by side.
pub(crate) fn read(report: &mut Report, recording: Recording) {
    let mut reading = Reading::new(report, recording.directory);
    for entry in recording.entries {
        reading.entry(entry);
    }
    reading.conclude(recording.truncated);
}

/// Adds the run whose file of events this is, without holding them all.
pub(crate) fn read_file(report: &mut Report, events: &Path) -> Result<(), RecordingError> {
    let mut reading = Reading::new(report, String::new());
    let truncated = recording::each(events, |entry| reading.entry(entry))?;
    reading.conclude(truncated);
    Ok(())
}

struct Reading<'a> {
    report: &'a mut Report,
    /// Index of this run in the report.
    run: usize,
    /// A walk's index in this run → in the report.
    walks: BTreeMap<usize, usize>,
    images: BTreeMap<String, usize>,
    trials: BTreeMap<String, usize>,
    planned: Vec<String>,
    begun: bool,
    control: bool,
    finished: Option<RunFinished>,
    last_at: f64,
    /// What trials that have no verdict yet have seen, a table per variant and walk.
    seen: BTreeMap<String, Vec<FactTable>>,
    /// Where the part of the run begins that is read: a resumed run has several. Its first walk, and when.
    part: (usize, f64),
    /// Totals of the parts before.
    earlier: RunFinished,
}

impl<'a> Reading<'a> {
    fn new(report: &'a mut Report, directory: String) -> Self {
        let run = report.runs.len();
        report.runs.push(Run {
            run: String::new(),
            started: String::new(),
            command: String::new(),
            shard: None,
            flaky_permitted: false,
            qualifies: None,
            options: Vec::new(),
            environment: Vec::new(),
            directory,
            ended: false,
            totals: RunFinished::default(),
            notices: Vec::new(),
        });
        let part = (report.walks.len(), 0.0);
        Reading {
            report,
            run,
            walks: BTreeMap::new(),
            images: BTreeMap::new(),
            trials: BTreeMap::new(),
            planned: Vec::new(),
            begun: false,
            control: false,
            finished: None,
            last_at: 0.0,
            seen: BTreeMap::new(),
            part,
            earlier: RunFinished::default(),
        }
    }

    fn entry(&mut self, entry: Entry) {
        let Entry { at, event } = entry;
        if let Event::RunResumed(resumed) = event {
            self.resumed(resumed);
        } else {
            self.event(at, event);
        }
        self.last_at = self.last_at.max(at);
    }

    fn event(&mut self, at: f64, event: Event) {
        match event {
            Event::RunStarted(started) => self.started(started),
            Event::RunResumed(resumed) => self.resumed(resumed),
            Event::CellSeen(seen) => self.cell(*seen),
            Event::Notice { text } => self.report.runs[self.run].notices.push(Notice { at, text }),
            Event::ImageStarted { image, .. } => drop(self.image(&image)),
            Event::ImageStep { .. } => {}
            Event::ImageReady(ready) => {
                let image = self.image(&ready.image);
                image.source = Some(ready.source);
                image.reference = Some(ready.reference);
                image.id = Some(ready.id);
                image.ended_at = Some(at);
                image.seconds = ready.seconds;
            }
            Event::ImageFailed { image, error, seconds } => {
                let image = self.image(&image);
                image.error = Some(error);
                image.ended_at = Some(at);
                image.seconds = seconds;
            }
            Event::WalkStarted { walk } => {
                if let Some(walk) = self.walk(walk) {
                    walk.started_at = Some(at);
                }
            }
            Event::WalkAdded(plan) => self.add_walk(plan, true),
            Event::LegReady { walk, leg, started, seconds } => {
                if let Some(leg) = self.leg(walk, leg) {
                    leg.answered = Some(started);
                    leg.ready_at = Some(at);
                    leg.started_at = Some(before(at, seconds));
                }
            }
            Event::LegFinished(finished) => {
                if let Some(leg) = self.leg(finished.walk, finished.leg) {
                    leg.finished_at = Some(at);
                    leg.started_at.get_or_insert(before(at, finished.seconds));
                    leg.homeserver_cpu_seconds = finished.homeserver_cpu_seconds;
                    leg.memory_bytes = finished.memory_bytes;
                    leg.database_bytes = finished.database_bytes;
                    leg.boots = finished.boots;
                    leg.fingerprints = finished.fingerprints;
                }
            }
            Event::WalkFinished { walk, .. } => {
                if let Some(walk) = self.walk(walk) {
                    walk.finished_at = Some(at);
                }
            }
            Event::TrialFinished(result) => self.trial(Some(at), *result),
            Event::RunFinished(finished) => self.finished = Some(finished),
        }
    }

    fn started(&mut self, started: RunStarted) {
        let RunStarted {
            run,
            started,
            command,
            shard,
            flaky_permitted,
            control,
            environment,
            images,
            trials,
            walks,
            options,
            qualification,
        } = started;
        let this = &mut self.report.runs[self.run];
        (this.run, this.started, this.command, this.shard, this.environment) =
            (run, started, command, shard, environment);
        this.flaky_permitted = flaky_permitted;
        this.options = options;
        this.qualifies = qualification.map(|it| *it);
        self.begun = true;
        self.control = control;
        self.planned = trials;
        for image in &images {
            self.image(image);
        }
        for plan in walks {
            self.add_walk(plan, false);
        }
    }

    fn resumed(&mut self, resumed: RunStarted) {
        let now = self.last_at;
        for walk in &mut self.report.walks[self.part.0..] {
            // It went no further than the record does.
            if walk.started_at.is_some() {
                walk.finished_at.get_or_insert(now);
            }
        }
        let part = self.finished.take().unwrap_or_else(|| self.reckon());
        self.earlier = sum(&self.earlier, &part);
        self.part = (self.report.walks.len(), now);
        let left = count(resumed.trials.len(), "trial");
        let text = format!("resumed with {left} that had no verdict: {}", resumed.command);
        let run = &mut self.report.runs[self.run];
        run.flaky_permitted = resumed.flaky_permitted;
        run.notices.push(Notice { at: now, text });
        for image in &resumed.images {
            self.image(image);
        }
        for plan in resumed.walks {
            self.add_walk(plan, false);
        }
    }

    fn cell(&mut self, seen: CellSeen) {
        let CellSeen { walk, leg, observers, fact, health, cell } = seen;
        let Some(plan) = self.walks.get(&walk).map(|&index| &self.report.walks[index]) else { return };
        let legs: Vec<String> = plan.legs.iter().map(|leg| leg.title.clone()).collect();
        let evidence = plan.evidence.clone();
        for Observer { trial, variant } in observers {
            let tables = self.seen.entry(trial).or_default();
            let own = tables.iter().position(|table| table.walk == walk && table.variant == variant);
            let own = own.unwrap_or_else(|| {
                tables.push(FactTable {
                    variant,
                    walk,
                    legs: legs.clone(),
                    facts: Vec::new(),
                    health: Vec::new(),
                    evidence: evidence.clone(),
                });
                tables.len() - 1
            });
            let rows = if health { &mut tables[own].health } else { &mut tables[own].facts };
            let row = rows.iter().position(|row| row.fact == fact).unwrap_or_else(|| {
                rows.push(FactRow { fact: fact.clone(), cells: Vec::new() });
                rows.len() - 1
            });
            let cells = &mut rows[row].cells;
            pad(cells, leg, "not looked at on this leg");
            match cells.get_mut(leg) {
                Some(earlier) => *earlier = cell.clone(),
                None => cells.push(cell.clone()),
            }
        }
    }

    fn add_walk(&mut self, plan: WalkPlan, added: bool) {
        self.walks.insert(plan.walk, self.report.walks.len());
        self.report.walks.push(Walk {
            run: self.run,
            number: plan.walk.saturating_add(1),
            title: plan.title,
            trials: plan.trials,
            evidence: plan.evidence,
            added,
            started_at: None,
            finished_at: None,
            legs: plan.legs.into_iter().map(|title| Leg { title, ..Leg::default() }).collect(),
        });
    }

    fn walk(&mut self, walk: usize) -> Option<&mut Walk> {
        self.walks.get(&walk).map(|&index| &mut self.report.walks[index])
    }

    fn leg(&mut self, walk: usize, leg: usize) -> Option<&mut Leg> {
        self.walk(walk).and_then(|walk| walk.legs.get_mut(leg))
    }

    fn image(&mut self, name: &str) -> &mut Image {
        let index = *self.images.entry(name.to_owned()).or_insert_with(|| {
            self.report.images.push(Image {
                run: self.run,
                image: name.to_owned(),
                source: None,
                reference: None,
                id: None,
                error: None,
                ended_at: None,
                seconds: 0.0,
            });
            self.report.images.len() - 1
        });
        &mut self.report.images[index]
    }

    fn trial(&mut self, finished_at: Option<f64>, mut result: TrialResult) {
        self.seen.remove(&result.trial);
        let directory = &self.report.runs[self.run].directory;
        for table in result.tables.iter_mut().chain(&mut result.in_company) {
            // An index that no plan knows stays out of reach of the others' walks.
            table.walk = self.walks.get(&table.walk).copied().unwrap_or(usize::MAX);
            if !directory.is_empty() && !table.evidence.is_empty() {
                table.evidence = format!("{directory}/{}", table.evidence);
            }
        }
        let trial = Trial { run: self.run, anchor: String::new(), finished_at, result };
        if let Some(&index) = self.trials.get(&trial.result.trial) {
            // A trial has one verdict. Should a stream hold two, none is hidden behind a milder one.
            let earlier = &mut self.report.trials[index];
            if trial.result.outcome.severity() >= earlier.result.outcome.severity() {
                *earlier = trial;
            }
        } else {
            self.trials.insert(trial.result.trial.clone(), self.report.trials.len());
            self.report.trials.push(trial);
        }
    }

    fn conclude(mut self, truncated: bool) {
        let name = self.report.run_name(self.run);
        let mut gaps = Vec::new();
        if !self.begun {
            gaps.push(format!("The record of {name} has no beginning: which trials it planned is not known."));
        }
        let why = match &self.finished {
            None => {
                gaps.push(format!("The end of {name} is not on record: it was killed, or is still under way."));
                "the run was killed, or is still under way"
            }
            Some(finished) if finished.interrupted => {
                gaps.push(format!("{} was interrupted.", capitalized(&name)));
                "the run was interrupted"
            }
            Some(_) => "",
        };
        if truncated {
            gaps.push(format!("The last line of the record of {name} is cut off; the event in it is lost."));
        }

        let planned = std::mem::take(&mut self.planned);
        for trial in &planned {
            if !self.trials.contains_key(trial) {
                let (outcome, why) = if why.is_empty() {
                    // Not a reason to be silent: a run that ended by itself owes every trial a verdict.
                    (Outcome::Errored, "the run ended without a verdict on this trial; that is an error of the harness")
                } else {
                    (Outcome::NotRun, why)
                };
                let mut result = self.without_verdict(trial.clone(), outcome, why);
                self.add_seen(&mut result, why);
                self.trial(None, result);
            }
        }
        // Verdicts come in any order; a report keeps to the plan's.
        let position: BTreeMap<&str, usize> =
            planned.iter().enumerate().map(|(index, trial)| (trial.as_str(), index)).collect();
        let first = self.report.trials.partition_point(|trial| trial.run < self.run);
        self.report.trials[first..]
            .sort_by_key(|trial| position.get(trial.result.trial.as_str()).copied().unwrap_or(usize::MAX));

        let totals = self.finished.take();
        let ended = totals.is_some();
        let totals = sum(&self.earlier, &totals.unwrap_or_else(|| self.reckon()));
        let run = &mut self.report.runs[self.run];
        run.ended = ended;
        run.totals = totals;
        self.report.gaps.append(&mut gaps);
    }

    /// Adds what a trial without a verdict has seen. Of a variant that walked twice the later walk counts; a contract that was
    /// seen broken is a failure, whatever came in between.
    fn add_seen(&mut self, result: &mut TrialResult, why: &str) {
        let mut tables = self.seen.remove(&result.trial).unwrap_or_default();
        for table in &mut tables {
            for row in table.facts.iter_mut().chain(&mut table.health) {
                pad(&mut row.cells, table.legs.len(), why);
            }
        }
        let broken = |table: &FactTable| {
            let mut cells = table.facts.iter().chain(&table.health).flat_map(|row| &row.cells);
            cells.any(|cell| cell.verdict == CellVerdict::Mismatch)
        };
        if !self.control && tables.iter().any(broken) {
            result.outcome = Outcome::Failed;
        }
        if !tables.is_empty() {
            result.explanation = Some(format!("{}; this is what was seen until then.", capitalized(why)));
        }
        while let Some(table) = tables.pop() {
            let again = result.tables.iter().any(|later| later.variant == table.variant);
            if again { result.in_company.insert(0, table) } else { result.tables.insert(0, table) }
        }
    }

    fn without_verdict(&self, trial: String, outcome: Outcome, why: &str) -> TrialResult {
        let known = self.report.ledger.iter().flat_map(|ledger| &ledger.entries).find(|entry| entry.covers(&trial));
        let note = known.map_or_else(
            || Note {
                release: release::of_module(trial.split("::").next().unwrap_or_default()).unwrap_or_default(),
                heading: String::new(),
                url: String::new(),
            },
            |entry| entry.note.clone(),
        );
        let database = match trial.rsplit("::").next() {
            Some("sqlite") => "SQLite",
            Some("postgres" | "postgresql") => "PostgreSQL",
            _ => "",
        };
        TrialResult {
            note,
            database: database.to_owned(),
            outcome,
            explanation: Some(format!("{}.", capitalized(why))),
            seconds: 0.0,
            tables: Vec::new(),
            in_company: Vec::new(),
            control: Vec::new(),
            disagreements: Vec::new(),
            rerun: String::new(),
            trial,
        }
    }

    /// Totals from the events alone, for a part of a run whose end is not on record.
    fn reckon(&self) -> RunFinished {
        let walks = || self.report.walks[self.part.0..].iter();
        let legs = || walks().flat_map(|walk| &walk.legs);
        let mut spans: Vec<(f64, f64)> =
            walks().filter_map(|walk| Some((walk.started_at?, walk.finished_at.unwrap_or(self.last_at)))).collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut walking_seconds, mut until) = (0.0, 0.0_f64);
        for (start, end) in spans {
            walking_seconds += (end - start.max(until)).max(0.0);
            until = until.max(end);
        }
        RunFinished {
            seconds: self.last_at - self.part.1,
            walking_seconds,
            homeserver_cpu_seconds: legs().map(|leg| leg.homeserver_cpu_seconds).sum(),
            boots: legs().map(|leg| leg.boots).sum(),
            cores: 0,
            interrupted: false,
        }
    }
}

/// Both parts of a run together.
fn sum(one: &RunFinished, other: &RunFinished) -> RunFinished {
    RunFinished {
        seconds: one.seconds + other.seconds,
        walking_seconds: one.walking_seconds + other.walking_seconds,
        homeserver_cpu_seconds: one.homeserver_cpu_seconds + other.homeserver_cpu_seconds,
        boots: one.boots + other.boots,
        cores: other.cores,
        interrupted: other.interrupted,
    }
}

/// Fills a row up to a leg.
fn pad(cells: &mut Vec<Cell>, legs: usize, reason: &str) {
    while cells.len() < legs {
        cells.push(Cell {
            expected: None,
            observed: Observed::Nothing(reason.to_owned()),
            verdict: CellVerdict::NotCompared,
            diff: None,
            seconds: 0.0,
        });
    }
}

/// The moment some seconds earlier, to the millisecond.
fn before(at: f64, seconds: f64) -> f64 {
    ((at - seconds).max(0.0) * 1000.0).round() / 1000.0
}
