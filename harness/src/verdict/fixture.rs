//! What riders bring home, for the tests.

use reports::{Cell, FactRow, FactTable, Observed};
use serde_json::Value;

use super::{cell::judge, trial::Home};
use crate::plan::RiderPlan;

pub(crate) fn seen(value: Value) -> Cell {
    judge(Observed::Value(value.clone()), Some(value), 0.0)
}

pub(crate) fn differs(expected: Value, observed: Value) -> Cell {
    judge(Observed::Value(observed), Some(expected), 0.0)
}

pub(crate) fn error(text: &str) -> Cell {
    judge(Observed::Error(text.to_owned()), None, 0.0)
}

pub(crate) fn table<const N: usize>(facts: [(&str, Vec<Cell>); N]) -> FactTable {
    let facts: Vec<FactRow> = facts.into_iter().map(|(fact, cells)| FactRow { fact: fact.to_owned(), cells }).collect();
    FactTable {
        variant: String::new(),
        walk: 0,
        legs: vec![String::new(); facts.first().map_or(0, |row| row.cells.len())],
        facts,
        health: Vec::new(),
        evidence: String::new(),
    }
}

pub(crate) fn home<const N: usize>(facts: [(&str, Vec<Cell>); N]) -> Home {
    Home {
        rider: RiderPlan { trial: 0, variant: 0 },
        table: table(facts),
        trouble: None,
        set_out: true,
        seconds: 0.0,
        in_company: None,
    }
}
