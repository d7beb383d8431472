//! Synapse 1.80.0.

use harness::prelude::*;

notes!("1.80.0": reporting_events);

/// Who may not see an event cannot tell by reporting it whether it exists.
fn reporting_events() -> Scenario {
    let report = |room: &str, event: &str| {
        let path = format!("/_matrix/client/v3/rooms/{room}/report/{event}");
        post(&path, json!({ "reason": "spam", "score": -1 }))
    };
    let forbidden = || refusal(403, "M_FORBIDDEN", "You don't have permission to access that event.");
    let unknown = || refusal(404, "M_NOT_FOUND", "Could not find event $nope");
    let nothing_there =
        || refusal(404, "M_NOT_FOUND", "Unable to report event: it does not exist or you aren't able to see it.");
    Scenario::for_note("Reporting events error code change")
        .hop("1.79.0", "1.80.0")
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            let room = alice.room("room", &json!({ "preset": "private_chat" })).await?;
            hs.remember("event", &alice.say(&room, "hello").await?.field("event_id")?);
            // Whose history is open to who was there only, and to everybody.
            for (name, visibility) in [("closed", "joined"), ("open", "world_readable")] {
                let visibility =
                    json!({ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } });
                let options = json!({ "preset": "public_chat", "initial_state": [visibility] });
                let room = alice.room(name, &options).await?;
                hs.remember(&format!("event of the {name}"), &alice.say(&room, "hello").await?.field("event_id")?);
            }
            hs.user("carol").await?.join(&hs.recall("closed")?).await
        })
        .fact("reported by somebody who is not in the room", report("{room}", "{event}").by("bob").refusal())
        .changes(forbidden(), nothing_there())
        .fact(
            "reported by a member who was not there yet",
            report("{closed}", "{event of the closed}").by("carol").refusal(),
        )
        .changes(forbidden(), nothing_there())
        .fact(
            "reported by somebody who is not in a room that everybody may read",
            report("{open}", "{event of the open}").by("bob").body(),
        )
        .always(json!({ "status": 200, "body": {} }))
        .fact("an event that does not exist, reported from outside", report("{room}", "$nope").by("bob").refusal())
        .changes(unknown(), nothing_there())
        .fact("an event that does not exist, reported by a member", report("{room}", "$nope").by("alice").refusal())
        .changes(unknown(), nothing_there())
        .fact("reported by a member", report("{room}", "{event}").by("alice").body())
        .always(json!({ "status": 200, "body": {} }))
        .fact("reports that reach the admin", |hs: Live| async move {
            let path = format!("/_synapse/admin/v1/event_reports?room_id={}", escape(&hs.recall("room")?));
            let admin = hs.admin().await?;
            let who = async || -> Result<std::collections::BTreeSet<String>> {
                let reports = admin.get(&path).await?.ok()?.json()?;
                let reports = reports["event_reports"].as_array().cloned().unwrap_or_default();
                Ok(reports.iter().map(|report| report["user_id"].to_string()).collect())
            };
            // They are listed once the room has statistics, which are made behind the answers.
            Ok(json!(eventually(who, |who| !who.is_empty()).await?))
        })
        .always(json!(["\"@alice:hs.test\""]))
}
