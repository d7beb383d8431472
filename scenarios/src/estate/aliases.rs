//! Aliases of a room, one of them canonical.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("aliases")
        .fills(&["room_aliases", "room_alias_servers"])
        .rides_along()
        .write(|it: Visit| async move {
            let alias = |name: &str| format!("#{}:{}", it.named(name), harness::SERVER_NAME);
            let (first, second) = (alias("lobby"), alias("vestibule"));
            for alias in [&first, &second] {
                it.owner.put(&["directory", "room", alias], json!({ "room_id": it.room })).await?;
            }
            it.owner.state(&it.room, "m.room.canonical_alias", "", json!({ "alias": second })).await?;
            Ok(json!({ "first": first, "second": second }))
        })
        .read(|it: Visit| async move {
            let (first, second) = (it.kept("first")?, it.kept("second")?);
            Ok(json!({
                "first": it.friend.get(&["directory", "room", &first]).await?,
                "second": it.friend.get(&["directory", "room", &second]).await?,
                "canonical": it.friend.get(&["rooms", &it.room, "state", "m.room.canonical_alias"]).await?,
            }))
        })
}
