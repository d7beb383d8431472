//! Mails that show whose an address is: those that were asked for on an earlier release and are answered now, and one
//! that is asked for now.

use harness::prelude::companion;

use super::prelude::*;

/// Where mails go.
const HOST: &str = "mail";

/// What is asked for to have a new password, and to have another address.
const RESET: [&str; 4] = ["account", "password", "email", "requestToken"];
const ADDITION: [&str; 4] = ["account", "3pid", "email", "requestToken"];

pub(super) fn part() -> Part {
    Part::new("mails")
        // Before, it was an identity server that sent some of them.
        .since("1.4.0")
        .fills(&["threepid_validation_session", "threepid_validation_token"])
        .config(json!({
            "public_baseurl": format!("http://{}/", harness::SERVER_NAME),
            "email": {
                "smtp_host": HOST, "smtp_port": 25, "notif_from": "homeserver <noreply@hs.test>",
                // A slow hop takes longer than an hour, which is what they are good for otherwise.
                "validation_token_lifetime": "24h",
            },
        }))
        .companion(HOST, companion::mail_sink())
        .write(|it: Visit| async move {
            // Where nobody has a password there is none to be had by mail.
            let flows = it.anonymous().get(&["login"]).await?;
            if !list(&flows["flows"]).iter().any(|flow| flow["type"] == "m.login.password") {
                return Ok(json!({}));
            }
            let (address, other) = (it.live.email(&it.named("mailed")), it.live.email(&it.named("other")));
            it.somebody("mailed").await?.client().add_email(&address).await?;
            let reset = ask(&it, &RESET, &address).await?;
            let addition = ask(&it, &ADDITION, &other).await?;
            Ok(json!({ "address": address, "reset": reset, "other": other, "addition": addition }))
        })
        .read(|it: Visit| async move {
            let Ok(address) = it.kept("address") else { return Ok(json!("nobody has a password")) };
            let before = asked_before(&it).await?;
            Ok(json!({ "asked for before": before, "asked for now": asked_now(&it, &address).await? }))
        })
}

/// What [`reset`] shows where all is well.
const SOUND: [u16; 3] = [200; 3];

/// Asks for a mail: what proves that it came, once its link has been opened.
async fn ask(it: &Visit, path: &[&str], address: &str) -> Result<Value> {
    let mailbox = it.live.mail(HOST);
    let seen = mailbox.to(address).await?.len();
    let secret = it.live.unique("secret");
    let body = json!({ "client_secret": secret, "email": address, "send_attempt": 1 });
    let answer = it.anonymous().post(path, body).await?;
    let mails = eventually(|| mailbox.to(address), |mails| mails.len() > seen).await?;
    let mail = mails.get(seen);
    let html = mail.and_then(|mail| mail.html.clone()).unwrap_or_default();
    Ok(json!({
        "proof": { "sid": answer["sid"], "client_secret": secret },
        "link": mail.and_then(|mail| mail.link().ok()).unwrap_or_default(),
        "is a page": html.contains("<html"),
    }))
}

/// Opens a mail's link, and says on the page that it was meant where that is asked; how that ends.
async fn open(it: &Visit, link: &str) -> Result<u16> {
    // No mail, or none with a link.
    if link.is_empty() {
        return Ok(0);
    }
    let mut browser = it.live.browser("main");
    let page = browser.open(link).await?;
    // Since 1.21.0 for a password (upstream: PR 8004).
    let page = if page.has_form() { browser.submit(&page, &[]).await? } else { page };
    Ok(page.status())
}

/// How a password is had by mail: the link, what is said with the new password, and to who logs in with it.
async fn reset(it: &Visit, asked: &Value, link: &str) -> Result<Value> {
    let opened = open(it, link).await?;
    let (person, password) = (it.somebody("mailed").await?, it.live.unique("new password"));
    let auth = json!({ "type": "m.login.email.identity", "threepid_creds": asked["proof"] });
    let body = json!({ "auth": auth, "new_password": password });
    let set = it.anonymous().answer(Method::POST, &["account", "password"], Some(body)).await?.status();
    let login = super::passwords::try_to_log_in(it, person.id(), &password).await?.status();
    Ok(json!([opened, set, login]))
}

/// What comes of the mails of the leg that wrote, which are answered on the next that reads, and once.
async fn asked_before(it: &Visit) -> Result<Value> {
    let memory = format!("mails of leg {}", it.mark);
    let state = it.live.recall(&memory).unwrap_or_default();
    if state != "wait" {
        it.live.remember(&memory, if state.is_empty() { "wait" } else { "gone" });
        return Ok(json!({ "password": SOUND, "address": [200, 200, true] }));
    }
    // 1.20.0 writes a link as in a page; see below.
    let link = |asked: &Value| text(&asked["link"]).replace("&amp;", "&");
    let (of_password, of_address) = (&it.kept["reset"], &it.kept["addition"]);
    // 1.21.0 moved the page that a link of before leads to (upstream: PR 8004).
    let is_moved = it.from("1.21.0rc1") != it.written_from("1.21.0rc1");
    let password =
        if is_moved { json!(SOUND) } else { reset(it, of_password, &link(of_password)).await? };
    let opened = open(it, &link(of_address)).await?;
    let person = it.somebody("adding").await?;
    let body = json!({ "three_pid_creds": of_address["proof"] });
    let added = person.answer(Method::POST, &["account", "3pid"], Some(body)).await?.status();
    let own = person.get(&["account", "3pid"]).await?;
    let is_own = list(&own["threepids"]).iter().any(|one| one["address"] == it.kept["other"]);
    it.live.remember(&memory, "gone");
    Ok(json!({ "password": password, "address": [opened, added, is_own] }))
}

/// What comes of a mail that is asked for now.
async fn asked_now(it: &Visit, address: &str) -> Result<Value> {
    let mut shown = json!({ "password": SOUND, "a link": true, "a page": true });
    // On 1.20.0 the link is written as in a page (#8394), and leads somewhere only where `;` parts what is asked; on 1.71.0
    // what should be a page is none (#14448). Walks end there for what these releases have mended: looked for of who comes
    // from the minor before.
    // All mails are looked through for each: once on each release is enough.
    let memory = format!("mailed on {}", it.live.release());
    if super::is_looked_for_next_door(it, "1.19.0", "1.20.0rc1", "1.20.1") && it.live.recall(&memory).is_err() {
        it.live.remember(&memory, "yes");
        let asked = ask(it, &RESET, address).await?;
        let link = text(&asked["link"]);
        shown["password"] = reset(it, &asked, &link).await?;
        shown["a link"] = json!(!link.contains("&amp;"));
        if super::is_looked_for_next_door(it, "1.70.0", "1.71.0rc1", "1.72.0rc1") {
            shown["a page"] = asked["is a page"].clone();
        }
    }
    Ok(shown)
}
