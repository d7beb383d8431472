//! How much faster is a run than the obvious procedure: each variant of each scenario with deployments of its own, which
//! begin with nothing, one after the other?
//!
//! ```console
//! $ cargo bench --profile dev --bench obvious_procedure -- v1_32 --rounds 3
//! ```
//!
//! Both ways run the same trials with the same checks on the same images, in turn, so that a machine that slows down
//! slows both. The figure is the ratio, not the seconds.
#![allow(clippy::print_stdout, reason = "a benchmark talks")]

use std::{env, fs, path::Path, process::Command};

use clap::Parser;
use serde_json::Value;

/// Runs trials both ways, and compares how long they took.
#[derive(Parser)]
struct Arguments {
    /// Which trials: a part of their names.
    #[arg(default_value = "v1_32")]
    filter: String,
    /// How many times both ways are run.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let Arguments { filter, rounds, .. } = Arguments::parse();
    // Images and fixtures are made before anything is timed.
    walk(&filter, &[]);
    let mut ratios: Vec<f64> = (0..rounds)
        .map(|_| {
            let shared = walk(&filter, &[]);
            let obvious = walk(&filter, &["--one-at-a-time"]);
            println!(
                "{filter}: {:.1} s with {} boots, {:.1} s with {} boots the obvious way: {:.2} times faster",
                shared.seconds,
                shared.boots,
                obvious.seconds,
                obvious.boots,
                obvious.seconds / shared.seconds
            );
            obvious.seconds / shared.seconds
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let [first, .., last] = ratios.as_slice() else { return };
    println!("median {:.2} ({first:.2} to {last:.2}) times faster", ratios[ratios.len() / 2]);
}

struct Walked {
    /// Wall time during which homeservers were under way.
    seconds: f64,
    boots: u64,
}

fn walk(filter: &str, options: &[&str]) -> Walked {
    let evidence = Path::new(env!("CARGO_TARGET_TMPDIR")).join("obvious-procedure");
    let run = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--test", "upgrades", "--", filter])
        .args(options)
        .env("SYNAPSE_UPGRADES_EVIDENCE", &evidence)
        .output()
        .expect("cargo can be started");
    assert!(run.status.success(), "the trials did not pass:\n{}", String::from_utf8_lossy(&run.stderr));
    let report = fs::read_to_string(evidence.join("latest/report.json")).expect("a run leaves a report");
    let report: Value = serde_json::from_str(&report).expect("a report is JSON");
    Walked {
        seconds: report["totals"]["walking_seconds"].as_f64().expect("a report has totals"),
        boots: report["totals"]["boots"].as_u64().expect("a report has totals"),
    }
}
