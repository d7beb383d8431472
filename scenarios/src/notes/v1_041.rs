//! Synapse 1.41.0.

use std::collections::BTreeSet;

use harness::prelude::*;

use crate::{
    kit::{notices, settings::said_of},
    notes::v1_027::absent_provider,
};

notes!("1.41.0": federation_through_forward_proxy, template_dir, users_media_admin_api, users_media_without_workers);

/// The admin API of a user's media is served where the media are: on a media worker, no longer on the main process.
///
/// Upstream: PRs 10558, 10628.
fn users_media_admin_api() -> Scenario {
    let (old_rules, new_rules) = ("proxy with the old rules", "proxy with the new rules");
    Scenario::for_note("`/_synapse/admin/v1/users/{userId}/media` must be handled by media workers")
        .only_on(Database::Postgres)
        .hop("1.40.0", "1.41.0")
        .config(json!({ "enable_media_repo": false }))
        .without_estate("the main process serves no media")
        .worker("media", "synapse.app.media_repository", ["media"], json!({ "enable_media_repo": true }))
        .proxy(old_rules, [("^/_matrix/media/", "media"), ("^/_synapse/admin/", "main")])
        .proxy(
            new_rules,
            [
                ("^/_synapse/admin/v1/users/.*/media$", "media"),
                ("^/_matrix/media/", "media"),
                ("^/_synapse/admin/", "main"),
            ],
        )
        .seed(|hs| async move { keep_a_file(&hs, "media").await })
        .fact("asked of the main process", media("main"))
        .changes(kept_file(), not_here())
        .fact("the main process asked to delete", deletion("main", "media"))
        .always(nothing_deleted())
        .fact("asked of the media worker", media("media"))
        .changes(not_here(), kept_file())
        .fact("asked through the proxy with the old rules", media(old_rules))
        .changes(kept_file(), not_here())
        .fact("asked through the proxy with the new rules", media(new_rules))
        .changes(not_here(), kept_file())
        .fact("the media worker asked to delete", deletion("media", "media"))
        .changes(nothing_deleted(), deleted())
        .fact("deleting through the proxy with the new rules", deletion(new_rules, "media"))
        .changes(nothing_deleted(), deleted())
}

/// Where there are no workers the main process goes on to serve it, and learns to delete; unless it serves no media.
///
/// Upstream: PR 10558.
fn users_media_without_workers() -> Scenario {
    Scenario::for_note("`/_synapse/admin/v1/users/{userId}/media` must be handled by media workers")
        .on_both()
        .hop("1.40.0", "1.41.0")
        .variant("with its media", |it| {
            it.seed(|hs| async move { keep_a_file(&hs, "main").await })
                .fact("a list", media("main"))
                .always(kept_file())
                .fact("deleting", deletion("main", "main"))
                .changes(nothing_deleted(), deleted())
                .fact("deleting what nobody has", refused_deletion("@nobody:hs.test"))
                .changes(
                    refusal(400, "M_UNRECOGNIZED", "Unrecognized request"),
                    refusal(404, "M_NOT_FOUND", "Unknown user"),
                )
                .fact("deleting what somebody of another server has", refused_deletion("@somebody:other.test"))
                .changes(
                    refusal(400, "M_UNRECOGNIZED", "Unrecognized request"),
                    refusal(400, "M_UNKNOWN", "Can only look up local users"),
                )
        })
        .variant("without media", |it| {
            it.config(json!({ "enable_media_repo": false }))
                .without_estate("no media are served")
                .fact("a list", media("main"))
                .changes(json!({ "answer": status(200), "files": [], "total": 0 }), not_here())
                .since("1.74.0", json!({ "answer": not_found(), "files": null, "total": null }))
                .fact("deleting", delete("/_synapse/admin/v1/users/{admin}/media", json!({})).by_admin())
                .until("1.74.0", unrecognized())
                .since("1.74.0", not_found())
        })
}

/// What the main process says to an admin who asks it to delete all media of somebody whom it does not know.
fn refused_deletion(whose: &str) -> Probe {
    delete(&format!("/_synapse/admin/v1/users/{whose}/media"), json!({})).by_admin().refusal().into()
}

/// A file of the admin's, which stays.
async fn keep_a_file(hs: &Live, at: &str) -> Result<()> {
    let uri = hs.admin().await?.at(at)?.upload("kept.txt", "text/plain", b"kept").await?;
    hs.remember("kept", uri.trim_start_matches("mxc://hs.test/"));
    Ok(())
}

/// The list of the admin's media, asked of this process.
fn media(at: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let answer = hs.admin().await?.at(at)?.get(&hs.fill("/_synapse/admin/v1/users/{admin}/media")?).await?;
        let body = answer.json()?;
        let file = |file: &Value| json!([file["media_id"], file["upload_name"], file["media_length"]]);
        let files: Option<Vec<Value>> = body["media"].as_array().map(|files| files.iter().map(file).collect());
        Ok(json!({ "answer": answer.brief(), "files": files, "total": body["total"] }))
    })
}

fn kept_file() -> Value {
    json!({ "answer": status(200), "files": [["{kept}", "kept.txt", 4]], "total": 1 })
}

fn not_here() -> Value {
    json!({ "answer": unrecognized(), "files": null, "total": null })
}

/// What becomes of a file of somebody's, uploaded at `media`, when `at` is asked to delete all that is theirs.
fn deletion(at: &'static str, media: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        // On each leg another, as 1.40.0 deletes nothing.
        let owner = hs.user(&hs.unique("owner")).await?;
        let owner = owner.at(media)?;
        let uri = owner.upload("gone.txt", "text/plain", b"gone").await?;
        let id = uri.trim_start_matches("mxc://hs.test/");
        hs.remember("file", id);
        let path = format!("/_synapse/admin/v1/users/{}/media", owner.id());
        let by_owner = owner.at(at)?.delete(&path, &json!({})).await?;
        let answer = hs.admin().await?.at(at)?.delete(&path, &json!({})).await?;
        let download = owner.get(&format!("/_matrix/media/r0/download/hs.test/{id}")).await?;
        let stored = format!("/data/media_store/local_content/{}/{}/{}", &id[..2], &id[2..4], &id[4..]);
        let rows = hs.sql(&format!("SELECT media_id FROM local_media_repository WHERE media_id = '{id}'")).await?;
        Ok(json!({
            "asked by the owner": by_owner.brief(),
            "answer": answer.whole(),
            "download": download.brief(),
            "stored": hs.read(&stored).await?,
            "in the table": !rows.is_empty(),
        }))
    })
}

fn nothing_deleted() -> Value {
    let answer = no_such_path(400);
    json!({
        "asked by the owner": unrecognized(),
        "answer": answer,
        "download": status(200),
        "stored": "gone",
        "in the table": true,
    })
}

fn deleted() -> Value {
    let answer = json!({ "status": 200, "body": { "deleted_media": ["{file}"], "total": 1 } });
    json!({
        "asked by the owner": error(403, "M_FORBIDDEN"),
        "answer": answer,
        "download": error(404, "M_NOT_FOUND"),
        "stored": null,
        "in the table": false,
    })
}

/// Templates of single sign-on, account validity and mails may lie in one directory, named once. The three old settings go on,
/// with a warning from 1.42.0 on; where both name a file, the new one wins.
///
/// Upstream: PRs 10587, 10596, 10768 (the warning).
fn template_dir() -> Scenario {
    let old = || {
        json!({
            "sso": { "template_dir": "/data/old" },
            "account_validity": { "template_dir": "/data/old" },
            "email": { "template_dir": "/data/old" },
        })
    };
    let new = |directory: &str| json!({ "templates": { "custom_template_directory": directory } });
    let (shown, prints) = ("pages and mails", "what the server prints");
    let sso_error = TEMPLATES[0];
    let in_directory = |directory: &str, name: &str| json!(format!("{directory} {name}"));
    let from = |directory: &str| made_from(TEMPLATES.map(|name| in_directory(directory, name)));
    let scenario = Scenario::for_note("Deprecation of `template_dir`")
        .disagreement(
            "the page about templates of 1.41.0, and the warnings of 1.42.0, name the setting `custom_templates_directory`",
            "it is `custom_template_directory`, as the note says; the other name is ignored without a word",
        )
        .disagreement("the old settings are to be removed in October 2021", "1.53.0, of February 2022, still reads them")
        .hop("1.40.0", "1.41.0")
        .mail()
        .config(json!({
            "oidc_providers": [provider()],
            "account_validity": { "enabled": true, "period": "6w", "renew_at": "1w" },
            // What the module sees to is a setting since 1.99.0 (#16696).
            "email": { "enable_notifs": true, "notif_delay_before_mail": "0s" },
            "third_party_event_rules": notices::soon(),
        }))
        .module("soon", notices::SOON)
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .fact(shown, templates());
    (TEMPLATES.map(|name| ("old", name)).into_iter())
        .chain(TEMPLATES.map(|name| ("new", name)))
        .chain([("some", sso_error)])
        .fold(scenario, |it, (directory, name)| it.file(&format!("{directory}/{name}"), format!("{directory} {name}")))
        .variant("the old settings", |it| {
            it.then("1.42.0")
                .then("1.53.0")
                .config(old())
                .fact(shown, templates())
                .always(from("old"))
                .fact(prints, printed())
                .until("1.42.0", "")
                .since("1.42.0", warnings())
                .step("the new setting beside them", |it| it.reconfigure(new("/data/new")).now(shown, from("new")))
                .step("the new setting alone", |it| {
                    it.change(|deployment| {
                        for section in ["sso", "account_validity", "email"] {
                            if let Some(section) = deployment.config.get_mut(section).and_then(Value::as_object_mut) {
                                section.shift_remove("template_dir");
                            }
                        }
                    })
                    .now(shown, from("new"))
                    .now(prints, "")
                })
        })
        .variant("both settings", |it| {
            it.config(old()).config(new("/data/new")).fact(shown, templates()).changes(from("old"), from("new")).step(
                "a directory with one of the files",
                |it| {
                    it.reconfigure(new("/data/some")).now(
                        shown,
                        made_from(
                            TEMPLATES.map(|name| in_directory(if name == sso_error { "some" } else { "old" }, name)),
                        ),
                    )
                },
            )
        })
        .variant("the new setting", |it| {
            let does_not_exist = "Configured template directory does not exist: /data/none";
            it.config(new("/data/new"))
                .fact("start", start())
                .always(started())
                .fact(prints, printed())
                .always("")
                .fact("what is said to a setting that is no directory", said_of(&no_directory()))
                .changes(json!([null, null]), json!([contains("must be a dictionary"), contains("must be a string")]))
                .fact(shown, templates())
                .changes(packages(contains("There was an error")), from("new"))
                .step("a directory with one of the files", |it| {
                    it.reconfigure(new("/data/some")).now(shown, packages(in_directory("some", sso_error)))
                })
                .step("under the name that the page about templates gives", |it| {
                    it.unset("templates")
                        .reconfigure(json!({ "templates": { "custom_templates_directory": "/data/new" } }))
                        .now(shown, packages(contains("There was an error")))
                })
                .step("a directory that is not there", |it| {
                    it.reconfigure(new("/data/none"))
                        .now("start", refused(does_not_exist))
                        .now(prints, contains(does_not_exist))
                })
        })
}

/// What [`templates`] shows where they are made from these.
fn made_from([sign_on, renewal, mail, reset, message]: [Value; 5]) -> Value {
    json!({
        "sign-on that fails": { "status": 400, "page": sign_on },
        "unknown renewal token": { "status": 404, "page": renewal },
        "renewal mail": mail,
        "mail to reset a password": reset,
        "mail about a message": message,
    })
}

/// The same, where all but the first come with the package.
fn packages(sign_on: Value) -> Value {
    made_from([
        sign_on,
        contains("Invalid renewal token."),
        contains("Your account will expire on"),
        contains("A password reset request has been received"),
        contains("You can disable these notifications at"),
    ])
}

/// What is printed of the three old settings.
fn warnings() -> Value {
    let warning = |section: &str| format!(r"deprecated 'template_dir' setting in the\s+'{section}' section\. Support");
    let sections = ["account_validity", "sso", "email"].map(warning);
    matches(&format!("(?s){}", sections.join(".*")))
}

/// What looks like the new setting and is not.
fn no_directory() -> Value {
    json!([{ "templates": "/data/new" }, { "templates": { "custom_template_directory": ["/data/new"] } }])
}

/// One of each kind: of single sign-on, of account validity, of the three kinds of mails.
const TEMPLATES: [&str; 5] =
    ["sso_error.html", "invalid_token.html", "notice_expiry.txt", "password_reset.txt", "notif_mail.txt"];

/// A provider for single sign-on that nobody has to reach, as one of a list.
fn provider() -> Value {
    let mut provider = absent_provider();
    provider["idp_id"] = json!("idp");
    provider["idp_name"] = json!("Provider");
    provider
}

/// One thing of each kind that is made from a template.
fn templates() -> Probe {
    Probe::from(|hs: Live| async move {
        let alice = hs.user("alice").await?;
        let address = hs.email("alice");
        let seen = hs.mail("mail").to(&address).await?.len();
        alice.post("/_matrix/client/unstable/account_validity/send_mail", &json!({})).await?.ok()?;
        let mail = hs.mail("mail").next_to(&address, seen).await?;
        let reset = json!({ "client_secret": hs.unique("secret"), "email": address, "send_attempt": 1 });
        hs.anonymous().post("/_matrix/client/r0/account/password/email/requestToken", &reset).await?.ok()?;
        let reset = hs.mail("mail").next_to(&address, seen + 1).await?;
        let message = notices::about_message(&hs, "sender").await?;
        let sign_on = hs.anonymous().get("/_synapse/client/oidc/callback?state=x&code=y").await?;
        let renewal = hs.anonymous().get("/_matrix/client/unstable/account_validity/renew?token=zzz").await?;
        Ok(json!({
            "sign-on that fails": { "status": sign_on.status(), "page": sign_on.text() },
            "unknown renewal token": { "status": renewal.status(), "page": renewal.text() },
            "renewal mail": mail.text.unwrap_or_default().trim(),
            "mail to reset a password": reset.text.unwrap_or_default().trim(),
            "mail about a message": message.text.unwrap_or_default().trim(),
        }))
    })
}

/// With a proxy named in the environment, federation goes through it: requests to other servers, their media, their keys. Until
/// then only the like of previews did.
///
/// Upstream: PRs 10443, 10475. Most of it is seen with destinations that nobody can reach: the proxy's log tells where a server
/// wants to go.
fn federation_through_forward_proxy() -> Scenario {
    let by_proxy = || json!(["peer.test:443", "peer.test:8448"]);
    let directly = || json!([]);
    let found = |connections: Value| json!({ "answer": status(200), "room": "{hall}", "servers": ["peer.test"], "through the proxy": connections });
    let known = "a room's alias on a server that is there";
    let claims = [
        ("a room's alias", wanted("/_matrix/client/r0/directory/room/%23room:{there}")),
        ("media of others", wanted("/_matrix/media/r0/download/{there}/file")),
        ("keys of others", wanted("/_matrix/key/v2/query/{there}/ed25519:key")),
    ];
    let preview = "a preview";
    let scenario = Scenario::for_note("Add support for routing outbound HTTP requests via a proxy for federation")
        .hop("1.40.0", "1.41.0")
        .companion("forward", companion::forward_proxy())
        // Of a proxy that cannot reach a destination.
        .log_error("twisted - [0-9]+ - CRITICAL - Unhandled Error")
        .environment("https_proxy", "http://forward:8888")
        .config(json!({ "url_preview_enabled": true, "url_preview_ip_range_blacklist": ["192.0.2.0/24"] }))
        .peer("peer.test", json!({}))
        .seed(|hs| async move {
            let bob = hs.peer("peer.test")?.user("bob").await?;
            let hall = bob.create_room(&json!({ "preset": "public_chat", "room_alias_name": "hall" })).await?;
            hs.remember("hall", &hall);
            Ok(())
        })
        .fact(known, |hs: Live| async move {
            let before = hs.forward_proxy("forward").connections().await?.len();
            let answer = hs.user("alice").await?.get("/_matrix/client/r0/directory/room/%23hall:peer.test").await?;
            // The first that leg: later ones would use the connection that is open.
            let connections: BTreeSet<_> = hs.forward_proxy("forward").connections().await?.drain(before..).collect();
            let body = answer.json()?;
            Ok(json!({
                "answer": answer.brief(),
                "room": body["room_id"],
                "servers": body["servers"],
                "through the proxy": connections,
            }))
        })
        .changes(found(directly()), found(by_proxy()))
        .fact(preview, wanted("/_matrix/media/r0/preview_url?url=https://{there}/"))
        .always(true);
    claims
        .into_iter()
        .fold(scenario, |scenario, (claim, probe)| {
            let scenario = scenario.fact(claim, probe).changes(false, true);
            // The old path fetches nothing any more, once media are authenticated by default (#17889).
            if claim == "media of others" { scenario.since("1.120.0", false) } else { scenario }
        })
        .step("one server is named in no_proxy", |it| {
            it.environment("no_proxy", "peer.test").now(known, found(directly()))
        })
        .step("a proxy for http only", |it| {
            it.change(|deployment| {
                deployment.environment = [("http_proxy".to_owned(), "http://forward:8888".to_owned())].into();
            })
            .now(known, found(directly()))
            .now(preview, false)
            .now("a room's alias", false)
            .now("media of others", false)
            .now("keys of others", false)
        })
}

/// Is the proxy asked for a destination when Alice asks for something that is there? Nobody listens at it, so that it is known at
/// once; each time it is another one, as those that could not be reached are left alone for a while.
fn wanted(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let port = hs.recall("port").map_or(Ok(20_000), |port| port.parse::<u16>())? + 1;
        hs.remember("port", &port.to_string());
        let there = format!("forward:{port}");
        hs.user("alice").await?.get(&path.replace("{there}", &there)).await?;
        Ok(json!(hs.forward_proxy("forward").connections().await?.contains(&there)))
    })
}
