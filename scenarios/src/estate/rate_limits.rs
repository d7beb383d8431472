//! Somebody's own rate limit: another is no nearer to it for having made a room with much in it.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rate limits")
        .since("1.36.0")
        .fills(&["ratelimit_override"])
        .write(|it: Visit| async move {
            let (person, eager) = (it.somebody("hasty").await?, it.somebody("eager").await?);
            for (person, per_second, burst) in [(&person, 7, 77), (&eager, 1, 10)] {
                let limit = json!({ "messages_per_second": per_second, "burst_count": burst });
                it.admin().await?.post(&path(person.id()), limit).await?;
            }
            Ok(json!({ "person": person.id(), "eager": eager.token() }))
        })
        .read(|it: Visit| async move {
            let mut shown = it.admin().await?.get(&path(&it.kept("person")?)).await?;
            shown["a room with much in it"] = makes_a_room(&it).await?;
            Ok(shown)
        })
}

fn path(id: &str) -> [&str; 4] {
    ["/_synapse/admin/v1", "users", id, "override_ratelimit"]
}

/// How it goes when a room is made with more in it than may be sent at once: it is one request.
async fn makes_a_room(it: &Visit) -> Result<Value> {
    // From 1.69.0 to 1.70.0 each of its events is one (#14314). There it is looked for only of who was here from the
    // beginning, since 1.60.0 at the earliest: older ones come there for what 1.69.0 has mended (#14060).
    let is_faulty = it.from("1.69.0rc1") && !it.from("1.70.1");
    let is_first = it.mark == "1" && it.written_from("1.60.0");
    if is_faulty && !is_first || !super::is_looked_for(it, "1.69.0rc1", "1.70.0rc1", "1.70.1") {
        return Ok(json!(200));
    }
    let one = |number: i32| json!({ "type": "test.kept", "state_key": number.to_string(), "content": {} });
    let state: Value = (0..12).map(one).collect();
    let options = json!({ "preset": "private_chat", "initial_state": state });
    let eager = it.owner.with_token(&it.kept("eager")?);
    Ok(json!(eager.answer(Method::POST, &["createRoom"], Some(options)).await?.status()))
}
