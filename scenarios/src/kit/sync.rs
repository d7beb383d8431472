//! A client who waits for what is new at a worker: what reaches it came from another process.

use std::time::{Duration, Instant};

use harness::{Client, Request, prelude::*};

/// How long news may take. A worker that is not told learns of nothing before it connects anew.
const LIMIT: Duration = Duration::from_secs(40);

/// The answers to a client who syncs from `since` on and has a poll open, oldest first: until one is `enough`, or for
/// forty seconds.
pub(crate) async fn follow(client: &Client, since: &str, enough: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
    let begun = Instant::now();
    let mut since = since.to_owned();
    let mut answers = Vec::new();
    while begun.elapsed() < LIMIT && !answers.last().is_some_and(&enough) {
        let poll = format!("/_matrix/client/v3/sync?since={since}&timeout=5000");
        let answer = client.get(&poll).await?.ok()?;
        since = answer.field("next_batch")?;
        answers.push(answer.json()?);
    }
    Ok(answers)
}

/// Does an answer to a sync bring this text in the room's timeline?
pub(crate) fn brings(answer: &Value, room: &str, text: &str) -> bool {
    let events = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
    events.is_some_and(|events| events.iter().any(|event| event["content"]["body"] == text))
}

/// What the first answer holds in which there is something, to somebody who waits at this worker while this is done elsewhere.
pub(crate) async fn told(
    client: &Client,
    worker: &str,
    deed: Request,
    found: impl Fn(&Value) -> Option<Value>,
) -> Result<Option<Value>> {
    let waiting = client.at(worker)?;
    let since = waiting.get("/_matrix/client/v3/sync").await?.ok()?.field("next_batch")?;
    let (answers, done) = tokio::join!(follow(&waiting, &since, |answer| found(answer).is_some()), deed.into_future());
    done?.ok()?;
    Ok(answers?.iter().find_map(found))
}

/// Does a message that is sent to the main process reach a client who waits at this worker?
pub(crate) fn message_arrives_at(worker: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let text = hs.unique("hello");
        let found = |answer: &Value| brings(answer, &room, &text).then_some(Value::Null);
        Ok(json!(told(&alice, worker, alice.say(&room, &text), found).await?.is_some()))
    })
}
