//! Synapse 1.41.0.

use std::collections::BTreeSet;

use harness::prelude::*;

use crate::v1_27::absent_provider;

notes!("1.41.0": federation_through_forward_proxy, template_dir, users_media_admin_api, users_media_without_workers);

/// The admin API of a user's media is served where the media are: on a media worker, no longer on the main process.
///
/// Upstream: PRs 10558, 10628.
fn users_media_admin_api() -> Scenario {
    let path = "/_synapse/admin/v1/users/{admin}/media";
    let gone = || unrecognized();
    Scenario::for_note("`/_synapse/admin/v1/users/{userId}/media` must be handled by media workers")
        .only_on(Database::Postgres)
        .hop("1.40.0", "1.41.0")
        .config(json!({ "enable_media_repo": false }))
        .without_estate("the main process serves no media")
        .worker("media", "synapse.app.media_repository", ["media"], json!({ "enable_media_repo": true }))
        .proxy("proxy with the old rules", [("^/_matrix/media/", "media"), ("^/_synapse/admin/", "main")])
        .proxy(
            "proxy with the new rules",
            [
                ("^/_synapse/admin/v1/users/.*/media$", "media"),
                ("^/_matrix/media/", "media"),
                ("^/_synapse/admin/", "main"),
            ],
        )
        .seed(|hs| async move {
            hs.admin().await?.at("media")?.upload("kept.txt", "text/plain", b"kept").await?;
            Ok(())
        })
        .fact("asked of the main process", get(path).by_admin())
        .until("1.41.0", status(200))
        .since("1.41.0", gone())
        .fact("the main process asked to delete", delete(path, json!({})).by_admin())
        .always(gone())
        .fact("asked of the media worker", get(path).by_admin().at("media").field("/total"))
        .until("1.41.0", Value::Null)
        .since("1.41.0", 1)
        .fact("asked through the proxy with the old rules", get(path).by_admin().at("proxy with the old rules"))
        .until("1.41.0", status(200))
        .since("1.41.0", gone())
        .fact("asked through the proxy with the new rules", get(path).by_admin().at("proxy with the new rules"))
        .until("1.41.0", gone())
        .since("1.41.0", status(200))
        .fact("deleting a user's media on the worker", |hs: Live| async move {
            // On each leg another, as 1.40.0 deletes nothing.
            let owner = hs.user(&hs.unique("owner")).await?;
            let admin = hs.admin().await?.at("media")?;
            let uri = owner.at("media")?.upload("gone.txt", "text/plain", b"gone").await?;
            let path = format!("/_synapse/admin/v1/users/{}/media", owner.id());
            let answer = admin.delete(&path, &json!({})).await?;
            let media = uri.trim_start_matches("mxc://");
            hs.remember("file", media.trim_start_matches("hs.test/"));
            let left = owner.at("media")?.get(&format!("/_matrix/media/r0/download/{media}")).await?;
            let listed = admin.get(&path).await?.json()?["total"].clone();
            Ok(json!({ "answer": answer.whole(), "the file": left.status(), "files listed": listed }))
        })
        .until(
            "1.41.0",
            json!({
                "answer": { "status": 400, "body": { "errcode": "M_UNRECOGNIZED", "error": anything() } },
                "the file": 200,
                "files listed": null,
            }),
        )
        .since(
            "1.41.0",
            json!({
                "answer": { "status": 200, "body": { "deleted_media": ["{file}"], "total": 1 } },
                "the file": 404,
                "files listed": 0,
            }),
        )
}

/// Where there are no workers the main process goes on to serve it, and learns to delete.
///
/// Upstream: PR 10558.
fn users_media_without_workers() -> Scenario {
    let path = "/_synapse/admin/v1/users/{admin}/media";
    Scenario::for_note("`/_synapse/admin/v1/users/{userId}/media` must be handled by media workers")
        .hop("1.40.0", "1.41.0")
        .fact("a list", get(path).by_admin())
        .always(status(200))
        .fact("deleting", delete(path, json!({})).by_admin())
        .until("1.41.0", unrecognized())
        .since("1.41.0", status(200))
}

/// Templates of single sign-on, account validity and mails may lie in one directory, named once. The three old settings go on,
/// with a warning from 1.42.0 on; where both name a file, the new one wins.
///
/// Upstream: PRs 10587, 10596, 10768 (the warning).
fn template_dir() -> Scenario {
    let old = json!({
        "sso": { "template_dir": "/data/old" },
        "account_validity": { "template_dir": "/data/old" },
        "email": { "template_dir": "/data/old" },
    });
    let new = |directory: &str| json!({ "templates": { "custom_template_directory": directory } });
    let from = |directory: &str| {
        json!({
            "sign-on that fails": format!("{directory} sso_error.html"),
            "unknown renewal token": format!("{directory} invalid_token.html"),
            "renewal mail": format!("{directory} notice_expiry.txt"),
        })
    };
    let upstreams = || {
        json!({
            "sign-on that fails": contains("There was an error"),
            "unknown renewal token": contains("Invalid renewal token."),
            "renewal mail": contains("Your account will expire on"),
        })
    };
    let (shown, prints) = ("pages and mails", "what the server prints");
    let warnings = || matches(r"(?s)\n'account_validity' section\..*\n'sso' section\..*\n'email' section\.");
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
        }))
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await });
    let files = ["sso_error.html", "invalid_token.html", "notice_expiry.txt"];
    files
        .into_iter()
        .flat_map(|name| ["old", "new"].map(|directory| (directory, name)))
        .fold(scenario, |scenario, (directory, name)| {
            scenario.file(&format!("{directory}/{name}"), format!("{directory} {name}"))
        })
        .variant("the old settings")
        .then("1.42.0")
        .then("1.53.0")
        .config(old.clone())
        .fact(shown, templates())
        .always(from("old"))
        .fact(prints, printed())
        .until("1.42.0", "")
        .since("1.42.0", warnings())
        .step("the new setting beside them")
        .change({
            let new = new("/data/new");
            move |deployment| {
                deployment.config(new.clone());
            }
        })
        .now(shown, from("new"))
        .step("the new setting alone")
        .change(|deployment| {
            for section in ["sso", "account_validity", "email"] {
                if let Some(section) = deployment.config.get_mut(section).and_then(Value::as_object_mut) {
                    section.shift_remove("template_dir");
                }
            }
        })
        .now(shown, from("new"))
        .now(prints, "")
        .variant("both settings")
        .config(old)
        .config(new("/data/new"))
        .fact(shown, templates())
        .until("1.41.0", from("old"))
        .since("1.41.0", from("new"))
        .variant("the new setting")
        .config(new("/data/new"))
        .fact("start", start())
        .always(started())
        .fact(prints, printed())
        .always("")
        .fact(shown, templates())
        .until("1.41.0", upstreams())
        .since("1.41.0", from("new"))
        .step("under the name that the page about templates gives")
        .change(|deployment| {
            deployment.unset("templates").config(json!({ "templates": { "custom_templates_directory": "/data/new" } }));
        })
        .now(shown, upstreams())
        .step("a directory that is not there")
        .change({
            let none = new("/data/none");
            move |deployment| {
                deployment.config(none.clone());
            }
        })
        .now("start", refused("Configured template directory does not exist: /data/none"))
        .now(prints, contains("does not exist: /data/none"))
}

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
        let sign_on = hs.anonymous().get("/_synapse/client/oidc/callback?state=x&code=y").await?;
        let renewal = hs.anonymous().get("/_matrix/client/unstable/account_validity/renew?token=zzz").await?;
        Ok(json!({
            "sign-on that fails": sign_on.text(),
            "unknown renewal token": renewal.text(),
            "renewal mail": mail.text.unwrap_or_default().trim(),
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
    let found = |connections: Value| json!({ "answer": status(200), "through the proxy": connections });
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
            bob.create_room(&json!({ "preset": "public_chat", "room_alias_name": "hall" })).await?;
            Ok(())
        })
        .fact(known, |hs: Live| async move {
            let before = hs.forward_proxy("forward").connections().await?.len();
            let answer = hs.user("alice").await?.get("/_matrix/client/r0/directory/room/%23hall:peer.test").await?;
            // The first that leg: later ones would use the connection that is open.
            let connections: BTreeSet<_> = hs.forward_proxy("forward").connections().await?.drain(before..).collect();
            Ok(json!({ "answer": answer.brief(), "through the proxy": connections }))
        })
        .until("1.41.0", found(directly()))
        .since("1.41.0", found(by_proxy()))
        .fact(preview, wanted("/_matrix/media/r0/preview_url?url=https://{there}/"))
        .always(true);
    claims
        .into_iter()
        .fold(scenario, |scenario, (claim, probe)| {
            scenario.fact(claim, probe).until("1.41.0", false).since("1.41.0", true)
        })
        .step("one server is named in no_proxy")
        .change(|deployment| {
            deployment.environment.insert("no_proxy".to_owned(), "peer.test".to_owned());
        })
        .now(known, found(directly()))
        .step("a proxy for http only")
        .change(|deployment| {
            deployment.environment = [("http_proxy".to_owned(), "http://forward:8888".to_owned())].into();
        })
        .now(known, found(directly()))
        .now(preview, false)
        .now("a room's alias", false)
        .now("media of others", false)
        .now("keys of others", false)
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
