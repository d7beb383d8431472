//! Login tokens that a module makes, and what they are good for.

use harness::prelude::*;

/// Serves tokens: `GET /_synapse/client/token?method=…&user=…`.
pub(crate) const MODULE: &str = r#"
import inspect
from synapse.http.server import DirectServeJsonResource

class Tokens(DirectServeJsonResource):
    isLeaf = True

    def __init__(self, config, api):
        super().__init__()
        self.api = api
        api.register_web_resource("/_synapse/client/token", self)

    async def _async_render_GET(self, request):
        method, user = (request.args[name][0].decode() for name in (b"method", b"user"))
        if not hasattr(self.api, method):
            return 200, {"token": None}
        made = getattr(self.api, method)(user, duration_in_ms=3600000)
        return 200, {"token": await made if inspect.isawaitable(made) else made}
"#;

/// The configuration that loads [`MODULE`] from the file `tokens`.
pub(crate) fn modules() -> Value {
    json!({ "modules": [{ "module": "tokens.Tokens", "config": {} }] })
}

/// A token for Alice by this method of the module's interface; none where there is no such method.
pub(crate) async fn token(hs: &Live, method: &str) -> Result<Option<String>> {
    let path = hs.fill(&format!("/_synapse/client/token?method={method}&user={{alice}}"))?;
    Ok(hs.anonymous().get(&path).await?.ok()?.json()?["token"].as_str().map(str::to_owned))
}

/// Who a token logs in.
pub(crate) async fn login(hs: &Live, token: &str) -> Result<Value> {
    let login = json!({ "type": "m.login.token", "token": token });
    let answer = hs.anonymous().post("/_matrix/client/v3/login", &login).await?;
    let mut shown = answer.refusal();
    if answer.status() == 200 {
        shown["user"] = json!(answer.field("user_id")?);
    }
    Ok(shown)
}

/// What a token of this method is good for.
pub(crate) fn used(method: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        hs.user("alice").await?;
        match token(&hs, method).await? {
            Some(token) => login(&hs, &token).await,
            None => Ok(unknown()),
        }
    })
}

/// The module's interface has no such method.
pub(crate) fn unknown() -> Value {
    json!("there is no such method")
}

/// The token logs Alice in.
pub(crate) fn logs_in() -> Value {
    json!({ "status": 200, "user": "@alice:hs.test" })
}
