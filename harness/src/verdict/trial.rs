//! A trial's verdict from what its riders brought home.

use std::collections::BTreeSet;

use reports::{Cell, CellVerdict, FactTable, Observed, Outcome};

use crate::plan::RiderPlan;

/// What one rider of a walk brings home.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) rider: RiderPlan,
    pub(crate) table: FactTable,
    /// What broke the walk off, or went wrong beside it.
    pub(crate) trouble: Option<String>,
    /// Was everything there for the walk to begin?
    pub(crate) set_out: bool,
    pub(crate) seconds: f64,
    /// What it brought home from the walk in company, where it has walked again alone.
    pub(crate) in_company: Option<Box<Home>>,
}

impl Home {
    /// Did a homeserver break its contract?
    pub(crate) fn failed(&self) -> bool {
        self.cells().any(|cell| cell.verdict == CellVerdict::Mismatch)
    }

    /// Did one break it, here or in company without anything that speaks against it here?
    fn saw_a_broken_contract(&self) -> bool {
        self.failed() || !self.passed() && self.in_company.as_ref().is_some_and(|home| home.failed())
    }

    /// Is all as it should be?
    pub(crate) fn passed(&self) -> bool {
        !self.failed() && self.trouble.is_none() && self.errors().next().is_none()
    }

    /// What probes could not look at.
    fn errors(&self) -> impl Iterator<Item = &str> {
        self.cells().filter_map(|cell| match (&cell.verdict, &cell.observed) {
            (CellVerdict::Error, Observed::Error(error)) => Some(error.as_str()),
            _ => None,
        })
    }

    /// Did something go wrong that company may have brought about? What was not there before the walk set out is not alone
    /// either.
    pub(crate) fn is_company_suspect(&self) -> bool {
        self.failed() || self.errors().next().is_some() || self.trouble.is_some() && self.set_out
    }

    /// Takes what differs on these first legs out of the verdict, and names it: a candidate that has not run yet has not
    /// done it.
    pub(crate) fn spare(&mut self, legs: usize) -> Vec<String> {
        let FactTable { facts, health, legs: names, .. } = &mut self.table;
        let mut spared = Vec::new();
        for row in facts.iter_mut().chain(health) {
            for (cell, leg) in row.cells.iter_mut().zip(&*names).take(legs) {
                if cell.verdict == CellVerdict::Mismatch {
                    (cell.verdict, cell.expected, cell.diff) = (CellVerdict::NotCompared, None, None);
                    spared.push(format!("{} on {leg}", row.fact));
                }
            }
        }
        spared
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.table.facts.iter().chain(&self.table.health).flat_map(|row| &row.cells)
    }
}

/// What went wrong in the harness, Docker or an image, each thing once.
pub(crate) fn trouble(home: &[Home]) -> Vec<String> {
    let all: BTreeSet<&str> =
        home.iter().flat_map(|home| home.trouble.as_deref().into_iter().chain(home.errors())).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// The verdict, and why. The first of these that is so:
///
/// 1. a contract was seen broken: failed, whatever went wrong besides, which is told;
/// 2. something went wrong in the harness, Docker or an image: an error;
/// 3. an expectation cannot tell apart what it is said to tell apart: an error of the scenario's;
/// 4. it came out otherwise in company: flaky;
/// 5. passed.
pub(crate) fn verdict(home: &[Home], trouble: &[String], blind: &[String]) -> (Outcome, Option<String>) {
    let joined = |lines: &[String]| (!lines.is_empty()).then(|| lines.join("\n"));
    if home.iter().any(Home::saw_a_broken_contract) {
        let besides = joined(trouble).map(|trouble| format!("Besides, not all could be looked at: {trouble}"));
        return (Outcome::Failed, besides);
    }
    if let Some(trouble) = joined(trouble) {
        return (Outcome::Errored, Some(trouble));
    }
    if let Some(blind) = joined(blind) {
        return (Outcome::Errored, Some(blind));
    }
    let company: Vec<&Home> = home.iter().filter_map(|home| home.in_company.as_deref()).collect();
    if company.is_empty() {
        return (Outcome::Passed, None);
    }
    let was = if company.iter().any(|home| home.failed()) { "Failed" } else { "Could not be judged" };
    let mut text = format!("{was} in company, passed alone: one of the two is wrong.");
    for trouble in company.iter().filter_map(|home| home.trouble.as_deref()).collect::<BTreeSet<_>>() {
        text = format!("{text}\nIn company: {trouble}");
    }
    (Outcome::Flaky, Some(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::fixture::{differs, error, home, seen};

    fn with_trouble(home: Home, trouble: &str) -> Home {
        Home { trouble: Some(trouble.to_owned()), ..home }
    }

    fn alone(home: Home, company: Home) -> Home {
        Home { in_company: Some(Box::new(company)), ..home }
    }

    /// Name, what came home, what is blind, the verdict, and what its explanation says.
    type Row = (&'static str, Vec<Home>, Vec<String>, Outcome, &'static str);

    #[test]
    fn precedence() {
        let good = || home([("fact", vec![seen(json!(1))])]);
        let bad = || home([("fact", vec![differs(json!(1), json!(2))])]);
        let unseen = || home([("fact", vec![error("no Docker")])]);
        let both = || home([("fact", vec![differs(json!(1), json!(2)), error("no Docker")])]);
        let blind = || vec!["blind".to_owned()];
        let table: [Row; 14] = [
            ("all well", vec![good(), good()], vec![], Outcome::Passed, ""),
            ("broken", vec![good(), bad()], vec![], Outcome::Failed, ""),
            ("a probe's error", vec![good(), unseen()], vec![], Outcome::Errored, "no Docker"),
            ("broken off", vec![with_trouble(good(), "leg 2: x")], vec![], Outcome::Errored, "leg 2: x"),
            // What this was before: Errored, and the broken contract was not mentioned.
            ("broken, then an error", vec![both()], vec![], Outcome::Failed, "no Docker"),
            ("broken, then broken off", vec![with_trouble(bad(), "leg 2: x")], vec![], Outcome::Failed, "leg 2: x"),
            ("one broken, another broken off", vec![bad(), with_trouble(good(), "x")], vec![], Outcome::Failed, "x"),
            ("blind", vec![good()], blind(), Outcome::Errored, "blind"),
            ("broken and blind", vec![bad()], blind(), Outcome::Failed, ""),
            ("an error and blind", vec![unseen()], blind(), Outcome::Errored, "no Docker"),
            ("flaky", vec![good(), alone(good(), bad())], vec![], Outcome::Flaky, "Failed in company, passed alone"),
            (
                "flaky by an error",
                vec![alone(good(), with_trouble(good(), "no Docker"))],
                vec![],
                Outcome::Flaky,
                "In company: no Docker",
            ),
            ("broken twice", vec![alone(bad(), bad())], vec![], Outcome::Failed, ""),
            ("broken in company, an error alone", vec![alone(unseen(), bad())], vec![], Outcome::Failed, "no Docker"),
        ];
        for (name, home, blind, outcome, says) in table {
            let (given, explanation) = verdict(&home, &trouble(&home), &blind);
            assert_eq!(given, outcome, "{name}");
            assert!(explanation.as_deref().unwrap_or_default().contains(says), "{name}: {explanation:?}");
            assert_eq!(explanation.is_none(), says.is_empty(), "{name}: {explanation:?}");
        }
    }

    #[test]
    fn who_walks_again_alone() {
        let good = home([("fact", vec![seen(json!(1))])]);
        assert!(!good.is_company_suspect());
        assert!(home([("fact", vec![differs(json!(1), json!(2))])]).is_company_suspect());
        assert!(home([("fact", vec![error("x")])]).is_company_suspect());
        let broken_off = with_trouble(good, "no image");
        assert!(broken_off.is_company_suspect());
        assert!(!Home { set_out: false, ..broken_off }.is_company_suspect());
    }

    #[test]
    fn what_differs_before_the_candidate_runs_is_not_its_doing() {
        let both = || vec![differs(json!(1), json!(2)), differs(json!(1), json!(3))];
        let mut came = home([("fact", both())]);
        came.table.legs = ["1.162.0", "1.164.0rc3"].map(str::to_owned).to_vec();
        assert!(came.spare(0).is_empty() && came.failed());
        assert_eq!(came.spare(1), ["fact on 1.162.0"]);
        assert_eq!(verdict(&[came.clone()], &[], &[]).0, Outcome::Failed);
        came.spare(2);
        assert_eq!(verdict(&[came], &[], &[]), (Outcome::Passed, None));
    }
}
