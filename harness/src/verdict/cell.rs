//! One fact on one leg.

use reports::{Cell, CellVerdict, Observed};
use serde_json::{Value, json};

use crate::{client::UnexpectedAnswer, scenario::expect};

/// What the homeserver answered where the harness itself has to go on: version, seeds, steps, users' data.
pub(crate) const ANSWERS: &str = "answers to the harness";

/// An observation against its expectation.
pub(crate) fn judge(observed: Observed, expected: Option<Value>, seconds: f64) -> Cell {
    let (verdict, diff) = match (&observed, &expected) {
        (Observed::Error(_), _) => (CellVerdict::Error, None),
        (Observed::Nothing(_) | Observed::Long { .. }, _) | (Observed::Value(_), None) => {
            (CellVerdict::NotCompared, None)
        }
        (Observed::Value(value), Some(expected)) if expect::satisfies(value, expected) => (CellVerdict::Match, None),
        (Observed::Value(value), Some(expected)) => (CellVerdict::Mismatch, Some(expect::diff(value, expected))),
    };
    Cell { expected, observed, verdict, diff, seconds }
}

/// The most bytes of a value, as JSON, that are kept in memory and in the report.
const LONGEST: usize = 16 * 1024;

/// The judged cell without a value too long to be held for the rest of the run. `keep` writes it somewhere and says where;
/// what cannot be written stays.
pub(crate) fn shortened(mut cell: Cell, keep: impl FnOnce(&str) -> Option<String>) -> Cell {
    let Observed::Value(value) = &cell.observed else { return cell };
    let text = value.to_string();
    if text.len() > LONGEST
        && let Some(whole) = keep(&text)
    {
        let start = text.chars().take(400).collect();
        cell.observed = Observed::Long { start, bytes: text.len(), whole };
        cell.diff = cell.diff.map(|diff| diff.chars().take(LONGEST).collect());
    }
    cell
}

/// A cell that nobody looked at, and why.
pub(crate) fn not_looked_at(reason: &str) -> Cell {
    judge(Observed::Nothing(reason.to_owned()), None, 0.0)
}

/// Fills a row up to a leg.
pub(crate) fn pad(cells: &mut Vec<Cell>, legs: usize, reason: &str) {
    while cells.len() < legs {
        cells.push(not_looked_at(reason));
    }
}

/// Enters what a check came to on a leg into its row, and says whether it did: what was entered first stands. Legs without an
/// entry say so.
pub(crate) fn enter(row: &mut Vec<Cell>, leg: usize, cell: Cell) -> bool {
    pad(row, leg, "not looked at on this leg");
    let is_first = row.len() == leg;
    if is_first {
        row.push(cell);
    }
    is_first
}

/// What an error says of the homeserver, if it is the homeserver's: an answer that nothing documents, or none at all. All
/// other errors are the harness's, Docker's or an image's.
pub(crate) fn fault(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<UnexpectedAnswer>().map(|_| format!("{error:#}"))
}

/// What a probe brought: where it met an answer that it could not go on with, that is what was observed.
pub(crate) fn observed(fact: &str, brought: anyhow::Result<Value>) -> Observed {
    match brought {
        Ok(value) => Observed::Value(value),
        Err(error) => match error.downcast_ref::<UnexpectedAnswer>() {
            Some(answer) => Observed::Value(json!({ "unexpected answer": answer.to_string() })),
            None => Observed::Error(format!("probe `{fact}`: {error:#}")),
        },
    }
}

/// The schema version that data must have, from those of the releases that it has met: the highest, unless one of them is not
/// known, as a candidate's.
pub(crate) fn schema(met: &[Option<u32>]) -> Option<u32> {
    met.iter().copied().collect::<Option<Vec<u32>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;
    use crate::expect::{anything, contains};

    #[test]
    fn observations_and_expectations() {
        let value = |value: Value| Observed::Value(value);
        let table = [
            (value(json!(200)), Some(json!(200)), CellVerdict::Match),
            (value(json!(404)), Some(json!(200)), CellVerdict::Mismatch),
            (value(json!(null)), Some(json!(null)), CellVerdict::Match),
            (value(json!("a b")), Some(contains("b")), CellVerdict::Match),
            (value(json!(null)), Some(anything()), CellVerdict::Mismatch),
            (value(json!(404)), None, CellVerdict::NotCompared),
            (Observed::Error("no Docker".to_owned()), Some(json!(200)), CellVerdict::Error),
            (Observed::Error("no Docker".to_owned()), None, CellVerdict::Error),
            (Observed::Nothing("refused".to_owned()), Some(json!(200)), CellVerdict::NotCompared),
        ];
        for (observed, expected, verdict) in table {
            let cell = judge(observed.clone(), expected.clone(), 0.0);
            assert_eq!(cell.verdict, verdict, "{observed:?} against {expected:?}");
            assert_eq!(cell.diff.is_some(), verdict == CellVerdict::Mismatch, "{observed:?}");
        }
    }

    #[test]
    fn an_answer_that_nothing_documents_is_the_homeservers_fault_whatever_it_was_asked_for() {
        let answer =
            || anyhow::Error::from(UnexpectedAnswer::new("GET /x answered 500, which is no success: oops".to_owned()));
        assert!(fault(&answer()).is_some());
        let told = fault(&answer().context("joining the lobby").context("the scenario's seed"));
        assert_eq!(
            told.as_deref(),
            Some("the scenario's seed: joining the lobby: GET /x answered 500, which is no success: oops")
        );
        assert_eq!(fault(&anyhow!("no Docker").context("the scenario's seed")), None);
    }

    #[test]
    fn a_probe_that_meets_such_an_answer_has_observed_it() {
        let answer = Err(UnexpectedAnswer::new("GET /x answered 500".to_owned())).context("a room");
        assert_eq!(observed("x", answer), Observed::Value(json!({ "unexpected answer": "GET /x answered 500" })));
        assert_eq!(observed("x", Err(anyhow!("no Docker"))), Observed::Error("probe `x`: no Docker".to_owned()));
    }

    #[test]
    fn a_long_value_is_judged_and_then_kept_elsewhere() {
        let long = json!("x".repeat(LONGEST));
        let cell = || judge(Observed::Value(long.clone()), Some(json!("y")), 0.0);
        let short = shortened(cell(), |text| (text.len() == LONGEST + 2).then(|| "1-1.52.0/long.json".to_owned()));
        assert_eq!(short.verdict, CellVerdict::Mismatch);
        assert!(matches!(short.observed, Observed::Long { bytes, .. } if bytes == LONGEST + 2));
        assert!(serde_json::to_string(&short).unwrap().len() < 2 * LONGEST);
        assert_eq!(shortened(cell(), |_| None), cell(), "what cannot be kept elsewhere stays");
        let brief = judge(Observed::Value(json!(1)), Some(json!(1)), 0.0);
        assert_eq!(shortened(brief.clone(), |_| unreachable!("it is short")), brief);
    }

    #[test]
    fn a_row_has_an_entry_for_each_leg_and_the_first_stands() {
        let mut row = Vec::new();
        assert!(enter(&mut row, 1, judge(Observed::Value(json!("lost")), Some(json!("all there")), 0.0)));
        assert!(!enter(&mut row, 1, judge(Observed::Value(json!("all there")), Some(json!("all there")), 0.0)));
        pad(&mut row, 3, "the walk broke off before");
        let verdicts: Vec<CellVerdict> = row.iter().map(|cell| cell.verdict).collect();
        assert_eq!(verdicts, [CellVerdict::NotCompared, CellVerdict::Mismatch, CellVerdict::NotCompared]);
        assert_eq!(row[0].observed, Observed::Nothing("not looked at on this leg".to_owned()));
    }

    #[test]
    fn nothing_is_expected_of_a_schema_that_a_candidate_may_have_changed() {
        let table: [(&[Option<u32>], Option<u32>); 5] = [
            (&[], None),
            (&[Some(68)], Some(68)),
            (&[Some(68), Some(72), Some(70)], Some(72)),
            (&[Some(92), None], None),
            (&[None, Some(92)], None),
        ];
        for (met, expected) in table {
            assert_eq!(schema(met), expected, "{met:?}");
        }
    }
}
