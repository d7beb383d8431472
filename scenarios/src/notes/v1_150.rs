//! Synapse 1.150.0.

use harness::prelude::*;

notes!("1.150.0": systemd_extra, set_displayname_deactivation, request_log_format);

/// The `systemd` extra is gone: who logs to the journal installs `systemd-python` themselves.
///
/// The package says so of itself; that a log configuration which names the journal is refused without `systemd-python` is
/// so on both sides, as the images here are made without that extra.
///
/// Upstream: PR 19491.
fn systemd_extra() -> Scenario {
    let extras = "import importlib.metadata as m, json; d = m.metadata('matrix-synapse'); print(json.dumps({\
        'extras': [e for e in d.get_all('Provides-Extra') if e == 'systemd'],\
        'requirements': [r for r in d.get_all('Requires-Dist') if r.startswith('systemd')]}))";
    let starts_with_journal = r#"
import copy, json, logging.config
config = json.load(open("/data/log.config"))
config["handlers"]["journal"] = {"class": "systemd.journal.JournalHandler", "SYSLOG_IDENTIFIER": "synapse"}
try:
    logging.config.dictConfig(config)
    print("configured")
except ValueError as error:
    print(error)
"#;
    Scenario::for_note("Removal of the `systemd` pip extra")
        .inspection()
        .hop("1.149.1", "1.150.0")
        .fact(
            "what the package offers",
            move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(extras).await?)?) },
        )
        .changes(
            json!({ "extras": ["systemd"], "requirements": [matches("^systemd-python ?(>=|\\(>=)231")] }),
            json!({ "extras": [], "requirements": [] }),
        )
        .fact("a log configuration with the journal, without systemd-python", move |hs: Live| async move {
            Ok(json!(hs.python(starts_with_journal).await?.trim()))
        })
        .always("Unable to configure handler 'journal'")
}

/// Modules need not say whether a display name is set because a user is deactivated. Who still does is told so, and what
/// they say is not passed on any more.
fn set_displayname_deactivation() -> Scenario {
    let module = r#"
from synapse.module_api import DirectServeJsonResource, UserID

class Module:
    def __init__(self, config, api):
        api.register_third_party_rules_callbacks(on_profile_update=self.on_profile_update)
        api.register_web_resource("/module/rename", Rename(self, api))
        self.told = []

    async def on_profile_update(self, user_id, profile, by_admin, deactivation):
        self.told.append({"by_admin": by_admin, "deactivation": deactivation})

class Rename(DirectServeJsonResource):
    def __init__(self, module, api):
        super().__init__()
        self.module, self.api = module, api

    async def _async_render_GET(self, request):
        asked = {key.decode(): values[0].decode() for key, values in request.args.items()}
        named = {"deactivation": asked["deactivation"] == "True"} if "deactivation" in asked else {}
        third = [asked["third"] == "True"] if "third" in asked else []
        self.module.told.clear()
        await self.api.set_displayname(UserID.from_string(asked["user"]), asked["name"], *third, **named)
        return 200, {"told": self.module.told}
"#;
    let told = |deactivation: bool, logged: Value| {
        let told = json!([{ "by_admin": true, "deactivation": deactivation }]);
        json!({ "display name": "{new name}", "a callback is told": told, "logged": logged })
    };
    let deprecated = |value: &str| {
        json!([matches(&format!(
            "^synapse.module_api - [0-9]+ - ERROR - .*Deprecated `deactivation` parameter passed to `set_displayname` \
             Module API \\(value: {value}\\). This will break in 2027.$"
        ))])
    };
    Scenario::for_note("Module API: Deprecation of the `deactivation` parameter in the `set_displayname` method")
        .disagreement("`set_displayname` works as before", "since 1.150.0 the value of `deactivation` is ignored")
        .hop("1.149.1", "1.150.0")
        .module("rename", module)
        .config(json!({ "modules": [{ "module": "rename.Module" }] }))
        .log_error("^synapse.module_api - [0-9]+ - ERROR - .*Deprecated `deactivation` parameter")
        .fact("the module does not say", rename(""))
        .always(told(false, json!([])))
        .fact("the module says False", rename("&deactivation=False"))
        .changes(told(false, json!([])), told(false, deprecated("False")))
        .fact("the module says True", rename("&deactivation=True"))
        .changes(told(true, json!([])), told(false, deprecated("True")))
        .fact("the module says True, and does not name it", rename("&third=True"))
        .changes(told(true, json!([])), told(false, deprecated("True")))
}

/// The module renames a user: what her name is then, what it is told of that itself, what is logged meanwhile.
fn rename(said: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let name = hs.unique("Alice");
        hs.remember("new name", &name);
        let before = hs.log_lines("`deactivation`").await?.len();
        let path = format!("/module/rename?user={}&name={name}{said}", escape(alice.id()));
        let told = hs.anonymous().get(&path).await?.ok()?.json()?["told"].clone();
        let profile = alice.get(&format!("/_matrix/client/v3/profile/{}", escape(alice.id()))).await?;
        let logged = &hs.log_lines("`deactivation`").await?[before..];
        Ok(json!({ "display name": profile.field("displayname")?, "a callback is told": told, "logged": logged }))
    })
}

/// The figures in the line of a request say what they are: `ru=` and `db=`.
///
/// Upstream: PR 19548.
fn request_log_format() -> Scenario {
    let line = |usage: &str, database: &str| {
        json!([matches(&format!(
            r#"^synapse.access.http.8008 - [0-9]+ - INFO - .*Processed request: [0-9.]+sec/-?[0-9.]+sec {usage}\([0-9.]+sec, [0-9.]+sec\) {database}\([0-9.]+sec/[0-9.]+sec/[0-9]+\) [0-9]+B 200 "GET /_matrix/client/versions"#
        ))])
    };
    Scenario::for_note("Updated request log format (`Processed request: ...`)")
        .hop("1.149.1", "1.150.0")
        .fact("the line of a request", |hs: Live| async move {
            let marker = hs.unique("marker");
            hs.anonymous().get(&format!("/_matrix/client/versions?{marker}")).await?.ok()?;
            Ok(json!(hs.log_lines(&marker).await?))
        })
        .changes(line("", ""), line("ru=", "db="))
}
