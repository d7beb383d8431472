//! Synapse 1.47.0.

use harness::{Client, Method, SCHEDULED, prelude::*, within};

notes!("1.47.0": room_delete_api_v1);

/// `POST …/delete` goes; `DELETE` of the room itself takes its place, and from 1.48.0 on one that does it in the background.
///
/// Upstream: PRs 11213, 11223 (`v2`).
fn room_delete_api_v1() -> Scenario {
    let answers = |status: u16, body: Value, room: u16, blocked: bool| json!({ "answer": { "status": status, "body": body }, "room": room, "blocked": blocked, "deletion": null });
    let deleted = |blocked: bool| {
        let body = json!({
            "kicked_users": ["@alice:hs.test"],
            "failed_to_kick_users": [],
            "local_aliases": [],
            "new_room_id": null,
        });
        answers(200, body, 404, blocked)
    };
    let unrecognized = |status: u16| {
        answers(status, json!({ "errcode": "M_UNRECOGNIZED", "error": "Unrecognized request" }), 200, false)
    };
    let in_background = || json!({ "answer": { "status": 200, "body": { "delete_id": anything() } }, "room": 404, "blocked": false, "deletion": "complete" });
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
            delete_room(Method::POST, "/_synapse/admin/v1/rooms/{room}/delete", false),
        )
        .changes(deleted(false), unrecognized(400))
        .since("1.74.0", unrecognized(404))
        .fact(
            "POST /_synapse/admin/v1/rooms/<room>/delete, by nobody",
            post("/_synapse/admin/v1/rooms/!none:hs.test/delete", json!({})),
        )
        .changes(error(401, "M_MISSING_TOKEN"), error(400, "M_UNRECOGNIZED"))
        .since("1.74.0", not_found())
        .fact(
            "POST /_synapse/admin/v1/<room>/delete, as printed",
            delete_room(Method::POST, "/_synapse/admin/v1/{room}/delete", false),
        )
        .until("1.74.0", unrecognized(400))
        .since("1.74.0", unrecognized(404))
        .fact(
            "DELETE /_synapse/admin/v1/rooms/<room>",
            delete_room(Method::DELETE, "/_synapse/admin/v1/rooms/{room}", false),
        )
        .always(deleted(false))
        .fact(
            "DELETE /_synapse/admin/v1/rooms/<room>, and block it",
            delete_room(Method::DELETE, "/_synapse/admin/v1/rooms/{room}", true),
        )
        .always(deleted(true))
        .fact(
            "DELETE /_synapse/admin/v1/rooms/<room>, by no admin",
            delete("/_synapse/admin/v1/rooms/!none:hs.test", json!({})).by("alice").refusal(),
        )
        .always(refusal(403, "M_FORBIDDEN", "You are not a server admin"))
        .fact("DELETE /_synapse/admin/v1/rooms/<room>, and lead its members elsewhere", lead_elsewhere())
        .always(json!({
            "answer": status(200),
            "kicked": ["@alice:hs.test"],
            "joined in the old room": 0,
            "alice is in the new room": true,
            "name of the new room": "Elsewhere",
            "said there": ["It had to be"],
        }))
        .fact(
            "DELETE /_synapse/admin/v2/rooms/<room>",
            delete_room(Method::DELETE, "/_synapse/admin/v2/rooms/{room}", false),
        )
        .until("1.48.0", unrecognized(400))
        .since("1.48.0", in_background())
}

/// Makes a room, deletes it so; the answer, how a deletion in the background ended, what the room's own page then says, and
/// whether the room is blocked.
fn delete_room(method: Method, path: &'static str, block: bool) -> Probe {
    Probe::from(move |hs: Live| {
        let method = method.clone();
        async move {
            let (alice, admin) = (hs.user("alice").await?, hs.admin().await?);
            let room = alice.create_room(&json!({})).await?;
            let path = path.replace("{room}", &escape(&room));
            let answer = admin.request(method, &path).json(&json!({ "purge": true, "block": block })).await?.whole();
            let deletion = match answer["body"]["delete_id"].as_str() {
                Some(id) => json!(deletion(&admin, id).await?),
                None => Value::Null,
            };
            let left = admin.get(&format!("/_synapse/admin/v1/rooms/{room}")).await?.status();
            let joining = alice.post(&format!("/_matrix/client/r0/rooms/{}/join", escape(&room)), &json!({})).await?;
            let blocked = joining.text().contains("This room has been blocked on this server");
            Ok(json!({ "answer": answer, "deletion": deletion, "room": left, "blocked": blocked }))
        }
    })
}

/// Makes a room, and shuts it down in favour of another, without purging it.
fn lead_elsewhere() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, admin) = (hs.user("alice").await?, hs.admin().await?);
        let room = escape(&alice.create_room(&json!({})).await?);
        let path = format!("/_synapse/admin/v1/rooms/{room}");
        let elsewhere = json!({
            "new_room_user_id": admin.id(),
            "room_name": "Elsewhere",
            "message": "It had to be",
            "purge": false,
        });
        let answer = admin.delete(&path, &elsewhere).await?;
        let new_room = answer.field("new_room_id")?;
        // Members are counted behind the answer.
        let look = async || admin.get(&path).await?.ok()?.json();
        let left = eventually(look, |room| room["joined_members"] == 0).await?;
        let joined = alice.get("/_matrix/client/r0/joined_rooms").await?.ok()?.json()?;
        let name = format!("/_matrix/client/r0/rooms/{}/state/m.room.name", escape(&new_room));
        let said = alice.timeline(&new_room, 20).await?;
        Ok(json!({
            "answer": answer.brief(),
            "kicked": answer.json()?["kicked_users"],
            "joined in the old room": left["joined_members"],
            "alice is in the new room":
                joined["joined_rooms"].as_array().is_some_and(|rooms| rooms.contains(&json!(new_room))),
            "name of the new room": alice.get(&name).await?.json()?["name"],
            "said there": said.iter().filter_map(|event| event["content"].get("body")).collect::<Vec<_>>(),
        }))
    })
}

/// How a deletion in the background ends.
async fn deletion(admin: &Client, id: &str) -> Result<String> {
    let path = format!("/_synapse/admin/v2/rooms/delete_status/{id}");
    let look = async || admin.get(&path).await?.ok()?.field("status");
    within(SCHEDULED, look, |status| status == "complete" || status == "failed").await
}
