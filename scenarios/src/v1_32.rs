//! Synapse 1.32.0.

use harness::prelude::*;

use crate::platform::{Old, Platform as _, becomes, requires_python};

notes!("1.32.0": old_platforms, list_accounts_v1);

/// Python has to be 3.6, PostgreSQL 9.6 and SQLite 3.22 or newer. The versions are faked: those refused are not to be had.
///
/// Upstream: PR 9766.
fn old_platforms() -> Scenario {
    let start_there = "start, on the faked version";
    let database_refused = || {
        per_database(
            refused("RuntimeError: Synapse requires sqlite 3.22 or above."),
            refused("RuntimeError: Synapse requires PostgreSQL 9.6 or above."),
        )
    };
    Scenario::for_note("Dropping support for old Python, Postgres and SQLite versions")
        .disagreement(
            "1.32.0 requires Python 3.6",
            "only pip says so; once installed, 1.32.0 runs under an interpreter that calls itself 3.5, and 1.33.0 does not",
        )
        .hop("1.31.0", "1.32.0")
        .variant("PostgreSQL 9.5 or SQLite 3.21, faked")
        .faked(Old::Postgres(90_525))
        .faked(Old::Sqlite(3, 21))
        .fact(start_there, start())
        .until("1.32.0", started())
        .since("1.32.0", database_refused())
        .step("PostgreSQL 9.6 or SQLite 3.22, faked")
        .change(becomes(Old::Postgres(90_600)))
        .change(becomes(Old::Sqlite(3, 22)))
        .now(start_there, started())
        .variant("Python 3.5, faked")
        .then("1.33.0")
        .faked(Old::Python(3, 5))
        .fact(start_there, start())
        .until("1.33.0", started())
        .since("1.33.0", refused("Synapse requires Python 3.6 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .until("1.32.0", "~=3.5")
        .since("1.32.0", "~=3.6")
        .step("Python 3.6, faked")
        .change(becomes(Old::Python(3, 6)))
        .now(start_there, started())
}

/// The first list of accounts, which showed password hashes, gives way to `v2`.
fn list_accounts_v1() -> Scenario {
    Scenario::for_note("Removal of old List Accounts Admin API")
        .hop("1.31.0", "1.32.0")
        .fact("v1 list", get("/_synapse/admin/v1/users/{admin}").by_admin())
        .until("1.32.0", status(200))
        .since("1.32.0", unrecognized())
        .fact("v2 list", get("/_synapse/admin/v2/users?user_id={admin}").by_admin().field("/users/0/name"))
        .always("@admin:hs.test")
        .fact("v2 account", get("/_synapse/admin/v2/users/{admin}").by_admin().field("/name"))
        .always("@admin:hs.test")
}
