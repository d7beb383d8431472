//! Synapse 1.47.0.

use harness::prelude::*;

notes!("1.47.0": room_delete_api_v1);

/// `POST …/delete` goes; `DELETE` of the room itself takes its place.
///
/// Upstream: PR 11213.
fn room_delete_api_v1() -> Scenario {
    let deleted = |status: u16, errcode: Option<&str>, room: u16| {
        let answer = errcode.map_or_else(|| json!({ "status": status }), |errcode| error(status, errcode));
        json!({ "answer": answer, "room": room })
    };
    Scenario::for_note("Removal of old Room Admin API")
        .disagreement(
            "the removed endpoint is `POST /_synapse/admin/v1/<room_id>/delete`",
            "it was `POST /_synapse/admin/v1/rooms/<room_id>/delete`; the printed path never existed",
        )
        .hop("1.46.0", "1.47.0")
        // Background processes still had the purged rooms' events to look at.
        .log_error("Background process '[a-z_.]+' threw an exception")
        .fact(
            "POST /_synapse/admin/v1/rooms/<room>/delete",
            delete_room("POST", "/_synapse/admin/v1/rooms/{room}/delete"),
        )
        .until("1.47.0", deleted(200, None, 404))
        .since("1.47.0", deleted(400, Some("M_UNRECOGNIZED"), 200))
        .fact(
            "POST /_synapse/admin/v1/<room>/delete, as printed",
            delete_room("POST", "/_synapse/admin/v1/{room}/delete"),
        )
        .always(deleted(400, Some("M_UNRECOGNIZED"), 200))
        .fact("DELETE /_synapse/admin/v1/rooms/<room>", delete_room("DELETE", "/_synapse/admin/v1/rooms/{room}"))
        .always(deleted(200, None, 404))
}

/// Makes a room, deletes it so; the answer, and what the room's own page then says.
fn delete_room(method: &'static str, path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let admin = hs.admin().await?;
        let room = hs.user("alice").await?.create_room(&json!({})).await?;
        let path = path.replace("{room}", &escape(&room));
        let body = json!({ "purge": true, "block": false });
        let answer =
            if method == "POST" { admin.post(&path, &body).await? } else { admin.delete(&path, &body).await? };
        let room = admin.get(&format!("/_synapse/admin/v1/rooms/{room}")).await?.status();
        Ok(json!({ "answer": answer.brief(), "room": room }))
    })
}
