//! A picture with its thumbnails, one in quarantine, one protected from it, and the list of a user's media.

use super::{
    prelude::*,
    thumbnails::{PICTURE, can_be_had, show},
};
use crate::kit::media;

pub(super) fn part() -> Part {
    Part::new("pictures")
        .since("1.40.0")
        .fills(&["local_media_repository", "local_media_repository_thumbnails"])
        .write(|it: Visit| async move {
            if !can_be_had(&it).await? {
                return Ok(json!({}));
            }
            let person = it.somebody("painter").await?;
            let mut uris = Vec::new();
            for name in ["seen.png", "quarantined.png", "protected.png"] {
                // Different bytes: since 1.117.0 what is quarantined is so for all equal files.
                let bytes = [PICTURE, name.as_bytes(), it.mark.as_bytes()].concat();
                uris.push(person.client().upload(name, "image/png", &bytes).await?);
            }
            let admin = it.admin().await?;
            let path = ["/_synapse/admin/v1", "media", "quarantine", harness::SERVER_NAME, media::id(&uris[1])];
            admin.post(&path, json!({})).await?;
            admin.post(&["/_synapse/admin/v1", "media", "protect", media::id(&uris[2])], json!({})).await?;
            Ok(json!({ "painter": person.id(), "uris": uris }))
        })
        .read(|it: Visit| async move {
            let Ok(painter) = it.kept("painter") else { return Ok(json!("no picture was uploaded")) };
            let mut shown = Vec::new();
            for uri in list(&it.kept["uris"]).iter().map(text) {
                shown.push(json!({
                    "whole": show(&it, "download", &uri, "?").await?,
                    "scaled": show(&it, "thumbnail", &uri, "?width=32&height=32&method=scale").await?,
                    "cropped": show(&it, "thumbnail", &uri, "?width=32&height=32&method=crop").await?,
                }));
            }
            let path = ["/_synapse/admin/v1", "users", &painter, "media"];
            let of_user = it.admin().await?.get(&path).await?;
            let known = ["media_id", "media_type", "media_length", "upload_name"];
            let brief = |one: &Value| -> Value {
                let by = one["quarantined_by"].clone();
                // On SQLite older releases said 0 for false.
                let protected = one["safe_from_quarantine"] == true || one["safe_from_quarantine"] == 1;
                json!([known.iter().map(|key| one[*key].clone()).collect::<Value>(), protected, by])
            };
            let mut media: Vec<Value> = list(&of_user["media"]).iter().map(brief).collect();
            media.sort_by_key(ToString::to_string);
            Ok(json!({ "pictures": shown, "of the painter": media }))
        })
}
