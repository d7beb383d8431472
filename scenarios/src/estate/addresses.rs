//! A mail address: its owner logs in with it, whichever letters of it are capitals, and asks for mails.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("addresses")
        .fills(&["user_threepids", "pushers"])
        .write(|it: Visit| async move {
            let person = it.somebody("addressed").await?;
            let address = it.live.email(&it.named("addressed"));
            person.client().add_email(&address).await?;
            // For whom the operator reserves a place, they have one.
            let reserved = it.live.deployment().config.get("mau_limit_reserved_threepids").cloned().unwrap_or_default();
            if it.mark == "1" {
                for one in list(&reserved).iter().filter(|one| one["medium"] == "email") {
                    it.somebody("reserved").await?.client().add_email(&text(&one["address"])).await?;
                }
            }
            // As an admin once made them for people with an address: without an access token. 1.29.0 takes these away, and up to
            // 1.41.1 gets stuck at it on SQLite (#10843). What is older comes there for other faults.
            if it.mark == "1" && it.from("1.27.0") && !it.from("1.29.0") {
                person.post(&["pushers", "set"], pusher("http", &address)).await?;
                let statement = format!("UPDATE pushers SET access_token = NULL WHERE user_name = '{}'", person.id());
                it.live.execute(&statement).await?;
            }
            Ok(json!({ "address": address }))
        })
        .read(|it: Visit| async move {
            let person = it.somebody("addressed").await?;
            let capitals = it.kept("address")?.to_uppercase();
            let third = person.get(&["account", "3pid"]).await?;
            let login = super::passwords::try_to_log_in_by_address(&it, &capitals, person.password()).await?;
            let mails = person.answer(Method::POST, &["pushers", "set"], Some(pusher("email", &capitals))).await?;
            Ok(json!({
                "own": list(&third["threepids"]).iter().map(|one| json!([one["medium"], one["address"]])).collect::<Value>(),
                "logs in": [json!(login.status()), login.json()?["user_id"].clone()],
                "mails": mails.status(),
                "can be bound": can_be_bound(&it, &person).await?,
            }))
        })
}

fn pusher(kind: &str, key: &str) -> Value {
    let data = if kind == "http" { json!({ "url": "http://push.test/_matrix/push/v1/notify" }) } else { json!({}) };
    json!({
        "kind": kind, "app_id": format!("m.{kind}"), "pushkey": key, "app_display_name": "Notifications",
        "device_display_name": key, "lang": "en", "data": data,
    })
}

/// Where clients look for it: below what is stable as soon as the server says that it speaks that, and below `unstable` before.
async fn can_be_bound(it: &Visit, person: &Person) -> Result<bool> {
    if !it.from("1.4.0") {
        return Ok(true);
    }
    let versions = it.anonymous().get(&["/_matrix/client/versions"]).await?;
    let is_stable = list(&versions["versions"]).iter().any(|version| text(version).as_str() >= "r0.6");
    let unstable: &[&str] = &["/_matrix/client/unstable", "account", "3pid", "bind"];
    let path = if is_stable { &unstable[1..] } else { unstable };
    let answer = person.answer(Method::POST, path, Some(json!({}))).await?;
    Ok(answer.brief()["errcode"] != "M_UNRECOGNIZED")
}
