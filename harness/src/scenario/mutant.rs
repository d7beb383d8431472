//! A mutant: the release that a note is of, with one small thing wrong that a fact of the note's scenario must notice.

use images::{Patch, Version};
use serde::Deserialize;

use super::Scenario;
use crate::Database;

/// One mutant, as it stands beside its scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// Whose fact must notice: `v1_53_0::cache_expiry`.
    pub scenario: String,
    /// What is wrong, as the end of a trial's name: `takes_any_token`.
    pub name: String,
    /// The fact that must notice.
    pub noticed_by: String,
    /// Only on this variant, where the fact is one of several variants'.
    pub variant: Option<String>,
    /// Only there where it can be noticed; otherwise on the first of the scenario's databases.
    pub database: Option<Database>,
    /// What makes the release wrong.
    pub patch: Vec<Patch>,
}

impl Mutant {
    /// The part of the mutant's scenario that is to notice it: variants that have the fact, up to the first release with the
    /// change.
    pub(crate) fn of(&self, scenarios: &[Scenario]) -> Result<(Scenario, Database), String> {
        let of = scenarios.iter().find(|scenario| scenario.path() == self.scenario);
        let mut scenario = of.ok_or("there is no such scenario")?.clone();
        let database = match self.database {
            None => scenario.databases[0],
            Some(database) if scenario.databases.contains(&database) => database,
            Some(database) => return Err(format!("its scenario does not run on {}", database.title())),
        };
        let release = scenario.first_release();
        let mut variants = scenario.running().to_vec();
        variants.retain(|variant| {
            self.variant.as_ref().is_none_or(|name| variant.name == *name)
                && variant.facts.iter().any(|fact| fact.name == self.noticed_by)
                && variant.legs.iter().any(|leg| leg.release == release)
        });
        if variants.is_empty() {
            let place = self.variant.as_ref().map_or_else(String::new, |name| format!(" in its variant `{name}`"));
            return Err(format!("its scenario has no fact `{}`{place}", self.noticed_by));
        }
        for variant in &mut variants {
            let first = variant.legs.iter().position(|leg| leg.release == release).unwrap_or_default();
            let mutants = variant.legs[first..].iter().take_while(|leg| leg.release == release).count();
            variant.legs.truncate(first + mutants);
        }
        if let [_] = variants.as_slice() {
            scenario.variants = variants;
        } else {
            scenario.variants.truncate(1);
            scenario.variants.extend(variants);
        }
        scenario.databases = vec![database];
        Ok((scenario, database))
    }
}

impl Scenario {
    /// The first release on its paths that the note concerns.
    pub(crate) fn first_release(&self) -> Version {
        let after = self.releases().into_iter().find(|release| release.target() >= self.release);
        after.unwrap_or(&self.release).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan, prelude::*};

    fn scenario() -> Scenario {
        Scenario::for_note("A heading")
            .hop("1.52.0", "1.53.0")
            .fact("a", get("/"))
            .changes(1, 2)
            .step("a step", |it| it.reconfigure(json!({})))
            .then("1.54.0")
            .variant("one", |it| it.fact("b", get("/")).changes(1, 2))
            .variant("two", |it| it)
            .named("1.53.0", "name")
    }

    fn mutant(noticed_by: &str) -> Mutant {
        Mutant {
            scenario: "v1_53_0::name".to_owned(),
            name: "wrong".to_owned(),
            noticed_by: noticed_by.to_owned(),
            variant: None,
            database: None,
            patch: Vec::new(),
        }
    }

    #[test]
    fn a_mutant_walks_where_it_can_be_noticed_and_no_further() {
        let trials = plan::mutants(&[scenario()], &[mutant("a"), mutant("b")]).unwrap();
        let legs = |trial: &plan::Trial| -> Vec<Vec<String>> {
            let running = trial.scenario.running().iter();
            running.map(|variant| variant.legs.iter().map(crate::scenario::Leg::head).collect()).collect()
        };
        let walked = ["1.52.0", "1.53.0", "1.53.0, a step"].map(str::to_owned).to_vec();
        assert_eq!(legs(&trials[0]), [walked.clone(), walked.clone()]);
        assert_eq!(legs(&trials[1]), [walked]);
        assert_eq!(trials[1].name, "v1_53_0::name::wrong::sqlite");
    }

    #[test]
    fn a_mutant_of_nothing_is_named() {
        let other = Mutant { scenario: "v1_53_0::other".to_owned(), ..mutant("a") };
        insta::assert_snapshot!(plan::mutants(&[scenario()], &[mutant("c"), other]).unwrap_err().join("\n"), @"
        the mutant v1_53_0::name::wrong: its scenario has no fact `c`
        the mutant v1_53_0::other::wrong: there is no such scenario
        ");
    }
}
