//! Account data under the name of the push rules, which releases before 1.84.0 took: the rules are not hidden by it.

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
            Ok(own.iter().filter(|rule| rule["rule_id"] == "test.word").map(|rule| rule["pattern"].clone()).collect())
        })
        .loses("DELETE FROM push_rules")
}
