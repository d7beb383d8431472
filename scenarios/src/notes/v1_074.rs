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

/// Whom the directory finds.
fn found(term: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        Ok(search(&hs, term).await?.iter().map(|found| found["user_id"].clone()).collect())
    })
}

/// What the directory tells Alice.
async fn search(hs: &Live, term: &str) -> Result<Vec<Value>> {
    let body = json!({ "search_term": term });
    let answer = hs.user("alice").await?.post("/_matrix/client/v3/user_directory/search", &body).await?.ok()?.json()?;
    Ok(answer["results"].as_array().cloned().unwrap_or_default())
}

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
    Scenario::for_note("User directory rebuild")
        .on_both()
        .hop("1.73.0", "1.74.0")
        .config(json!({ "user_directory": { "enabled": true, "search_all_users": true } }))
        .seed(|hs| async move {
            named(&hs, "dora", "Dora Missing").await?;
            hs.execute(&hs.fill("DELETE FROM user_directory WHERE user_id = '{dora}'")?).await?;
            hs.execute(&hs.fill("DELETE FROM user_directory_search WHERE user_id = '{dora}'")?).await?;
            named(&hs, "erin", "Erin Mistaken").await?;
            for table in ["user_directory", "user_directory_search"] {
                let mistake = format!("UPDATE {table} SET user_id = '@nobody:hs.test' WHERE user_id = '{{erin}}'");
                hs.execute(&hs.fill(&mistake)?).await?;
            }
            Ok(())
        })
        .fact("a user who is missing, after the updates", found("Missing").once_updated())
        .changes(json!([]), json!(["@dora:hs.test"]))
        .fact("a user who stands there under the name of nobody, after the updates", found("Mistaken").once_updated())
        .changes(json!(["@nobody:hs.test"]), json!(["@erin:hs.test"]))
        .fact("updates of the directory, as they ran", ran("populate_user_directory"))
        .changes(json!([]), updates)
        .fact("updates of statistics, as they ran", ran("populate_stats"))
        .changes(json!([]), json!(["populate_stats_process_rooms", "populate_stats_process_users"]))
        .fact(
            "what the admin sees of them at the end",
            get("/_synapse/admin/v1/background_updates/status").by_admin().body(),
        )
        .always(json!({ "status": 200, "body": { "enabled": true, "current_updates": {} } }))
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
