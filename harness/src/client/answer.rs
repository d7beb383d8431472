//! An HTTP answer, whole.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// The homeserver answered, but not with what a seed or probe needs to go on. Unlike any other error this is the
/// homeserver's doing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct UnexpectedAnswer {
    text: String,
    /// Its status, where there was an answer.
    pub(crate) status: Option<u16>,
}

impl UnexpectedAnswer {
    pub(crate) fn new(text: String) -> Self {
        Self { text, status: None }
    }
}

/// An HTTP answer with its body read. Redirects are never followed: where a server sends one is an observation.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header's value, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected("and not with JSON"))
    }

    /// A text field of the JSON body.
    pub fn field(&self, name: &str) -> anyhow::Result<String> {
        let json = self.json()?;
        match json[name].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.unexpected(&format!("without `{name}`"))),
        }
    }

    /// The answer, if it is a success; otherwise an error that shows it.
    pub fn ok(self) -> anyhow::Result<Self> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.unexpected("which is no success")) }
    }

    fn unexpected(&self, how: &str) -> anyhow::Error {
        let start: String = self.text().chars().take(500).collect();
        let text = format!("{} answered {}, {how}: {start}", self.request, self.status);
        UnexpectedAnswer { text, status: Some(self.status) }.into()
    }

    /// Status, and error code where there is one.
    pub fn brief(&self) -> Value {
        match self.json().ok().and_then(|json| json.get("errcode").cloned()) {
            Some(errcode) => json!({ "status": self.status, "errcode": errcode }),
            None => json!({ "status": self.status }),
        }
    }

    /// Status, and error code and text where there are any.
    pub fn refusal(&self) -> Value {
        let mut shown = self.brief();
        if let Some(error) = self.json().ok().and_then(|json| json.get("error").cloned()) {
            shown["error"] = error;
        }
        shown
    }

    /// Status and body: JSON where it is JSON, else text.
    pub fn whole(&self) -> Value {
        json!({ "status": self.status, "body": self.json().unwrap_or_else(|_| json!(self.text())) })
    }
}
