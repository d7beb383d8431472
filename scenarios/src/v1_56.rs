//! Synapse 1.56.0.

use harness::prelude::*;

notes!("1.56.0": open_registration);

/// A server that lets anyone register unseen does not start, unless its operator says that this is meant.
fn open_registration() -> Scenario {
    let register = || {
        Probe::from(|hs: Live| async move {
            let body = json!({
                "username": hs.unique("newcomer"), "password": "Pa55w0rd!", "auth": { "type": "m.login.dummy" },
            });
            let answer = hs.anonymous().post("/_matrix/client/v3/register", &body).await?;
            let stages = answer.json()?.pointer("/flows/0/stages").cloned();
            Ok(json!({ "answer": answer.brief(), "stages asked for": stages }))
        })
    };
    let open = || json!({ "answer": status(200), "stages asked for": null });
    let asks_for = |stages: &[&str]| json!({ "answer": status(401), "stages asked for": stages });
    let unverified = "You have enabled open registration without any verification.";
    Scenario::for_note("Open registration without verification is now disabled by default")
        .hop("1.55.2", "1.56.0")
        .variant("open to anyone")
        .mail()
        .config(json!({ "enable_registration": true }))
        .fact("start", start())
        .until("1.56.0", started())
        .since("1.56.0", refused(unverified))
        .fact("a registration", register())
        .always(open())
        .step("the operator insists")
        .change(|deployment| {
            deployment.config(json!({ "enable_registration_without_verification": true }));
        })
        .now("start", started())
        .step("or asks for a token")
        .change(|deployment| {
            deployment
                .unset("enable_registration_without_verification")
                .config(json!({ "registration_requires_token": true }));
        })
        .now("start", started())
        .now("a registration", asks_for(&["m.login.registration_token", "m.login.dummy"]))
        .step("or for a captcha")
        .change(|deployment| {
            deployment.unset("registration_requires_token").config(json!({
                "enable_registration_captcha": true,
                "recaptcha_public_key": "public",
                "recaptcha_private_key": "private",
            }));
        })
        .now("start", started())
        .now("a registration", asks_for(&["m.login.recaptcha", "m.login.dummy"]))
        .step("or for an address")
        .change(|deployment| {
            deployment.unset("enable_registration_captcha").config(json!({ "registrations_require_3pid": ["email"] }));
        })
        .now("start", started())
        .now("a registration", asks_for(&["m.login.email.identity"]))
        .variant("closed")
        .config(json!({ "enable_registration": false }))
        .fact("a registration", register())
        .always(json!({ "answer": error(403, "M_FORBIDDEN"), "stages asked for": null }))
}
