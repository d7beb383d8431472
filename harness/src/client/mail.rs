//! The mail sink's messages.

use anyhow::bail;
use serde::Deserialize;

use super::recorder::ask;
use crate::{Live, PATIENCE, eventually};

/// A mail that the homeserver sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Mail {
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The plain part, decoded.
    pub text: Option<String>,
    /// The HTML part, decoded.
    pub html: Option<String>,
}

/// A mail sink, as a companion.
#[derive(Clone, Debug)]
pub struct Mailbox {
    pub(crate) live: Live,
    pub(crate) host: String,
}

impl Mailbox {
    /// All mails so far.
    pub async fn all(&self) -> anyhow::Result<Vec<Mail>> {
        let answer = ask(self.live.anonymous().at(&format!("{}:8080", self.host))?.get("/messages")).await?;
        Ok(serde_json::from_slice(answer.bytes())?)
    }

    /// The first mail to this address after the first `seen` to it; waits for it.
    pub async fn next_to(&self, address: &str, seen: usize) -> anyhow::Result<Mail> {
        let mails = eventually(|| self.to(address), |mails| mails.len() > seen).await?;
        match mails.into_iter().nth(seen) {
            Some(mail) => Ok(mail),
            None => bail!("no mail to {address} came within {} s", PATIENCE.as_secs()),
        }
    }

    /// All mails to this address so far.
    pub async fn to(&self, address: &str) -> anyhow::Result<Vec<Mail>> {
        Ok(self.all().await?.into_iter().filter(|mail| mail.to.iter().any(|to| to == address)).collect())
    }
}

impl Mail {
    /// The first link in the plain part.
    pub fn link(&self) -> anyhow::Result<String> {
        let text = self.text.as_deref().unwrap_or_default();
        match text.split_whitespace().find(|word| word.starts_with("http")) {
            Some(link) => Ok(link.to_owned()),
            None => bail!("the mail `{}` holds no link:\n{text}", self.subject.as_deref().unwrap_or_default()),
        }
    }
}
