//! Account data under the name of the push rules, which releases before 1.84.0 took: the rules are not hidden by it. And of
//! the server's own rules those that no client could make use of.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("push rules beside account data")
        .write(|it: Visit| async move {
            let person = it.somebody("shadowed").await?;
            let rule = json!({ "pattern": "word", "actions": ["notify"] });
            person.put(&["pushrules", "global", "content", "test.word"], rule).await?;
            if !it.from("1.84.0") {
                person.put(&["user", person.id(), "account_data", "m.push_rules"], json!({})).await?;
            }
            Ok(json!({ "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [] } });
            let synced = person.sync(None, filter).await?;
            let rules = list(&synced["account_data"]["events"]).iter().find(|event| event["type"] == "m.push_rules");
            let own = rules.map(|rules| list(&rules["content"]["global"]["content"]).to_vec()).unwrap_or_default();
            let own: Value =
                own.iter().filter(|rule| rule["rule_id"] == "test.word").map(|rule| rule["pattern"].clone()).collect();
            Ok(json!({ "own": own, "of no use": of_no_use(&it, &person).await? }))
        })
        .loses("DELETE FROM push_rules")
}

/// Rules that are an experiment's which is off, as from 1.73.0 to 1.82.0 (#15494); and rules with a condition that names a
/// kind of value and no value, as on 1.86.0 (#15781).
async fn of_no_use(it: &Visit, person: &Person) -> Result<[Vec<Value>; 2]> {
    let rules = person.get(&["pushrules", ""]).await?;
    let kinds = rules["global"].as_object().into_iter().flat_map(|kinds| kinds.values());
    let rules: Vec<&Value> = kinds.flat_map(list).collect();
    let named = |is_due: bool, is_meant: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        let meant = rules.iter().filter(|rule| is_due && is_meant(rule));
        meant.map(|rule| rule["rule_id"].clone()).collect()
    };
    let is_experiment = |rule: &Value| text(&rule["rule_id"]).starts_with(".org.matrix.msc3933");
    let has_no_value = |rule: &Value| {
        let mut keys = list(&rule["conditions"]).iter().filter_map(Value::as_object).flat_map(|it| it.keys());
        keys.any(|key| key.ends_with("_type"))
    };
    Ok([
        named(super::is_looked_for(it, "1.73.0rc1", "1.74.0rc1", "1.83.0rc1"), &is_experiment),
        named(super::is_looked_for(it, "1.86.0rc1", "1.87.0rc1", "1.87.0rc1"), &has_no_value),
    ])
}
