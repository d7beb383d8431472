//! Synapse 1.68.0.

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _, wheel};

notes!("1.68.0": sqlite_3_27, sqlite_does_not_matter_on_postgresql, rust_in_the_package);

const SQLITE: &str = "SQLite version requirement";

/// SQLite has to be 3.27 or newer. The library's version is faked.
fn sqlite_3_27() -> Scenario {
    Scenario::for_note(SQLITE)
        .only_on(Database::Sqlite)
        .hop("1.67.0", "1.68.0")
        .faked(Old::Sqlite(3, 26, 0))
        .fact("start, on the faked version", start())
        .changes(started(), refused("Error during initialisation: Synapse requires sqlite 3.27 or above."))
        .since("1.142.0", refused("Synapse requires sqlite 3.37.2 or above."))
        .fact("the image's own version is new enough", |hs: Live| async move {
            let program = "import sqlite3; print(tuple(map(int, sqlite3.sqlite_version.split('.'))) >= (3, 27))";
            Ok(json!(hs.python(program).await?.trim()))
        })
        .always("True")
        .step("SQLite 3.27, faked", |it| {
            it.faked(Old::Sqlite(3, 27, 0)).now("start, on the faked version", started()).now_since(
                "1.142.0",
                "start, on the faked version",
                refused("Synapse requires sqlite 3.37.2 or above."),
            )
        })
}

/// Where the data is on PostgreSQL, nobody asks for SQLite's version.
fn sqlite_does_not_matter_on_postgresql() -> Scenario {
    Scenario::for_note(SQLITE)
        .only_on(Database::Postgres)
        .invariant("the new requirement is not for those who use PostgreSQL")
        .hop("1.67.0", "1.68.0")
        .faked(Old::Sqlite(3, 26, 0))
        .fact("start, on the faked version", start())
        .always(started())
}

/// The package has a part that is written in Rust, so it is no longer the same for every platform.
///
/// That a build from source needs a compiler is not seen here.
fn rust_in_the_package() -> Scenario {
    let program = "import importlib.util as i, json; there = bool(i.find_spec('synapse.synapse_rust')); \
                   exec('import synapse.synapse_rust as rust' if there else ''); \
                   print(json.dumps(rust.sum_as_string(2, 40) if there else None))";
    Scenario::for_note("Rust requirement when building from source.")
        .inspection()
        .only_on(Database::Sqlite)
        .hop("1.67.0", "1.68.0")
        .fact("a sum from synapse.synapse_rust", move |hs: Live| async move {
            Ok(serde_json::from_str(&hs.python(program).await?)?)
        })
        .changes(json!(null), "42")
        .fact("the wheel", wheel())
        .changes(
            json!({ "Root-Is-Purelib": "true", "Tag": "py3-none-any" }),
            json!({ "Root-Is-Purelib": "false", "Tag": matches(r"^cp\d+-(cp\d+|abi3)-manylinux") }),
        )
}
