//! What a run may say about its images.

use std::{collections::BTreeMap, env, fmt, path::PathBuf, str::FromStr, thread};

use crate::{
    Release, Version,
    wanted::{ParseWantedError, Wanted},
};

/// Where images come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImagesFrom {
    /// What is present, else the registry, else built here.
    #[default]
    Auto,
    /// The registry's images, present or pulled.
    Registry,
    /// Images built here, present or new.
    Build,
    /// Whatever is present, and nothing else.
    Present,
    /// Those of releases from somewhere else, the others as with [`Auto`](Self::Auto).
    Line(Override),
}

impl FromStr for ImagesFrom {
    type Err = ParseOverrideError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "registry" => Ok(Self::Registry),
            "build" => Ok(Self::Build),
            "present" => Ok(Self::Present),
            line if line.contains(VERSION) => {
                let reference = line.to_owned();
                Ok(Self::Line(Override { of: Of::Releases { since: None, until: None }, reference }))
            }
            _ => Err(ParseOverrideError::From(text.to_owned())),
        }
    }
}

impl fmt::Display for ImagesFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Registry => "registry",
            Self::Build => "build",
            Self::Present => "present",
            Self::Line(line) => &line.reference,
        })
    }
}

/// What stands for the release's number in a reference.
const VERSION: &str = "{version}";

/// One `NAME=REFERENCE` of `--image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What it stands for.
    pub of: Of,
    /// The image to use; of releases, with `{version}` in it.
    pub reference: String,
}

/// What an override stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// One image.
    One(Wanted),
    /// A line of releases: `1.150.0..1.160.0`, the last not among them; either end may be left out.
    Releases {
        /// The first of them.
        since: Option<Version>,
        /// The first after them.
        until: Option<Version>,
    },
}

impl Of {
    fn covers(&self, version: &Version) -> bool {
        match self {
            Self::One(_) => false,
            Self::Releases { since, until } => {
                since.as_ref().is_none_or(|since| since <= version)
                    && until.as_ref().is_none_or(|until| version < until)
            }
        }
    }
}

impl FromStr for Of {
    type Err = ParseWantedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((since, until)) = text.split_once("..") else { return Ok(Self::One(text.parse()?)) };
        let end = |end: &str| match end {
            "" => Ok(None),
            version => version.parse().map(Some).map_err(|_| ParseWantedError { text: text.to_owned() }),
        };
        Ok(Self::Releases { since: end(since)?, until: end(until)? })
    }
}

/// A text that is not an override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseOverrideError {
    /// No `=`, or nothing after it.
    #[error("`{0}` is not of the form NAME=REFERENCE (like `1.53.0=registry.example/synapse:fork`)")]
    Form(String),
    /// The name names nothing.
    #[error(transparent)]
    Name(#[from] ParseWantedError),
    /// Releases without `{version}` in the reference: all would be one image.
    #[error("`{0}` gives one image to many releases: their number is `{{version}}` in the reference")]
    Version(String),
    /// No word that says where images come from.
    #[error("`{0}` is neither `auto`, `registry`, `build` or `present` nor a reference with `{{version}}` in it")]
    From(String),
}

impl FromStr for Override {
    type Err = ParseOverrideError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, reference)) if !reference.trim().is_empty() => {
                let of: Of = name.parse()?;
                if matches!(of, Of::Releases { .. }) && !reference.contains(VERSION) {
                    return Err(ParseOverrideError::Version(text.to_owned()));
                }
                Ok(Self { of, reference: reference.trim().to_owned() })
            }
            _ => Err(ParseOverrideError::Form(text.to_owned())),
        }
    }
}

/// Where images come from and how much room they may take.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Images")]
pub struct Options {
    /// Use this image, e.g. of a fork or a candidate: NAME is a version (`1.53.0`, `1.53.0@bookworm`), a line of them
    /// (`1.150.0..`, with `{version}` in the reference) or a companion (`redis`, `postgres-15`); may be repeated, or
    /// separated by commas in the variable.
    #[arg(long = "image", value_name = "NAME=REFERENCE", env = "SYNAPSE_UPGRADES_IMAGE", value_delimiter = ',')]
    pub overrides: Vec<Override>,

    /// Where images come from: what is present, else the registry, else built here (auto); `registry`; `build`; what is
    /// `present`; or all releases from elsewhere: `registry.example/synapse:v{version}`.
    #[arg(long, value_name = "WHERE", default_value_t, env = "SYNAPSE_UPGRADES_IMAGES_FROM")]
    pub images_from: ImagesFrom,

    /// The registry, or a mirror of it.
    #[arg(long, value_name = "HOST", default_value = "docker.io", env = "SYNAPSE_UPGRADES_REGISTRY")]
    pub registry: String,

    /// The repository of Synapse's images in the registry; release 1.53.0 is its tag `v1.53.0`.
    #[arg(long, value_name = "NAME", default_value = "matrixdotorg/synapse", env = "SYNAPSE_UPGRADES_REPOSITORY")]
    pub repository: String,

    /// How many images to build at once (default: as many as there are cores).
    #[arg(long, value_name = "N", env = "SYNAPSE_UPGRADES_IMAGE_BUILDS")]
    pub image_builds: Option<usize>,

    /// How many gigabytes the images and the build cache of this project may take.
    #[arg(long, value_name = "GB", default_value_t = 12.0, env = "SYNAPSE_UPGRADES_IMAGE_DISK_LIMIT")]
    pub image_disk_limit: f64,

    /// Where build logs, locks and downloads are kept.
    #[arg(long, value_name = "DIR", env = "SYNAPSE_UPGRADES_IMAGE_CACHE", default_value_os_t = default_cache())]
    pub image_cache: PathBuf,

    /// The Debian mirror for images built here (default: the host's own, or deb.debian.org).
    #[arg(long, value_name = "URL", env = "SYNAPSE_UPGRADES_DEBIAN_MIRROR")]
    pub debian_mirror: Option<String>,

    /// The package index for images built here (default: the one that uv or pip is told to use here, or PyPI).
    #[arg(long, value_name = "URL", env = "SYNAPSE_UPGRADES_PYPI_INDEX")]
    pub pypi_index: Option<String>,

    /// Releases that the table lacks: a candidate's.
    #[arg(skip)]
    pub further: Vec<Release>,
}

impl Default for Options {
    /// What the command line gives when nothing is said, but for the environment.
    fn default() -> Self {
        Self {
            overrides: Vec::new(),
            images_from: ImagesFrom::default(),
            registry: "docker.io".to_owned(),
            repository: "matrixdotorg/synapse".to_owned(),
            image_builds: None,
            image_disk_limit: 12.0,
            image_cache: default_cache(),
            debian_mirror: None,
            pypi_index: None,
            further: Vec::new(),
        }
    }
}

impl Options {
    /// The image that is given for this, if one is.
    pub fn given_for(&self, wanted: &Wanted) -> Option<String> {
        // The last one counts, as with any repeated option.
        let named = |name: &Wanted| {
            let given = self.overrides.iter().rev().find(|given| given.of == Of::One(name.clone()));
            given.map(|given| given.reference.clone())
        };
        named(wanted).or_else(|| {
            let Wanted::Homeserver { version, .. } = wanted else { return None };
            // Who puts another image in the place of a release means it wherever the release would run.
            named(&Wanted::homeserver(version.clone())).or_else(|| {
                let from = if let ImagesFrom::Line(line) = &self.images_from { Some(line) } else { None };
                let line = self.overrides.iter().rev().chain(from).find(|given| given.of.covers(version));
                line.map(|line| line.reference.replace(VERSION, &version.to_string()))
            })
        })
    }

    /// The images that are given one by one.
    pub fn given(&self) -> impl Iterator<Item = &Wanted> {
        self.overrides.iter().filter_map(|given| match &given.of {
            Of::One(wanted) => Some(wanted),
            Of::Releases { .. } => None,
        })
    }

    pub(crate) fn builds_at_once(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(2, std::num::NonZero::get);
        self.image_builds.unwrap_or_else(cores).max(1)
    }
}

fn default_cache() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(&manifest).join("target/upgrades/images")
}

/// How this machine reaches the world: what a build has to be told to reach it too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// Certificates that this machine trusts.
    pub(crate) certificates: Vec<u8>,
    /// The package index.
    pub(crate) index: String,
    /// `http_proxy` and its kin.
    pub(crate) proxies: BTreeMap<String, String>,
}

impl Host {
    pub(crate) fn detect(options: &Options) -> Self {
        let given = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE"];
        let known = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
        let certificates = given
            .iter()
            .filter_map(env::var_os)
            .map(PathBuf::from)
            .chain(known.iter().map(PathBuf::from))
            .find_map(|path| std::fs::read(path).ok())
            .unwrap_or_default();
        let configured = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];
        let index = options
            .pypi_index
            .clone()
            .or_else(|| configured.iter().find_map(|name| env::var(name).ok().filter(|url| !url.is_empty())))
            .unwrap_or_else(|| "https://pypi.org/simple".to_owned());
        let proxies = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"]
            .into_iter()
            .filter_map(|name| {
                let value = env::var(name).or_else(|_| env::var(name.to_uppercase())).ok()?;
                (!value.is_empty()).then(|| (name.to_owned(), value))
            })
            .collect();
        Self { certificates, index, proxies }
    }

    /// The variables, as a shell reads them, with the certificates at `/context/host/ca.pem`.
    pub(crate) fn environment(&self) -> String {
        let mut variables = vec![("UV_DEFAULT_INDEX", self.index.as_str()), ("PIP_INDEX_URL", self.index.as_str())];
        if !self.certificates.is_empty() {
            variables.extend([("SSL_CERT_FILE", "/context/host/ca.pem"), ("PIP_CERT", "/context/host/ca.pem")]);
        }
        let proxies = self.proxies.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let line = |(name, value): (&str, &str)| format!("export {name}='{}'\n", value.replace('\'', r"'\''"));
        variables.into_iter().chain(proxies).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_holds_on_every_suite_unless_another_is_given_for_that_one() {
        let given = |text: &str| text.parse::<Override>().unwrap_or_else(|error| panic!("{error}"));
        let options = Options {
            overrides: vec![
                given("1.53.0=fork"),
                given("1.54.0=old"),
                given("1.54.0@trixie=on-trixie"),
                given("1.54.0=new"),
                given("1.60.0..1.62.0=line:v{version}"),
                given("1.61.1=one"),
            ],
            ..Options::default()
        };
        let image = |name: &str| {
            let wanted: Wanted = name.parse().unwrap_or_else(|error| panic!("{error}"));
            options.given_for(&wanted)
        };
        assert_eq!(image("1.53.0").as_deref(), Some("fork"));
        assert_eq!(image("1.53.0@bullseye").as_deref(), Some("fork"));
        assert_eq!(image("1.54.0@trixie").as_deref(), Some("on-trixie"));
        assert_eq!(image("1.54.0@bookworm").as_deref(), Some("new"));
        assert_eq!(image("1.55.0@bookworm"), None);
        assert_eq!(image("1.60.0").as_deref(), Some("line:v1.60.0"));
        assert_eq!(image("1.61.1").as_deref(), Some("one"));
        assert_eq!(image("1.62.0"), None);
        assert_eq!(image("redis"), None);
    }

    #[test]
    fn all_releases_can_come_from_elsewhere() {
        let from = |text: &str| text.parse::<ImagesFrom>().map_err(|error| error.to_string());
        let images_from = from("debian.example/synapse:{version}-1").unwrap_or_else(|error| panic!("{error}"));
        let options = Options { images_from, ..Options::default() };
        let image = |name: &str| options.given_for(&name.parse().unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(image("1.103.0@bookworm").as_deref(), Some("debian.example/synapse:1.103.0-1"));
        assert_eq!(image("postgres-15"), None);
        let wrong = from("debian.example/synapse").err().unwrap_or_default();
        assert!(wrong.contains("`{version}` in it"), "{wrong}");
        let wrong = "1.60.0..=fork".parse::<Override>().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(wrong.contains("one image to many releases"), "{wrong}");
    }
}
