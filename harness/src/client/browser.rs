//! A browser without pictures: follows redirects across the deployment's host names, keeps cookies, submits forms.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use cookie_store::CookieStore;
use reqwest::{Method, Url};
use scraper::{Html, Selector};

use super::Answer;
use crate::{Live, stage::config::SERVER_NAME};

/// Redirects that end within this many steps are no loop.
const STEPS: usize = 20;

/// A user's browser. Host names are the deployment's: the server's name is the main process, others are companions.
#[derive(Clone, Debug)]
pub struct Browser {
    live: Live,
    cookies: CookieStore,
    /// The process behind the server's own name: `main`, or a proxy.
    front: String,
}

/// Where a browser ended up.
#[derive(Clone, Debug)]
pub struct Page {
    /// The address.
    pub url: Url,
    /// What is there; `None` for a host outside the deployment, to which the browser does not go.
    pub answer: Option<Answer>,
}

impl Browser {
    pub(crate) fn new(live: Live, front: &str) -> Self {
        Self { live, cookies: CookieStore::default(), front: front.to_owned() }
    }

    /// Opens an address and follows where it leads.
    pub async fn open(&mut self, url: &str) -> anyhow::Result<Page> {
        let url = Url::parse(url).with_context(|| format!("`{url}` is not an address"))?;
        self.go(Method::GET, url, None).await
    }

    /// Fills in a page's first form and submits it.
    pub async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> anyhow::Result<Page> {
        let form = page.form()?;
        let mut filled = form.fields;
        filled.extend(fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        if form.method == Method::GET {
            let mut url = form.action;
            url.query_pairs_mut().extend_pairs(&filled);
            return self.go(Method::GET, url, None).await;
        }
        self.go(form.method, form.action, Some(filled)).await
    }

    async fn go(&mut self, method: Method, url: Url, form: Option<BTreeMap<String, String>>) -> anyhow::Result<Page> {
        let (mut method, mut url, mut form) = (method, url, form);
        for _ in 0..STEPS {
            let Some(process) = self.process(&url) else { return Ok(Page { url, answer: None }) };
            let host = url.host_str().unwrap_or_default().to_owned();
            let path = format!("{}{}", url.path(), url.query().map(|query| format!("?{query}")).unwrap_or_default());
            let mut request = self.live.anonymous().at(&process)?.request(method, &path).header("host", &host);
            let cookies: Vec<String> =
                self.cookies.get_request_values(&url).map(|(name, value)| format!("{name}={value}")).collect();
            if !cookies.is_empty() {
                request = request.header("cookie", &cookies.join("; "));
            }
            if let Some(form) = &form {
                let fields: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                request = request.form(&fields);
            }
            let answer = request.await?;
            self.keep_cookies(&url, &answer);
            match answer.header("location").filter(|_| (300..400).contains(&answer.status())) {
                Some(location) => {
                    url = url.join(location).with_context(|| format!("`{location}` is not an address"))?;
                    // What a browser does after a form: the next page is fetched.
                    (method, form) = (Method::GET, None);
                }
                None => return Ok(Page { url, answer: Some(answer) }),
            }
        }
        bail!("redirected {STEPS} times, at last to {url}")
    }

    fn process(&self, url: &Url) -> Option<String> {
        match url.host_str()? {
            SERVER_NAME => Some(self.front.clone()),
            host => {
                let name = format!("{host}:{}", url.port_or_known_default()?);
                self.live.address(&name).ok().map(|_| name)
            }
        }
    }

    fn keep_cookies(&mut self, url: &Url, answer: &Answer) {
        for header in answer.headers.get_all("set-cookie").iter().filter_map(|header| header.to_str().ok()) {
            // A cookie that is not for this address is no concern of a browser's either.
            let _ = self.cookies.parse(header, url);
        }
    }
}

struct Form {
    action: Url,
    method: Method,
    fields: BTreeMap<String, String>,
}

impl Page {
    /// The page's status; 0 outside the deployment.
    pub fn status(&self) -> u16 {
        self.answer.as_ref().map_or(0, Answer::status)
    }

    /// The page's text; empty outside the deployment.
    pub fn text(&self) -> String {
        self.answer.as_ref().map(Answer::text).unwrap_or_default()
    }

    /// A parameter of the address.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The target of the first link whose address contains `text`.
    pub fn link(&self, text: &str) -> Option<String> {
        let selector = Selector::parse("a[href]").expect("a constant selector");
        Html::parse_document(&self.text())
            .select(&selector)
            .filter_map(|link| link.value().attr("href"))
            .find(|href| href.contains(text))
            .map(str::to_owned)
    }

    /// Has the page a form?
    pub fn has_form(&self) -> bool {
        self.form().is_ok()
    }

    fn form(&self) -> anyhow::Result<Form> {
        let selector = |text: &str| Selector::parse(text).expect("a constant selector");
        let document = Html::parse_document(&self.text());
        let form = document.select(&selector("form")).next();
        let form = form.with_context(|| format!("{} ({}) has no form", self.url, self.status()))?;
        let action = form.value().attr("action").filter(|action| !action.is_empty() && *action != "#");
        let action = match action {
            Some(action) => self.url.join(action)?,
            None => self.url.clone(),
        };
        let post = form.value().attr("method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
        let fields = form
            .select(&selector("input[name]"))
            .filter_map(|input| {
                let value = input.value();
                let kind = value.attr("type").unwrap_or("text");
                let sent = matches!(kind, "hidden" | "text" | "password" | "email");
                sent.then(|| {
                    (
                        value.attr("name").unwrap_or_default().to_owned(),
                        value.attr("value").unwrap_or_default().to_owned(),
                    )
                })
            })
            .collect();
        Ok(Form { action, method: if post { Method::POST } else { Method::GET }, fields })
    }
}
