//! Synapse 1.139.0.

use harness::prelude::*;

notes!("1.139.0": appservice_inhibit_login);

/// Where users log in elsewhere, an application service that registers them has to say that it wants no login. Before, it got
/// none without a word.
///
/// The authentication service is not asked anything here, so none runs.
///
/// Upstream: PR 18946.
fn appservice_inhibit_login() -> Scenario {
    // The code of the specification, since #20180.
    let (old, new) = ("IO.ELEMENT.MSC4190.M_APPSERVICE_LOGIN_UNSUPPORTED", "M_APPSERVICE_LOGIN_UNSUPPORTED");
    let oauth = |errcode: &str| {
        let error =
            "This server uses OAuth2, so the inhibit_login parameter must be set to true for appservice registrations.";
        json!({ "status": 400, "errcode": errcode, "error": error })
    };
    let msc4190 = |errcode: &str| {
        let error = "This appservice has MSC4190 enabled, so the inhibit_login parameter must be set to true.";
        json!({ "status": 400, "errcode": errcode, "error": error })
    };
    let no_login = |errcode: &str| json!({ "status": 400, "errcode": errcode, "error": anything() });
    let in_use = || refusal(400, "M_USER_IN_USE", "User ID already taken");
    let registered = || json!({ "status": 200, "keys": ["user_id"] });
    let registered_here = || json!({ "status": 200, "keys": ["home_server", "user_id"] });
    let logged_in = || json!({ "status": 200, "keys": ["access_token", "device_id", "home_server", "user_id"] });
    let mas = json!({ "enabled": true, "endpoint": "http://127.0.0.1:1", "secret": "secret" });
    Scenario::for_note("`/register` requests from old application service implementations may break when using MAS")
        .disagreement(
            "requests may break when using MAS",
            "those of a service with `io.element.msc4190` break without MAS as well, and after the user was made",
        )
        .hop("1.138.4", "1.139.0")
        .variant("users log in elsewhere", |it| {
            it.config(json!({ "matrix_authentication_service": mas, "password_config": { "enabled": false } }))
                .config(json!({ "app_service_config_files": ["/data/plain.yaml"] }))
                .file("plain.yaml", service("plain", false))
                .without_estate("its owners could not log in")
                .fact("it does not say", register("plain", Value::Null))
                .changes(registered(), oauth(old))
                .since("1.161.0", oauth(new))
                .fact("it wants a login", register("plain", json!(false)))
                .changes(registered(), oauth(old))
                .since("1.161.0", oauth(new))
                .fact("it wants none", register("plain", json!(true)))
                .always(registered())
                .fact("it wants none, at the second try", again("plain"))
                .changes(in_use(), registered())
        })
        .variant("users log in here", |it| {
            it.config(json!({ "app_service_config_files": ["/data/plain.yaml", "/data/msc4190.yaml"] }))
                .file("plain.yaml", service("plain", false))
                .file("msc4190.yaml", service("msc4190", true))
                .fact("a plain service does not say", register("plain", Value::Null))
                .always(logged_in())
                .fact("a plain service wants none", register("plain", json!(true)))
                .always(registered_here())
                .fact("a service with MSC4190 does not say", register("msc4190", Value::Null))
                .changes(registered_here(), msc4190(old))
                .since("1.161.0", msc4190(new))
                .fact("a service with MSC4190 wants a login", register("msc4190", json!(false)))
                .changes(registered_here(), msc4190(old))
                .since("1.161.0", msc4190(new))
                .fact("a service with MSC4190 wants none", register("msc4190", json!(true)))
                .always(registered_here())
                .fact("a service with MSC4190 wants none, at the second try", again("msc4190"))
                .always(in_use())
                .fact("login by a plain service", login("plain"))
                .always(logged_in())
                .fact("login by a service with MSC4190", login("msc4190"))
                .changes(logged_in(), no_login(old))
                .since("1.161.0", no_login(new))
        })
}

/// The registration of a service that has the users `@_NAME_…`.
fn service(name: &str, msc4190: bool) -> String {
    let mut registration = json!({
        "id": name,
        "url": null,
        "as_token": format!("token-of-{name}"),
        "hs_token": format!("secret-of-{name}"),
        "sender_localpart": name,
        "namespaces": { "users": [{ "exclusive": true, "regex": format!("@_{name}_.*") }] },
    });
    if msc4190 {
        registration["io.element.msc4190"] = json!(true);
    }
    registration.to_string()
}

async fn ask(hs: &Live, service: &str, path: &str, mut body: Value) -> Result<Value> {
    body["type"] = json!("m.login.application_service");
    let client = hs.anonymous().with_token(&format!("token-of-{service}"));
    let answer = client.post(&format!("/_matrix/client/v3/{path}"), &body).await?;
    if answer.status() != 200 {
        return Ok(answer.refusal());
    }
    let keys: std::collections::BTreeSet<_> =
        answer.json()?.as_object().into_iter().flatten().map(|it| it.0.clone()).collect();
    Ok(json!({ "status": 200, "keys": keys }))
}

fn body(name: &str, inhibit: &Value) -> Value {
    let mut body = json!({ "username": name });
    if !inhibit.is_null() {
        body["inhibit_login"] = inhibit.clone();
    }
    body
}

/// A service registers somebody new, and says or does not say that it wants no login.
fn register(service: &'static str, inhibit: Value) -> Probe {
    Probe::from(move |hs: Live| {
        let inhibit = inhibit.clone();
        async move {
            let name = hs.unique(&format!("_{service}_"));
            ask(&hs, service, "register", body(&name, &inhibit)).await
        }
    })
}

/// It registers somebody without saying, and again wanting no login: what it is answered then.
fn again(service: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let name = hs.unique(&format!("_{service}_"));
        ask(&hs, service, "register", body(&name, &Value::Null)).await?;
        ask(&hs, service, "register", body(&name, &json!(true))).await
    })
}

/// It logs in as somebody whom it registered without a login.
fn login(service: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let name = hs.unique(&format!("_{service}_"));
        ask(&hs, service, "register", body(&name, &json!(true))).await?;
        ask(&hs, service, "login", json!({ "identifier": { "type": "m.id.user", "user": name } })).await
    })
}
