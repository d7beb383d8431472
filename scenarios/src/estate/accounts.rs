//! Accounts of several kinds, made by an admin: names, addresses, what they may do; long passwords and foreign letters.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("accounts")
        .since("1.11.0")
        .fills(&["users", "user_threepids", "user_external_ids", "erased_users"])
        .loses("UPDATE users SET password_hash = 'x', deactivated = 0, admin = 1; DELETE FROM user_threepids; DELETE FROM user_external_ids")
        .write(|it: Visit| async move {
            let admin = it.admin().await?;
            let user = |name: &str| format!("@{}.estate:{}", it.named(name), harness::SERVER_NAME);
            let make = async |name: &str, options: Value| -> Result<String> {
                let id = user(name);
                admin.put(&["/_synapse/admin/v2", "users", &id], options).await?;
                Ok(id)
            };
            // As long as bcrypt looks at, and no longer.
            let password = "pässwörd-".repeat(6) + "-end";
            let mut full = json!({
                "password": password, "displayname": "Ünïcode ✓",
                "threepids": [{ "medium": "email", "address": format!("{}@example.test", it.named("full")) },
                    { "medium": "msisdn", "address": format!("4912345{}", it.mark) }],
            });
            if it.from("1.60.0") {
                full["external_ids"] = json!([{ "auth_provider": "oidc-test", "external_id": it.named("Ext") }]);
            }
            let full = make("full", full).await?;
            let head = make("head", json!({ "password": "p", "admin": true })).await?;
            let gone = make("gone", json!({ "password": "p", "displayname": "Gone" })).await?;
            admin.post(&["/_synapse/admin/v1", "deactivate", &gone], json!({ "erase": true })).await?;
            // What lies beyond is cut off, but for 1.140.0, which answers 500: there is no such account then, and never will be.
            let (long, long_password) = (user("long"), "pässwörd-".repeat(9));
            let path = ["/_synapse/admin/v2", "users", &long];
            let answer = admin.answer(Method::PUT, &path, Some(json!({ "password": long_password }))).await?;
            let is_refused = answer.status() == 500 && it.from("1.140.0rc1") && !it.from("1.141.0");
            if !is_refused {
                answer.ok()?;
            }
            Ok(json!({
                "full": full, "head": head, "gone": gone, "password": password, "long": long, "long password": long_password,
            }))
        })
        .read(|it: Visit| async move {
            let admin = it.admin().await?;
            let mut shown = json!({});
            for who in ["full", "head", "gone"] {
                let seen = admin.get(&["/_synapse/admin/v2", "users", &it.kept(who)?]).await?;
                let address = |one: &Value| json!([one["medium"], one["address"]]);
                shown[who] = json!({
                    "displayname": seen["displayname"],
                    // A number once.
                    "admin": seen["admin"] == true || seen["admin"] == 1,
                    "deactivated": seen["deactivated"] == true || seen["deactivated"] == 1,
                    "addresses": list(&seen["threepids"]).iter().map(address).collect::<Value>(),
                });
                if who == "full" && it.written_from("1.60.0") {
                    let name = |one: &Value| json!([one["auth_provider"], one["external_id"]]);
                    shown[who]["elsewhere"] = list(&seen["external_ids"]).iter().map(name).collect();
                }
            }
            let token = super::passwords::login(&it, &it.kept("full")?, &it.kept("password")?).await?;
            let third = it.owner.with_token(&token).get(&["account", "3pid"]).await?;
            shown["own addresses"] = list(&third["threepids"]).iter().map(|one| json!([one["medium"], one["address"]])).collect();
            for (shown_as, who, password) in [("the gone", "gone", "p"), ("a long password", "long", &it.kept("long password")?)] {
                shown[shown_as] = json!(super::passwords::try_to_log_in(&it, &it.kept(who)?, password).await?.status());
            }
            Ok(shown)
        })
}
