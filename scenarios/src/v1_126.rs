//! Synapse 1.126.0.

use harness::prelude::*;

notes!("1.126.0": room_list_publication);

/// Nobody may publish rooms in the directory any more, unless a rule says so.
///
/// Upstream: PR 18175.
fn room_list_publication() -> Scenario {
    let create = |admin: bool| {
        Probe::from(move |hs: Live| async move {
            let creator = if admin { hs.admin().await? } else { hs.user("alice").await? };
            let room = creator.create_room(&json!({ "visibility": "public" })).await?;
            let entry = format!("/_matrix/client/v3/directory/list/room/{}", escape(&room));
            let listed = creator.get(&entry).await?.ok()?.json()?["visibility"].clone();
            let publish = creator.put(&entry, &json!({ "visibility": "public" })).await?.brief();
            let hide = creator.put(&entry, &json!({ "visibility": "private" })).await?.brief();
            Ok(json!({ "listed as": listed, "publish": publish, "hide": hide }))
        })
    };
    let may = || json!({ "listed as": "public", "publish": status(200), "hide": status(200) });
    let may_not = || json!({ "listed as": "private", "publish": error(403, "M_UNKNOWN"), "hide": status(200) });
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
        .fact("a user's public room", create(false))
        .until("1.126.0", may())
        .since("1.126.0", may_not())
        .fact("an admin's public room", create(true))
        .until("1.126.0", may())
        .since("1.126.0", may_not())
        .fact("a room published before the upgrade", |hs: Live| async move {
            let list = hs.user("alice").await?.get("/_matrix/client/v3/publicRooms").await?.ok()?.json()?;
            let rooms = list["chunk"].as_array().cloned().unwrap_or_default();
            Ok(json!(rooms.iter().any(|room| room["name"] == "From before")))
        })
        .always(true)
        .step("a key without rules")
        .change(|deployment| {
            deployment.config(json!({ "room_list_publication_rules": null }));
        })
        .step("everybody may publish")
        .change(|deployment| {
            deployment.config(json!({ "room_list_publication_rules": [{ "action": "allow" }] }));
        })
        .now("a user's public room", may())
        .now("an admin's public room", may())
}
