//! Old platforms that cannot be had here: Python, PostgreSQL and SQLite that are long out of support.
//!
//! Their versions are *faked*: the homeserver runs on what the image brings and is told of an older one where it asks. So a
//! scenario shows that a release refuses a version, and not what else an old platform would do to it.

use harness::{Deployment, Live, Probe, Scenario};

/// What is faked to be old, and its version.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Old {
    /// The interpreter: major and minor version.
    Python(u8, u8),
    /// The database server: its version as libpq gives it, 90624 for 9.6.24.
    Postgres(u32),
    /// The library: major, minor and patch version.
    Sqlite(u8, u8, u8),
}

/// Tells a homeserver that it runs on something old.
pub(crate) trait Platform: Sized {
    /// Whatever there really is, the homeserver sees this version.
    #[must_use]
    fn faked(self, old: Old) -> Self;
}

impl Platform for Scenario {
    fn faked(self, old: Old) -> Self {
        let (name, version) = old.variable();
        self.file(FILE, SITECUSTOMIZE).environment("PYTHONPATH", "/data/faked").environment(name, &version)
    }
}

impl Old {
    fn variable(self) -> (&'static str, String) {
        match self {
            Self::Python(major, minor) => (PYTHON, format!("{major} {minor}")),
            Self::Postgres(number) => (POSTGRES, number.to_string()),
            Self::Sqlite(major, minor, patch) => (SQLITE, format!("{major} {minor} {patch}")),
        }
    }
}

/// An operator's step: the faked version is now this one.
pub(crate) fn becomes(old: Old) -> impl Fn(&mut Deployment) + Send + Sync + 'static {
    move |deployment| {
        let (name, version) = old.variable();
        deployment.environment.insert(name.to_owned(), version);
    }
}

const FILE: &str = "faked/sitecustomize.py";
const PYTHON: &str = "FAKED_PYTHON";
const POSTGRES: &str = "FAKED_POSTGRESQL";
const SQLITE: &str = "FAKED_SQLITE";

/// Python runs this before anything else, in each of the deployment's Python processes. Only Synapse is told that Python is
/// old: libraries would choose code for it that does not run on the real one.
const SITECUSTOMIZE: &str = r#"
import os, sys

numbers = lambda name: tuple(int(number) for number in os.environ.get(name, "").split())

if numbers("FAKED_PYTHON"):
    from collections import namedtuple

    class Told(namedtuple("Told", "major minor micro releaselevel serial")):
        def __lt__(self, other):
            asks = sys._getframe(1).f_globals.get("__name__", "").split(".")[0]
            return (numbers("FAKED_PYTHON") if asks == "synapse" else tuple(self)) < other

    sys.version_info = Told(*sys.version_info)

if numbers("FAKED_SQLITE"):
    import sqlite3

    sqlite3.sqlite_version_info = numbers("FAKED_SQLITE")

if numbers("FAKED_POSTGRESQL"):
    import psycopg2, psycopg2.extensions

    class Connection(psycopg2.extensions.connection):
        server_version = property(lambda self: numbers("FAKED_POSTGRESQL")[0])

    connect = psycopg2.connect
    psycopg2.connect = lambda *args, **kwargs: connect(*args, **dict({"connection_factory": Connection}, **kwargs))
"#;

/// What the installed package says to pip of the Python that it needs: real, nothing is faked here.
pub(crate) fn requires_python() -> Probe {
    let program =
        "import importlib.metadata as m, json; print(json.dumps(m.metadata('matrix-synapse')['Requires-Python']))";
    Probe::from(move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(program).await?)?) }).at_rest()
}

/// What the installed package says of the wheel that it came as: is it for one platform only, and for which.
pub(crate) fn wheel() -> Probe {
    let program = "import email, importlib.metadata as m, json; \
                   wheel = email.message_from_string(m.distribution('matrix-synapse').read_text('WHEEL')); \
                   print(json.dumps({key: wheel[key] for key in ('Root-Is-Purelib', 'Tag')}))";
    Probe::from(move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(program).await?)?) }).at_rest()
}

/// The platforms that the installed package was made for, as its wheel's tags: real as well.
pub(crate) fn wheel_tags() -> Probe {
    let program = "import importlib.metadata as m, json; lines = m.distribution('matrix-synapse').read_text('WHEEL')\n\
        print(json.dumps([line[5:] for line in lines.splitlines() if line.startswith('Tag: ')][:1]))";
    Probe::from(move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(program).await?)?) }).at_rest()
}

/// The major version of the PostgreSQL server that the database is on.
pub(crate) fn postgresql() -> Probe {
    harness::probe::sql("SELECT (current_setting('server_version_num')::int / 10000)::text AS major")
}
