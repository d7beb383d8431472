//! Synapse 1.120.0.

use harness::{Answer, Method, prelude::*};

use crate::kit::media::{self, DOT, SIGNATURE};

const V3: &str = "/_matrix/media/v3/download/{}";
const R0: &str = "/_matrix/media/r0/download/{}";
const V1: &str = "/_matrix/client/v1/media/download/{}";
const THUMBNAIL: &str = "/_matrix/media/v3/thumbnail/{}?width=32&height=32&method=scale";
const V1_THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail/{}?width=32&height=32&method=scale";
const FEDERATION_THUMBNAIL: &str = "/_matrix/federation/v1/media/thumbnail/{}?width=32&height=32&method=scale";

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
    Scenario::for_note("Authenticated media is now enforced by default")
        .on_both()
        .hop("1.119.0", "1.120.0")
        .resources(["media"])
        .variant("local", local)
        .variant("remote", remote)
}

fn served() -> Value {
    json!({ "status": 200, "an image": true })
}

fn hidden() -> Value {
    json!({ "refused": refusal(404, "M_NOT_FOUND", "Not found"), "an image": false })
}

fn not_enforced() -> Value {
    json!({ "enable_authenticated_media": false })
}

/// What users of this server upload.
fn local(it: Scenario) -> Scenario {
    let no_token = || json!({ "refused": refusal(401, "M_MISSING_TOKEN", "Missing access token"), "an image": false });
    it.seed(|hs| async move {
        let id = upload(&hs).await?;
        hs.remember("old", &id);
        hs.remember("last", &format!("hs.test/{id}"));
        Ok(())
    })
    .fact("new, v3/download", new(V3, false))
    .changes(served(), hidden())
    .fact("new, v3/download, with a token", new(V3, true))
    .changes(served(), hidden())
    .fact("new, r0/download", new(R0, false))
    .changes(served(), hidden())
    .fact("new, v3/thumbnail", new(THUMBNAIL, false))
    .changes(served(), hidden())
    .fact("new, client/v1, with a token", new(V1, true))
    .always(served())
    .fact("new, client/v1", new(V1, false))
    .always(no_token())
    .fact("new, client/v1's thumbnail, with a token", new(V1_THUMBNAIL, true))
    .always(served())
    .fact("new, client/v1's thumbnail", new(V1_THUMBNAIL, false))
    .always(no_token())
    .fact("new, federation's thumbnail", media::to_another_server("main", FEDERATION_THUMBNAIL))
    .always(media::in_parts())
    .fact("new, made first and filled later, v3/download", |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let made = alice.post("/_matrix/media/v1/create", &json!({})).await?.ok()?;
        let name = made.field("content_uri")?.replace("mxc://", "");
        let filled = alice.request(Method::PUT, &format!("/_matrix/media/v3/upload/{name}"));
        filled.body("image/png", DOT.to_vec()).await?.ok()?;
        Ok(image(&hs.anonymous().get(&V3.replace("{}", &name)).await?))
    })
    .changes(served(), hidden())
    .fact("new, in the table", |hs: Live| async move {
        let id = upload(&hs).await?;
        authenticated(&hs, &id).await
    })
    .changes(false, true)
    .fact("from before, v3/download", old(V3))
    .always(served())
    .fact("from before, r0/download", old(R0))
    .always(served())
    .fact("from before, v3/thumbnail", old(THUMBNAIL))
    .always(served())
    .fact("from before, in the table", |hs: Live| async move { authenticated(&hs, &hs.recall("old")?).await })
    .always(false)
    .fact("uploaded on the leg before", |hs: Live| async move {
        let name = format!("hs.test/{}", upload(&hs).await?);
        of_leg_before(&hs, &name).await
    })
    .always(on_both_paths())
    .step("not enforced", |it| {
        it.reconfigure(not_enforced())
            .now("new, v3/download", served())
            .now("new, v3/download, with a token", served())
            .now("new, r0/download", served())
            .now("new, v3/thumbnail", served())
            .now("new, made first and filled later, v3/download", served())
            .now("new, in the table", false)
    })
    .step("enforced, and thumbnails are made when they are asked for", |it| {
        it.unset("enable_authenticated_media").reconfigure(json!({ "dynamic_thumbnails": true }))
    })
}

/// What users of another server upload, which does not enforce it.
fn remote(it: Scenario) -> Scenario {
    let fetched = || json!({ "answer": served(), "kept here": 1 });
    let not_fetched = || json!({ "answer": hidden(), "kept here": 0 });
    it.peer("peer.test", not_enforced())
        .seed(|hs| async move {
            let name = elsewhere(&hs).await?;
            hs.anonymous().get(&V3.replace("{}", &name)).await?.ok()?;
            hs.remember("fetched", &name);
            hs.remember("last", &name);
            Ok(())
        })
        .fact("never fetched before, v3/download", fetch(V3))
        .changes(fetched(), not_fetched())
        .fact("never fetched before, v3/thumbnail", fetch(THUMBNAIL))
        .changes(fetched(), not_fetched())
        .fact("fetched by a user, v3/download", |hs: Live| async move {
            let name = elsewhere(&hs).await?;
            let fetched = hs.user("alice").await?.get(&V1.replace("{}", &name)).await?;
            let shown = hs.anonymous().get(&V3.replace("{}", &name)).await?;
            Ok(json!({ "to the user": image(&fetched), "to nobody": image(&shown) }))
        })
        .changes(
            json!({ "to the user": served(), "to nobody": served() }),
            json!({ "to the user": served(), "to nobody": hidden() }),
        )
        .fact("fetched before, v3/download", |hs: Live| async move {
            let name = hs.recall("fetched")?;
            Ok(image(&hs.anonymous().get(&V3.replace("{}", &name)).await?))
        })
        .always(served())
        .fact("fetched by a user on the leg before", |hs: Live| async move {
            let name = elsewhere(&hs).await?;
            hs.user("alice").await?.get(&V1.replace("{}", &name)).await?.ok()?;
            of_leg_before(&hs, &name).await
        })
        .always(on_both_paths())
        .fact("new, to a user of the other server", |hs: Live| async move {
            let id = upload(&hs).await?;
            let theirs = hs.peer("peer.test")?.user("bob").await?;
            Ok(image(&theirs.get(&V1.replace("{}", &format!("hs.test/{id}"))).await?))
        })
        .always(served())
        .step("not enforced", |it| {
            it.reconfigure(not_enforced())
                .now("never fetched before, v3/download", fetched())
                .now("never fetched before, v3/thumbnail", fetched())
                .now("fetched by a user, v3/download", json!({ "to the user": served(), "to nobody": served() }))
        })
}

/// Uploads an image: its id.
async fn upload(hs: &Live) -> Result<String> {
    media::upload(&hs.user("alice").await?).await
}

/// Uploads an image to the other server: the server's name and its id.
async fn elsewhere(hs: &Live) -> Result<String> {
    Ok(format!("peer.test/{}", upload(&hs.peer("peer.test")?).await?))
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
        let name = elsewhere(&hs).await?;
        let answer = hs.anonymous().get(&path.replace("{}", &name)).await?;
        let id = name.trim_start_matches("peer.test/");
        let kept = hs.sql(&format!("SELECT media_id FROM remote_media_cache WHERE media_id = '{id}'")).await?;
        Ok(json!({ "answer": image(&answer), "kept here": kept.len() }))
    })
}

/// What [`of_leg_before`] shows where nothing is hidden.
fn on_both_paths() -> Value {
    json!({ "v3/download": served(), "v3/thumbnail": served() })
}

/// What nobody gets of the image that the leg before has left, and of its thumbnail; this one is left for the next leg.
async fn of_leg_before(hs: &Live, left: &str) -> Result<Value> {
    let (name, nobody) = (hs.recall("last")?, hs.anonymous());
    hs.remember("last", left);
    let (download, thumbnail) = (V3.replace("{}", &name), THUMBNAIL.replace("{}", &name));
    Ok(json!({
        "v3/download": image(&nobody.get(&download).await?),
        "v3/thumbnail": image(&nobody.get(&thumbnail).await?),
    }))
}

/// Is it an image, or what is the refusal?
fn image(answer: &Answer) -> Value {
    let is_image = answer.bytes().starts_with(SIGNATURE);
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
