//! Synapse 1.71.0.

use harness::{Client, prelude::*};

use crate::kit::{
    bridge::{self, Bridge as _},
    login_tokens::{self, BY_DEFAULT, FOR_AN_HOUR, LATE},
    metrics,
};

notes!("1.71.0": short_term_login_token_removed, events_for_application_services, legacy_metrics_disabled);

/// The old way to make login tokens is gone. Tokens of the new way are kept in the database, good for one login.
fn short_term_login_token_removed() -> Scenario {
    let (new, old) = ("create_login_token", "generate_short_term_login_token");
    let scenario = Scenario::for_note("Removal of the `generate_short_term_login_token` module API method")
        .hop("1.70.1", "1.71.0")
        .seed(|hs| async move {
            let token = login_tokens::token(&hs, FOR_AN_HOUR, "create_login_token").await?;
            hs.remember("first token", &token.unwrap_or_default());
            Ok(())
        });
    login_tokens::modules(scenario)
        .fact("generate_short_term_login_token", login_tokens::used(FOR_AN_HOUR, old))
        .changes(login_tokens::logs_in(), login_tokens::unknown())
        .fact("create_login_token", login_tokens::used(FOR_AN_HOUR, new))
        .always(login_tokens::logs_in())
        .fact("create_login_token, for no time at all", login_tokens::used(LATE, new))
        .always(login_tokens::invalid())
        .fact("create_login_token, by itself: how many minutes it holds", login_tokens::minutes(BY_DEFAULT, new))
        .always(2)
        .fact("create_login_token, of a session at a provider", login_tokens::session(new))
        .always(login_tokens::is_kept())
        .fact("form of its token", |hs: Live| async move {
            let token = login_tokens::token(&hs, FOR_AN_HOUR, "create_login_token").await?;
            Ok(json!(token.map(|token| token.starts_with("syl_"))))
        })
        .changes(false, true)
        .fact("its token, a second time", |hs: Live| async move {
            let token = login_tokens::token(&hs, FOR_AN_HOUR, "create_login_token").await?.unwrap_or_default();
            login_tokens::login(&hs, &token).await?;
            login_tokens::login(&hs, &token).await
        })
        .changes(login_tokens::logs_in(), login_tokens::invalid())
        .fact(
            "a token from before",
            |hs: Live| async move { login_tokens::login(&hs, &hs.recall("first token")?).await },
        )
        .changes(login_tokens::logs_in(), login_tokens::invalid())
}

/// That a remote user whose name is an application service's is in a room no longer makes the room its concern.
///
/// Upstream: PR 13958.
fn events_for_application_services() -> Scenario {
    Scenario::for_note("Changes to the events received by application services (interest)")
        .disagreement(
            "the `users` namespace is only applied to local users",
            "only where it is applied to a room's members: events that a matching remote user sends, or that are about one, \
             are delivered as before, up to 1.130.0 and later",
        )
        .hop("1.70.1", "1.71.0")
        .peer("peer.test", json!({}))
        .bridge(
            "bridge",
            json!({ "namespaces": {
                "users": [{ "exclusive": false, "regex": "@as_.*" }],
                "aliases": [{ "exclusive": false, "regex": "#bridged.*" }],
                "rooms": [{ "exclusive": false, "regex": r"!.*:peer\.test" }],
            } }),
        )
        .fact("alice's message, beside a remote user of its namespace", message("alice", &["alice", "as_remote@peer.test"]))
        .changes(true, false)
        .fact("alice's message, beside a local user of its namespace", message("alice", &["alice", "as_local"]))
        .always(true)
        .fact(
            "a remote user's message, beside a local user of its namespace",
            message("bob@peer.test", &["alice", "as_local", "bob@peer.test"]),
        )
        .always(true)
        .fact("alice's message in a room of its namespace", message("alice", &["bob@peer.test", "alice"]))
        .until("1.162.0", true)
        // New rooms are of version 12, whose ids name no server: #20130.
        .since("1.162.0", false)
        .fact(
            "the message of the remote user of its namespace",
            message("as_remote@peer.test", &["alice", "as_remote@peer.test"]),
        )
        .always(true)
        .fact("that alice has invited the remote user of its namespace", |hs: Live| async move {
            let room = room_of(&hs, &["alice"]).await?;
            let (alice, remote) = (hs.user("alice").await?, somebody(&hs, "as_remote@peer.test").await?);
            let path = format!("/_matrix/client/v3/rooms/{}/invite", escape(&room));
            alice.post(&path, &json!({ "user_id": remote.id() })).await?.ok()?;
            // A timeline ends where something else is still being stored.
            let invited = async || -> Result<Option<Value>> {
                Ok(alice.timeline(&room, 9).await?.into_iter().find(|event| event["state_key"] == remote.id()))
            };
            let invited = eventually(invited, Option::is_some).await?.unwrap_or_default();
            is_delivered(&hs, invited["event_id"].as_str().unwrap_or_default()).await
        })
        .always(true)
}

/// Is somebody's message in a new room of these members, whose first makes it, sent to the application service?
fn message(speaker: &'static str, members: &'static [&'static str]) -> Probe {
    Probe::from(move |hs: Live| async move {
        let room = room_of(&hs, members).await?;
        let event = somebody(&hs, speaker).await?.say(&room, "hello").await?.field("event_id")?;
        let path = format!("/_matrix/client/v3/rooms/{}/event/{}", escape(&room), escape(&event));
        let alice = hs.user("alice").await?;
        // A remote user's message is on its way for a moment.
        eventually(async || alice.get(&path).await, |answer| answer.status() != 404).await?.ok()?;
        is_delivered(&hs, &event).await
    })
}

/// All is sent in the order in which it happened, but for what happens at once: when the second of two messages of a room
/// whose alias is the application service's has been sent, so has everything before the first.
async fn is_delivered(hs: &Live, event: &str) -> Result<Value> {
    let alice = hs.user("alice").await?;
    let room = alice.room("bridged", &json!({ "room_alias_name": "bridged" })).await?;
    for _ in 0..2 {
        let last = alice.say(&room, "the last").await?.field("event_id")?;
        if !bridge::is_sent(hs, "bridge", &last).await? {
            return Ok(json!("not even messages of the room whose alias is of its namespace are sent"));
        }
    }
    Ok(json!(bridge::events(hs, "bridge").await?.iter().any(|other| other["event_id"] == event)))
}

/// A user here, or `name@server`.
async fn somebody(hs: &Live, name: &str) -> Result<Client> {
    match name.split_once('@') {
        Some((name, server)) => hs.peer(server)?.user(name).await,
        None => hs.user(name).await,
    }
}

async fn room_of(hs: &Live, members: &[&str]) -> Result<String> {
    let room = somebody(hs, members[0]).await?.create_room(&json!({ "preset": "public_chat" })).await?;
    let server = members[0].split_once('@').map_or("hs.test", |(_, server)| server);
    for member in &members[1..] {
        let path = format!("/_matrix/client/v3/join/{}?server_name={server}", escape(&room));
        somebody(hs, member).await?.post(&path, &json!({})).await?.ok()?;
    }
    Ok(room)
}

/// The names that do not fit Prometheus' rules are no longer served on a metrics listener unless that is asked for; on an HTTP
/// listener they are.
fn legacy_metrics_disabled() -> Scenario {
    Scenario::for_note("Legacy Prometheus metric names are now disabled by default")
        .disagreement(
            "legacy names are disabled by default",
            "on a metrics listener; an HTTP listener serves them, whatever the option says, until 1.73.0",
        )
        .hop("1.70.1", "1.71.0")
        .config(json!({ "enable_metrics": true }))
        .resources(["metrics"])
        .listener(metrics_listener())
        .variant("the option is not set", |it| {
            it.fact("on the metrics listener", metrics::names("main:9000", "/metrics"))
                .changes(metrics::both(), metrics::new())
                .fact("on the HTTP listener", metrics::names("main", "/_synapse/metrics"))
                .until("1.73.0", metrics::both())
                .since("1.73.0", metrics::new())
        })
        .variant("the option is on", |it| {
            it.config(json!({ "enable_legacy_metrics": true }))
                .fact("on the metrics listener", metrics::names("main:9000", "/metrics"))
                .until("1.73.0", metrics::both())
                .since("1.73.0", metrics::new())
                .step("it is off", |it| {
                    it.reconfigure(json!({ "enable_legacy_metrics": false }))
                        .now("on the metrics listener", metrics::new())
                })
        })
}
