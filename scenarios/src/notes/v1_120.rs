//! Synapse 1.120.0.

use harness::{Answer, Method, prelude::*};

notes!("1.120.0": msc3886_removed, authenticated_media);

/// The rendezvous by redirection is gone; its option is passed over.
///
/// Upstream: PR 17638.
fn msc3886_removed() -> Scenario {
    let path = "/_matrix/client/unstable/org.matrix.msc3886/rendezvous";
    Scenario::for_note("Removal of experimental MSC3886 feature")
        .hop("1.119.0", "1.120.0")
        .config(json!({ "experimental_features": { "msc3886_endpoint": "/rendezvous-target" } }))
        .fact("where a client is sent", post(path, json!({})).shows_header("location"))
        .changes(json!({ "status": 307, "location": "/rendezvous-target" }), json!({ "status": 404, "location": null }))
        .fact("what it is told", post(path, json!({})).refusal())
        .changes(json!({ "status": 307 }), refusal(404, "M_UNRECOGNIZED", "Unrecognized request"))
        .fact("is it announced", get("/_matrix/client/versions").field("/unstable_features/org.matrix.msc3886"))
        .changes(true, Value::Null)
        .fact("logged of its option", log_lines("msc3886_endpoint"))
        .always(json!([]))
        .fact("printed of its option", printed())
        .always(not(contains("msc3886")))
}

/// What users upload from now on can only be had with a token, on the newer paths. What they had stays on the older.
///
/// Upstream: PR 17889.
fn authenticated_media() -> Scenario {
    let served = || json!({ "status": 200, "an image": true });
    let hidden = || json!({ "refused": refusal(404, "M_NOT_FOUND", "Not found"), "an image": false });
    let no_token = || json!({ "refused": refusal(401, "M_MISSING_TOKEN", "Missing access token"), "an image": false });
    let (v3, r0) = ("/_matrix/media/v3/download/{}", "/_matrix/media/r0/download/{}");
    let thumbnail = "/_matrix/media/v3/thumbnail/{}?width=32&height=32&method=scale";
    let v1 = "/_matrix/client/v1/media/download/{}";
    let remote = json!({ "enable_authenticated_media": false });
    Scenario::for_note("Authenticated media is now enforced by default")
        .on_both()
        .hop("1.119.0", "1.120.0")
        .resources(["media"])
        .variant("local", |it| {
            it.seed(|hs| async move {
                let id = upload(&hs).await?;
                hs.remember("old", &id);
                Ok(())
            })
            .fact("new, v3/download", new(v3, false))
            .changes(served(), hidden())
            .fact("new, v3/download, with a token", new(v3, true))
            .changes(served(), hidden())
            .fact("new, r0/download", new(r0, false))
            .changes(served(), hidden())
            .fact("new, v3/thumbnail", new(thumbnail, false))
            .changes(served(), hidden())
            .fact("new, client/v1, with a token", new(v1, true))
            .always(served())
            .fact("new, client/v1", new(v1, false))
            .always(no_token())
            .fact("new, made first and filled later, v3/download", move |hs: Live| async move {
                let alice = hs.user("alice").await?;
                let made = alice.post("/_matrix/media/v1/create", &json!({})).await?.ok()?;
                let name = made.field("content_uri")?.replace("mxc://", "");
                let filled = alice.request(Method::PUT, &format!("/_matrix/media/v3/upload/{name}"));
                filled.body("image/png", DOT.to_vec()).await?.ok()?;
                Ok(image(&hs.anonymous().get(&v3.replace("{}", &name)).await?))
            })
            .changes(served(), hidden())
            .fact("new, in the table", |hs: Live| async move {
                let id = upload(&hs).await?;
                authenticated(&hs, &id).await
            })
            .changes(false, true)
            .fact("from before, v3/download", old(v3))
            .always(served())
            .fact("from before, r0/download", old(r0))
            .always(served())
            .fact("from before, v3/thumbnail", old(thumbnail))
            .always(served())
            .fact("from before, in the table", |hs: Live| async move { authenticated(&hs, &hs.recall("old")?).await })
            .always(false)
            .step("not enforced", |it| {
                it.reconfigure(json!({ "enable_authenticated_media": false }))
                    .now("new, v3/download", served())
                    .now("new, v3/download, with a token", served())
                    .now("new, r0/download", served())
                    .now("new, v3/thumbnail", served())
                    .now("new, made first and filled later, v3/download", served())
                    .now("new, in the table", false)
            })
        })
        .variant("remote", |it| {
            it.peer("peer.test", remote)
                .seed(move |hs| async move {
                    let id = upload(&hs.peer("peer.test")?).await?;
                    let name = format!("peer.test/{id}");
                    hs.anonymous().get(&v3.replace("{}", &name)).await?.ok()?;
                    hs.remember("fetched", &name);
                    Ok(())
                })
                .fact("never fetched before, v3/download", fetch(v3))
                .changes(json!({ "answer": served(), "kept here": 1 }), json!({ "answer": hidden(), "kept here": 0 }))
                .fact("never fetched before, v3/thumbnail", fetch(thumbnail))
                .changes(json!({ "answer": served(), "kept here": 1 }), json!({ "answer": hidden(), "kept here": 0 }))
                .fact("fetched by a user, v3/download", move |hs: Live| async move {
                    let id = upload(&hs.peer("peer.test")?).await?;
                    let name = format!("peer.test/{id}");
                    let fetched = hs.user("alice").await?.get(&v1.replace("{}", &name)).await?;
                    let shown = hs.anonymous().get(&v3.replace("{}", &name)).await?;
                    Ok(json!({ "to the user": image(&fetched), "to nobody": image(&shown) }))
                })
                .changes(
                    json!({ "to the user": served(), "to nobody": served() }),
                    json!({ "to the user": served(), "to nobody": hidden() }),
                )
                .fact("fetched before, v3/download", move |hs: Live| async move {
                    let name = hs.recall("fetched")?;
                    Ok(image(&hs.anonymous().get(&v3.replace("{}", &name)).await?))
                })
                .always(served())
                .fact("new, to a user of the other server", move |hs: Live| async move {
                    let id = upload(&hs).await?;
                    let theirs = hs.peer("peer.test")?.user("bob").await?;
                    Ok(image(&theirs.get(&v1.replace("{}", &format!("hs.test/{id}"))).await?))
                })
                .always(served())
        })
}

/// Uploads an image: its id.
async fn upload(hs: &Live) -> Result<String> {
    let uri = hs.user("alice").await?.upload("dot.png", "image/png", DOT).await?;
    Ok(uri.rsplit('/').next().unwrap_or_default().to_owned())
}

/// A download of an image that was uploaded just before.
fn new(path: &'static str, by_user: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let id = upload(&hs).await?;
        let client = if by_user { hs.user("alice").await? } else { hs.anonymous() };
        Ok(image(&client.get(&path.replace("{}", &format!("hs.test/{id}"))).await?))
    })
}

/// A download, by nobody, of the image that was uploaded on the first leg.
fn old(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let name = format!("hs.test/{}", hs.recall("old")?);
        Ok(image(&hs.anonymous().get(&path.replace("{}", &name)).await?))
    })
}

/// A request, by nobody, for what another server has and this one never fetched.
fn fetch(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let id = upload(&hs.peer("peer.test")?).await?;
        let answer = hs.anonymous().get(&path.replace("{}", &format!("peer.test/{id}"))).await?;
        let kept = hs.sql(&format!("SELECT media_id FROM remote_media_cache WHERE media_id = '{id}'")).await?;
        Ok(json!({ "answer": image(&answer), "kept here": kept.len() }))
    })
}

/// Is it an image, or what is the refusal?
fn image(answer: &Answer) -> Value {
    let is_image = answer.bytes().starts_with(b"\x89PNG");
    match answer.status() {
        200 => json!({ "status": 200, "an image": is_image }),
        _ => json!({ "refused": answer.refusal(), "an image": is_image }),
    }
}

/// Does the table say that this media needs a token?
async fn authenticated(hs: &Live, id: &str) -> Result<Value> {
    let query = format!("SELECT authenticated FROM local_media_repository WHERE media_id = '{id}'");
    let value = hs.sql(&query).await?[0]["authenticated"].clone();
    // SQLite has no booleans.
    Ok(json!(value == true || value == 1))
}

/// A grey dot.
const DOT: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\x0aIDATx\xdach\0\0\0\x82\0\x81\
    \xdaE\x08;\0\0\0\0IEND\xaeB`\x82";
