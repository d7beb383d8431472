//! Synapse 1.126.0.

use harness::prelude::*;

notes!("1.126.0": room_list_publication);

/// Nobody may publish rooms in the directory any more, unless a rule says so.
///
/// Upstream: PR 18175.
fn room_list_publication() -> Scenario {
    let may = || json!({ "created": 200, "listed as": "public", "publish": status(200), "hide": status(200) });
    let not_allowed = || refusal(403, "M_UNKNOWN", "Not allowed to publish room");
    let may_not = || json!({ "created": 200, "listed as": "private", "publish": not_allowed(), "hide": status(200) });
    Scenario::for_note("Room list publication rules change")
        .disagreement(
            "server administrators are exempt from `room_list_publication_rules`",
            "they are refused like everybody else",
        )
        .hop("1.125.0", "1.126.0")
        .seed(|hs| async move {
            let published = json!({ "visibility": "public", "name": "From before" });
            hs.user("alice").await?.room("before", &published).await?;
            Ok(())
        })
        .fact("a user's public room", publish(false))
        .changes(may(), may_not())
        .fact("an admin's public room", publish(true))
        .changes(may(), may_not())
        .fact("a room published before the upgrade", |hs: Live| async move {
            let (alice, before) = (hs.user("alice").await?, hs.recall("before")?);
            let names = async || -> Result<Vec<Value>> {
                let list = alice.get("/_matrix/client/v3/publicRooms").await?.ok()?.json()?;
                let rooms = list["chunk"].as_array().cloned().unwrap_or_default();
                let listed = rooms.iter().filter(|room| room["room_id"] == before.as_str());
                Ok(listed.map(|room| room["name"].clone()).collect())
            };
            // The list is made of rooms' statistics, which are made behind the answers.
            Ok(json!(eventually(names, |names| *names == ["From before"]).await?))
        })
        .always(json!(["From before"]))
        .step("a key without rules", |it| it.reconfigure(json!({ "room_list_publication_rules": null })))
        .step("an empty list", |it| it.reconfigure(json!({ "room_list_publication_rules": [] })))
        .step("nobody may publish but the admin", |it| {
            let rules = json!([{ "user_id": "@admin*", "action": "allow" }, { "action": "deny" }]);
            it.reconfigure(json!({ "room_list_publication_rules": rules })).now("an admin's public room", may())
        })
        .step("everybody may publish", |it| {
            it.reconfigure(json!({ "room_list_publication_rules": [{ "action": "allow" }] }))
                .now("a user's public room", may())
                .now("an admin's public room", may())
        })
}

/// A room is made to be public: how it is listed, and whether its maker may publish and hide it afterwards.
fn publish(admin: bool) -> Probe {
    Probe::from(move |hs: Live| async move {
        let creator = if admin { hs.admin().await? } else { hs.user("alice").await? };
        let room = creator.post("/_matrix/client/v3/createRoom", &json!({ "visibility": "public" })).await?;
        let entry = format!("/_matrix/client/v3/directory/list/room/{}", escape(&room.field("room_id")?));
        let listed = creator.get(&entry).await?.ok()?.json()?["visibility"].clone();
        let publish = creator.put(&entry, &json!({ "visibility": "public" })).await?.refusal();
        let hide = creator.put(&entry, &json!({ "visibility": "private" })).await?.refusal();
        Ok(json!({ "created": room.status(), "listed as": listed, "publish": publish, "hide": hide }))
    })
}
