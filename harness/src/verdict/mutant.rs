//! A mutant's verdict: the named fact must differ where the mutant runs.

use reports::{CellVerdict, FactTable, Outcome};

/// It passes when the named fact has noticed the mutant; what else noticed is told.
pub(crate) fn verdict<'a>(
    noticed_by: &str,
    tables: impl IntoIterator<Item = &'a FactTable>,
    trouble: &[String],
) -> (Outcome, Option<String>) {
    let mut noticed: Vec<&str> = Vec::new();
    for row in tables.into_iter().flat_map(|table| table.facts.iter().chain(&table.health)) {
        let differs = row.cells.iter().any(|cell| cell.verdict == CellVerdict::Mismatch);
        if differs && !noticed.contains(&row.fact.as_str()) {
            noticed.push(&row.fact);
        }
    }
    if noticed.contains(&noticed_by) {
        return (Outcome::Passed, Some(format!("noticed by: {}", noticed.join("; "))));
    }
    if !trouble.is_empty() {
        return (Outcome::Errored, Some(trouble.join("\n")));
    }
    let others =
        if noticed.is_empty() { "nor by anything else".to_owned() } else { format!("but by: {}", noticed.join("; ")) };
    (Outcome::Failed, Some(format!("the mutant survived: it was not noticed by `{noticed_by}`, {others}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::fixture::{differs, seen, table};

    #[test]
    fn the_named_fact_must_notice() {
        let same = || vec![seen(json!(1)), seen(json!(2))];
        let other = || vec![seen(json!(1)), differs(json!(2), json!(1))];
        let told = |a, b, trouble: &[String]| verdict("a", &[table([("a", a), ("b", b)])], trouble);
        assert_eq!(told(other(), same(), &[]), (Outcome::Passed, Some("noticed by: a".to_owned())));
        let (outcome, why) = told(same(), other(), &[]);
        assert_eq!(outcome, Outcome::Failed);
        assert!(why.is_some_and(|why| why.ends_with("not noticed by `a`, but by: b")));
        assert_eq!(told(same(), same(), &["no Docker".to_owned()]).0, Outcome::Errored);
        // Whatever else went wrong, the fact has noticed.
        assert_eq!(told(other(), same(), &["no Docker".to_owned()]).0, Outcome::Passed);
    }
}
