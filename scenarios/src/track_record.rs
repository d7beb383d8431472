//! Upgrade bugs that releases really had, from public reports: the row that should see each must be red on the path that
//! shows it, and nothing may be on the path to the release that has it mended. They have no probes of their own, and walk when
//! they are asked for: `-- --ignored track_record`.

use harness::{Path, Scenario, expect, health, probe};
use serde::Deserialize;
use serde_json::{Value, json};

/// The bugs.
const BUGS: &str = include_str!("track_record.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    bug: Vec<Bug>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    id: String,
    /// Where it was reported or mended.
    issue: String,
    title: String,
    /// The path that shows it, on its last leg.
    path: String,
    /// The path that does not.
    fixed: String,
    /// The row that is red.
    seen_by: String,
    /// Rows that are red there by other faults.
    #[serde(default)]
    besides: Vec<String>,
    /// What a homeserver prints that does not start.
    #[serde(default)]
    shows: Option<String>,
    /// The operator's settings.
    #[serde(default)]
    config: serde_json::Map<String, Value>,
    /// The worker's, over its release's own: an empty text takes a key out.
    #[serde(default)]
    worker: serde_json::Map<String, Value>,
    #[serde(default)]
    environment: std::collections::BTreeMap<String, String>,
    /// Further resources on the main listener.
    #[serde(default)]
    resources: Vec<String>,
}

/// A homeserver that ended instead of starting, with whatever status, and printed this.
fn ended_with(text: &str) -> Value {
    json!({ "exit status": expect::anything(), "printed": expect::contains(text) })
}

impl Bug {
    /// Its deployment on a path.
    fn along(&self, line: &str) -> Scenario {
        let path: Path = line.parse().unwrap_or_else(|error| panic!("{}: {error}", self.id));
        let (config, worker) = (nulls(&self.config), nulls(&self.worker));
        let mut scenario = Scenario::along(&path).because(&format!("{} ({})", self.title, self.issue)).ignored();
        scenario = scenario.deployed_with(move |deployment| {
            deployment.config(config.clone());
            for settings in deployment.workers.iter_mut().map(|worker| &mut worker.config) {
                settings.extend(worker.as_object().cloned().unwrap_or_default());
            }
        });
        if self.config.contains_key("password_config") {
            scenario = scenario.without_estate("nobody can log in by password there");
        }
        for (name, value) in &self.environment {
            scenario = scenario.environment(name, value);
        }
        for resource in &self.resources {
            scenario = scenario.resources([resource.as_str()]);
        }
        scenario
    }

    fn is_seen(&self) -> Scenario {
        let mut scenario = self.along(&self.path).called(&format!("track_record::{}", self.id));
        if self.seen_by == "start" {
            let shows = self.shows.as_deref().map_or_else(|| expect::not(probe::started()), ended_with);
            return scenario.now("start", shows);
        }
        let sound = if self.seen_by == health::BACKGROUND_UPDATES { json!([]) } else { json!("as before") };
        scenario = scenario.health(&self.seen_by, expect::not(sound)).health(health::LOG_ERRORS, expect::anything());
        self.besides.iter().fold(scenario, |scenario, row| scenario.health(row, expect::anything()))
    }

    fn is_mended(&self) -> Scenario {
        self.along(&self.fixed).called(&format!("track_record::{}::mended", self.id))
    }
}

/// TOML knows no `null`: an empty text says it.
fn nulls(settings: &serde_json::Map<String, Value>) -> Value {
    settings.iter().map(|(key, value)| (key.clone(), if value == "" { Value::Null } else { value.clone() })).collect()
}

/// For each bug the path that shows it, and the one that does not.
///
/// # Panics
///
/// Panics on a malformed record; a unit test meets that first.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let record: Record = toml::from_str(BUGS).unwrap_or_else(|error| panic!("{error}"));
    record.bug.iter().flat_map(|bug| [bug.is_seen(), bug.is_mended()]).collect()
}
