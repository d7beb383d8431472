//! A password logs in afresh on every leg, and a token that was logged out stays so.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("passwords")
        .fills(&["users"])
        .loses("UPDATE users SET password_hash = NULL WHERE name LIKE '@returner%'")
        .write(|it: Visit| async move {
            let person = it.somebody("returner").await?;
            let first = login(&it, person.id(), person.password()).await?;
            it.owner.with_token(&first).post(&["logout"], json!({})).await?;
            Ok(json!({ "user": person.id(), "password": person.password(), "logged out": first }))
        })
        .read(|it: Visit| async move {
            let token = login(&it, &it.kept("user")?, &it.kept("password")?).await?;
            let gone = it.owner.with_token(&it.kept("logged out")?);
            Ok(json!({
                "afresh": it.owner.with_token(&token).get(&["account", "whoami"]).await?["user_id"],
                "logged out": gone.answer(Method::GET, &["account", "whoami"], None).await?.brief(),
            }))
        })
}

/// A new access token for a password.
pub(super) async fn login(it: &Visit, user: &str, password: &str) -> Result<String> {
    try_to_log_in(it, user, password).await?.ok()?.field("access_token")
}

/// What is said to who gives a password.
pub(super) async fn try_to_log_in(it: &Visit, user: &str, password: &str) -> Result<harness::Answer> {
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "user": user, "password": password,
    });
    it.anonymous().answer(Method::POST, &["login"], Some(body)).await
}

/// What is said to who gives a mail address and a password.
pub(super) async fn try_to_log_in_by_address(it: &Visit, address: &str, password: &str) -> Result<harness::Answer> {
    let identifier = json!({ "type": "m.id.thirdparty", "medium": "email", "address": address });
    let body = json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    it.anonymous().answer(Method::POST, &["login"], Some(body)).await
}
