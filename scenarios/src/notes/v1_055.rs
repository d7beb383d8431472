//! Synapse 1.55.0.

use harness::prelude::*;

notes!("1.55.0": synctl_entry_point, mjolnir_1_3_1);

/// `synctl` becomes an entry point of the package, as do the other scripts, some of which get another name or go.
///
/// Upstream: PRs 12118, 12140. The source tree's root, from which it goes, is not in an image.
fn synctl_entry_point() -> Scenario {
    let commands = "import importlib.metadata as m, json; points = m.distribution('matrix-synapse').entry_points; \
                    print(json.dumps({point.name: point.value for point in points}))";
    let on_path = "import json, shutil; names = ['synctl', 'generate_signing_key', 'generate_signing_key.py', \
                   'move_remote_media_to_new_store.py', 'sync_room_to_group.pl']; \
                   print(json.dumps([name for name in names if shutil.which(name)]))";
    let importable = "import importlib.util, json; print(json.dumps(bool(importlib.util.find_spec('synapse._scripts') \
                      and importlib.util.find_spec('synapse._scripts.synctl'))))";
    let python = |program: &'static str| {
        Probe::from(move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(program).await?)?) })
    };
    let applications = json!({ "synapse_homeserver": "synapse.app.homeserver:main", "synapse_worker": "synapse.app.generic_worker:main" });
    let mut scripts = applications.clone();
    for name in [
        "export_signing_key",
        "generate_config",
        "generate_log_config",
        "generate_signing_key",
        "hash_password",
        "register_new_matrix_user",
        "synapse_port_db",
        "synctl",
        "update_synapse_database",
    ] {
        scripts[name] = json!(format!("synapse._scripts.{name}:main"));
    }
    scripts["synapse_review_recent_signups"] = json!("synapse._scripts.review_recent_signups:main");
    Scenario::for_note("`synctl` script has been moved")
        .hop("1.54.0", "1.55.0")
        .fact("entry points", python(commands))
        .changes(applications, scripts)
        .fact("is there a module `synapse._scripts.synctl`?", python(importable))
        .changes(false, true)
        .fact("scripts on the path", python(on_path))
        .changes(
            json!(["synctl", "generate_signing_key.py", "move_remote_media_to_new_store.py", "sync_room_to_group.pl"]),
            json!(["synctl", "generate_signing_key"]),
        )
        .file("second/homeserver.yaml", second_server().to_string())
        .file("second/log.config", json!({ "version": 1, "disable_existing_loggers": false }).to_string())
        .fact("a homeserver that `synctl` starts, restarts and stops", managed())
        .always(json!({
            "start": "started synapse.app.homeserver(homeserver.yaml)\n",
            "answers": 200,
            "restart": "stopped synapse.app.homeserver\nWaiting for processes to exit...\nAll processes exited\n\
                        started synapse.app.homeserver(homeserver.yaml)\n",
            "answers then": 200,
            "in another process": true,
            "stop": contains("stopped synapse.app.homeserver"),
            "then answers": null,
        }))
}

/// Configuration of a further homeserver in the same container.
fn second_server() -> Value {
    json!({
        "server_name": "second.test",
        "pid_file": "/data/second/homeserver.pid",
        "signing_key_path": "/data/signing.key",
        "media_store_path": "/data/second/media",
        "log_config": "/data/second/log.config",
        "report_stats": false,
        "trusted_key_servers": [],
        "macaroon_secret_key": "macaroon secret",
        "form_secret": "form secret",
        "listeners": [
            { "port": 8010, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{ "names": ["client"] }] },
        ],
        "database": { "name": "sqlite3", "args": { "database": "/data/second/homeserver.db" } },
    })
}

/// What becomes of a further homeserver that is managed by `synctl`, found on the path and called where its configuration
/// lies.
fn managed() -> Probe {
    Probe::from(|hs: Live| async move {
        let start = synctl(&hs, "start").await?;
        // `synctl` returns before the homeserver listens.
        let listens = async || eventually(|| second_answers(&hs), |answers| !answers.is_null()).await;
        let process = async || hs.read("/data/second/homeserver.pid").await;
        let (answers, first) = (listens().await?, process().await?);
        let restart = synctl(&hs, "restart").await?;
        let (again, second) = (listens().await?, process().await?);
        let stop = synctl(&hs, "stop").await?;
        Ok(json!({
            "start": start,
            "answers": answers,
            "restart": restart,
            "answers then": again,
            "in another process": first.is_string() && second.is_string() && first != second,
            "stop": stop,
            "then answers": second_answers(&hs).await?,
        }))
    })
}

/// What it says, also of why it cannot.
async fn synctl(hs: &Live, command: &str) -> Result<String> {
    let output = hs.exec(&["sh", "-c", &format!("cd /data/second && synctl {command}")]).await?;
    Ok(output.ok().unwrap_or_else(|error| error.to_string()))
}

/// The status with which the further homeserver answers, if it does.
async fn second_answers(hs: &Live) -> Result<Value> {
    let program = r#"
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:8010/_matrix/client/versions").status)
except urllib.error.URLError:
    print("null")
"#;
    Ok(serde_json::from_str(&hs.python(program).await?)?)
}

/// Mjolnir up to 1.3.1 imports `glob_to_regex` from `synapse.util`, from where it goes; 1.3.2 imports it from its new home.
///
/// Upstream: PR 11700. The module under test does what Mjolnir's does with it, a rule against users of some servers: Mjolnir itself
/// is on no package registry.
fn mjolnir_1_3_1() -> Scenario {
    let mjolnir = |import: &str| {
        format!(
            "{import}\n\n\
             class AntiSpam:\n    \
                 def __init__(self, config, api):\n        \
                     self.rule = glob_to_regex(config[\"forbidden\"])\n        \
                     api.register_spam_checker_callbacks(user_may_invite=self.user_may_invite)\n\n    \
                 async def user_may_invite(self, inviter, invitee, room_id):\n        \
                     return not self.rule.match(inviter)\n"
        )
    };
    let invites = |name: &'static str| {
        Probe::from(move |hs: Live| async move {
            let (inviter, bob) = (hs.user(name).await?, hs.user("bob").await?);
            let room = inviter.create_room(&json!({})).await?;
            let path = format!("/_matrix/client/r0/rooms/{}/invite", escape(&room));
            Ok(inviter.post(&path, &json!({ "user_id": bob.id() })).await?.brief())
        })
    };
    Scenario::for_note("Compatibility dropped for Mjolnir 1.3.1 and earlier")
        .hop("1.54.0", "1.55.2")
        .file("modules/mjolnir.py", mjolnir("from synapse.util import glob_to_regex"))
        .config(json!({ "modules": [{ "module": "mjolnir.AntiSpam", "config": { "forbidden": "@banned*" } }] }))
        .fact("start", start())
        .changes(started(), refused("ImportError: cannot import name 'glob_to_regex' from 'synapse.util'"))
        .fact("an invitation from somebody banned", invites("banned"))
        .until("1.62.0", error(403, "M_UNKNOWN"))
        // Changed in #12857.
        .since("1.62.0", error(403, "M_FORBIDDEN"))
        .fact("an invitation from somebody else", invites("alice"))
        .always(status(200))
        .step("Mjolnir 1.3.2", |it| {
            it.file("modules/mjolnir.py", mjolnir("from matrix_common.regex import glob_to_regex"))
                .now("start", started())
        })
}
