//! Synapse 1.4.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

use crate::{
    kit::tables::tables,
    notes::v1_000::{self, by_smtp, mail_and_pages},
};

notes!("1.4.0": new_custom_templates, threepid_verification, email, phone_numbers, rollback_to_1_3_1);

/// An operator's template directory needs eight more files, for the mails by which a newcomer proves an address and a user adds
/// one, and the pages behind them. They are looked for only where the homeserver sends such mails itself.
///
/// Upstream: PRs 5835, 6042.
fn new_custom_templates() -> Scenario {
    let mail = |of: &str| format!("<b>{of}</b> {{{{ link }}}}");
    let plain = |of: &str| format!("{of} {{{{ link }}}}");
    let failure = |of: &str| format!("{of} failed: {{{{ failure_reason }}}}");
    let page = |of: &str| format!("{of} done");
    let (reset, newcomer, added) = ("RESET", "NEWCOMER", "ADDED");
    let somebody = |hs: &Live| format!("{}@example.test", hs.unique("somebody"));
    let missing = |name: &str| refused(&format!("Unable to find template file /data/templates/{name}"));
    let theirs = || json!({ "answer": error(400, "M_MISSING_PARAM") });
    let ours = |of: &str| {
        json!({
            "answer": status(200),
            "html": matches(&format!("^<b>{of}</b> http://hs.test/")),
            "text": matches(&format!("^{of} http://hs.test/")),
            "a wrong token": { "status": 400, "page": matches(&format!("^{of} failed: .+")) },
            "the link": { "status": 200, "page": page(of) },
            "a link that leads on": { "status": 302, "location": contains("http://next.test/?sid=") },
        })
    };
    Scenario::for_note("New custom templates")
        .hop("1.3.1", "1.4.0")
        .mail()
        .config(json!({ "enable_registration": true, "email": { "template_dir": "/data/templates" } }))
        .file("templates/password_reset.html", mail(reset))
        .file("templates/password_reset.txt", plain(reset))
        .file("templates/password_reset_failure.html", failure(reset))
        .file("templates/password_reset_success.html", page(reset))
        .variant("verified by an identity server", |it| {
            it.alone("in others the homeserver does it")
                .config(json!({ "account_threepid_delegates": { "email": "http://identity.test" } }))
                .fact("start", start())
                .always(started())
        })
        .variant("verified by the homeserver", |it| {
            it.fact("start", start())
                .changes(started(), missing("registration.html"))
                .fact("a newcomer's mail and pages", mail_and_pages(REGISTER_EMAIL, somebody))
                .changes(theirs(), ours(newcomer))
                .fact("an added address's mail and pages", mail_and_pages(ADD_EMAIL, somebody))
                .changes(theirs(), ours(added))
                // In the order in which they are looked for.
                .step("with registration.html", |it| {
                    it.file("templates/registration.html", mail(newcomer)).now("start", missing("registration.txt"))
                })
                .step("with registration.txt", |it| {
                    it.file("templates/registration.txt", plain(newcomer)).now("start", missing("add_threepid.html"))
                })
                .step("with add_threepid.html", |it| {
                    it.file("templates/add_threepid.html", mail(added)).now("start", missing("add_threepid.txt"))
                })
                .step("with add_threepid.txt", |it| {
                    it.file("templates/add_threepid.txt", plain(added))
                        .now("start", missing("registration_failure.html"))
                })
                .step("with registration_failure.html", |it| {
                    it.file("templates/registration_failure.html", failure(newcomer))
                        .now("start", missing("add_threepid_failure.html"))
                })
                .step("with add_threepid_failure.html", |it| {
                    it.file("templates/add_threepid_failure.html", failure(added))
                        .now("start", missing("registration_success.html"))
                })
                .step("with registration_success.html", |it| {
                    it.file("templates/registration_success.html", page(newcomer))
                        .now("start", missing("add_threepid_success.html"))
                })
                .step("with add_threepid_success.html", |it| {
                    it.file("templates/add_threepid_success.html", page(added)).now("start", started())
                })
        })
}

const REGISTER_EMAIL: &str = "/_matrix/client/r0/register/email/requestToken";
const ADD_EMAIL: &str = "/_matrix/client/r0/account/3pid/email/requestToken";
const RESET_BY_EMAIL: &str = "/_matrix/client/r0/account/password/email/requestToken";
const REGISTER_PHONE: &str = "/_matrix/client/r0/register/msisdn/requestToken";
const ADD_PHONE: &str = "/_matrix/client/r0/account/3pid/msisdn/requestToken";
const RESET_BY_PHONE: &str = "/_matrix/client/r0/account/password/msisdn/requestToken";

/// Where an identity server, which a client names, once verified addresses, the homeserver now does so or nobody: email addresses
/// need an email section, phone numbers a delegate. Until then newcomers are not even offered to give one.
///
/// Upstream: PRs 5876, 6011, 6107.
fn threepid_verification() -> Scenario {
    let no_resets = "Email-based password resets have been disabled on this server";
    let (newcomer, added, reset) =
        ("a newcomer's email address", "an email address to be added", "a password to be reset");
    let (newcomer_by_phone, added_phone, reset_by_phone) =
        ("a newcomer's phone number", "a phone number to be added", "a password to be reset by phone");
    let (warned, by_nobody) = ("what is logged of it", "No upstream msisdn account_threepid_delegate configured");
    let (offered, all) = ("what a newcomer can be asked for", json!(["", "email", "msisdn", "msisdn email"]));
    let emails =
        |it: Scenario, value: Value| it.now(newcomer, value.clone()).now(added, value.clone()).now(reset, value);
    let phones = |it: Scenario| {
        it.now(newcomer_by_phone, by_delegate("msisdn"))
            .now(added_phone, by_delegate("msisdn"))
            .now(reset_by_phone, by_delegate("msisdn"))
            .now(warned, json!([]))
    };
    let gone = |answer: Value| json!({ "answer": answer, "says": "Unrecognized request", "asked": [], "mails": 0 });
    let resets_are_off = "User password resets have been disabled due to lack of email config";
    let off = |numbers: usize| {
        let mails = [
            "Email registration has been disabled due to lack of email config",
            "Adding emails have been disabled due to lack of an email config",
            resets_are_off,
        ];
        mails.into_iter().chain(std::iter::repeat_n(by_nobody, numbers)).map(contains).collect::<Value>()
    };
    base("3pid verification changes")
        .seed(|hs| async move {
            let number = "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) \
                          VALUES ('{alice}', 'msisdn', '447700900002', 1500000000000, 1500000000000)";
            hs.execute(&hs.fill(number)?).await
        })
        .fact(offered, flows())
        .changes(all.clone(), json!([""]))
        .fact(newcomer, token(REGISTER_EMAIL))
        .changes(by_named("email"), no("Email-based registration has been disabled on this server"))
        .fact(added, token(ADD_EMAIL))
        .changes(by_named("email"), no("Adding an email to your account is disabled on this server"))
        .fact(reset, token(RESET_BY_EMAIL))
        .always(no(no_resets))
        .fact(newcomer_by_phone, token(REGISTER_PHONE))
        .changes(by_named("msisdn"), no("Registration by phone number is not supported on this homeserver"))
        .fact(added_phone, token(ADD_PHONE))
        .changes(by_named("msisdn"), no("Adding phone numbers to user account is not supported by this homeserver"))
        .fact(reset_by_phone, token(RESET_BY_PHONE))
        .changes(by_named("msisdn"), no("Password reset by phone number is not supported on this homeserver"))
        // PR 6101.
        .since("1.5.0", gone(unrecognized()))
        .since("1.74.0", gone(not_found()))
        // By what is asked above.
        .fact(warned, warnings())
        .changes(json!([contains(resets_are_off)]), off(3))
        .since("1.5.0", off(2))
        .step("an email section", |it| {
            emails(it.reconfigure(by_smtp()), by_mail())
                .now(offered, json!(["", "email"]))
                .now(warned, json!([contains(by_nobody), contains(by_nobody), contains(by_nobody)]))
        })
        .step("a delegate for phone numbers besides", |it| {
            phones(emails(it.reconfigure(delegate("msisdn")), by_mail())).now(offered, all.clone())
        })
        .step("a delegate for email addresses instead of the email section", |it| {
            let it = it.unset("email").reconfigure(delegate("email"));
            phones(emails(it, by_delegate("email"))).now(offered, all.clone())
        })
}

/// A homeserver that trusts an identity server, the stand-in for it, and a mail sink.
fn base(heading: &str) -> Scenario {
    Scenario::for_note(heading)
        .hop("1.3.1", "1.4.0")
        .companion("identity", companion::recorder())
        .companion("mail", companion::mail_sink())
        .config(json!({
            "enable_registration": true,
            "trusted_third_party_id_servers": ["identity:8443"],
            "use_insecure_ssl_client_just_for_testing_do_not_use": true,
        }))
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
}

/// The stand-in listens on two ports: a client names the one with TLS, the delegate is the other.
fn delegate(medium: &str) -> Value {
    json!({ "public_baseurl": "http://hs.test/", "account_threepid_delegates": { medium: "http://identity:8080" } })
}

/// The identity server that the client names is asked.
fn by_named(medium: &str) -> Value {
    json!({ "answer": status(200), "says": null, "asked": [format!("https validate/{medium}/requestToken")], "mails": 0 })
}

/// The identity server that the operator names is asked.
fn by_delegate(medium: &str) -> Value {
    json!({ "answer": status(200), "says": null, "asked": [format!("http validate/{medium}/requestToken")], "mails": 0 })
}

/// The homeserver sends a mail itself.
fn by_mail() -> Value {
    json!({ "answer": status(200), "says": null, "asked": [], "mails": 1 })
}

/// The homeserver refuses.
fn no(says: &str) -> Value {
    json!({ "answer": error(400, "M_UNKNOWN"), "says": contains(says), "asked": [], "mails": 0 })
}

/// Sets of addresses of which a newcomer can be asked for one.
fn flows() -> Probe {
    Probe::from(|hs: Live| async move {
        let answer = hs.anonymous().post("/_matrix/client/r0/register", &json!({})).await?.json()?;
        let flows = answer["flows"].as_array().cloned().unwrap_or_default();
        let mut addresses: Vec<String> = flows
            .iter()
            .map(|flow| {
                let stages = flow["stages"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let asked = stages.filter_map(|stage| match stage {
                    "m.login.email.identity" => Some("email"),
                    "m.login.msisdn" => Some("msisdn"),
                    _ => None,
                });
                asked.collect::<Vec<_>>().join(" ")
            })
            .collect();
        addresses.sort();
        addresses.dedup();
        Ok(json!(addresses))
    })
}

/// A client asks for a token, and names an identity server. What it is told, what was asked of which identity server, and how
/// many mails the homeserver sent.
fn token(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let secret = hs.unique("secret");
        let rules = json!([{ "path": ".*/requestToken", "json": { "sid": "sid" } }]);
        hs.recorder("identity").script(&rules).await?;
        let address = if path == RESET_BY_EMAIL { hs.email("alice") } else { format!("{secret}@example.test") };
        let before = hs.mail("mail").to(&address).await?.len();
        let mut body = json!({ "client_secret": secret, "send_attempt": 1, "id_server": "identity:8443" });
        if path.contains("msisdn") {
            body["country"] = json!("GB");
            body["phone_number"] = json!(if path == RESET_BY_PHONE { ALICES_NUMBER } else { NUMBER });
        } else {
            body["email"] = json!(address);
        }
        let answer = hs.anonymous().post(path, &body).await?;
        Ok(json!({
            "answer": answer.brief(),
            "says": answer.json()?["error"],
            "asked": asked(&hs, &secret).await?,
            // The answer comes after the mail.
            "mails": hs.mail("mail").to(&address).await?.len() - before,
        }))
    })
}

/// Warnings that addresses of a kind are not verified.
fn warnings() -> Probe {
    Probe::from(|hs: Live| async move {
        let lines = hs.log_lines(" - WARNING - ").await?;
        let off = |line: &&String| {
            ["have been disabled due to", "has been disabled due to", "No upstream msisdn"]
                .iter()
                .any(|text| line.contains(text))
        };
        Ok(json!(lines.iter().filter(off).collect::<Vec<_>>()))
    })
}

/// Nobody's: reserved for use in drama.
const NUMBER: &str = "07700900001";
const ALICES_NUMBER: &str = "07700900002";

/// What the stand-in was asked with this secret: over TLS by way of the client's word, without by way of the operator's.
async fn asked(hs: &Live, secret: &str) -> Result<Vec<String>> {
    let requests = hs.recorder("identity").requests().await?;
    let mine = requests.iter().filter(|request| request.to_string().contains(&format!("\"{secret}\"")));
    Ok(mine
        .map(|request| {
            let path = request["path"].as_str().unwrap_or_default().trim_start_matches("/_matrix/identity/api/v1/");
            format!("{} {path}", if request["tls"].is_null() { "http" } else { "https" })
        })
        .collect())
}

/// Who sends the mails: the homeserver when it has an email section, or an identity server, a real one here. The switch for
/// password resets that came before is not heeded as the notes say.
///
/// Upstream: PRs 5835, 5876, 6042.
fn email() -> Scenario {
    let (newcomer, reset) = ("a newcomer with an email address", "a password to be reset");
    let added = "an email address, from the request to the account";
    let by_named_server = || {
        json!({
            "token": status(200),
            "asked": ["https validate/email/requestToken", "https 3pid/getValidated3pid"],
            "link": null,
            "before it is opened": null,
            "account": status(200),
            "addresses": ["email"],
        })
    };
    let by_link = |host: &str, page: &str| {
        json!({
            "token": status(200),
            "asked": [],
            "link": { "host": host, "status": 200, "page": contains(page) },
            "before it is opened": error(401, "M_UNAUTHORIZED"),
            "account": status(200),
            "addresses": ["email"],
        })
    };
    let added_by_named_server = || {
        json!({
            "token": status(200),
            "asked": ["https validate/email/requestToken", "https 3pid/getValidated3pid"],
            "before the link is opened": null,
            "added": status(200),
            "addresses": ["email"],
        })
    };
    let added_by_link = || {
        json!({
            "token": status(200),
            "asked": [],
            "before the link is opened": error(400, "M_THREEPID_AUTH_FAILED"),
            "added": status(200),
            "addresses": ["email"],
        })
    };
    let switch = "trust_identity_server_for_password_resets";
    let nobody = "Attempted to use an identity server from\"trusted_third_party_id_servers\" but it is empty.";
    let incomplete = "email.smtp_host, email.smtp_port, email.notif_from, public_baseurl";
    let disabled = "Email-based password resets have been disabled on this server";
    let untrusted = || json!({ "trusted_third_party_id_servers": [] });
    base("Email")
        .disagreement(
            "with `email.trust_identity_server_for_password_resets` the first trusted identity server becomes the delegate",
            "the switch is looked for at the top level of the file, so the documented one is ignored; and where it is found \
             nothing is delegated either, and without an email section all verification of email addresses is off",
        )
        .disagreement(
            "with `email.trust_identity_server_for_password_resets` and no trusted identity server it refuses to start",
            "it starts; only the switch at the top level of the file does that",
        )
        .companion("sydent", companion::identity_server())
        .variant("the homeserver sends mails", |it| {
            it.alone("in others somebody else does")
                .config(by_smtp())
                .fact(newcomer, registration())
                .changes(by_named_server(), by_link("hs.test", "validated"))
                .fact(added, addition())
                .changes(added_by_named_server(), added_by_link())
                .fact(reset, v1_000::reset(true))
                .always(v1_000::by_homeserver())
        })
        .variant("an identity server sends mails", |it| {
            it.alone("in others somebody else does")
                .config(json!({ "account_threepid_delegates": { "email": "http://sydent:8090" } }))
                .fact(newcomer, registration())
                .changes(by_named_server(), by_link("sydent", "Verification successful!"))
                .fact(added, addition())
                .changes(added_by_named_server(), added_by_link())
                .step("an email section besides", |it| it.reconfigure(by_smtp()))
        })
        .variant("trust for password resets, with an email section", |it| {
            it.alone("others trust nobody")
                .config(by_smtp())
                .config(json!({ "email": { switch: true } }))
                .fact(reset, token(RESET_BY_EMAIL))
                .changes(by_named("email"), by_mail())
                .step("no identity server is trusted", |it| it.reconfigure(untrusted()))
        })
        .variant("trust for password resets, and nothing else about mails", |it| {
            it.alone("others trust nobody")
                .config(json!({ "email": { switch: true } }))
                .fact("start", start())
                .changes(started(), refused(incomplete))
                .fact(reset, token(RESET_BY_EMAIL))
                .changes(by_named("email"), no(disabled))
                .step("at the top level of the file", |it| {
                    it.unset("email").reconfigure(json!({ switch: true })).now("start", started())
                })
                .step("no identity server is trusted", |it| it.reconfigure(untrusted()).now("start", refused(nobody)))
                .step("an email section, filled in", |it| {
                    it.unset(switch).reconfigure(by_smtp()).now("start", started()).now(reset, by_mail())
                })
        })
}

/// A newcomer registers with an email address, from the request for a token to the account with the address.
fn registration() -> Probe {
    Probe::from(|hs: Live| async move {
        let (secret, name) = (hs.unique("secret"), hs.unique("newcomer"));
        let address = format!("{secret}@example.test");
        let (token, proof) = ask_for_token(&hs, &hs.anonymous(), REGISTER_EMAIL, &secret, &address).await?;
        let mut account = json!({ "username": name, "password": "Pa55w0rd!" });
        let session = hs.anonymous().post("/_matrix/client/r0/register", &account).await?.field("session")?;
        account["auth"] = json!({ "type": "m.login.email.identity", "session": session, "threepid_creds": proof });
        // The answer comes after the mail.
        let (mut early, mut link) = (Value::Null, Value::Null);
        if let Some(mail) = hs.mail("mail").to(&address).await?.first() {
            early = hs.anonymous().post("/_matrix/client/r0/register", &account).await?.brief();
            let there = hs.browser("main").open(&mail.link()?).await?;
            link = json!({ "host": there.url.host_str(), "status": there.status(), "page": there.text() });
        }
        let account = hs.anonymous().post("/_matrix/client/r0/register", &account).await?;
        let mut addresses = Value::Null;
        if account.status() == 200 {
            let newcomer = hs.anonymous().with_token(&account.field("access_token")?);
            addresses = media(&newcomer, &address).await?;
        }
        Ok(json!({
            "token": token.brief(),
            "asked": asked(&hs, &secret).await?,
            "link": link,
            "before it is opened": early,
            "account": account.brief(),
            "addresses": addresses,
        }))
    })
}

/// Somebody with an account adds an email address to it.
fn addition() -> Probe {
    Probe::from(|hs: Live| async move {
        let secret = hs.unique("secret");
        let address = format!("{secret}@example.test");
        let user = hs.user(&hs.unique("owner")).await?;
        let (token, proof) = ask_for_token(&hs, &user, ADD_EMAIL, &secret, &address).await?;
        let body = json!({ "three_pid_creds": proof });
        // The answer comes after the mail.
        let mut early = Value::Null;
        if let Some(mail) = hs.mail("mail").to(&address).await?.first() {
            early = user.post("/_matrix/client/r0/account/3pid", &body).await?.brief();
            hs.browser("main").open(&mail.link()?).await?;
        }
        let added = user.post("/_matrix/client/r0/account/3pid", &body).await?.brief();
        Ok(json!({
            "token": token.brief(),
            "asked": asked(&hs, &secret).await?,
            "before the link is opened": early,
            "added": added,
            "addresses": media(&user, &address).await?,
        }))
    })
}

/// Asks for a token that verifies an address, and names an identity server, which says of each that it is verified. The answer,
/// and what proves that the address is one's own.
async fn ask_for_token(
    hs: &Live,
    who: &harness::Client,
    path: &str,
    secret: &str,
    address: &str,
) -> Result<(harness::Answer, Value)> {
    let validated = json!({ "medium": "email", "address": address, "validated_at": 1_500_000_000_000_u64 });
    let rules = json!([
        { "path": ".*/requestToken", "json": { "sid": "1234567" } },
        { "path": ".*/getValidated3pid", "json": validated },
    ]);
    hs.recorder("identity").script(&rules).await?;
    let mut proof = json!({ "client_secret": secret, "id_server": "identity:8443" });
    let mut body = proof.clone();
    body["email"] = json!(address);
    body["send_attempt"] = json!(1);
    let token = who.post(path, &body).await?;
    proof["sid"] = token.json()?["sid"].clone();
    Ok((token, proof))
}

/// Under which media an account has this address.
async fn media(user: &harness::Client, address: &str) -> Result<Value> {
    let answer = user.get("/_matrix/client/r0/account/3pid").await?.ok()?.json()?;
    let all = answer["threepids"].as_array().cloned().unwrap_or_default();
    Ok(all
        .iter()
        .filter(|threepid| threepid["address"] == address)
        .map(|threepid| threepid["medium"].clone())
        .collect())
}

/// Phone numbers are verified by an identity server that the operator names, no longer by one that the client names. The
/// homeserver passes on the code that the user was sent.
///
/// Upstream: PRs 5876, 6078, 6079.
fn phone_numbers() -> Scenario {
    let (offered, fact) = ("what a newcomer can be asked for", "a phone number, from the request to the account");
    base("Phone numbers")
        .fact(offered, flows())
        .changes(json!(["", "email", "msisdn", "msisdn email"]), json!([""]))
        .fact(fact, phone())
        .changes(
            json!({
                "token": status(200),
                "where to send the code": null,
                "code": null,
                "added": status(200),
                "asked": ["https validate/msisdn/requestToken", "https 3pid/getValidated3pid"],
                "addresses": ["msisdn"],
            }),
            json!({
                "token": error(400, "M_UNKNOWN"),
                "where to send the code": null,
                "code": null,
                "added": null,
                "asked": [],
                "addresses": [],
            }),
        )
        // PR 17578.
        .since(
            "1.130.0",
            json!({
                "token": error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
                "where to send the code": null,
                "code": null,
                "added": null,
                "asked": [],
                "addresses": [],
            }),
        )
        .step("the operator names an identity server", |it| {
            it.reconfigure(delegate("msisdn")).now(offered, json!(["", "msisdn"])).now(
                fact,
                json!({
                    "token": status(200),
                    "where to send the code": "http://hs.test/_matrix/client/unstable/add_threepid/msisdn/submit_token",
                    "code": { "status": 200, "body": { "success": true } },
                    "added": status(200),
                    "asked": [
                        "http validate/msisdn/requestToken",
                        "http validate/msisdn/submitToken",
                        "http 3pid/getValidated3pid",
                    ],
                    "addresses": ["msisdn"],
                }),
            )
        })
}

/// Somebody new adds a phone number to the account.
fn phone() -> Probe {
    Probe::from(|hs: Live| async move {
        let secret = hs.unique("secret");
        // A number that no leg before has taken.
        let digits: String = hs.unique("").chars().filter(char::is_ascii_digit).collect();
        let number = format!("447700{digits:0>6}");
        let validated = json!({ "medium": "msisdn", "address": number, "validated_at": 1_500_000_000_000_u64 });
        let rules = json!([
            { "path": ".*/requestToken", "json": { "sid": "1234567" } },
            { "path": ".*/submitToken", "json": { "success": true } },
            { "path": ".*/getValidated3pid", "json": validated },
        ]);
        hs.recorder("identity").script(&rules).await?;
        let user = hs.user(&hs.unique("caller")).await?;
        let mut proof = json!({ "client_secret": secret, "id_server": "identity:8443" });
        let mut body = proof.clone();
        body["country"] = json!("GB");
        body["phone_number"] = json!(format!("+{number}"));
        body["send_attempt"] = json!(1);
        // Whoever names an identity server has to bring this since 1.68.0. PR 13687.
        body["id_access_token"] = json!("token");
        let token = user.post(ADD_PHONE, &body).await?;
        let place = token.json()?["submit_url"].clone();
        let (mut code, mut added) = (Value::Null, Value::Null);
        if let Some(place) = place.as_str() {
            let body = json!({ "client_secret": secret, "sid": "1234567", "token": "98765" });
            code = hs.anonymous().post(place.trim_start_matches("http://hs.test"), &body).await?.whole();
        }
        if token.status() == 200 {
            proof["sid"] = token.json()?["sid"].clone();
            let body = json!({ "three_pid_creds": proof });
            added = user.post("/_matrix/client/r0/account/3pid", &body).await?.brief();
        }
        Ok(json!({
            "token": token.brief(),
            "where to send the code": place,
            "code": code,
            "added": added,
            "asked": asked(&hs, &secret).await?,
            "addresses": media(&user, &number).await?,
        }))
    })
}

/// The way back to 1.3.1 is open, but for statistics: their tables are gone, and each event brings an error into the log until
/// they are switched off.
///
/// Upstream: PR 5971.
fn rollback_to_1_3_1() -> Scenario {
    let names = [
        "room_state",
        "room_stats",
        "room_stats_current",
        "room_stats_historical",
        "room_stats_state",
        "stats_incremental_position",
        "stats_stream_pos",
        "user_stats",
        "user_stats_current",
        "user_stats_historical",
    ];
    let list = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Value>();
    let (present, counted, errors) =
        ("tables of statistics", "statistics of a new room", "errors about statistics in the log");
    let old = list(&["room_state", "room_stats", "stats_stream_pos", "user_stats"]);
    let new = list(&[
        "room_stats_current",
        "room_stats_historical",
        "room_stats_state",
        "stats_incremental_position",
        "user_stats_current",
        "user_stats_historical",
    ]);
    Scenario::for_note("Rolling back to v1.3.1")
        .on_both()
        .hop("1.3.1", "1.4.0")
        .log_error("stats.notify_new_event|stats_stream_pos")
        .fact(present, tables(&names))
        .changes(old, new.clone())
        // PR 11280.
        .since(
            "1.48.0",
            list(&["room_stats_current", "room_stats_state", "stats_incremental_position", "user_stats_current"]),
        )
        .fact("the schema's version", sql("SELECT version FROM schema_version"))
        .until("1.9.0", json!([{ "version": 56 }]))
        .since("1.9.0", not(json!([{ "version": 56 }])))
        .fact(counted, statistics().once_updated())
        .always("there")
        .fact(errors, |hs: Live| async move {
            Ok(json!(hs.log_lines("ERROR").await?.iter().any(|line| line.contains("stats"))))
        })
        .always(false)
        .leg("1.3.1", "nothing done", |it| {
            it.now(present, new.clone()).now(counted, "an error is logged").now(errors, true)
        })
        .step("statistics are switched off", |it| {
            it.reconfigure(json!({ "stats": { "enabled": false } }))
                .now(present, new)
                .now(counted, "neither there nor an error logged")
        })
        .leg("1.4.0", "statistics switched on again", |it| it.unset("stats"))
}

/// What comes of a room's statistics when something happens in it.
fn statistics() -> Probe {
    Probe::from(|hs: Live| async move {
        let error = "Background process 'stats.notify_new_event' threw an exception";
        let before = hs.log_lines(error).await?.len();
        let member = hs.user(&hs.unique("member")).await?;
        let room = member.create_room(&json!({ "name": "counted" })).await?;
        member.say(&room, "hello").await?.ok()?;
        let off = hs.deployment().config.get("stats").is_some();
        let begun = Instant::now();
        loop {
            if is_counted(&hs, member.id(), &room).await? {
                return Ok(json!("there"));
            }
            if hs.log_lines(error).await?.len() > before {
                return Ok(json!("an error is logged"));
            }
            // Where they are switched off there is nothing to wait for; 1.3.1 logs its error with the room's first event.
            if begun.elapsed() > Duration::from_secs(if off { 5 } else { 60 }) {
                return Ok(json!("neither there nor an error logged"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// Is the room, and the user who is alone in it, in every table of statistics that the release has?
async fn is_counted(hs: &Live, user: &str, room: &str) -> Result<bool> {
    let (room, user) = (format!("room_id = '{room}'"), format!("user_id = '{user}'"));
    // 1.3.1 has the first.
    let tables = [
        ("room_state", room.clone()),
        ("room_stats_current", format!("{room} AND joined_members = 1 AND local_users_in_room = 1")),
        ("room_stats_historical", format!("{room} AND total_events > 0")),
        ("room_stats_state", format!("{room} AND name = 'counted'")),
        ("user_stats_current", format!("{user} AND joined_rooms = 1")),
        ("user_stats_historical", format!("{user} AND total_events > 0")),
    ];
    let mut any = false;
    for (table, row) in tables {
        if hs.has_table(table).await? {
            if hs.sql(&format!("SELECT 1 AS one FROM {table} WHERE {row}")).await?.is_empty() {
                return Ok(false);
            }
            any = true;
        }
    }
    Ok(any)
}
