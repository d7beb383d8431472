//! Synapse 1.18.0.

use std::time::{Duration, Instant};

use harness::prelude::*;

use crate::kit::settings::made_of;

notes!("1.18.0": image_without_py3, redis_recommended);

/// The image without `-py3` in its name has been the one with Python 3 since 0.99.0, so the suffix can go.
///
/// Which names a registry holds is not seen here.
fn image_without_py3() -> Scenario {
    Scenario::for_note("Docker `-py3` suffix will be removed in future versions")
        .inspection()
        .invariant(
            "the image without the suffix stays what it has been since 0.99.0; what changes is in the registry only",
        )
        .fact("Python of the image without the suffix", |hs: Live| async move {
            Ok(json!(hs.python("import sys; print(sys.version_info.major)").await?.trim()))
        })
        .always("3")
        .variant("since 0.99.0", |it| it.hop("0.99.0", "0.99.5.2"))
        .variant("around the note", |it| it.hop("1.18.0", "1.19.0"))
}

/// Redis is now what processes should talk through. Their old direct connection goes on, and nothing is said of its age. What
/// the new release brings is that its sample configuration knows of Redis, which 1.17.0 had only as an experiment.
///
/// Upstream: PRs 7810, 7856.
fn redis_recommended() -> Scenario {
    let direct = || json!({ "type": "replication", "port": 9092, "bind_addresses": ["0.0.0.0"] });
    let by_redis = || json!({ "subscribed at Redis": 2, "connected to the main process": 0 });
    let directly = || json!({ "subscribed at Redis": 0, "connected to the main process": 1 });
    let arrives = |hs: Live| async move {
        let alice = hs.user("alice").await?;
        let room = alice.room("room", &json!({})).await?;
        let worker = alice.at("sync")?;
        let mut since = worker.get("/_matrix/client/r0/sync").await?.ok()?.field("next_batch")?;
        let text = hs.unique("hello");
        // The worker learns of the message from the main process, or not at all. What else is new ends a poll, too.
        let mut polls = async || -> Result<bool> {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(25) {
                let poll = format!("/_matrix/client/r0/sync?since={since}&timeout=5000");
                let answer = worker.get(&poll).await?.ok()?;
                if answer.json()?["rooms"]["join"][&room]["timeline"].to_string().contains(&text) {
                    return Ok(true);
                }
                since = answer.field("next_batch")?;
            }
            Ok(false)
        };
        let (arrived, sent) = tokio::join!(polls(), alice.say(&room, &text));
        sent?.ok()?;
        Ok(json!(arrived?))
    };
    Scenario::for_note("Redis replication is now recommended in lieu of TCP replication")
        .only_on(Database::Postgres)
        .hop("1.17.0", "1.18.0")
        .fact("a message arrives in an open sync on the worker", arrives)
        .always(true)
        .fact("deprecations printed", printed())
        .always(not(contains("eprecat")))
        .fact("deprecations logged", |hs: Live| async move {
            let words = "eprecat";
            Ok(json!({ "main": hs.log_lines(words).await?, "worker": hs.log_lines_of("sync", words).await? }))
        })
        .always(json!({ "main": [], "worker": [] }))
        .fact("Redis in the sample configuration", |hs: Live| async move {
            let file = "/tmp/sample.yaml";
            let command = ["python", "-m", "synapse.app.homeserver", "--generate-config", "--report-stats", "no"];
            hs.exec(&[&command[..], &["--server-name", "sample.test", "--config-path", file]].concat()).await?.ok()?;
            let text = hs.read(file).await?;
            let (_, section) =
                text.as_str().and_then(|text| text.split_once("# Configuration for Redis")).unwrap_or_default();
            let section = section.split("\n##").next().unwrap_or_default();
            let settings = section.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
            Ok(settings.filter(|line| !line.starts_with(' ') && line.contains(": ")).collect())
        })
        .changes(json!([]), json!(["enabled: true", "host: localhost", "port: 6379", "password: <secret_password>"]))
        .since("1.62.0", json!([]))
        .fact(
            "Redis, where no more is said than that it is wanted",
            made_of(
                &json!({ "redis": { "enabled": true } }),
                "{name: getattr(config.redis, 'redis_' + name) for name in ('host', 'port', 'password')}",
            ),
        )
        .always(json!({ "host": "localhost", "port": 6379, "password": null }))
        .variant("Redis", |it| {
            it.worker("sync", "synapse.app.generic_worker", ["client"], json!({}))
                .fact("ways between the processes", ways())
                .always(by_redis())
        })
        .variant("direct connections", |it| {
            it.config(json!({ "redis": { "enabled": false } }))
                .listener(direct())
                .worker("sync", "synapse.app.generic_worker", ["client"], json!({ "worker_replication_port": 9092 }))
                .fact("ways between the processes", ways())
                .always(directly())
                .step("Redis instead", |it| {
                    it.reconfigure(json!({ "redis": { "enabled": true } }))
                        .worker("sync", "synapse.app.generic_worker", ["client"], json!({}))
                        .now("ways between the processes", by_redis())
                })
        })
}

/// Who subscribes to the server's channel at Redis, and who is connected to port 9092.
fn ways() -> Probe {
    let program = r#"
import json, socket
redis = socket.create_connection(("redis", 6379), 10)
redis.sendall(b"PUBSUB NUMSUB hs.test\r\n")
answer = redis.makefile("rb")
# A list of two: the channel's name and a number.
lines = [answer.readline() for _ in range(4)]
ends = [line.split()[1:4] for line in open("/proc/net/tcp").readlines()[1:]]
connected = [end for end in ends if end[0].endswith(":%04X" % 9092) and end[2] == "01"]
print(json.dumps({"subscribed at Redis": int(lines[3][1:]), "connected to the main process": len(connected)}))
"#;
    Probe::from(move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(program).await?)?) })
}
