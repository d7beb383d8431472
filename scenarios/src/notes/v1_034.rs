//! Synapse 1.34.0.

use harness::prelude::*;

use crate::kit::settings::said_of;

notes!("1.34.0": room_invite_state_types);

/// What an invitation shows of its room is set with `room_prejoin_state`. Whoever keeps the old setting, even at its default,
/// does not get what the default has now: the room's creation, which tells a space from a room.
///
/// Upstream: PRs 9700 (the setting), 9915 and 9966 (the default).
fn room_invite_state_types() -> Scenario {
    let (old, new) = ("room_invite_state_types", "room_prejoin_state");
    let old_default =
        ["m.room.join_rules", "m.room.canonical_alias", "m.room.avatar", "m.room.encryption", "m.room.name"];
    let warning = || {
        contains(
            "The 'room_invite_state_types' configuration setting is now deprecated, and replaced with 'room_prejoin_state'.",
        )
    };
    let default_and = |more: &[&str]| {
        let mut types = [old_default.as_slice(), more].concat();
        types.sort_unstable();
        json!(types)
    };
    let without_creation = || default_and(&[]);
    let with_creation = || default_and(&["m.room.create"]);
    let with_topic = || default_and(&["m.room.create", "m.room.topic"]);
    let shows = "what an invitation shows";
    let prints = "what the server prints";
    // Which of the two it says depends on the library.
    let no_such = || matches("is not (of type|valid under any of the given schemas)");
    let both = "Can't specify both 'room_invite_state_types' and 'room_prejoin_state' in config";
    Scenario::for_note("`room_invite_state_types` configuration setting")
        .disagreement(
            "`room_invite_state_types` is deprecated and replaced in 1.34.0",
            "both happened in 1.32.0; what 1.34.0 changes is the default, which gets `m.room.create`",
        )
        .begin_variant("no setting")
        .hop("1.33.2", "1.34.0")
        .fact(shows, invitation())
        .changes(without_creation(), with_creation())
        // Per MSC3173, in #11666.
        .since("1.50.0", with_topic())
        .fact(
            "what is said to the new setting",
            said_of(&json!([
                { new: ["m.room.topic"] },
                { new: { "additional_event_types": "m.room.topic" } },
                { new: { "disable_default_event_types": "yes" } },
                { new: { "additional_event_types": ["m.room.topic"], "disable_default_event_types": true } },
            ])),
        )
        .always(json!([no_such(), no_such(), no_such(), null]))
        .begin_variant("the old setting at its default")
        .hop("1.33.2", "1.34.0")
        .config(json!({ old: old_default }))
        .fact(shows, invitation())
        .until("1.153.0", without_creation())
        // Always there since #19722.
        .since("1.153.0", with_creation())
        .fact(prints, printed())
        .always(warning())
        .begin_step("the setting is removed")
        .change(move |deployment| {
            deployment.unset(old);
        })
        .now(shows, with_creation())
        .now_since("1.50.0", shows, with_topic())
        .now(prints, "")
        .begin_variant("the old setting as a text")
        .hop("1.33.2", "1.34.0")
        .config(json!({ old: "m.room.topic" }))
        .fact("start", start())
        .always(json!({
            "exit status": 1,
            "printed": matches(r"(?s)Error in configuration at 'room_invite_state_types':.*is not of type 'array'"),
        }))
        .begin_variant("the old setting, customised")
        .hop("1.31.0", "1.34.0")
        .config(json!({ old: ["m.room.topic"] }))
        .fact(shows, invitation())
        .until("1.153.0", json!(["m.room.topic"]))
        .since("1.153.0", json!(["m.room.create", "m.room.topic"]))
        .fact(prints, printed())
        .until("1.32.0", "")
        .since("1.32.0", warning())
        .fact("start", start())
        .always(started())
        .begin_step("the new setting beside it")
        .change(move |deployment| {
            deployment.config(json!({
                new: { "disable_default_event_types": true, "additional_event_types": ["m.room.topic"] },
            }));
        })
        .now("start", refused(both))
        .now(prints, contains(both))
        .begin_step("the new setting alone")
        .change(move |deployment| {
            deployment.unset(old);
        })
        .now(prints, "")
        .begin_step("its defaults, too")
        .change(move |deployment| {
            deployment.config(json!({ new: { "disable_default_event_types": false } }));
        })
        .now(shows, default_and(&["m.room.create", "m.room.topic"]))
        .now(prints, "")
}

/// Types of the state that Bob is shown of a room to which Alice invites him, but for the memberships of both. The room has all
/// that an invitation may show.
fn invitation() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
        let options = json!({
            "name": "N",
            "topic": "T",
            "room_alias_name": hs.unique("room"),
            "initial_state": [
                { "type": "m.room.avatar", "content": { "url": "mxc://hs.test/avatar" } },
                { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
            ],
            "invite": [bob.id()],
        });
        let room = alice.create_room(&options).await?;
        let sync = bob.get("/_matrix/client/r0/sync").await?.ok()?.json()?;
        let events = sync["rooms"]["invite"][&room]["invite_state"]["events"].as_array().cloned().unwrap_or_default();
        let mut types: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
        types.retain(|kind| *kind != "m.room.member");
        types.sort_unstable();
        Ok(json!(types))
    })
}
