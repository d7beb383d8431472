//! Synapse 1.157.0.

use harness::prelude::*;

use crate::kit::mas;

notes!("1.157.0": msc3861_removed);

/// The experimental way to have users sign in elsewhere is refused, even where it is switched off. By the stable one they stay
/// who they are.
///
/// The authentication service is a stand-in that speaks the real one's protocol.
///
/// Upstream: PR 19895.
fn msc3861_removed() -> Scenario {
    let removed = || {
        refused(
            "Error in configuration at 'experimental.msc3861': experimental_features.msc3861 was removed. Use the \
             matrix_authentication_service configuration instead.",
        )
    };
    let (keys, nothing) = ("what is said of its keys", refusal(404, "M_UNRECOGNIZED", "Unrecognized request"));
    Scenario::for_note("MSC3861 Auth Delegation must be migrated to stable Matrix Authentication Service integration")
        .hop("1.156.0", "1.157.0")
        .variant("it is used", |it| {
            mas::beside(it)
                .config(mas::by_msc3861())
                .seed(mas::carol_signs_in)
                .fact("start", start())
                .changes(started(), removed())
                .fact("whom Carol's token is for", mas::carol())
                .always(mas::is_carol())
                .fact(keys, get("/_synapse/jwks").refusal())
                .always(status(200))
                .step("the stable way", |it| {
                    it.unset("experimental_features")
                        .reconfigure(mas::by_section())
                        .now("start", started())
                        .now(keys, nothing)
                })
        })
        .variant("it is switched off", |it| {
            it.config(json!({ "experimental_features": { "msc3861": { "enabled": false } } }))
                .alone("others use it")
                .fact("start", start())
                .changes(started(), removed())
                .step("the section is emptied", |it| {
                    it.unset("experimental_features")
                        .reconfigure(json!({ "experimental_features": { "msc3861": {} } }))
                        .now("start", started())
                })
        })
}
