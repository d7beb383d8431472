//! An application service: a recorder that accepts all that it is sent, and the registration that names it.

use harness::{Client, prelude::*};

/// Gives the deployment application services.
pub(crate) trait Bridge: Sized {
    /// An application service under this host name, with these further keys of its registration. Its token is the name and
    /// `-token`, the homeserver's the name and `-secret`.
    #[must_use]
    fn bridge(self, host: &str, registration: Value) -> Self;
}

impl Bridge for Scenario {
    fn bridge(self, host: &str, registration: Value) -> Self {
        let mut document = json!({
            "id": host,
            "url": format!("http://{host}:8080"),
            "as_token": format!("{host}-token"),
            "hs_token": format!("{host}-secret"),
            "sender_localpart": host,
        });
        for (key, value) in registration.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        self.companion(host, companion::recorder())
            .file(&format!("{host}.yaml"), document.to_string())
            .config(json!({ "app_service_config_files": [format!("/data/{host}.yaml")] }))
    }
}

/// The application service itself, as it talks to the homeserver.
pub(crate) fn of(hs: &Live, host: &str) -> Client {
    hs.anonymous().with_token(&format!("{host}-token"))
}

/// The events that it has been sent and has accepted, oldest first.
pub(crate) async fn events(hs: &Live, host: &str) -> Result<Vec<Value>> {
    let requests = hs.recorder(host).requests().await?;
    let transactions =
        requests.iter().filter(|r| r["path"].to_string().contains("/transactions/") && r["answered"] == 200);
    Ok(transactions.flat_map(|request| request["json"]["events"].as_array().cloned().unwrap_or_default()).collect())
}

/// Is it sent the event of this id?
pub(crate) async fn is_sent(hs: &Live, host: &str, event: &str) -> Result<bool> {
    let look = async || Ok(events(hs, host).await?.iter().any(|other| other["event_id"] == event));
    eventually(look, |there| *there).await
}
