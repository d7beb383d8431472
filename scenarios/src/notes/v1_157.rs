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
    let keys = "what is said of its keys";
    let gone = || refusal(404, "M_UNRECOGNIZED", "Unrecognized request");
    let passwords = "Error in configuration at 'password_config.enabled': Password auth cannot be enabled when OAuth \
                     delegation is enabled";
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
                .fact("a user whom the service makes", mas::makes())
                .always(mas::made())
                .fact("where users and admins managed accounts", mas::account_paths())
                .always(mas::unmanaged())
                .fact("ways to log in", get("/_matrix/client/v3/login").refusal())
                .always(gone())
                .step("the stable way, and nothing said of passwords", |it| {
                    it.unset("experimental_features")
                        .unset("password_config")
                        .reconfigure(mas::by_section())
                        .now("start", started())
                        .now(keys, gone())
                })
                .step("passwords beside it", |it| {
                    it.reconfigure(json!({ "password_config": { "enabled": true } })).now("start", refused(passwords))
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
                .step("its key has no value", |it| {
                    it.reconfigure(json!({ "experimental_features": { "msc3861": null } })).now("start", started())
                })
        })
}
