//! Names and pictures of people.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("profile")
        .fills(&["profiles"])
        .rides_along()
        .write(|it: Visit| async move {
            let person = it.somebody("profiled").await?;
            let set = async |field: &str, value: &str| {
                person.put(&["profile", person.id(), field], json!({ field: value })).await
            };
            // Who minds how large a picture is looks for it.
            let config = &it.live.deployment().config;
            let minds =
                ["max_avatar_size", "allowed_avatar_mimetypes"].iter().any(|option| config.contains_key(*option));
            let picture = if minds {
                person.client().upload("face.png", "image/png", super::thumbnails::PICTURE).await?
            } else {
                format!("mxc://{}/picture", harness::SERVER_NAME)
            };
            set("displayname", "Ünïcode ✓ the Owner").await?;
            set("avatar_url", &picture).await?;
            // Fields of any name, which not everybody lets people set.
            let colour = json!("grün");
            let path = ["profile", person.id(), COLOUR];
            let has_one = it.from("1.140.0")
                && person.answer(Method::PUT, &path, Some(json!({ COLOUR: colour }))).await?.status() == 200;
            Ok(json!({ "person": person.id(), "colour": if has_one { colour } else { Value::Null } }))
        })
        .read(|it: Visit| async move {
            let profile = it.friend.get(&["profile", &it.kept("person")?]).await?;
            // A rollback may lead to where nobody can ask for it.
            let colour = if it.kept["colour"].is_null() || !it.from("1.140.0") {
                it.kept["colour"].clone()
            } else {
                it.friend.get(&["profile", &it.kept("person")?, COLOUR]).await?[COLOUR].clone()
            };
            Ok(json!({ "displayname": profile["displayname"], "avatar_url": profile["avatar_url"], "colour": colour }))
        })
}

/// A field of one's own.
const COLOUR: &str = "test.colour";
