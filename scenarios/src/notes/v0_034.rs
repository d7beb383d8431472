//! Synapse 0.34.0.

use harness::prelude::*;
use images::Suite;

notes!("0.34.0": python_3, riot_im_no_longer_trusted, no_bundled_web_client);

/// Python 3 is fully supported, and who changes to it has to say in which encoding log files are written.
///
/// Upstream's images of then had Python 2, so these are built here. Python 3.9 is told to do as 3.5 and 3.6 did, which took the
/// encoding of files from the locale. That 0.34.0 still runs on Python 2.7 too, and the change of 0.33.9 from one to the other,
/// are not run: there are images with Python 2 of 0.33.5 and 0.33.6 only, as the Debian suite that has 2.7 has no pip for it with
/// which later releases could be installed.
/// Upstream: PRs 4165, 4260.
fn python_3() -> Scenario {
    let python =
        Probe::from(
            |hs: Live| async move { Ok(json!(hs.python("import sys; print(sys.version_info[0])").await?.trim())) },
        );
    let logging = |file: Value| {
        let mut file = file;
        file["class"] = json!("logging.handlers.RotatingFileHandler");
        file["filename"] = json!("/data/own.log");
        file["formatter"] = json!("line");
        json!({
            "version": 1,
            "disable_existing_loggers": false,
            "formatters": {
                "line": { "format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(message)s" },
            },
            "handlers": {
                "file": file,
                "console": { "class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout" },
            },
            "root": { "level": "INFO", "handlers": ["file", "console"] },
        })
        .to_string()
    };
    let name_in_log = "a name that is not ASCII";
    let shown = |in_file: bool, failed: bool| {
        json!({
            "answer": error(403, "M_FORBIDDEN"),
            "in the log file": in_file,
            "an error of encoding": failed,
        })
    };
    let utf8 = logging(json!({ "encoding": "utf8" }));
    let rule = |answer: &Value| json!({ "made": answer, "shown": answer, "deleted": answer });
    Scenario::for_note("Upgrading to v0.34.0")
        .suite(Suite::Bullseye)
        .variant("Python 3 before and after", |it| {
            it.hop("0.33.9", "0.34.0")
                .fact("Python", python.clone())
                .always("3")
                .fact("a push rule whose name is not ASCII", push_rule())
                .changes(rule(&error(500, "M_UNKNOWN")), rule(&status(200)))
                .log_error("Failed handle request via .*/pushrules/")
                .fact(
                    "the page that asks for a captcha",
                    get("/_matrix/client/r0/auth/m.login.recaptcha/fallback/web?session=mine").body(),
                )
                .changes(
                    json!({ "status": 400, "body": { "errcode": "M_UNKNOWN", "error": "No session supplied" } }),
                    json!({ "status": 200, "body": contains("name=\"session\" value=\"mine\"") }),
                )
                .fact(
                    "the encoding in the log configuration that is generated",
                    sample("yaml.safe_load(open(d['log_config']))['handlers']['file'].get('encoding')"),
                )
                .always("utf8")
        })
        .variant("from Python 2 to Python 3", |it| {
            it.hop("0.33.6", "0.34.0")
                // What cannot be logged is, line by line.
                .log_error("^twisted - [0-9]+ - ERROR -")
                .environment("LC_ALL", "C")
                .environment("PYTHONCOERCECLOCALE", "0")
                .environment("PYTHONUTF8", "0")
                .environment("PYTHONIOENCODING", "utf8")
                .config(json!({ "log_config": "/data/own.log.config" }))
                .file("own.log.config", logging(json!({})))
                .fact("Python", python)
                .changes("2", "3")
                .fact("a token from before", get("/_matrix/client/r0/account/whoami").by("alice"))
                .always(status(200))
                .fact(name_in_log, login_of_zoe())
                .changes(shown(true, false), shown(false, true))
                .step("an encoding in the log configuration", |it| {
                    it.file("own.log.config", &*utf8).now(name_in_log, shown(true, false))
                })
        })
}

/// A rule is made, looked at and deleted.
fn push_rule() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, rule) = (hs.user("alice").await?, "/_matrix/client/r0/pushrules/global/content/%C3%BC");
        let made = alice.put(rule, &json!({ "pattern": "word", "actions": ["notify"] })).await?.brief();
        let shown = alice.get(rule).await?.brief();
        let deleted = alice.delete(rule, &json!({})).await?.brief();
        Ok(json!({ "made": made, "shown": shown, "deleted": deleted }))
    })
}

/// Somebody who does not exist tries to log in.
fn login_of_zoe() -> Probe {
    Probe::from(|hs: Live| async move {
        let name = format!("zoë{}", hs.unique("-"));
        let login = json!({ "type": "m.login.password", "user": name, "password": "password" });
        let answer = hs.anonymous().post("/_matrix/client/r0/login", &login).await?;
        let file = hs.read("/data/own.log").await?;
        Ok(json!({
            "answer": answer.brief(),
            "in the log file": file.as_str().is_some_and(|text| text.contains(&name)),
            "an error of encoding": !hs.log_lines("UnicodeEncodeError: 'ascii' codec can't encode").await?.is_empty(),
        }))
    })
}

/// `riot.im` is no longer trusted by default to say whose an address is. A list that names it stays as it is, and while
/// nothing answers there, nobody with an address can deactivate an account.
///
/// Upstream: PRs 4207, 4224.
fn riot_im_no_longer_trusted() -> Scenario {
    let (asked, distrusted) = (error(500, "M_UNKNOWN"), error(400, "M_SERVER_NOT_TRUSTED"));
    let validation = "riot.im is to validate an address, and does not answer";
    let deactivation = "an account with an address is deactivated";
    Scenario::for_note("Upgrading to v0.34.0")
        .hop("0.33.9", "0.34.0")
        // A host of that name, with nothing on its port 443.
        .companion("riot.im", companion::recorder())
        .fact(validation, |hs: Live| async move {
            let body = json!({
                "id_server": "riot.im",
                "client_secret": hs.unique("secret"),
                "email": hs.email("alice"),
                "send_attempt": 1,
            });
            let alice = hs.user("alice").await?;
            Ok(alice.post("/_matrix/client/r0/account/3pid/email/requestToken", &body).await?.brief())
        })
        .log_error("Failed handle request via .*/requestToken")
        .variant("no list", |it| {
            it.alone("others have one")
                .without("trusted_third_party_id_servers")
                .changes(asked.clone(), distrusted.clone())
                .fact("the list in the sample configuration", sample("d['trusted_third_party_id_servers']"))
                .changes(json!(["matrix.org", "vector.im", "riot.im"]), json!(["matrix.org", "vector.im"]))
        })
        .variant("a list with riot.im", |it| {
            it.config(json!({ "trusted_third_party_id_servers": ["riot.im"] }))
                .changes(asked.clone(), asked)
                .log_error("Failed to remove threepid from ID server")
                .fact(deactivation, |hs: Live| async move {
                    let user = hs.user(&hs.unique("leaver")).await?;
                    user.add_email(&format!("{}@example.test", hs.unique("leaver"))).await?;
                    let auth = json!({ "type": "m.login.password", "user": user.id(), "password": user.password() });
                    let answer = user.post("/_matrix/client/r0/account/deactivate", &json!({ "auth": auth })).await?;
                    Ok(json!({ "answer": answer.brief(), "says": answer.json()?["error"] }))
                })
                .always(
                    json!({ "answer": error(400, "M_UNKNOWN"), "says": "Failed to remove threepid from ID server" }),
                )
                .step("riot.im removed", |it| {
                    it.reconfigure(json!({ "trusted_third_party_id_servers": [] }))
                        .now(validation, distrusted)
                        .now(deactivation, json!({ "answer": status(200), "says": null }))
                })
        })
}

/// Matrix Console no longer comes with the homeserver. Where it was served there is nothing, unless the operator says where
/// a client is; and where it was not installed, the homeserver starts now.
///
/// Upstream: PR 4290.
fn no_bundled_web_client() -> Scenario {
    let page = "what is at /_matrix/client/";
    let console = json!({ "status": 200, "page": contains("<title>[matrix]</title>") });
    let ours = || json!({ "status": 200, "page": "OURS" });
    let nothing_there = || json!({ "status": 404, "page": contains("No Such Resource") });
    let warning = || contains("Synapse no longer includes a web client.");
    Scenario::for_note("Upgrading to v0.34.0")
        .hop("0.33.9", "0.34.0")
        .resources(["webclient"])
        .file("web/index.html", "OURS")
        .fact(page, |hs: Live| async move {
            let answer = hs.anonymous().get("/_matrix/client/").await?;
            Ok(json!({ "status": answer.status(), "page": answer.text() }))
        })
        .variant("the client that came along", |it| {
            it.changes(console, nothing_there())
                .fact("where / leads", get("/").shows_header("location"))
                .changes(
                    json!({ "status": 302, "location": contains("/_matrix/client") }),
                    json!({ "status": 302, "location": contains("/_matrix/static") }),
                )
                .fact("what is logged", log_lines("Not enabling webclient resource, as web_client_location is unset."))
                .changes(json!([]), json!([contains("WARNING")]))
                .fact("what is printed", printed())
                .changes(not(warning()), warning())
                .fact(
                    "the sample configuration",
                    sample("[d.get('web_client')] + [r['names'] for l in d['listeners'] for r in l['resources']]"),
                )
                .changes(
                    json!([true, ["client", "webclient"], ["federation"], ["client", "webclient"], ["federation"]]),
                    json!([null, ["client"], ["federation"], ["client"], ["federation"]]),
                )
                .step("a client of the operator", |it| {
                    it.reconfigure(json!({ "web_client_location": "/data/web" }))
                        .now(page, ours())
                        .now("where / leads", json!({ "status": 302, "location": contains("/_matrix/client") }))
                        .now("what is logged", json!([]))
                        .now("what is printed", not(warning()))
                })
                .step("webclient taken out of the listener", |it| {
                    it.unset("web_client_location")
                        .without_resource("webclient")
                        .now("what is logged", json!([]))
                        .now("what is printed", not(warning()))
                })
        })
        .variant("a client of the operator", |it| {
            it.alone("others have none").config(json!({ "web_client_location": "/data/web" })).changes(ours(), ours())
        })
        // Python 2 could say why; on Python 3 the sentence broke.
        .variant("no client installed", |it| {
            it.hop("0.33.6", "0.34.0")
                .alone("in others it is installed")
                .module("syweb", "raise ImportError('hidden by the scenario')\n")
                .since("0.34.0", nothing_there())
                .until("0.34.0", Value::Null)
                .fact("start", start())
                .changes(refused("Could not find a webclient."), started())
        })
}

/// What this expression makes of the configuration `d` that the release generates.
fn sample(expression: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let command = ["python", "-m", "synapse.app.homeserver", "--generate-config", "--report-stats", "no"];
        let place = ["--server-name", "sample.test", "--config-path", "/tmp/sample.yaml"];
        hs.exec(&[&command[..], &place].concat()).await?.ok()?;
        let program = "import json, yaml; d = yaml.safe_load(open('/tmp/sample.yaml'))";
        Ok(serde_json::from_str(&hs.python(&format!("{program}; print(json.dumps({expression}))")).await?)?)
    })
}
