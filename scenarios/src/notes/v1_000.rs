//! Synapse 1.0.0.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use harness::prelude::*;

notes!("1.0.0": federation_tls_validation, password_reset_emails, new_email_templates);

/// Another server is no longer talked to when its certificate is not one that can be verified, unless the operator names it,
/// trusts who signed it, or turns the check off.
///
/// Upstream: PR 5359.
fn federation_tls_validation() -> Scenario {
    let mut remote = companion::recorder();
    remote.environment.insert("RECORDER_CERTIFICATE".to_owned(), "self-signed".to_owned());
    let mut impostor = remote.clone();
    impostor.environment.insert("RECORDER_NAMES".to_owned(), "elsewhere.test".to_owned());
    let fact = "a profile on a server whose certificate signs itself";
    let talked = || {
        json!({
            "answer": status(200),
            "displayname": "Xavier",
            "asked": ["/_matrix/federation/v1/query/profile"],
            "why TLS failed": [],
            "logged": false,
        })
    };
    let not_talked = json!({
        "answer": error(500, "M_UNKNOWN"),
        "displayname": null,
        "asked": [],
        "why TLS failed": ["TLSV1_ALERT_UNKNOWN_CA"],
        "logged": true,
    });
    let of_another = "a profile on a server whose certificate is of another name";
    let told = || {
        json!({
            "answer": status(200),
            "displayname": "Xavier",
            "asked": ["/_matrix/federation/v1/query/profile"],
        })
    };
    let untold = json!({ "answer": error(500, "M_UNKNOWN"), "displayname": null, "asked": [] });
    let keep = |host: &'static str, path: &'static str| {
        move |hs: Live| async move {
            let authority = hs.recorder(host).authority().await?;
            hs.python(&format!("open('{path}', 'a').write({})", json!(authority))).await?;
            Ok(())
        }
    };
    Scenario::for_note("Validation of TLS certificates")
        .hop("0.99.5.2", "1.0.0")
        .companion("remote", remote)
        .companion("impostor", impostor)
        .log_error("Failed handle request via 'ProfileDisplaynameRestServlet'")
        .fact(fact, remote_profile())
        .changes(talked(), not_talked)
        .fact(of_another, |hs: Live| async move { profile_on(&hs, "impostor").await })
        .changes(told(), untold)
        .step("no verification", |it| {
            it.reconfigure(json!({ "federation_verify_certificates": false }))
                .now(fact, talked())
                .now(of_another, told())
        })
        .step("this server excepted", |it| {
            it.unset("federation_verify_certificates")
                // Among others, and no regular expression.
                .reconfigure(json!({
                    "federation_certificate_verification_whitelist": ["before.test", "r*mote", "after.test"],
                }))
                .now(fact, talked())
        })
        // And that of the other, whose name is still not its own.
        .step("its authority trusted by the homeserver", |it| {
            it.unset("federation_certificate_verification_whitelist")
                .reconfigure(json!({ "federation_custom_ca_list": ["/data/remote.pem", "/data/impostor.pem"] }))
                .act(keep("remote", "/data/remote.pem"))
                .act(keep("impostor", "/data/impostor.pem"))
                .now(fact, talked())
        })
        .step("its authority trusted by the system", |it| {
            it.unset("federation_custom_ca_list")
                .environment("SSL_CERT_FILE", "/data/system.pem")
                .act(keep("remote", "/data/system.pem"))
                .act(keep("impostor", "/data/system.pem"))
                .now(fact, talked())
        })
}

/// Asks for the profile of another server's user; what the other server was asked.
async fn profile_on(hs: &Live, host: &str) -> Result<Value> {
    let (alice, remote) = (hs.user("alice").await?, hs.recorder(host));
    remote.forget().await?;
    remote
        .script(&json!([{ "path": "/_matrix/federation/v1/query/profile", "json": { "displayname": "Xavier" } }]))
        .await?;
    // A server that could not be talked to is left alone for some time.
    hs.execute("DELETE FROM destinations").await?;
    let answer = alice.get(&format!("/_matrix/client/r0/profile/@x:{host}:8443/displayname")).await?;
    let asked = remote.requests().await?.iter().map(|request| request["path"].clone()).collect::<Vec<_>>();
    Ok(json!({ "answer": answer.brief(), "displayname": answer.json()?["displayname"], "asked": asked }))
}

/// The same, and what the other server and the log saw of TLS.
fn remote_profile() -> Probe {
    Probe::from(|hs: Live| async move {
        let mut shown = profile_on(&hs, "remote").await?;
        let remote = hs.recorder("remote");
        let begun = Instant::now();
        let failures: BTreeSet<String> = loop {
            let seen = remote.connections().await?;
            let failed: Vec<String> = serde_json::from_value(seen["tls_failed"].clone())?;
            let (all, good) = (seen["https"].as_u64().unwrap_or(0), seen["tls_ok"].as_u64().unwrap_or(0));
            if all > 0 && all == good + failed.len() as u64 {
                break failed.into_iter().collect();
            }
            if begun.elapsed() > Duration::from_secs(60) {
                shown["connections"] = seen;
                return Ok(shown);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        shown["why TLS failed"] = json!(failures);
        let lines = hs.log_lines("certificate verify failed").await?;
        shown["logged"] = json!(lines.iter().any(|line| line.contains("[remote:8443]")));
        Ok(shown)
    })
}

/// Mails that reset a password are sent by the homeserver itself. An identity server is asked for them no longer, unless
/// a switch says so, and without an email section nobody's password can be reset by mail.
fn password_reset_emails() -> Scenario {
    let by_identity_server = || {
        json!({
            "answer": status(200),
            "says": null,
            "asked of the identity server": ["validate/email/requestToken", "3pid/getValidated3pid"],
            "mails of the homeserver": [],
            "login with the new password": status(200),
        })
    };
    let nothing = |errcode: &str, text: &str| {
        json!({
            "answer": error(400, errcode),
            "says": text,
            "asked of the identity server": [],
            "mails of the homeserver": [],
            "login with the new password": null,
        })
    };
    let disabled = || nothing("M_UNKNOWN", "Password resets have been disabled on this server");
    let nowhere = || nothing("M_MISSING_PARAM", "Missing params: ['id_server']");
    let incomplete = refused(
        "email.password_reset_behaviour is set to 'local' but required keys are missing: \
         email.smtp_host, email.smtp_port, email.notif_from",
    );
    let (named, unnamed) = ("a reset that names an identity server", "a reset that names none");
    let (prints, warning) =
        ("what is printed", contains("User password resets have been disabled due to lack of email config"));
    Scenario::for_note("Email")
        .hop("0.99.5.2", "1.0.0")
        .companion("identity", companion::recorder())
        .companion("mail", companion::mail_sink())
        .config(json!({
            "trusted_third_party_id_servers": ["identity:8443"],
            "use_insecure_ssl_client_just_for_testing_do_not_use": true,
        }))
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .variant("no email section", |it| {
            it.alone("others bring an email section")
                .fact(named, reset(true))
                .changes(by_identity_server(), disabled())
                .fact(unnamed, reset(false))
                .changes(nowhere(), disabled())
                .fact(prints, printed())
                .changes(not(warning.clone()), warning.clone())
                .step("an email section", |it| {
                    it.reconfigure(by_smtp())
                        .now(named, by_homeserver())
                        .now(unnamed, by_homeserver())
                        .now(prints, not(warning.clone()))
                })
                .step("the identity server is trusted", |it| {
                    it.reconfigure(json!({ "email": { "trust_identity_server_for_password_resets": true } }))
                        .now(named, by_identity_server())
                        .now(unnamed, nothing("M_UNKNOWN", "Missing 'id_server' param in body"))
                        .now(prints, not(warning))
                })
        })
        .variant("an email section", |it| {
            it.config(by_smtp())
                .fact(named, reset(true))
                .changes(by_identity_server(), by_homeserver())
                .fact(unnamed, reset(false))
                .changes(nowhere(), by_homeserver())
                .fact(
                    "a reset for an address that nobody has",
                    post(
                        "/_matrix/client/r0/account/password/email/requestToken",
                        json!({
                            "id_server": "identity:8443",
                            "client_secret": "secret",
                            "email": "nobody@example.test",
                            "send_attempt": 1,
                        }),
                    ),
                )
                .always(error(400, "M_THREEPID_NOT_FOUND"))
                .log_error("Error sending a password reset email to")
                .step("TLS is asked of the mail server, which has none", |it| {
                    it.reconfigure(json!({ "email": { "require_transport_security": true } }))
                        .now(named, unsent())
                        .now(unnamed, unsent())
                })
        })
        .variant("an email section without a mail server", |it| {
            it.alone("others name one")
                .config(json!({ "email": { "app_name": "app" } }))
                .fact("start", start())
                .changes(started(), incomplete)
                .step("the section filled in", |it| it.reconfigure(by_smtp()).now("start", started()))
        })
        .variant("an email section without a public address", |it| {
            it.alone("others have one")
                .config(json!({ "email": by_smtp()["email"] }))
                .fact("start", start())
                .changes(started(), refused("but no public_baseurl is set"))
        })
}

/// What [`reset`] shows where the homeserver sends the mail: nothing is reset before the link in it is opened.
pub(crate) fn by_homeserver() -> Value {
    json!({
        "answer": status(200),
        "says": null,
        "asked of the identity server": [],
        "mails of the homeserver": [{
            "before it is opened": error(401, "M_UNAUTHORIZED"),
            "link": "http://hs.test/_matrix/client/unstable/password_reset/email/submit_token",
            "status": 200,
            "page": contains("Your email has now been validated"),
        }],
        "login with the new password": status(200),
    })
}

/// What [`reset`] shows where the homeserver cannot send it.
fn unsent() -> Value {
    json!({
        "answer": error(500, "M_UNKNOWN"),
        "says": "An error was encountered when sending the password reset email",
        "asked of the identity server": [],
        "mails of the homeserver": [],
        "login with the new password": null,
    })
}

/// The homeserver sends mails itself.
pub(crate) fn by_smtp() -> Value {
    json!({
        "public_baseurl": "http://hs.test/",
        "email": { "smtp_host": "mail", "smtp_port": 25, "notif_from": "homeserver <noreply@hs.test>" },
    })
}

/// An operator's template directory needs four more files, for the mails that reset passwords and the pages behind them.
fn new_email_templates() -> Scenario {
    let shipped = Probe::from(|hs: Live| async move {
        let list = "import json, os, synapse; d = os.path.dirname(synapse.__file__) + '/res/templates'; \
                    print(json.dumps(sorted(n for n in os.listdir(d) if n.startswith('password_reset'))))";
        Ok(serde_json::from_str(&hs.python(list).await?)?)
    });
    let missing = |name: &str| refused(&format!("Unable to find template file /data/templates/{name}"));
    Scenario::for_note("New email templates")
        .hop("0.99.5.2", "1.0.0")
        .mail()
        .config(json!({
            "email": {
                "enable_notifs": true,
                "notif_template_html": "notif_mail.html",
                "notif_template_text": "notif_mail.txt",
                "template_dir": "/data/templates",
            },
        }))
        .file("templates/notif_mail.html", "{{ summary_text }}")
        .file("templates/notif_mail.txt", "{{ summary_text }}")
        .variant("mails by the homeserver", |it| {
            it.seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
                .fact("start", start())
                .changes(started(), missing("password_reset.html"))
                .fact(
                    "a reset",
                    mail_and_pages("/_matrix/client/r0/account/password/email/requestToken", |hs| hs.email("alice")),
                )
                .changes(
                    json!({ "answer": error(400, "M_MISSING_PARAM") }),
                    json!({
                        "answer": status(200),
                        "html": matches("^<b>OURS</b> http://hs.test/"),
                        "text": matches("^OURS http://hs.test/"),
                        "a wrong token": { "status": 400, "page": matches("^OURS failed: .+") },
                        "the link": { "status": 200, "page": "OURS done" },
                        "a link that leads on": { "status": 302, "location": "http://next.test/" },
                    }),
                )
                .step("a template of the HTML mail", |it| {
                    it.file("templates/password_reset.html", "<b>OURS</b> {{ link }}")
                        .now("start", missing("password_reset.txt"))
                })
                .step("a template of the plain mail", |it| {
                    it.file("templates/password_reset.txt", "OURS {{ link }}")
                        .now("start", missing("password_reset_failure.html"))
                })
                .step("a page of failure", |it| {
                    it.file("templates/password_reset_failure.html", "OURS failed: {{ failure_reason }}")
                        .now("start", missing("password_reset_success.html"))
                })
                .step("a page of success", |it| {
                    it.file("templates/password_reset_success.html", "OURS done").now("start", started())
                })
        })
        .variant("mails by a trusted identity server", |it| {
            it.alone("others trust none")
                .config(json!({ "email": { "trust_identity_server_for_password_resets": true } }))
                .fact("templates in the default directory", shipped)
                .changes(
                    json!([]),
                    json!([
                        "password_reset.html",
                        "password_reset.txt",
                        "password_reset_failure.html",
                        "password_reset_success.html",
                    ]),
                )
        })
}

/// Asks for a mail that proves who owns an address; what is in it and behind its link.
pub(crate) fn mail_and_pages(path: &'static str, address: fn(&Live) -> String) -> Probe {
    Probe::from(move |hs: Live| async move {
        let address = address(&hs);
        let seen = hs.mail("mail").to(&address).await?.len();
        let body = json!({ "client_secret": hs.unique("secret"), "email": address, "send_attempt": 1 });
        let answer = hs.anonymous().post(path, &body).await?;
        if answer.status() != 200 {
            return Ok(json!({ "answer": answer.brief() }));
        }
        let mail = hs.mail("mail").next_to(&address, seen).await?;
        let link = mail.link()?;
        let mut browser = hs.browser("main");
        let wrong = browser.open(&link.replace("token=", "token=wrong")).await?;
        let right = browser.open(&link).await?;
        let body = json!({
            "client_secret": hs.unique("secret"),
            "email": address,
            "send_attempt": 1,
            "next_link": "http://next.test/",
        });
        hs.anonymous().post(path, &body).await?.ok()?;
        let link = hs.mail("mail").next_to(&address, seen + 1).await?.link()?;
        let onward = hs.anonymous().get(link.trim_start_matches("http://hs.test")).await?;
        Ok(json!({
            "answer": answer.brief(),
            "html": mail.html,
            "text": mail.text,
            "a wrong token": { "status": wrong.status(), "page": wrong.text() },
            "the link": { "status": right.status(), "page": right.text() },
            "a link that leads on": { "status": onward.status(), "location": onward.header("location") },
        }))
    })
}

/// A password that is reset by mail, from the request to a login with the new one.
pub(crate) fn reset(names_identity_server: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (alice, address, secret) =
            (hs.user("alice").await?.id().to_owned(), hs.email("alice"), hs.unique("secret"));
        let (identity, mail) = (hs.recorder("identity"), hs.mail("mail"));
        let seen = mail.to(&address).await?.len();
        identity.forget().await?;
        identity
            .script(&json!([
                { "path": ".*/validate/email/requestToken", "json": { "sid": "sid" } },
                {
                    "path": ".*/3pid/getValidated3pid",
                    "json": { "medium": "email", "address": address, "validated_at": 1_500_000_000_000_u64 },
                },
            ]))
            .await?;
        let mut body = json!({ "client_secret": secret, "email": address, "send_attempt": 1 });
        if names_identity_server {
            body["id_server"] = json!("identity:8443");
        }
        let answer = hs.anonymous().post("/_matrix/client/r0/account/password/email/requestToken", &body).await?;
        let mut proof = json!({ "sid": answer.json()?["sid"], "client_secret": secret });
        if names_identity_server {
            proof["id_server"] = json!("identity:8443");
        }
        let auth = json!({ "type": "m.login.email.identity", "threepid_creds": proof });
        let change = json!({ "auth": auth, "new_password": hs.unique("new password") });
        let (mut mails, mut login) = (Vec::new(), Value::Null);
        // The answer comes after the mail.
        for mail in mail.to(&address).await?.iter().skip(seen) {
            let early = hs.anonymous().post("/_matrix/client/r0/account/password", &change).await?.brief();
            let link = mail.link()?;
            let there = hs.browser("main").open(&link).await?;
            mails.push(json!({
                "before it is opened": early,
                "link": link.split('?').next(),
                "status": there.status(),
                "page": there.text(),
            }));
        }
        if answer.status() == 200 {
            hs.anonymous().post("/_matrix/client/r0/account/password", &change).await?.ok()?;
            let new = json!({ "type": "m.login.password", "user": alice, "password": change["new_password"] });
            login = hs.anonymous().post("/_matrix/client/r0/login", &new).await?.brief();
        }
        let requests = identity.requests().await?;
        let asked = requests.iter().filter_map(|request| {
            request["path"].as_str().map(|path| path.trim_start_matches("/_matrix/identity/api/v1/"))
        });
        Ok(json!({
            "answer": answer.brief(),
            "says": answer.json()?["error"],
            "asked of the identity server": asked.collect::<Vec<_>>(),
            "mails of the homeserver": mails,
            "login with the new password": login,
        }))
    })
}
