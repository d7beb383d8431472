//! A Debian to build on where no registry has one: debootstrap.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio_util::io::ReaderStream;

use crate::{
    Error, Suite,
    docker::{Docker, INPUTS_LABEL, PROJECT_LABEL},
};

/// What Debian's own slim images leave out too. Fewer files also make every layer above quicker to export.
const SLIM: &str = "force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/bash-completion/*
";

/// Tells a base made this way from one that was made in another.
pub(crate) fn key() -> String {
    hex::encode(Sha256::digest(SLIM))
}

/// Builds a minimal Debian in `cache` and imports it as `repository:tag`.
pub(crate) async fn bootstrap(
    docker: &Docker,
    suite: Suite,
    mirror: &str,
    cache: &Path,
    log: &Path,
    (repository, tag): (&str, &str),
) -> Result<(), Error> {
    let fail = |reason: String| Error::Base { suite, reason };
    let tool = Tool::find(cache).await.map_err(fail)?;
    let sudo = privilege().await.map_err(fail)?;
    let directory = tempfile::Builder::new()
        .prefix(&format!("{suite}-"))
        .tempdir_in(cache)
        .map_err(Error::file("create a directory in", cache))?;
    let root = directory.path().join("root");

    let mut command = as_root(&sudo);
    if let Some(scripts) = &tool.scripts {
        command.arg(format!("DEBOOTSTRAP_DIR={}", scripts.display()));
    }
    command.arg(&tool.program).args(["--variant=minbase", "--merged-usr"]);
    if let Some(keyring) = &tool.keyring {
        command.arg(format!("--keyring={}", keyring.display()));
    }
    command.arg(suite.to_string()).arg(&root).arg(mirror);
    let done = run(&mut command, log).await;
    let result = match done {
        Ok(()) => import(docker, &sudo, &root, log, suite, (repository, tag)).await,
        Err(reason) => Err(fail(format!(
            "debootstrap from {mirror} failed: {reason}; full log: {} (another mirror: `--debian-mirror`, for suites that left it https://archive.debian.org/debian)",
            log.display()
        ))),
    };
    // What debootstrap made belongs to root: the directory's own clean-up cannot remove it for another user.
    if !sudo.is_empty() {
        let mut command = as_root(&sudo);
        run(command.args(["rm", "-rf"]).arg(&root), log).await.map_err(fail)?;
    }
    result
}

async fn import(
    docker: &Docker,
    sudo: &[&str],
    root: &Path,
    log: &Path,
    suite: Suite,
    (repository, tag): (&str, &str),
) -> Result<(), Error> {
    let fail = |reason: String| Error::Base { suite, reason };
    let slim = format!(
        "cat > '{root}/etc/dpkg/dpkg.cfg.d/slim' <<'END'\n{SLIM}END\necho 'Acquire::Languages \"none\";' > '{root}/etc/apt/apt.conf.d/slim'\ncd '{root}' && rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb usr/share/man/* usr/share/locale/* usr/share/info/* usr/share/lintian/* usr/share/bash-completion/* && find usr/share/doc -type f ! -name copyright -delete",
        root = root.display()
    );
    run(as_root(sudo).args(["sh", "-ec", &slim]), log).await.map_err(fail)?;
    let mut archive = as_root(sudo)
        .args(["tar", "--numeric-owner", "-C"])
        .arg(root)
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::file("run", "tar"))?;
    let Some(output) = archive.stdout.take() else {
        return Err(fail("tar has no output".to_owned()));
    };
    let labels = [(PROJECT_LABEL, format!("debian {suite}")), (INPUTS_LABEL, key())];
    let labels = labels.map(|(name, value)| (name.to_owned(), value)).into();
    docker.import(ReaderStream::with_capacity(output, 1 << 20), repository, tag, &labels).await?;
    let status = archive.wait().await.map_err(Error::file("run", "tar"))?;
    if status.success() { Ok(()) } else { Err(fail(format!("tar ended with {status}"))) }
}

/// debootstrap: the host's, or one unpacked from its Debian package.
struct Tool {
    program: PathBuf,
    scripts: Option<PathBuf>,
    keyring: Option<PathBuf>,
}

impl Tool {
    async fn find(cache: &Path) -> Result<Self, String> {
        // debootstrap's own needs; without a word from us its failures are hard to read.
        let needs = [("wget", "wget"), ("perl", "perl"), ("tar", "tar"), ("gpgv", "gpgv")];
        let missing: Vec<_> = needs.iter().filter(|(tool, _)| which(tool).is_none()).map(|(_, name)| *name).collect();
        if !missing.is_empty() {
            return Err(format!(
                "no registry has one, and making one with debootstrap needs packages that this host lacks: install {}",
                missing.join(", ")
            ));
        }
        if which("ar").is_none() && which("dpkg-deb").is_none() {
            return Err("debootstrap needs `ar` or `dpkg-deb` to unpack packages: install binutils or dpkg".to_owned());
        }
        if let Some(program) = which("debootstrap") {
            return Ok(Self { program, scripts: None, keyring: None });
        }
        if which("apt-get").is_none() || which("dpkg-deb").is_none() {
            return Err(
                "no registry has one, and this host has no debootstrap to make one: install debootstrap".to_owned()
            );
        }
        let unpacked = cache.join("debootstrap");
        let tool = Self {
            program: unpacked.join("usr/sbin/debootstrap"),
            scripts: Some(unpacked.join("usr/share/debootstrap")),
            keyring: Some(unpacked.join("usr/share/keyrings/debian-archive-keyring.gpg")),
        };
        if !tool.program.exists() {
            Self::fetch(&unpacked).await?;
        }
        Ok(tool)
    }

    async fn fetch(unpacked: &Path) -> Result<(), String> {
        let parent = unpacked.parent().unwrap_or(unpacked);
        let work = tempfile::tempdir_in(parent).map_err(|error| error.to_string())?;
        let script = "apt-get download debootstrap debian-archive-keyring && for package in *.deb; do dpkg-deb -x \"$package\" tree; done";
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(work.path())
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!(
                "no registry has one, and debootstrap cannot be fetched: {} (run `apt-get update`, or install debootstrap)",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        // Renamed when complete, so that nobody finds half of it. Suites fetch side by side: who comes first serves all.
        match std::fs::rename(work.path().join("tree"), unpacked) {
            Err(_) if unpacked.is_dir() => Ok(()),
            renamed => renamed.map_err(|error| error.to_string()),
        }
    }
}

/// The words before a command that needs root: none, or sudo where it asks for no password.
async fn privilege() -> Result<Vec<&'static str>, String> {
    let id = Command::new("id").arg("-u").output().await.map_err(|error| error.to_string())?;
    if id.stdout.trim_ascii() == b"0" {
        return Ok(Vec::new());
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).output().await;
    if sudo.is_ok_and(|output| output.status.success()) {
        return Ok(vec!["sudo", "-n"]);
    }
    Err("no registry has one, and debootstrap needs root: run as root, allow sudo without a password, or give a registry with `--registry`".to_owned())
}

/// `env`, as root: a command that takes variables before the program.
fn as_root(sudo: &[&str]) -> Command {
    let mut words = sudo.iter().copied().chain(["env"]);
    let mut command = Command::new(words.next().unwrap_or("env"));
    command.args(words).stdin(Stdio::null());
    command
}

async fn run(command: &mut Command, log: &Path) -> Result<(), String> {
    let output = command.output().await.map_err(|error| error.to_string())?;
    let mut text = output.stdout;
    text.extend(&output.stderr);
    if let Some(directory) = log.parent() {
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    }
    std::fs::write(log, &text).map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&text);
    let last: Vec<_> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    Err(last.into_iter().rev().collect::<Vec<_>>().join("; "))
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Where root's tools are is not always on another user's path.
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// The mirror that this host uses, if it is a Debian.
pub(crate) async fn host_mirror() -> Option<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(ORIGIN) $(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "Debian").then_some(())?;
        let site = words.next()?;
        (!site.contains("security") && words.next_back()? == "main").then(|| site.to_owned())
    });
    found.next()
}
