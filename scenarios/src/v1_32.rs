//! Synapse 1.32.0.

use harness::prelude::*;

notes!("1.32.0": list_accounts_v1);

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
