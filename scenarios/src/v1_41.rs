//! Synapse 1.41.0.

use harness::prelude::*;

notes!("1.41.0": users_media_admin_api);

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
            [("^/_synapse/admin/v1/users/.*/media$", "media"), ("^/_matrix/media/", "media"), ("^/_synapse/admin/", "main")],
        )
        .seed(|hs| async move {
            hs.admin().await?.at("media")?.upload("kept.txt", "text/plain", b"kept").await?;
            Ok(())
        })
        .fact("asked of the main process", get(path).by_admin())
        .until("1.41.0", status(200))
        .since("1.41.0", gone())
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
            let alice = hs.user("alice").await?;
            let admin = hs.admin().await?.at("media")?;
            let uri = alice.at("media")?.upload("gone.txt", "text/plain", b"gone").await?;
            let path = format!("/_synapse/admin/v1/users/{}/media", alice.id());
            let answer = admin.delete(&path, &json!({})).await?;
            let media = uri.trim_start_matches("mxc://");
            let left = alice.at("media")?.get(&format!("/_matrix/media/r0/download/{media}")).await?;
            Ok(json!({ "answer": answer.brief(), "the file": left.status() }))
        })
        .until("1.41.0", json!({ "answer": gone(), "the file": 200 }))
        .since("1.41.0", json!({ "answer": status(200), "the file": 404 }))
}
