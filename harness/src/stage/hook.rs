//! What is planted in a homeserver's process for the ending of a leg: it kills itself at a moment, or keeps its background
//! updates from running.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::path::{Ending, Moment, Occurrence};

/// What the module is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hook(Value);

impl Hook {
    /// The module that runs the homeserver's own.
    pub(crate) const MODULE: &str = "upgrades_hook";
    /// Its file, below `/data`.
    pub(crate) const FILE: &str = "modules/upgrades_hook.py";
    pub(crate) const SOURCE: &str = include_str!("hook.py");
    /// Begins what it prints when it kills its process.
    const STRIKES: &str = "upgrades: killed at ";
    /// What it prints, as Synapse logs it: an error, as all that its process prints by itself.
    pub(crate) const SAYS: &str = " - ERROR - upgrades: ";
    /// Printed when a background update was kept from running.
    pub(crate) const HELD: &str = "upgrades: held";

    /// The hook that an ending needs, if it needs one.
    pub(crate) fn of(ending: &Ending) -> Option<Self> {
        match ending {
            Ending::Stopped | Ending::Killed => None,
            Ending::Undrained { batches } => Some(Self(json!({ "hold": batches }))),
            Ending::KilledAt(Moment { event, after }) => {
                let kill = match event {
                    None => json!({}),
                    Some(Occurrence::Delta(delta)) => json!({ "delta": delta }),
                    Some(Occurrence::Update { name, batch }) => json!({ "update": name, "batch": batch }),
                    Some(Occurrence::Updated(name)) => json!({ "update": name }),
                    Some(Occurrence::Log(text)) => json!({ "log": text }),
                };
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                Some(Self(json!({ "kill": kill, "after": after })))
            }
        }
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        [("UPGRADES_HOOK".to_owned(), self.0.to_string())].into()
    }

    /// The moment at which it killed its process, as it said itself.
    pub(crate) fn killed(printed: &str) -> Option<&str> {
        printed.lines().find_map(|line| line.strip_prefix(Self::STRIKES))
    }

    /// The moments that it has seen come.
    pub(crate) fn seen(printed: &str) -> Vec<&str> {
        let said = printed.lines().filter_map(|line| line.strip_prefix("upgrades: "));
        said.filter(|line| line.starts_with("delta ") || line.starts_with("update ")).collect()
    }
}
