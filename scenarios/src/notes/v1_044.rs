//! Synapse 1.44.0.

use harness::prelude::*;

use crate::kit::media;

notes!("1.44.0": url_cache_not_mirrored);

/// What previews of web pages leave in the media store is no longer copied to storage providers, nor looked for there: an image
/// whose only copy a provider has is lost. The copies of old can be deleted.
///
/// Upstream: PR 10911.
fn url_cache_not_mirrored() -> Scenario {
    let provider = json!({
        "module": "file_system",
        "store_local": true,
        "store_remote": true,
        "store_synchronous": true,
        "config": { "directory": "/data/provider" },
    });
    let before = "an image from before the hop";
    let kept = |by_provider: bool| json!({ "image": picture(), "its preview": "{old image}", "kept by the provider": by_provider });
    Scenario::for_note("The URL preview cache is no longer mirrored to storage providers")
        .hop("1.43.0", "1.44.0")
        .companion("web", companion::recorder())
        .config(json!({
            "url_preview_enabled": true,
            "url_preview_ip_range_blacklist": ["192.0.2.0/24"],
            "media_storage_providers": [provider],
        }))
        .seed(|hs| async move {
            let text = "<html><head><meta property='og:image' content='http://web:8080/image.png'></head></html>";
            let rules = json!([
                { "path": "/image.png", "base64": IMAGE, "headers": { "Content-Type": "image/png" } },
                { "path": "/page/.*", "text": text, "headers": { "Content-Type": "text/html" } },
            ]);
            hs.recorder("web").script(&rules).await?;
            let uri = hs.user("alice").await?.upload("kept.txt", "text/plain", b"kept").await?;
            hs.remember("upload", uri.trim_start_matches("mxc://hs.test/"));
            hs.python(&format!("import os; os.remove('/data/media_store/local_content/{}')", media::place(&uri))).await?;
            let page = page(&hs);
            let image = preview(&hs, &page).await?;
            hs.remember("old page", &page);
            hs.remember("old image", &image);
            Ok(())
        })
        .fact("a new preview", |hs: Live| async move {
            let image = preview(&hs, &page(&hs)).await?;
            Ok(json!({
                "image": there(&hs, &["media_store/url_cache", "provider/url_cache"], &image).await?,
                "thumbnails": there(&hs, &["media_store/url_cache_thumbnails", "provider/url_cache_thumbnails"], &image).await?,
            }))
        })
        .changes(
            json!({ "image": [true, true], "thumbnails": [true, true] }),
            json!({ "image": [true, false], "thumbnails": [true, false] }),
        )
        .fact("an upload", |hs: Live| async move {
            let uri = hs.user("alice").await?.upload("a.txt", "text/plain", b"a").await?;
            Ok(json!(there(&hs, &["media_store/local_content", "provider/local_content"], &media::place(&uri)).await?))
        })
        .always(json!([true, true]))
        .fact("thumbnails of an upload", |hs: Live| async move {
            let id = media::upload(&hs.user("alice").await?).await?;
            Ok(json!(there(&hs, &["media_store/local_thumbnails", "provider/local_thumbnails"], &media::place(&id)).await?))
        })
        .always(json!([true, true]))
        .fact("an upload that only the provider has", get("/_matrix/media/r0/download/hs.test/{upload}").body())
        .always(json!({ "status": 200, "body": "kept" }))
        .fact("an image that only the provider has", |hs: Live| async move {
            let image = preview(&hs, &page(&hs)).await?;
            hs.python(&format!(
                "import os, shutil\n\
                 for below in ('url_cache/{image}', 'url_cache_thumbnails/{image}'):\n\
                 \x20   here, there = '/data/media_store/' + below, '/data/provider/' + below\n\
                 \x20   shutil.rmtree(there, ignore_errors=True)\n\
                 \x20   os.makedirs(os.path.dirname(there), exist_ok=True)\n\
                 \x20   shutil.move(here, there)"
            ))
            .await?;
            Ok(json!({ "image": download(&hs, &image).await?, "thumbnail": thumbnail(&hs, &image).await? }))
        })
        .changes(
            json!({ "image": picture(), "thumbnail": { "status": 200, "type": "image/png" } }),
            json!({ "image": error(404, "M_NOT_FOUND"), "thumbnail": error(404, "M_NOT_FOUND") }),
        )
        .fact(before, |hs: Live| async move {
            let (page, image) = (hs.recall("old page")?, hs.recall("old image")?);
            let by_provider = there(&hs, &["provider/url_cache"], &image).await? == [true];
            Ok(json!({
                "image": download(&hs, &image).await?,
                "its preview": preview(&hs, &page).await?,
                "kept by the provider": by_provider,
            }))
        })
        .always(kept(true))
        .step("both directories are deleted from the provider", |it| {
            it.act(|hs| async move {
                let delete = "import shutil; [shutil.rmtree('/data/provider/' + name) for name in ('url_cache', 'url_cache_thumbnails')]";
                hs.python(delete).await?;
                Ok(())
            })
            .now(before, kept(false))
        })
}

/// A picture of eight by eight points, and its length.
const IMAGE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mM4ISeHFTEMLQkAkL9BAc9woTwAAAAASUVORK5CYII=";

const BYTES: usize = 74;

/// A page that nobody has asked for yet.
fn page(hs: &Live) -> String {
    format!("http://web:8080/page/{}", hs.unique("p"))
}

/// Asks for the preview of a page; where its image lies below the directories of the cache.
async fn preview(hs: &Live, page: &str) -> Result<String> {
    let path = format!("/_matrix/media/r0/preview_url?url={page}");
    let image = hs.user("alice").await?.get(&path).await?.ok()?.field("og:image")?;
    // The id begins with the day: 2026-01-31_abc.
    Ok(media::id(&image).replacen('_', "/", 1))
}

/// What a download of an image gives.
async fn download(hs: &Live, image: &str) -> Result<Value> {
    let path = format!("/_matrix/media/r0/download/hs.test/{}", image.replacen('/', "_", 1));
    let answer = hs.anonymous().get(&path).await?;
    if answer.status() != 200 {
        return Ok(answer.brief());
    }
    Ok(json!({ "type": answer.header("content-type"), "bytes": hex::encode(answer.bytes()) }))
}

/// What a request for its thumbnail gives.
async fn thumbnail(hs: &Live, image: &str) -> Result<Value> {
    let path = format!("/_matrix/media/r0/thumbnail/hs.test/{}?width=32&height=32", image.replacen('/', "_", 1));
    let answer = hs.anonymous().get(&path).await?;
    if answer.status() != 200 {
        return Ok(answer.brief());
    }
    Ok(json!({ "status": 200, "type": answer.header("content-type") }))
}

/// What a download gives where the image is there.
fn picture() -> Value {
    json!({ "type": "image/png", "bytes": matches(&format!("^89504e470d0a1a0a.{{{}}}$", (BYTES - 8) * 2)) })
}

/// In which of the directories below `/data` is the file?
async fn there(hs: &Live, directories: &[&str], file: &str) -> Result<Vec<bool>> {
    let program =
        format!("import json, os; print(json.dumps([os.path.exists('/data/%s/{file}' % d) for d in {directories:?}]))");
    Ok(serde_json::from_str(&hs.python(&program).await?)?)
}
