//! Synapse 1.22.0.

use harness::prelude::*;

notes!("1.22.0": third_party_rules_module_api);

/// Modules with third-party event rules are given a `ModuleApi` in place of an HTTP client, and find the same client there.
///
/// Upstream: PRs 7964, 8292.
fn third_party_rules_module_api() -> Scenario {
    let module = r#"
class Old:
    def __init__(self, config, http_client):
        self.http_client = http_client
        self.given = {"client": type(http_client).__name__, "list": config["list"]}

    @staticmethod
    def parse_config(config):
        return config

    async def check_event_allowed(self, event, state_events):
        if event.type != "m.room.message":
            return True
        rules = await self.http_client.get_json("http://rules:8080/rules", self.given)
        return event.content["body"] != rules.get("forbidden")

    async def on_create_room(self, requester, config, is_requester_admin):
        return config.get("topic") != "no"

    async def check_threepid_can_be_invited(self, medium, address, state_events):
        return address != "no@example.test"

class New(Old):
    def __init__(self, config, module_api):
        super().__init__(config, module_api.http_client)
        self.given["api"] = type(module_api).__name__
        self.given["user"] = module_api.get_qualified_user_id("somebody")
"#;
    let with = |class: &str| {
        let config = json!({ "list": "of what is forbidden" });
        json!({ "third_party_event_rules": { "module": format!("rules.{class}"), "config": config } })
    };
    let unexpected = |argument: &str| format!("__init__() got an unexpected keyword argument '{argument}'");
    let given = "what the module is given";
    let with_api = || {
        json!({
            "api": "ModuleApi",
            "client": "SimpleHttpClient",
            "list": "of what is forbidden",
            "user": "@somebody:hs.test",
        })
    };
    let judged = || {
        let forbidden = refusal(403, "M_FORBIDDEN", "This event is not allowed in this context");
        json!({ "forbidden": forbidden, "allowed": status(200), "rules asked for": 2 })
    };
    let room = |topic: &str| post("/_matrix/client/r0/createRoom", json!({ "topic": topic })).by("alice").refusal();
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
                "forbidden": no.refusal(),
                "allowed": yes.brief(),
                "rules asked for": rules.requests().await?.len(),
            }))
        })
        .always(judged())
        .fact("a room", room("yes"))
        .always(status(200))
        .fact("a room that is forbidden", room("no"))
        .until("1.39.0", refusal(403, "M_FORBIDDEN", "You are not permitted to create rooms"))
        // Such modules are wrapped since #10386.
        .since("1.39.0", refusal(403, "M_UNKNOWN", "Room creation forbidden with these parameters"))
        .fact("inviting an address that is forbidden", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let path = format!("/_matrix/client/r0/rooms/{}/invite", alice.room("lobby", &json!({})).await?);
            let address = json!({ "medium": "email", "address": "no@example.test", "id_server": "is.test", "id_access_token": "t" });
            Ok(alice.post(&path, &address).await?.refusal())
        })
        .always(refusal(403, "M_FORBIDDEN", "This third-party identifier can not be invited in this room"))
        .begin_variant("a module that expects http_client")
        .config(with("Old"))
        .fact(given, what_is_given())
        .always(json!({ "client": "SimpleHttpClient", "list": "of what is forbidden" }))
        .fact("start", start())
        .changes(started(), refused(&unexpected("module_api")))
        .begin_step("the module expects module_api")
        .change(move |deployment| {
            deployment.config(with("New"));
        })
        .now("start", started())
        .now(given, with_api())
        .begin_variant("a module that expects module_api")
        .config(with("New"))
        .fact(given, what_is_given())
        .always(with_api())
        .fact("start", start())
        .changes(refused_with(0, &unexpected("http_client")), started())
}

/// What the module says that it was given, when it asks for its rules.
fn what_is_given() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, rules) = (hs.user("alice").await?, hs.recorder("rules"));
        rules.script(&json!([{ "path": "/rules", "json": {} }])).await?;
        rules.forget().await?;
        let lobby = alice.room("lobby", &json!({})).await?;
        alice.say(&lobby, "hello").await?.ok()?;
        let requests = rules.requests().await?;
        let query = requests.first().and_then(|request| request["query"].as_array()).into_iter().flatten();
        Ok(query.filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].clone()))).collect())
    })
}
