//! Synapse 1.25.0.

use std::time::{Duration, Instant};

use harness::{Answer, prelude::*};

use crate::kit::{
    platform::{Old, Platform as _, requires_python},
    settings::said_of,
};

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
        .since("1.52.0", refused("Synapse requires Python 3.7 or above."))
        .since("1.88.0", refused("Synapse requires Python 3.8 or above."))
        .since("1.119.0", refused("Synapse requires Python 3.9 or above."))
        .since("1.142.0", refused("Synapse requires Python 3.10 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .until("1.32.0", "~=3.5")
        .since("1.32.0", "~=3.6")
        .since("1.52.0", matches(r"^[~>]=3\.7\b"))
        .since("1.88.0", matches(r"^>=3\.8\b"))
        .since("1.119.0", matches(r"^>=3\.9\b"))
        .since("1.142.0", matches(r"^>=3\.10\b"))
}

/// Private addresses are out of reach unless the operator says otherwise: for pushes, for whoever says that an invitation's key is
/// valid, for identity servers and other homeservers. `ip_range_blacklist` takes the place of `federation_ip_range_blacklist`.
///
/// Upstream: PRs 8821, 8870, 8954. Containers have private addresses, so all that is around is shut off.
fn ip_range_blacklist() -> Scenario {
    let reached = |push: bool, identity: bool, federation: bool| {
        json!({
            "a push that waited": null,
            "push gateway": { "by name": push, "by number": push },
            "validity of an invitation's key": {
                "reached": push,
                "answer": if push { status(200) } else { error(502, "M_UNKNOWN") },
            },
            "identity server": { "reached": identity, "answer": error(500, "M_UNKNOWN") },
            "homeserver": { "reached": federation, "answer": error(if federation { 500 } else { 502 }, "M_UNKNOWN") },
        })
    };
    // What could not be pushed on the leg before.
    let and_what_waited = |mut reached: Value| {
        reached["a push that waited"] = json!(true);
        reached
    };
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    let (fact, shut) = ("reached", "private addresses that are shut off");
    let all_private = || {
        let shut = [&PRIVATE[..], &NOWHERE].concat();
        json!({ "pushes": shut, "homeservers": shut })
    };
    let none = |pushes: Value| json!({ "pushes": pushes, "homeservers": NOWHERE });
    let settings = ["ip_range_blacklist", "ip_range_whitelist", "federation_ip_range_blacklist"];
    let invalid = |setting: &str| contains(&format!("Invalid range(s) provided in {setting}"));
    Scenario::for_note("Blacklisting IP ranges")
        .disagreement(
            "`ip_range_whitelist` controls requests for federation and identity servers, too",
            "it opens the way to push gateways and for the validity of keys only",
        )
        .hop("1.24.0", "1.25.0")
        .without("ip_range_blacklist")
        .without("federation_ip_range_blacklist")
        .config(json!({
            "federation_verify_certificates": false,
            "use_insecure_ssl_client_just_for_testing_do_not_use": true,
        }))
        .companion("gateway", companion::recorder())
        .companion("keys", companion::recorder())
        .companion("identity", companion::recorder())
        .companion("fed.test", companion::recorder())
        // The invitation fails, as the recorder has no key for it, and the profile that it gives is empty.
        .log_error("Failed handle request via '(RoomMembership|ProfileDisplayname)RestServlet'")
        .variant("neither setting", |it| {
            it.fact(fact, reachable())
                .changes(reached(true, true, true), reached(false, false, false))
                .fact(shut, private_addresses_shut_off())
                .changes(none(json!([])), all_private())
                .fact(
                    "what is said to ranges that are none",
                    said_of(&json!(settings.map(|setting| json!({ setting: ["bogus"] })))),
                )
                .changes(json!([null, null, invalid(settings[2])]), json!(settings.map(invalid)))
                // Reworded in #9240.
                .since("1.28.0", json!(settings.map(|_| "Invalid IP range provided: bogus.")))
                .step("private addresses whitelisted", |it| {
                    it.reconfigure(json!({ "ip_range_whitelist": private }))
                        .now(fact, and_what_waited(reached(true, false, false)))
                })
                .step("an empty blacklist", |it| {
                    it.unset("ip_range_whitelist")
                        .reconfigure(json!({ "ip_range_blacklist": [] }))
                        .now(fact, reached(true, true, true))
                        .now(shut, none(json!(NOWHERE)))
                })
        })
        .variant("federation_ip_range_blacklist with private addresses", |it| {
            it.config(json!({ "federation_ip_range_blacklist": private }))
                .fact(fact, reachable())
                .changes(reached(true, false, false), reached(false, false, false))
                .step("renamed, and the gateway whitelisted", |it| {
                    it.unset("federation_ip_range_blacklist")
                        .reconfigure(json!({ "ip_range_blacklist": private, "ip_range_whitelist": private }))
                        .now(fact, and_what_waited(reached(true, false, false)))
                })
        })
        .variant("an empty federation_ip_range_blacklist", |it| {
            it.config(json!({ "federation_ip_range_blacklist": [] }))
                .fact(fact, reachable())
                .changes(reached(true, true, true), reached(false, true, true))
        })
        .variant("a blacklist that is none", |it| {
            it.config(json!({ "ip_range_blacklist": ["bogus"] }))
                .fact("start", start())
                .changes(
                    started(),
                    refused("Invalid range(s) provided in ip_range_blacklist.: invalid IPNetwork bogus"),
                )
                // Reworded in #9240.
                .since("1.28.0", refused("Invalid IP range provided: bogus.: invalid IPNetwork bogus"))
        })
}

/// An address in each range that is private, or reserved otherwise, by upstream's default: the last in it, mostly.
const PRIVATE: [&str; 15] = [
    "127.255.255.255",
    "10.255.255.255",
    "172.31.255.255",
    "192.168.255.255",
    "100.127.255.255",
    "192.0.0.255",
    "169.254.255.255",
    "198.19.255.255",
    "192.0.2.255",
    "198.51.100.255",
    "203.0.113.255",
    "239.255.255.255",
    "::1",
    "febf::1",
    "fdff::1",
];

/// Always shut off, as they lead nowhere.
const NOWHERE: [&str; 2] = ["0.0.0.0", "::"];

/// Which of them are shut off, and of public ones, by the configuration that Synapse reads. Not all can be tried from here.
fn private_addresses_shut_off() -> Probe {
    Probe::from(|hs: Live| async move {
        let addresses = [&PRIVATE[..], &NOWHERE, &["9.9.9.9", "2620:fe::9"]].concat();
        let program = format!(
            "import json\n\
             from netaddr import IPAddress\n\
             from synapse.config.homeserver import HomeServerConfig\n\
             config = HomeServerConfig.load_config('', ['-c', '/data/homeserver.yaml'])\n\
             within = lambda name: [a for a in {} if IPAddress(a) in getattr(config, name, [])]\n\
             lists = {{'pushes': 'ip_range_blacklist', 'homeservers': 'federation_ip_range_blacklist'}}\n\
             print(json.dumps({{who: within(name) for who, name in lists.items()}}))",
            json!(addresses)
        );
        Ok(serde_json::from_str(&hs.python(&program).await?)?)
    })
}

/// Who hears of this server: a push gateway of a message, an identity server of an invitation, another homeserver of a
/// profile that is looked up. Of the last two a connection counts, whatever comes of it.
fn reachable() -> Probe {
    Probe::from(|hs: Live| async move {
        // A server that was out of reach is not tried again for a while.
        hs.execute("DELETE FROM destinations").await?;
        let waited = match hs.recall("waiting") {
            Ok(event) if !event.is_empty() => pushed(&hs, &event, "by name", usize::MAX).await?,
            _ => Value::Null,
        };
        for host in ["gateway", "keys", "identity", "fed.test"] {
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
        hs.remember("waiting", if by_name == true { "" } else { &event });
        let bound = bind_invited(&hs, &lobby).await?;
        let invitation = json!({
            "id_server": "identity:8443",
            "id_access_token": "token",
            "medium": "email",
            "address": "carol@example.test",
        });
        let path = format!("/_matrix/client/r0/rooms/{}/invite", escape(&lobby));
        let invited = alice.post(&path, &invitation).await?;
        let looked_up = bob.get("/_matrix/client/r0/profile/@carol:fed.test:8443/displayname").await?;
        let dialled = async |host: &str| -> Result<bool> { Ok(hs.recorder(host).connections().await?["https"] != 0) };
        Ok(json!({
            "a push that waited": waited,
            "push gateway": { "by name": by_name, "by number": by_number },
            "validity of an invitation's key": {
                "reached": !hs.recorder("keys").requests().await?.is_empty(),
                "answer": bound.brief(),
            },
            "identity server": {
                "reached": dialled("identity").await?,
                "answer": invited.brief(),
            },
            "homeserver": {
                "reached": dialled("fed.test").await?,
                "answer": looked_up.brief(),
            },
        }))
    })
}

/// An identity server tells that somebody has the address that alice invited to this room; what it is answered. Synapse asks
/// at `keys` whether the key is valid that the invitation is signed with.
async fn bind_invited(hs: &Live, room: &str) -> Result<Answer> {
    hs.recorder("keys").script(&json!([{ "path": "/isvalid", "json": { "valid": true } }])).await?;
    let (alice, invited, token) = (hs.user("alice").await?, hs.user(&hs.unique("invited")).await?, hs.unique("token"));
    let what = json!({ "mxid": invited.id(), "sender": alice.id(), "token": token });
    let program = format!(
        "import json\n\
         from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key\n\
         from signedjson.sign import sign_json\n\
         key = generate_signing_key('0')\n\
         print(json.dumps([encode_verify_key_base64(get_verify_key(key)), sign_json({what}, 'identity', key)]))"
    );
    let signed: Value = serde_json::from_str(&hs.python(&program).await?)?;
    let key = json!({ "public_key": signed[0], "key_validity_url": "http://keys:8080/isvalid" });
    let mut content = key.clone();
    content["display_name"] = json!("somebody");
    content["public_keys"] = json!([key]);
    let path = format!("/_matrix/client/r0/rooms/{}/state/m.room.third_party_invite/{token}", escape(room));
    alice.put(&path, &content).await?.ok()?;
    let invitation = json!({ "mxid": invited.id(), "sender": alice.id(), "room_id": room, "signed": signed[1] });
    let bound =
        json!({ "mxid": invited.id(), "medium": "email", "address": "a@example.test", "invites": [invitation] });
    hs.anonymous().post("/_matrix/federation/v1/3pid/onbind", &bound).await
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
