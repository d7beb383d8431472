//! Fixtures: the database that a release leaves after its first start, with all its background updates done.
//!
//! A fresh database of an older release takes half a minute to drain, at one background update a second; that is waited
//! for once, by the real release, and the result is kept beside the evidence. A walk starts its first leg on a copy.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail};
use images::{Image, Version};
use reports::{Event, ImageReady};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::{
    Database, Deployment,
    checks::health,
    database::Store,
    database::postgres,
    engine::places::Places,
    stage::config,
    stage::daemon::Daemon,
    stage::homeserver::{Homeserver, Manner, Site, Start},
    stage::tls::Authority,
};

/// Changes when what a fixture holds changes for another reason than those in its key.
const FORMAT: u32 = 1;

/// Makes and keeps fixtures.
#[derive(Debug)]
pub(crate) struct Fixtures {
    directory: PathBuf,
    /// What making one leaves, for as long as it is not made.
    evidence: PathBuf,
    daemon: Daemon,
    http: reqwest::Client,
    /// Shared with the walks: starts keep a core busy, draining does not.
    starts: Arc<Places>,
    authority: Arc<Authority>,
    made: Mutex<BTreeMap<String, Making>>,
    /// Making one is mostly waiting; this many homeservers at once fit into memory.
    drains: Semaphore,
}

/// One fixture, or why it cannot be made; whoever asks first makes it.
type Making = Arc<OnceCell<Result<Fixture, String>>>;

/// A kept database.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    /// The SQLite file, or PostgreSQL's dump.
    pub(crate) path: PathBuf,
    /// Name that is unique per content.
    pub(crate) key: String,
}

impl Fixtures {
    pub(crate) fn new(
        directory: PathBuf,
        evidence: PathBuf,
        daemon: Daemon,
        http: reqwest::Client,
        starts: Arc<Places>,
        authority: Arc<Authority>,
    ) -> Self {
        Self {
            directory,
            evidence,
            daemon,
            http,
            starts,
            authority,
            made: Mutex::default(),
            drains: Semaphore::new(12),
        }
    }

    /// The release's fixture; made now, if it is not kept yet.
    pub(crate) async fn get(
        &self,
        release: &Version,
        image: &Image,
        server: Option<&Arc<postgres::Server>>,
        emit: &(dyn Fn(Event) + Send + Sync),
    ) -> anyhow::Result<Fixture> {
        let database = if server.is_some() { Database::Postgres } else { Database::Sqlite };
        let key = Self::key(release, &image.id, server.map(|server| server.version.as_str()));
        let once = Arc::clone(self.made.lock().await.entry(key.clone()).or_default());
        let make = async || {
            let fixture = Fixture { path: self.directory.join(&key), key: key.clone() };
            if !fixture.path.exists() {
                let _place = self.drains.acquire().await?;
                // Who waited for a place need not begin when the run is ending.
                drop(self.daemon.making().await?);
                let name = format!("first data of {release}, {}", database.title());
                let begun = Instant::now();
                emit(Event::ImageStarted { image: name.clone(), how: "starting it once, draining".to_owned() });
                self.make(release, image, server, &fixture).await?;
                emit(Event::ImageReady(ImageReady {
                    image: name,
                    source: "built".to_owned(),
                    reference: fixture.path.display().to_string(),
                    id: key.clone(),
                    seconds: begun.elapsed().as_secs_f64(),
                }));
            }
            anyhow::Ok(fixture)
        };
        once.get_or_init(|| async {
            make().await.map_err(|error| format!("{release} could not make its first database: {error:#}"))
        })
        .await
        .clone()
        .map_err(anyhow::Error::msg)
    }

    fn key(release: &Version, image: &str, postgres: Option<&str>) -> String {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_le_bytes());
        hash.update(image);
        let document =
            config::homeserver(release, &Deployment::default(), config::SERVER_NAME, &serde_json::Value::Null);
        hash.update(serde_json::Value::Object(document).to_string());
        hash.update(postgres.unwrap_or_default());
        let suffix = if postgres.is_some() { "sql" } else { "db" };
        format!("{release}-{}.{suffix}", &hex::encode(hash.finalize())[..12])
    }

    async fn make(
        &self,
        release: &Version,
        image: &Image,
        server: Option<&Arc<postgres::Server>>,
        fixture: &Fixture,
    ) -> anyhow::Result<()> {
        let work = self.evidence.join(&fixture.key);
        for directory in [&work, &self.directory] {
            fs::create_dir_all(directory).with_context(|| format!("cannot write {}", directory.display()))?;
        }
        let prefix = self.daemon.name(&format!("fixture-{}", fixture.key.replace(['.', '+'], "-")));
        let volume = format!("{prefix}-data");
        self.daemon.create_volume(&volume, Some(&prefix)).await?;
        self.daemon.create_network(&prefix).await?;
        let outcome = async {
            let (store, database) = match server {
                None => (
                    Store::Sqlite {
                        daemon: self.daemon.clone(),
                        volume: volume.clone(),
                        image: image.reference.clone(),
                    },
                    sqlite_config(),
                ),
                Some(server) => {
                    let database = Arc::new(server.create_empty(&format!("making-{}", fixture.key), None).await?);
                    (Store::Postgres(Arc::clone(&database)), database.config())
                }
            };
            let site = Site {
                daemon: self.daemon.clone(),
                prefix: prefix.clone(),
                network: prefix.clone(),
                data_volume: volume.clone(),
                socket_volume: server.map(|server| server.socket_volume.clone()),
                database,
                server_name: config::SERVER_NAME.to_owned(),
                authority: Arc::clone(&self.authority),
                http: self.http.clone(),
                name_server: None,
                nginx: None,
            };
            let homeserver = {
                // Walks wait for it.
                let _start = self.starts.take(0).await;
                Homeserver::start(
                    &site,
                    release,
                    &image.reference,
                    &Deployment::default(),
                    &Manner::default(),
                    None,
                    &work,
                )
                .await?
            };
            if homeserver.start != Start::Started {
                bail!("it did not come up on an empty data directory: {}", homeserver.start.to_json());
            }
            for (check, seen) in health::database(&store, &homeserver.assistant, health::STUCK).await?.checks {
                if check == health::BACKGROUND_UPDATES && seen != serde_json::json!([]) {
                    bail!("background updates are stuck: {seen}");
                }
            }
            let ends = homeserver.stop().await?;
            if !ends.is_empty() {
                bail!("{}", ends.join("\n"));
            }
            let content = match &store {
                Store::Postgres(database) => database.dump().await?.into_bytes(),
                Store::Sqlite { .. } => {
                    // What is still in a journal beside the file comes into it.
                    let emptied = store.rows("PRAGMA wal_checkpoint(TRUNCATE)", None).await?;
                    if emptied.iter().any(|row| row["busy"] != 0) {
                        bail!("SQLite's journal could not be emptied");
                    }
                    file_of(&self.daemon.download(homeserver.main.id(), "/data/homeserver.db").await?)?
                }
            };
            if let Store::Postgres(database) = &store {
                database.drop_now().await?;
            }
            // Another process may make the same: the rename makes one of them the fixture, whole.
            let finished = work.join("content");
            fs::write(&finished, content).with_context(|| format!("cannot write {}", finished.display()))?;
            fs::rename(&finished, &fixture.path).with_context(|| format!("cannot write {}", fixture.path.display()))
        }
        .await;
        self.daemon.sweep_site(&prefix).await?;
        if outcome.is_ok() {
            let _ = fs::remove_dir_all(&work);
        }
        outcome
    }
}

/// `database:` of a homeserver on SQLite.
pub(crate) fn sqlite_config() -> serde_json::Value {
    serde_json::json!({ "name": "sqlite3", "args": { "database": "/data/homeserver.db" } })
}

/// The content of an archive's only file.
fn file_of(archive: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries()?.next().context("an empty archive")??;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut entry, &mut content)?;
    Ok(content)
}

/// Where fixtures are kept.
pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("fixtures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_is_one_release_images_and_servers() {
        let key = |image, postgres| Fixtures::key(&"1.53.0".parse().unwrap(), image, postgres);
        let keys = [key("a", None), key("b", None), key("a", Some("15.3")), key("a", Some("13.22"))];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        assert_eq!(key("a", Some("15.3")), keys[2]);
    }
}
