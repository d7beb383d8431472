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
            Ok(hs.anonymous().post("/_matrix/client/v3/register", &body).await?.brief())
        })
    };
    let unverified = "You have enabled open registration without any verification.";
    Scenario::for_note("Open registration without verification is now disabled by default")
        .hop("1.55.2", "1.56.0")
        .variant("open to anyone")
        .config(json!({ "enable_registration": true }))
        .fact("start", start())
        .until("1.56.0", started())
        .since("1.56.0", refused(unverified))
        .fact("a registration", register())
        .always(status(200))
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
        .now("a registration", json!({ "status": 401 }))
        .step("or for a captcha")
        .change(|deployment| {
            deployment.unset("registration_requires_token").config(json!({
                "enable_registration_captcha": true,
                "recaptcha_public_key": "public",
                "recaptcha_private_key": "private",
            }));
        })
        .now("start", started())
        .now("a registration", json!({ "status": 401 }))
        .variant("closed")
        .config(json!({ "enable_registration": false }))
        .fact("a registration", register())
        .always(error(403, "M_FORBIDDEN"))
}
