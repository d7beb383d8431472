//! What happens while an application service does not answer: it is told when it is back, once, in order.

use super::{
    bridged::{HOST, beside_a_bridge, ghost},
    prelude::*,
};

pub(super) fn part() -> Part {
    beside_a_bridge(Part::new("waiting for an application service"))
        .fills(&["application_services_txns"])
        .consumed_by_reading()
        .write(|it: Visit| async move {
            // It is back for the next release, whose first attempt is then taken: later ones come ever more slowly.
            let this = format!("Synapse/{}(\\D.*)?", it.live.release().to_string().replace('.', "\\."));
            let refuses = json!([{ "path": ".*/transactions/.*", "header": { "user-agent": this }, "status": 502 }]);
            it.live.recorder(HOST).script(&refuses).await?;
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            ghost(&it, HOST, "waiting", &room).await?;
            let mut waiting = Vec::new();
            for number in 0..3 {
                let words = format!("waiting {number}");
                it.owner.say(&room, &words).await?;
                waiting.push(words);
            }
            eventually(|| under_way(&it), |left| *left != 0).await?;
            Ok(json!({ "room": room, "waiting": waiting }))
        })
        .read(|it: Visit| async move {
            let room = it.kept("room")?;
            it.live.recorder(HOST).script(&json!([])).await?;
            // Older releases begin to send again when something more happens for it.
            it.owner.say(&room, "is anybody there?").await?;
            eventually(|| under_way(&it), |left| *left == 0).await?;
            let transactions = it.live.recorder(HOST).transactions().await?;
            let taken = transactions.iter().filter(|transaction| transaction["answered"] == 200);
            let events = taken.flat_map(|transaction| list(&transaction["json"]["events"]));
            let said = events.filter(|event| event["room_id"] == room.as_str() && event["type"] == "m.room.message");
            let said = said.map(|event| text(&event["content"]["body"])).filter(|said| said.starts_with("waiting"));
            let said: Vec<Value> = said.map(Value::from).collect();
            let told = it.live.recall(&room).ok().and_then(|told| told.parse().ok()).unwrap_or(0);
            it.live.remember(&room, &said.len().to_string());
            Ok(said.into_iter().skip(told).collect())
        })
}

/// How many transactions it has not taken yet.
async fn under_way(it: &Visit) -> Result<Value> {
    Ok(json!(it.live.sql("SELECT txn_id FROM application_services_txns").await?.len()))
}
