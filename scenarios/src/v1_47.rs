//! Synapse 1.47.0.

use std::time::{Duration, Instant};

use harness::{Client, Method, prelude::*};

notes!("1.47.0": room_delete_api_v1);

/// `POST …/delete` goes; `DELETE` of the room itself takes its place, and from 1.48.0 on one that does it in the background.
///
/// Upstream: PRs 11213, 11223 (`v2`).
fn room_delete_api_v1() -> Scenario {
    let answers =
        |status: u16, body: Value, room: u16| json!({ "answer": { "status": status, "body": body }, "room": room });
    let deleted = || {
        let body = json!({
            "kicked_users": ["@alice:hs.test"],
            "failed_to_kick_users": [],
            "local_aliases": [],
            "new_room_id": null,
        });
        answers(200, body, 404)
    };
    let unrecognized = || answers(400, json!({ "errcode": "M_UNRECOGNIZED", "error": anything() }), 200);
    Scenario::for_note("Removal of old Room Admin API")
        .disagreement(
            "the removed endpoint is `POST /_synapse/admin/v1/<room_id>/delete`",
            "it was `POST /_synapse/admin/v1/rooms/<room_id>/delete`; the printed path never existed",
        )
        .hop("1.46.0", "1.47.0")
        .then("1.48.0")
        // They still had the purged rooms' events to look at.
        .log_error(
            "Background process '(process_event_queue_for_federation|(stats|user_directory).notify_new_event)' \
             threw an exception",
        )
        .fact(
            "POST /_synapse/admin/v1/rooms/<room>/delete",
            delete_room(Method::POST, "/_synapse/admin/v1/rooms/{room}/delete"),
        )
        .until("1.47.0", deleted())
        .since("1.47.0", unrecognized())
        .fact(
            "POST /_synapse/admin/v1/<room>/delete, as printed",
            delete_room(Method::POST, "/_synapse/admin/v1/{room}/delete"),
        )
        .always(unrecognized())
        .fact("DELETE /_synapse/admin/v1/rooms/<room>", delete_room(Method::DELETE, "/_synapse/admin/v1/rooms/{room}"))
        .always(deleted())
        .fact("DELETE /_synapse/admin/v2/rooms/<room>", delete_room(Method::DELETE, "/_synapse/admin/v2/rooms/{room}"))
        .until("1.48.0", unrecognized())
        .since("1.48.0", answers(200, json!({ "delete_id": anything() }), 404))
}

/// Makes a room, deletes it so; the answer, and what the room's own page then says.
fn delete_room(method: Method, path: &'static str) -> Probe {
    Probe::from(move |hs: Live| {
        let method = method.clone();
        async move {
            let admin = hs.admin().await?;
            let room = hs.user("alice").await?.create_room(&json!({})).await?;
            let path = path.replace("{room}", &escape(&room));
            let body = json!({ "purge": true, "block": false });
            let answer = admin.request(method, &path).json(&body).await?.whole();
            if let Some(id) = answer["body"]["delete_id"].as_str() {
                await_deletion(&admin, id).await?;
            }
            let room = admin.get(&format!("/_synapse/admin/v1/rooms/{room}")).await?.status();
            Ok(json!({ "answer": answer, "room": room }))
        }
    })
}

/// Looks until a deletion in the background is over, well or not.
async fn await_deletion(admin: &Client, id: &str) -> Result<()> {
    let (begun, limit) = (Instant::now(), Duration::from_secs(60));
    let path = format!("/_synapse/admin/v2/rooms/delete_status/{id}");
    while begun.elapsed() < limit {
        let status = admin.get(&path).await?.ok()?.field("status")?;
        if status == "complete" || status == "failed" {
            break;
        }
    }
    Ok(())
}
