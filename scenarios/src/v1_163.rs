//! Synapse 1.163.0.

use harness::prelude::*;

notes!("1.163.0": limit_profile_requests);

/// Profiles can only be limited to users who share rooms where it is known who asks.
///
/// Upstream: PR 20231.
fn limit_profile_requests() -> Scenario {
    let profile = "/_matrix/client/v3/profile/{alice}";
    let limit = "limit_profile_requests_to_users_who_share_rooms";
    Scenario::for_note(
        "`limit_profile_requests_to_users_who_share_rooms` now requires `require_auth_for_profile_requests`",
    )
    .disagreement(
        "without `require_auth_for_profile_requests` no lookup was ever restricted",
        "in 1.162 a lookup with a token was restricted already",
    )
    .hop("1.162.0", "1.163.0")
    .config(json!({ limit: true }))
    .without_estate("its owners could not read profiles")
    .seed(|hs| async move {
        hs.user("alice").await?;
        Ok(())
    })
    .fact("start", start())
    .until("1.163.0", started())
    .since("1.163.0", refused("can only be enforced on authenticated requests"))
    .fact("asked by nobody", get(profile))
    .until("1.163.0", status(200))
    .since("1.163.0", error(401, "M_MISSING_TOKEN"))
    .fact("asked by a stranger", get(profile).by("bob"))
    .always(error(403, "M_FORBIDDEN"))
    .fact("asked by the user herself", get(profile).by("alice"))
    .always(status(200))
    .step("who asks must say who they are")
    .change(|deployment| {
        deployment.config(json!({ "require_auth_for_profile_requests": true }));
    })
    .now("start", started())
    .step("or nothing is limited")
    .change(move |deployment| {
        deployment.unset(limit).unset("require_auth_for_profile_requests");
    })
    .now("start", started())
    .now("asked by nobody", status(200))
    .now("asked by a stranger", status(200))
}
