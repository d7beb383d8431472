//! PostgreSQL: one server per major version and run, one database per deployment.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::NoTls;

use crate::{
    config::SOCKET_DIRECTORY,
    container::{Container, Spec},
    daemon::Daemon,
};

/// The role that owns the homeservers' databases: no superuser, as in production.
const ROLE: &str = "synapse";

/// A PostgreSQL server of this run.
#[derive(Debug)]
pub(crate) struct Server {
    container: Container,
    address: String,
    /// The server's sockets; deployments mount it, so that no network has to join them.
    pub(crate) socket_volume: String,
    /// Fixtures that are in this server, as template databases.
    templates: Mutex<BTreeMap<String, Arc<OnceCell<()>>>>,
    /// `CREATE DATABASE` copies a template that nobody may use meanwhile.
    creating: Mutex<()>,
}

/// One deployment's database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
    /// A session for queries, kept from one to the next: each new one costs the server a process.
    session: Mutex<Option<Arc<tokio_postgres::Client>>>,
}

impl Server {
    /// Starts a server; ready when it answers a query.
    pub(crate) async fn start(daemon: &Daemon, image: &str, major: u32, logs: &Path) -> anyhow::Result<Self> {
        let name = daemon.name(&format!("postgres-{major}"));
        let socket_volume = format!("{name}-socket");
        daemon.create_volume(&socket_volume, None).await?;
        daemon.create_network(&name).await?;
        // Throw-away durability: nothing here outlives the run.
        let settings = [
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "max_connections=400",
            "wal_level=minimal",
            "max_wal_senders=0",
        ];
        let spec = Spec {
            image: image.to_owned(),
            role: format!("postgres-{major}"),
            host: format!("postgres-{major}"),
            name: name.clone(),
            network: Some(name),
            command: settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect(),
            environment: [("POSTGRES_HOST_AUTH_METHOD".to_owned(), "trust".to_owned())].into(),
            volumes: vec![(socket_volume.clone(), "/var/run/postgresql".to_owned())],
            ports: vec![5432],
            ..Spec::default()
        };
        let container = Container::start(daemon, spec, logs).await?;
        let address = container.address(5432)?;
        let server =
            Self { container, address, socket_volume, templates: Mutex::default(), creating: Mutex::default() };
        server.ready().await?;
        server.administer(&format!("CREATE ROLE {ROLE} LOGIN")).await?;
        Ok(server)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(60);
        let begun = Instant::now();
        let mut ended = Box::pin(self.container.exited());
        loop {
            let answer = tokio::select! {
                status = &mut ended => {
                    bail!("PostgreSQL ended with status {} instead of starting:\n{}", status?, self.container.log.text())
                }
                answer = self.administer("SELECT 1") => answer,
            };
            match answer {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > limit => {
                    return Err(error.context(format!("PostgreSQL did not answer within {} s", limit.as_secs())));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn connect(&self, role: &str, database: &str) -> anyhow::Result<tokio_postgres::Client> {
        let (host, port) = self.address.split_once(':').context("an address has a port")?;
        let parameters = format!("host={host} port={port} user={role} dbname={database} connect_timeout=10");
        let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.map_err(|error| tell(&error))?;
        tokio::spawn(async move {
            // What goes wrong here is also told to the query that is under way.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Runs statements as the superuser.
    pub(crate) async fn administer(&self, text: &str) -> anyhow::Result<()> {
        let client = self.connect("postgres", "postgres").await?;
        client.batch_execute(text).await.map_err(|error| tell(&error))
    }

    /// A database of the homeservers' role: empty with these `CREATE DATABASE` options, or a copy of a template.
    pub(crate) async fn create(self: &Arc<Self>, name: &str, options: &str) -> anyhow::Result<Database> {
        let _turn = self.creating.lock().await;
        self.administer(&format!("CREATE DATABASE \"{name}\" OWNER {ROLE} {options}")).await?;
        Ok(Database { server: Arc::clone(self), name: name.to_owned(), session: Mutex::default() })
    }

    /// An empty database as upstream's documentation creates it, but for a locale that is not `C`.
    pub(crate) async fn create_empty(self: &Arc<Self>, name: &str, locale: Option<&str>) -> anyhow::Result<Database> {
        let locale = locale.unwrap_or("C");
        let options = format!("TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE '{locale}' LC_CTYPE '{locale}'");
        self.create(name, &options).await
    }

    /// A database with the content of a dump; the dump is read once per run.
    pub(crate) async fn create_from(
        self: &Arc<Self>,
        name: &str,
        dump: &Path,
        key: &str,
        locale: Option<&str>,
    ) -> anyhow::Result<Database> {
        let template = locale.map_or_else(|| key.to_owned(), |locale| format!("{key} {locale}"));
        let once = Arc::clone(self.templates.lock().await.entry(template.clone()).or_default());
        once.get_or_try_init(|| async {
            let content = std::fs::read(dump).with_context(|| format!("cannot read {}", dump.display()))?;
            let database = self.create_empty(&template, locale).await?;
            database.restore(&content).await
        })
        .await?;
        self.create(name, &format!("TEMPLATE \"{template}\"")).await
    }
}

impl Database {
    /// `database:` of `homeserver.yaml`.
    pub(crate) fn config(&self) -> Value {
        json!({
            "name": "psycopg2",
            "args": { "user": ROLE, "database": self.name, "host": SOCKET_DIRECTORY, "cp_min": 1, "cp_max": 5 },
        })
    }

    async fn session(&self) -> anyhow::Result<Arc<tokio_postgres::Client>> {
        let mut session = self.session.lock().await;
        match session.as_ref().filter(|client| !client.is_closed()) {
            Some(client) => Ok(Arc::clone(client)),
            None => Ok(Arc::clone(session.insert(Arc::new(self.server.connect(ROLE, &self.name).await?)))),
        }
    }

    pub(crate) async fn rows(&self, query: &str) -> anyhow::Result<Vec<Map<String, Value>>> {
        let client = self.session().await?;
        let query = format!("SELECT to_jsonb(result) AS row FROM ({}) AS result", query.trim().trim_end_matches(';'));
        let rows = client.query(&query, &[]).await.map_err(|error| anyhow!("SQL failed: {}\n{query}", tell(&error)))?;
        rows.iter()
            .map(|row| match row.try_get(0).map_err(|error| tell(&error))? {
                Value::Object(row) => Ok(row),
                other => bail!("a row is an object, not {other}"),
            })
            .collect()
    }

    /// Runs statements as `psql` would; the inner error is the database's own message.
    pub(crate) async fn run(&self, text: &str) -> anyhow::Result<Result<(), String>> {
        let client = self.server.connect(ROLE, &self.name).await?;
        match client.batch_execute(text).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => match error.as_db_error() {
                Some(error) => Ok(Err(error.message().to_owned())),
                None => Err(tell(&error)),
            },
        }
    }

    /// The database's content as SQL text.
    pub(crate) async fn dump(&self) -> anyhow::Result<String> {
        let command = ["pg_dump", "-h", "/var/run/postgresql", "-U", "postgres", "--no-privileges", &self.name];
        self.server.container.exec(&command).await?.ok().context("pg_dump failed")
    }

    /// Gives it another locale, as an operator does: dumped, made anew, read back.
    pub(crate) async fn relocate(&self, locale: Option<&str>) -> anyhow::Result<()> {
        let content = self.dump().await?;
        self.drop_now().await?;
        self.server.create_empty(&self.name, locale).await?.restore(content.as_bytes()).await
    }

    async fn restore(&self, content: &[u8]) -> anyhow::Result<()> {
        let file = format!("{}.sql", self.name);
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, &file, content)?;
        self.server.container.upload("/tmp", archive.into_inner()?).await?;
        let file = format!("/tmp/{file}");
        let command = [
            "psql",
            "-q",
            "-X",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "/var/run/postgresql",
            "-U",
            "postgres",
            "-d",
            &self.name,
            "-f",
            &file,
        ];
        self.server.container.exec(&command).await?.ok().context("psql could not read a fixture")?;
        Ok(())
    }

    pub(crate) async fn drop_now(&self) -> anyhow::Result<()> {
        self.session.lock().await.take();
        self.server.administer(&format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name)).await
    }
}

/// `tokio_postgres` keeps the server's message in its source.
fn tell(error: &tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(error) => anyhow!("PostgreSQL: {}", error.message()),
        None => anyhow!("PostgreSQL: {}", crate::container::chain(error)),
    }
}
