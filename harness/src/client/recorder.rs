//! What a recorder saw: the small stand-in for services that a homeserver calls (push gateway, application service,
//! captcha check …).

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use crate::Live;

/// A recorder, as a companion.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(crate) live: Live,
    pub(crate) host: String,
}

impl Recorder {
    /// Sets its rules: a list of `{"path": regex, "status": 200, "json": …}`; what no rule fits gets 200 and `{}`.
    pub async fn script(&self, rules: &Value) -> anyhow::Result<()> {
        self.client()?.put("/_recorder/script", rules).await?.ok()?;
        Ok(())
    }

    /// The requests so far, oldest first: `{"method", "path", "query", "headers", "json", …}`.
    pub async fn requests(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.client()?.get("/_recorder/requests").await?.ok()?;
        Ok(serde_json::from_slice(answer.bytes())?)
    }

    /// Forgets the requests and the connections seen so far.
    pub async fn forget(&self) -> anyhow::Result<()> {
        let client = self.client()?;
        client.delete("/_recorder/requests", &Value::Null).await?.ok()?;
        client.delete("/_recorder/connections", &Value::Null).await?.ok()?;
        Ok(())
    }

    /// Connections so far: `{"http", "https", "tls_ok", "tls_failed": […]}`.
    pub async fn connections(&self) -> anyhow::Result<Value> {
        self.client()?.get("/_recorder/connections").await?.ok()?.json()
    }

    /// Waits for a request whose path contains `text`; `None` when none comes within `limit`.
    pub async fn request(&self, text: &str, limit: Duration) -> anyhow::Result<Option<Value>> {
        let begun = Instant::now();
        loop {
            let requests = self.requests().await?;
            let found = requests.into_iter().find(|request| request["path"].as_str().is_some_and(|p| p.contains(text)));
            if found.is_some() || begun.elapsed() > limit {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The certificate authority that its TLS certificate is signed by, as PEM.
    pub async fn authority(&self) -> anyhow::Result<String> {
        let answer = self.client()?.get("/_recorder/ca.pem").await?.ok()?;
        if answer.bytes().is_empty() {
            bail!("the recorder has no certificate authority");
        }
        Ok(answer.text())
    }

    fn client(&self) -> anyhow::Result<crate::Client> {
        self.live.anonymous().at(&format!("{}:8080", self.host))
    }
}
