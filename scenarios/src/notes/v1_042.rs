//! Synapse 1.42.0.

use std::collections::BTreeSet;

use harness::{Answer, Method, prelude::*};

notes!("1.42.0": room_admin_api, uia_fallback_error, stale_email_pushers);

/// `purge_room` and `shutdown_room` go; the Delete Room API does what both did.
///
/// Upstream: PR 8830.
fn room_admin_api() -> Scenario {
    let emptied = |new_room: Value| {
        let body = json!({
            "kicked_users": ["@alice:hs.test"],
            "failed_to_kick_users": [],
            "local_aliases": [],
            "new_room_id": new_room,
        });
        json!({ "status": 200, "body": body })
    };
    let purged = |answer: Value| became(&answer, "gone", false, None);
    let shut_down = || became(&emptied(matches("^!")), "left by all", true, Some(true));
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
        .changes(purged(json!({ "status": 200, "body": {} })), became(&no_such_path(400), "left by all", false, None))
        .since("1.74.0", became(&no_such_path(404), "left by all", false, None))
        .fact("shutdown_room", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id() });
            outcome(&hs, &room, Method::POST, &format!("/_synapse/admin/v1/shutdown_room/{room}"), body).await
        })
        .changes(shut_down(), became(&no_such_path(400), "there", false, None))
        .since("1.74.0", became(&no_such_path(404), "there", false, None))
        .fact("purge_room, by nobody", post("/_synapse/admin/v1/purge_room", json!({})))
        .changes(error(401, "M_MISSING_TOKEN"), unrecognized())
        .since("1.74.0", not_found())
        .fact("shutdown_room, by nobody", post("/_synapse/admin/v1/shutdown_room/!none:hs.test", json!({})))
        .changes(error(401, "M_MISSING_TOKEN"), unrecognized())
        .since("1.74.0", not_found())
        .fact("Delete Room API, to purge", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let path = format!("/_synapse/admin/v1/rooms/{room}/delete");
            outcome(&hs, &room, Method::POST, &path, json!({ "purge": true })).await
        })
        // `DELETE` takes its place in 1.47.0.
        .until("1.47.0", purged(emptied(Value::Null)))
        .since("1.47.0", became(&no_such_path(400), "there", false, None))
        .since("1.74.0", became(&no_such_path(404), "there", false, None))
        .fact("Delete Room API, to purge, with DELETE", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let path = format!("/_synapse/admin/v1/rooms/{room}");
            outcome(&hs, &room, Method::DELETE, &path, json!({ "purge": true })).await
        })
        .always(purged(emptied(Value::Null)))
        .fact("Delete Room API, to shut down", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id(), "block": true, "purge": false });
            outcome(&hs, &room, Method::POST, &format!("/_synapse/admin/v1/rooms/{room}/delete"), body).await
        })
        .until("1.47.0", shut_down())
        .since("1.47.0", became(&no_such_path(400), "there", false, None))
        .since("1.74.0", became(&no_such_path(404), "there", false, None))
        .fact("Delete Room API, to shut down, with DELETE", |hs: Live| async move {
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let body = json!({ "new_room_user_id": hs.admin().await?.id(), "block": true, "purge": false });
            outcome(&hs, &room, Method::DELETE, &format!("/_synapse/admin/v1/rooms/{room}"), body).await
        })
        .always(shut_down())
}

/// What [`outcome`] shows.
fn became(answer: &Value, room: &str, blocked: bool, alice_in_new_room: Option<bool>) -> Value {
    json!({ "answer": answer, "room": room, "blocked": blocked, "alice is in the new room": alice_in_new_room })
}

/// Asks as an admin; what the answer is, what became of the room, and of Alice where another room is named to take its place.
async fn outcome(hs: &Live, room: &str, method: Method, path: &str, body: Value) -> Result<Value> {
    let (alice, admin) = (hs.user("alice").await?, hs.admin().await?);
    let answer = admin.request(method, path).json(&body).await?;
    let members = admin.get(&format!("/_synapse/admin/v1/rooms/{room}/members")).await?;
    let is_now = match (members.status(), members.json()?["total"].as_u64()) {
        (404, _) => json!("gone"),
        (200, Some(0)) => json!("left by all"),
        (200, Some(_)) => json!("there"),
        _ => members.brief(),
    };
    let joined = alice.get("/_matrix/client/r0/joined_rooms").await?.ok()?.json()?;
    let new_room = answer.json()?["new_room_id"].clone();
    let in_new_room =
        joined["joined_rooms"].as_array().filter(|_| new_room.is_string()).map(|rooms| rooms.contains(&new_room));
    let joining = alice.post(&format!("/_matrix/client/r0/rooms/{}/join", escape(room)), &json!({})).await?;
    let blocked = joining.refusal()
        == json!({
            "status": 403,
            "errcode": "M_UNKNOWN",
            "error": "This room has been blocked on this server",
        });
    Ok(json!({
        "answer": answer.whole(),
        "room": is_now,
        "blocked": blocked,
        "alice is in the new room": in_new_room,
    }))
}

/// A fallback page of user-interactive authentication shows what went wrong, instead of JSON.
///
/// Upstream: PR 10561. The terms page cannot fail with a valid session, so a module makes it.
fn uia_fallback_error() -> Scenario {
    let page = |form: bool, text: Value| json!({ "status": 200, "type": "text/html; charset=utf-8", "form": form, "page": text });
    let refusal = |error: &str| {
        let text = matches(&format!(r#"^\{{"errcode":"M_UNAUTHORIZED","error":"{error}"\}}$"#));
        json!({ "status": 401, "type": "application/json", "form": false, "page": text })
    };
    let wrong = "Captcha authentication failed";
    Scenario::for_note("User-interactive authentication fallback templates can now display errors")
        .hop("1.41.1", "1.42.0")
        .companion("captcha", companion::recorder())
        .config(json!({
            "public_baseurl": "http://hs.test/",
            "enable_registration": true,
            "enable_registration_captcha": true,
            "recaptcha_public_key": "public",
            "recaptcha_private_key": "private",
            "recaptcha_siteverify_api": "http://captcha:8080/siteverify",
            "modules": [{ "module": "terms.NobodyAgrees" }],
        }))
        .module("terms", NOBODY_AGREES)
        .fact("a right answer", captcha(true))
        .always(page(false, contains("Thank you")))
        .fact("a registration after a right answer", registration_after(true))
        .always(status(200))
        .fact("a registration after a wrong answer", registration_after(false))
        .always(status(401))
        .variant("upstream's templates", |it| {
            it.fact("a wrong answer", captcha(false))
                .changes(refusal(""), page(true, contains(&format!("Error: {wrong}"))))
                .fact("terms that are not agreed to", terms())
                .changes(refusal("Not agreed to"), page(true, contains("Error: Not agreed to")))
                .fact("the page before any answer", before_any_answer())
                .always(page(true, not(contains("Error:"))))
                .fact("templates that know `error`", knowing_templates())
                .changes(json!([]), json!(["recaptcha", "terms"]))
        })
        .variant("the operator's templates", |it| {
            let custom = "[[{% if error is defined %}{{ error }}{% endif %}]]\
                          <form><input name=\"session\" value=\"{{ session }}\"/></form>";
            it.file("{synapse}/res/templates/recaptcha.html", custom)
                .file("{synapse}/res/templates/terms.html", custom)
                .fact("a wrong answer", captcha(false))
                .changes(refusal(""), page(true, contains(&format!("[[{wrong}]]"))))
                .fact("terms that are not agreed to", terms())
                .changes(refusal("Not agreed to"), page(true, contains("[[Not agreed to]]")))
                .fact("the page before any answer", before_any_answer())
                .always(page(true, contains("[[]]")))
        })
}

const NOBODY_AGREES: &str = r#"
from synapse.api.errors import Codes, LoginError
from synapse.handlers.ui_auth.checkers import TermsAuthChecker

class NobodyAgrees:
    def __init__(self, config, api):
        async def check_auth(checker, authdict, clientip):
            raise LoginError(401, "Not agreed to", Codes.UNAUTHORIZED)

        TermsAuthChecker.check_auth = check_auth

    @staticmethod
    def parse_config(config):
        return config
"#;

const CAPTCHA: &str = "/_matrix/client/r0/auth/m.login.recaptcha/fallback/web";
const TERMS: &str = "/_matrix/client/r0/auth/m.login.terms/fallback/web";

/// What a browser is shown, and whether there is a form that goes on with this session.
fn shown(answer: &Answer, session: &str) -> Value {
    let text = answer.text();
    let form = text.contains("<form") && text.contains(&format!("name=\"session\" value=\"{session}\""));
    json!({ "status": answer.status(), "type": answer.header("content-type"), "form": form, "page": text })
}

/// Begins a registration and posts a captcha's answer to the fallback page.
fn captcha(right: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let session = registration(&hs).await?;
        Ok(shown(&answer_captcha(&hs, right, &session).await?, &session))
    })
}

/// What becomes of the registration then.
fn registration_after(right: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let session = registration(&hs).await?;
        answer_captcha(&hs, right, &session).await?;
        let auth = json!({ "session": session, "type": "m.login.dummy" });
        Ok(hs.anonymous().post("/_matrix/client/r0/register", &json!({ "auth": auth })).await?.brief())
    })
}

async fn answer_captcha(hs: &Live, right: bool, session: &str) -> Result<Answer> {
    let rules = json!([{ "path": "/siteverify", "json": { "success": right } }]);
    hs.recorder("captcha").script(&rules).await?;
    let form = [("session", session), ("g-recaptcha-response", "answer")];
    hs.anonymous().request(Method::POST, CAPTCHA).form(&form).await
}

fn terms() -> Probe {
    Probe::from(|hs: Live| async move {
        let session = registration(&hs).await?;
        let form = [("session", session.as_str())];
        Ok(shown(&hs.anonymous().request(Method::POST, TERMS).form(&form).await?, &session))
    })
}

fn before_any_answer() -> Probe {
    Probe::from(|hs: Live| async move {
        let session = registration(&hs).await?;
        Ok(shown(&hs.anonymous().get(&format!("{CAPTCHA}?session={session}")).await?, &session))
    })
}

/// The package's templates that say something of an error.
fn knowing_templates() -> Probe {
    Probe::from(|hs: Live| async move {
        let program = "import json, os, synapse\n\
            read = lambda name: open(os.path.join(os.path.dirname(synapse.__file__), 'res/templates', name + '.html')).read()\n\
            print(json.dumps([name for name in ('recaptcha', 'terms') if '{% if error is defined %}' in read(name)]))";
        Ok(serde_json::from_str(&hs.python(program).await?)?)
    })
}

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
        .on_both()
        .hop("1.41.1", "1.42.0")
        .mail()
        .config(json!({ "email": { "enable_notifs": true } }))
        .seed(|hs| async move {
            give_up_address(&hs, "carol").await?;
            // That it is somebody else's since does not make it hers.
            hs.user("erin").await?.add_email(&address("carol", "given up")).await
        })
        .fact("the delta", sql(deltas))
        .changes(json!([]), json!([{ "file": "63/02delete_unlinked_email_pushers.sql" }]))
        .fact("the background update", |hs: Live| async move {
            hs.background_updates_left().await?;
            let lines = hs.log_lines("Starting update batch on background update 'remove_").await?;
            let mut names: BTreeSet<_> = lines.iter().filter_map(|line| line.split('\'').nth(1)).collect();
            // Later releases remove something else as well: what waits for devices that are gone.
            names.retain(|name| !name.ends_with("_from_device_inbox"));
            Ok(json!(names))
        })
        .changes(json!([]), json!(["remove_deleted_email_pushers"]))
        .fact("pushers of one who gave up an address before", |hs: Live| async move {
            hs.background_updates_left().await?;
            pushers(&hs, "carol").await
        })
        .changes(json!(["given up", "kept", "of a phone"]), json!(["kept", "of a phone"]))
        .fact("pushers of one who gives up an address now", |hs: Live| async move {
            let name = hs.unique("dora");
            give_up_address(&hs, &name).await?;
            pushers(&hs, &name).await
        })
        .changes(json!(["given up", "kept", "of a phone"]), json!(["kept", "of a phone"]))
}

/// Gives a user two addresses with a pusher each, and one of a phone, and takes one address away.
async fn give_up_address(hs: &Live, name: &str) -> Result<()> {
    let user = hs.user(name).await?;
    for which in ["given up", "kept", "of a phone"] {
        let address = address(name, which);
        let is_mail = which != "of a phone";
        if is_mail {
            user.add_email(&address).await?;
        }
        let pusher = json!({
            "kind": if is_mail { "email" } else { "http" },
            "app_id": if is_mail { "m.email" } else { "app" },
            "app_display_name": "App",
            "device_display_name": address,
            "pushkey": address,
            "lang": "en",
            "data": if is_mail { json!({}) } else { json!({ "url": "http://127.0.0.1:9/_matrix/push/v1/notify" }) },
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
    let mut left = vec!["given up", "kept", "of a phone"];
    left.retain(|which| keys.contains(&json!(address(name, which))));
    Ok(json!(left))
}

fn address(name: &str, which: &str) -> String {
    format!("{}.{name}@example.test", which.replace(' ', "-"))
}
