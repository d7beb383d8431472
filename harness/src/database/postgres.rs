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
    stage::companion::START_LIMIT,
    stage::config::SOCKET_DIRECTORY,
    stage::container::{Container, Spec},
    stage::daemon::Daemon,
};

/// The role that owns the homeservers' databases: no superuser, as in production.
const ROLE: &str = "synapse";

/// Where its sockets are in its own container.
const SOCKETS: &str = "/var/run/postgresql";

/// A PostgreSQL server of this run.
#[derive(Debug)]
pub(crate) struct Server {
    container: Container,
    address: String,
    /// Of the superuser and of the homeservers' role, made up for this run.
    password: String,
    /// As the server says it.
    pub(crate) version: String,
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
        let sockets = format!("unix_socket_directories={SOCKETS}");
        let settings = [
            // As Debian and the official images build it; who builds it otherwise has it elsewhere.
            sockets.as_str(),
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "max_connections=400",
            "wal_level=minimal",
            "max_wal_senders=0",
        ];
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let spec = Spec {
            image: image.to_owned(),
            role: format!("postgres-{major}"),
            host: format!("postgres-{major}"),
            name: name.clone(),
            network: Some(name),
            command: settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect(),
            // The second is for the commands that are run inside.
            environment: ["POSTGRES_PASSWORD", "PGPASSWORD"].map(|name| (name.to_owned(), password.clone())).into(),
            volumes: vec![(socket_volume.clone(), SOCKETS.to_owned())],
            ports: vec![5432],
            ..Spec::default()
        };
        let container = Container::start(daemon, spec, logs).await?;
        let address = container.address(5432)?;
        let mut server = Self {
            container,
            address,
            password,
            version: String::new(),
            socket_volume,
            templates: Mutex::default(),
            creating: Mutex::default(),
        };
        server.ready().await?;
        let client = server.connect("postgres", "postgres").await?;
        let row = client.query_one("SHOW server_version", &[]).await.map_err(|error| tell(&error))?;
        server.version = row.try_get(0).map_err(|error| tell(&error))?;
        server.administer(&format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{}'", server.password)).await?;
        server.ask_for_passwords().await?;
        Ok(server)
    }

    /// Images let everyone in who comes by the socket, and homeservers do.
    async fn ask_for_passwords(&self) -> anyhow::Result<()> {
        // Of this method each version takes passwords that any version has hashed.
        let rules = "local all all md5\nhost all all all md5";
        let write = format!("printf '{rules}\\n' > \"$PGDATA/pg_hba.conf\"");
        self.container.exec(&["sh", "-c", &write]).await?.ok().context("cannot write pg_hba.conf")?;
        self.administer("SELECT pg_reload_conf()").await
    }

    async fn ready(&self) -> anyhow::Result<()> {
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
                Err(error) if begun.elapsed() > START_LIMIT => {
                    return Err(error.context(format!("PostgreSQL did not answer within {} s", START_LIMIT.as_secs())));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn connect(&self, role: &str, database: &str) -> anyhow::Result<tokio_postgres::Client> {
        let (host, port) = self.address.split_once(':').context("an address has a port")?;
        let password = &self.password;
        let parameters =
            format!("host={host} port={port} user={role} password={password} dbname={database} connect_timeout=10");
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

    /// Drops a database, if there is one, whoever is connected: `WITH (FORCE)` came with PostgreSQL 13 only.
    async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        self.administer(&end).await?;
        self.administer(&format!("DROP DATABASE IF EXISTS \"{name}\"")).await
    }

    /// An empty database as upstream's documentation creates it, but for a locale that is not `C`.
    pub(crate) async fn create_empty(self: &Arc<Self>, name: &str, locale: Option<&str>) -> anyhow::Result<Database> {
        let locale = locale.unwrap_or("C");
        let (collation, character_type) = locale.split_once('/').unwrap_or((locale, locale));
        let options =
            format!("TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE '{collation}' LC_CTYPE '{character_type}'");
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
        let template = locale.map_or_else(|| key.to_owned(), |locale| format!("{key} {locale}").replace('/', " "));
        let once = Arc::clone(self.templates.lock().await.entry(template.clone()).or_default());
        once.get_or_try_init(|| async {
            let content = std::fs::read(dump).with_context(|| format!("cannot read {}", dump.display()))?;
            // What is left of one that could not be read is in nobody's way.
            self.drop_database(&template).await?;
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
            "args": {
                "user": ROLE,
                "password": self.server.password,
                "database": self.name,
                "host": SOCKET_DIRECTORY,
                "cp_min": 1,
                "cp_max": 5,
            },
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
        self.ask(query).await?.map_err(|error| anyhow!("SQL failed: {error}\n{query}"))
    }

    /// The rows of one query; the inner error is the database's own message.
    pub(crate) async fn ask(&self, query: &str) -> anyhow::Result<Result<Vec<Map<String, Value>>, String>> {
        let client = self.session().await?;
        let query = format!("SELECT to_jsonb(result) AS row FROM ({}) AS result", query.trim().trim_end_matches(';'));
        let rows = match client.query(&query, &[]).await {
            Ok(rows) => rows,
            Err(error) => return own_message(&error).map(Err),
        };
        rows.iter()
            .map(|row| match row.try_get(0).map_err(|error| tell(&error))? {
                Value::Object(row) => Ok(row),
                other => bail!("a row is an object, not {other}"),
            })
            .collect::<anyhow::Result<_>>()
            .map(Ok)
    }

    /// Runs statements as `psql` would; the inner error is the database's own message.
    pub(crate) async fn run(&self, text: &str) -> anyhow::Result<Result<(), String>> {
        let client = self.server.connect(ROLE, &self.name).await?;
        match client.batch_execute(text).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => own_message(&error).map(Err),
        }
    }

    /// The database's content as SQL text.
    pub(crate) async fn dump(&self) -> anyhow::Result<String> {
        let command = ["pg_dump", "-h", SOCKETS, "-U", "postgres", "--no-privileges", &self.name];
        self.server.container.exec(&command).await?.ok().context("pg_dump failed")
    }

    /// Moves it to another server, or gives it another locale, as an operator does: dumped, made anew, read back.
    pub(crate) async fn moved(&self, server: &Arc<Server>, locale: Option<&str>) -> anyhow::Result<Self> {
        let content = self.dump().await?;
        self.drop_now().await?;
        let database = server.create_empty(&self.name, locale).await?;
        database.restore(content.as_bytes()).await?;
        Ok(database)
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
            SOCKETS,
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
        self.server.drop_database(&self.name).await
    }
}

/// What the server said; an error where it said nothing.
fn own_message(error: &tokio_postgres::Error) -> anyhow::Result<String> {
    error.as_db_error().map(|error| error.message().to_owned()).ok_or_else(|| tell(error))
}

/// `tokio_postgres` keeps the server's message in its source.
fn tell(error: &tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(error) => anyhow!("PostgreSQL: {}", error.message()),
        None => anyhow!("PostgreSQL: {}", crate::stage::container::chain(error)),
    }
}
