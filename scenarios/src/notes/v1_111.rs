//! Synapse 1.111.0.

use harness::prelude::*;

use crate::kit::media;

notes!("1.111.0": authenticated_media_on_worker);

/// A media worker serves the paths that want a token, to users and to other servers: as long as its listener has the
/// resources of both. With the resource of the documentation alone it does since 1.114.0.
///
/// Upstream: PRs 17420, 17421, 17483.
fn authenticated_media_on_worker() -> Scenario {
    let unrecognized = || refusal(404, "M_UNRECOGNIZED", "Unrecognized request");
    let unknown = || refusal(404, "M_NOT_FOUND", "Not found");
    let no_token = || refusal(401, "M_MISSING_TOKEN", "Missing access token");
    let unsigned = || refusal(401, "M_UNAUTHORIZED", "Missing Authorization headers");
    let limit = || json!({ "status": 200, "body": { "m.upload.size": anything() } });
    let nothing = || json!({ "status": 404, "kind": "application/json", "an image": false });
    let no_limit = || no_such_path(404);
    let own = json!({ "enable_media_repo": true });
    let config = "/_matrix/client/v1/media/config";
    let download = "/_matrix/client/v1/media/download/hs.test/nope";
    let thumbnail = "/_matrix/client/v1/media/thumbnail/hs.test/nope?width=32&height=32";
    let preview = "/_matrix/client/v1/media/preview_url";
    let federation = "/_matrix/federation/v1/media";
    Scenario::for_note("New worker endpoints for authenticated client and federation media")
        .disagreement(
            "a media worker, with the listener that docs/workers.md shows, serves them",
            "that listener, with the resource `media` only, serves them since 1.114.0",
        )
        .only_on(Database::Postgres)
        .hop("1.110.0", "1.111.0")
        .config(json!({ "enable_media_repo": false, "media_instance_running_background_jobs": "media" }))
        .without_estate("the main process serves no media")
        .proxy("proxy", [("^/_matrix/client/v1/media/", "media"), ("^/_matrix/federation/v1/media/", "media")])
        .fact("limit, main process", get(config).by("alice").body())
        .always(no_limit())
        .fact("federation's download, main process", get(&format!("{federation}/download/nope")).refusal())
        .always(unrecognized())
        .fact("federation's thumbnail, main process", get(&format!("{federation}/thumbnail/nope")).refusal())
        .always(unrecognized())
        .fact("limit at the old path", get("/_matrix/media/v3/config").by("alice").at("media").body())
        .always(limit())
        .variant("all resources", |it| {
            it.worker("media", "synapse.app.media_repository", ["media", "client", "federation"], own.clone())
                .config(json!({ "url_preview_enabled": true, "url_preview_ip_range_blacklist": ["192.0.2.0/24"] }))
                .fact("limit", get(config).by("alice").at("media").body())
                .changes(no_limit(), limit())
                .fact("limit, asked by nobody", get(config).at("media").refusal())
                .changes(unrecognized(), no_token())
                .fact("limit, through the proxy", get(config).by("alice").at("proxy").body())
                .changes(no_limit(), limit())
                .fact("download of what is not there", get(download).by("alice").at("media").refusal())
                .changes(unrecognized(), unknown())
                .fact("download, asked by nobody", get(download).at("media").refusal())
                .changes(unrecognized(), no_token())
                .fact("thumbnail of what is not there", get(thumbnail).by("alice").at("media").refusal())
                .changes(unrecognized(), unknown())
                .fact("thumbnail, asked by nobody", get(thumbnail).at("media").refusal())
                .changes(unrecognized(), no_token())
                .fact("preview of nothing", get(preview).by("alice").at("media"))
                .changes(not_found(), error(400, "M_MISSING_PARAM"))
                .fact("download of what was uploaded", |hs: Live| async move {
                    let media = hs.user("alice").await?.at("media")?;
                    let uri = media.upload("a.txt", "text/plain", b"kept").await?;
                    let path = uri.replace("mxc://", "/_matrix/client/v1/media/download/");
                    let answer = media.get(&path).await?;
                    Ok(json!({ "status": answer.status(), "kept": answer.text() == "kept" }))
                })
                .changes(json!({ "status": 404, "kept": false }), json!({ "status": 200, "kept": true }))
                .fact("federation's download", get(&format!("{federation}/download/nope")).at("media").refusal())
                .changes(unrecognized(), unsigned())
                .fact(
                    "federation's download of what was uploaded",
                    media::to_another_server("media", "/_matrix/federation/v1/media/download/{}"),
                )
                .changes(nothing(), media::in_parts())
                .fact("federation's thumbnail", get(&format!("{federation}/thumbnail/nope")).at("media").refusal())
                .changes(unrecognized(), unsigned())
                .fact(
                    "federation's thumbnail of what was uploaded",
                    media::to_another_server("media", "/_matrix/federation/v1/media/thumbnail/{}?width=32&height=32"),
                )
                .changes(nothing(), media::in_parts())
        })
        .variant("the resource of the documentation", |it| {
            it.worker("media", "synapse.app.media_repository", ["media"], own)
                .then("1.114.0")
                .fact("limit", get(config).by("alice").at("media").body())
                .until("1.114.0", no_limit())
                .since("1.114.0", limit())
                .fact("limit, through the proxy", get(config).by("alice").at("proxy").body())
                .until("1.114.0", no_limit())
                .since("1.114.0", limit())
                .fact("download of what is not there", get(download).by("alice").at("media").refusal())
                .until("1.114.0", unrecognized())
                .since("1.114.0", unknown())
                .fact("federation's download", get(&format!("{federation}/download/nope")).at("media").refusal())
                .until("1.114.0", unrecognized())
                .since("1.114.0", unsigned())
        })
}
