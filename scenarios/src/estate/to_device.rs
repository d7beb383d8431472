//! Messages to a device that has not asked for them yet: given once, and then gone.

use super::prelude::*;

pub(super) fn part() -> Part {
    // What older ones do is a part of its own.
    waiting(Part::new("to-device messages").since("1.6.0"))
}

/// A part for which messages wait.
pub(super) fn waiting(part: Part) -> Part {
    part.fills(&["device_inbox"])
        .consumed_by_reading()
        .write(|it: Visit| async move {
            let person = it.somebody("absent").await?;
            let mut waiting = Vec::new();
            for number in 0..3 {
                let content = json!({ "kept": number });
                let messages = json!({ "messages": { person.id(): { "*": content } } });
                let transaction = it.live.unique("txn");
                it.owner.put(&["sendToDevice", "test.kept", &transaction], messages).await?;
                waiting.push(json!({ "type": "test.kept", "sender": it.owner.id(), "content": content }));
            }
            Ok(json!({ "user": person.id(), "token": person.token(), "waiting": waiting }))
        })
        .read(|it: Visit| async move {
            let person = it.owner.with_token(&it.kept("token")?);
            let seen = person.sync(None, json!({ "room": { "rooms": [] } })).await?;
            // They are deleted when the device comes with the token that it got with them and, up to some release, only if
            // there is something new for it.
            // From 1.29.0 to 1.33.2 nobody is asked for keys by others (#9961): looked for on the first of these releases, or
            // every walk that ends on one of them would show it. Not of what one of them wrote.
            let was_sound = !it.written_from("1.29.0rc1") || it.written_from("1.34.0rc1");
            let asks = was_sound && (!it.from("1.30.0") || it.from("1.34.0rc1"));
            let kind = if asks { "m.room_key_request" } else { "test.next" };
            let next = json!({ "messages": { it.kept("user")?: { "*": { "kept": "next" } } } });
            it.owner.put(&["sendToDevice", kind, &it.live.unique("txn")], next).await?;
            let since = text(&seen["next_batch"]);
            let go_on = async || person.sync(Some(&since), json!({ "room": { "rooms": [] } })).await;
            // A worker hears of it a little later.
            let then = eventually(go_on, |seen| !list(&seen["to_device"]["events"]).is_empty()).await?;
            let waiting = list(&seen["to_device"]["events"]).iter().filter(|event| event["type"] == "test.kept");
            let shown = |event: &Value| json!({ "type": event["type"], "sender": event["sender"], "content": event["content"] });
            let mut given: Vec<Value> = waiting.map(shown).collect();
            // What is sent on this release comes as well, alone.
            if list(&then["to_device"]["events"]).iter().map(|event| &event["type"]).ne([kind]) {
                given.push(json!({ "instead of the next message": then["to_device"] }));
            }
            Ok(json!(given))
        })
}
