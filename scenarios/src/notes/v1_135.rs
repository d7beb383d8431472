//! Synapse 1.135.0.

use harness::prelude::*;

use crate::kit::processes;

notes!("1.135.0": on_user_registration_on_worker);

/// A module hears of a registration on the process that was asked for it, no longer on the main process only.
///
/// Upstream: PR 18552.
fn on_user_registration_on_worker() -> Scenario {
    let module = r#"
import logging

logger = logging.getLogger(__name__)

class Module:
    def __init__(self, config, api):
        self.api = api
        api.register_account_validity_callbacks(on_user_registration=self.on_user_registration)

    async def on_user_registration(self, user):
        logger.info("heard of %s on %s", user, self.api.worker_name)
"#;
    let on_main = || json!({ "status": 200, "main": [contains("heard of @{name}:hs.test on None")], "worker": [] });
    let on_worker = || json!({ "status": 200, "main": [], "worker": [contains("heard of @{name}:hs.test on worker")] });
    Scenario::for_note("`on_user_registration` module API callback may now run on any worker")
        .only_on(Database::Postgres)
        .hop("1.134.0", "1.135.0")
        .module("hears", module)
        .config(json!({
            "modules": [{ "module": "hears.Module" }],
            "enable_registration": true,
            "enable_registration_without_verification": true,
        }))
        .worker("worker", "synapse.app.generic_worker", ["client"], json!({}))
        .fact("who registers on the main process", register("main"))
        .always(on_main())
        .fact("who registers on the worker", register("worker"))
        .changes(on_main(), on_worker())
}

/// Somebody registers on a process: where the module hears of that, and how often.
fn register(process: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let name = hs.unique("heard");
        hs.remember("name", &name);
        let body = json!({ "username": name, "password": "a password", "auth": { "type": "m.login.dummy" } });
        let answer = hs.anonymous().at(process)?.post("/_matrix/client/v3/register", &body).await?;
        let heard = format!("heard of @{name}:");
        let look =
            async || Ok((processes::lines(&hs, "main", &heard).await?, processes::lines(&hs, "worker", &heard).await?));
        let (main, worker) = eventually(look, |(main, worker)| main.len() + worker.len() > 0).await?;
        Ok(json!({ "status": answer.status(), "main": main, "worker": worker }))
    })
}
