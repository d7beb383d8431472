//! Somebody for whom another service vouches, with a JSON web token: who is known here, and who is new.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as ENCODING};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::prelude::*;

/// What the other service signs with.
const SECRET: &str = "what the homeserver shares with another service";

pub(super) fn part() -> Part {
    Part::new("logins by web token")
        // Before, who was new got an access token of nobody's.
        .since("1.1.0")
        .config(json!({ "jwt_config": { "enabled": true, "secret": SECRET, "algorithm": "HS256" } }))
        .write(|it: Visit| async move {
            let person = it.somebody("vouched-for").await?;
            let name = person.id().trim_start_matches('@').split(':').next().unwrap_or_default();
            let token = log_in(&it, name).await?.ok()?.field("access_token")?;
            Ok(json!({ "name": name, "token": token }))
        })
        .read(|it: Visit| async move {
            let earlier = it.owner.with_token(&it.kept("token")?);
            Ok(json!({
                "logged in before": earlier.get(&["account", "whoami"]).await?["user_id"],
                "logs in": log_in(&it, &it.kept("name")?).await?.ok()?.json()?["user_id"],
                "who is new": newcomer(&it).await?,
            }))
        })
        .loses(LOG_OUT)
}

/// What is answered to somebody new, and whether they are who they should be.
async fn newcomer(it: &Visit) -> Result<Value> {
    // From 1.6.0 to 1.14.0 it is an error (#7585): looked for on the first and the last of these releases, of what is
    // older than them, or every walk that ends on one of them would show it.
    let is_faulty = it.from("1.6.0rc1") && !it.from("1.15.0rc1");
    let is_due = !it.written_from("1.6.0rc1") && (!it.from("1.6.1") || it.from("1.14.0rc1"));
    if is_faulty && !is_due {
        return Ok(json!([200, true]));
    }
    let name = it.live.unique("newcomer");
    let answer = log_in(it, &name).await?;
    let is_theirs = answer.json()?["user_id"] == json!(format!("@{name}:{}", harness::SERVER_NAME));
    Ok(json!([answer.status(), is_theirs]))
}

async fn log_in(it: &Visit, name: &str) -> Result<harness::Answer> {
    // Known by either name from 1.16.0 to 1.45.0.
    let kind = if it.from("1.20.0") { "org.matrix.login.jwt" } else { "m.login.jwt" };
    let body = json!({ "type": kind, "token": token(name) });
    it.anonymous().answer(Method::POST, &["login"], Some(body)).await
}

/// The other service's word for somebody.
fn token(name: &str) -> String {
    let parts = [json!({ "alg": "HS256", "typ": "JWT" }), json!({ "sub": name })];
    let signed = parts.map(|part| ENCODING.encode(part.to_string())).join(".");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", ENCODING.encode(mac.finalize().into_bytes()))
}
