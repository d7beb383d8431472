//! Synapse 1.143.0.

use harness::prelude::*;

use crate::kit::platform;

notes!("1.143.0": drop_postgresql_13);

/// PostgreSQL has to be 14 or newer. An older one is refused before the database is touched.
///
/// Upstream: PR 19170.
fn drop_postgresql_13() -> Scenario {
    Scenario::for_note("Dropping support for PostgreSQL 13")
        .only_on(Database::Postgres)
        .hop("1.142.1", "1.143.0")
        .variant("13", |it| {
            it.postgres(13)
                .fact("start", start())
                .changes(
                    started(),
                    // The end of what is said in a box on "Error during initialisation".
                    refused(
                        "RuntimeError: Synapse requires PostgreSQL 14 or above. There may be more information in the logs.",
                    ),
                )
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
