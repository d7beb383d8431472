//! A part: one kind of thing that users own, with the code that makes it and the code that looks at it.

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use images::Version;
use serde_json::Value;

use super::person::Person;
use crate::{Deployment, Live, deployment::CompanionSpec, path::Archetype, scenario::probe::BoxFuture};

/// The other homeserver, where there is one.
pub(crate) const PEER: &str = "peer.test";

/// One kind of thing that users own.
///
/// `write` makes something new on every leg and returns what `read` needs to find it again (ids, tokens, texts: JSON, so
/// that it can be kept). `read` shows it as its owner sees it, on the leg that wrote it and on every later one; both must
/// be the same. So a reading names nothing that depends on the time, on the release, or on what other legs wrote.
#[derive(Clone)]
pub struct Part {
    pub(crate) name: &'static str,
    pub(crate) since: Option<Version>,
    pub(crate) until: Option<Version>,
    pub(crate) reads_since: Option<Version>,
    pub(crate) tables: Vec<&'static str>,
    pub(crate) needs: Deployment,
    pub(crate) loses: Option<String>,
    pub(crate) rides_along: bool,
    pub(crate) place: Place,
    pub(crate) consumes: bool,
    pub(crate) write: Action,
    pub(crate) read: Action,
}

/// On which walks a part is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On any.
    Anywhere,
    /// Under this configuration.
    Under(Archetype),
    /// Under any but this.
    NotUnder(Archetype),
    /// Where the database is not moved from SQLite to PostgreSQL.
    NotPorted,
}

/// What a part does on a visit.
pub(crate) type Action = Arc<dyn Fn(Visit) -> BoxFuture<'static, anyhow::Result<Value>> + Send + Sync>;

/// One look at the estate: a part's handle to the deployment, to the people of the leg that wrote, and to what it wrote.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The deployment on this leg.
    pub live: Live,
    /// Who owns most of what the leg wrote that writes.
    pub owner: Person,
    /// Their friend, of the same leg.
    pub friend: Person,
    /// A room of the leg that writes, with both of them in it.
    pub room: String,
    /// Names the leg that writes, for names that must differ from leg to leg.
    pub mark: String,
    /// The release that wrote, or that writes.
    pub written_on: Version,
    /// What `write` returned; nothing while it writes.
    pub kept: Value,
}

impl Part {
    /// A part of this name that can be had on every release, and does nothing yet.
    pub fn new(name: &'static str) -> Self {
        let nothing: Action = Arc::new(|_| Box::pin(async { Ok(Value::Null) }));
        Self {
            name,
            since: None,
            until: None,
            reads_since: None,
            tables: Vec::new(),
            needs: Deployment::default(),
            loses: None,
            rides_along: false,
            place: Place::Anywhere,
            consumes: false,
            write: Arc::clone(&nothing),
            read: nothing,
        }
    }

    /// The first release on which it can be had.
    #[must_use]
    pub fn since(mut self, release: &str) -> Self {
        self.since = Some(release.parse().unwrap_or_else(|error| panic!("{error}")));
        self
    }

    /// The first release on which it can be had no more.
    #[must_use]
    pub fn until(mut self, release: &str) -> Self {
        self.until = Some(release.parse().unwrap_or_else(|error| panic!("{error}")));
        self
    }

    /// The first release that can read what older ones wrote. `write` returns what a reading must show, under `waiting`: what a
    /// release makes of the data of those before it is not looked at by themselves, and the leg that writes does not read.
    #[must_use]
    pub fn reads_since(mut self, release: &str) -> Self {
        self.reads_since = Some(release.parse().unwrap_or_else(|error| panic!("{error}")));
        self
    }

    /// The tables that it fills, on the releases that have them.
    #[must_use]
    pub fn fills(mut self, tables: &[&'static str]) -> Self {
        self.tables.extend(tables);
        self
    }

    /// Settings that it needs.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.needs.config(config);
        self
    }

    /// A file that it needs; a relative path is below `/data`.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<String>) -> Self {
        self.needs.file(path, content);
        self
    }

    /// A variable of the homeserver's environment that it needs.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.needs.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A service that it needs beside the homeserver, under this host name.
    #[must_use]
    pub fn companion(mut self, host: &str, companion: CompanionSpec) -> Self {
        self.needs.companions.insert(host.to_owned(), companion);
        self
    }

    /// How the control loses it, as SQL, where emptying its tables would lose more than this part or nothing of it.
    #[must_use]
    pub fn loses(mut self, sql: &str) -> Self {
        self.loses = Some(sql.to_owned());
        self
    }

    /// It is so quick and so central that it rides along on every walk.
    #[must_use]
    pub fn rides_along(mut self) -> Self {
        self.rides_along = true;
        self
    }

    /// It is had only where there is another homeserver, whose people it names.
    #[must_use]
    pub fn federates(mut self) -> Self {
        self.place = Place::Under(Archetype::Federated);
        self
    }

    /// It is had only where modules of the operator's are asked.
    #[must_use]
    pub fn is_checked_by_modules(mut self) -> Self {
        self.place = Place::Under(Archetype::Modules);
        self
    }

    /// It is not had where modules of the operator's are asked: a server (1.141.0 still, 1.162.0 no more) misreads lists and
    /// mappings of events that a module of rules has seen, until it is restarted.
    #[must_use]
    pub fn is_not_checked_by_modules(mut self) -> Self {
        self.place = Place::NotUnder(Archetype::Modules);
        self
    }

    /// No release's `synapse_port_db` moves it: it is left behind, or all else would be with it. Where a path has a port it is
    /// not had.
    #[must_use]
    pub fn is_not_ported(mut self) -> Self {
        self.place = Place::NotPorted;
        self
    }

    /// Reading takes it away: `write` returns the list that the first reading on a later leg must give, under `waiting`,
    /// and every reading after that gives an empty one.
    #[must_use]
    pub fn consumed_by_reading(mut self) -> Self {
        self.consumes = true;
        self
    }

    /// How it comes to be.
    #[must_use]
    pub fn write<Fut>(mut self, action: impl Fn(Visit) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = anyhow::Result<Value>> + Send + 'static,
    {
        self.write = Arc::new(move |visit| Box::pin(action(visit)));
        self
    }

    /// How its owner looks at it.
    #[must_use]
    pub fn read<Fut>(mut self, action: impl Fn(Visit) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = anyhow::Result<Value>> + Send + 'static,
    {
        self.read = Arc::new(move |visit| Box::pin(action(visit)));
        self
    }

    /// Its name, as it is in reports.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its row's name in reports.
    pub(crate) fn row(&self) -> String {
        format!("part: {}", self.name)
    }

    /// Loses what it wrote, for a control: as it says itself, or all rows of its tables.
    pub(crate) async fn lose(self, live: Live) -> anyhow::Result<()> {
        if let Some(sql) = &self.loses {
            return live.execute(sql).await;
        }
        let mut lost = false;
        for table in &self.tables {
            if live.has_table(table).await? {
                live.execute(&format!("DELETE FROM {table}")).await?;
                lost = true;
            }
        }
        if lost { Ok(()) } else { anyhow::bail!("the part `{}` names nothing that it could lose", self.name) }
    }

    /// Whether a release has it; the reason, if not.
    pub(crate) fn available(&self, release: &Version) -> Result<(), String> {
        match (&self.since, &self.until) {
            (Some(since), _) if release < since => Err(format!("there is none before {since}")),
            (_, Some(until)) if release >= until => Err(format!("there is none since {until}")),
            _ => Ok(()),
        }
    }

    /// Whether a release can read what was written; the reason, if not.
    pub(crate) fn readable(&self, release: &Version) -> Result<(), String> {
        match &self.reads_since {
            Some(since) if release < since => Err(format!("it is not read before {since}")),
            _ => self.available(release),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Visit {
    /// A text of what `write` returned.
    pub fn kept(&self, key: &str) -> anyhow::Result<String> {
        self.kept[key].as_str().map(str::to_owned).with_context(|| format!("`write` returned no text `{key}`"))
    }

    /// `name`, made this leg's own.
    pub fn named(&self, name: &str) -> String {
        format!("{name}-{}", self.mark)
    }

    /// Somebody of this leg's own, registered on first use.
    pub async fn somebody(&self, name: &str) -> anyhow::Result<Person> {
        Ok(Person::new(self.live.user(&self.named(name)).await?))
    }

    /// Somebody of this leg's own on the other homeserver.
    pub async fn stranger(&self, name: &str) -> anyhow::Result<Person> {
        Ok(Person::new(self.live.peer(PEER)?.user(&self.named(name)).await?))
    }

    /// A room of the owner's with the friend in it.
    pub async fn shared(&self, mut options: Value) -> anyhow::Result<String> {
        options["invite"] = serde_json::json!([self.friend.id()]);
        let room = self.owner.room(options).await?;
        self.friend.join(&room).await?;
        Ok(room)
    }

    /// A server admin.
    pub async fn admin(&self) -> anyhow::Result<Person> {
        Ok(Person::new(self.live.admin().await?))
    }

    /// Nobody.
    pub fn anonymous(&self) -> Person {
        Person::new(self.live.anonymous())
    }

    /// A message that names somebody: in its text, and beside it, where newer releases look (MSC3952; since 1.164.0rc1 the text
    /// alone tells nobody).
    pub fn naming(&self, person: &Person, words: &str) -> Value {
        let mut content = serde_json::json!({ "msgtype": "m.text", "body": format!("{words} {}", person.id()) });
        // From 1.142.0 to 1.153.0 such a message is refused where a module sees it first (#19634).
        let is_seen_before = Archetype::Modules.is_of(self.live.deployment());
        if !is_seen_before || !self.from("1.142.0rc1") || self.from("1.154.0rc1") {
            content["m.mentions"] = serde_json::json!({ "user_ids": [person.id()] });
        }
        content
    }

    /// Is the release this one or a later one?
    pub fn from(&self, release: &str) -> bool {
        is_from(self.live.release(), release)
    }

    /// Was the release that wrote this one or a later one?
    pub fn written_from(&self, release: &str) -> bool {
        is_from(&self.written_on, release)
    }

    /// Is this the release that wrote or a later one? Not after a rollback.
    pub fn goes_on(&self) -> bool {
        *self.live.release() >= self.written_on
    }

    /// Is this asked for the first time on this release? What takes long is looked at once on each.
    pub fn is_first_time(&self, what: &str) -> bool {
        let memory = format!("{what} on {}", self.live.release());
        let is_first = self.live.recall(&memory).is_err();
        if is_first {
            self.live.remember(&memory, "looked at");
        }
        is_first
    }

    /// Is there no background update left to be done, or none of this name?
    pub async fn is_updated(&self, name: Option<&str>) -> anyhow::Result<bool> {
        let left = self.live.sql("SELECT update_name FROM background_updates").await?;
        Ok(!left.iter().any(|row| name.is_none_or(|name| row["update_name"] == name)))
    }
}

fn is_from(release: &Version, first: &str) -> bool {
    *release >= first.parse().unwrap_or_else(|error| panic!("{error}"))
}
