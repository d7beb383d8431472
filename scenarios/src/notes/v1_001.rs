//! Synapse 1.1.0.

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _, requires_python};

notes!("1.1.0": minimum_python_version, minimum_postgresql_version);

/// Python has to be 3.5 or newer. The interpreter's version is faked: the image has a newer one.
///
/// Neither 1.0.0 nor 1.1.0 is run on a real Python 2.7: there are images with Python 2 of 0.33.5 and 0.33.6 only, as the
/// Debian suite that has 2.7 has no pip for it with which later releases could be installed; and no suite has a Python 3.4.
///
/// Upstream: PRs 5425, 5599.
fn minimum_python_version() -> Scenario {
    Scenario::for_note("Minimum Python Version")
        .hop("1.0.0", "1.1.0")
        .faked(Old::Python(3, 4))
        .fact("start, on the faked version", start())
        .changes(started(), refused("Synapse requires Python 3.5 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .changes(Value::Null, "~=3.5")
        .step("Python 3.5, faked", |it| it.faked(Old::Python(3, 5)).now("start, on the faked version", started()))
}

/// PostgreSQL has to be 9.5 or newer. The server's version is faked: old ones are not to be had.
///
/// Upstream: PR 5448.
fn minimum_postgresql_version() -> Scenario {
    Scenario::for_note("Minimum PostgreSQL Version")
        .only_on(Database::Postgres)
        .hop("1.0.0", "1.1.0")
        .titled("PostgreSQL 9.4, faked")
        .faked(Old::Postgres(90_426))
        .fact("start, on the faked version", start())
        .changes(started(), refused("RuntimeError: Synapse requires PostgreSQL 9.5+ or above."))
        .step("PostgreSQL 9.5, faked", |it| {
            it.faked(Old::Postgres(90_500)).now("start, on the faked version", started())
        })
}
