//! Account data, of the account and of a room.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("account data")
        .fills(&["account_data", "room_account_data"])
        .rides_along()
        .write(|it: Visit| async move {
            let kind = it.named("test.kept");
            let own = json!({ "kept": [1, 2, 3], "text": "ünïcode ✓" });
            it.owner.put(&["user", it.owner.id(), "account_data", &kind], own).await?;
            let path = ["user", it.owner.id(), "rooms", &it.room, "account_data", &kind];
            it.owner.put(&path, json!({ "of": "the room" })).await?;
            Ok(json!({ "kind": kind }))
        })
        .read(|it: Visit| async move {
            let kind = it.kept("kind")?;
            let only = json!({ "types": [kind] });
            let filter = json!({
                "account_data": only, "presence": { "limit": 0 },
                "room": { "rooms": [it.room], "account_data": only, "timeline": { "limit": 0 } },
            });
            let seen = it.owner.sync(None, filter).await?;
            // Older releases do not heed the filter in a room.
            let own = typed(&seen["account_data"]["events"], &[])[&kind].clone();
            let room = typed(&seen["rooms"]["join"][&it.room]["account_data"]["events"], &[])[&kind].clone();
            // Before, nobody could ask for one of them (upstream: PR 4303).
            let alone = it.from("0.34.1");
            let asked = async |path: &[&str], synchronised: &Value| {
                if alone { it.owner.get(path).await } else { Ok(synchronised.clone()) }
            };
            Ok(json!({
                "account": asked(&["user", it.owner.id(), "account_data", &kind], &own).await?,
                "room": asked(&["user", it.owner.id(), "rooms", &it.room, "account_data", &kind], &room).await?,
                "account, synchronised": own,
                "room, synchronised": room,
            }))
        })
}
