//! Thumbnails of a picture, scaled and cropped.

use super::prelude::*;

pub(super) const PICTURE: &[u8] = include_bytes!("picture.png");

pub(super) fn part() -> Part {
    Part::new("thumbnails")
        .fills(&["local_media_repository_thumbnails"])
        .write(|it: Visit| async move {
            if !can_be_had(&it).await? {
                return Ok(json!({}));
            }
            // Unlike any other, and so not in quarantine with it.
            let bytes = [PICTURE, it.named("whole").as_bytes()].concat();
            Ok(json!({ "uri": it.owner.client().upload("whole.png", "image/png", &bytes).await? }))
        })
        .read(|it: Visit| async move {
            let Ok(uri) = it.kept("uri") else { return Ok(json!("no picture was uploaded")) };
            Ok(json!({
                "scaled": show(&it, "thumbnail", &uri, "?width=32&height=32&method=scale").await?,
                "cropped": show(&it, "thumbnail", &uri, "?width=32&height=32&method=crop").await?,
                "large": show(&it, "thumbnail", &uri, "?width=96&height=96&method=crop").await?,
            }))
        })
}

/// What the friend is shown of media: status, type, and whether there is anything.
pub(super) async fn show(it: &Visit, how: &str, uri: &str, query: &str) -> Result<Value> {
    let path = [super::media::path(it, how, uri), vec![query.to_owned()]].concat();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let answer = it.friend.answer(Method::GET, &path, None).await?;
    Ok(json!([answer.status(), answer.header("content-type"), answer.status() == 200 && !answer.bytes().is_empty()]))
}

/// From 1.21.0 to 1.59.1 the upload of a picture fails on PostgreSQL as long as an index of thumbnails is still to be made
/// (#12823). Every database that begins undrained there would show it: it is looked for where an older one is upgraded.
pub(super) async fn can_be_had(it: &Visit) -> Result<bool> {
    const WAITS: &str = "the index of thumbnails waits";
    if it.from("1.60.0") || it.is_updated(Some("local_media_repository_thumbnails_method_idx")).await? {
        return Ok(true);
    }
    if it.mark == "1" {
        it.live.remember(WAITS, "since the first leg");
    }
    Ok(it.live.recall(WAITS).is_err())
}
