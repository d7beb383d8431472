//! Synapse 1.81.0.

use harness::prelude::*;

use crate::kit::bridge::{self, Bridge as _};

notes!("1.81.0": application_service_paths);

/// Application services are asked on the paths of the specification, and on the old ones only if they do not know these.
///
/// Upstream: PR 15317. The service `modern` knows all paths, `legacy` the old ones; `strict` knows no alias.
fn application_service_paths() -> Scenario {
    let registration = |name: &str| {
        json!({
            "namespaces": {
                "aliases": [{ "exclusive": true, "regex": format!("#{name}_.*") }],
                "users": [{ "exclusive": true, "regex": format!("@{name}_.*") }],
            },
            "protocols": [name],
        })
    };
    let (v1, unstable) = ("/_matrix/app/v1", "/_matrix/app/unstable");
    let alias = |prefix: &str, name: &str| format!("GET {prefix}/rooms/%23{name}_room%3Ahs.test");
    let user = |prefix: &str, name: &str| format!("GET {prefix}/users/%40{name}_nobody%3Ahs.test");
    let elsewhere = |prefix: &str, name: &str| format!("GET {prefix}/thirdparty/user/{name}");
    let protocol = |prefix: &str, name: &str| format!("GET {prefix}/thirdparty/protocol/{name}");
    let by_both = || json!([[["access_token", "modern-secret"]], "Bearer modern-secret"]);
    let by_header = || json!([[], "Bearer modern-secret"]);
    let transaction = |prefix: &str| format!("PUT {prefix}/transactions/{{number}}");
    Scenario::for_note("Application service path & authentication deprecations")
        .hop("1.80.0", "1.81.0")
        .bridge("modern", registration("modern"))
        .bridge("legacy", registration("legacy"))
        .bridge("strict", registration("strict"))
        .fact("an alias", asked_for_alias("modern"))
        .changes(json!([alias("", "modern")]), json!([alias(v1, "modern")]))
        .fact("a protocol", asked_for_protocol("modern"))
        .changes(json!([protocol(unstable, "modern")]), json!([protocol(v1, "modern")]))
        .fact("a user of another network", asked_for_users_elsewhere("modern"))
        .changes(json!([elsewhere(unstable, "modern")]), json!([elsewhere(v1, "modern")]))
        .fact("a user", asked_for_user("modern"))
        .changes(json!([user("", "modern")]), json!([user(v1, "modern")]))
        .fact("an event", sent("modern"))
        .changes(json!([transaction("")]), json!([transaction(v1)]))
        .fact("an alias, to one who knows the old paths", asked_for_alias("legacy"))
        .changes(json!([alias("", "legacy")]), json!([alias(v1, "legacy"), alias("", "legacy")]))
        // The old paths are no longer tried: #15964.
        .since("1.90.0", json!([alias(v1, "legacy")]))
        .fact("a protocol, to one who knows the old paths", asked_for_protocol("legacy"))
        .changes(json!([protocol(unstable, "legacy")]), json!([protocol(v1, "legacy"), protocol(unstable, "legacy")]))
        .since("1.90.0", json!([protocol(v1, "legacy")]))
        .fact("a user of another network, to one who knows the old paths", asked_for_users_elsewhere("legacy"))
        .changes(
            json!([elsewhere(unstable, "legacy")]),
            json!([elsewhere(v1, "legacy"), elsewhere(unstable, "legacy")]),
        )
        .since("1.90.0", json!([elsewhere(v1, "legacy")]))
        .fact("a user, to one who knows the old paths", asked_for_user("legacy"))
        .changes(json!([user("", "legacy")]), json!([user(v1, "legacy"), user("", "legacy")]))
        .since("1.90.0", json!([user(v1, "legacy")]))
        .fact("an event, to one who knows the old paths", sent("legacy"))
        .changes(json!([transaction("")]), json!([transaction(v1), transaction("")]))
        // It has refused the invitation, and counts as down.
        .since("1.90.0", json!([]))
        .fact("an alias, to one who has no such room", asked_for_alias("strict"))
        .changes(json!([alias("", "strict")]), json!([alias(v1, "strict")]))
        .fact("what proves who asks", |hs: Live| async move {
            let requests = hs.recorder("modern").requests().await?;
            // `/` is where the harness asks whether it runs.
            let asked = requests.iter().filter(|request| request["path"] != "/");
            let mut proofs: Vec<_> = asked.map(|r| json!([r["query"], r["headers"]["authorization"]])).collect();
            proofs.dedup();
            Ok(json!(proofs))
        })
        .until("1.90.0", json!([by_both()]))
        // No longer by the query (#16017), after the earlier leg.
        .since("1.90.0", json!([by_both(), by_header()]))
}

/// What the application service is asked, on a leg's first call, when Alice asks for this.
fn asked(host: &'static str, path: String) -> Probe {
    Probe::from(move |hs: Live| {
        let path = path.clone();
        async move {
            script(&hs, host).await?;
            let before = hs.recorder(host).requests().await?.len();
            hs.user("alice").await?.get(&path).await?;
            Ok(hs.recorder(host).requests().await?.iter().skip(before).map(line).collect())
        }
    })
}

fn asked_for_alias(host: &'static str) -> Probe {
    asked(host, format!("/_matrix/client/v3/directory/room/%23{host}_room%3Ahs.test"))
}

fn asked_for_protocol(host: &'static str) -> Probe {
    asked(host, format!("/_matrix/client/v3/thirdparty/protocol/{host}"))
}

fn asked_for_users_elsewhere(host: &'static str) -> Probe {
    asked(host, format!("/_matrix/client/v3/thirdparty/user/{host}"))
}

/// What the application service is asked when Alice invites somebody of its namespace whom nobody knows.
fn asked_for_user(host: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        script(&hs, host).await?;
        let before = hs.recorder(host).requests().await?.len();
        let alice = hs.user("alice").await?;
        let room = alice.create_room(&json!({})).await?;
        let path = format!("/_matrix/client/v3/rooms/{}/invite", escape(&room));
        alice.post(&path, &json!({ "user_id": format!("@{host}_nobody:hs.test") })).await?.ok()?;
        // It is asked before it is told of the invitation.
        let invitation = alice.timeline(&room, 1).await?.pop().unwrap_or_default();
        bridge::is_sent(&hs, host, invitation["event_id"].as_str().unwrap_or_default()).await?;
        let requests = hs.recorder(host).requests().await?;
        Ok(requests.iter().skip(before).map(line).filter(|line| line.contains("/users/")).collect())
    })
}

/// With what requests an event is sent to the application service. All are of one number.
fn sent(host: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        script(&hs, host).await?;
        let service = bridge::of(&hs, host);
        let room = service.create_room(&json!({})).await?;
        let event = service.say(&room, "hello").await?.field("event_id")?;
        bridge::is_sent(&hs, host, &event).await?;
        let requests = hs.recorder(host).requests().await?;
        let with_it: Vec<String> =
            requests.iter().filter(|request| request["body"].to_string().contains(&event)).map(line).collect();
        let number = with_it.first().and_then(|line| line.rsplit_once('/')).map_or("", |(_, number)| number);
        Ok(with_it
            .iter()
            .map(|line| line.replace(&format!("/transactions/{number}"), "/transactions/{number}"))
            .collect())
    })
}

fn line(request: &Value) -> String {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    format!("{} {}", text("method"), text("path"))
}

async fn script(hs: &Live, host: &str) -> Result<()> {
    let knows = json!({ "path": ".*/thirdparty/protocol/.*", "json": { "instances": [] } });
    let nobody = json!({ "path": ".*/thirdparty/user/.*", "json": [] });
    let refuses = |path: &str, errcode: &str| json!({ "path": path, "status": 404, "json": { "errcode": errcode } });
    // Services say in several ways that they do not know a path.
    let unknown =
        |path: &str, status: u16| json!({ "path": path, "status": status, "json": { "errcode": "M_UNRECOGNIZED" } });
    let rules = match host {
        "legacy" => json!([
            { "path": "/_matrix/app/v1/rooms/.*", "status": 404, "text": "404 page not found" },
            unknown("/_matrix/app/v1/users/.*", 405),
            unknown("/_matrix/app/v1/thirdparty/protocol/.*", 400),
            unknown("/_matrix/app/v1/.*", 404),
            knows,
            nobody,
        ]),
        "strict" => json!([refuses(".*/rooms/.*", "M_NOT_FOUND"), knows, nobody]),
        _ => json!([knows, nobody]),
    };
    hs.recorder(host).script(&rules).await
}
