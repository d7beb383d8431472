//! Synapse 1.61.0.

use harness::prelude::*;

use crate::kit::{groups, workers::GENERIC};

notes!("1.61.0": groups_removed, groups_removed_from_workers);

/// Groups are gone, whatever the settings; what the database holds of them stays, until 1.64.0.
///
/// Upstream: PRs 12553, 12558, 12563, 12584, 12966.
fn groups_removed() -> Scenario {
    let rows = |table: &str| sql(format!("SELECT group_id FROM {table} WHERE group_id = '{{group}}'"));
    let kept = || json!([{ "group_id": "{group}" }]);
    Scenario::for_note("Removal of deprecated community/groups")
        .on_both()
        .hop("1.60.0", "1.61.0")
        .config(groups::enabled())
        .seed(groups::found)
        .fact("what the routes of groups answer", groups::answers("main"))
        .changes(groups::served("main"), groups::gone("main"))
        .since("1.74.0", groups::forgotten("main"))
        .fact("Alice's groups", get("/_matrix/client/v3/joined_groups").by("alice").field(""))
        .changes(
            json!({ "groups": ["{group}"] }),
            json!({ "errcode": "M_UNRECOGNIZED", "error": "Unrecognized request" }),
        )
        .fact("Alice's groups, in a sync", groups::synced())
        .changes(groups::joined(), Value::Null)
        // The tables are dropped in #12967.
        .fact("the group's row", rows("groups"))
        .until("1.64.0", kept())
        .fact("its member's", rows("group_users"))
        .until("1.64.0", kept())
        .fact("her membership's", rows("local_group_membership"))
        .until("1.64.0", kept())
}

/// Workers had endpoints of theirs, which are gone as well.
fn groups_removed_from_workers() -> Scenario {
    Scenario::for_note("Removal of deprecated community/groups")
        .only_on(Database::Postgres)
        .hop("1.60.0", "1.61.0")
        .config(groups::enabled())
        .worker("worker", GENERIC, ["client", "federation"], json!({}))
        .seed(groups::found)
        .fact("what the worker answers on the routes of groups", groups::answers("worker"))
        .changes(groups::served("worker"), groups::gone("worker"))
        .since("1.74.0", groups::forgotten("worker"))
}
