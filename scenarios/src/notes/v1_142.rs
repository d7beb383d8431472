//! Synapse 1.142.0.

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _, requires_python, wheel_tags};

notes!("1.142.0": python_310, sqlite_340);

/// Python has to be 3.10 or newer. The interpreter's version is faked; what the package says to pip is real.
fn python_310() -> Scenario {
    Scenario::for_note("Python 3.10+ is now required")
        .hop("1.141.0", "1.142.0")
        .faked(Old::Python(3, 9))
        .fact("start", start())
        .changes(started(), refused("Synapse requires Python 3.10 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .changes(matches("^>=3.9.0, ?<4.0.0$"), matches("^>=3.10.0, ?<4.0.0$"))
        .fact("Python that the installed package was made for", wheel_tags())
        .changes(json!([matches("^cp39-")]), json!([matches("^cp310-")]))
        .step("Python 3.10, faked", |it| it.faked(Old::Python(3, 10)).now("start", started()))
}

/// SQLite has to be 3.37.2 or newer. Its version is faked.
///
/// Upstream: PR 19047.
fn sqlite_340() -> Scenario {
    Scenario::for_note("SQLite 3.40.0+ is now required")
        .disagreement("SQLite 3.40.0 or newer is required", "3.37.2 is enough, and 3.39.4 as well")
        .only_on(Database::Sqlite)
        .hop("1.141.0", "1.142.0")
        .faked(Old::Sqlite(3, 27, 0))
        .fact("start", start())
        .changes(started(), refused("RuntimeError: Synapse requires sqlite 3.37.2 or above."))
        .step("SQLite 3.37.1, faked", |it| it.faked(Old::Sqlite(3, 37, 1)))
        .step("SQLite 3.37.2, faked", |it| it.faked(Old::Sqlite(3, 37, 2)).now("start", started()))
        .step("SQLite 3.39.4, faked", |it| it.faked(Old::Sqlite(3, 39, 4)).now("start", started()))
}
