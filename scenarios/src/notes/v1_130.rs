//! Synapse 1.130.0.

use harness::prelude::*;

use crate::kit::processes;

notes!("1.130.0": federation_version_on_worker);

const PATH: &str = "/_matrix/federation/v1/version";

/// A worker can be asked for its version by other servers: said now, so long before.
fn federation_version_on_worker() -> Scenario {
    let own = || json!({ "status": 200, "body": { "server": { "name": "Synapse", "version": "{release}" } } });
    Scenario::for_note("Documented endpoint which can be delegated to a federation worker")
        .only_on(Database::Postgres)
        .invariant("what workers answered before is documented now; nothing is to change")
        .hop("1.129.0", "1.130.0")
        .worker("worker", "synapse.app.generic_worker", ["federation"], json!({}))
        .worker("other", "synapse.app.generic_worker", ["client"], json!({}))
        .proxy("proxy", [("^/_matrix/federation/v1/version$", "worker")])
        .fact("main process", version("main"))
        .always(own())
        .fact("worker", version("worker"))
        .always(own())
        .fact("worker without the federation resource", get(PATH).at("other").refusal())
        .always(not_found_by_worker())
        .fact("through the proxy", version("proxy"))
        .always(own())
        .fact("who answers what the proxy is asked", |hs: Live| async move {
            let marker = hs.unique("marker");
            hs.anonymous().at("proxy")?.get(&format!("{PATH}?{marker}")).await?.ok()?;
            processes::asked(&hs, &["main", "worker"], &marker).await
        })
        .always(json!({ "main": 0, "worker": 1 }))
}

/// Nothing is served at a path that no resource of the listener has.
fn not_found_by_worker() -> Value {
    refusal(404, "M_UNRECOGNIZED", "Unrecognized request")
}

fn version(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        hs.remember("release", &hs.release().to_string());
        Ok(hs.anonymous().at(process)?.get(PATH).await?.whole())
    })
}
