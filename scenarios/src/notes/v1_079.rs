//! Synapse 1.79.0.

use std::collections::BTreeSet;

use harness::prelude::*;

notes!("1.79.0": on_threepid_bind_deprecated);

/// Modules learn of an address that is added to a user, and of one that is removed, by callbacks of new names. The old one goes
/// on, and nothing is said of its age.
fn on_threepid_bind_deprecated() -> Scenario {
    let module = r#"
import json, logging

class Old:
    names = ["on_threepid_bind"]

    def __init__(self, config, api):
        self.register(api, self.names)

    def register(self, api, names):
        api.register_third_party_rules_callbacks(**{name: self.note(name) for name in names})

    def note(self, name):
        async def called(*arguments):
            logging.getLogger("threepids").info("%s called %s", type(self).__name__, json.dumps([name, *arguments]))
        return called

class New(Old):
    names = ["on_add_user_third_party_identifier", "on_remove_user_third_party_identifier"]

class Failing(New):
    def __init__(self, config, api):
        try:
            self.register(api, self.names)
        except TypeError:
            pass

    def note(self, name):
        async def called(*arguments):
            raise RuntimeError(name)
        return called

class Both(New):
    """Knows old and new releases."""

    def __init__(self, config, api):
        try:
            self.register(api, self.names + Old.names)
        except TypeError:
            self.register(api, Old.names)
"#;
    let module_of = |class: &str| json!({ "module": format!("threepids.{class}"), "config": {} });
    let call = |name: &str| json!([name, "@bob:hs.test", "email", "{address}"]);
    let call_of_number = |name: &str| json!([name, "@bob:hs.test", "msisdn", "{address}"]);
    let of_number = "a module with old and new callbacks, of a telephone number";
    let of_owner = "a module with old and new callbacks, of an address that its owner removes";
    let failures = "callbacks whose failure is logged";
    let (old, add, remove) =
        ("on_threepid_bind", "on_add_user_third_party_identifier", "on_remove_user_third_party_identifier");
    let nothing = || json!({ "added": [], "removed": [] });
    Scenario::for_note("The `on_threepid_bind` module callback method has been deprecated")
        .hop("1.78.0", "1.79.0")
        .module("threepids", module)
        // The new callbacks of the first fail, which is nothing to the others.
        .config(json!({ "modules": [module_of("Failing"), module_of("Old"), module_of("Both")] }))
        .log_error(FAILURE)
        .fact("a module with the old callback", calls("Old", "email", "admin"))
        .always(json!({ "added": [call(old)], "removed": [] }))
        .fact("a module with old and new callbacks", calls("Both", "email", "admin"))
        .changes(
            json!({ "added": [call(old)], "removed": [] }),
            json!({ "added": [call(add), call(old)], "removed": [call(remove)] }),
        )
        .fact(of_number, calls("Both", "msisdn", "admin"))
        .changes(
            json!({ "added": [call_of_number(old)], "removed": [] }),
            json!({ "added": [call_of_number(add), call_of_number(old)], "removed": [call_of_number(remove)] }),
        )
        .fact(of_owner, calls("Both", "email", "bob"))
        .changes(
            json!({ "added": [call(old)], "removed": [] }),
            json!({ "added": [call(add), call(old)], "removed": [call(remove)] }),
        )
        .fact(failures, |hs: Live| async move {
            let lines = hs.log_lines(FAILURE).await?;
            let names = lines.iter().filter_map(|line| line.rsplit_once(": "));
            Ok(json!(names.map(|(_, name)| name).collect::<BTreeSet<_>>()))
        })
        .changes(json!([]), json!([add, remove]))
        .fact("a module with the new callbacks", calls("New", "email", "admin"))
        .always(nothing())
        .fact("what the server prints", printed())
        .always("")
        .fact("what the log says of the old callback", |hs: Live| async move {
            let lines = hs.log_lines("on_threepid_bind").await?;
            Ok(json!(lines.iter().filter(|line| !line.contains(" called [")).collect::<Vec<_>>()))
        })
        .always(json!([]))
        .step("the module is ported", |it| {
            it.unset("modules")
                .reconfigure(json!({ "modules": [module_of("New")] }))
                .now("a module with the old callback", nothing())
                .now("a module with old and new callbacks", nothing())
                .now(of_number, nothing())
                .now(of_owner, nothing())
                .now(failures, json!([]))
                .now("a module with the new callbacks", json!({ "added": [call(add)], "removed": [call(remove)] }))
        })
}

/// What the log says of a callback of the module whose callbacks fail.
const FAILURE: &str = "Failed to run module API callback <function Failing.note";

/// How a module's callbacks are called when an admin adds an address of this kind to Bob, and when it is taken away again,
/// by the admin or by Bob himself.
fn calls(class: &'static str, medium: &'static str, removed_by: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (admin, bob) = (hs.admin().await?, hs.user("bob").await?);
        let address = match medium {
            "email" => format!("{}@example.test", hs.unique("bob")),
            _ => hs.unique("491710000"),
        };
        hs.remember("address", &address);
        let path = format!("/_synapse/admin/v2/users/{}", escape(bob.id()));
        let marker = format!("{class} called ");
        let mut seen = 0;
        let mut shown = json!({});
        let own = json!({ "medium": medium, "address": address });
        for step in ["added", "removed"] {
            let deed = match (step, removed_by) {
                ("added", _) => admin.put(&path, &json!({ "threepids": [own] })),
                (_, "bob") => bob.post("/_matrix/client/v3/account/3pid/delete", &own),
                _ => admin.put(&path, &json!({ "threepids": [] })),
            };
            deed.await?.ok()?;
            let lines = hs.log_lines(&marker).await?;
            let calls = lines.iter().filter(|line| line.contains(&address)).skip(seen);
            let calls: Vec<Value> =
                calls.filter_map(|line| serde_json::from_str(line.split_once(&marker)?.1).ok()).collect();
            seen += calls.len();
            shown[step] = json!(calls);
        }
        Ok(shown)
    })
}
