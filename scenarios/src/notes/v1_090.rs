//! Synapse 1.90.0.

use harness::prelude::*;

notes!("1.90.0": appservice_legacy_authorization);

/// The homeserver says who it is to an application service by a header; by the query as well only where that is asked for.
///
/// Upstream: PRs 16017, 15964 (that the old paths are no longer tried is not in the note).
fn appservice_legacy_authorization() -> Scenario {
    let registration = json!({
        "id": "as90",
        "url": "http://appservice:8080",
        "as_token": "as-token-of-90",
        "hs_token": "hs-token-of-90",
        "sender_localpart": "as90",
        "protocols": ["proto"],
        "namespaces": {
            "users": [{ "exclusive": true, "regex": "@_as90_.*" }],
            "aliases": [{ "exclusive": true, "regex": "#_as90_.*" }],
        },
    });
    let told = |token: Option<&str>, rest: Value| -> Value {
        json!({ "header": "Bearer hs-token-of-90", "query": token, "rest of the query": rest })
    };
    let by_header = || told(None, json!([]));
    let by_both = || told(Some("hs-token-of-90"), json!([]));
    let nick = || json!([["nick", "x"]]);
    let insecure = "The use of appservice legacy authorization via query params is deprecated and should be considered";
    Scenario::for_note("App service query parameter authorization is now a configuration option")
        .hop("1.89.0", "1.90.0")
        .companion("appservice", companion::recorder())
        .config(json!({ "app_service_config_files": ["/data/as90.yaml"] }))
        .file("as90.yaml", registration.to_string())
        .fact("transaction", asked("/_matrix/app/v1/transactions/", |hs| async move { invite(&hs).await }))
        .changes(by_both(), by_header())
        .fact("user", asked("/_matrix/app/v1/users/", |hs| async move { invite(&hs).await }))
        .changes(by_both(), by_header())
        .fact("alias", asked("/_matrix/app/v1/rooms/", |hs| async move { look_up_alias(&hs).await }))
        .changes(by_both(), by_header())
        .fact(
            "protocol",
            asked("/_matrix/app/v1/thirdparty/protocol/proto", |hs| async move {
                hs.user("alice").await?.get("/_matrix/client/v3/thirdparty/protocols").await?.ok()?;
                Ok(())
            }),
        )
        .changes(by_both(), by_header())
        .fact(
            "third-party user",
            asked("/_matrix/app/v1/thirdparty/user/proto", |hs| async move {
                hs.user("alice").await?.get("/_matrix/client/v3/thirdparty/user/proto?nick=x").await?.ok()?;
                Ok(())
            }),
        )
        .changes(told(Some("hs-token-of-90"), nick()), told(None, nick()))
        .fact(
            "ping",
            asked("/_matrix/app/v1/ping", |hs| async move {
                let service = hs.anonymous().with_token("as-token-of-90");
                service.post("/_matrix/client/v1/appservice/as90/ping", &json!({})).await?.ok()?;
                Ok(())
            }),
        )
        .always(by_header())
        .fact("paths tried where the service does not know the first", |hs: Live| async move {
            let recorder = hs.recorder("appservice");
            let unknown =
                json!({ "path": "/_matrix/app/v1/rooms/.*", "status": 404, "json": { "errcode": "M_UNRECOGNIZED" } });
            recorder.script(&json!([unknown])).await?;
            recorder.forget().await?;
            look_up_alias(&hs).await?;
            recorder.script(&json!([])).await?;
            let requests = recorder.requests().await?;
            let paths: Vec<_> = requests.iter().filter_map(|request| request["path"].as_str()).collect();
            Ok(json!(paths.iter().filter(|path| path.contains("/rooms/")).collect::<Vec<_>>()))
        })
        .changes(json!(["/_matrix/app/v1/rooms/{alias}", "/rooms/{alias}"]), json!(["/_matrix/app/v1/rooms/{alias}"]))
        .fact("printed", printed())
        .always(not(contains("appservice legacy authorization")))
        .step("by the query as well", |it| {
            it.reconfigure(json!({ "use_appservice_legacy_authorization": true }))
                .now("transaction", by_both())
                .now("user", by_both())
                .now("alias", by_both())
                .now("protocol", by_both())
                .now("third-party user", told(Some("hs-token-of-90"), nick()))
                .now("printed", contains(insecure))
        })
        .step("no longer by the query", |it| it.reconfigure(json!({ "use_appservice_legacy_authorization": false })))
}

/// What the service is told of the homeserver by the request to this path that an act brings about.
fn asked<F, Fut>(path: &'static str, act: F) -> Probe
where
    F: Fn(Live) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    Probe::from(move |hs: Live| {
        let act = act.clone();
        async move {
            let recorder = hs.recorder("appservice");
            recorder.forget().await?;
            act(hs).await?;
            let request = recorder.request(path).await?;
            // A request that did not come has neither.
            let request = request.unwrap_or_default();
            let query = request["query"].as_array().into_iter().flatten();
            let (token, rest): (Vec<_>, Vec<_>) = query.partition(|pair| pair[0] == "access_token");
            Ok(json!({
                "header": request["headers"]["authorization"],
                "query": token.first().map(|pair| &pair[1]),
                "rest of the query": rest,
            }))
        }
    })
}

/// A user whom nobody knows, in the service's namespace, is invited; the service is to hear of that.
async fn invite(hs: &Live) -> Result<()> {
    let alice = hs.user("alice").await?;
    let room = escape(&alice.create_room(&json!({})).await?);
    let guest = format!("@{}:hs.test", hs.unique("_as90_guest"));
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/invite"), &json!({ "user_id": guest })).await?.ok()?;
    Ok(())
}

/// An alias in the service's namespace, which nobody has, is looked up.
async fn look_up_alias(hs: &Live) -> Result<()> {
    let alias = escape(&format!("#{}:hs.test", hs.unique("_as90_alias")));
    hs.remember("alias", &alias);
    hs.user("alice").await?.get(&format!("/_matrix/client/v3/directory/room/{alias}")).await?;
    Ok(())
}
