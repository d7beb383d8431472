//! Push rules of every kind, made and switched off, and the ones that the server brings, as clients see them.

use std::collections::BTreeMap;

use super::prelude::*;

/// What clients see of rules.
pub(super) fn part() -> Part {
    Part::new("push rules")
        .fills(&["push_rules", "push_rules_enable", "push_rules_stream"])
        .rides_along()
        .write(|it: Visit| async move {
            let person = it.somebody("ruler").await?;
            let condition = json!([{ "kind": "event_match", "key": "content.msgtype", "pattern": "m.notice" }]);
            let rules = [
                ("override", "test.quiet", json!({ "conditions": condition, "actions": ["dont_notify"] })),
                ("content", "test.word", json!({ "pattern": "wörd", "actions": ["notify", { "set_tweak": "highlight" }] })),
                ("room", &it.room, json!({ "actions": ["notify"] })),
                ("sender", it.friend.id(), json!({ "actions": ["dont_notify"] })),
                ("underride", "test.rest", json!({ "conditions": condition, "actions": ["notify"] })),
            ];
            for (kind, id, rule) in rules {
                person.put(&["pushrules", "global", kind, id], rule).await?;
            }
            for (kind, id) in [("content", "test.word"), ("override", ".m.rule.suppress_notices")] {
                person.put(&["pushrules", "global", kind, id, "enabled"], json!({ "enabled": false })).await?;
            }
            let actions = json!({ "actions": ["notify", { "set_tweak": "sound", "value": "ping" }] });
            person.put(&["pushrules", "global", "underride", ".m.rule.message", "actions"], actions).await?;
            Ok(json!({ "token": person.token(), "is recent": it.from("1.60.0") }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let rules = person.get(&["pushrules", ""]).await?;
            let filter = json!({ "presence": { "limit": 0 }, "room": { "rooms": [] } });
            let synced = person.sync(None, filter).await?;
            let synced = list(&synced["account_data"]["events"]).iter().find(|event| event["type"] == "m.push_rules");
            let (mut own, mut of_server) = (by_name(&rules["global"], false), by_name(&rules["global"], true));
            // Not given from 1.66.0 to 1.71.0, nor said from 1.66.0 to 1.68.0: looked at in what is not much older.
            if it.kept["is recent"] != true {
                of_server.remove("content .m.rule.contains_user_name");
                own.values_mut().filter_map(Value::as_object_mut).for_each(|rule| _ = rule.remove("says whose it is"));
            }
            // What 1.86.0 calls otherwise than all that follow.
            for mention in ["override .m.is_user_mention", "override .m.is_room_mention"] {
                of_server.remove(mention);
            }
            Ok(json!({
                "own": own,
                "the server's": of_server,
                "as synchronised": synced.is_some_and(|event| {
                    without_mentions_in_text(&event["content"]["global"]) == without_mentions_in_text(&rules["global"])
                }),
            }))
        })
}

/// All rules but those that the server brings before 1.164.0 only: of two processes one may be older.
fn without_mentions_in_text(rules: &Value) -> Value {
    let older = [".m.rule.contains_user_name", ".m.rule.contains_display_name", ".m.rule.roomnotif"];
    let mut rules = rules.clone();
    for kind in rules.as_object_mut().into_iter().flat_map(|kinds| kinds.values_mut()).filter_map(Value::as_array_mut) {
        kind.retain(|rule| !older.iter().any(|name| rule["rule_id"] == *name));
    }
    rules
}

/// Rules by kind and name; of the server's own, what a user can change of them, and that they are there.
fn by_name(rules: &Value, of_server: bool) -> BTreeMap<String, Value> {
    let mut named = BTreeMap::new();
    for (kind, rules) in rules.as_object().into_iter().flatten() {
        for rule in list(rules).iter().filter(|rule| (rule["default"] == true) == of_server) {
            let name = format!("{kind} {}", text(&rule["rule_id"]));
            let mut shown = json!({ "actions": actions(&rule["actions"]), "enabled": rule["enabled"] });
            if !of_server {
                shown["conditions"] = rule["conditions"].clone();
                shown["says whose it is"] = json!(rule["default"].is_boolean());
            }
            shown["pattern"] = rule["pattern"].clone();
            named.insert(name, shown);
        }
    }
    named
}

/// In any order, which differs by release. `dont_notify` says nothing, and is not said any more; to highlight is to do so.
fn actions(actions: &Value) -> Value {
    let mut actions: Vec<Value> = list(actions).iter().filter(|action| *action != "dont_notify").cloned().collect();
    for action in actions.iter_mut().filter(|action| action["set_tweak"] == "highlight" && action["value"] == true) {
        *action = json!({ "set_tweak": "highlight" });
    }
    actions.sort_by_key(ToString::to_string);
    json!(actions)
}
