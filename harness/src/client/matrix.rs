//! The Matrix client: requests as somebody, to one process of a deployment.

use std::{borrow::Cow, future::IntoFuture, time::Instant};

use anyhow::Context as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, Url};
use ruma_common::api::{
    IncomingResponseExt as _, OutgoingRequest, OutgoingRequestExt as _, SupportedVersions,
    auth_scheme::{AuthScheme, SendAccessToken},
    path_builder::PathBuilder,
};
use serde_json::{Value, json};

use super::{Answer, Transcript, UnexpectedAnswer};
use crate::{Live, scenario::probe::BoxFuture};

/// Somebody (a user, an admin, nobody) who talks to one process of the deployment.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) live: Live,
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) identity: Option<Identity>,
}

/// A logged-in user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user_id: String,
    pub(crate) device_id: String,
    pub(crate) token: String,
    pub(crate) password: String,
}

/// A request under way; `.await` sends it.
#[derive(Debug)]
pub struct Request {
    http: reqwest::Client,
    transcript: Transcript,
    outgoing: reqwest::RequestBuilder,
}

impl Client {
    /// The same person, talking to another process: a worker's name, `main`, `proxy`.
    pub fn at(&self, process: &str) -> anyhow::Result<Self> {
        Ok(Self { base: self.live.address(process)?, ..self.clone() })
    }

    /// The same person with another access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        let identity = Identity {
            token: token.to_owned(),
            ..self.identity.clone().unwrap_or_else(|| Identity {
                user_id: String::new(),
                device_id: String::new(),
                token: String::new(),
                password: String::new(),
            })
        };
        Self { identity: Some(identity), ..self.clone() }
    }

    /// `@alice:hs.test`; empty for nobody.
    pub fn id(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.user_id)
    }

    /// The access token; empty for nobody.
    pub fn token(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.token)
    }

    /// The device of the access token; empty for nobody.
    pub fn device(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.device_id)
    }

    /// The password with which the user was registered; empty for nobody.
    pub fn password(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.password)
    }

    /// Any request. `path` is a path with an optional query, or a whole URL on the same deployment.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.origin()) };
        let mut request = self.http.request(method, url);
        if let Some(identity) = &self.identity {
            request = request.bearer_auth(&identity.token);
        }
        Request { http: self.http.clone(), transcript: self.live.transcript(), outgoing: request }
    }

    /// `GET` a path.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// `POST` a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Request {
        self.request(Method::POST, path).json(body)
    }

    /// `PUT` a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Request {
        self.request(Method::PUT, path).json(body)
    }

    /// `DELETE` with a JSON body.
    pub fn delete(&self, path: &str, body: &Value) -> Request {
        self.request(Method::DELETE, path).json(body)
    }

    fn origin(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends a typed request of the client-server API, on the path that this server's `/versions` calls for.
    ///
    /// # Errors
    ///
    /// An answer that is not a success, shown whole.
    pub async fn send<R>(&self, request: R) -> anyhow::Result<<R as OutgoingRequest>::IncomingResponse>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        let token = match &self.identity {
            Some(identity) => SendAccessToken::IfRequired(&identity.token),
            None => SendAccessToken::None,
        };
        let versions = self.live.supported_versions().await?;
        let request = request
            .try_into_http_request::<Vec<u8>>(self.origin(), token, Cow::Borrowed(&versions))
            .context("this request has no form that the server supports")?;
        let request = reqwest::Request::try_from(request).context("an unsendable request")?;
        let answer = exchange(&self.http, &self.live.transcript(), request).await?.ok()?;
        let mut response = http::Response::builder().status(answer.status);
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(&answer.headers);
        }
        let response = response.body(answer.body.as_ref()).context("an unreadable response")?;
        <R as OutgoingRequest>::IncomingResponse::try_from_http_response(response).map_err(|error| {
            UnexpectedAnswer::new(format!("{} answered something unexpected: {error}", answer.request)).into()
        })
    }

    /// Gives the account a validated email address, as an identity server's word once did.
    pub async fn add_email(&self, address: &str) -> anyhow::Result<()> {
        let statement = format!(
            "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) \
             VALUES ('{}', 'email', '{address}', 1500000000000, 1500000000000)",
            self.id()
        );
        self.live.execute(&statement).await
    }

    /// Makes a room and gives its id. `options` is the body of `POST /createRoom`.
    pub async fn create_room(&self, options: &Value) -> anyhow::Result<String> {
        self.post("/_matrix/client/r0/createRoom", options).await?.ok()?.field("room_id")
    }

    /// The room that this scenario calls `name`: made on first use, remembered under that name.
    pub async fn room(&self, name: &str, options: &Value) -> anyhow::Result<String> {
        if let Ok(room) = self.live.recall(name) {
            return Ok(room);
        }
        let room = self.create_room(options).await?;
        self.live.remember(name, &room);
        Ok(room)
    }

    /// Joins a room.
    pub async fn join(&self, room: &str) -> anyhow::Result<()> {
        self.post(&format!("/_matrix/client/r0/rooms/{}/join", escape(room)), &json!({})).await?.ok()?;
        Ok(())
    }

    /// Sends a text message.
    pub fn say(&self, room: &str, text: &str) -> Request {
        let path = format!("/_matrix/client/r0/rooms/{}/send/m.room.message/{}", escape(room), self.live.unique("txn"));
        self.put(&path, &json!({ "msgtype": "m.text", "body": text }))
    }

    /// The room's timeline from its newest event back: at most `limit` events, oldest first.
    pub async fn timeline(&self, room: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        let path = format!("/_matrix/client/r0/rooms/{}/messages?dir=b&limit={limit}", escape(room));
        let mut answer = self.get(&path).await?.ok()?.json()?;
        let mut events = answer["chunk"].as_array_mut().map(std::mem::take).unwrap_or_default();
        events.reverse();
        Ok(events)
    }

    /// Uploads a file and gives its `mxc://` URI.
    pub async fn upload(&self, name: &str, content_type: &str, bytes: &[u8]) -> anyhow::Result<String> {
        self.request(Method::POST, &format!("/_matrix/media/r0/upload?filename={}", escape(name)))
            .body(content_type, bytes.to_vec())
            .await?
            .ok()?
            .field("content_uri")
    }
}

impl Request {
    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.outgoing = self.outgoing.json(body);
        self
    }

    /// With a form body.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut body = Url::parse("http://form").expect("a constant URL");
        body.query_pairs_mut().extend_pairs(fields);
        let text = body.query().unwrap_or_default().to_owned();
        self.body("application/x-www-form-urlencoded", text.into_bytes())
    }

    /// With any body.
    #[must_use]
    pub fn body(mut self, content_type: &str, bytes: Vec<u8>) -> Self {
        self.outgoing = self.outgoing.header("content-type", content_type).body(bytes);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.outgoing = self.outgoing.header(name, value);
        self
    }
}

impl IntoFuture for Request {
    type Output = anyhow::Result<Answer>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = self.outgoing.build().context("an unsendable request")?;
            exchange(&self.http, &self.transcript, request).await
        })
    }
}

async fn exchange(
    http: &reqwest::Client,
    transcript: &Transcript,
    request: reqwest::Request,
) -> anyhow::Result<Answer> {
    let copy = request.try_clone().context("a request that can be recorded")?;
    let name = format!("{} {}", copy.method(), copy.url());
    let begun = Instant::now();
    let answer = async {
        let response = http.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok::<_, reqwest::Error>(Answer { request: name.clone(), status, headers, body: response.bytes().await? })
    }
    .await;
    transcript.record(&copy, begun.elapsed().as_secs_f64(), answer.as_ref());
    answer.map_err(|error| {
        if error.is_timeout() {
            // Whoever asks waits as long as the client lets it: nothing came in that time.
            UnexpectedAnswer::new(format!("{name} got no answer within {:.0} s", begun.elapsed().as_secs_f64())).into()
        } else {
            anyhow::Error::from(error).context(format!("{name} got no answer"))
        }
    })
}

/// Percent-encodes one path segment.
pub fn escape(segment: &str) -> String {
    /// All but what RFC 3986 calls unreserved.
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(segment, RESERVED).to_string()
}
