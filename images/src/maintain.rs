//! Upkeep of the data and of the disk: what the `images` command does besides obtaining images.

use std::{collections::BTreeMap, fs, sync::Arc};

use serde::Deserialize;

use crate::{Error, Release, ReleaseTable, Store, Suite, Version, docker::chain};

/// An image that this project has on the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is for, in the words of its recipe.
    pub what: String,
    /// Its names.
    pub references: Vec<String>,
    /// Its content: `sha256:…`.
    pub id: String,
    /// Its size with everything that it shares with others.
    pub bytes: u64,
    /// What would be freed if it alone were removed.
    pub own_bytes: u64,
    /// When it was last asked for, in seconds since 1970 (when it was made, if nobody ever did).
    pub used: u64,
    /// May it be removed to make room? Not so what is in use by a container or what other images are built on.
    pub needed: bool,
}

/// Resolves the locks of these releases and writes them to `locks/`. Returns those that could not be resolved, with the
/// resolver's words.
pub async fn lock(store: &Store, versions: &[Version]) -> Result<BTreeMap<Version, String>, Arc<Error>> {
    store.lock(versions).await
}

/// Makes the shared layer of each suite anew of what its locks have in common. Every image has to be built again.
pub fn renew_eras(store: &Store) -> Result<(), Error> {
    store.renew_eras()
}

/// The images of this project that are on the daemon, the least recently used first, and what they take in all.
pub async fn list(store: &Store) -> Result<(Vec<Kept>, u64), Error> {
    store.kept().await
}

/// Removes superseded images, then the least recently used until the rest is within the limit; with `all`, everything
/// that no container uses. What our builds left in the build cache goes too; that of others stays. Returns what was
/// removed.
pub async fn prune(store: &Store, all: bool) -> Result<Vec<Kept>, Error> {
    store.prune(all).await
}

/// What a refresh found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Releases that the table lacked.
    pub added: Vec<Version>,
    /// Releases that were withdrawn since.
    pub yanked: Vec<Version>,
}

impl News {
    /// Is there nothing new?
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.yanked.is_empty()
    }
}

/// Compares the release table with PyPI, and unless it is only to `check`, brings it up to date.
pub async fn refresh(check: bool) -> Result<News, Error> {
    let known = ReleaseTable::load()?;
    let index = Index::new()?;
    let (published, uploads): (Vec<_>, Vec<_>) = index.releases().await?.into_iter().unzip();
    let uploads: BTreeMap<_, _> = published.iter().map(|release| release.version.clone()).zip(uploads).collect();
    let (mut releases, news) = compare(&known, published);
    if news.is_empty() || check {
        return Ok(news);
    }
    for release in releases.iter_mut().filter(|release| news.added.contains(&release.version)) {
        index.read_schema(release, &uploads[&release.version]).await?;
    }
    derive_rollbacks(&mut releases);
    let path = ReleaseTable::path();
    let text = render(&releases).map_err(|error| Error::file("write", &path)(std::io::Error::other(error)))?;
    fs::write(&path, text).map_err(Error::file("write", &path))?;
    Ok(news)
}

/// A release as PyPI has it, schema versions included; nothing if there is none of this version.
///
/// # Errors
///
/// [`Error::Index`]: PyPI cannot be reached.
pub async fn published(version: &Version) -> Result<Option<Release>, Error> {
    let index = Index::new()?;
    let Some((mut release, uploads)) = index.release(version).await? else { return Ok(None) };
    index.read_schema(&mut release, &uploads).await?;
    Ok(Some(release))
}

/// The newest release on PyPI that is not a candidate, and a file of its source distribution, named by the end of its path.
///
/// # Errors
///
/// [`Error::Index`]: PyPI cannot be reached, or the distribution has no such file.
pub async fn newest_source(path: &str) -> Result<(Version, String), Error> {
    let index = Index::new()?;
    let published = index.releases().await?;
    let stable = published.into_iter().filter(|(release, _)| !release.yanked && !release.version.is_candidate());
    let newest = stable.max_by(|(a, _), (b, _)| a.version.cmp(&b.version));
    let (release, uploads) = newest.ok_or_else(|| index.lacks("a release"))?;
    let text = index.source_file(&uploads, path).await?;
    Ok((release.version, text))
}

/// A file of a release's source distribution on PyPI, named by the end of its path.
///
/// # Errors
///
/// [`Error::Index`]: PyPI cannot be reached, has no such release, or the distribution has no such file.
pub async fn source(version: &Version, path: &str) -> Result<String, Error> {
    let index = Index::new()?;
    let (_, uploads) = index.release(version).await?.ok_or_else(|| index.lacks(&version.to_string()))?;
    index.source_file(&uploads, path).await
}

/// PyPI's JSON interface.
struct Index {
    client: reqwest::Client,
    project: String,
}

#[derive(Deserialize)]
struct Project {
    releases: BTreeMap<String, Vec<Upload>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Upload {
    #[serde(rename = "upload_time_iso_8601")]
    time: String,
    yanked: bool,
    requires_python: Option<String>,
    packagetype: String,
    url: String,
}

impl Index {
    fn new() -> Result<Self, Error> {
        let project = std::env::var("SYNAPSE_UPGRADES_PYPI_JSON")
            .unwrap_or_else(|_| "https://pypi.org/pypi/matrix-synapse/json".to_owned());
        // Whoever comes second finds a provider there already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .build()
            .map_err(|error| Error::Index { url: project.clone(), reason: chain(&error) })?;
        Ok(Self { client, project })
    }

    async fn get(&self, url: &str) -> Result<reqwest::Response, Error> {
        let answer = self.client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        answer.map_err(|error| Error::Index { url: url.to_owned(), reason: chain(&error.without_url()) })
    }

    /// One of them.
    async fn release(&self, version: &Version) -> Result<Option<(Release, Vec<Upload>)>, Error> {
        Ok(self.releases().await?.into_iter().find(|(release, _)| release.version == *version))
    }

    /// What PyPI has, but for the schema versions.
    async fn releases(&self) -> Result<Vec<(Release, Vec<Upload>)>, Error> {
        let wrong = |error: reqwest::Error| Error::Index { url: self.project.clone(), reason: chain(&error) };
        let project: Project = self.get(&self.project).await?.json().await.map_err(wrong)?;
        let release = |(version, uploads): (String, Vec<Upload>)| {
            // Two development builds of 1.9.0 are there too, with versions that are none of Synapse's own.
            let version: Version = version.parse().ok()?;
            let first = uploads.iter().map(|upload| upload.time.as_str()).min()?;
            let release = Release {
                suite: default_suite(&version),
                version,
                date: first.chars().take("2022-02-22".len()).collect(),
                yanked: uploads.iter().all(|upload| upload.yanked),
                schema_version: None,
                compat_version: None,
                rolls_back_to: None,
                requires_python: uploads.iter().find_map(|upload| upload.requires_python.clone()),
            };
            Some((release, uploads))
        };
        Ok(project.releases.into_iter().filter_map(release).collect())
    }
}

/// The suite that a release's image is built on.
fn default_suite(version: &Version) -> Suite {
    // From these on, the older suite's Python is too old for the release or for its dependencies.
    if *version < version_of("1.74.0rc1") {
        Suite::Bullseye
    } else if *version < version_of("1.140.0rc1") {
        Suite::Bookworm
    } else {
        Suite::Trixie
    }
}

fn version_of(text: &str) -> Version {
    // Only for the constants of this file.
    text.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

impl Index {
    /// Reads the schema versions of a release from its source distribution.
    async fn read_schema(&self, release: &mut Release, uploads: &[Upload]) -> Result<(), Error> {
        // Where they are since 1.36.0, and where they were.
        let places = ["synapse/storage/schema/__init__.py", "synapse/storage/prepare_database.py"];
        for text in self.source_files(uploads, &places).await? {
            if let Some(schema) = constant(&text, "SCHEMA_VERSION") {
                release.schema_version = Some(schema);
                release.compat_version = constant(&text, "SCHEMA_COMPAT_VERSION");
            }
        }
        Ok(())
    }

    fn lacks(&self, what: &str) -> Error {
        Error::Index { url: self.project.clone(), reason: format!("it lacks {what}") }
    }

    /// The file of a source distribution whose path ends in this.
    async fn source_file(&self, uploads: &[Upload], place: &str) -> Result<String, Error> {
        let files = self.source_files(uploads, &[place]).await?;
        files.into_iter().next().ok_or_else(|| self.lacks(&format!("{place} in the release's sources")))
    }

    /// The files of a source distribution whose paths end in one of these; none, where there is no such distribution.
    async fn source_files(&self, uploads: &[Upload], places: &[&str]) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let Some(source) = uploads.iter().find(|upload| upload.packagetype == "sdist") else {
            return Ok(found);
        };
        // Mirrors may give addresses relative to the page.
        let url = reqwest::Url::parse(&self.project).and_then(|page| page.join(&source.url));
        let wrong = |reason: String| Error::Index { url: source.url.clone(), reason };
        let url = url.map_err(|error| wrong(error.to_string()))?;
        let bytes = self.get(url.as_str()).await?.bytes().await.map_err(|error| wrong(chain(&error)))?;
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_ref()));
        for entry in archive.entries().map_err(|error| wrong(error.to_string()))? {
            let mut entry = entry.map_err(|error| wrong(error.to_string()))?;
            let path = entry.path().map_err(|error| wrong(error.to_string()))?.into_owned();
            if !places.iter().any(|place| path.ends_with(place)) {
                continue;
            }
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).map_err(|error| wrong(error.to_string()))?;
            found.push(text);
        }
        Ok(found)
    }
}

/// The number that a Python module gives to a name, be it in parentheses and among comments.
fn constant(module: &str, name: &str) -> Option<u32> {
    let start = module.lines().position(|line| line.split_once('=').is_some_and(|(left, _)| left.trim() == name))?;
    let mut lines = module.lines().skip(start);
    let first = lines.next()?.split_once('=')?.1;
    let words = std::iter::once(first).chain(lines).map(|line| line.split('#').next().unwrap_or_default());
    words
        .flat_map(|line| line.split(|letter: char| !letter.is_ascii_digit()))
        .find(|word| !word.is_empty())?
        .parse()
        .ok()
}

/// The table with what is published now, and what is new in it.
fn compare(known: &ReleaseTable, published: Vec<Release>) -> (Vec<Release>, News) {
    let mut news = News::default();
    let mut releases: BTreeMap<Version, Release> =
        known.iter().map(|release| (release.version.clone(), release.clone())).collect();
    for release in published {
        if let Some(old) = releases.get_mut(&release.version) {
            if release.yanked && !old.yanked {
                news.yanked.push(release.version);
            }
            old.yanked = release.yanked;
        } else {
            news.added.push(release.version.clone());
            releases.insert(release.version.clone(), release);
        }
    }
    news.added.sort();
    news.yanked.sort();
    (releases.into_values().collect(), news)
}

/// Fills in the oldest release to roll back to where it is not known: by upstream's rule, the first one with the schema
/// that the release's database is compatible with.
fn derive_rollbacks(releases: &mut [Release]) {
    let needs = |release: &Release| release.compat_version.or(release.schema_version);
    let firsts: BTreeMap<u32, Version> =
        releases.iter().rev().filter_map(|release| Some((needs(release)?, release.rolls_back_to.clone()?))).collect();
    let stable: Vec<(u32, Version)> = releases
        .iter()
        .filter(|release| !release.version.is_candidate())
        .filter_map(|release| Some((release.schema_version?, release.version.clone())))
        .collect();
    // What the oldest known schema was first in is not known.
    let oldest = stable.first().map(|(schema, _)| *schema);
    for release in releases.iter_mut().filter(|release| release.rolls_back_to.is_none()) {
        let Some(needed) = needs(release).filter(|needed| Some(*needed) > oldest) else {
            continue;
        };
        let by_rule = || stable.iter().find(|(schema, _)| *schema >= needed).map(|(_, version)| version.clone());
        release.rolls_back_to = firsts.get(&needed).cloned().or_else(by_rule);
    }
}

fn render(releases: &[Release]) -> Result<String, toml::ser::Error> {
    #[derive(serde::Serialize)]
    struct Table<'a> {
        release: &'a [Release],
    }
    let table = toml::to_string(&Table { release: releases })?;
    Ok(format!("# Every release of Synapse on PyPI. Written by `images refresh`.\n\n{table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, schema: u32, compat: Option<u32>) -> Release {
        let version: Version = version.parse().unwrap();
        Release {
            date: "2022-02-22".to_owned(),
            suite: default_suite(&version),
            version,
            yanked: false,
            schema_version: Some(schema),
            compat_version: compat,
            rolls_back_to: None,
            requires_python: None,
        }
    }

    #[test]
    fn schema_versions_are_read_as_upstream_writes_them() {
        let plain = "SCHEMA_VERSION = 59\n\nSCHEMA_COMPAT_VERSION = 60  # 61: comment\n";
        assert_eq!(constant(plain, "SCHEMA_VERSION"), Some(59));
        assert_eq!(constant(plain, "SCHEMA_COMPAT_VERSION"), Some(60));
        let wrapped = "SCHEMA_COMPAT_VERSION = (\n    # Since 2023, nothing older than 70 works.\n    84\n)\n";
        assert_eq!(constant(wrapped, "SCHEMA_COMPAT_VERSION"), Some(84));
        assert_eq!(constant(wrapped, "SCHEMA_VERSION"), None);
    }

    #[test]
    fn a_rollback_goes_to_the_first_release_with_a_compatible_schema() {
        let mut releases = [
            release("1.36.0", 59, None),
            release("1.37.0", 60, Some(59)),
            release("1.38.0", 61, Some(60)),
            release("1.39.0rc1", 61, Some(60)),
            release("1.39.0", 62, Some(61)),
        ];
        derive_rollbacks(&mut releases);
        let found: Vec<_> =
            releases.iter().map(|release| release.rolls_back_to.as_ref().map(Version::to_string)).collect();
        let to = |version: &str| Some(version.to_owned());
        assert_eq!(found, [None, None, to("1.37.0"), to("1.37.0"), to("1.38.0")]);
    }

    #[test]
    fn news_are_releases_that_the_table_lacks_and_withdrawals() {
        let known = ReleaseTable::parse(&render(&[release("1.52.0", 66, Some(61))]).unwrap()).unwrap();
        let published = vec![
            Release { yanked: true, ..release("1.52.0", 66, Some(61)) },
            release("1.53.0", 66, Some(61)),
            release("1.53.0rc1", 66, Some(61)),
        ];
        let (releases, news) = compare(&known, published);
        assert_eq!(releases.len(), 3);
        assert_eq!(news.added, [version_of("1.53.0rc1"), version_of("1.53.0")]);
        assert_eq!(news.yanked, [version_of("1.52.0")]);
    }

    #[test]
    fn the_table_of_this_crate_reads_back_as_it_is_written() {
        let table = ReleaseTable::load().unwrap();
        let releases: Vec<_> = table.iter().cloned().collect();
        let again = ReleaseTable::parse(&render(&releases).unwrap()).unwrap();
        assert_eq!(again.iter().cloned().collect::<Vec<_>>(), releases);
    }
}
