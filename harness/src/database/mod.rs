//! SQL on the homeserver's own database, whether the server runs or not.

pub(crate) mod postgres;

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value};

use crate::stage::{assistant::Assistant, daemon::Daemon};

/// Access to one deployment's database.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// A file on the data volume; reached through the Python of the homeserver, whose SQLite is the one in use.
    Sqlite { daemon: Daemon, volume: String, image: String },
    /// A database on the run's server.
    Postgres(Arc<postgres::Database>),
}

/// One row: column to value.
pub(crate) type Row = Map<String, Value>;

/// Like the assistant's functions of these names, where no homeserver runs whose assistant could be asked.
const SQLITE: &str = r#"
from __future__ import print_function
import binascii, json, sqlite3, sys
mode, text = sys.argv[1], sys.argv[2]
db = sqlite3.connect("/data/homeserver.db", timeout=30)
blob = bytes if sys.version_info[0] > 2 else buffer
plain = lambda value: binascii.hexlify(value).decode() if isinstance(value, blob) else value
try:
    if mode == "rows":
        cursor = db.execute(text)
        names = [column[0] for column in cursor.description or []]
        print(json.dumps([dict(zip(names, map(plain, row))) for row in cursor]))
    else:
        db.executescript(text)
        print("[]")
    db.commit()
except sqlite3.Error as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"#;

impl Store {
    /// The rows of one query.
    pub(crate) async fn rows(&self, query: &str, running: Option<&Assistant>) -> anyhow::Result<Vec<Row>> {
        self.ask(query, running).await?.map_err(|error| anyhow!("SQL failed: {error}\n{query}"))
    }

    /// The rows of one query; the inner error is the database's own message.
    pub(crate) async fn ask(
        &self,
        query: &str,
        running: Option<&Assistant>,
    ) -> anyhow::Result<Result<Vec<Row>, String>> {
        match (self, running) {
            (Self::Sqlite { .. }, Some(assistant)) => assistant.rows(query).await,
            (Self::Sqlite { .. }, None) => match self.at_rest("rows", query).await? {
                Ok(text) => serde_json::from_str(&text).with_context(|| format!("unreadable rows: {text}")).map(Ok),
                Err(error) => Ok(Err(error)),
            },
            (Self::Postgres(database), _) => database.ask(query).await,
        }
    }

    /// Runs statements in one transaction; the inner error is the database's own message.
    pub(crate) async fn run(&self, text: &str, running: Option<&Assistant>) -> anyhow::Result<Result<(), String>> {
        match (self, running) {
            (Self::Sqlite { .. }, Some(assistant)) => assistant.script(text).await,
            (Self::Sqlite { .. }, None) => Ok(self.at_rest("script", text).await?.map(drop)),
            (Self::Postgres(database), _) => database.run(text).await,
        }
    }

    /// How many bytes the database takes; what it has yet to write to its own file does not count.
    pub(crate) async fn size(&self, running: &Assistant) -> anyhow::Result<u64> {
        let query = match self {
            Self::Sqlite { .. } => {
                "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()"
            }
            Self::Postgres(_) => "SELECT pg_database_size(current_database()) AS bytes",
        };
        let rows = self.ask(query, Some(running)).await?.map_err(anyhow::Error::msg)?;
        Ok(rows.first().and_then(|row| row["bytes"].as_u64()).unwrap_or_default())
    }

    async fn at_rest(&self, mode: &str, text: &str) -> anyhow::Result<Result<String, String>> {
        let Self::Sqlite { daemon, volume, image } = self else { bail!("not SQLite") };
        let output = daemon.run_once(image, Some(volume), &["-c", SQLITE, mode, text]).await?;
        match output.status {
            0 => Ok(Ok(output.stdout)),
            3 => Ok(Err(output.stderr.trim().to_owned())),
            status => bail!("the SQL helper exited with status {status}: {}", output.stderr),
        }
    }
}
