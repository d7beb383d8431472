//! Synapse 1.78.0.

use harness::prelude::*;

use crate::kit::media;

notes!("1.78.0": media_delete_api);

/// Old media are deleted without naming the server; the path that names it goes on.
fn media_delete_api() -> Scenario {
    let deleted = || {
        json!({
            "of what is older than 2021": { "status": 200, "body": { "deleted_media": [], "total": 0 } },
            "answer": { "status": 200, "body": { "deleted_media": ["{media}"], "total": 1 } },
            "the file afterwards": error(404, "M_NOT_FOUND"),
            "with pictures of people": { "status": 200, "body": { "deleted_media": ["{picture}"], "total": 1 } },
        })
    };
    let unknown = || no_such_path(404);
    Scenario::for_note("Deprecate the `/_synapse/admin/v1/media/<server_name>/delete` admin API")
        .hop("1.77.0", "1.78.0")
        .fact("POST /_synapse/admin/v1/media/delete", deletion("/_synapse/admin/v1/media/delete"))
        .changes(
            json!({
                "of what is older than 2021": unknown(),
                "answer": unknown(),
                "the file afterwards": status(200),
                "with pictures of people": unknown(),
            }),
            deleted(),
        )
        .fact("POST /_synapse/admin/v1/media/hs.test/delete", deletion("/_synapse/admin/v1/media/hs.test/delete"))
        .always(deleted())
        .fact(
            "POST /_synapse/admin/v1/media/delete, by somebody who is no admin",
            post("/_synapse/admin/v1/media/delete?before_ts=9999999999999", json!({})).by("bob").refusal(),
        )
        .changes(
            refusal(404, "M_UNRECOGNIZED", "Unrecognized request"),
            refusal(403, "M_FORBIDDEN", "You are not a server admin"),
        )
        .fact(
            "POST /_synapse/admin/v1/media/peer.test/delete",
            post("/_synapse/admin/v1/media/peer.test/delete?before_ts=9999999999999", json!({})).by_admin().refusal(),
        )
        .always(refusal(400, "M_UNKNOWN", "Can only delete local media"))
}

/// What becomes of two files so large that no other is deleted with them: one that nobody uses, and Bob's picture.
fn deletion(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (admin, bob) = (hs.admin().await?, hs.user("bob").await?);
        let large = async |name: &str| -> Result<String> {
            let uri = bob.upload(name, "application/octet-stream", &vec![0; 3_000_000]).await?;
            hs.remember(name, media::id(&uri));
            Ok(uri)
        };
        large("media").await?;
        let profile = format!("/_matrix/client/v3/profile/{}/avatar_url", escape(bob.id()));
        bob.put(&profile, &json!({ "avatar_url": large("picture").await? })).await?.ok()?;
        let delete = |query: &str| admin.post(&format!("{path}?{query}&size_gt=2900000"), &json!({}));
        let old = delete("before_ts=1609459200000").await?;
        let answer = delete("before_ts=9999999999999").await?;
        let media = hs.recall("media")?;
        let file = admin.get(&format!("/_matrix/media/v3/download/hs.test/{media}")).await?;
        let pictures = delete("before_ts=9999999999999&keep_profiles=false").await?;
        // What is left the next deletion would find.
        for left in [media, hs.recall("picture")?] {
            admin.delete(&format!("/_synapse/admin/v1/media/hs.test/{left}"), &json!({})).await?;
        }
        Ok(json!({
            "of what is older than 2021": old.whole(),
            "answer": answer.whole(),
            "the file afterwards": file.brief(),
            "with pictures of people": pictures.whole(),
        }))
    })
}
