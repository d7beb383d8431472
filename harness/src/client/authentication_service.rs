//! The stand-in for the Matrix Authentication Service, as the person who signs in at its pages.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Recorder, recorder::ask};

/// A Matrix Authentication Service, as a companion.
#[derive(Clone, Debug)]
pub struct AuthenticationService {
    pub(crate) recorder: Recorder,
}

impl AuthenticationService {
    /// Begins a session of this user on this device, and gives its access token. The homeserver has to know both already, as
    /// the real service would have told it under `/_synapse/mas/`.
    pub async fn sign_in(&self, username: &str, device: &str) -> anyhow::Result<String> {
        self.sign_in_as(&json!({ "username": username, "device_id": device })).await
    }

    /// Begins a session as `session` says: `{"username", "device_id"?, "admin"?, "compat"?, "expires_in"?}`.
    pub async fn sign_in_as(&self, session: &Value) -> anyhow::Result<String> {
        let answer = ask(self.recorder.client()?.post("/_mas/sessions", session)).await?.json()?;
        let token = answer["access_token"].as_str().context("a session has an access token")?;
        Ok(token.to_owned())
    }

    /// Ends the session that this token is of.
    pub async fn sign_out(&self, token: &str) -> anyhow::Result<()> {
        ask(self.recorder.client()?.delete(&format!("/_mas/sessions/{token}"), &Value::Null)).await?;
        Ok(())
    }

    /// What the homeserver asked it, and what it answers instead: `[{"path": "/oauth2/introspect", "status": 503}]` is an
    /// outage.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}
