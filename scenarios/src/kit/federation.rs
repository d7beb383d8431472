//! Requests of the federation API that are signed as another server would sign them.

use harness::{Answer, Method, prelude::*};

/// Sends a request with the homeserver's own key and name: a server believes itself, so what it tells other servers can be asked
/// without one.
pub(crate) async fn signed(hs: &Live, method: Method, path: &str, content: Option<&Value>) -> Result<Answer> {
    let authorization = authorization(hs, harness::SERVER_NAME, &method, path, content).await?;
    let mut sent = hs.anonymous().request(method, path).header("authorization", &authorization);
    if let Some(content) = content {
        sent = sent.json(content);
    }
    sent.await
}

/// Sends a request to this process with the key and name of a server of the deployment, the homeserver's own or another's.
pub(crate) async fn signed_by(hs: &Live, origin: &str, process: &str, method: Method, path: &str) -> Result<Answer> {
    let signer = if origin == harness::SERVER_NAME { hs.clone() } else { hs.peer(origin)? };
    let authorization = authorization(&signer, origin, &method, path, None).await?;
    hs.anonymous().at(process)?.request(method, path).header("authorization", &authorization).await
}

/// The header by which this server vouches for a request. How requests are signed is for Synapse's own library to say.
async fn authorization(
    origin: &Live,
    name: &str,
    method: &Method,
    path: &str,
    content: Option<&Value>,
) -> Result<String> {
    let mut request =
        json!({ "method": method.as_str(), "uri": path, "origin": name, "destination": harness::SERVER_NAME });
    if let Some(content) = content {
        request["content"] = content.clone();
    }
    let program = format!(
        "import json, signedjson.key, signedjson.sign\n\
         [key] = signedjson.key.read_signing_keys(open('/data/signing.key'))\n\
         signed = signedjson.sign.sign_json(json.loads({:?}), '{name}', key)\n\
         [(key, signature)] = signed['signatures']['{name}'].items()\n\
         print('X-Matrix origin={name},key=\"%s\",sig=\"%s\"' % (key, signature))",
        request.to_string(),
    );
    Ok(origin.python(&program).await?.trim().to_owned())
}
