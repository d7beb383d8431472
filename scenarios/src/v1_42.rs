//! Synapse 1.42.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

notes!("1.42.0": room_admin_api, uia_fallback_error, stale_email_pushers);

/// `purge_room` and `shutdown_room` go; the Delete Room API does what both did.
///
/// Upstream: PR 8830.
fn room_admin_api() -> Scenario {
    Scenario::for_note("Removal of old Room Admin API")
        .hop("1.41.1", "1.42.0")
        // Background processes still had the purged room's events to look at.
        .log_error("Background process '[a-z_.]+' threw an exception")
        .fact("purge_room", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            // A room with local members cannot be purged.
            hs.user("alice").await?.post(&format!("/_matrix/client/r0/rooms/{room}/leave"), &json!({})).await?.ok()?;
            outcome(&hs, &room, "/_synapse/admin/v1/purge_room", json!({ "room_id": room })).await
        })
        .until("1.42.0", json!({ "answer": status(200), "room": "gone" }))
        .since("1.42.0", json!({ "answer": unrecognized(), "room": "left by all" }))
        .fact("shutdown_room", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id() });
            outcome(&hs, &room, &format!("/_synapse/admin/v1/shutdown_room/{room}"), body).await
        })
        .until("1.42.0", json!({ "answer": status(200), "room": "left by all" }))
        .since("1.42.0", json!({ "answer": unrecognized(), "room": "there" }))
        .fact("Delete Room API, to purge", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            outcome(&hs, &room, &format!("/_synapse/admin/v1/rooms/{room}/delete"), json!({ "purge": true })).await
        })
        .until("1.47.0", json!({ "answer": status(200), "room": "gone" }))
        .since("1.47.0", json!({ "answer": unrecognized(), "room": "there" }))
        .fact("Delete Room API, to shut down", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id(), "block": true, "purge": false });
            outcome(&hs, &room, &format!("/_synapse/admin/v1/rooms/{room}/delete"), body).await
        })
        .until("1.47.0", json!({ "answer": status(200), "room": "left by all" }))
        .since("1.47.0", json!({ "answer": unrecognized(), "room": "there" }))
}

/// Posts as an admin; what the answer is and what became of the room.
async fn outcome(hs: &Live, room: &str, path: &str, body: Value) -> Result<Value> {
    let admin = hs.admin().await?;
    let answer = admin.post(path, &body).await?;
    let members = admin.get(&format!("/_synapse/admin/v1/rooms/{room}/members")).await?;
    let room = match (members.status(), members.json()?["total"].as_u64()) {
        (404, _) => "gone",
        (200, Some(0)) => "left by all",
        _ => "there",
    };
    Ok(json!({ "answer": answer.brief(), "room": room }))
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
}

/// Begins a registration and posts a captcha's answer to the fallback page.
fn captcha(right: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let rules = json!([{ "path": "/siteverify", "json": { "success": right } }]);
        hs.recorder("captcha").script(&rules).await?;
        let body = json!({ "username": hs.unique("newcomer"), "password": "Pa55w0rd!" });
        let session = hs.anonymous().post("/_matrix/client/r0/register", &body).await?.field("session")?;
        let path = "/_matrix/client/r0/auth/m.login.recaptcha/fallback/web";
        let form = [("session", session.as_str()), ("g-recaptcha-response", "answer")];
        let answer = hs.anonymous().request(harness::Method::POST, path).form(&form).await?;
        Ok(json!({ "status": answer.status(), "page": answer.text() }))
    })
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
