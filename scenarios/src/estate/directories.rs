//! People who are found by name.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("directories")
        .since("1.20.0")
        // Upstream's script says that it can be made anew; nothing does that.
        .is_not_ported()
        .fills(&["user_directory", "user_directory_search", "users_in_public_rooms", "users_who_share_private_rooms"])
        .write(|it: Visit| async move {
            let (open, shy) = (it.somebody("open").await?, it.somebody("shy").await?);
            let name = |of: &str| format!("{of}{}xyz", it.mark);
            for (person, name) in [(&open, name("Zaphod")), (&shy, name("Marvin"))] {
                person.put(&["profile", person.id(), "displayname"], json!({ "displayname": name })).await?;
            }
            open.room(json!({ "preset": "public_chat" })).await?;
            let options = json!({ "preset": "private_chat", "invite": [shy.id()] });
            let private = it.owner.room(options).await?;
            shy.join(&private).await?;
            Ok(json!({ "public": name("Zaphod"), "private": name("Marvin") }))
        })
        .read(|it: Visit| async move {
            // Where the operator wants none there is nothing to wait for.
            let is_off = it.live.deployment().config.get("user_directory").is_some_and(|section| section["enabled"] == false);
            let find = async |who: &Person, term: &str, found: bool| -> Result<Value> {
                let look = async || who.post(&["user_directory", "search"], json!({ "search_term": term })).await;
                let seen = eventually(look, |seen| is_off || list(&seen["results"]).is_empty() != found).await?;
                Ok(list(&seen["results"]).iter().map(|one| json!([one["user_id"], one["display_name"]])).collect())
            };
            Ok(json!({
                "in a public room": find(&it.friend, &it.kept("public")?, true).await?,
                "in a room of theirs": find(&it.owner, &it.kept("private")?, true).await?,
                "in no room of theirs": find(&it.friend, &it.kept("private")?, false).await?,
            }))
        })
}
