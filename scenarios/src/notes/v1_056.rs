//! Synapse 1.56.0.

use harness::prelude::*;

use crate::kit::groups;

notes!("1.56.0": open_registration, groups_deprecated, unsafe_locale);

/// A server that lets anyone register unseen does not start, unless its operator says that this is meant.
fn open_registration() -> Scenario {
    let fact = "a registration";
    let open = || json!({ "answer": status(200), "flows": null, "who it is": "{newcomer}" });
    let asks_for = |flows: &[[&str; 2]]| {
        let flows: Vec<_> = flows.iter().map(|stages| json!({ "stages": stages })).collect();
        json!({ "answer": status(401), "flows": flows, "who it is": null })
    };
    let asks_for_address =
        || json!({ "answer": status(401), "flows": [{ "stages": ["m.login.email.identity"] }], "who it is": null });
    let and_an_address_or_not = |stage| [[stage, "m.login.dummy"], [stage, "m.login.email.identity"]];
    let unverified = "You have enabled open registration without any verification. This is a known vector for spam and \
                      abuse. If you would like to allow public registration, please consider adding email, captcha, or \
                      token-based verification. Otherwise this check can be removed by setting the \
                      `enable_registration_without_verification` config option to `true`.";
    let captcha = json!({
        "enable_registration_captcha": true, "recaptcha_public_key": "public", "recaptcha_private_key": "private",
    });
    Scenario::for_note("Open registration without verification is now disabled by default")
        .hop("1.55.2", "1.56.0")
        .variant("open to anyone", |it| {
            it.mail()
                .config(json!({ "enable_registration": true }))
                .fact("start", start())
                .changes(started(), refused(unverified))
                .fact(fact, registration())
                .always(open())
                .step("the operator insists", |it| {
                    it.reconfigure(json!({ "enable_registration_without_verification": true })).now("start", started())
                })
                .step("and no longer does", |it| {
                    it.reconfigure(json!({ "enable_registration_without_verification": false }))
                })
                .step("or asks for a token", |it| {
                    it.unset("enable_registration_without_verification")
                        .reconfigure(json!({ "registration_requires_token": true }))
                        .now("start", started())
                        .now(fact, asks_for(&and_an_address_or_not("m.login.registration_token")))
                })
                .step("or for a captcha", |it| {
                    it.unset("registration_requires_token")
                        .reconfigure(captcha)
                        .now("start", started())
                        .now(fact, asks_for(&and_an_address_or_not("m.login.recaptcha")))
                })
                .step("or for an address", |it| {
                    it.unset("enable_registration_captcha")
                        .reconfigure(json!({ "registrations_require_3pid": ["email"] }))
                        .now("start", started())
                        .now(fact, asks_for_address())
                })
        })
        .variant("closed", |it| {
            it.config(json!({ "enable_registration": false }))
                .fact(fact, registration())
                .always(json!({ "answer": error(403, "M_FORBIDDEN"), "flows": null, "who it is": null }))
        })
}

/// What becomes of somebody who registers with a password alone: the answer, what else is asked for, and who the server then takes
/// them for.
fn registration() -> Probe {
    Probe::from(|hs: Live| async move {
        let name = hs.unique("newcomer");
        hs.remember("newcomer", &format!("{name}:hs.test"));
        let body = json!({ "username": name, "password": "Pa55w0rd!", "auth": { "type": "m.login.dummy" } });
        let answer = hs.anonymous().post("/_matrix/client/v3/register", &body).await?;
        let told = answer.json()?;
        let who = match told["access_token"].as_str() {
            None => Value::Null,
            Some(token) => {
                let answer = hs.anonymous().with_token(token).get("/_matrix/client/v3/account/whoami").await?;
                json!(answer.ok()?.field("user_id")?.trim_start_matches('@'))
            }
        };
        Ok(json!({ "answer": answer.brief(), "flows": told.get("flows"), "who it is": who }))
    })
}

/// An announcement: groups go on, and nobody is told. How it is without them could be tried since 1.55.0.
///
/// Upstream: PR 12200.
fn groups_deprecated() -> Scenario {
    let routes = "what the routes of groups answer";
    let listed = || json!({ "status": 200, "body": { "groups": ["{group}"] } });
    let joined = "Alice's groups";
    Scenario::for_note("Groups/communities feature has been deprecated")
        .disagreement(
            "groups are deprecated in 1.56.0, where one can test disabling them",
            "the switch does so since 1.55.0, and 1.56.0 brings nothing new; a sync tells of groups all the same until 1.57.0",
        )
        .hop("1.54.0", "1.55.2")
        .then("1.56.0")
        .config(json!({ "enable_group_creation": true }))
        .seed(groups::found)
        .fact("Alice's groups, in a sync", groups::synced())
        .until("1.57.0", groups::joined())
        .fact("warnings", |hs: Live| async move {
            let mut warnings = hs.log_lines("roup").await?;
            warnings.retain(|line| line.contains(" - WARNING - "));
            Ok(json!({ "logged": warnings, "printed": hs.printed().await? }))
        })
        .always(json!({ "logged": [], "printed": "" }))
        .variant("no setting", |it| {
            it.fact(routes, groups::answers("main"))
                .until("1.58.0", groups::served("main"))
                .fact(joined, get("/_matrix/client/v3/joined_groups").by("alice").body())
                .until("1.58.0", listed())
        })
        .variant("switched off", |it| {
            it.config(json!({ "experimental_features": { "groups_enabled": false } }))
                .fact(routes, groups::answers("main"))
                .until("1.55.0", groups::served("main"))
                .since("1.55.0", groups::gone("main"))
                .since("1.74.0", groups::forgotten("main"))
                .fact(joined, get("/_matrix/client/v3/joined_groups").by("alice").body())
                .until("1.55.0", listed())
                .since("1.55.0", no_such_path(400))
                .since("1.74.0", no_such_path(404))
        })
}

/// A PostgreSQL database that does not sort and classify as `C` does is refused. Until then it was warned of only, unless it was
/// empty, when it always was refused.
///
/// Upstream: PRs 12262, 12288.
fn unsafe_locale() -> Scenario {
    let warns = |of: &[&str]| {
        let lines = of.iter().map(|of| contains(&format!("Database has incorrect {of} of 'C.utf8'. Should be 'C'")));
        json!(lines.collect::<Vec<_>>())
    };
    // The value stands beside the text, not in it.
    let refuses = |of: &str| {
        refused(&format!(
            r#"("Database has incorrect {of} of %r. Should be 'C'\nSee docs/postgres.md for more information. You can override this check bysetting 'allow_unsafe_locale' to true in the database config.", 'C.utf8')"#
        ))
    };
    let warnings = || log_lines(" - WARNING - Database has incorrect");
    let insists = |insists: bool| json!({ "database": { "allow_unsafe_locale": insists } });
    Scenario::for_note("Change in behaviour for PostgreSQL databases with unsafe locale")
        .only_on(Database::Postgres)
        .hop("1.55.2", "1.56.0")
        .variant("both", |it| {
            it.locale("C.utf8")
                .fact("start", start())
                .changes(started(), refuses("collation"))
                .fact("warnings", warnings())
                .changes(warns(&["collation", "ctype"]), warns(&["collation"]))
                .step("the operator insists", |it| it.reconfigure(insists(true)).now("start", started()))
                .step("and no longer does", |it| it.reconfigure(insists(false)))
                .step("the database is dumped and read back into one with the right locale", |it| {
                    it.locale("C").now("start", started()).now("warnings", json!([]))
                })
        })
        .variant("the character type only", |it| {
            it.locale("C/C.utf8")
                .fact("start", start())
                .changes(started(), refuses("ctype"))
                .fact("warnings", warnings())
                .always(warns(&["ctype"]))
                .step("the operator insists", |it| {
                    it.reconfigure(insists(true)).now("start", started()).now("warnings", json!([]))
                })
        })
        .variant("an empty database", |it| {
            it.locale("C.utf8").from_scratch().config(insists(true)).fact("start", start()).always(refused(
                "Database is incorrectly configured: - 'COLLATE' is set to 'C.utf8'. Should be 'C' \
                 - 'CTYPE' is set to 'C.utf8'. Should be 'C'",
            ))
        })
}
