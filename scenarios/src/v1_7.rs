//! Synapse 1.7.0.

use harness::prelude::*;

notes!("1.7.0": public_rooms);

/// The list of public rooms is shown to users of this server only, unless its operator opens it.
fn public_rooms() -> Scenario {
    let shown = || json!({ "status": 200, "has the room": true });
    let withheld = |status: u16, errcode: &str| json!({ "status": status, "errcode": errcode, "has the room": false });
    Scenario::for_note("Upgrading to v1.7.0")
        .hop("1.6.1", "1.7.0")
        .peer("peer.test", json!({}))
        .seed(|hs| async move {
            let options = json!({ "visibility": "public", "preset": "public_chat" });
            hs.user("alice").await?.room("hall", &options).await?;
            Ok(())
        })
        .fact("to a user", |hs: Live| async move {
            list(&hs, &hs.user("alice").await?.get("/_matrix/client/r0/publicRooms").await?)
        })
        .always(shown())
        .fact(
            "to anyone",
            |hs: Live| async move { list(&hs, &hs.anonymous().get("/_matrix/client/r0/publicRooms").await?) },
        )
        .until("1.7.0", shown())
        .since("1.7.0", withheld(401, "M_MISSING_TOKEN"))
        // The other server signs the request that it sends for its user.
        .fact("to a user of another server", |hs: Live| async move {
            let bob = hs.peer("peer.test")?.user("bob").await?;
            list(&hs, &bob.get("/_matrix/client/r0/publicRooms?server=hs.test").await?)
        })
        .until("1.7.0", shown())
        // Until 1.13.0 the other server did not know what to make of a refusal.
        .since("1.7.0", withheld(500, "M_UNKNOWN"))
        .since("1.13.0", withheld(403, "M_FORBIDDEN"))
        .step("the operator opens the list")
        .change(|deployment| {
            deployment.config(json!({
                "allow_public_rooms_without_auth": true,
                "allow_public_rooms_over_federation": true,
            }));
        })
        .now("to anyone", shown())
        .now("to a user of another server", shown())
}

fn list(hs: &Live, answer: &harness::Answer) -> Result<Value> {
    let hall = hs.recall("hall")?;
    let rooms = answer.json()?["chunk"].as_array().cloned().unwrap_or_default();
    let mut seen = answer.brief();
    seen["has the room"] = json!(rooms.iter().any(|room| room["room_id"] == json!(hall)));
    Ok(seen)
}
