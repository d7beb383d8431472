//! What differs between two readings of a part.

use std::fmt;

use serde_json::Value;

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// `receipts/friend/event`, components as in the readings.
    pub(crate) path: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

impl Difference {
    /// The same, seen from the other side.
    pub(crate) fn reversed(&self) -> Self {
        Self { path: self.path.clone(), before: self.after.clone(), after: self.before.clone() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.path, self.before, self.after)
    }
}

/// All that differs below `path`.
pub(crate) fn differences(path: &str, before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(path, before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old {
                compare(&format!("{path}/{key}"), old, new.get(key).unwrap_or(&Value::Null), found);
            }
            for (key, new) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                compare(&format!("{path}/{key}"), &Value::Null, new, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}/{index}"), old, new, found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => found.push(Difference { path: path.to_owned(), before: old.clone(), after: new.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_readings_have_no_differences() {
        let reading = json!({ "lobby": { "state": { "m.room.name ": { "name": "Lobby" } } } });
        assert_eq!(differences("rooms", &reading, &reading), vec![]);
    }

    #[test]
    fn what_is_lost_gained_or_changed_is_named_by_its_path() {
        let before = json!({ "lobby": { "name": "a", "topic": "b", "timeline": [1, 2] } });
        let after = json!({ "lobby": { "name": "A", "timeline": [1, 2, 3] }, "cellar": 1 });
        let paths: Vec<_> = differences("rooms", &before, &after).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["rooms/lobby/name", "rooms/lobby/topic", "rooms/lobby/timeline", "rooms/cellar"]);
    }
}
