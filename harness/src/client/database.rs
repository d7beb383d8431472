//! SQL on the homeserver's own database, whether the server runs or not.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value};

use crate::{daemon::Daemon, postgres};

/// Access to one deployment's database.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// A file on the data volume; reached through the Python of a homeserver image, whose SQLite is the one in use.
    Sqlite { daemon: Daemon, volume: String, image: String },
    /// A database on the run's server.
    Postgres(Arc<postgres::Database>),
}

/// One row: column to value.
pub(crate) type Row = Map<String, Value>;

/// Reads statements, runs them in one transaction as the `sqlite3` shell would run a script, and prints the rows of the
/// last one as JSON. With `rows`, the text is a single query. Releases up to 0.33.6 run on Python 2.
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
    pub(crate) async fn rows(&self, query: &str, running: Option<&str>) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Sqlite { .. } => {
                let text =
                    self.python("rows", query, running).await?.map_err(|error| anyhow!("SQL failed: {error}"))?;
                serde_json::from_str(&text).with_context(|| format!("unreadable rows: {text}"))
            }
            Self::Postgres(database) => database.rows(query).await,
        }
    }

    /// Runs statements; the inner error is the database's own message.
    pub(crate) async fn run(&self, text: &str, running: Option<&str>) -> anyhow::Result<Result<(), String>> {
        match self {
            Self::Sqlite { .. } => Ok(self.python("script", text, running).await?.map(|_| ())),
            Self::Postgres(database) => database.run(text).await,
        }
    }

    async fn python(&self, mode: &str, text: &str, running: Option<&str>) -> anyhow::Result<Result<String, String>> {
        let Self::Sqlite { daemon, volume, image } = self else { bail!("not SQLite") };
        let output = match running {
            Some(container) => daemon.exec(container, &["python", "-c", SQLITE, mode, text]).await?,
            None => daemon.run_once(image, Some(volume), &["-c", SQLITE, mode, text]).await?,
        };
        match output.status {
            0 => Ok(Ok(output.stdout)),
            3 => Ok(Err(output.stderr.trim().to_owned())),
            status => bail!("the SQL helper exited with status {status}: {}", output.stderr),
        }
    }
}
