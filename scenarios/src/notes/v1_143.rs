//! Synapse 1.143.0.

use harness::prelude::*;

use crate::kit::platform::{self, Old, Platform as _};

notes!("1.143.0": drop_postgresql_13);

/// PostgreSQL has to be 14 or newer. An older one is refused before the database is touched. Where exactly the line is, is
/// faked.
///
/// Upstream: PR 19170.
fn drop_postgresql_13() -> Scenario {
    // The end of what is said in a box on "Error during initialisation".
    let too_old =
        || refused("RuntimeError: Synapse requires PostgreSQL 14 or above. There may be more information in the logs.");
    Scenario::for_note("Dropping support for PostgreSQL 13")
        .only_on(Database::Postgres)
        .hop("1.142.1", "1.143.0")
        .variant("13", |it| {
            it.postgres(13)
                .fact("start", start())
                .changes(started(), too_old())
                .fact("server", platform::postgresql())
                .always(json!([{ "major": "13" }]))
                .fact("schema version", sql("SELECT version FROM schema_version"))
                .always(json!([{ "version": 92 }]))
        })
        .variant("14", |it| {
            it.postgres(14)
                .fact("start", start())
                .always(started())
                .fact("server", platform::postgresql())
                .always(json!([{ "major": "14" }]))
                .step("14.0, faked", |it| it.faked(Old::Postgres(140_000)))
                .step("the last before it, faked", |it| it.faked(Old::Postgres(139_999)).now("start", too_old()))
        })
        .variant("15", |it| {
            it.postgres(15)
                .fact("start", start())
                .always(started())
                .fact("server", platform::postgresql())
                .always(json!([{ "major": "15" }]))
                .fact("schema version", sql("SELECT version FROM schema_version"))
                .changes(json!([{ "version": 92 }]), json!([{ "version": 93 }]))
        })
}
