//! What a recorder saw: the small stand-in for services that a homeserver calls (push gateway, application service,
//! captcha check …).

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::{Answer, Request};
use crate::{Live, eventually};

/// A recorder, as a companion.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(crate) live: Live,
    pub(crate) host: String,
}

impl Recorder {
    /// Sets its rules: a list of `{"path": regex, "status": 200, "json": …}`; what no rule fits is answered as if there were
    /// none.
    pub async fn script(&self, rules: &Value) -> anyhow::Result<()> {
        ask(self.client()?.put("/_recorder/script", rules)).await?;
        Ok(())
    }

    /// The requests so far, oldest first: `{"method", "path", "query", "headers", "json", …}`.
    pub async fn requests(&self) -> anyhow::Result<Vec<Value>> {
        let answer = ask(self.client()?.get("/_recorder/requests")).await?;
        Ok(serde_json::from_slice(answer.bytes())?)
    }

    /// The transactions that an application service was sent so far, oldest first, as [requests](Self::requests): also
    /// those that it did not acknowledge.
    pub async fn transactions(&self) -> anyhow::Result<Vec<Value>> {
        let mut requests = self.requests().await?;
        requests.retain(|request| request["path"].as_str().is_some_and(|path| path.contains("/transactions/")));
        Ok(requests)
    }

    /// Forgets the requests and the connections seen so far.
    pub async fn forget(&self) -> anyhow::Result<()> {
        let client = self.client()?;
        ask(client.delete("/_recorder/requests", &Value::Null)).await?;
        ask(client.delete("/_recorder/connections", &Value::Null)).await?;
        Ok(())
    }

    /// Connections for HTTPS so far: `{"https", "tls_ok", "tls_failed": […]}`.
    pub async fn connections(&self) -> anyhow::Result<Value> {
        ask(self.client()?.get("/_recorder/connections")).await?.json()
    }

    /// Waits for a request whose path contains `text`; `None` when none comes.
    pub async fn request(&self, text: &str) -> anyhow::Result<Option<Value>> {
        let there = |request: &Value| request["path"].as_str().is_some_and(|path| path.contains(text));
        let look = async || Ok(self.requests().await?.into_iter().find(there));
        eventually(look, Option::is_some).await
    }

    /// The certificate authority that its TLS certificate is signed by, as PEM.
    pub async fn authority(&self) -> anyhow::Result<String> {
        let answer = ask(self.client()?.get("/_recorder/ca.pem")).await?;
        if answer.bytes().is_empty() {
            bail!("the recorder has no certificate authority");
        }
        Ok(answer.text())
    }

    pub(crate) fn client(&self) -> anyhow::Result<crate::Client> {
        self.live.anonymous().at(&format!("{}:8080", self.host))
    }
}

/// A companion's answer. What is amiss with it is none of the homeserver's doing, so that an error is one of the harness.
pub(super) async fn ask(request: Request) -> anyhow::Result<Answer> {
    request.await.and_then(Answer::ok).map_err(|error| anyhow!("{error:#}"))
}
