//! People who are found by name.

use harness::Database;

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("directories")
        .since("1.20.0")
        // Upstream's script says that it can be made anew; nothing does that.
        .is_not_ported()
        .fills(&["user_directory", "user_directory_search", "users_in_public_rooms", "users_who_share_private_rooms"])
        .write(|it: Visit| async move {
            let (open, shy, odd) = (it.somebody("open").await?, it.somebody("shy").await?, it.somebody("hitchhiker").await?);
            let name = |of: &str| format!("{of}{}xyz", it.mark);
            let (colon, hyphen) = (name("Ford:Prefect"), format!("Dent-{}42", it.mark));
            let odd_name = format!("{colon} {hyphen}");
            for (person, name) in [(&open, name("Zaphod")), (&shy, name("Marvin")), (&odd, odd_name)] {
                person.put(&["profile", person.id(), "displayname"], json!({ "displayname": name })).await?;
            }
            for person in [&open, &odd] {
                person.room(json!({ "preset": "public_chat" })).await?;
            }
            let options = json!({ "preset": "private_chat", "invite": [shy.id()] });
            let private = it.owner.room(options).await?;
            shy.join(&private).await?;
            Ok(json!({
                "public": name("Zaphod"), "private": name("Marvin"),
                "odd": odd.id(), "by a colon": colon, "by a hyphen": hyphen,
            }))
        })
        .read(|it: Visit| async move {
            // Where the operator wants none there is nothing to wait for.
            let is_off = it.live.deployment().config.get("user_directory").is_some_and(|section| section["enabled"] == false);
            let find = async |who: &Person, term: &str, found: bool| -> Result<Value> {
                let look = async || who.post(&["user_directory", "search"], json!({ "search_term": term })).await;
                let seen = eventually(look, |seen| is_off || list(&seen["results"]).is_empty() != found).await?;
                Ok(list(&seen["results"]).iter().map(|one| json!([one["user_id"], one["display_name"]])).collect())
            };
            // Where words are told apart by ICU, PostgreSQL is asked for others than it keeps: from 1.74.0 to 1.77.0
            // where a colon is (#15079; in languages that have it in words, such as Swedish), to 1.109.0 where a hyphen
            // is before a digit (#17254). Looked for on the last of these, or every walk that ends on one would show it.
            let is_passed_over = it.from("1.74.0rc1") && !it.from("1.109.0rc1");
            let is_due = !is_off
                && it.live.database() == Database::Postgres
                && !is_passed_over
                && (it.from("1.110.0rc1") || !it.written_from("1.74.0rc1"));
            let find_odd = async |by: &str| -> Result<bool> {
                let found = if is_due { find(&it.friend, &it.kept(by)?, true).await? } else { Value::Null };
                Ok(!is_due || list(&found).iter().any(|one| one[0] == it.kept["odd"]))
            };
            Ok(json!({
                "by a colon": find_odd("by a colon").await?,
                "by a hyphen": find_odd("by a hyphen").await?,
                "in a public room": find(&it.friend, &it.kept("public")?, true).await?,
                "in a room of theirs": find(&it.owner, &it.kept("private")?, true).await?,
                "in no room of theirs": find(&it.friend, &it.kept("private")?, false).await?,
            }))
        })
}
