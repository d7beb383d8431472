//! Renders what runs recorded: the shards of a run as one report, or an old recording again.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use reports::{Ledger, Recording, Report, Terminal, TerminalOptions, Verdict, html, junit, ledger_html, read_ledger};

/// Reports of upgrade runs, from what the runs recorded.
///
/// A run records its events in `events.jsonl` in its directory and writes report.html, junit.xml and report.json
/// beside it when it ends. These commands do the same afterward: for several shards together, for a run that was
/// killed, or with a newer version of the reports.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make one report of several shards.
    ///
    /// Writes report.html, junit.xml and report.json into the directory given by --out and prints a summary. A shard
    /// that was killed, was interrupted or is missing altogether is said in the report.
    ///
    /// Exits as the run itself would: 0 all passed; 101 a homeserver broke its contract; 3 the harness, Docker or an image is
    /// at fault; 5 something passed alone only; 4 nothing failed, but the record is incomplete; 2 the command itself cannot
    /// be carried out.
    Merge {
        /// Runs' directories, or directories somewhere above them.
        #[arg(required = true, value_name = "DIR")]
        directories: Vec<PathBuf>,
        /// Where to write the report. Links to the evidence are relative to it.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The ledger to show, instead of the one that the runs recorded.
        #[arg(long, value_name = "FILE")]
        ledger: Option<PathBuf>,
    },
    /// Write the reports of a run again, from its record: of a run that was killed, say.
    ///
    /// Exits as the run itself would.
    Rebuild {
        /// The run's directory.
        #[arg(value_name = "RUN")]
        run: PathBuf,
    },
    /// Render one recording as an HTML page.
    Html(Rendering),
    /// Render one recording as JUnit XML.
    Junit(Rendering),
    /// Render one recording as report.json.
    Json(Rendering),
    /// Print what a run told while it ran.
    Replay {
        /// The recording: a run's directory, or its events.jsonl.
        #[arg(value_name = "RUN")]
        run: PathBuf,
    },
    /// Render the ledger of upstream's notes as an HTML page.
    Ledger {
        /// The ledger as JSON, as runs record it in ledger.json.
        ledger: PathBuf,
        /// A run whose verdicts to show: its directory, or its events.jsonl.
        #[arg(long, value_name = "RUN")]
        run: Option<PathBuf>,
        /// Where to write the page; standard output unless given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Rendering {
    /// The recording: a run's directory, or its events.jsonl.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where to write; standard output unless given. Links to the evidence are relative to the run's directory.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::from(Verdict::USAGE)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Merge { directories, out, ledger } => return merge(&directories, &out, ledger.as_deref()),
        Command::Rebuild { run } => return rebuild(&run),
        Command::Html(rendering) => rendering.render(html)?,
        Command::Junit(rendering) => rendering.render(junit)?,
        Command::Json(rendering) => {
            rendering.render(|report| serde_json::to_string_pretty(report).expect("a report is JSON") + "\n")?;
        }
        Command::Replay { run } => replay(&run)?,
        Command::Ledger { ledger, run, out } => {
            let ledger = read_ledger(&ledger)?;
            let report = run.map(|run| Recording::read(&run)).transpose()?.map(|recording| Report::new([recording]));
            write(out.as_deref(), &ledger_html(&ledger, report.as_ref()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn merge(directories: &[PathBuf], out: &Path, ledger: Option<&Path>) -> anyhow::Result<ExitCode> {
    let ledger: Option<Ledger> = ledger.map(read_ledger).transpose()?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut recordings = Recording::read_shards(directories, out)?;
    if let (Some(ledger), Some(first)) = (ledger, recordings.first_mut()) {
        first.ledger = Some(ledger);
    }
    let report = Report::merged(recordings);
    report.write(out).with_context(|| format!("cannot write into {}", out.display()))?;
    summarize(&report, out)
}

fn rebuild(run: &Path) -> anyhow::Result<ExitCode> {
    let report = Report::of(run)?;
    report.write(run).with_context(|| format!("cannot write into {}", run.display()))?;
    summarize(&report, run)
}

/// Prints how it ended, and gives the exit code that says so.
fn summarize(report: &Report, directory: &Path) -> anyhow::Result<ExitCode> {
    let places = [reports::PAGE, reports::JUNIT, reports::JSON].map(|name| directory.join(name).display().to_string());
    Terminal::new(io::stderr(), TerminalOptions::detect()).summary(report, &places)?;
    Ok(ExitCode::from(report.verdict.exit_code()))
}

fn replay(run: &Path) -> anyhow::Result<()> {
    let recording = Recording::read(run)?;
    let directory = if run.is_dir() { run } else { run.parent().unwrap_or(run) };
    let options = TerminalOptions {
        evidence_root: directory.display().to_string(),
        status_line: false,
        ..TerminalOptions::detect()
    };
    let mut terminal = Terminal::new(io::stderr(), options);
    for entry in &recording.entries {
        terminal.entry(entry)?;
    }
    terminal.summary(&Report::new([recording]), &[])?;
    Ok(())
}

impl Rendering {
    fn render(&self, render: impl FnOnce(&Report) -> String) -> anyhow::Result<()> {
        let report = Report::new([Recording::read(&self.run)?]);
        for gap in &report.gaps {
            say(&format!("note: {gap}"));
        }
        write(self.out.as_deref(), &render(&report))
    }
}

fn write(out: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match out {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => match io::stdout().write_all(text.as_bytes()) {
            // Whoever reads may have had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.context("cannot write to standard output"),
        },
    }
}

fn say(line: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}
