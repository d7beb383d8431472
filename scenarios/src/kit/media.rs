//! Media: their ids and places, an image, and what other servers get of it.

use harness::{Client, Method, prelude::*};

use super::federation::signed_by;

/// A grey dot. Its thumbnail is the same file: 1.111.0 says that a thumbnail for another server is as long as the image.
pub(crate) const DOT: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9cchhh\0\0\x03\x04\x01\x81\
    K\xd3\xd2\x10\0\0\0\0IEND\xaeB`\x82";

/// How an image begins that is one.
pub(crate) const SIGNATURE: &[u8] = b"\x89PNG";

/// The id in the URI of a medium.
pub(crate) fn id(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap_or_default()
}

/// Where a medium lies below the directory of all of its kind.
pub(crate) fn place(uri: &str) -> String {
    let id = id(uri);
    format!("{}/{}/{}", &id[..2], &id[2..4], &id[4..])
}

/// Uploads the dot: its id.
pub(crate) async fn upload(client: &Client) -> Result<String> {
    Ok(id(&client.upload("dot.png", "image/png", DOT).await?).to_owned())
}

/// What another server gets from this process at a path of the federation API; `{}` is an image that was uploaded just before.
pub(crate) fn to_another_server(process: &'static str, path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let id = upload(&hs.user("alice").await?.at(process)?).await?;
        let path = path.replace("{}", &id);
        let answer = signed_by(&hs, harness::SERVER_NAME, process, Method::GET, &path).await?;
        let kind = answer.header("content-type").and_then(|kind| kind.split(';').next());
        let image = answer.bytes().windows(SIGNATURE.len()).any(|part| part == SIGNATURE);
        Ok(json!({ "status": answer.status(), "kind": kind, "an image": image }))
    })
}

/// What [`to_another_server`] shows where it gets the image.
pub(crate) fn in_parts() -> Value {
    json!({ "status": 200, "kind": "multipart/mixed", "an image": true })
}
