//! Login tokens that modules make, and what they are good for.

use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Answer, prelude::*};

/// Serves tokens that are made with these arguments: `GET /_synapse/client/{name}?method=…&user=…`.
const MODULE: &str = r#"
import inspect
from synapse.http.server import DirectServeJsonResource

class Tokens(DirectServeJsonResource):
    isLeaf = True

    def __init__(self, config, api):
        super().__init__()
        self.api = api
        api.register_web_resource("/_synapse/client/{name}", self)

    async def _async_render_GET(self, request):
        method, user = (request.args[name][0].decode() for name in (b"method", b"user"))
        if not hasattr(self.api, method):
            return 200, {"token": None}
        made = getattr(self.api, method)(user{arguments})
        return 200, {"token": await made if inspect.isawaitable(made) else made}
"#;

/// Tokens for an hour.
pub(crate) const FOR_AN_HOUR: &str = "tokens";
/// Tokens that are made too late to be good for anything.
pub(crate) const LATE: &str = "late";
/// Tokens that hold for as long as they do by themselves.
pub(crate) const BY_DEFAULT: &str = "default";
/// Tokens of somebody who has a session at a provider.
pub(crate) const OF_A_SESSION: &str = "session";

/// Loads a module for each kind of token.
pub(crate) fn modules(it: Scenario) -> Scenario {
    let session = r#", auth_provider_id="provider", auth_provider_session_id="session of Alice""#;
    let modules = [
        (FOR_AN_HOUR, ", duration_in_ms=3600000"),
        (LATE, ", duration_in_ms=-1000"),
        (BY_DEFAULT, ""),
        (OF_A_SESSION, session),
    ];
    modules.into_iter().fold(it, |it, (name, arguments)| {
        it.module(name, &MODULE.replace("{name}", name).replace("{arguments}", arguments))
            .config(json!({ "modules": [{ "module": format!("{name}.Tokens"), "config": {} }] }))
    })
}

/// A token of this kind for Alice by this method of the module's interface; none where there is no such method.
pub(crate) async fn token(hs: &Live, kind: &str, method: &str) -> Result<Option<String>> {
    hs.user("alice").await?;
    let path = hs.fill(&format!("/_synapse/client/{kind}?method={method}&user={{alice}}"))?;
    Ok(hs.anonymous().get(&path).await?.ok()?.json()?["token"].as_str().map(str::to_owned))
}

/// Who a token logs in.
pub(crate) async fn login(hs: &Live, token: &str) -> Result<Value> {
    shown(&answered(hs, token).await?)
}

async fn answered(hs: &Live, token: &str) -> Result<Answer> {
    let login = json!({ "type": "m.login.token", "token": token });
    hs.anonymous().post("/_matrix/client/v3/login", &login).await
}

fn shown(answer: &Answer) -> Result<Value> {
    let mut shown = answer.refusal();
    if answer.status() == 200 {
        shown["user"] = json!(answer.field("user_id")?);
    }
    Ok(shown)
}

/// What a token of this kind and method is good for.
pub(crate) fn used(kind: &'static str, method: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        match token(&hs, kind, method).await? {
            Some(token) => login(&hs, &token).await,
            None => Ok(unknown()),
        }
    })
}

/// How many minutes a token of this kind and method holds.
pub(crate) fn minutes(kind: &'static str, method: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let Some(token) = token(&hs, kind, method).await? else { return Ok(unknown()) };
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let end: Option<u64> = if token.starts_with("syl_") {
            let rows = hs.sql(&format!("SELECT expiry_ts FROM login_tokens WHERE token = '{token}'")).await?;
            rows.first().and_then(|row| row["expiry_ts"].as_u64())
        } else {
            let program = format!(
                "import pymacaroons\n\
                 for caveat in pymacaroons.Macaroon.deserialize('{token}').caveats:\n    print(caveat.caveat_id)"
            );
            hs.python(&program).await?.lines().find_map(|line| line.strip_prefix("time < ")?.parse().ok())
        };
        // Half a minute more or less is the machine's doing.
        Ok(json!(end.map(|end| (end + 30_000).saturating_sub(now) / 60_000)))
    })
}

/// The session at a provider that is kept with the device of whom a token of a session, by this method, logs in.
pub(crate) fn session(method: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let Some(token) = token(&hs, OF_A_SESSION, method).await? else { return Ok(unknown()) };
        let answer = answered(&hs, &token).await?;
        let kept = "SELECT auth_provider_id, auth_provider_session_id FROM device_auth_providers WHERE device_id = ";
        let kept = hs.sql(&format!("{kept}'{}'", answer.field("device_id")?)).await?;
        Ok(json!({ "login": shown(&answer)?, "kept": kept }))
    })
}

/// What [`session`] shows where it is kept.
pub(crate) fn is_kept() -> Value {
    let kept = json!({ "auth_provider_id": "provider", "auth_provider_session_id": "session of Alice" });
    json!({ "login": logs_in(), "kept": [kept] })
}

/// The module's interface has no such method.
pub(crate) fn unknown() -> Value {
    json!("there is no such method")
}

/// The token logs Alice in.
pub(crate) fn logs_in() -> Value {
    json!({ "status": 200, "user": "@alice:hs.test" })
}

/// It logs in nobody.
pub(crate) fn invalid() -> Value {
    refusal(403, "M_FORBIDDEN", "Invalid login token")
}
