//! Uploaded files: their bytes, and thumbnails of a picture.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("media")
        .fills(&["local_media_repository"])
        .rides_along()
        .write(|it: Visit| async move {
            let words = format!("kept for later, {}", it.mark);
            Ok(json!({ "uri": it.owner.client().upload("nöte.txt", "text/plain", words.as_bytes()).await? }))
        })
        .read(|it: Visit| async move {
            let uri = it.kept("uri")?;
            let path = super::media::path(&it, "download", &uri);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let answer = it.friend.answer(Method::GET, &path, None).await?;
            Ok(json!({
                "status": answer.status(),
                "text": answer.text(),
                "content-type": answer.header("content-type"),
                "content-disposition": answer.header("content-disposition"),
            }))
        })
}

/// Where a release gives out media. Since 1.111.0 it can be had with authentication, and since 1.120.0 it must.
pub(super) fn path(it: &Visit, how: &str, uri: &str) -> Vec<String> {
    let root = if it.from("1.111.0") { "/_matrix/client/v1/media" } else { "/_matrix/media/r0" };
    [root, how].into_iter().chain(uri.trim_start_matches("mxc://").split('/')).map(str::to_owned).collect()
}
