//! The ledger on the command line: what becomes of every note, and what upstream has that the ledger lacks.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]

use std::{fs, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};
use reports::Disposition;
use scenarios::ledger::{self, Heading};

/// The ledger of upstream's upgrade notes.
#[derive(Debug, Parser)]
#[command(name = "ledger")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every note with what becomes of it, and the counts
    Show,
    /// Where upstream's text and real servers disagree, as Markdown for upstream
    Disagreements,
    /// Compares with the newest release on PyPI; names what is new, gone or rewritten (exit status 1 if anything is), and
    /// prints the beginning of a scenario for each new note
    Drift,
    /// Writes the newest release's headings to `headings.toml`
    Refresh,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(status) => status,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(3)
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::Show => show(),
        Command::Disagreements => {
            print!("{}", ledger::disagreements(&scenarios::all()));
            Ok(ExitCode::SUCCESS)
        }
        Command::Drift => drift().await,
        Command::Refresh => refresh().await,
    }
}

fn show() -> Result<ExitCode, String> {
    let ledger = ledger::ledger(&scenarios::all()).map_err(|problems| problems.join("\n"))?;
    let mut counts = [("run", 0), ("looked at inside the image", 0), ("not testable", 0), ("to come", 0)];
    for entry in &ledger.entries {
        let (kind, what) = match &entry.disposition {
            Disposition::Scenarios(names) => (0, names.join(", ")),
            Disposition::Inspected(names) => (1, names.join(", ")),
            Disposition::NotTestable(reason) => (2, reason.clone()),
            Disposition::ToCome => (3, String::new()),
        };
        counts[kind].1 += 1;
        println!("{}  {}\n    {}: {what}", entry.note.release, entry.note.heading, counts[kind].0);
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("\n{} notes: {}", ledger.entries.len(), counts.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Upstream's headings as of the newest release.
async fn newest() -> Result<(harness::Version, Vec<Heading>), String> {
    let source = images::maintain::newest_source("docs/upgrade.md").await;
    let (release, document) = source.map_err(|error| error.to_string())?;
    Ok((release, ledger::read(&document)))
}

async fn drift() -> Result<ExitCode, String> {
    let (from, known) = ledger::headings();
    let (release, headings) = newest().await?;
    let missing = |of: &[Heading], from: &[Heading]| -> Vec<Heading> {
        of.iter().filter(|heading| !from.iter().any(|other| other.is_same_section(heading))).cloned().collect()
    };
    let (new, gone) = (missing(&headings, &known), missing(&known, &headings));
    let rewritten = headings
        .iter()
        .filter(|heading| known.iter().any(|other| other.is_same_section(heading) && other.digest != heading.digest));
    let rewritten: Vec<Heading> = rewritten.cloned().collect();
    for (sign, headings) in [('+', &new), ('-', &gone), ('~', &rewritten)] {
        for heading in headings {
            let release = heading.release.as_ref().map(ToString::to_string).unwrap_or_default();
            println!("{sign} {release}  {}\n    {}", heading.text, heading.url());
        }
    }
    for heading in new.iter().filter(|heading| heading.level > 1 && heading.release.is_some()) {
        println!("\n{}", heading.skeleton());
    }
    if new.is_empty() && gone.is_empty() && rewritten.is_empty() {
        println!("{release} has the notes of {from}: {} headings", known.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} new, {} gone and {} rewritten from {from} to {release}; `ledger refresh` takes them over",
        new.len(),
        gone.len(),
        rewritten.len()
    );
    Ok(ExitCode::FAILURE)
}

async fn refresh() -> Result<ExitCode, String> {
    let (release, headings) = newest().await?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/headings.toml");
    let count = headings.len();
    fs::write(&path, ledger::render(release.clone(), headings)).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("{count} headings of {release} are in {}", path.display());
    Ok(ExitCode::SUCCESS)
}
