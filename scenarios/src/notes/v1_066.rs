//! Synapse 1.66.0.

use harness::prelude::*;

use crate::notes::{
    v1_000::by_smtp,
    v1_064::{verified_by, verifying_mails, without_newcomers},
};

notes!("1.66.0": email_delegation_removed);

/// This release, and those until 1.71.0, keep the rule for the user's own name to themselves (issue 14356).
const RULES: &str = "part: push rules";

/// An identity server no longer verifies email addresses in the homeserver's place: the setting that names one is refused, even if
/// it names nobody, and without an email section of its own the server does without verified addresses.
///
/// Upstream: PR 13413.
fn email_delegation_removed() -> Scenario {
    let disabled = |text: &str| refusal(400, "M_UNKNOWN", text);
    let no_adding = "Adding an email to your account is disabled on this server";
    let removed = "Error in configuration: Delegation of email verification to an identity server is no longer supported. To \
                   continue to allow users to add email addresses to their accounts, and use them for password resets, \
                   configure Synapse with an SMTP server via the `email` setting, and remove `account_threepid_delegates.email`.";
    let ask = |path: &str| {
        post(
            &format!("/_matrix/client/v3/{path}/email/requestToken"),
            json!({ "client_secret": "secret", "email": "alice@example.test", "send_attempt": 1 }),
        )
        .by("alice")
        .refusal()
    };
    Scenario::for_note("Delegation of email validation no longer supported")
        .hop("1.65.0", "1.66.0")
        .variant("nobody", |it| {
            it.config(json!({ "account_threepid_delegates": { "email": null } }))
                .fact("start", start())
                .changes(started(), refused(removed))
                .fact("a newcomer's mail", ask("register"))
                .always(disabled("Email-based registration has been disabled on this server"))
                .fact("a mail to reset a password", ask("account/password"))
                .always(disabled("Email-based password resets have been disabled on this server"))
                .fact("a mail to add an address", ask("account/3pid"))
                .until("1.130.0", disabled(no_adding))
                // Named in #17578.
                .since("1.130.0", refusal(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", no_adding))
                .step("the setting is removed", |it| {
                    it.unset("account_threepid_delegates").now("start", started()).health(RULES, anything())
                })
        })
        .variant("an identity server", |it| {
            it.companion("mail", companion::mail_sink())
                .companion("sydent", companion::identity_server())
                .config(json!({ "account_threepid_delegates": { "email": "http://sydent:8090" } }))
                .fact("start", start())
                .changes(started(), refused(removed))
                .fact("mails that verify an address", verifying_mails())
                .changes(verified_by("sydent"), verified_by("hs.test"))
                // Where nobody can register, no mail is sent for it: #19585.
                .since("1.151.0", without_newcomers(verified_by("hs.test")))
                .step("an email section beside it", |it| it.reconfigure(by_smtp()))
                .step("an email section without a sender", |it| {
                    it.unset("account_threepid_delegates")
                        .unset("email")
                        .reconfigure(json!({ "email": { "smtp_host": "mail" } }))
                        .now(
                            "start",
                            refused(
                                "Password reset emails are enabled on this homeserver due to a partial 'email' block. \
                                 However, the following required keys are missing: email.notif_from",
                            ),
                        )
                })
                .step("the homeserver sends mails itself", |it| {
                    it.reconfigure(by_smtp()).now("start", started()).health(RULES, anything())
                })
        })
        .variant("an identity server for telephone numbers", |it| {
            it.companion("texts", companion::recorder())
                .config(json!({ "account_threepid_delegates": { "msisdn": "http://texts:8080" } }))
                .fact("start", start())
                .always(started())
                .fact("a text message to add a number", |hs: Live| async move {
                    let texts = hs.recorder("texts");
                    texts.forget().await?;
                    let number = json!({
                        "client_secret": "secret", "country": "GB", "phone_number": "07700900123", "send_attempt": 1,
                    });
                    let path = "/_matrix/client/v3/account/3pid/msisdn/requestToken";
                    let answer = hs.user("alice").await?.post(path, &number).await?.refusal();
                    let requests = texts.requests().await?;
                    let asked: Vec<_> = requests.iter().map(|request| &request["path"]).collect();
                    Ok(json!({ "answer": answer, "the service is asked": asked }))
                })
                .always(json!({
                    "answer": status(200),
                    "the service is asked": ["/_matrix/identity/api/v1/validate/msisdn/requestToken"],
                }))
                .health(RULES, anything())
        })
}
