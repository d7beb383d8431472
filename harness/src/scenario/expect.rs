//! Expected values, and how an observation compares with one.
//!
//! Expected values are JSON. An object with one key that starts with `$` is a matcher, so that an expectation can be
//! written with `json!`, stored in the event stream and shown in a report without a type of its own:
//! [`contains`], [`matches()`], [`anything`], [`not`], [`per_database`].

use serde_json::{Value, json};
use similar::TextDiff;

use crate::Database;

/// A text that contains `text`; both are compared with white space folded, because servers wrap their messages.
pub fn contains(text: &str) -> Value {
    json!({ "$contains": text })
}

/// A text that matches the regular expression somewhere.
pub fn matches(pattern: &str) -> Value {
    json!({ "$matches": pattern })
}

/// Any value that is there (`null` is not).
pub fn anything() -> Value {
    json!({ "$any": true })
}

/// Anything that `expected` would not match.
pub fn not(expected: impl Into<Value>) -> Value {
    json!({ "$not": expected.into() })
}

/// A value that differs by database.
pub fn per_database(sqlite: impl Into<Value>, postgres: impl Into<Value>) -> Value {
    json!({ "$database": { "sqlite": sqlite.into(), "postgres": postgres.into() } })
}

/// The expectation with every [`per_database`] choice made.
pub(crate) fn resolve(expected: &Value, database: Database) -> Value {
    match expected {
        Value::Object(map) => match map.get("$database") {
            Some(choice) => resolve(&choice[database.key()], database),
            None => map.iter().map(|(key, value)| (key.clone(), resolve(value, database))).collect(),
        },
        Value::Array(items) => items.iter().map(|item| resolve(item, database)).collect(),
        other => other.clone(),
    }
}

/// Does the observation satisfy the expectation?
///
/// # Panics
///
/// Panics on a malformed matcher; the test of all scenarios finds those before anything runs.
pub fn satisfies(observed: &Value, expected: &Value) -> bool {
    if let Some((matcher, argument)) = as_matcher(expected) {
        return match matcher {
            "$contains" => {
                observed.as_str().is_some_and(|text| fold(text).contains(&fold(argument.as_str().unwrap_or_default())))
            }
            "$matches" => {
                observed.as_str().is_some_and(|text| pattern(argument).expect("checked before the run").is_match(text))
            }
            "$any" => !observed.is_null(),
            "$not" => !satisfies(observed, argument),
            other => panic!("unknown matcher `{other}`"),
        };
    }
    match (observed, expected) {
        (Value::Object(observed), Value::Object(expected)) => {
            observed.len() == expected.len()
                && expected
                    .iter()
                    .all(|(key, expected)| observed.get(key).is_some_and(|observed| satisfies(observed, expected)))
        }
        (Value::Array(observed), Value::Array(expected)) => {
            observed.len() == expected.len()
                && observed.iter().zip(expected).all(|(observed, expected)| satisfies(observed, expected))
        }
        _ => observed == expected,
    }
}

/// Is the expectation well formed? A sentence, if not.
pub(crate) fn check(expected: &Value) -> Result<(), String> {
    match expected {
        Value::Object(map) => {
            if let Some(name) = map.keys().find(|key| key.starts_with('$')) {
                let argument = &map[name];
                return match (name.as_str(), map.len()) {
                    ("$contains", 1) if argument.as_str().is_some_and(|text| !text.trim().is_empty()) => Ok(()),
                    ("$matches", 1) => pattern(argument).map(|_| ()),
                    ("$any", 1) => Ok(()),
                    ("$not", 1) => check(argument),
                    ("$database", 1) => check(&argument["sqlite"]).and_then(|()| check(&argument["postgres"])),
                    _ => Err(format!("`{expected}` is not a matcher")),
                };
            }
            map.values().try_for_each(check)
        }
        Value::Array(items) => items.iter().try_for_each(check),
        _ => Ok(()),
    }
}

/// A difference that a person reads without effort: both sides as JSON, line by line.
pub(crate) fn diff(observed: &Value, expected: &Value) -> String {
    // Parts that satisfy their matcher are shown as observed, so that only what is wrong differs.
    let expected = fill(observed, expected);
    let pretty = |value: &Value| match value {
        Value::String(text) if text.contains('\n') => text.clone(),
        other => serde_json::to_string_pretty(other).expect("a value is JSON"),
    };
    let (old, new) = (pretty(&expected), pretty(observed));
    if old.lines().count() <= 1 && new.lines().count() <= 1 {
        return format!("expected: {old}\nobserved: {new}");
    }
    TextDiff::from_lines(&old, &new).unified_diff().context_radius(3).header("expected", "observed").to_string()
}

fn fill(observed: &Value, expected: &Value) -> Value {
    if as_matcher(expected).is_some() {
        return if satisfies(observed, expected) { observed.clone() } else { expected.clone() };
    }
    match (observed, expected) {
        (Value::Object(observed), Value::Object(expected)) => expected
            .iter()
            .map(|(key, value)| (key.clone(), observed.get(key).map_or_else(|| value.clone(), |o| fill(o, value))))
            .collect(),
        (Value::Array(observed), Value::Array(expected)) if observed.len() == expected.len() => {
            observed.iter().zip(expected).map(|(observed, expected)| fill(observed, expected)).collect()
        }
        _ => expected.clone(),
    }
}

fn as_matcher(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let (key, argument) = map.iter().next()?;
    key.starts_with('$').then_some((key.as_str(), argument))
}

fn pattern(argument: &Value) -> Result<regex::Regex, String> {
    let text = argument.as_str().ok_or_else(|| format!("`{argument}` is not a regular expression"))?;
    regex::Regex::new(text).map_err(|error| error.to_string())
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_compare_exactly() {
        assert!(satisfies(&json!({"status": 200}), &json!({"status": 200})));
        assert!(!satisfies(&json!({"status": 200, "more": 1}), &json!({"status": 200})));
        assert!(!satisfies(&json!(200), &json!("200")));
    }

    #[test]
    fn matchers_look_inside() {
        let expected = json!({"exit": 1, "stderr": contains("Unknown listener resource")});
        assert!(satisfies(&json!({"exit": 1, "stderr": "Error:\n  Unknown\n listener resource: x"}), &expected));
        assert!(!satisfies(&json!({"exit": 1, "stderr": "fine"}), &expected));
        assert!(satisfies(&json!("abc123"), &matches("[0-9]{3}$")));
        assert!(!satisfies(&json!("abc"), &not(contains("b"))));
        assert!(!satisfies(&Value::Null, &anything()));
    }

    #[test]
    fn a_choice_by_database_is_made_before_comparing() {
        let expected = json!({"outcome": per_database("done", contains("does not exist"))});
        assert_eq!(resolve(&expected, Database::Sqlite), json!({"outcome": "done"}));
        assert!(satisfies(&json!({"outcome": "column \"x\" does not exist"}), &resolve(&expected, Database::Postgres)));
    }

    #[test]
    fn malformed_matchers_are_found() {
        assert!(check(&json!([{"$matches": "("}])).is_err());
        assert!(check(&json!({"$contians": "x"})).is_err());
        assert!(check(&contains(" ")).is_err());
        assert!(check(&per_database(contains("a"), 1)).is_ok());
    }

    #[test]
    fn the_difference_shows_only_what_is_wrong() {
        let expected = json!({"status": 400, "error": contains("Unrecognized"), "list": [1, 2]});
        let observed = json!({"status": 200, "error": "Unrecognized request", "list": [1, 2]});
        insta::assert_snapshot!(diff(&observed, &expected), @r#"
        --- expected
        +++ observed
        @@ -1,5 +1,5 @@
         {
        -  "status": 400,
        +  "status": 200,
           "error": "Unrecognized request",
           "list": [
             1,
        "#);
    }
}
