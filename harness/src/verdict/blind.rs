//! Facts that came out as expected on two legs and yet cannot tell them apart.

use reports::{Cell, CellVerdict, FactTable, Observed};

use crate::{
    Database,
    scenario::{Variant, expect},
};

/// One sentence for each fact that is said to change between two legs while what was seen on one of them would have satisfied
/// the expectation for the other: an expectation so loose does not prove the change.
pub(crate) fn facts(variant: &Variant, database: Database, table: &FactTable) -> Vec<String> {
    let cell = |fact: usize, leg: usize| -> Option<&Cell> {
        table.facts.get(fact)?.cells.get(leg).filter(|cell| cell.verdict == CellVerdict::Match)
    };
    let mut blind = Vec::new();
    for (fact, before, after) in variant.changing(database) {
        let (Some(old), Some(new)) = (cell(fact, before), cell(fact, after)) else { continue };
        for (seen, on, other, of) in [(old, before, new, after), (new, after, old, before)] {
            if let (Observed::Value(seen), Some(expected)) = (&seen.observed, &other.expected)
                && expect::satisfies(seen, expected)
            {
                blind.push(format!(
                    "fact `{}` is said to change between legs {} and {}, but what was seen on leg {} fits what is \
                     expected on leg {}: make them tell the legs apart",
                    variant.facts[fact].name,
                    before + 1,
                    after + 1,
                    on + 1,
                    of + 1,
                ));
            }
        }
    }
    blind
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        prelude::*,
        verdict::{cell::judge, fixture::table},
    };

    /// Legs on which a fact with these expectations came out as given.
    fn blind(expected: [Value; 2], observed: [Value; 2]) -> Vec<String> {
        let [old, new] = expected.clone();
        let scenario = Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .fact("fact", get("/"))
            .until("1.53.0", old)
            .since("1.53.0", new);
        let cells = expected.into_iter().zip(observed);
        let cells = cells.map(|(expected, observed)| judge(Observed::Value(observed), Some(expected), 0.0)).collect();
        facts(&scenario.running()[0], Database::Sqlite, &table([("fact", cells)]))
    }

    #[test]
    fn each_observation_must_fit_its_own_leg_only() {
        let (on, off) = (json!("on"), json!("off"));
        let told = |expected: [Value; 2], observed: [Value; 2]| blind(expected, observed).len();
        assert_eq!(told([on.clone(), off.clone()], [on.clone(), off.clone()]), 0);
        assert_eq!(told([not("x"), anything()], [on.clone(), off.clone()]), 2);
        // In one direction only, which was not reported before.
        assert_eq!(told([on.clone(), anything()], [on.clone(), off.clone()]), 1);
        assert_eq!(told([anything(), off.clone()], [on.clone(), off.clone()]), 1);
        // A mismatch has told them apart.
        assert_eq!(told([on.clone(), anything()], [on, Value::Null]), 0);
        insta::assert_snapshot!(blind([anything(), off.clone()], [json!("on"), off]).join("\n"), @"fact `fact` is said to change between legs 1 and 2, but what was seen on leg 2 fits what is expected on leg 1: make them tell the legs apart");
    }
}
