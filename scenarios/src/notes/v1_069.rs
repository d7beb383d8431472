//! Synapse 1.69.0.

use harness::prelude::*;

use crate::kit::{
    login_tokens::{self, BY_DEFAULT, FOR_AN_HOUR, LATE},
    metrics, sync, workers,
};

notes!("1.69.0": legacy_metrics_deprecated, short_term_login_token_deprecated, receipts_replication_streams);

/// Names that do not fit Prometheus' rules are deprecated: nothing changes. The option to do without them is older, and an HTTP
/// listener knows nothing of it.
///
/// Upstream: PR 13358.
fn legacy_metrics_deprecated() -> Scenario {
    Scenario::for_note("Deprecation of legacy Prometheus metric names")
        .disagreement(
            "legacy names can be disabled with `enable_legacy_metrics: false`",
            "that holds for a metrics listener; an HTTP listener goes on to serve them until 1.73.0",
        )
        .hop("1.66.0", "1.67.0")
        .then("1.68.0")
        .then("1.69.0")
        .config(json!({ "enable_metrics": true }))
        .resources(["metrics"])
        .listener(metrics_listener())
        .fact("on the HTTP listener", metrics::names("main", "/_synapse/metrics"))
        .until("1.73.0", metrics::both())
        .since("1.73.0", metrics::new())
        .fact("what the server prints", printed())
        .always("")
        .variant("the option is off", |it| {
            it.config(json!({ "enable_legacy_metrics": false }))
                .fact("on the metrics listener", metrics::names("main:9000", "/metrics"))
                .until("1.67.0", metrics::both())
                .since("1.67.0", metrics::unfinished())
                .since("1.68.0", metrics::new())
                .step("it is on", |it| {
                    it.reconfigure(json!({ "enable_legacy_metrics": true }))
                        .now("on the metrics listener", metrics::both())
                        .now_since("1.73.0", "on the metrics listener", metrics::new())
                })
        })
        .variant("the option is not set", |it| {
            it.fact("on the metrics listener", metrics::names("main:9000", "/metrics"))
                .until("1.71.0", metrics::both())
                .since("1.71.0", metrics::new())
        })
}

/// Modules can make login tokens without building them themselves; the old way works and warns.
fn short_term_login_token_deprecated() -> Scenario {
    let (new, old) = ("create_login_token", "generate_short_term_login_token");
    let warns = "A module configured on this server uses ModuleApi.generate_short_term_login_token(), which is deprecated \
                 in favor of ModuleApi.create_login_token(), and will be removed in Synapse 1.71.0";
    let scenario = Scenario::for_note("Deprecation of the `generate_short_term_login_token` module API method")
        .hop("1.68.0", "1.69.0");
    login_tokens::modules(scenario)
        .fact("create_login_token", login_tokens::used(FOR_AN_HOUR, new))
        .changes(login_tokens::unknown(), login_tokens::logs_in())
        .fact("create_login_token, for no time at all", login_tokens::used(LATE, new))
        .changes(login_tokens::unknown(), login_tokens::invalid())
        .fact("create_login_token, by itself: how many minutes it holds", login_tokens::minutes(BY_DEFAULT, new))
        .changes(login_tokens::unknown(), 2)
        .fact("create_login_token, of a session at a provider", login_tokens::session(new))
        .changes(login_tokens::unknown(), login_tokens::is_kept())
        .fact("generate_short_term_login_token", login_tokens::used(FOR_AN_HOUR, old))
        .until("1.71.0", login_tokens::logs_in())
        .since("1.71.0", login_tokens::unknown())
        .fact("warnings of one use each", log_lines("generate_short_term_login_token(),"))
        .changes(json!([]), json!([matches(&format!("^synapse.module_api - [0-9]+ - WARNING - {}", escaped(warns)))]))
        .since("1.71.0", json!([]))
        .fact("generate_short_term_login_token, for no time at all", login_tokens::used(LATE, old))
        .until("1.71.0", login_tokens::invalid())
        .since("1.71.0", login_tokens::unknown())
        .fact(
            "generate_short_term_login_token, by itself: how many minutes it holds",
            login_tokens::minutes(BY_DEFAULT, old),
        )
        .until("1.71.0", 2)
        .since("1.71.0", login_tokens::unknown())
        .fact("generate_short_term_login_token, of a session at a provider", login_tokens::session(old))
        .until("1.71.0", login_tokens::is_kept())
        .since("1.71.0", login_tokens::unknown())
}

/// The text as a regular expression.
fn escaped(text: &str) -> String {
    text.replace('(', r"\(").replace(')', r"\)").replace('.', r"\.")
}

/// A worker of the older release learns of no receipt from a newer main process.
///
/// Upstream: PR 13782.
fn receipts_replication_streams() -> Scenario {
    let (receipt, log) = ("Bob's receipt, to Alice who waits at the worker", "type errors of the worker");
    let scenario = Scenario::for_note("Changes to the receipts replication streams");
    workers::one_stays_behind(scenario, "1.68.0", "1.69.0")
        .fact("a message, to who waits at the worker", sync::message_arrives_at("worker"))
        .always(true)
        .fact(receipt, |hs: Live| async move {
            let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
            let room = alice.room("read", &json!({ "preset": "public_chat" })).await?;
            bob.join(&room).await?;
            let event = alice.say(&room, "read this").await?.field("event_id")?;
            let path = format!("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", escape(&room), escape(&event));
            let brings = |answer: &Value| {
                let events = answer["rooms"]["join"][&room]["ephemeral"]["events"].as_array()?;
                events.iter().any(|it| it["content"][&event]["m.read"][bob.id()].is_object()).then_some(Value::Null)
            };
            Ok(json!(sync::told(&alice, "worker", bob.post(&path, &json!({})), brings).await?.is_some()))
        })
        .changes(true, false)
        .fact(log, workers::type_errors("worker"))
        .changes(json!([]), json!([contains("takes 6 positional arguments but 7 were given")]))
        .step("the worker is upgraded, too", |it| it.now(receipt, true).now(log, json!([])))
}
