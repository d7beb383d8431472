//! Synapse 1.50.0.

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _, becomes, requires_python};

notes!("1.50.0": drop_python_36, drop_postgresql_96);

const HEADING: &str = "Dropping support for old Python and Postgres versions";
const NOT_YET: &str = "1.50 and 1.51 are content with the versions before; 1.52.0 is the first that refuses them";

/// Python has to be 3.7 or newer, but only since 1.52.0. The interpreter's version is faked.
///
/// Upstream: PR 11683.
fn drop_python_36() -> Scenario {
    Scenario::for_note(HEADING)
        .disagreement("1.50.0 requires Python 3.7", NOT_YET)
        .hop("1.49.2", "1.50.2")
        .then("1.51.0")
        .then("1.52.0")
        .faked(Old::Python(3, 6))
        .fact("start, on the faked version", start())
        .until("1.52.0", started())
        .since("1.52.0", refused("Synapse requires Python 3.7 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .until("1.52.0", "~=3.6")
        .since("1.52.0", "~=3.7")
        .begin_step("Python 3.7, faked")
        .change(becomes(Old::Python(3, 7)))
        .now("start, on the faked version", started())
}

/// PostgreSQL has to be 10 or newer, but only since 1.52.0. The server's version is faked.
///
/// Upstream: PR 11683.
fn drop_postgresql_96() -> Scenario {
    Scenario::for_note(HEADING)
        .disagreement("1.50.0 requires PostgreSQL 10", NOT_YET)
        .only_on(Database::Postgres)
        .hop("1.49.2", "1.50.2")
        .then("1.51.0")
        .then("1.52.0")
        .faked(Old::Postgres(90_624))
        .fact("start, on the faked version", start())
        .until("1.52.0", started())
        .since("1.52.0", refused("Synapse requires PostgreSQL 10 or above."))
        .begin_step("PostgreSQL 10, faked")
        .change(becomes(Old::Postgres(100_000)))
        .now("start, on the faked version", started())
}
