//! Synapse 1.136.0.

use std::collections::BTreeSet;

use harness::prelude::*;

use crate::kit::mas;

notes!("1.136.0": module_background_process, federation_pdu_time_labels, authentication_service);

const STARTED: &str = "synapse_background_process_start_count_total";

/// Modules begin background work by a method of the API, which knows whose work it is. The function still does, and is told
/// to be old.
fn module_background_process() -> Scenario {
    let function = r#"
import logging
from synapse.module_api import run_as_background_process

logger = logging.getLogger(__name__)

async def work(what, why):
    logger.info("the function's work: %s %s", what, why)

class Module:
    def __init__(self, config, api):
        returned = run_as_background_process("module:function", work, "this", why="for that")
        logger.info("the function returns a %s", type(returned).__name__)
"#;
    let method = r#"
import logging

logger = logging.getLogger(__name__)

async def work(what, why):
    logger.info("the method's work: %s %s", what, why)

class Module:
    def __init__(self, config, api):
        returned = api.run_as_background_process("module:method", work, "this", why="for that")
        logger.info("the method returns a %s", type(returned).__name__)
"#;
    let old = "Using deprecated `run_as_background_process` that's exported from the Module API. Prefer \
               `ModuleApi.run_as_background_process` instead.";
    let nobody = "synapse_module_running_from_unknown_server";
    let labels = |name: &str, server: &str| json!([{ "labels": format!("name=\"module:{name}\",server_name=\"{server}\""), "times": 1.0 }]);
    Scenario::for_note(
        "Deprecate `run_as_background_process` exported as part of the module API interface in favor of `ModuleApi.run_as_background_process`",
    )
    .hop("1.135.0", "1.136.0")
    .config(json!({ "enable_metrics": true }))
    .listener(metrics_listener())
    .fact("what is logged", log_lines("Using deprecated `run_as_background_process`"))
    .always(json!([]))
    .variant("function", |it| {
        it.module("function", function)
            .config(json!({ "modules": [{ "module": "function.Module" }] }))
            .fact("its work", log_lines("the function's work:"))
            .always(json!([matches("the function's work: this for that$")]))
            .fact("what it returns", log_lines("the function returns"))
            .always(json!([matches("the function returns a Deferred$")]))
            .fact("its metric", counted("name=\"module:function\""))
            .changes(json!([{ "labels": "name=\"module:function\"", "times": 1.0 }]), labels("function", nobody))
            .fact("labels of all metrics of background processes", |hs: Live| async move {
                let metrics = hs.metrics("main:9000", "/metrics").await?;
                let names = metrics.names().into_iter().filter(|name| name.starts_with("synapse_background_process_"));
                let samples = names.flat_map(|name| metrics.of(name));
                Ok(json!(samples.map(|it| label_names(&it.labels)).collect::<BTreeSet<_>>()))
            })
            .changes(json!([["name"]]), json!([["name", "server_name"]]))
            .fact("what is logged", log_lines("Using deprecated `run_as_background_process`"))
            .changes(
                json!([]),
                json!([matches(&format!("^synapse.module_api - [0-9]+ - WARNING - .*{old}$"))]),
            )
    })
    .variant("method", |it| {
        it.module("method", method)
            .config(json!({ "modules": [{ "module": "method.Module" }] }))
            .fact("start", start())
            .changes(
                refused("AttributeError: 'ModuleApi' object has no attribute 'run_as_background_process'"),
                started(),
            )
            .fact("its work", log_lines("the method's work:"))
            .changes(json!([]), json!([matches("the method's work: this for that$")]))
            .fact("what it returns", log_lines("the method returns"))
            .changes(json!([]), json!([matches("the method returns a Deferred$")]))
            .fact("its metric", counted("name=\"module:method\""))
            .changes(json!([]), labels("method", "hs.test"))
    })
}

/// The samples of background processes begun that have this label.
fn counted(label: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let metrics = hs.metrics("main:9000", "/metrics").await?;
        let samples = metrics.of(STARTED).filter(|sample| sample.labels.contains(label));
        Ok(json!(samples.map(|it| json!({ "labels": it.labels, "times": it.value })).collect::<Vec<_>>()))
    })
}

/// The names in `a="x",b="y"`.
fn label_names(labels: &str) -> Vec<&str> {
    labels.split("\",").filter_map(|label| label.split_once('=').map(|(name, _)| name)).collect()
}

/// Metrics of other servers name them `origin_server_name` or `destination_server_name`; `server_name` stays, and is this
/// server itself.
///
/// Upstream: PR 18725.
fn federation_pdu_time_labels() -> Scenario {
    let metric = |labels: &str| json!([{ "labels": labels, "a time": true }]);
    let before = || metric("server_name=\"peer.test\"");
    Scenario::for_note(
        "Metric labels have changed on `synapse_federation_last_received_pdu_time` and `synapse_federation_last_sent_pdu_time`",
    )
    .hop("1.135.0", "1.136.0")
    .config(json!({ "enable_metrics": true, "federation_metrics_domains": ["peer.test"] }))
    .listener(metrics_listener())
    .peer("peer.test", json!({}))
    .seed(|hs| async move {
        let room = hs.user("alice").await?.room("hall", &json!({ "preset": "public_chat" })).await?;
        let bob = hs.peer("peer.test")?.user("bob").await?;
        bob.post(&format!("/_matrix/client/v3/join/{}?server_name=hs.test", escape(&room)), &json!({})).await?.ok()?;
        Ok(())
    })
    .fact("sent", |hs: Live| async move {
        let room = hs.recall("hall")?;
        hs.user("alice").await?.say(&room, "hello").await?.ok()?;
        times(&hs, "synapse_federation_last_sent_pdu_time").await
    })
    .changes(before(), metric("destination_server_name=\"peer.test\",server_name=\"hs.test\""))
    .fact("received", |hs: Live| async move {
        let room = hs.recall("hall")?;
        hs.peer("peer.test")?.user("bob").await?.say(&room, "hello").await?.ok()?;
        times(&hs, "synapse_federation_last_received_pdu_time").await
    })
    .changes(before(), metric("origin_server_name=\"peer.test\",server_name=\"hs.test\""))
}

/// The samples of a metric, which is there once a message has come or gone, and has a time in it.
async fn times(hs: &Live, metric: &str) -> Result<Value> {
    let look = || hs.metrics("main:9000", "/metrics");
    let metrics = eventually(look, |seen| seen.of(metric).any(|sample| sample.value > 0.0)).await?;
    let shown =
        metrics.of(metric).map(|it| json!({ "labels": it.labels, "a time": (1.7e9..1e11).contains(&it.value) }));
    Ok(json!(shown.collect::<Vec<_>>()))
}

/// Users may sign in elsewhere by a stable section. The experimental one goes on as it was; both together are refused, and so are
/// passwords beside it.
///
/// The authentication service is a stand-in that speaks the real one's protocol.
///
/// Upstream: PR 18520.
fn authentication_service() -> Scenario {
    let gone = || refusal(404, "M_UNRECOGNIZED", "Unrecognized request");
    let (provision, stranger, token) =
        ("a user whom the service makes", "a user whom somebody else makes", "whom a session's token is for");
    let (login, keys, metadata, asked, accounts) = (
        "ways to log in",
        "what is said of the homeserver's keys",
        "where users sign in",
        "how the homeserver asks for a token",
        "where users and admins managed accounts",
    );
    let by_service = || refusal(403, "M_UNKNOWN", "This endpoint must only be called by MAS");
    let nowhere = || no_such_path(404);
    let issuer = || json!({ "status": 200, "body": { "issuer": "http://mas:8080/" } });
    let bearer = || json!({ "authorization": "Bearer secret", "in the form": ["token"] });
    let in_form = || json!({ "authorization": null, "in the form": ["client_id", "client_secret", "token"] });
    let stranger_makes = || {
        post("/_synapse/mas/provision_user", json!({ "localpart": "dave" }))
            .header("authorization", "Bearer guessed")
            .refusal()
    };
    Scenario::for_note("Stable integration with Matrix Authentication Service")
        .hop("1.135.0", "1.136.0")
        .variant("the stable section", |it| {
            let stable = mas::beside(it)
                .alone("others are told of the service in another way")
                .config(mas::by_section())
                .fact(provision, mas::makes())
                .changes(json!({ "user": gone(), "device": gone() }), mas::made())
                .fact(stranger, stranger_makes())
                .changes(gone(), by_service())
                .fact(token, session())
                .changes(refusal(401, "M_UNKNOWN_TOKEN", "Invalid access token passed."), "its user")
                .fact(
                    "whom an unknown token is for",
                    |hs: Live| async move { mas::whoami(&hs, &hs.unique("nobody")).await },
                )
                .changes(
                    refusal(401, "M_UNKNOWN_TOKEN", "Invalid access token passed."),
                    refusal(401, "M_UNKNOWN_TOKEN", "Token is not active"),
                )
                .fact(asked, introspection())
                .changes(Value::Null, bearer())
                .fact(login, get("/_matrix/client/v3/login").refusal())
                .changes(status(200), gone())
                .fact(accounts, mas::account_paths())
                .changes(mas::managed(), mas::unmanaged())
                .fact(metadata, get("/_matrix/client/unstable/org.matrix.msc2965/auth_issuer").body())
                .changes(nowhere(), issuer())
                // Removed in #20163.
                .since("1.161.0", nowhere())
                .fact(keys, get("/_synapse/jwks").refusal())
                .always(gone())
                .fact("start", start())
                .always(started());
            written_otherwise(by_scope(announced(stable)))
        })
        .variant("the stable section, switched off", |it| {
            let off = json!({ "enabled": false, "endpoint": "http://mas:8080", "secret": "secret" });
            it.config(json!({ "matrix_authentication_service": off }))
                .fact(login, get("/_matrix/client/v3/login").refusal())
                .always(status(200))
        })
        .variant("the experimental section", |it| {
            mas::beside(it)
                .alone("others are told of the service in another way")
                .config(mas::by_msc3861())
                .seed(mas::carol_signs_in)
                .fact(provision, mas::makes())
                .always(mas::made())
                .fact(stranger, stranger_makes())
                .always(by_service())
                .fact(token, session())
                .always("its user")
                .fact(asked, introspection())
                .always(in_form())
                .fact(keys, get("/_synapse/jwks").refusal())
                .always(status(200))
                .fact(accounts, mas::account_paths())
                .always(mas::unmanaged())
                .fact("whom Carol's token is for", mas::carol())
                .always(mas::is_carol())
                // Removed in #19895.
                .fact("start", start())
                .until("1.157.0", started())
                .since("1.157.0", refused("experimental_features.msc3861 was removed."))
                .step("the stable section instead", |it| {
                    it.unset("experimental_features")
                        .reconfigure(mas::by_section())
                        .now("start", started())
                        .now(asked, bearer())
                        .now(keys, gone())
                })
        })
}

/// Clients are told of the service, too.
fn announced(stable: Scenario) -> Scenario {
    let service = json!({ "issuer": "http://mas:8080/", "account": "http://mas:8080/account/" });
    stable
        .config(json!({ "public_baseurl": "http://hs.test/" }))
        .fact(
            "where users sign in and manage accounts, by .well-known",
            get("/.well-known/matrix/client").field("/org.matrix.msc2965.authentication"),
        )
        .changes(Value::Null, service)
        // What it was called before it was specified went once more.
        .since("1.164.0rc1", Value::Null)
        .fact(
            "where users sign in, by the service's metadata",
            get("/_matrix/client/unstable/org.matrix.msc2965/auth_metadata").field("/issuer"),
        )
        .changes(Value::Null, "http://mas:8080/")
        .since("1.164.0rc1", Value::Null)
}

/// What a session may do is said by its scope.
fn by_scope(stable: Scenario) -> Scenario {
    let unknown = || refusal(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.");
    stable
        .fact("who may list users", lists_users())
        .changes(
            json!({ "with an admin's scope": unknown(), "without it": unknown() }),
            json!({
                "with an admin's scope": status(200),
                "without it": refusal(403, "M_FORBIDDEN", "You are not a server admin"),
            }),
        )
        .fact("whom a token without the scope of the API is for", out_of_scope())
        .changes(unknown(), refusal(401, "M_UNKNOWN_TOKEN", "Token doesn't grant access to the Matrix C-S API"))
}

/// A user lists all users, in a session with an admin's scope and in one without it.
fn lists_users() -> Probe {
    Probe::from(|hs: Live| async move {
        let localpart = hs.unique("lister");
        mas::provision(&hs, &localpart).await?;
        let list = async |admin: bool| -> Result<Value> {
            let session = json!({ "username": localpart, "device_id": "PHONE", "admin": admin });
            let token = hs.authentication_service("mas").sign_in_as(&session).await?;
            Ok(hs.anonymous().with_token(&token).get("/_synapse/admin/v2/users?guests=false").await?.refusal())
        };
        Ok(json!({ "with an admin's scope": list(true).await?, "without it": list(false).await? }))
    })
}

/// Whom a token is for that says who somebody is, and no more.
fn out_of_scope() -> Probe {
    Probe::from(|hs: Live| async move {
        let (localpart, token) = (hs.unique("reader"), hs.unique("narrow"));
        mas::provision(&hs, &localpart).await?;
        let said = json!({ "active": true, "scope": "openid", "username": localpart });
        let rule = json!({ "path": "/oauth2/introspect", "body": token, "json": said });
        hs.authentication_service("mas").recorder().script(&json!([rule])).await?;
        mas::whoami(&hs, &token).await
    })
}

/// The stable section with its secret elsewhere, and beside what it refuses.
fn written_otherwise(stable: Scenario) -> Scenario {
    let both = "Error in configuration at 'experimental.msc3861': Experimental MSC3861 was replaced by Matrix Authentication \
                Service.Please disable MSC3861 or disable Matrix Authentication Service.";
    let passwords = "Error in configuration at 'password_config.enabled': Password auth cannot be enabled when OAuth \
                     delegation is enabled";
    let registration = "Error in configuration at 'enable_registration': Registration cannot be enabled when OAuth delegation is \
                        enabled";
    let sso = "Error in configuration: SSO cannot be enabled when OAuth delegation is enabled";
    let addresses = "Error in configuration at 'enable_3pid_changes': enable_3pid_changes cannot be enabled when OAuth \
                     delegation is enabled";
    let provider = json!({
        "idp_id": "other",
        "idp_name": "Another",
        "issuer": "http://mas:8080/",
        "client_id": "synapse",
        "client_secret": "secret",
    });
    stable
        .step("nothing said of passwords", |it| it.unset("password_config"))
        .step("the secret in a file of its own", |it| {
            let section = json!({ "enabled": true, "endpoint": "http://mas:8080", "secret_path": "/data/mas-secret" });
            it.file("mas-secret", "secret")
                .unset("matrix_authentication_service")
                .reconfigure(json!({ "matrix_authentication_service": section }))
        })
        .step("passwords beside it", |it| {
            it.reconfigure(json!({ "password_config": { "enabled": true } })).now("start", refused(passwords))
        })
        .step("open registration beside it", |it| {
            it.reconfigure(json!({ "password_config": { "enabled": false }, "enable_registration": true }))
                .now("start", refused(registration))
        })
        .step("another way to sign in beside it", |it| {
            it.reconfigure(json!({ "enable_registration": false, "oidc_providers": [provider] }))
                .now("start", refused(sso))
        })
        .step("addresses that users change beside it", |it| {
            it.unset("oidc_providers")
                .reconfigure(json!({ "enable_3pid_changes": true }))
                .now("start", refused(addresses))
        })
        .step("the experimental section beside it", |it| {
            it.unset("enable_3pid_changes").reconfigure(mas::by_msc3861()).now("start", refused(both)).now_since(
                "1.157.0",
                "start",
                refused("experimental_features.msc3861 was removed."),
            )
        })
}

/// Whom the token of a new session is for.
fn session() -> Probe {
    Probe::from(|hs: Live| async move {
        let localpart = hs.unique("session");
        mas::provision(&hs, &localpart).await?;
        let token = hs.authentication_service("mas").sign_in(&localpart, "PHONE").await?;
        let shown = mas::whoami(&hs, &token).await?;
        Ok(if shown["user"] == format!("@{localpart}:hs.test") { json!("its user") } else { shown })
    })
}

/// How the homeserver proves to the service who it is when it asks for a token; `null` where it does not ask.
fn introspection() -> Probe {
    Probe::from(|hs: Live| async move {
        let service = hs.authentication_service("mas");
        service.recorder().forget().await?;
        mas::whoami(&hs, &hs.unique("nobody")).await?;
        let requests = service.recorder().requests().await?;
        let Some(asked) = requests.iter().find(|request| request["path"] == "/oauth2/introspect") else {
            return Ok(Value::Null);
        };
        let body = asked["body"].as_str().unwrap_or_default();
        let known = ["client_id", "client_secret", "token"];
        let fields: Vec<_> =
            known.into_iter().filter(|field| body.split('&').any(|it| it.starts_with(&format!("{field}=")))).collect();
        Ok(json!({ "authorization": asked["headers"].get("authorization"), "in the form": fields }))
    })
}
