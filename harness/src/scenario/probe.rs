//! Probes: the code that observes a fact, the same on every leg.
//!
//! A probe is an async closure from [`Live`] to a JSON value, or one of the ready-made ones here. It is run once on
//! every leg of a path, so one that consumes something creates it first.

use std::{fmt, pin::Pin, sync::Arc};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Live, client::Answer, scenario::expect::contains};

/// A boxed future, as closures of many types are kept in one list.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The code that observes a fact.
#[derive(Clone)]
pub struct Probe(Kind);

#[derive(Clone)]
enum Kind {
    /// Whether and how the homeserver came up.
    Start,
    /// Recorded by an operator's step, on its leg only.
    Step,
    Code {
        run: Code,
        at_rest: bool,
    },
}

type Code = Arc<dyn Fn(Live) -> BoxFuture<'static, anyhow::Result<Value>> + Send + Sync>;

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Start => "start",
            Kind::Step => "step",
            Kind::Code { at_rest: false, .. } => "probe",
            Kind::Code { at_rest: true, .. } => "probe at rest",
        })
    }
}

impl<F, Fut> From<F> for Probe
where
    F: Fn(Live) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<Value>> + Send + 'static,
{
    fn from(code: F) -> Self {
        Self(Kind::Code { run: Arc::new(move |live| Box::pin(code(live))), at_rest: false })
    }
}

impl Probe {
    pub(crate) fn of_step() -> Self {
        Self(Kind::Step)
    }

    /// The probe also has something to look at when the homeserver refused to start: its database, its files, its
    /// output.
    #[must_use]
    pub fn at_rest(self) -> Self {
        match self.0 {
            Kind::Code { run, .. } => Self(Kind::Code { run, at_rest: true }),
            other => Self(other),
        }
    }

    /// The probe looks when no background update goes on any more: what they change is not there from the start.
    #[must_use]
    pub fn once_updated(self) -> Self {
        let Kind::Code { run, .. } = self.0 else { return self };
        let run: Code = Arc::new(move |live: Live| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                live.background_updates_left().await?;
                run(live).await
            })
        });
        Self(Kind::Code { run, at_rest: false })
    }

    pub(crate) fn is_start(&self) -> bool {
        matches!(self.0, Kind::Start)
    }

    pub(crate) fn is_step(&self) -> bool {
        matches!(self.0, Kind::Step)
    }

    pub(crate) fn works_at_rest(&self) -> bool {
        matches!(self.0, Kind::Start | Kind::Code { at_rest: true, .. })
    }

    /// Observes; `None` for a fact that the engine itself records.
    pub(crate) fn observe(&self, live: &Live) -> Option<BoxFuture<'static, anyhow::Result<Value>>> {
        match &self.0 {
            Kind::Start => {
                let start = live.start().to_json();
                Some(Box::pin(async move { Ok(start) }))
            }
            Kind::Step => None,
            Kind::Code { run, .. } => Some(run(live.clone())),
        }
    }
}

/// How the homeserver came up: [`started`] or [`refused`]. A deployment that is refused ends its leg there.
pub fn start() -> Probe {
    Probe(Kind::Start)
}

/// The homeserver came up and answers.
pub fn started() -> Value {
    json!("answers")
}

/// The homeserver exited with status 1 instead of coming up, and printed this text.
pub fn refused(text: &str) -> Value {
    refused_with(1, text)
}

/// The homeserver exited with this status instead of coming up, and printed this text.
pub fn refused_with(exit_status: i64, text: &str) -> Value {
    json!({ "exit status": exit_status, "printed": contains(text) })
}

/// One HTTP request, as a probe. Made by [`get`], [`put`], [`post`], [`delete`] and [`request`].
///
/// Paths and bodies may name what the scenario remembers: `{lobby}` is the room of that name, `{alice}` the user's id,
/// `{token}` whatever was remembered as `token`.
#[derive(Clone, Debug)]
pub struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
    headers: Vec<(String, String)>,
    by: By,
    at: String,
    view: View,
}

#[derive(Clone, Debug)]
enum By {
    Nobody,
    User(String),
    Admin,
}

#[derive(Clone, Debug)]
enum View {
    Brief,
    Refusal,
    Body,
    Field(String),
    Header(String),
}

/// `GET` a path.
pub fn get(path: &str) -> Ask {
    request(Method::GET, path)
}

/// `POST` a JSON body.
pub fn post(path: &str, body: Value) -> Ask {
    request(Method::POST, path).json(body)
}

/// `PUT` a JSON body.
pub fn put(path: &str, body: Value) -> Ask {
    request(Method::PUT, path).json(body)
}

/// `DELETE` with a JSON body.
pub fn delete(path: &str, body: Value) -> Ask {
    request(Method::DELETE, path).json(body)
}

/// Any request.
pub fn request(method: Method, path: &str) -> Ask {
    Ask {
        method,
        path: path.to_owned(),
        body: None,
        headers: Vec::new(),
        by: By::Nobody,
        at: "main".to_owned(),
        view: View::Brief,
    }
}

impl Ask {
    /// As this user (made on first use).
    #[must_use]
    pub fn by(self, user: &str) -> Self {
        Self { by: By::User(user.to_owned()), ..self }
    }

    /// As a server admin.
    #[must_use]
    pub fn by_admin(self) -> Self {
        Self { by: By::Admin, ..self }
    }

    /// Sent to this process instead of the main one: a worker's name, or `proxy`.
    #[must_use]
    pub fn at(self, process: &str) -> Self {
        Self { at: process.to_owned(), ..self }
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Shows status, error code and the error's text, so that a [`refusal`] is told from another of the same code.
    #[must_use]
    pub fn refusal(self) -> Self {
        Self { view: View::Refusal, ..self }
    }

    /// Shows status and whole body, instead of status and error code.
    #[must_use]
    pub fn body(self) -> Self {
        Self { view: View::Body, ..self }
    }

    /// Shows the part of the JSON body at this pointer (`/flows/0/stages`); `null` where there is none.
    #[must_use]
    pub fn field(self, pointer: &str) -> Self {
        Self { view: View::Field(pointer.to_owned()), ..self }
    }

    /// Shows status and this header of the answer.
    #[must_use]
    pub fn shows_header(self, name: &str) -> Self {
        Self { view: View::Header(name.to_owned()), ..self }
    }

    async fn send(&self, live: &Live) -> anyhow::Result<Answer> {
        let client = match &self.by {
            By::Nobody => live.anonymous(),
            By::User(name) => live.user(name).await?,
            By::Admin => live.admin().await?,
        };
        let mut request = client.at(&self.at)?.request(self.method.clone(), &live.fill(&self.path)?);
        if let Some(body) = &self.body {
            request = request.json(&live.fill_json(body)?);
        }
        for (name, value) in &self.headers {
            request = request.header(name, &live.fill(value)?);
        }
        request.await
    }
}

impl From<Ask> for Probe {
    fn from(ask: Ask) -> Self {
        (move |live: Live| {
            let ask = ask.clone();
            async move {
                let answer = ask.send(&live).await?;
                Ok(match &ask.view {
                    View::Brief => answer.brief(),
                    View::Refusal => answer.refusal(),
                    View::Body => answer.whole(),
                    View::Field(pointer) => answer.json()?.pointer(pointer).cloned().unwrap_or_default(),
                    View::Header(name) => json!({ "status": answer.status(), name: answer.header(name) }),
                })
            }
        })
        .into()
    }
}

/// What [`Ask::refusal`] shows of an answer with this status, error code and, in its error, this text.
pub fn refusal(status: u16, errcode: &str, text: &str) -> Value {
    json!({ "status": status, "errcode": errcode, "error": contains(text) })
}

/// The answer of an endpoint that does not exist, as Synapse gives it since 1.74 (upstream: PR 14621).
pub fn not_found() -> Value {
    json!({ "status": 404, "errcode": "M_UNRECOGNIZED" })
}

/// The answer of an endpoint that does not exist, as Synapse gave it until 1.73: 400, not 404.
pub fn unrecognized() -> Value {
    json!({ "status": 400, "errcode": "M_UNRECOGNIZED" })
}

/// The answer of an endpoint that does not exist, with its whole body: 400 until 1.73, 404 since.
pub fn no_such_path(status: u16) -> Value {
    json!({ "status": status, "body": { "errcode": "M_UNRECOGNIZED", "error": "Unrecognized request" } })
}

/// A status without an error code, as [`Ask`] shows it.
pub fn status(status: u16) -> Value {
    json!({ "status": status })
}

/// A status with an error code, as [`Ask`] shows it.
pub fn error(status: u16, errcode: &str) -> Value {
    json!({ "status": status, "errcode": errcode })
}

/// The rows of a query as a list of objects, whether the server runs or not. The text may differ
/// [by database](crate::scenario::expect::per_database).
pub fn sql(query: impl Into<Value>) -> Probe {
    let query = query.into();
    Probe::from(move |live: Live| {
        let query = query.clone();
        async move {
            let text = live.choose(&query)?;
            Ok(Value::Array(live.sql(&live.fill(&text)?).await?))
        }
    })
    .at_rest()
}

/// Lines of the homeserver's log on this leg that contain `text`, from after the time stamp on.
pub fn log_lines(text: &str) -> Probe {
    let text = text.to_owned();
    Probe::from(move |live: Live| {
        let text = text.clone();
        async move { Ok(json!(live.log_lines(&text).await?)) }
    })
    .at_rest()
}

/// Does the homeserver's standard error (what it prints before logging is set up) contain `text` on this leg?
/// Shown is what it printed, so that a mismatch explains itself.
pub fn printed() -> Probe {
    Probe::from(|live: Live| async move { Ok(json!(live.printed().await?)) }).at_rest()
}
