//! A path as a trial: a rich estate walks it, and each leg starts or refuses as the schema's numbers say.

use std::sync::LazyLock;

use images::ReleaseTable;
use serde_json::json;

use super::{
    Ending, Extent, Leg, Outlook, Path,
    archetype::{MEDIA, WRITER},
};
use crate::{
    Deployment, Probe, Scenario,
    scenario::{self, expect},
};

/// Read once: there are thousands of paths. Without the table there is nothing to expect; the command line says what is wrong
/// with it.
static RELEASES: LazyLock<Option<ReleaseTable>> = LazyLock::new(|| ReleaseTable::load().ok());

/// What the operator's own move of the data to PostgreSQL comes to.
pub(crate) const PORT: &str = "synapse_port_db";
/// The way in, where there are workers.
pub(crate) const FRONT: &str = "proxy";
const WORKER: &str = "worker";

impl Scenario {
    /// A scenario of no note: what users own must survive this path.
    pub fn along(path: &Path) -> Self {
        Self::along_by(path, RELEASES.as_ref())
    }

    /// The same, by what this table says of the releases.
    pub(crate) fn along_by(path: &Path, table: Option<&ReleaseTable>) -> Self {
        let newest = path.legs.iter().map(|leg| &leg.release).max().expect("a path has legs");
        let mut scenario = Self::for_note("Users' data survives");
        scenario.databases = vec![path.database];
        scenario.is_survival = true;
        scenario.line = Some(path.clone());
        scenario = scenario
            .invariant("what users own is the same on every leg")
            .alone("its path is its own")
            .deployed_as(path)
            .with_legs(path, table);
        scenario.named(&newest.to_string(), &path.slug())
    }

    /// Under a name of its own instead of its legs'.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Under the name of a family of paths.
    #[must_use]
    pub fn of_family(mut self, family: &str) -> Self {
        self.name = format!("{family}::{}", self.name);
        self
    }

    /// The deployment that walks it, changed.
    #[must_use]
    pub fn deployed_with(mut self, change: impl Fn(&mut Deployment)) -> Self {
        self.variants.iter_mut().for_each(|variant| change(&mut variant.deployment));
        self
    }

    /// Why this path is worth walking.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        self.invariant(reason)
    }

    /// Does a release on this path refuse what others have left, by the numbers of the schema?
    pub fn is_refused(&self) -> bool {
        let refuses = |leg: &scenario::Leg| leg.now.get("start").is_some_and(|start| start["exit status"] == 1);
        self.running().iter().flat_map(|variant| &variant.legs).any(refuses)
    }

    /// Is it walked only when it is asked for?
    pub fn is_ignored(&self) -> bool {
        self.ignored
    }

    /// Walked only when it is asked for: `--ignored`, `--include-ignored`, `--path`.
    #[must_use]
    pub fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }

    fn deployed_as(mut self, path: &Path) -> Self {
        self = match path.estate {
            Extent::Whole => self.rich_estate(),
            Extent::Small => self,
            Extent::None => self.without_estate("the path says so"),
        };
        let oldest = path.legs.iter().map(|leg| &leg.release).min();
        if let (Some(config), Some(oldest)) = (path.config, oldest) {
            self = self.deployed_with(|deployment| config.configure(deployment, oldest));
        }
        if let Some(suite) = path.suite {
            self = self.suite(suite);
        }
        if let Some(major) = path.postgres {
            self = self.postgres(major);
        }
        if path.has_workers() {
            let redacts = oldest.is_some_and(|oldest| *oldest >= scenario::version("1.25.0rc1"));
            let said = if redacts {
                "^/_matrix/client/(r0|v3)/rooms/.*/(send|redact)/"
            } else {
                "^/_matrix/client/(r0|v3)/rooms/.*/send/"
            };
            // What upstream's list of workers' paths has had for as long as there were generic workers, redactions apart.
            let [sync, rooms, members, said, join, keys] = [
                "^/_matrix/client/(r0|v3)/sync$",
                "^/_matrix/client/(r0|v3)/publicRooms$",
                "^/_matrix/client/(r0|v3)/rooms/.*/(joined_members|context/.*|members|state)$",
                said,
                "^/_matrix/client/(r0|v3)/rooms/.*/(join|invite|leave)$",
                "^/_matrix/client/(r0|v3)/keys/query$",
            ]
            .map(|route| (route, WORKER));
            let named = |name| self.variants[0].deployment.workers.iter().find(|worker| worker.name == name);
            let mut routes = Vec::new();
            if named(WRITER).is_some() {
                // What is written to a stream is to be asked of who writes it.
                routes.push((
                    "^/_matrix/client/(r0|v3|unstable)/(sendToDevice/|presence/|.*/(typing|receipt|read_markers|tags|account_data)(/|$))",
                    WRITER,
                ));
            }
            if named(MEDIA).is_some() {
                routes.extend([
                    ("^/_matrix/(media|client/v1/media|federation/v1/media)/", MEDIA),
                    ("^/_synapse/admin/v1/(purge_media_cache$|(room|users?)/.*/media|media/|quarantine_media/)", MEDIA),
                ]);
            }
            routes.extend([sync, rooms, members, said, join, keys, ("^/", "main")]);
            let map = named(WRITER).map_or_else(|| json!({}), |writer| json!(writer.config));
            self = self.worker(WORKER, "synapse.app.generic_worker", ["client"], map).proxy(FRONT, routes);
        }
        self
    }

    fn with_legs(mut self, path: &Path, table: Option<&ReleaseTable>) -> Self {
        let release = |version| table.and_then(|table| table.get(version));
        let mut data = Outlook::default();
        if path.is_ported() {
            self = self.fact(PORT, Probe::of_step());
        }
        let variant = &mut self.variants[0];
        for leg in &path.legs {
            let mut planned = scenario::Leg {
                ported: leg.ported,
                workers: leg.workers.clone(),
                ending: leg.ending.clone(),
                ..scenario::Leg::on(leg.release.clone())
            };
            let plain = Leg::on(leg.release.clone());
            if *leg != plain {
                let text = leg.to_string();
                planned.title =
                    Some(text.replacen(&plain.to_string(), "", 1).split_whitespace().collect::<Vec<_>>().join(" "));
            }
            let workers = leg.workers.as_ref().and_then(release);
            let starts = release(&leg.release).and_then(|main| data.expects(main, workers));
            let starts = starts.unwrap_or_else(expect::anything);
            let killed = leg.ending.moment().is_some() && starts == scenario::probe::started();
            let starts = if killed { json!({ "killed at": expect::anything() }) } else { starts };
            planned.now.insert("start".to_owned(), starts);
            if leg.ported {
                planned.now.insert(PORT.to_owned(), json!("done"));
            }
            if let Some(main) = release(&leg.release) {
                data = data.met(main);
            }
            variant.legs.push(planned);
        }
        variant.from_scratch = !matches!(path.legs[0].ending, Ending::Stopped | Ending::Killed);
        self
    }
}
