//! A control: old code under a new version number must be noticed by every fact that is said to change.

use images::Version;
use reports::{CellVerdict, ControlFact, FactTable, Noticed, Observed, Outcome};

use crate::{
    Database,
    plan::Trial,
    scenario::{Fact, Variant},
};

/// Is this release run as old code under its number, on a path that begins with `first`?
pub(crate) fn is_forged(release: &Version, first: &Version) -> bool {
    release > first
}

/// Whether each fact that the new code is said to change has noticed that it was not there.
pub(crate) fn facts(variant: &Variant, database: Database, table: &FactTable) -> Vec<ControlFact> {
    let Some(first) = variant.legs.first().map(|leg| &leg.release) else { return Vec::new() };
    let forged = |leg: usize| is_forged(&variant.legs[leg].release, first);
    let mut told: Vec<ControlFact> = Vec::new();
    for (index, fact) in variant.facts.iter().enumerate() {
        // What a step does is done by old code, too.
        let by_step = |leg: usize| variant.legs[leg].now.contains_key(&fact.name);
        let changes = variant
            .changing(database)
            .filter(|&(changing, before, after)| changing == index && !by_step(before) && !by_step(after))
            .any(|(_, before, after)| forged(before) != forged(after));
        if changes {
            let cells = table.facts.get(index).map(|row| row.cells.as_slice()).unwrap_or_default();
            let cells = cells.iter().enumerate().filter(|(leg, _)| forged(*leg)).map(|(_, cell)| cell);
            told.push(ControlFact {
                variant: variant.name.clone(),
                fact: fact.name.clone(),
                noticed: noticed(fact, cells),
            });
        }
    }
    told
}

fn noticed<'a>(fact: &Fact, mut cells: impl Iterator<Item = &'a reports::Cell> + Clone) -> Noticed {
    if cells.clone().any(|cell| cell.verdict == CellVerdict::Mismatch) {
        return Noticed::Yes;
    }
    if let Some(reason) = &fact.beyond_control {
        return Noticed::Exempt(reason.clone());
    }
    cells
        .find_map(|cell| match &cell.observed {
            Observed::Error(reason) | Observed::Nothing(reason) => Some(Noticed::NotLookedAt(reason.clone())),
            Observed::Value(_) | Observed::Long { .. } => None,
        })
        .unwrap_or(Noticed::No)
}

/// A control's verdict: it passes when every fact that can notice has.
pub(crate) fn verdict(trial: &Trial, troubles: &[String], facts: &[ControlFact]) -> (Outcome, Option<String>) {
    if let Some(reason) = &trial.scenario.invariant {
        return (Outcome::NotRun, Some(format!("there is no change that old code could lack: {reason}")));
    }
    let missed: Vec<String> = facts.iter().filter_map(missed).collect();
    if missed.is_empty() && facts.iter().any(|fact| fact.noticed == Noticed::Yes) {
        return (Outcome::Passed, None);
    }
    if !troubles.is_empty() {
        return (Outcome::Errored, Some(troubles.iter().cloned().chain(missed).collect::<Vec<_>>().join("\n")));
    }
    if missed.is_empty() {
        let why = "no fact changes by the new code alone: all changes are steps', or exempt";
        return (Outcome::NotRun, Some(why.to_owned()));
    }
    let first = &trial.scenario.running()[0].legs[0].release;
    let text = format!("{first}'s code under the new version number was not noticed by\n{}", missed.join("\n"));
    (Outcome::Failed, Some(text))
}

fn missed(fact: &ControlFact) -> Option<String> {
    let name = match fact.variant.as_str() {
        "" => format!("  `{}`", fact.fact),
        variant => format!("  `{}` ({variant})", fact.fact),
    };
    match &fact.noticed {
        Noticed::Yes | Noticed::Exempt(_) => None,
        Noticed::No => Some(name),
        Noticed::NotLookedAt(reason) => Some(format!("{name}, which was not looked at: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use reports::Cell;

    use super::*;
    use crate::{
        plan::trials,
        prelude::*,
        verdict::{
            cell::not_looked_at,
            fixture::{differs, home, seen},
        },
    };

    /// Two facts change, one of them by a step as well; a third does not.
    fn scenario() -> Scenario {
        Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .fact("first", get("/1"))
            .until("1.53.0", json!(1))
            .since("1.53.0", json!(2))
            .fact("second", get("/2"))
            .until("1.53.0", json!(1))
            .since("1.53.0", json!(2))
            .fact("same", get("/3"))
            .always(json!(1))
            .step("a step", |it| it.now("same", json!(2)))
            .named("1.53.0", "scenario")
    }

    fn control(scenario: &Scenario, first: Cell, second: Cell) -> (Outcome, Option<String>) {
        let trial = &trials(std::slice::from_ref(scenario))[0];
        let one = || seen(json!(1));
        let home = home([
            ("start", vec![one(), one(), one()]),
            ("first", vec![one(), first.clone(), first]),
            ("second", vec![one(), second.clone(), second]),
            ("same", vec![one(), one(), one()]),
        ]);
        let facts = facts(&scenario.running()[0], Database::Sqlite, &home.table);
        assert_eq!(facts.iter().map(|fact| fact.fact.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        verdict(trial, &[], &facts)
    }

    #[test]
    fn every_changing_fact_must_notice() {
        let noticed = || differs(json!(2), json!(1));
        let missed = || seen(json!(2));
        assert_eq!(control(&scenario(), noticed(), noticed()), (Outcome::Passed, None));
        // Before, one fact of one variant was enough.
        let (outcome, why) = control(&scenario(), noticed(), missed());
        assert_eq!(outcome, Outcome::Failed);
        insta::assert_snapshot!(why.unwrap_or_default(), @"
        1.52.0's code under the new version number was not noticed by
          `second`
        ");
        let (outcome, why) = control(&scenario(), noticed(), not_looked_at("the homeserver refused to start"));
        assert_eq!(outcome, Outcome::Failed);
        assert!(
            why.is_some_and(|why| why.ends_with("`second`, which was not looked at: the homeserver refused to start"))
        );
    }

    #[test]
    fn a_fact_may_be_said_to_lie_beyond_it() {
        let exempt = Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .fact("first", get("/1"))
            .until("1.53.0", json!(1))
            .since("1.53.0", json!(2))
            .beyond_control("the change lies in what the image holds besides code")
            .named("1.53.0", "exempt");
        let trial = &trials(std::slice::from_ref(&exempt))[0];
        let home = home([("start", vec![seen(json!(1)); 2]), ("first", vec![seen(json!(1)), seen(json!(2))])]);
        let facts = facts(&exempt.running()[0], Database::Sqlite, &home.table);
        assert!(matches!(facts[0].noticed, Noticed::Exempt(_)));
        assert_eq!(verdict(trial, &[], &facts).0, Outcome::NotRun);
    }
}
