//! What a run may say about its images.

use std::{collections::BTreeMap, env, path::PathBuf, str::FromStr, thread};

use clap::ValueEnum;

use crate::wanted::{ParseWantedError, Wanted};

/// Where images come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
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
}

/// One `NAME=REFERENCE` of `--image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What it stands for.
    pub wanted: Wanted,
    /// The image to use.
    pub reference: String,
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
}

impl FromStr for Override {
    type Err = ParseOverrideError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, reference)) if !reference.trim().is_empty() => {
                Ok(Self { wanted: name.parse()?, reference: reference.trim().to_owned() })
            }
            _ => Err(ParseOverrideError::Form(text.to_owned())),
        }
    }
}

/// Where images come from and how much room they may take.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Images")]
pub struct Options {
    /// Use this image, e.g. of a fork or a candidate: NAME is a version (`1.53.0`, `1.53.0@bookworm`) or a companion
    /// (`redis`, `postgres-15`); may be repeated, or separated by commas in the variable.
    #[arg(long = "image", value_name = "NAME=REFERENCE", env = "SYNAPSE_UPGRADES_IMAGE", value_delimiter = ',')]
    pub overrides: Vec<Override>,

    /// Where images come from.
    #[arg(long, value_enum, default_value_t, env = "SYNAPSE_UPGRADES_IMAGES_FROM")]
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
        }
    }
}

impl Options {
    pub(crate) fn override_of(&self, wanted: &Wanted) -> Option<&Override> {
        // The last one counts, as with any repeated option.
        self.overrides.iter().rev().find(|given| given.wanted == *wanted)
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
