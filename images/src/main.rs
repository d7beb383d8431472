//! `images`: see, make and remove the images that upgrades are tested on.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks")]

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use images::{
    Companion, Options, Patch, Progress, Source, Store, Version, Wanted,
    maintain::{self, Kept},
};

/// The images that Synapse's upgrades are tested on: one for each release, and one for each companion.
///
/// An image comes from an override (`--image`), from those that are present, from the registry, or is built here, in
/// this order; with no registry to be reached, everything is built here.
#[derive(Parser)]
#[command(name = "images")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Show the images of this project that are on this machine, the least recently used first.
    List,
    /// Have images ready: pull or build what is not present.
    Build {
        /// Versions (`1.53.0`, `1.53.0@bookworm`) and companions (`redis`, `postgres-15`).
        #[arg(required_unless_present = "all")]
        names: Vec<Wanted>,
        /// Every stable release and every companion.
        #[arg(long)]
        all: bool,
    },
    /// Print the image that runs this, and where it came from; pulls or builds it if need be.
    Which {
        /// A version or a companion.
        name: Wanted,
    },
    /// Have an image with the code of one release that reports another's version: what checks must tell from a real one.
    Forge {
        /// The version to report.
        version: Version,
        /// The release whose code to run.
        #[arg(long, value_name = "VERSION")]
        code_of: Version,
    },
    /// Have an image of a release with patched code: a mutant, that checks must tell from the real one.
    Mutate {
        /// The release.
        version: Version,
        /// The patches: a TOML file of `[[patch]]`, each with `file` (below the package), `find` and `replace`.
        patches: PathBuf,
    },
    /// Remove superseded images, and the least recently used ones while the rest is above `--image-disk-limit`.
    Prune {
        /// Remove every image of this project that no container uses.
        #[arg(long)]
        all: bool,
    },
    /// Bring the release table up to date with PyPI, and print what is new.
    ///
    /// Then run `lock` for new stable releases, and commit both.
    Refresh {
        /// Write nothing; exit with status 1 if there is news.
        #[arg(long)]
        check: bool,
    },
    /// Resolve the dependencies of releases and write them to the lock files.
    ///
    /// Each release starts from the lock of the one before it and changes only what it must. A release without a lock is
    /// resolved whenever its image is built.
    Lock {
        /// The releases; all stable ones if none is given.
        releases: Vec<Version>,
    },
    /// Choose anew what the releases of a suite share in one layer, from their locks. Every image has to be built again.
    RenewEras,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            // As clap exits on wrong usage: told from the failure of a check.
            ExitCode::from(2)
        }
    }
}

async fn run(Arguments { command, options }: Arguments) -> anyhow::Result<bool> {
    let limit = options.image_disk_limit;
    if let Command::Refresh { check } = command {
        return refresh(check).await;
    }
    let store = Store::open(options, report).await?;
    match command {
        Command::List => {
            let (images, total) = maintain::list(&store).await?;
            show(&images);
            println!("{} images, {} in all, limit {limit} GB", images.len(), size(total));
            Ok(true)
        }
        Command::Build { names, all } => Ok(build(&store, if all { everything(&store) } else { names }).await),
        Command::Which { name } => which(&store, &name).await,
        Command::Forge { version, code_of } => which(&store, &Wanted::homeserver(code_of).reporting(version)).await,
        Command::Mutate { version, patches } => {
            let text =
                std::fs::read_to_string(&patches).with_context(|| format!("cannot read {}", patches.display()))?;
            let file: Patches = toml::from_str(&text).with_context(|| format!("{} is wrong", patches.display()))?;
            which(&store, &Wanted::homeserver(version).patched(file.patch)).await
        }
        Command::Prune { all } => {
            let removed = maintain::prune(&store, all).await?;
            show(&removed);
            let freed = removed.iter().map(|image| image.own_bytes).sum();
            println!("{} images removed, at least {} freed", removed.len(), size(freed));
            Ok(true)
        }
        Command::Lock { releases } => lock(&store, releases).await,
        Command::RenewEras => {
            maintain::renew_eras(&store)?;
            Ok(true)
        }
        Command::Refresh { .. } => unreachable!("it needs no store"),
    }
}

/// A file of patches.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Patches {
    patch: Vec<Patch>,
}

fn stable(store: &Store) -> impl Iterator<Item = &Version> {
    store.releases().iter().map(|release| &release.version).filter(|version| !version.is_candidate())
}

fn everything(store: &Store) -> Vec<Wanted> {
    let releases = stable(store).cloned().map(|version| Wanted::Homeserver { version, suite: None });
    releases.chain(Companion::ALL.map(Wanted::Companion)).collect()
}

async fn build(store: &Store, names: Vec<Wanted>) -> bool {
    let started = Instant::now();
    let results = futures::future::join_all(names.iter().map(|wanted| store.obtain(wanted))).await;
    let count = |source| results.iter().flatten().filter(|image| image.source == source).count();
    let failed = results.iter().filter(|result| result.is_err()).count();
    println!(
        "{} images in {:.1} s: {} present, {} pulled, {} built, {} by override, {failed} failed",
        results.len(),
        started.elapsed().as_secs_f64(),
        count(Source::Present),
        count(Source::Registry),
        count(Source::Built),
        count(Source::Override),
    );
    failed == 0
}

async fn which(store: &Store, wanted: &Wanted) -> anyhow::Result<bool> {
    // The error has been told.
    let Ok(image) = store.obtain(wanted).await else {
        return Ok(false);
    };
    println!("{} ({}, {})", image.reference, image.source, image.id);
    Ok(true)
}

async fn refresh(check: bool) -> anyhow::Result<bool> {
    let news = maintain::refresh(check).await?;
    for version in &news.added {
        println!("new: {version}");
    }
    for version in &news.yanked {
        println!("withdrawn: {version}");
    }
    if news.is_empty() {
        println!("nothing new");
    }
    Ok(!check || news.is_empty())
}

async fn lock(store: &Store, releases: Vec<Version>) -> anyhow::Result<bool> {
    let releases = if releases.is_empty() { stable(store).cloned().collect() } else { releases };
    let failures = maintain::lock(store, &releases).await?;
    for (version, words) in &failures {
        eprintln!("{version} has no lock: {words}");
    }
    println!("{} locks written", releases.len() - failures.len());
    Ok(failures.is_empty())
}

fn show(images: &[Kept]) {
    for image in images {
        let name = image.references.first().map_or("(superseded)", String::as_str);
        println!("{:>9} {:>9}  {name}  {}", size(image.bytes), size(image.own_bytes), image.what);
    }
}

fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1000.0 { format!("{megabytes:.1} MB") } else { format!("{:.2} GB", megabytes / 1000.0) }
}

fn report(progress: Progress) {
    match progress {
        Progress::Notice(text) => eprintln!("note: {text}"),
        Progress::Started { wanted, how } => eprintln!("{wanted}: {how}"),
        Progress::Step { wanted, step } => {
            eprintln!("{wanted}: {}", step.split_whitespace().take(9).collect::<Vec<_>>().join(" "));
        }
        Progress::Ready(image) if image.source == Source::Present => {}
        Progress::Ready(image) => {
            eprintln!("{}: {} ({}, {:.1} s)", image.wanted, image.reference, image.source, image.seconds);
        }
        Progress::Failed { wanted, error, seconds } => eprintln!("{wanted}: failed after {seconds:.1} s: {error}"),
        _ => {}
    }
}
