//! Synapse 1.42.0.

use std::time::{Duration, Instant};

use harness::{Method, prelude::*};

notes!("1.42.0": room_admin_api, uia_fallback_error, stale_email_pushers);

/// `purge_room` and `shutdown_room` go; the Delete Room API does what both did.
///
/// Upstream: PR 8830.
fn room_admin_api() -> Scenario {
    let became =
        |answer: Value, room: &str, new_room: Value| json!({ "answer": answer, "room": room, "new room": new_room });
    Scenario::for_note("Removal of old Room Admin API")
        .hop("1.41.1", "1.42.0")
        // They still had the purged rooms' events to look at.
        .log_error(
            "Background process '(process_event_queue_for_federation|(stats|user_directory).notify_new_event)' \
             threw an exception",
        )
        .fact("purge_room", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            // A room with local members cannot be purged.
            hs.user("alice").await?.post(&format!("/_matrix/client/r0/rooms/{room}/leave"), &json!({})).await?.ok()?;
            outcome(&hs, &room, Method::POST, "/_synapse/admin/v1/purge_room", json!({ "room_id": room })).await
        })
        .until("1.42.0", became(status(200), "gone", Value::Null))
        .since("1.42.0", became(unrecognized(), "left by all", Value::Null))
        .fact("shutdown_room", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id() });
            outcome(&hs, &room, Method::POST, &format!("/_synapse/admin/v1/shutdown_room/{room}"), body).await
        })
        .until("1.42.0", became(status(200), "left by all", matches("^!")))
        .since("1.42.0", became(unrecognized(), "there", Value::Null))
        .fact("Delete Room API, to purge", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let path = format!("/_synapse/admin/v1/rooms/{room}/delete");
            outcome(&hs, &room, Method::POST, &path, json!({ "purge": true })).await
        })
        .until("1.47.0", became(status(200), "gone", Value::Null))
        .since("1.47.0", became(unrecognized(), "there", Value::Null))
        .fact("Delete Room API, to purge, with DELETE", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let path = format!("/_synapse/admin/v1/rooms/{room}");
            outcome(&hs, &room, Method::DELETE, &path, json!({ "purge": true })).await
        })
        .always(became(status(200), "gone", Value::Null))
        .fact("Delete Room API, to shut down", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id(), "block": true, "purge": false });
            outcome(&hs, &room, Method::POST, &format!("/_synapse/admin/v1/rooms/{room}/delete"), body).await
        })
        .until("1.47.0", became(status(200), "left by all", matches("^!")))
        .since("1.47.0", became(unrecognized(), "there", Value::Null))
}

/// Asks as an admin; what the answer is, what became of the room, and which room is named to take its place.
async fn outcome(hs: &Live, room: &str, method: Method, path: &str, body: Value) -> Result<Value> {
    let admin = hs.admin().await?;
    let answer = admin.request(method, path).json(&body).await?;
    let members = admin.get(&format!("/_synapse/admin/v1/rooms/{room}/members")).await?;
    let room = match (members.status(), members.json()?["total"].as_u64()) {
        (404, _) => json!("gone"),
        (200, Some(0)) => json!("left by all"),
        (200, Some(_)) => json!("there"),
        _ => members.brief(),
    };
    Ok(json!({ "answer": answer.brief(), "room": room, "new room": answer.json()?["new_room_id"] }))
}

/// A fallback page of user-interactive authentication shows what went wrong, instead of JSON.
///
/// Upstream: PR 10561. The terms page cannot fail with a valid session, so of its half only the template can be seen.
fn uia_fallback_error() -> Scenario {
    let custom = "[[{% if error is defined %}{{ error }}{% endif %}]]\
                  <form><input name=\"session\" value=\"{{ session }}\"/></form>";
    let page = |status: u16, text: Value| json!({ "status": status, "page": text });
    let refusal = || page(401, contains("M_UNAUTHORIZED"));
    let defines_error = || {
        Probe::from(|hs: Live| async move {
            let mut found = serde_json::Map::new();
            for name in ["recaptcha", "terms"] {
                let program = format!(
                    "import os, synapse; p = os.path.join(os.path.dirname(synapse.__file__), 'res/templates/{name}.html'); \
                     print('error is defined' in open(p).read())"
                );
                found.insert(name.to_owned(), json!(hs.python(&program).await?.trim() == "True"));
            }
            Ok(Value::Object(found))
        })
    };
    let both = |shown: bool| json!({ "recaptcha": shown, "terms": shown });
    Scenario::for_note("User-interactive authentication fallback templates can now display errors")
        .hop("1.41.1", "1.42.0")
        .companion("captcha", companion::recorder())
        .config(json!({
            "enable_registration": true,
            "enable_registration_captcha": true,
            "recaptcha_public_key": "public",
            "recaptcha_private_key": "private",
            "recaptcha_siteverify_api": "http://captcha:8080/siteverify",
        }))
        .fact("a right answer", captcha(true))
        .always(page(200, contains("Thank you")))
        .variant("upstream's templates")
        .fact("a wrong answer", captcha(false))
        .until("1.42.0", refusal())
        .since("1.42.0", page(200, contains("Error: Captcha authentication failed")))
        .fact("templates that know `error`", defines_error())
        .until("1.42.0", both(false))
        .since("1.42.0", both(true))
        .variant("the operator's template")
        .file("{synapse}/res/templates/recaptcha.html", custom)
        .fact("a wrong answer", captcha(false))
        .until("1.42.0", refusal())
        .since("1.42.0", page(200, contains("[[Captcha authentication failed]]")))
        .fact("the page before any answer", |hs: Live| async move {
            let answer = hs.anonymous().get(&format!("{CAPTCHA}?session={}", registration(&hs).await?)).await?;
            Ok(json!({ "status": answer.status(), "page": answer.text() }))
        })
        .always(page(200, contains("[[]]")))
}

/// Begins a registration and posts a captcha's answer to the fallback page.
fn captcha(right: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let rules = json!([{ "path": "/siteverify", "json": { "success": right } }]);
        hs.recorder("captcha").script(&rules).await?;
        let session = registration(&hs).await?;
        let form = [("session", session.as_str()), ("g-recaptcha-response", "answer")];
        let answer = hs.anonymous().request(Method::POST, CAPTCHA).form(&form).await?;
        Ok(json!({ "status": answer.status(), "page": answer.text() }))
    })
}

const CAPTCHA: &str = "/_matrix/client/r0/auth/m.login.recaptcha/fallback/web";

/// Begins a registration; its session.
async fn registration(hs: &Live) -> Result<String> {
    let body = json!({ "username": hs.unique("newcomer"), "password": "Pa55w0rd!" });
    hs.anonymous().post("/_matrix/client/r0/register", &body).await?.field("session")
}

/// A pusher that was left behind when its address was taken from an account is removed, and taking an address away now takes its
/// pusher along. The mails themselves are not waited for: the first comes ten minutes after a message.
///
/// Upstream: PRs 10581, 10734.
fn stale_email_pushers() -> Scenario {
    let deltas = "SELECT file FROM applied_schema_deltas WHERE file LIKE '%delete_unlinked_email_pushers%'";
    Scenario::for_note("Removal of out-of-date email pushers")
        .hop("1.41.1", "1.42.0")
        .mail()
        .config(json!({ "email": { "enable_notifs": true } }))
        .seed(|hs| async move {
            give_up_address(&hs, "carol").await?;
            Ok(())
        })
        .fact("the delta", sql(deltas))
        .until("1.42.0", json!([]))
        .since("1.42.0", json!([{ "file": "63/02delete_unlinked_email_pushers.sql" }]))
        // Until the update is over, in the background.
        .fact("pushers of one who gave up an address before", |hs: Live| async move {
            let (begun, limit) = (Instant::now(), Duration::from_secs(120));
            while !hs.sql("SELECT update_name FROM background_updates").await?.is_empty() && begun.elapsed() < limit {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            pushers(&hs, "carol").await
        })
        .until("1.42.0", json!(["given up", "kept"]))
        .since("1.42.0", json!(["kept"]))
        .fact("pushers of one who gives up an address now", |hs: Live| async move {
            let name = hs.unique("dora");
            give_up_address(&hs, &name).await?;
            pushers(&hs, &name).await
        })
        .until("1.42.0", json!(["given up", "kept"]))
        .since("1.42.0", json!(["kept"]))
}

/// Gives a user two addresses with a pusher each, and takes one address away.
async fn give_up_address(hs: &Live, name: &str) -> Result<()> {
    let user = hs.user(name).await?;
    for which in ["given up", "kept"] {
        let address = address(name, which);
        user.add_email(&address).await?;
        let pusher = json!({
            "kind": "email",
            "app_id": "m.email",
            "app_display_name": "Email",
            "device_display_name": address,
            "pushkey": address,
            "lang": "en",
            "data": {},
            "append": true,
        });
        user.post("/_matrix/client/r0/pushers/set", &pusher).await?.ok()?;
    }
    let gone = json!({ "medium": "email", "address": address(name, "given up") });
    user.post("/_matrix/client/r0/account/3pid/delete", &gone).await?.ok()?;
    Ok(())
}

async fn pushers(hs: &Live, name: &str) -> Result<Value> {
    let answer = hs.user(name).await?.get("/_matrix/client/r0/pushers").await?.ok()?.json()?;
    let keys: Vec<_> =
        answer["pushers"].as_array().into_iter().flatten().map(|pusher| pusher["pushkey"].clone()).collect();
    Ok(json!(
        ["given up", "kept"]
            .into_iter()
            .filter(|which| keys.contains(&json!(address(name, which))))
            .collect::<Vec<_>>()
    ))
}

fn address(name: &str, which: &str) -> String {
    format!("{}.{name}@example.test", which.replace(' ', "-"))
}
