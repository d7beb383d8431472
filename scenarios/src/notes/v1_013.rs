//! Synapse 1.13.0.

use harness::{health, prelude::*};

use crate::kit::tables::tables;

notes!("1.13.0": incomplete_room_directory, sso_templates, complete_sso_login, rollback_to_1_12);

/// Rooms that the directory loses where 1.3.x was left out on the way from 1.2.1, and the printed repair.
///
/// Upstream: PR 7387. Two background updates take turns: one fills in `current_state_events.membership`, 100 state events at a
/// time, the other counts members by that column, 100 rooms at a time. A room with 100 state events before it in the order of
/// room ids is counted too early, so there have to be some rooms; with one nothing is lost. 1.19.0 counts all of them anew, for
/// another reason: PR 7977.
fn incomplete_room_directory() -> Scenario {
    let repair = "INSERT INTO background_updates (update_name, progress_json, depends_on) VALUES
        ('populate_stats_process_rooms', '{}', 'current_state_events_membership');

     INSERT INTO background_updates (update_name, progress_json, depends_on) VALUES
        ('populate_stats_process_users', '{}', 'populate_stats_process_rooms');";
    let fact = "public rooms, in the directory and with both members counted";
    let shown = |listed: &str, counted: Value| json!({ "listed": listed, "counted": counted });
    let before = move || shown("all", Value::Null);
    let complete = move || shown("all", json!("all"));
    let miscounted = move || shown("all", json!("some"));
    let lacking = move || shown("some", json!("some"));
    Scenario::for_note("Incorrect database migration in old synapse versions")
        .on_both()
        .disagreement(
            "the directory can be incomplete on 1.4.0 and later",
            "1.4.0 only counts wrongly; its directory does not look at the counts, that of 1.5.0 is the first which does",
        )
        .hop("1.2.1", "1.12.4")
        .seed(|hs| async move {
            let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
            for number in 0..ROOMS {
                let name = format!("room {number}");
                let options = json!({ "visibility": "public", "preset": "public_chat", "name": name });
                let room = alice.room(&name, &options).await?;
                bob.join(&room).await?;
            }
            Ok(())
        })
        .variant("from 1.2.1 straight to 1.12.4", |it| {
            it.fact(fact, directory())
                .until("1.4.0", before())
                .since("1.4.0", lacking())
                .since("1.19.0", complete())
                .step("repaired", |it| it.sql("the printed repair", repair, "done").now(fact, complete()))
        })
        .variant("from 1.2.1 straight to 1.4.0", |it| {
            it.hop("1.2.1", "1.4.0")
                .then("1.5.0")
                .fact(fact, directory())
                .until("1.4.0", before())
                .since("1.4.0", miscounted())
                .since("1.5.0", lacking())
                .since("1.19.0", complete())
        })
        .variant("by way of 1.3.1", |it| {
            it.hop("1.2.1", "1.3.1")
                .then("1.12.4")
                .fact(fact, directory())
                .until("1.4.0", before())
                .since("1.4.0", complete())
        })
        .variant("created on 1.4.0", |it| it.hop("1.4.0", "1.12.4").fact(fact, directory()).always(complete()))
        .variant("from 1.2.1 straight to 1.13.0", |it| {
            it.hop("1.2.1", "1.13.0")
                .fact(fact, directory())
                .until("1.4.0", before())
                .since("1.4.0", lacking())
                .since("1.13.0", complete())
                .fact("rooms that both members are counted in", joined_rooms())
                .changes(Value::Null, json!([{ "joined_rooms": ROOMS }, { "joined_rooms": ROOMS }]))
        })
}

/// Their state is well above 100 events, even without the rooms of others.
const ROOMS: usize = 18;

/// When nothing is left to do in the background: how many of the rooms the directory shows, and of how many both members are
/// counted. 1.4.0 made the table of the counts.
fn directory() -> Probe {
    Probe::from(|hs: Live| async move {
        let left = hs.background_updates_left().await?;
        if !left.is_empty() {
            return Ok(json!({ "stuck": left }));
        }
        let rooms: Vec<_> = (0..ROOMS).map(|number| hs.recall(&format!("room {number}"))).collect::<Result<_>>()?;
        let some = |found: usize| match found {
            0 => "none",
            ROOMS => "all",
            _ => "some",
        };
        let is_counted = hs.has_table("room_stats_current").await?;
        if is_counted {
            // Who joins is counted after the answer.
            let uncounted = "SELECT stream_id FROM current_state_delta_stream \
                             WHERE stream_id > (SELECT MAX(stream_id) FROM stats_incremental_position)";
            eventually(|| hs.sql(uncounted), Vec::is_empty).await?;
        }
        let alice = hs.user("alice").await?;
        let answer = alice.get("/_matrix/client/r0/publicRooms?limit=1000").await?.ok()?.json()?;
        let listed = rooms.iter().filter(|room| {
            answer["chunk"].as_array().is_some_and(|chunk| chunk.iter().any(|entry| entry["room_id"] == **room))
        });
        let counted = if is_counted {
            let rows = hs.sql("SELECT room_id FROM room_stats_current WHERE joined_members = 2").await?;
            json!(some(rooms.iter().filter(|room| rows.iter().any(|row| row["room_id"] == ***room)).count()))
        } else {
            Value::Null
        };
        Ok(json!({ "listed": some(listed.count()), "counted": counted }))
    })
}

/// When nothing is left to do in the background: in how many rooms each of the two members is counted. 1.4.0 made the table.
fn joined_rooms() -> Probe {
    Probe::from(|hs: Live| async move {
        if !hs.has_table("user_stats_current").await? {
            return Ok(Value::Null);
        }
        let query = "SELECT joined_rooms FROM user_stats_current WHERE user_id IN ('{alice}', '{bob}')";
        Ok(Value::Array(hs.sql(&hs.fill(query)?).await?))
    })
    .once_updated()
}

/// A directory of templates for single sign-on has to hold three more files. Until the last of them is there, the server does
/// not start, whether anyone can sign on or not. 1.20.0 takes its own where one is missing.
///
/// Upstream: PRs 7102, 7186.
fn sso_templates() -> Scenario {
    let missing = |name: &str, setting: &str| {
        refused(&format!(
            "Error accessing file '/data/templates/{name}' (config for {setting}): No such file or directory"
        ))
    };
    let page = |status: u16, text: &str| json!({ "status": status, "page": contains(text) });
    let confirm = "[[to {{ description }}, go to {{ redirect_url.split('?')[0] }}]]";
    let confirmed = "[[to remove a device from your account, go to http://cas:8080/login]]";
    Scenario::for_note("New Single Sign-on HTML Templates")
        .disagreement(
            "the files are needed where single sign-on is configured",
            "a server with the directory and without any provider does not start either",
        )
        .disagreement(
            "the directory is configured as `sso_redirect_confirm_template_dir`",
            "that is a name in the code; the option is `template_dir` below `sso`",
        )
        .hop("1.12.4", "1.13.0")
        .config(json!({ "sso": { "template_dir": "/data/templates" } }))
        .file("templates/sso_redirect_confirm.html", "[[{{ display_url | e }} asks for your account]]")
        .fact("start", start())
        .changes(started(), missing("sso_account_deactivated.html", "sso_account_deactivated_template"))
        .since("1.20.0", started())
        .fact("pages in the package to copy", pages_in_package())
        .changes(json!([]), json!(NEW_PAGES.map(|(name, _)| name)))
        .step("one file copied", |it| {
            it.file("templates/sso_account_deactivated.html", "[[you are gone]]")
                .now("start", missing("sso_auth_success.html", "sso_auth_success_template"))
        })
        .step("two files copied", |it| {
            it.file("templates/sso_auth_success.html", "[[that was you]]")
                // This one is looked for late, and the end of the process is an accident.
                .now("start", refused_with(0, "jinja2.exceptions.TemplateNotFound: sso_auth_confirm.html"))
        })
        .step("all three copied", |it| it.file("templates/sso_auth_confirm.html", confirm).now("start", started()))
        .variant("without a provider", |it| it)
        .variant("with CAS", |it| {
            it.companion("cas", companion::recorder())
                .config(json!({
                    "public_baseurl": "http://hs.test/",
                    "cas_config": { "enabled": true, "server_url": "http://cas:8080", "service_url": "http://hs.test" },
                }))
                .fact("a login", |hs: Live| async move {
                    hs.user("alice").await?;
                    come_from_cas(&hs, "alice", "redirectUrl=http://app.test/").await
                })
                .always(page(200, "[[http://app.test/ asks for your account]]"))
                .fact("a login to an account that is no more", |hs: Live| async move {
                    let gone = hs.user("gone").await?.id().to_owned();
                    hs.admin().await?.post(&format!("/_synapse/admin/v1/deactivate/{gone}"), &json!({})).await?.ok()?;
                    come_from_cas(&hs, "gone", "redirectUrl=http://app.test/").await
                })
                .changes(page(200, "[[http://app.test/ asks for your account]]"), page(403, "[[you are gone]]"))
                .fact("before an operation is confirmed", |hs: Live| async move {
                    let (session, stage) = begin_operation(&hs).await?;
                    let Some(stage) = stage else { return Ok(json!("it cannot be confirmed by single sign-on")) };
                    let path = format!("/_matrix/client/r0/auth/{stage}/fallback/web?session={session}");
                    Ok(shown(&hs.anonymous().get(&path).await?))
                })
                .changes("it cannot be confirmed by single sign-on", page(200, confirmed))
                .fact("after it was confirmed", |hs: Live| async move {
                    let (session, _) = begin_operation(&hs).await?;
                    come_from_cas(&hs, "alice", &format!("session={session}")).await
                })
                .changes(page(400, "Missing string query parameter b'redirectUrl'"), page(200, "[[that was you]]"))
        })
        .variant("straight to 1.20", |it| it.hop("1.12.4", "1.20.1"))
}

/// The new pages, and what each cannot do without.
const NEW_PAGES: [(&str, &[&str]); 3] = [
    ("sso_account_deactivated.html", &["deactivated"]),
    ("sso_auth_confirm.html", &["description", "redirect_url"]),
    ("sso_auth_success.html", &["onAuthDone"]),
];

/// Which of the new pages are among the package's templates, and whole.
fn pages_in_package() -> Probe {
    Probe::from(|hs: Live| async move {
        let program = format!(
            "import json, os, synapse\n\
             folder = os.path.join(os.path.dirname(synapse.__file__), 'res/templates')\n\
             there = [page for page in {} if page[0] in os.listdir(folder)]\n\
             text = lambda name: open(os.path.join(folder, name)).read()\n\
             print(json.dumps([name for name, words in there if all(word in text(name) for word in words)]))",
            json!(NEW_PAGES)
        );
        Ok(serde_json::from_str(&hs.python(&program).await?)?)
    })
}

/// What a user sees who comes back from the CAS server with a ticket.
async fn come_from_cas(hs: &Live, name: &str, query: &str) -> Result<Value> {
    let id = hs.user(name).await?.id().to_owned();
    let localpart = id.trim_start_matches('@').split(':').next().unwrap_or_default();
    let namespace = "http://www.yale.edu/tp/cas";
    let text = format!(
        "<cas:serviceResponse xmlns:cas='{namespace}'><cas:authenticationSuccess><cas:user>{localpart}</cas:user>\
         </cas:authenticationSuccess></cas:serviceResponse>"
    );
    hs.recorder("cas").script(&json!([{ "path": "/proxyValidate", "text": text }])).await?;
    let path = format!("/_matrix/client/r0/login/cas/ticket?{query}&ticket=ticket");
    Ok(shown(&hs.anonymous().get(&path).await?))
}

/// Alice is about to sign a device out: the session in which she has to say that it is she, and the name under which she can
/// say so by single sign-on.
async fn begin_operation(hs: &Live) -> Result<(String, Option<String>)> {
    let alice = hs.user("alice").await?;
    let path = format!("/_matrix/client/r0/devices/{}", alice.device());
    let answer = alice.delete(&path, &json!({})).await?;
    let flows = answer.json()?["flows"].as_array().cloned().unwrap_or_default();
    let mut stages = flows.iter().filter_map(|flow| flow["stages"][0].as_str());
    Ok((answer.field("session")?, stages.find(|stage| stage.ends_with(".login.sso")).map(str::to_owned)))
}

fn shown(answer: &harness::Answer) -> Value {
    json!({ "status": answer.status(), "page": answer.text() })
}

/// A plugin for single sign-on should complete a login with `complete_sso_login_async`, which turns away accounts that are no
/// more. The old method goes on without that check, and nothing is said of its age.
///
/// Upstream: PR 7186; the old method was removed in 1.69.0.
fn complete_sso_login() -> Scenario {
    let plugin = r#"
class Plugin:
    @staticmethod
    def parse_config(config):
        return config

    def __init__(self, config, api):
        self.api = api

    async def handle_request(self, request):
        user = request.args[b"user"][0].decode()
        await self.complete(user, request, "http://app.test/")

class Old(Plugin):
    async def complete(self, *arguments):
        self.api.complete_sso_login(*arguments)

class New(Plugin):
    async def complete(self, *arguments):
        await self.api.complete_sso_login_async(*arguments)
"#;
    let ask = |path: &'static str, name: &'static str| {
        Probe::from(move |hs: Live| async move {
            let user = hs.user(name).await?.id().to_owned();
            if name == "gone" {
                hs.admin().await?.post(&format!("/_synapse/admin/v1/deactivate/{user}"), &json!({})).await?.ok()?;
            }
            let answer = hs.anonymous().at("main:9100")?.get(&format!("{path}?user={user}")).await?;
            let text = answer.text();
            let pages = [
                "I trust this address",
                ">Continue</a>",
                "This account has been deactivated",
                "Your account has been deactivated",
                "Internal server error",
            ];
            let page: Vec<_> = pages.into_iter().filter(|page| text.contains(page)).collect();
            let logs_in = if name == "gone" { Value::Null } else { redeemed(&hs, &text).await? };
            Ok(json!({ "status": answer.status(), "page": page, "logs in": logs_in }))
        })
    };
    let page = |status: u16, page: &str| json!({ "status": status, "page": [page], "logs in": null });
    let logs_in = |text: &str| json!({ "status": 200, "page": [text], "logs in": "@alice:hs.test" });
    // What a user is asked, before and after the pages were reworded. PRs 9272, 9287.
    let (trust, go_on) = ("I trust this address", ">Continue</a>");
    let missing = || page(500, "Internal server error");
    Scenario::for_note("Synapse SSO Plugins Method Deprecation")
        .hop("1.12.4", "1.13.0")
        .module("plugin", plugin)
        .listener(json!({
            "type": "http",
            "port": 9100,
            "bind_addresses": ["0.0.0.0"],
            "resources": [],
            "additional_resources": { "/old": { "module": "plugin.Old" }, "/new": { "module": "plugin.New" } },
        }))
        // A plugin that calls a method which is not there.
        .log_error("Failed handle request via 'AdditionalResource'")
        .fact("methods of the module API", |hs: Live| async move {
            let program = "import json; from synapse.module_api import ModuleApi; \
                           print(json.dumps([n for n in dir(ModuleApi) if n.startswith('complete_sso_login')]))";
            Ok(serde_json::from_str(&hs.python(program).await?)?)
        })
        .changes(json!(["complete_sso_login"]), json!(["complete_sso_login", "complete_sso_login_async"]))
        .since("1.69.0", json!(["complete_sso_login_async"]))
        .fact("a login, old method", ask("/old", "alice"))
        .until("1.27.0", logs_in(trust))
        .since("1.27.0", logs_in(go_on))
        .since("1.69.0", missing())
        .fact("a login, new method", ask("/new", "alice"))
        .changes(missing(), logs_in(trust))
        .since("1.27.0", logs_in(go_on))
        .fact("an account that is no more, old method", ask("/old", "gone"))
        .until("1.27.0", page(200, trust))
        .since("1.27.0", page(200, go_on))
        .since("1.69.0", missing())
        .fact("an account that is no more, new method", ask("/new", "gone"))
        .changes(missing(), page(403, "This account has been deactivated"))
        .since("1.27.0", page(403, "Your account has been deactivated"))
        .fact("what is logged of the old method", log_lines("deprecated"))
        .always(json!([]))
}

/// Whom the token in a page's link logs in.
async fn redeemed(hs: &Live, page: &str) -> Result<Value> {
    let Some((_, rest)) = page.split_once("loginToken=") else { return Ok(Value::Null) };
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let login = json!({ "type": "m.login.token", "token": token });
    Ok(hs.anonymous().post("/_matrix/client/r0/login", &login).await?.json()?["user_id"].clone())
}

/// The documented way back to 1.12.4: one statement. And up again, where the schema version stays as it was set, because no
/// delta is left to be applied.
fn rollback_to_1_12() -> Scenario {
    let deltas = "SELECT file FROM applied_schema_deltas WHERE version = 58 ORDER BY file";
    let applied = ["00background_update_ordering.sql", "02remove_dup_outbound_pokes.sql", "03persist_ui_auth.sql"];
    let applied: Vec<_> = applied.iter().map(|file| json!({ "file": format!("58/{file}") })).collect();
    let made = || json!([{ "name": "ui_auth_sessions" }, { "name": "ui_auth_sessions_credentials" }]);
    let whoami = |mut body: Value| {
        body["user_id"] = json!("@alice:hs.test");
        json!({ "status": 200, "body": body })
    };
    Scenario::for_note("Rolling back to v1.12.4 after a failed upgrade")
        .on_both()
        .hop("1.12.4", "1.13.0")
        .fact("start", start())
        .always(started())
        .fact("schema version", sql("SELECT version FROM schema_version"))
        .changes(json!([{ "version": 57 }]), json!([{ "version": 58 }]))
        .since("1.26.0", not(json!([{ "version": 57 }])))
        .fact("deltas of the new version", sql(deltas))
        .changes(json!([]), json!(applied))
        // The version got more of them.
        .since("1.14.0", not(json!([])))
        .fact("tables that they make", tables(&["ui_auth_sessions", "ui_auth_sessions_credentials"]))
        .changes(json!([]), made())
        .fact("a user from before", get("/_matrix/client/r0/account/whoami").by("alice").body())
        .until("1.40.0", whoami(json!({})))
        // PRs 9918, 9655, 12021, 12596.
        .since("1.40.0", whoami(json!({ "device_id": anything() })))
        .since("1.45.0", whoami(json!({ "device_id": anything(), "org.matrix.msc3069.is_guest": false })))
        .since(
            "1.54.0",
            whoami(json!({ "device_id": anything(), "org.matrix.msc3069.is_guest": false, "is_guest": false })),
        )
        .since("1.59.0", whoami(json!({ "device_id": anything(), "is_guest": false })))
        .leg("1.12.4", "nothing done", |it| {
            it.now("start", refused("Cannot use this database as it is too new for the server to understand"))
                .now("schema version", json!([{ "version": 58 }]))
                .now("deltas of the new version", json!(applied))
                .now("tables that they make", made())
        })
        .leg("1.12.4", "after the printed statement", |it| {
            it.sql("the schema version, set back", "UPDATE schema_version SET version = 57;", "done")
                .now("deltas of the new version", json!(applied))
                .now("tables that they make", made())
                .health(health::SCHEMA_VERSION, 57)
        })
        .leg("1.13.0", "again", |it| {
            it.now("schema version", json!([{ "version": 57 }])).health(health::SCHEMA_VERSION, 57)
        })
}
