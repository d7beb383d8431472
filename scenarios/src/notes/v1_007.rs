//! Synapse 1.7.0.

use harness::prelude::*;

notes!("1.7.0": public_rooms);

/// The list of public rooms is shown to users of this server only, unless its operator opens it.
fn public_rooms() -> Scenario {
    let shown = || json!({ "status": 200, "has the room": true });
    let withheld = |status: u16, errcode: &str| json!({ "status": status, "errcode": errcode, "has the room": false });
    let there = "to a user of another server";
    let unknown = "to somebody with a token that nobody has";
    let searching = "to a user of another server who searches";
    let found = |has: bool, answer: &str| json!({ "has the room": has, "this one": [answer] });
    let passed_on = |shown: Value, answer: &str| json!({ "their server": shown, "this one": [answer] });
    Scenario::for_note("Upgrading to v1.7.0")
        .hop("1.6.1", "1.7.0")
        .peer("peer.test", json!({}))
        // What the other server makes of the refusal, until 1.13.0.
        .log_error("Failed handle request via 'PublicRoomListRestServlet'")
        .seed(|hs| async move {
            let options = json!({ "visibility": "public", "preset": "public_chat", "name": "hall" });
            let alice = hs.user("alice").await?;
            alice.room("hall", &options).await?;
            // The list is of what has been counted of rooms, in the background; the name comes last.
            let search = json!({ "filter": { "generic_search_term": "hall" } });
            let look = async || list(&hs, &alice.post("/_matrix/client/r0/publicRooms", &search).await?);
            eventually(look, |seen| seen["has the room"] == true).await?;
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
        .changes(shown(), withheld(401, "M_MISSING_TOKEN"))
        .fact(unknown, |hs: Live| async move {
            list(&hs, &hs.anonymous().with_token("nobody").get("/_matrix/client/r0/publicRooms").await?)
        })
        .changes(shown(), withheld(401, "M_UNKNOWN_TOKEN"))
        // Open to anyone or not: that list is this server's, and a search needs a token.
        .fact(
            "to anyone who asks for the list of another server",
            get("/_matrix/client/r0/publicRooms?server=peer.test"),
        )
        .always(error(401, "M_MISSING_TOKEN"))
        .fact("to anyone who searches", post("/_matrix/client/r0/publicRooms", json!({})))
        .always(error(401, "M_MISSING_TOKEN"))
        // The other server signs the request that it sends for its user.
        .fact(there, |hs: Live| async move {
            let bob = hs.peer("peer.test")?.user("bob").await?;
            let before = answers(&hs).await?.len();
            let answer = bob.get("/_matrix/client/r0/publicRooms?server=hs.test").await?;
            Ok(json!({ "their server": list(&hs, &answer)?, "this one": answers(&hs).await?[before..] }))
        })
        // Until 1.13.0 the other server did not know what to make of a refusal.
        .changes(passed_on(shown(), "200"), passed_on(withheld(500, "M_UNKNOWN"), "403"))
        .since("1.13.0", passed_on(withheld(403, "M_FORBIDDEN"), "403"))
        // A search goes by POST, which is another way to the same list.
        .fact(searching, |hs: Live| async move {
            let bob = hs.peer("peer.test")?.user("bob").await?;
            let before = answers(&hs).await?.len();
            let search = json!({ "filter": { "generic_search_term": "hall" } });
            let answer = bob.post("/_matrix/client/r0/publicRooms?server=hs.test", &search).await?;
            let shown = list(&hs, &answer)?;
            Ok(json!({ "has the room": shown["has the room"], "this one": answers(&hs).await?[before..] }))
        })
        .changes(found(true, "200"), found(false, "403"))
        .step("the operator opens the list to anyone", |it| {
            it.reconfigure(json!({ "allow_public_rooms_without_auth": true }))
                .now("to anyone", shown())
                .now(unknown, shown())
        })
        .step("the operator opens the list to other servers instead", |it| {
            it.reconfigure(json!({
                "allow_public_rooms_without_auth": false,
                "allow_public_rooms_over_federation": true,
            }))
            .now(there, passed_on(shown(), "200"))
            .now(searching, found(true, "200"))
        })
}

/// With what status this server answered each time that another one asked for its list.
async fn answers(hs: &Live) -> Result<Vec<String>> {
    let lines = hs.log_lines("/_matrix/federation/v1/publicRooms").await?;
    let access = lines.iter().filter_map(|line| line.split_once(" Processed request: "));
    Ok(access.filter_map(|(_, line)| Some(line.split_once(" \"")?.0.rsplit(' ').next()?.to_owned())).collect())
}

fn list(hs: &Live, answer: &harness::Answer) -> Result<Value> {
    let hall = hs.recall("hall")?;
    let rooms = answer.json()?["chunk"].as_array().cloned().unwrap_or_default();
    let mut seen = answer.brief();
    seen["has the room"] = json!(rooms.iter().any(|room| room["room_id"] == json!(hall)));
    Ok(seen)
}
