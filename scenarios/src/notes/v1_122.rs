//! Synapse 1.122.0.

use harness::prelude::*;

use crate::kit::platform::{self, Old, Platform as _};

notes!("1.122.0": drop_postgresql_12);

/// PostgreSQL has to be 13 or newer. A real 11 is refused; 12 is faked, as none is at hand.
///
/// Upstream: PR 18034.
fn drop_postgresql_12() -> Scenario {
    // The end of what is said in a box on "Error during initialisation".
    let too_old =
        || refused("RuntimeError: Synapse requires PostgreSQL 13 or above. There may be more information in the logs.");
    Scenario::for_note("Dropping support for PostgreSQL 11 and 12")
        .only_on(Database::Postgres)
        .hop("1.121.1", "1.122.0")
        .variant("11", |it| {
            it.postgres(11)
                .fact("start", start())
                .changes(started(), too_old())
                .fact("server", platform::postgresql())
                .always(json!([{ "major": "11" }]))
        })
        .variant("12, faked", |it| {
            it.faked(Old::Postgres(120_022))
                .fact("start", start())
                .changes(started(), too_old())
                .step("13, faked", |it| it.faked(Old::Postgres(130_000)).now("start", started()))
        })
        .variant("13", |it| {
            it.postgres(13)
                .fact("start", start())
                .always(started())
                .fact("server", platform::postgresql())
                .always(json!([{ "major": "13" }]))
        })
}
