//! Synapse 1.25.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

use crate::platform::{Old, Platform as _, requires_python};

notes!("1.25.0": last_python_35, ip_range_blacklist);

/// An announcement: later releases need not run on Python 3.5. They still do, 1.32.0 included, although its
/// metadata tells pip that it needs 3.6; 1.33.0 is the first that refuses to start on 3.5. The interpreter's version is faked.
fn last_python_35() -> Scenario {
    Scenario::for_note("Last release supporting Python 3.5")
        .hop("1.24.0", "1.25.0")
        .then("1.31.0")
        .then("1.32.0")
        .then("1.33.0")
        .faked(Old::Python(3, 5))
        .fact("start on Python 3.5, faked", start())
        .until("1.33.0", started())
        .since("1.33.0", refused("Synapse requires Python 3.6 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .until("1.32.0", "~=3.5")
        .since("1.32.0", "~=3.6")
}

/// Private addresses are out of reach unless the operator says otherwise: for pushes, identity servers and other
/// homeservers. `ip_range_blacklist` takes the place of `federation_ip_range_blacklist`.
///
/// Upstream: PRs 8821, 8870, 8954. Containers have private addresses, so all that is around is shut off.
fn ip_range_blacklist() -> Scenario {
    let reached = |push: bool, identity: bool, federation: bool| {
        json!({
            "push gateway": { "by name": push, "by number": push },
            "identity server": { "reached": identity, "answer": error(500, "M_UNKNOWN") },
            "homeserver": { "reached": federation, "answer": error(if federation { 500 } else { 502 }, "M_UNKNOWN") },
        })
    };
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    let fact = "reached";
    Scenario::for_note("Blacklisting IP ranges")
        .disagreement(
            "`ip_range_whitelist` controls requests for federation and identity servers, too",
            "it opens the way to push gateways only",
        )
        .hop("1.24.0", "1.25.0")
        .without("ip_range_blacklist")
        .without("federation_ip_range_blacklist")
        .config(json!({
            "federation_verify_certificates": false,
            "use_insecure_ssl_client_just_for_testing_do_not_use": true,
        }))
        .companion("gateway", companion::recorder())
        .companion("identity", companion::recorder())
        .companion("fed.test", companion::recorder())
        // The invitation fails, as the recorder has no key for it, and the profile that it gives is empty.
        .log_error("Failed handle request via '(RoomMembership|ProfileDisplayname)RestServlet'")
        .variant("neither setting")
        .fact(fact, reachable())
        .until("1.25.0", reached(true, true, true))
        .since("1.25.0", reached(false, false, false))
        .step("private addresses whitelisted")
        .change(move |deployment| {
            deployment.config(json!({ "ip_range_whitelist": private }));
        })
        .now(fact, reached(true, false, false))
        .step("an empty blacklist")
        .change(|deployment| {
            deployment.unset("ip_range_whitelist").without.remove("ip_range_blacklist");
            deployment.config(json!({ "ip_range_blacklist": [] }));
        })
        .now(fact, reached(true, true, true))
        .variant("federation_ip_range_blacklist with private addresses")
        .config(json!({ "federation_ip_range_blacklist": private }))
        .fact(fact, reachable())
        .until("1.25.0", reached(true, false, false))
        .since("1.25.0", reached(false, false, false))
        .step("renamed, and the gateway whitelisted")
        .change(move |deployment| {
            deployment
                .unset("federation_ip_range_blacklist")
                .config(json!({ "ip_range_blacklist": private, "ip_range_whitelist": private }));
        })
        .now(fact, reached(true, false, false))
        .variant("an empty federation_ip_range_blacklist")
        .config(json!({ "federation_ip_range_blacklist": [] }))
        .fact(fact, reachable())
        .until("1.25.0", reached(true, true, true))
        .since("1.25.0", reached(false, true, true))
        .variant("a blacklist that is none")
        .config(json!({ "ip_range_blacklist": ["bogus"] }))
        .fact("start", start())
        .until("1.25.0", started())
        .since("1.25.0", refused("Invalid range(s) provided in ip_range_blacklist."))
}

/// Who hears of this server: a push gateway of a message, an identity server of an invitation, another homeserver of a
/// profile that is looked up.
fn reachable() -> Probe {
    Probe::from(|hs: Live| async move {
        // A server that was out of reach is not tried again for a while.
        hs.execute("DELETE FROM destinations").await?;
        for host in ["gateway", "identity", "fed.test"] {
            hs.recorder(host).forget().await?;
        }
        let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
        let lobby = alice.room("lobby", &json!({ "preset": "public_chat" })).await?;
        bob.join(&lobby).await?;
        let number = hs.python("import socket; print(socket.gethostbyname('gateway'))").await?;
        for (key, host) in [("by name", "gateway"), ("by number", number.trim())] {
            let pusher = json!({
                "kind": "http",
                "app_id": "app",
                "app_display_name": "app",
                "device_display_name": "device",
                "pushkey": key,
                "lang": "en",
                "data": { "url": format!("http://{host}:8080/_matrix/push/v1/notify") },
            });
            alice.post("/_matrix/client/r0/pushers/set", &pusher).await?.ok()?;
        }
        let before = hs.log_lines(REFUSED_PUSH).await?.len();
        let event = bob.say(&lobby, "hello").await?.ok()?.field("event_id")?;
        let (by_name, by_number) =
            (pushed(&hs, &event, "by name", before).await?, pushed(&hs, &event, "by number", before).await?);
        let invitation = json!({
            "id_server": "identity:8443",
            "id_access_token": "token",
            "medium": "email",
            "address": "carol@example.test",
        });
        let path = format!("/_matrix/client/r0/rooms/{}/invite", escape(&lobby));
        let invited = alice.post(&path, &invitation).await?;
        let looked_up = bob.get("/_matrix/client/r0/profile/@carol:fed.test:8443/displayname").await?;
        Ok(json!({
            "push gateway": { "by name": by_name, "by number": by_number },
            "identity server": {
                "reached": !hs.recorder("identity").requests().await?.is_empty(),
                "answer": invited.brief(),
            },
            "homeserver": {
                "reached": !hs.recorder("fed.test").requests().await?.is_empty(),
                "answer": looked_up.brief(),
            },
        }))
    })
}

const REFUSED_PUSH: &str = "Failed to push event";

/// Does the gateway hear of an event from this pusher, or is it out of reach? `before` lines were there of refusals.
async fn pushed(hs: &Live, event: &str, key: &str, before: usize) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let requests = hs.recorder("gateway").requests().await?;
        let of_it = requests.iter().map(|request| &request["json"]["notification"]);
        if of_it.into_iter().any(|sent| sent["event_id"] == event && sent["devices"][0]["pushkey"] == key) {
            return Ok(json!(true));
        }
        let refusals = hs.log_lines(REFUSED_PUSH).await?;
        if let Some(refusal) = refusals.into_iter().skip(before).find(|line| line.contains(key)) {
            // The blacklist's own words: of a number it says so, and a name's numbers it conceals.
            let blocked = refusal.contains("IP address blocked by IP blacklist entry")
                || refusal.contains("DNS lookup failed: no results for hostname lookup: gateway")
                    && !hs.log_lines("from DNS resolution to gateway due to blacklist").await?.is_empty();
            return Ok(if blocked { json!(false) } else { json!(refusal) });
        }
        if begun.elapsed() > Duration::from_secs(120) {
            return Ok(json!("neither pushed nor refused"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
