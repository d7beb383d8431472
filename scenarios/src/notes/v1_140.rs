//! Synapse 1.140.0.

use std::{future::IntoFuture as _, time::Duration};

use harness::{Method, PATIENCE, prelude::*, within};

use crate::kit::media;

notes!("1.140.0": s3_storage_provider);

/// What the module needs beside itself, of its time.
const BESIDE: [&str; 9] = [
    "boto3==1.40.53",
    "botocore==1.40.53",
    "s3transfer==0.14.0",
    "jmespath==1.0.1",
    "python-dateutil==2.9.0.post0",
    "six==1.17.0",
    "urllib3==2.5.0",
    "humanize==4.14.0",
    "tqdm==4.67.1",
];

/// Media that is kept in S3 needs the module's 1.6.0: with 1.5.0 nothing is stored there or comes back from there.
///
/// The object store is a stand-in that speaks the real one's protocol.
///
/// Upstream: PR 18870 (of Synapse), 133 (of the module).
fn s3_storage_provider() -> Scenario {
    let provider = |synchronous: bool| {
        json!({ "media_storage_providers": [{
            "module": "s3_storage_provider.S3StorageProviderBackend",
            "store_local": true,
            "store_remote": true,
            "store_synchronous": synchronous,
            "config": {
                "bucket": "media",
                "endpoint_url": "http://s3:9000",
                "access_key_id": "key",
                "secret_access_key": "secret",
                "region_name": "us-east-1",
            },
        }] })
    };
    let (upload, old) =
        ("an upload, and what the store has of it then", "a file from before, of which only the store has a copy");
    let kept = || json!({ "answer": 200, "in the store": "a file" });
    let module = |version: &'static str| BESIDE.into_iter().chain([version]);
    // With the old module nothing reaches the store; what is answered differs.
    let stored = |it: Scenario, synchronous: bool, answer: u16| {
        it.alone("others store in another way")
            .config(provider(synchronous))
            .fact(upload, uploaded())
            .changes(kept(), json!({ "answer": answer, "in the store": null }))
            .fact(old, from_store())
            .changes("an old file", "no answer")
            .step("the module's 1.6.0", |it| {
                it.packages(module("synapse-s3-storage-provider==1.6.0")).now(upload, kept()).now(old, "an old file")
            })
    };
    Scenario::for_note("Users of `synapse-s3-storage-provider` must update the module to `v1.6.0`")
        .disagreement(
            "with the older module media can neither be uploaded nor downloaded",
            "unless `store_synchronous` is set an upload is answered with 200 and never reaches the store; and a download that \
             only the store could serve is not answered at all",
        )
        .hop("1.139.2", "1.140.0")
        .companion("s3", companion::object_store(&["media"]))
        .packages(module("synapse-s3-storage-provider==1.5.0"))
        .log_error("Error storing file|LoggingContext.__init__|Failed handle request|Unhandled Error: $")
        .without_estate("its media go the same way")
        .seed(|hs| async move {
            let uri = hs.user("alice").await?.upload("old.txt", "text/plain", b"an old file").await?;
            hs.remember("old file", &uri);
            in_store(&hs, &uri, PATIENCE).await.map(drop)
        })
        .variant("stored before the answer", |it| stored(it, true, 500))
        .variant("stored behind the answer", |it| stored(it, false, 200))
}

/// What Alice's upload is answered, and what the store has of the file.
fn uploaded() -> Probe {
    Probe::from(|hs: Live| async move {
        let alice = hs.user("alice").await?;
        let request = alice.request(Method::POST, "/_matrix/media/v3/upload").body("text/plain", b"a file".to_vec());
        let answer = request.await?;
        let stored = match answer.status() {
            200 => in_store(&hs, &answer.field("content_uri")?, Duration::from_secs(20)).await?,
            _ => None,
        };
        Ok(json!({ "answer": answer.status(), "in the store": stored }))
    })
}

/// What Alice gets of the old file when the homeserver's own copy is gone.
fn from_store() -> Probe {
    Probe::from(|hs: Live| async move {
        let uri = hs.recall("old file")?;
        let copy = format!("/data/media_store/{}", place(&uri));
        hs.exec(&["rm", "-f", &copy]).await?.ok()?;
        let path = uri.replace("mxc://", "/_matrix/client/v1/media/download/");
        let alice = hs.user("alice").await?;
        Ok(match tokio::time::timeout(Duration::from_secs(30), alice.get(&path).into_future()).await {
            Ok(answer) => json!(answer?.text()),
            Err(_) => json!("no answer"),
        })
    })
}

/// Where a medium lies, below the homeserver's directory and in the store.
fn place(uri: &str) -> String {
    format!("local_content/{}", media::place(uri))
}

/// What the store has of a medium, which may come there behind the answer.
async fn in_store(hs: &Live, uri: &str, limit: Duration) -> Result<Option<String>> {
    let (store, path) = (hs.anonymous().at("s3:9000")?, format!("/media/{}?Signature=any", place(uri)));
    let answer = within(limit, async || store.get(&path).await, |it| it.status() != 404).await?;
    match answer.status() {
        200 => Ok(Some(answer.text())),
        404 => Ok(None),
        _ => anyhow::bail!("the store answers {}", answer.whole()),
    }
}
