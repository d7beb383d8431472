//! Synapse 1.146.0.

use harness::prelude::*;

notes!("1.146.0": msc2697_removed);

/// The older dehydrated devices are gone, and no longer stand in the way of the newer ones.
///
/// Upstream: PR 19346.
fn msc2697_removed() -> Scenario {
    let path = "/_matrix/client/unstable/org.matrix.msc2697.v2/dehydrated_device";
    let unrecognized = || refusal(404, "M_UNRECOGNIZED", "Unrecognized request");
    let data = || json!({ "algorithm": "org.matrix.msc2697.v1.dehydration.v1.olm", "account": "x" });
    let device = move || json!({ "device_data": data(), "initial_device_display_name": "dehydrated" });
    let newer = json!({ "experimental_features": { "msc3814_enabled": true } });
    let newer_path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
    Scenario::for_note("Removal of MSC2697 (Legacy) Dehydrated devices")
        .hop("1.145.0", "1.146.0")
        .variant("the older", |it| {
            it.fact("PUT", put(path, device()).by("alice").body())
                .changes(json!({ "status": 200, "body": { "device_id": anything() } }), no_such_path(404))
                .fact("PUT by nobody", put(path, device()).refusal())
                .changes(refusal(401, "M_MISSING_TOKEN", "Missing access token"), unrecognized())
                .fact("GET", move |hs: Live| async move {
                    let alice = hs.user("alice").await?;
                    let made = alice.put(path, &device()).await?;
                    let shown = alice.get(path).await?;
                    let same = made.status() == 200 && made.field("device_id")? == shown.field("device_id")?;
                    Ok(json!({ "answer": shown.refusal(), "data": shown.json()?["device_data"], "the one made": same }))
                })
                .changes(
                    json!({ "answer": status(200), "data": data(), "the one made": true }),
                    json!({ "answer": unrecognized(), "data": null, "the one made": false }),
                )
                .fact("POST claim", move |hs: Live| async move {
                    let carol = hs.user("carol").await?;
                    let made = carol.put(path, &device()).await?.json()?["device_id"].clone();
                    let claimed = carol.post(&format!("{path}/claim"), &json!({ "device_id": made })).await?;
                    let whoami = carol.get("/_matrix/client/v3/account/whoami").await?.ok()?;
                    let is_it = whoami.json()?["device_id"] == made;
                    Ok(json!({ "answer": claimed.whole(), "it is the caller's now": is_it }))
                })
                .changes(
                    json!({ "answer": { "status": 200, "body": { "success": true } }, "it is the caller's now": true }),
                    json!({
                        "answer": {
                            "status": 404,
                            "body": { "errcode": "M_UNRECOGNIZED", "error": "Unrecognized request" },
                        },
                        "it is the caller's now": false,
                    }),
                )
                .fact("GET claim", get(&format!("{path}/claim")).by("alice").refusal())
                .changes(refusal(405, "M_UNRECOGNIZED", "Unrecognized request"), unrecognized())
                .step("they are asked for", |it| {
                    it.reconfigure(json!({ "experimental_features": { "msc2697_enabled": true } }))
                })
        })
        .variant("the newer", |it| {
            it.config(newer)
                .fact("start", start())
                .changes(
                    refused(
                        "Error in configuration at 'experimental_features.msc3814_enabled': \
                         MSC2697 and MSC3814 should not both be enabled.",
                    ),
                    started(),
                )
                .fact("GET", get(newer_path).by("alice").refusal())
                .always(refusal(404, "M_NOT_FOUND", "No dehydrated device available"))
                .fact("GET of what was PUT", move |hs: Live| async move {
                    let carol = hs.user("carol").await?;
                    let keys = json!({ "user_id": carol.id(), "device_id": "DRY", "algorithms": [], "keys": {} });
                    let device = json!({
                        "device_id": "DRY",
                        "device_data": data(),
                        "device_keys": keys,
                        "initial_device_display_name": "dehydrated",
                    });
                    carol.put(newer_path, &device).await?.ok()?;
                    Ok(carol.get(newer_path).await?.whole())
                })
                .always(json!({ "status": 200, "body": { "device_id": "DRY", "device_data": data() } }))
                .fact("of the older, logged", log_lines("msc2697_enabled"))
                .always(json!([]))
                .fact("of the older, printed", printed())
                .always(not(contains("msc2697_enabled")))
                .step("the older is asked for as well", |it| {
                    it.reconfigure(json!({ "experimental_features": { "msc2697_enabled": true } }))
                })
        })
}
