//! Synapse 1.163.0.

use harness::prelude::*;

notes!("1.163.0": limit_profile_requests);

/// Profiles can only be limited to users who share rooms where it is known who asks.
///
/// Upstream: PR 20231; PR 20218 is what 1.162.0 changed.
fn limit_profile_requests() -> Scenario {
    let profile = || get("/_matrix/client/v3/profile/{alice}").body();
    let her_name = || get("/_matrix/client/v3/profile/{alice}/displayname").body();
    let her_picture = || get("/_matrix/client/v3/profile/{alice}/avatar_url").body();
    let limit = "limit_profile_requests_to_users_who_share_rooms";
    let picture = "mxc://hs.test/alice";
    let shown = || json!({ "status": 200, "body": { "displayname": "Alice", "avatar_url": picture } });
    let name_shown = || json!({ "status": 200, "body": { "displayname": "Alice" } });
    let picture_shown = || json!({ "status": 200, "body": { "avatar_url": picture } });
    let refused_to_start = "Error in configuration at 'limit_profile_requests_to_users_who_share_rooms': \
        'limit_profile_requests_to_users_who_share_rooms' can only be enforced on authenticated requests, so \
        'require_auth_for_profile_requests' must also be enabled.";
    let hidden = || json!({ "status": 403, "body": { "errcode": "M_FORBIDDEN", "error": "Profile isn't available" } });
    let who = || json!({ "status": 401, "body": { "errcode": "M_MISSING_TOKEN", "error": "Missing access token" } });
    Scenario::for_note(
        "`limit_profile_requests_to_users_who_share_rooms` now requires `require_auth_for_profile_requests`",
    )
    .disagreement(
        "without `require_auth_for_profile_requests` no lookup was ever restricted",
        "in 1.162 a lookup with a token was restricted already",
    )
    .hop("1.161.0", "1.162.0")
    .then("1.163.0")
    .config(json!({ limit: true }))
    .without_estate("its owners could not read profiles")
    .seed(move |hs| async move {
        let alice = hs.user("alice").await?;
        let hers = format!("/_matrix/client/v3/profile/{}", escape(alice.id()));
        alice.put(&format!("{hers}/displayname"), &json!({ "displayname": "Alice" })).await?.ok()?;
        alice.put(&format!("{hers}/avatar_url"), &json!({ "avatar_url": picture })).await?.ok()?;
        let room = alice.room("room", &json!({ "preset": "public_chat" })).await?;
        hs.user("carol").await?.join(&room).await
    })
    .fact("start", start())
    .changes(started(), refused(refused_to_start))
    .fact("asked by nobody", profile())
    .changes(shown(), who())
    .fact("asked by a stranger", profile().by("bob"))
    .until("1.162.0", shown())
    .since("1.162.0", hidden())
    .fact("asked by one who shares a room", profile().by("carol"))
    .always(shown())
    .fact("asked by the user herself", profile().by("alice"))
    .always(shown())
    .fact("asked by nobody, for her name alone", her_name())
    .changes(name_shown(), who())
    .fact("asked by a stranger, for her name alone", her_name().by("bob"))
    .until("1.162.0", name_shown())
    .since("1.162.0", hidden())
    .fact("asked by one who shares a room, for her name alone", her_name().by("carol"))
    .always(name_shown())
    .fact("asked by a stranger, for her picture alone", her_picture().by("bob"))
    .until("1.162.0", picture_shown())
    .since("1.162.0", hidden())
    .step("who asks need not say who they are", |it| {
        it.reconfigure(json!({ "require_auth_for_profile_requests": false }))
    })
    .step("who asks must say who they are", |it| {
        it.reconfigure(json!({ "require_auth_for_profile_requests": true })).now("start", started())
    })
    .step("or nothing is limited", |it| {
        it.unset(limit)
            .unset("require_auth_for_profile_requests")
            .now("start", started())
            .now("asked by nobody", shown())
            .now("asked by a stranger", shown())
            .now("asked by nobody, for her name alone", name_shown())
            .now("asked by a stranger, for her name alone", name_shown())
            .now("asked by a stranger, for her picture alone", picture_shown())
    })
}
