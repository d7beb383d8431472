//! A picture that an admin deletes on a later release.

use super::{
    prelude::*,
    thumbnails::{PICTURE, can_be_had},
};
use crate::kit::media;

pub(super) fn part() -> Part {
    Part::new("media deleted later")
        .since("1.23.0")
        .fills(&["local_media_repository", "local_media_repository_thumbnails"])
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let bytes = [PICTURE, it.named("deleted").as_bytes()].concat();
            let (name, kind) =
                if can_be_had(&it).await? { ("deleted.png", "image/png") } else { ("deleted", "application/octet-stream") };
            let uri = it.owner.client().upload(name, kind, &bytes).await?;
            Ok(json!({ "uri": uri, "waiting": [200, 404] }))
        })
        .read(|it: Visit| async move {
            let uri = it.kept("uri")?;
            let path = super::media::path(&it, "download", &uri);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let look = async || -> Result<u16> { Ok(it.friend.answer(Method::GET, &path, None).await?.status()) };
            let before = look().await?;
            if before == 404 {
                return Ok(json!([]));
            }
            it.admin().await?.delete(&["/_synapse/admin/v1", "media", harness::SERVER_NAME, media::id(&uri)]).await?;
            Ok(json!([before, look().await?]))
        })
}
