//! Somebody whom parts know, in the few words that parts need.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    Client,
    client::{Answer, escape},
};

/// Somebody with an account, and requests in their name.
///
/// A path is given by its segments, which are escaped: below the client-server API of the release (`r0`, later `v3`), or
/// from a first segment such as `/_synapse/admin/v1`, which is taken as it is. A last segment that begins with `?` is the
/// query, as it is. An answer that is no success is an error that shows it.
#[derive(Clone, Debug)]
pub struct Person {
    client: Client,
}

impl Person {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The same person as the client that scenarios know.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same person with another access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { client: self.client.with_token(token) }
    }

    /// `@owner-1:hs.test`.
    pub fn id(&self) -> &str {
        self.client.id()
    }

    /// The access token.
    pub fn token(&self) -> &str {
        self.client.token()
    }

    /// The device of the access token.
    pub fn device(&self) -> &str {
        self.client.device()
    }

    /// The password with which they were registered.
    pub fn password(&self) -> &str {
        self.client.password()
    }

    /// `GET`: what it answers.
    pub async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.answer(Method::GET, path, None).await?.ok()?.json()
    }

    /// `POST`: what it answers.
    pub async fn post(&self, path: &[&str], body: Value) -> anyhow::Result<Value> {
        self.answer(Method::POST, path, Some(body)).await?.ok()?.json()
    }

    /// `POST`, with the password where the server asks for it (user-interactive authentication).
    pub async fn post_as_oneself(&self, path: &[&str], mut body: Value) -> anyhow::Result<Value> {
        let answer = self.answer(Method::POST, path, Some(body.clone())).await?;
        if answer.status() != 401 {
            return answer.ok()?.json();
        }
        body["auth"] = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": self.id() }, "user": self.id(),
            "password": self.password(), "session": answer.field("session")?,
        });
        self.post(path, body).await
    }

    /// `PUT`: what it answers.
    pub async fn put(&self, path: &[&str], body: Value) -> anyhow::Result<Value> {
        self.answer(Method::PUT, path, Some(body)).await?.ok()?.json()
    }

    /// `DELETE`: what it answers.
    pub async fn delete(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.answer(Method::DELETE, path, Some(json!({}))).await?.ok()?.json()
    }

    /// Any request, and whatever it answers.
    pub async fn answer(&self, method: Method, path: &[&str], body: Option<Value>) -> anyhow::Result<Answer> {
        let request = self.client.request(method, &self.path(path));
        match body {
            Some(body) => request.json(&body).await,
            None => request.await,
        }
    }

    /// The path that a release knows under these segments.
    pub fn path(&self, segments: &[&str]) -> String {
        let (query, segments) = match segments {
            [rest @ .., last] if last.starts_with('?') => (*last, rest),
            all => ("", all),
        };
        let (root, segments) = match segments {
            [first, rest @ ..] if first.starts_with("/_") => ((*first).to_owned(), rest),
            // Spoken since 1.49.0, and what clients of today say.
            all if *self.client.live.release() >= "1.50.0".parse().expect("a constant version") => {
                ("/_matrix/client/v3".to_owned(), all)
            }
            all => ("/_matrix/client/r0".to_owned(), all),
        };
        segments.iter().fold(root, |path, segment| format!("{path}/{}", escape(segment))) + query
    }

    /// Makes a room.
    pub async fn room(&self, options: Value) -> anyhow::Result<String> {
        self.client.create_room(&options).await
    }

    /// Joins a room.
    pub async fn join(&self, room: &str) -> anyhow::Result<()> {
        self.client.join(room).await
    }

    /// Sends an event and gives its id.
    pub async fn send(&self, room: &str, kind: &str, content: Value) -> anyhow::Result<String> {
        let path = ["rooms", room, "send", kind, &self.client.live.unique("txn")];
        Ok(text(&self.put(&path, content).await?["event_id"]))
    }

    /// Says something and gives the event's id.
    pub async fn say(&self, room: &str, words: &str) -> anyhow::Result<String> {
        self.send(room, "m.room.message", json!({ "msgtype": "m.text", "body": words })).await
    }

    /// Sets a state event and gives its id.
    pub async fn state(&self, room: &str, kind: &str, key: &str, content: Value) -> anyhow::Result<String> {
        let path: &[&str] =
            if key.is_empty() { &["rooms", room, "state", kind] } else { &["rooms", room, "state", kind, key] };
        Ok(text(&self.put(path, content).await?["event_id"]))
    }

    /// Synchronises: from the beginning, or from a token, with a filter, without waiting for what is to come.
    pub async fn sync(&self, since: Option<&str>, filter: Value) -> anyhow::Result<Value> {
        // The same question within two minutes is answered from a cache: each is written otherwise.
        let number = self.client.live.counted();
        let query = match since {
            Some(since) => {
                // The number in binary, in what may follow JSON: who waits for long asks often, and gets no former answer.
                let space = format!("{number:b}").replace('0', " ").replace('1', "\t");
                format!("?timeout=0&filter={}&since={}", escape(&format!("{filter}{space}")), escape(since))
            }
            // It is answered at once, whatever time is given.
            None => format!("?timeout={number}&filter={}", escape(&filter.to_string())),
        };
        self.get(&["sync", &query]).await
    }
}

/// A text, or nothing.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A list's items, or none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What of an event is the user's; what the server says about it (`unsigned`) is the release's.
///
/// Since room version 11 `redacts` belongs to a redaction's content, and servers show it in both places to all.
pub fn event(event: &Value) -> Value {
    let mut kept = serde_json::Map::new();
    for key in ["event_id", "type", "state_key", "sender", "origin_server_ts", "content", "redacts"] {
        if let Some(value) = event.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    if kept.get("type").is_some_and(|kind| kind == "m.room.redaction")
        && let Some(redacts) =
            kept.get_mut("content").and_then(Value::as_object_mut).and_then(|c| c.shift_remove("redacts"))
    {
        kept.insert("redacts".to_owned(), redacts);
    }
    Value::Object(kept)
}

/// Events by type (and state key), content only.
pub fn typed(events: &Value, without: &[&str]) -> Value {
    let events: std::collections::BTreeMap<String, Value> = list(events)
        .iter()
        .filter(|event| !without.contains(&event["type"].as_str().unwrap_or_default()))
        .map(|event| {
            let key = [text(&event["type"]), text(&event["state_key"])].join(" ");
            (key.trim().to_owned(), event["content"].clone())
        })
        .collect();
    json!(events)
}
