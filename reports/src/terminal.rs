use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};

use crate::{
    Entry, Event, ImageReady, Outcome, Report, RunStarted, TrialResult, WalkPlan,
    text::{self, count, duration},
};

/// How a run is told on a terminal.
#[derive(Clone, Debug)]
pub struct TerminalOptions {
    /// Colors and weights.
    pub color: bool,
    /// A last line, redrawn in place, that says what is under way. Only for a terminal that nobody else writes to:
    /// what a test runner prints meanwhile would end up behind it.
    pub status_line: bool,
    /// Columns, for the status line.
    pub width: usize,
    /// Where the run's evidence lies, as the reader should type it. Evidence paths are shown below it.
    pub evidence_root: String,
}

impl TerminalOptions {
    /// Plain lines, as for a log.
    pub fn plain() -> Self {
        TerminalOptions { color: false, status_line: false, width: 80, evidence_root: String::new() }
    }

    /// What standard error can show, and what `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` ask for.
    pub fn detect() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
        TerminalOptions {
            color: !set("NO_COLOR") && (terminal || set("CLICOLOR_FORCE")),
            status_line: terminal && !io::stdout().is_terminal() && width >= 40,
            width,
            evidence_root: String::new(),
        }
    }
}

/// Tells a run's events as they come, one line or one block each.
///
/// Lines are written whole, so that they do not mix with what a test runner prints at the same time.
#[derive(Debug)]
pub struct Terminal<W> {
    out: W,
    options: TerminalOptions,
    planned: usize,
    verdicts: usize,
    troubles: usize,
    walks: BTreeMap<usize, WalkPlan>,
    under_way: BTreeMap<usize, UnderWay>,
    images: BTreeMap<String, ImageUnderWay>,
    said_at: f64,
    status_drawn: bool,
}

#[derive(Debug)]
struct UnderWay {
    since: f64,
    leg: usize,
}

#[derive(Debug)]
struct ImageUnderWay {
    since: f64,
    said_at: f64,
    step: String,
}

/// Seconds between two lines on the progress of one image.
const STEP_INTERVAL: f64 = 10.0;
/// Seconds of silence after which a log says what is under way.
const SILENCE: f64 = 30.0;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BROKEN: Style = AnsiColor::Red.on_default().bold();
const ERROR: Style = AnsiColor::Magenta.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default();

impl<W: Write> Terminal<W> {
    /// Tells a run to `out`.
    pub fn new(out: W, options: TerminalOptions) -> Self {
        Terminal {
            out,
            options,
            planned: 0,
            verdicts: 0,
            troubles: 0,
            walks: BTreeMap::new(),
            under_way: BTreeMap::new(),
            images: BTreeMap::new(),
            said_at: 0.0,
            status_drawn: false,
        }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Tells one event.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let at = entry.at;
        match &entry.event {
            Event::RunStarted(started) => self.started(at, started)?,
            Event::RunResumed(resumed) => {
                self.verdicts = 0;
                self.say(at, "notice", ODD, "the run goes on with what has no verdict")?;
                self.started(at, resumed)?;
            }
            Event::CellSeen(_) => {}
            Event::Notice { text } => self.say(at, "notice", ODD, text)?,
            Event::ImageStarted { image, how } => {
                let image_under_way = ImageUnderWay { since: at, said_at: at, step: how.clone() };
                self.images.insert(image.clone(), image_under_way);
                self.say(at, "image", FAINT, &format!("{image}: {how}"))?;
            }
            Event::ImageStep { image, step } => self.image_step(at, image, step)?,
            Event::ImageReady(ready) => self.image_ready(at, ready)?,
            Event::ImageFailed { image, error, seconds } => {
                self.images.remove(image);
                let text = format!("{image}: not to be had after {}\n{}", duration(*seconds), text::clean(error));
                self.say(at, "ERROR", ERROR, &text)?;
            }
            Event::WalkStarted { walk } => {
                self.under_way.insert(*walk, UnderWay { since: at, leg: 0 });
                let trials = self.walks.get(walk).map_or(0, |plan| plan.trials.len());
                let text = format!("{} sets out with {}", self.title(*walk), count(trials, "trial"));
                self.say(at, "walk", FAINT, &text)?;
            }
            Event::WalkAdded(plan) => {
                self.walks.insert(plan.walk, plan.clone());
                let text = format!("{} joins the plan for {}", self.title(plan.walk), plan.trials.join(", "));
                self.say(at, "walk", ODD, &text)?;
            }
            Event::LegReady { walk, leg, started, seconds } => {
                if let Some(under_way) = self.under_way.get_mut(walk) {
                    under_way.leg = *leg;
                }
                let title = self.walks.get(walk).and_then(|plan| plan.legs.get(*leg)).map_or("?", String::as_str);
                let does = if *started { "answers" } else { "refuses to start" };
                let text = format!("{title} {does} after {} ({})", duration(*seconds), self.title(*walk));
                self.say(at, "leg", FAINT, &text)?;
            }
            Event::LegFinished(finished) => {
                if let Some(under_way) = self.under_way.get_mut(&finished.walk) {
                    under_way.leg = finished.leg + 1;
                }
            }
            Event::WalkFinished { walk, seconds } => {
                self.under_way.remove(walk);
                let text = format!("{} is over after {}", self.title(*walk), duration(*seconds));
                self.say(at, "walk", FAINT, &text)?;
            }
            Event::TrialFinished(result) => self.verdict(at, result)?,
            Event::RunFinished(finished) => {
                self.images.clear();
                self.under_way.clear();
                if finished.interrupted {
                    self.say(at, "notice", ODD, "interrupted")?;
                }
            }
        }
        self.draw_status(at)
    }

    /// Lets time pass: redraws the status line, or breaks a long silence in a log.
    pub fn tick(&mut self, at: f64) -> io::Result<()> {
        if self.options.status_line {
            return self.draw_status(at);
        }
        if at - self.said_at >= SILENCE
            && let Some(status) = self.status(at)
        {
            self.say(at, "…", FAINT, &status)?;
        }
        Ok(())
    }

    /// Tells how the run ended. `places` are the files to look at.
    pub fn summary(&mut self, report: &Report, places: &[String]) -> io::Result<()> {
        self.clear_status()?;
        let mut out = String::from("\n");
        for outcome in [Outcome::Failed, Outcome::Errored, Outcome::Flaky] {
            for trial in report.trials.iter().filter(|trial| trial.result.outcome == outcome) {
                let (word, style) = word(outcome);
                let _ = writeln!(out, "{} {}", self.paint(style, &format!("{word:>8}")), trial.result.trial);
                let mut lines = text::brief(&trial.result);
                if let (true, Some(why)) = (lines.is_empty(), &trial.result.explanation) {
                    lines.extend(text::clean(why).lines().map(str::to_owned));
                }
                for line in lines {
                    let _ = writeln!(out, "{:>8} {line}", "");
                }
            }
        }
        for gap in &report.gaps {
            let _ = writeln!(out, "{} {gap}", self.paint(ODD, "  notice"));
        }

        let (word, style) = match report.verdict {
            crate::Verdict::Passed => ("PASSED", GOOD.bold()),
            crate::Verdict::Incomplete => ("INCOMPLETE", ODD.bold()),
            crate::Verdict::Flaky => ("FLAKY", ODD.bold()),
            crate::Verdict::Errored => ("ERROR", ERROR),
            crate::Verdict::Failed => ("FAILED", BROKEN),
        };
        let _ = writeln!(out, "{} {}", self.paint(style, word), text::counts(&report.counts));
        let totals = &report.totals;
        let (wall, walking) = (duration(totals.seconds), duration(totals.walking_seconds));
        let _ = match report.runs.len() {
            0 | 1 => write!(out, "wall time {wall}, of which {walking} walking"),
            runs => write!(out, "{runs} runs, the longest {wall}, {walking} walking in all"),
        };
        let _ = writeln!(out, "; {}", count(totals.boots, "boot"));
        if let (Some(floor), Some(ratio)) = (totals.floor_seconds, totals.ratio) {
            let _ = writeln!(
                out,
                "homeserver CPU {} ÷ cores = {}; walking took {ratio:.2} × that",
                duration(totals.homeserver_cpu_seconds),
                duration(floor),
            );
        }
        for place in places {
            let _ = writeln!(out, "{place}");
        }
        if let Some(qualification) = &report.qualification {
            for change in qualification.unannounced() {
                let line = format!("{}: {}", change.of, text::shortened(&text::clean(&change.text), 300));
                let _ = writeln!(out, "{} {line}", self.paint(ODD, " changed"));
            }
            let _ = writeln!(out, "{}", self.paint(style, &qualification.sentence));
        }
        self.write(&out)
    }

    fn started(&mut self, at: f64, started: &RunStarted) -> io::Result<()> {
        self.planned = started.trials.len();
        self.walks = started.walks.iter().map(|plan| (plan.walk, plan.clone())).collect();
        let legs: usize = started.walks.iter().map(|plan| plan.legs.len()).sum();
        let mut text = format!(
            "{} on {} with {}",
            count(started.trials.len(), "trial"),
            count(started.walks.len(), "walk"),
            count(legs, "leg"),
        );
        if let Some(shard) = &started.shard {
            let _ = write!(text, "; shard {shard}");
        }
        if !started.images.is_empty() {
            let _ = write!(text, "\n{}: {}", count(started.images.len(), "image"), started.images.join(", "));
        }
        if !self.options.evidence_root.is_empty() {
            let _ = write!(text, "\nevidence: {}", self.options.evidence_root);
        }
        self.say(at, "plan", STRONG, &text)
    }

    fn image_step(&mut self, at: f64, image: &str, step: &str) -> io::Result<()> {
        let Some(under_way) = self.images.get_mut(image) else {
            return Ok(());
        };
        step.clone_into(&mut under_way.step);
        if self.options.status_line || at - under_way.said_at < STEP_INTERVAL {
            return Ok(());
        }
        under_way.said_at = at;
        let step = text::shortened(&text::clean(step).replace('\n', " "), 160);
        self.say(at, "image", FAINT, &format!("{image}: {step}"))
    }

    fn image_ready(&mut self, at: f64, ready: &ImageReady) -> io::Result<()> {
        self.images.remove(&ready.image);
        let ImageReady { image, source, reference, seconds, .. } = ready;
        let text = match source.as_str() {
            "built" => format!("{image}: built in {}", duration(*seconds)),
            "registry" => format!("{image}: pulled {reference} in {}", duration(*seconds)),
            "override" => format!("{image}: {reference}, as told"),
            // A dozen lines on what was there already help nobody.
            _ => return Ok(()),
        };
        self.say(at, "image", FAINT, &text)
    }

    fn verdict(&mut self, at: f64, result: &TrialResult) -> io::Result<()> {
        self.verdicts += 1;
        let (word, style) = word(result.outcome);
        let mut text = format!("[{}/{}] {}", self.verdicts, self.planned, result.trial);
        match result.outcome {
            Outcome::Passed => {
                let _ = write!(text, " ({})", duration(result.seconds));
            }
            Outcome::NotRun => {
                let why = result.explanation.as_deref().unwrap_or("no reason given");
                let _ = write!(text, ": {}", text::clean(why).trim().replace('\n', " "));
            }
            Outcome::Failed | Outcome::Errored | Outcome::Flaky => {
                self.troubles += 1;
                let _ = writeln!(text, " ({})", duration(result.seconds));
                if result.outcome == Outcome::Errored {
                    text += "An error of the harness or its environment: it says nothing of the homeserver.\n";
                }
                text += &text::explain(result, &self.options.evidence_root);
            }
        }
        self.say(at, word, style, &text)
    }

    /// Titles alone may be the same for several walks.
    fn title(&self, walk: usize) -> String {
        let title = self.walks.get(&walk).map_or("?", |plan| plan.title.as_str());
        format!("{}: {title}", walk.saturating_add(1))
    }

    /// One line with the time, further ones behind a bar.
    fn say(&mut self, at: f64, word: &str, style: Style, text: &str) -> io::Result<()> {
        self.said_at = at;
        self.clear_status()?;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut out = format!("{at:>7.1} {} {}\n", self.paint(style, &format!("{word:>8}")), text::clean(first));
        for line in lines {
            let bar = self.paint(style, "│");
            let line = match line.trim_start().chars().next() {
                Some('+') if line.starts_with("  +") => self.paint(GOOD, line),
                Some('-') if line.starts_with("  -") => self.paint(AnsiColor::Red.on_default(), line),
                _ => line.to_owned(),
            };
            out += format!("{:>16} {bar} {line}", "").trim_end();
            out.push('\n');
        }
        self.write(&out)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.options.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// What is under way, in one line.
    fn status(&self, at: f64) -> Option<String> {
        let mut parts = Vec::new();
        for (image, under_way) in &self.images {
            let step = text::clean(&under_way.step).replace('\n', " ");
            parts.push(format!("{image} for {}: {}", duration(at - under_way.since), text::shortened(&step, 40)));
        }
        let longest = self.under_way.iter().min_by(|a, b| a.1.since.total_cmp(&b.1.since));
        if let Some((walk, under_way)) = longest {
            let leg = self.walks.get(walk).and_then(|plan| plan.legs.get(under_way.leg));
            let leg = leg.map_or("its end", String::as_str);
            let walks = match self.under_way.len() {
                1 => String::new(),
                walks => format!("{walks} walks, the longest "),
            };
            parts.push(format!("{walks}{} at {leg} for {}", self.title(*walk), duration(at - under_way.since)));
        }
        let bad = match self.troubles {
            0 => String::new(),
            troubles => format!(", {troubles} bad"),
        };
        (!parts.is_empty()).then(|| format!("{}/{} verdicts{bad}; {}", self.verdicts, self.planned, parts.join("; ")))
    }

    fn draw_status(&mut self, at: f64) -> io::Result<()> {
        if !self.options.status_line {
            return Ok(());
        }
        self.clear_status()?;
        let Some(status) = self.status(at) else {
            return Ok(());
        };
        let line = text::shortened(&format!("{at:>7.1} {status}"), self.options.width - 1);
        self.status_drawn = true;
        let line = self.paint(FAINT, &line);
        self.write(&line)
    }

    fn clear_status(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.status_drawn) { self.write("\r\x1b[2K") } else { Ok(()) }
    }
}

fn word(outcome: Outcome) -> (&'static str, Style) {
    match outcome {
        Outcome::Passed => ("passed", GOOD),
        Outcome::Failed => ("FAILED", BROKEN),
        Outcome::Flaky => ("FLAKY", ODD.bold()),
        Outcome::Errored => ("ERROR", ERROR),
        Outcome::NotRun => ("not run", ODD),
    }
}
