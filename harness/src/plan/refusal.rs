//! Old configurations that newer releases refuse: where a note is held to on a candidate, the refusal is a fact, and the walk
//! goes on with what an operator repairs.

use images::Version;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    Database, Deployment,
    scenario::{Fact, Leg, Step, Variant, action::Action, probe},
};

/// Stands for any value.
const ANY: &str = "*";
/// What the leg after a refusal is called.
const REPAIRED: &str = "what it refuses is repaired";

/// A configuration that is refused, and what an operator does about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The first release that refuses.
    pub since: Version,
    /// What the configuration has; `"*"` stands for any value.
    pub config: Map<String, Value>,
    /// Settings of which one that is there makes it sound.
    #[serde(default)]
    pub unless: Vec<String>,
    /// What is printed.
    pub says: String,
    /// What is merged into the configuration to repair it.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// Top-level keys that are taken out of it.
    #[serde(default)]
    pub unset: Vec<String>,
}

impl Refusal {
    fn meets(&self, release: &Version, deployment: &Deployment) -> bool {
        let has = |key: &String| deployment.config.contains_key(key);
        self.since <= release.target() && !self.unless.iter().any(has) && holds(&deployment.config, &self.config)
    }

    fn repair(&self) -> Vec<Step> {
        let unset = self.unset.iter().cloned().map(Action::Unset);
        let set = (!self.set.is_empty()).then(|| Action::Configure(self.set.clone()));
        unset.chain(set).map(Step::Action).collect()
    }
}

/// Does the configuration have all of the fragment?
fn holds(config: &Map<String, Value>, fragment: &Map<String, Value>) -> bool {
    fragment.iter().all(|(key, wanted)| match (config.get(key), wanted) {
        (Some(Value::Object(config)), Value::Object(wanted)) => holds(config, wanted),
        (Some(_), Value::String(any)) if any == ANY => true,
        (found, wanted) => found == Some(wanted),
    })
}

/// Puts a leg that is refused, and the step that repairs it, where the candidate would meet what it refuses. A refusal that the
/// note's own table tells is the note's.
pub(super) fn meet(variant: &mut Variant, candidate: &Version, database: Database, refusals: &[Refusal]) {
    let mut deployment = variant.deployment.clone();
    let mut index = 0;
    while index < variant.legs.len() {
        let leg = &variant.legs[index];
        for step in &leg.before {
            match step {
                Step::Action(action) => action.apply(&mut deployment),
                Step::Change(change) => change(&mut deployment),
                Step::Sql { .. } | Step::Act(_) => {}
            }
        }
        let met = refusals.iter().find(|refusal| refusal.meets(candidate, &deployment));
        if let Some(refusal) = met.filter(|_| leg.release == *candidate && variant.starts(leg, database)) {
            refuse(variant, index, refusal);
        }
        index += 1;
    }
}

/// The leg is refused, and a further one goes on in its place.
fn refuse(variant: &mut Variant, index: usize, refusal: &Refusal) {
    if !variant.facts.iter().any(|fact| fact.probe.is_start()) {
        let mut start = Fact::new("start", probe::start());
        start.always = Some(probe::started());
        variant.facts.push(start);
    }
    let starts = variant.facts.iter().filter(|fact| fact.probe.is_start()).map(|fact| fact.name.clone());
    let refused = starts.map(|name| (name, probe::refused(&refusal.says))).collect();
    let leg = &mut variant.legs[index];
    let next = Leg {
        title: Some(REPAIRED.to_owned()),
        ported: false,
        before: refusal.repair(),
        now: std::mem::replace(&mut leg.now, refused),
        ..leg.clone()
    };
    variant.legs.insert(index + 1, next);
    for answers in variant.health.values_mut() {
        for (leg, _) in answers {
            *leg = leg.map(|leg| if leg >= index { leg + 1 } else { leg });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn open_registration() -> Refusal {
        serde_json::from_value(json!({
            "since": "1.56.0",
            "config": { "enable_registration": true },
            "unless": ["meant"],
            "says": "open",
            "set": { "meant": true },
        }))
        .unwrap()
    }

    /// Heads of the legs, and how each must start.
    fn met(scenario: &Scenario, candidate: &str) -> Vec<String> {
        let mut variant = scenario.running()[0].clone();
        let candidate = candidate.parse().unwrap();
        meet(&mut variant, &candidate, Database::Sqlite, &[open_registration()]);
        let start = |leg: &Leg| if variant.starts(leg, Database::Sqlite) { "starts" } else { "is refused" };
        variant.legs.iter().map(|leg| format!("{} {}", leg.head(), start(leg))).collect()
    }

    fn hop() -> Scenario {
        Scenario::for_note("A heading").config(json!({ "enable_registration": true })).hop("1.52.0", "1.60.0")
    }

    #[test]
    fn a_refusal_is_met_and_repaired() {
        let legs = met(&hop().health("errors logged", anything()).named("1.53.0", "open"), "1.60.0");
        assert_eq!(legs, ["1.52.0 starts", "1.60.0 is refused", "1.60.0, what it refuses is repaired starts"]);
    }

    #[test]
    fn nothing_is_met_where_nothing_is_refused() {
        let sound = hop().step("it is meant", |it| it.reconfigure(json!({ "meant": true }))).named("1.53.0", "sound");
        assert_eq!(met(&sound, "1.60.0").len(), 4, "only the leg before the step is refused");
        assert_eq!(met(&hop().named("1.53.0", "before"), "1.52.0").len(), 2);
        let own = hop().fact("start", start()).until("1.53.0", started()).since("1.53.0", refused("mine"));
        assert_eq!(met(&own.named("1.53.0", "own"), "1.60.0"), ["1.52.0 starts", "1.60.0 is refused"]);
    }

    #[test]
    fn a_fragment_holds_where_all_of_it_is_there() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let config = object(json!({ "a": { "b": 1, "c": null }, "d": true }));
        for (fragment, expected) in [
            (json!({ "a": { "b": 1 } }), true),
            (json!({ "a": "*", "d": true }), true),
            (json!({ "a": { "b": 2 } }), false),
            (json!({ "e": "*" }), false),
        ] {
            assert_eq!(holds(&config, &object(fragment.clone())), expected, "{fragment}");
        }
    }
}
