//! Synapse 1.22.0.

use harness::prelude::*;

notes!("1.22.0": third_party_rules_module_api);

/// Modules with third-party event rules are given a `ModuleApi` in place of an HTTP client, and find the client there.
///
/// Upstream: PRs 7964, 8292.
fn third_party_rules_module_api() -> Scenario {
    let module = r#"
class Old:
    def __init__(self, config, http_client):
        self.http_client = http_client

    @staticmethod
    def parse_config(config):
        return config

    async def check_event_allowed(self, event, state_events):
        if event.type != "m.room.message":
            return True
        rules = await self.http_client.get_json("http://rules:8080/rules")
        return event.content["body"] != rules.get("forbidden")

    async def on_create_room(self, requester, config, is_requester_admin):
        return True

    async def check_threepid_can_be_invited(self, medium, address, state_events):
        return True

class New(Old):
    def __init__(self, config, module_api):
        super().__init__(config, module_api.http_client)
"#;
    let with = |class: &str| json!({ "third_party_event_rules": { "module": format!("rules.{class}"), "config": {} } });
    let unexpected = |argument: &str| format!("__init__() got an unexpected keyword argument '{argument}'");
    let judged = || json!({ "forbidden": error(403, "M_FORBIDDEN"), "allowed": status(200), "rules asked for": 2 });
    Scenario::for_note("ThirdPartyEventRules breaking changes")
        .hop("1.21.2", "1.22.0")
        .companion("rules", companion::recorder())
        .module("rules", module)
        .fact("messages", |hs: Live| async move {
            let rules = hs.recorder("rules");
            rules.script(&json!([{ "path": "/rules", "json": { "forbidden": "no" } }])).await?;
            rules.forget().await?;
            let alice = hs.user("alice").await?;
            let lobby = alice.room("lobby", &json!({})).await?;
            let (no, yes) = (alice.say(&lobby, "no").await?, alice.say(&lobby, "yes").await?);
            Ok(json!({
                "forbidden": no.brief(),
                "allowed": yes.brief(),
                "rules asked for": rules.requests().await?.len(),
            }))
        })
        .always(judged())
        .variant("a module that expects http_client")
        .config(with("Old"))
        .fact("start", start())
        .until("1.22.0", started())
        .since("1.22.0", refused(&unexpected("module_api")))
        .step("the module expects module_api")
        .change(move |deployment| {
            deployment.config(with("New"));
        })
        .now("start", started())
        .variant("a module that expects module_api")
        .config(with("New"))
        .fact("start", start())
        .until("1.22.0", refused_with(0, &unexpected("http_client")))
        .since("1.22.0", started())
}
