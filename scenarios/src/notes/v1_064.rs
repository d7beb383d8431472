//! Synapse 1.64.0.

use harness::{Client, prelude::*};

use crate::{
    kit::{sync, workers},
    notes::v1_000::by_smtp,
};

notes!("1.64.0": email_delegation_deprecated, event_replication_streams);

/// An identity server may still verify email addresses in the homeserver's place, with a warning.
///
/// Upstream: PR 13192.
fn email_delegation_deprecated() -> Scenario {
    let warning = "Delegation of email verification to an identity server is now deprecated. To continue to allow users to \
                   add email addresses to their accounts, and use them for password resets, configure Synapse with an SMTP \
                   server via the `email` setting, and remove `account_threepid_delegates.email`. This will be an error in a \
                   future version.";
    let removed = "Delegation of email verification to an identity server is no longer supported.";
    let (prints, mails) = ("what the server prints", "mails that verify an address");
    Scenario::for_note("Deprecation of the ability to delegate e-mail verification to identity servers")
        .hop("1.63.1", "1.64.0")
        .companion("mail", companion::mail_sink())
        .companion("sydent", companion::identity_server())
        .config(json!({ "account_threepid_delegates": { "email": "http://sydent:8090" } }))
        .fact(prints, printed())
        .changes("", contains(warning))
        .since("1.66.0", contains(removed))
        .fact(mails, verifying_mails())
        .until("1.66.0", verified_by("sydent"))
        .since("1.66.0", verified_by("hs.test"))
        .fact("start", start())
        .until("1.66.0", started())
        .since("1.66.0", refused(removed))
        .step("the homeserver sends mails itself, the identity server text messages", |it| {
            it.unset("account_threepid_delegates")
                .reconfigure(json!({ "account_threepid_delegates": { "msisdn": "http://sydent:8090" } }))
                .reconfigure(by_smtp())
                // Where nobody can register, no mail is sent for it since 1.151.0: #19585.
                .reconfigure(json!({ "enable_registration": true, "enable_registration_without_verification": true }))
                .now("start", started())
                .now(prints, "")
                .now(mails, verified_by("hs.test"))
        })
}

/// Whose links the mails hold that verify an address, by what that is asked for; and whether who follows one gets a new
/// password, or has the address.
pub(crate) fn verifying_mails() -> Probe {
    Probe::from(|hs: Live| async move {
        let mut shown = json!({});
        for purpose in ["register", "account/3pid", "account/password"] {
            let user = hs.user(&hs.unique("reader")).await?;
            let (address, secret) = (format!("{}@example.test", hs.unique("reader")), hs.unique("secret"));
            if purpose == "account/password" {
                user.add_email(&address).await?;
            }
            let asked = json!({ "client_secret": secret, "email": address, "send_attempt": 1 });
            let answer = user.post(&format!("/_matrix/client/v3/{purpose}/email/requestToken"), &asked).await?;
            let mut hosts = Vec::new();
            for mail in hs.mail("mail").to(&address).await? {
                let mut browser = hs.browser("main");
                let page = browser.open(&mail.link()?).await?;
                hosts.push(page.url.host_str().map(str::to_owned));
                let proof = json!({ "sid": answer.field("sid")?, "client_secret": secret });
                if purpose == "account/password" {
                    if page.has_form() {
                        browser.submit(&page, &[]).await?;
                    }
                    shown["login with the new password"] = reset(&hs, &user, &proof).await?;
                }
                if purpose == "account/3pid" {
                    hs.remember("address", &address);
                    shown["the address is added"] = added(&user, &proof).await?;
                }
            }
            shown[purpose] = json!({ "answer": answer.status(), "links to": hosts });
        }
        Ok(shown)
    })
}

/// What becomes of a login with a password that somebody sets who has proved that an address is theirs.
async fn reset(hs: &Live, user: &Client, proof: &Value) -> Result<Value> {
    let auth = json!({ "type": "m.login.email.identity", "threepid_creds": proof });
    let change = json!({ "auth": auth, "new_password": hs.unique("new password "), "logout_devices": false });
    hs.anonymous().post("/_matrix/client/v3/account/password", &change).await?;
    let login = by_password(user, &change["new_password"]);
    Ok(hs.anonymous().post("/_matrix/client/v3/login", &login).await?.brief())
}

/// What becomes of an address that somebody adds who has proved that it is theirs, and which ones they have then.
async fn added(user: &Client, proof: &Value) -> Result<Value> {
    let mut adding = proof.clone();
    adding["auth"] = by_password(user, &json!(user.password()));
    let answer = user.post("/_matrix/client/v3/account/3pid/add", &adding).await?;
    let own = user.get("/_matrix/client/v3/account/3pid").await?.ok()?.json()?;
    let own: Vec<_> = own["threepids"].as_array().into_iter().flatten().map(|it| &it["address"]).collect();
    Ok(json!({ "answer": answer.refusal(), "their addresses": own }))
}

fn by_password(user: &Client, password: &Value) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user.id() },
        "password": password,
    })
}

/// All is verified by links to this host.
pub(crate) fn verified_by(host: &str) -> Value {
    let mail = json!({ "answer": 200, "links to": [host] });
    json!({
        "register": mail,
        "account/3pid": mail,
        "the address is added": { "answer": status(200), "their addresses": ["{address}"] },
        "account/password": mail,
        "login with the new password": status(200),
    })
}

/// Likewise, where addresses of newcomers are not verified.
pub(crate) fn without_newcomers(mut mails: Value) -> Value {
    mails["register"] = json!({ "answer": 403, "links to": [] });
    mails
}

/// A worker of the older release learns of no event from a newer main process.
///
/// Upstream: PR 13218.
fn event_replication_streams() -> Scenario {
    let (message, log) = ("a message, to who waits at the worker", "type errors of the worker");
    let scenario = Scenario::for_note("Changes to the event replication streams");
    workers::one_stays_behind(scenario, "1.63.1", "1.64.0")
        .fact(message, sync::message_arrives_at("worker"))
        .changes(true, false)
        .fact(log, workers::type_errors("worker"))
        .changes(json!([]), json!([contains("takes 9 positional arguments but 10 were given")]))
        .step("the worker is upgraded, too", |it| it.now(message, true).now(log, json!([])))
}
