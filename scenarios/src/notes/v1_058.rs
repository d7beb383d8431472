//! Synapse 1.58.0.

use harness::prelude::*;

use crate::kit::groups;

notes!("1.58.0": groups_disabled);

/// Groups are served only where an experiment is switched on; they are all there then.
///
/// Upstream: PR 12344.
fn groups_disabled() -> Scenario {
    let (routes, asked, synced) = ("what the routes of groups answer", "Alice's groups", "Alice's groups, in a sync");
    let hers = || json!({ "groups": ["{group}"] });
    Scenario::for_note("Groups/communities feature has been disabled by default")
        .hop("1.57.0", "1.58.0")
        .config(json!({ "enable_group_creation": true }))
        .seed(groups::found)
        .fact(routes, groups::answers("main"))
        .changes(groups::served("main"), groups::gone("main"))
        .since("1.74.0", groups::forgotten("main"))
        .fact(asked, get("/_matrix/client/v3/joined_groups").by("alice").field(""))
        .changes(hers(), json!({ "errcode": "M_UNRECOGNIZED", "error": "Unrecognized request" }))
        .fact(synced, groups::synced())
        .changes(groups::joined(), Value::Null)
        .step("the experiment is switched on", |it| {
            it.reconfigure(json!({ "experimental_features": { "groups_enabled": true } }))
                .now(routes, groups::served("main"))
                .now(asked, hers())
                .now(synced, groups::joined())
                // Removed in #12553.
                .now_since("1.61.0", routes, groups::gone("main"))
                .now_since("1.74.0", routes, groups::forgotten("main"))
                .now_since("1.61.0", asked, json!({ "errcode": "M_UNRECOGNIZED", "error": "Unrecognized request" }))
                .now_since("1.61.0", synced, Value::Null)
        })
        .step("and off", |it| it.reconfigure(json!({ "experimental_features": { "groups_enabled": false } })))
}
