//! Every request and answer of a leg, as evidence.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::Answer;

/// Bodies are cut after this many characters: a transcript is for reading.
const LONGEST: usize = 4000;

/// Writes `http.jsonl`: one line per exchange.
#[derive(Clone, Debug)]
pub(crate) struct Transcript(Arc<Mutex<File>>);

impl Transcript {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::create(path)?))))
    }

    pub(crate) fn record(&self, request: &reqwest::Request, seconds: f64, answer: Result<&Answer, &reqwest::Error>) {
        let body = request.body().and_then(reqwest::Body::as_bytes).map(shown);
        let answer = match answer {
            Ok(answer) => json!({
                "status": answer.status,
                "headers": answer.headers.iter().map(|(name, value)| {
                    (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())))
                }).collect::<serde_json::Map<_, _>>(),
                "body": shown(&answer.body),
            }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        let mut line = json!({
            "request": format!("{} {}", request.method(), request.url()),
            "authorization": request.headers().get("authorization").map(|value| String::from_utf8_lossy(value.as_bytes())),
            "body": body,
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "answer": answer,
        });
        reports::mask(&mut line);
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Evidence that cannot be written must not change a verdict; the run notices a full disk elsewhere.
        let _ = writeln!(file, "{line}");
    }
}

fn shown(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok("") => Value::Null,
        Ok(text) => serde_json::from_str::<Value>(text)
            .ok()
            .filter(|_| text.len() <= LONGEST)
            .unwrap_or_else(|| json!(text.chars().take(LONGEST).collect::<String>())),
        Err(_) => json!(format!("{} bytes", body.len())),
    }
}
