//! Synapse 1.74.0.

use harness::prelude::*;

notes!("1.74.0": unicode_user_search, user_directory_rebuild);

/// Where ICU is at hand it says where words end in what is searched for.
///
/// Upstream: PR 14464.
fn unicode_user_search() -> Scenario {
    let extra = "import importlib.metadata as m, json; \
                 print(json.dumps('user-search' in m.metadata('matrix-synapse').get_all('Provides-Extra')))";
    let joined = "what two names have in common, looked for as one word";
    Scenario::for_note("Unicode support in user search")
        .every_variant()
        .disagreement(
            "search handles Unicode better",
            "only what is searched for is divided into words, names are not: one that is written as one word is no longer \
             found by itself",
        )
        .hop("1.73.0", "1.74.0")
        .config(json!({ "user_directory": { "enabled": true, "search_all_users": true } }))
        .seed(|hs| async move {
            named(&hs, "bob", "京都 タワー").await?;
            named(&hs, "carol", "京都タワー").await?;
            named(&hs, "dave", "Ada Lovelace").await
        })
        .fact("the extra `user-search` of the package", move |hs: Live| async move {
            Ok(serde_json::from_str(&hs.python(extra).await?)?)
        })
        .changes(false, true)
        // From then on a library that comes with Synapse does it: #18553.
        .since("1.134.0", false)
        .fact("a name of two words, looked for as it is", found("京都 タワー").once_updated())
        .always(json!(["@bob:hs.test"]))
        .fact("the second word", found("タワー").once_updated())
        .always(json!(["@bob:hs.test"]))
        .fact("the beginning of a second word", found("love").once_updated())
        .always(json!(["@dave:hs.test"]))
        .fact("both words the other way round, with a comma", found("Lovelace, Ada").once_updated())
        .always(json!(["@dave:hs.test"]))
        .variant("ICU is installed", |it| {
            it.fact("ICU", icu())
                .changes("No module named 'icu'", "is there")
                .since("1.134.0", "No module named 'icu'")
                .fact(joined, found("京都タワー").once_updated())
                .changes(json!(["@carol:hs.test"]), json!(["@bob:hs.test"]))
        })
        .variant("ICU is not installed", |it| {
            it.alone("ICU is hidden from everyone")
                .module("icu", "raise ModuleNotFoundError(\"No module named 'icu'\")")
                .fact("ICU", icu())
                .always("No module named 'icu'")
                .fact(joined, found("京都タワー").once_updated())
                .until("1.134.0", json!(["@carol:hs.test"]))
                .since("1.134.0", json!(["@bob:hs.test"]))
        })
}

/// Is ICU there for the homeserver, or why not?
fn icu() -> Probe {
    let program = r#"
try:
    import icu
    print("is there")
except ModuleNotFoundError as error:
    print(error)
"#;
    Probe::from(move |hs: Live| async move { Ok(json!(hs.python(program).await?.trim())) })
}

/// A user with this display name, once the directory knows it.
async fn named(hs: &Live, name: &str, display_name: &str) -> Result<()> {
    let user = hs.user(name).await?;
    let path = format!("/_matrix/client/v3/profile/{}/displayname", escape(user.id()));
    user.put(&path, &json!({ "displayname": display_name })).await?.ok()?;
    let known = |results: &Vec<Value>| results.iter().any(|found| found["display_name"] == display_name);
    anyhow::ensure!(
        known(&eventually(|| search(hs, display_name), known).await?),
        "the directory does not know {name}"
    );
    Ok(())
}

/// Whom the directory finds for Alice.
fn found(term: &'static str) -> Probe {
    found_by("alice", term)
}

/// Whom the directory finds for this user.
fn found_by(user: &'static str, term: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        Ok(search_by(&hs, user, term).await?.iter().map(|found| found["user_id"].clone()).collect())
    })
}

/// What the directory tells Alice.
async fn search(hs: &Live, term: &str) -> Result<Vec<Value>> {
    search_by(hs, "alice", term).await
}

async fn search_by(hs: &Live, user: &str, term: &str) -> Result<Vec<Value>> {
    let body = json!({ "search_term": term });
    let answer = hs.user(user).await?.post("/_matrix/client/v3/user_directory/search", &body).await?.ok()?.json()?;
    Ok(answer["results"].as_array().cloned().unwrap_or_default())
}

const STATUS: &str = "/_synapse/admin/v1/background_updates/status";

/// The user directory is built anew, in case somebody is missing, and with it statistics.
///
/// Upstream: PR 14643.
fn user_directory_rebuild() -> Scenario {
    let updates = json!([
        "populate_user_directory_createtables",
        "populate_user_directory_process_rooms",
        "populate_user_directory_process_users",
        "populate_user_directory_cleanup",
    ]);
    let directory = |all: bool| json!({ "user_directory": { "enabled": true, "search_all_users": all } });
    Scenario::for_note("User directory rebuild")
        .on_both()
        .hop("1.73.0", "1.74.0")
        .fact("updates of the directory, as they ran", ran("populate_user_directory"))
        .changes(json!([]), updates)
        .fact("updates of statistics, as they ran", ran("populate_stats"))
        .changes(json!([]), json!(["populate_stats_process_rooms", "populate_stats_process_users"]))
        .fact("what the admin sees of them at the end", get(STATUS).by_admin().body())
        .always(json!({ "status": 200, "body": { "enabled": true, "current_updates": {} } }))
        .fact("what the admin sees of one that goes on", at_work())
        .always("populate_stats_process_rooms")
        .variant("everybody is found", |it| {
            it.config(directory(true))
                .seed(|hs| async move {
                    named(&hs, "dora", "Dora Missing").await?;
                    hs.execute(&hs.fill("DELETE FROM user_directory WHERE user_id = '{dora}'")?).await?;
                    hs.execute(&hs.fill("DELETE FROM user_directory_search WHERE user_id = '{dora}'")?).await?;
                    named(&hs, "erin", "Erin Mistaken").await?;
                    for table in ["user_directory", "user_directory_search"] {
                        let mistake =
                            format!("UPDATE {table} SET user_id = '@nobody:hs.test' WHERE user_id = '{{erin}}'");
                        hs.execute(&hs.fill(&mistake)?).await?;
                    }
                    Ok(())
                })
                .fact("a user who is missing, after the updates", found("Missing").once_updated())
                .changes(json!([]), json!(["@dora:hs.test"]))
                .fact(
                    "a user who stands there under the name of nobody, after the updates",
                    found("Mistaken").once_updated(),
                )
                .changes(json!(["@nobody:hs.test"]), json!(["@erin:hs.test"]))
        })
        .variant("who shares a room is found", |it| {
            it.config(directory(false))
                .seed(|hs| async move {
                    missing(&hs, "frida", "Frida Hidden", "private_chat").await?;
                    missing(&hs, "greta", "Greta Square", "public_chat").await
                })
                .fact("who is missing, to somebody in the same private room", found("Hidden").once_updated())
                .changes(json!([]), json!(["@frida:hs.test"]))
                .fact("who is missing in a private room, to a stranger", found_by("bob", "Hidden").once_updated())
                .always(json!([]))
                .fact("who is missing in a public room, to a stranger", found_by("bob", "Square").once_updated())
                .changes(json!([]), json!(["@greta:hs.test"]))
        })
}

/// A user with this display name in a room of Alice's, of whom the directory knows nothing any more.
async fn missing(hs: &Live, name: &str, display_name: &str, preset: &str) -> Result<()> {
    let user = hs.user(name).await?;
    let options = json!({ "preset": preset, "invite": [user.id()] });
    user.join(&hs.user("alice").await?.create_room(&options).await?).await?;
    named(hs, name, display_name).await?;
    for rows in [
        "user_directory WHERE user_id",
        "user_directory_search WHERE user_id",
        "users_in_public_rooms WHERE user_id",
        "users_who_share_private_rooms WHERE user_id",
        "users_who_share_private_rooms WHERE other_user_id",
    ] {
        hs.execute(&format!("DELETE FROM {rows} = '{}'", user.id())).await?;
    }
    Ok(())
}

/// The update that the admin begins, and then sees while it goes on. What is over before anybody can look is begun again.
fn at_work() -> Probe {
    Probe::from(|hs: Live| async move {
        let admin = hs.admin().await?;
        let look = async || -> Result<Value> {
            let job = json!({ "job_name": "populate_stats_process_rooms" });
            // Refused while it goes on.
            admin.post("/_synapse/admin/v1/background_updates/start_job", &job).await?;
            let status = admin.get(STATUS).await?.ok()?.json()?;
            Ok(status["current_updates"]["master"]["name"].clone())
        };
        eventually(look, |name| !name.is_null()).await
    })
}

/// The background updates of this kind that the log shows, in the order in which they began.
fn ran(kind: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut names: Vec<String> = Vec::new();
        for line in hs.log_lines("Starting update batch on background update").await? {
            let name = line.split('\'').nth(1).unwrap_or_default().to_owned();
            if name.starts_with(kind) && !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(json!(names))
    })
    .once_updated()
}
