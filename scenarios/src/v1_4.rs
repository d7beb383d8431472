//! Synapse 1.4.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

use crate::v1_0::{by_smtp, mail_and_pages};

notes!("1.4.0": new_custom_templates, threepid_verification, email, phone_numbers, rollback_to_1_3_1);

/// An operator's template directory needs eight more files, for the mails by which a newcomer proves an address and a user adds
/// one, and the pages behind them. They are looked for only where the homeserver sends such mails itself.
///
/// Upstream: PRs 5835, 6042.
fn new_custom_templates() -> Scenario {
    let (mail, plain, page) = ("<b>OURS</b> {{ link }}", "OURS {{ link }}", "OURS done");
    let failure = "OURS failed: {{ failure_reason }}";
    // In the order in which they are looked for.
    let files = [
        ("registration.html", mail),
        ("registration.txt", plain),
        ("add_threepid.html", mail),
        ("add_threepid.txt", plain),
        ("registration_failure.html", failure),
        ("add_threepid_failure.html", failure),
        ("registration_success.html", page),
        ("add_threepid_success.html", page),
    ];
    let somebody = |hs: &Live| format!("{}@example.test", hs.unique("somebody"));
    let missing = |name: &str| refused(&format!("Unable to find template file /data/templates/{name}"));
    let theirs = || json!({ "answer": error(400, "M_MISSING_PARAM") });
    let ours = || {
        json!({
            "answer": status(200),
            "html": matches("^<b>OURS</b> http://hs.test/"),
            "text": matches("^OURS http://hs.test/"),
            "a wrong token": { "status": 400, "page": matches("^OURS failed: .+") },
            "the link": { "status": 200, "page": "OURS done" },
        })
    };
    let scenario = Scenario::for_note("New custom templates")
        .hop("1.3.1", "1.4.0")
        .mail()
        .config(json!({ "enable_registration": true, "email": { "template_dir": "/data/templates" } }))
        .file("templates/password_reset.html", mail)
        .file("templates/password_reset.txt", plain)
        .file("templates/password_reset_failure.html", failure)
        .file("templates/password_reset_success.html", page)
        .variant("verified by an identity server")
        .alone("in others the homeserver does it")
        .config(json!({ "account_threepid_delegates": { "email": "http://identity.test" } }))
        .fact("start", start())
        .always(started())
        .variant("verified by the homeserver")
        .fact("start", start())
        .until("1.4.0", started())
        .since("1.4.0", missing("registration.html"))
        .fact("a newcomer's mail and pages", mail_and_pages(REGISTER_EMAIL, somebody))
        .until("1.4.0", theirs())
        .since("1.4.0", ours())
        .fact("an added address's mail and pages", mail_and_pages(ADD_EMAIL, somebody))
        .until("1.4.0", theirs())
        .since("1.4.0", ours());
    let next = files.iter().skip(1).map(|(name, _)| missing(name)).chain([started()]);
    files.into_iter().zip(next).fold(scenario, |scenario, ((name, content), outcome)| {
        scenario
            .step(&format!("with {name}"))
            .change(move |deployment| {
                deployment.file(&format!("templates/{name}"), content);
            })
            .now("start", outcome)
    })
}

const REGISTER_EMAIL: &str = "/_matrix/client/r0/register/email/requestToken";
const ADD_EMAIL: &str = "/_matrix/client/r0/account/3pid/email/requestToken";
const RESET_BY_EMAIL: &str = "/_matrix/client/r0/account/password/email/requestToken";
const REGISTER_PHONE: &str = "/_matrix/client/r0/register/msisdn/requestToken";
const ADD_PHONE: &str = "/_matrix/client/r0/account/3pid/msisdn/requestToken";

/// Where an identity server, which a client names, once verified addresses, the homeserver now does so or nobody: email addresses
/// need an email section, phone numbers a delegate. Until then newcomers are not even offered to give one.
///
/// Upstream: PRs 5876, 6011, 6107.
fn threepid_verification() -> Scenario {
    let no_resets = "Email-based password resets have been disabled on this server";
    let (newcomer, added, reset) =
        ("a newcomer's email address", "an email address to be added", "a password to be reset");
    let (newcomer_by_phone, added_phone) = ("a newcomer's phone number", "a phone number to be added");
    let (offered, all) = ("what a newcomer can be asked for", json!(["", "email", "msisdn", "msisdn email"]));
    let emails = |scenario: Scenario, value: fn() -> Value| {
        [newcomer, added, reset].into_iter().fold(scenario, |scenario, name| scenario.now(name, value()))
    };
    let phones = |scenario: Scenario, value: fn() -> Value| {
        [newcomer_by_phone, added_phone].into_iter().fold(scenario, |scenario, name| scenario.now(name, value()))
    };
    let scenario = base("3pid verification changes")
        .fact(offered, flows())
        .until("1.4.0", all.clone())
        .since("1.4.0", json!([""]))
        .fact(newcomer, token(REGISTER_EMAIL))
        .until("1.4.0", by_named("email"))
        .since("1.4.0", no("Email-based registration has been disabled on this server"))
        .fact(added, token(ADD_EMAIL))
        .until("1.4.0", by_named("email"))
        .since("1.4.0", no("Adding an email to your account is disabled on this server"))
        .fact(reset, token(RESET_BY_EMAIL))
        .always(no(no_resets))
        .fact(newcomer_by_phone, token(REGISTER_PHONE))
        .until("1.4.0", by_named("msisdn"))
        .since("1.4.0", no("Registration by phone number is not supported on this homeserver"))
        .fact(added_phone, token(ADD_PHONE))
        .until("1.4.0", by_named("msisdn"))
        .since("1.4.0", no("Adding phone numbers to user account is not supported by this homeserver"));
    let scenario = scenario
        .step("an email section")
        .change(|deployment| {
            deployment.config(by_smtp());
        })
        .now(offered, json!(["", "email"]));
    let scenario = emails(scenario, by_mail)
        .step("a delegate for phone numbers besides")
        .change(|deployment| {
            deployment.config(delegate("msisdn"));
        })
        .now(offered, all.clone());
    let scenario = phones(emails(scenario, by_mail), || by_delegate("msisdn"))
        .step("a delegate for email addresses instead of the email section")
        .change(|deployment| {
            deployment.unset("email").config(delegate("email"));
        })
        .now(offered, all);
    phones(emails(scenario, || by_delegate("email")), || by_delegate("msisdn"))
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
            body["phone_number"] = json!(NUMBER);
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

/// Nobody's: reserved for use in drama.
const NUMBER: &str = "07700900001";

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
    let by_named_server = || {
        json!({
            "token": status(200),
            "asked": ["https validate/email/requestToken", "https 3pid/getValidated3pid"],
            "link": null,
            "account": status(200),
            "addresses": ["email"],
        })
    };
    let by_link = |host: &str, page: &str| {
        json!({
            "token": status(200),
            "asked": [],
            "link": { "host": host, "status": 200, "page": contains(page) },
            "account": status(200),
            "addresses": ["email"],
        })
    };
    let switch = "trust_identity_server_for_password_resets";
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
        .variant("the homeserver sends mails")
        .alone("in others somebody else does")
        .config(by_smtp())
        .fact(newcomer, registration())
        .until("1.4.0", by_named_server())
        .since("1.4.0", by_link("hs.test", "validated"))
        .variant("an identity server sends mails")
        .alone("in others somebody else does")
        .config(json!({ "account_threepid_delegates": { "email": "http://sydent:8090" } }))
        .fact(newcomer, registration())
        .until("1.4.0", by_named_server())
        .since("1.4.0", by_link("sydent", "Verification successful!"))
        .variant("trust for password resets, with an email section")
        .alone("others trust nobody")
        .config(by_smtp())
        .config(json!({ "email": { switch: true } }))
        .fact(reset, token(RESET_BY_EMAIL))
        .until("1.4.0", by_named("email"))
        .since("1.4.0", by_mail())
        .step("no identity server is trusted")
        .change(|deployment| {
            deployment.config(json!({ "trusted_third_party_id_servers": [] }));
        })
        .variant("trust for password resets, and nothing else about mails")
        .alone("others trust nobody")
        .config(json!({ "email": { switch: true } }))
        .fact("start", start())
        .until("1.4.0", started())
        .since("1.4.0", refused("email.smtp_host, email.smtp_port, email.notif_from, public_baseurl"))
        .fact(reset, token(RESET_BY_EMAIL))
        .until("1.4.0", by_named("email"))
        .since("1.4.0", no("Email-based password resets have been disabled on this server"))
        .step("at the top level of the file")
        .change(move |deployment| {
            deployment.unset("email").config(json!({ switch: true }));
        })
        .now("start", started())
        .step("no identity server is trusted")
        .change(|deployment| {
            deployment.config(json!({ "trusted_third_party_id_servers": [] }));
        })
        .now("start", refused("Attempted to use an identity server from\"trusted_third_party_id_servers\" but it is empty."))
        .step("an email section, filled in")
        .change(move |deployment| {
            deployment.unset(switch).config(by_smtp());
        })
        .now("start", started())
        .now(reset, by_mail())
}

/// A newcomer registers with an email address, from the request for a token to the account with the address.
fn registration() -> Probe {
    Probe::from(|hs: Live| async move {
        let (secret, name) = (hs.unique("secret"), hs.unique("newcomer"));
        let address = format!("{secret}@example.test");
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
        let token = hs.anonymous().post(REGISTER_EMAIL, &body).await?;
        // The answer comes after the mail.
        let mut link = Value::Null;
        if let Some(mail) = hs.mail("mail").to(&address).await?.first() {
            let there = hs.browser("main").open(&mail.link()?).await?;
            link = json!({ "host": there.url.host_str(), "status": there.status(), "page": there.text() });
        }
        proof["sid"] = token.json()?["sid"].clone();
        let mut account = json!({ "username": name, "password": "Pa55w0rd!" });
        let session = hs.anonymous().post("/_matrix/client/r0/register", &account).await?.field("session")?;
        account["auth"] = json!({ "type": "m.login.email.identity", "session": session, "threepid_creds": proof });
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
            "account": account.brief(),
            "addresses": addresses,
        }))
    })
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
        .until("1.4.0", json!(["", "email", "msisdn", "msisdn email"]))
        .since("1.4.0", json!([""]))
        .fact(fact, phone())
        .until(
            "1.4.0",
            json!({
                "token": status(200),
                "where to send the code": null,
                "code": null,
                "added": status(200),
                "asked": ["https validate/msisdn/requestToken", "https 3pid/getValidated3pid"],
                "addresses": ["msisdn"],
            }),
        )
        .since(
            "1.4.0",
            json!({
                "token": error(400, "M_UNKNOWN"),
                "where to send the code": null,
                "code": null,
                "added": null,
                "asked": [],
                "addresses": [],
            }),
        )
        .step("the operator names an identity server")
        .change(|deployment| {
            deployment.config(delegate("msisdn"));
        })
        .now(offered, json!(["", "msisdn"]))
        .now(
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
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ";
    let postgres =
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_name IN ";
    let names = "('stats_stream_pos', 'room_stats', 'user_stats', 'stats_incremental_position', 'room_stats_current', \
                 'room_stats_historical', 'user_stats_current') ORDER BY name";
    let list = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Value>();
    let (present, counted, errors) =
        ("tables of statistics", "statistics of a new room", "errors about statistics in the log");
    let old = list(&["room_stats", "stats_stream_pos", "user_stats"]);
    let new =
        list(&["room_stats_current", "room_stats_historical", "stats_incremental_position", "user_stats_current"]);
    Scenario::for_note("Rolling back to v1.3.1")
        .hop("1.3.1", "1.4.0")
        .log_error("stats.notify_new_event|stats_stream_pos")
        .fact(present, sql(per_database(format!("{tables}{names}"), format!("{postgres}{names}"))))
        .until("1.4.0", old)
        .since("1.4.0", new.clone())
        .fact(counted, statistics())
        .always("there")
        .fact(errors, |hs: Live| async move {
            Ok(json!(hs.log_lines("ERROR").await?.iter().any(|line| line.contains("stats"))))
        })
        .always(false)
        .then("1.3.1")
        .titled("nothing done")
        .now(present, new.clone())
        .now(counted, "an error is logged")
        .now(errors, true)
        .step("statistics are switched off")
        .change(|deployment| {
            deployment.config(json!({ "stats": { "enabled": false } }));
        })
        .now(present, new)
        .now(counted, "neither there nor an error logged")
        .then("1.4.0")
        .titled("statistics switched on again")
        .change(|deployment| {
            deployment.unset("stats");
        })
}

/// What comes of a room's statistics when something happens in it.
fn statistics() -> Probe {
    Probe::from(|hs: Live| async move {
        let error = "Background process 'stats.notify_new_event' threw an exception";
        let before = hs.log_lines(error).await?.len();
        let alice = hs.user("alice").await?;
        let room = alice.create_room(&json!({})).await?;
        alice.say(&room, "hello").await?.ok()?;
        let off = hs.deployment().config.get("stats").is_some();
        let begun = Instant::now();
        loop {
            // 1.3.1 has the one and 1.4.0 the other.
            for table in ["room_state", "room_stats_current"] {
                let query = format!("SELECT room_id FROM {table} WHERE room_id = '{room}'");
                if hs.has_table(table).await? && !hs.sql(&query).await?.is_empty() {
                    return Ok(json!("there"));
                }
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
