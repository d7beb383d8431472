//! A run that has everything: each outcome, variants, matchers, refused starts, differences, a failed image.

use reports::{
    Cell, CellVerdict, Disagreement, Disposition, Entry, Event, FactRow, FactTable, ImageReady, Ledger, LedgerEntry,
    LegFinished, Note, Observed, Outcome, Recording, RunFinished, RunStarted, TrialResult, WalkPlan,
};
use serde_json::{Value, json};

pub(crate) fn note(release: &str, heading: &str) -> Note {
    let anchor: String = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    Note {
        release: release.into(),
        heading: heading.into(),
        url: format!("https://element-hq.github.io/synapse/latest/upgrade.html#{anchor}"),
    }
}

fn cell(expected: Option<Value>, observed: Observed, verdict: CellVerdict) -> Cell {
    Cell { expected, observed, verdict, diff: None, seconds: 0.012 }
}

pub(crate) fn seen(value: Value) -> Cell {
    cell(Some(value.clone()), Observed::Value(value), CellVerdict::Match)
}

fn matched(expected: Value, observed: Value) -> Cell {
    cell(Some(expected), Observed::Value(observed), CellVerdict::Match)
}

pub(crate) fn differs(expected: Value, observed: Value) -> Cell {
    cell(Some(expected), Observed::Value(observed), CellVerdict::Mismatch)
}

fn recorded(value: Value) -> Cell {
    cell(None, Observed::Value(value), CellVerdict::NotCompared)
}

fn nothing(reason: &str) -> Cell {
    cell(None, Observed::Nothing(reason.into()), CellVerdict::NotCompared)
}

fn row(fact: &str, cells: impl IntoIterator<Item = Cell>) -> FactRow {
    FactRow { fact: fact.into(), cells: cells.into_iter().collect() }
}

fn table(variant: &str, walk: usize, legs: &[&str], facts: Vec<FactRow>) -> FactTable {
    let each = |value: &Value| legs.iter().map(|_| seen(value.clone())).collect::<Vec<_>>();
    let health = vec![
        row("schema version", legs.iter().enumerate().map(|(index, _)| seen(json!(67 + index)))),
        row("background updates pending", each(&json!(0))),
        row("unexpected lines in the log", each(&json!([]))),
        row("database integrity", each(&json!("ok"))),
        row("survival of the estate", each(&json!("complete"))),
    ];
    FactTable {
        variant: variant.into(),
        walk,
        legs: legs.iter().map(|&leg| leg.into()).collect(),
        facts,
        health,
        evidence: format!("walk-{walk:02}{}{variant}", if variant.is_empty() { "" } else { "/" }),
    }
}

pub(crate) fn trial(name: &str, note: Note, outcome: Outcome, tables: Vec<FactTable>) -> TrialResult {
    TrialResult {
        trial: name.into(),
        note,
        database: if name.ends_with("sqlite") { "SQLite" } else { "PostgreSQL" }.into(),
        outcome,
        explanation: None,
        seconds: 6.1,
        tables,
        in_company: Vec::new(),
        control: Vec::new(),
        disagreements: Vec::new(),
        rerun: format!("cargo test --test upgrades -- --exact {name}"),
    }
}

const HOP: [&str; 2] = ["1.52.0", "1.53.0"];
const UNRECOGNIZED: &str = "Unrecognized request";

pub(crate) fn capabilities(database: &str, walk: usize, good: bool) -> TrialResult {
    let stable = |name: &str| row(name, [seen(Value::Null), seen(json!({"enabled": true}))]);
    let mut facts = vec![
        stable("m.set_displayname"),
        stable("m.set_avatar_url"),
        stable("m.3pid_changes"),
        row("org.matrix.msc3283.set_displayname", [seen(json!({"enabled": true})), seen(json!({"enabled": true}))]),
    ];
    if !good {
        facts[0].cells[1] = differs(json!({"enabled": true}), Value::Null);
    }
    let name = format!("v1_53_0::msc3283_capabilities::{database}");
    let outcome = if good { Outcome::Passed } else { Outcome::Failed };
    let note = note("1.53.0", "Deprecation of `capability` `org.matrix.msc3283.*`");
    TrialResult {
        explanation: (!good)
            .then(|| "m.set_displayname differs on 1.53.0. It differed in company and again alone.".to_owned()),
        ..trial(&name, note, outcome, vec![table("", walk, &HOP, facts)])
    }
}

fn webclient() -> TrialResult {
    let legs = ["1.52.0", "1.53.0", "1.53.0, after: remove `webclient` from the listener"];
    let stderr = "Error in configuration:\n  Unknown listener resource:\n    'names' must be in {'client', 'consent', \
                  'federation', 'health', 'keys', 'media', 'metrics', 'openid', 'replication', 'static'} (got \
                  'webclient')\n";
    let refused = "the server refused to start, as expected";
    let resource = vec![
        row("starts", [seen(json!(true)), seen(json!(false)), seen(json!(true))]),
        row(
            "standard error",
            [
                matched(
                    json!({"$contains": "Synapse no longer includes a web client."}),
                    json!(
                        "Synapse no longer includes a web client. To redirect the root resource to a web client, configure 'web_client_location'."
                    ),
                ),
                matched(json!({"$contains": "(got 'webclient')"}), json!(stderr)),
                matched(json!({"$not": {"$contains": "webclient"}}), json!("")),
            ],
        ),
        row(
            "GET /",
            [
                recorded(json!({"status": 302, "location": "/_matrix/static"})),
                nothing(refused),
                recorded(json!({"status": 302, "location": "/_matrix/static"})),
            ],
        ),
    ];
    let location = vec![
        row("starts", [seen(json!(true)), seen(json!(false))]),
        row("exit status", [nothing("the server is running"), matched(json!({"$not": 0}), json!(1))]),
    ];
    let control = vec![row(
        "GET /_matrix/client/",
        [
            matched(
                json!({"status": 404, "body": {"$matches": "No Such Resource"}}),
                json!({"status": 404, "body": "<html><head><title>404 - No Such Resource</title></head></html>"}),
            ),
            seen(json!({"status": 400, "body": {"errcode": "M_UNRECOGNIZED", "error": UNRECOGNIZED}})),
        ],
    )];
    TrialResult {
        disagreements: vec![Disagreement {
            upstream_says: "Listeners of type `webclient` are no longer supported.".into(),
            really: "`webclient` was a resource name, not a listener type. A listener with `type: webclient` was \
                     already refused by 1.52.0, with a traceback; what 1.53.0 newly refuses is `names: [webclient]`."
                .into(),
        }],
        seconds: 14.8,
        ..trial(
            "v1_53_0::webclient::sqlite",
            note("1.53.0", "Dropping support for `webclient` listeners and non-HTTP(S) `web_client_location`"),
            Outcome::Passed,
            vec![
                table("listener resource", 2, &legs, resource),
                table("location", 3, &HOP, location),
                table("control", 0, &HOP, control),
            ],
        )
    }
}

fn registration_token() -> TrialResult {
    let body = |stage: &str| {
        json!({"status": 401, "body": {
            "session": {"$any": true},
            "flows": [{"stages": [stage, "m.login.dummy"]}],
            "params": {},
        }})
    };
    let observed = |stage: &str| {
        json!({"status": 401, "body": {
            "session": "hYcLwTIbWEaSBVXcsGxTQtmF",
            "flows": [{"stages": [stage, "m.login.dummy"]}],
            "params": {},
        }})
    };
    let (old, new) = ("org.matrix.msc3231.login.registration_token", "m.login.registration_token");
    let mut register = differs(body(new), observed(old));
    register.diff = Some(
        "--- expected\n+++ observed\n@@ -3,8 +3,8 @@\n   \"body\": {\n     \"session\": \"hYcLwTIbWEaSBVXcsGxTQtmF\",\n     \"flows\": \
         [\n       {\n         \"stages\": [\n-          \"m.login.registration_token\",\n+          \
         \"org.matrix.msc3231.login.registration_token\",\n           \"m.login.dummy\"\n         ]\n       }\n"
            .into(),
    );
    let unrecognized = json!({"status": 400, "body": {"errcode": "M_UNRECOGNIZED", "error": UNRECOGNIZED}});
    let valid = json!({"status": 200, "body": {"valid": true}});
    let mut table = table(
        "",
        0,
        &HOP,
        vec![
            row("validity by the unstable path", [seen(valid.clone()), seen(unrecognized.clone())]),
            row("validity by the stable path", [seen(unrecognized), seen(valid)]),
            row("stages of registration", [matched(body(old), observed(old)), register]),
        ],
    );
    table.health[2].cells[1] = differs(
        json!([]),
        json!([
            "2022-02-22 12:00:01,204 - synapse.http.server - 183 - ERROR - GET-7 - Failed handle request via 'RegistrationTokenValidityRestServlet'"
        ]),
    );
    TrialResult {
        explanation: Some("2 facts differ on 1.53.0.".into()),
        ..trial(
            "v1_53_0::msc3231_registration_token::sqlite",
            note("1.53.0", "Stablisation of MSC3231"),
            Outcome::Failed,
            vec![table],
        )
    }
}

fn cache_expiry() -> TrialResult {
    let broken = cell(
        Some(json!(1_800_000)),
        Observed::Error("exec in the container: 409 Conflict, the container is not running".into()),
        CellVerdict::Error,
    );
    let facts = vec![
        row("caches.expiry_time_msec", [seen(Value::Null), broken]),
        row("log line on expiry", [seen(json!(false)), nothing("the walk broke off")]),
    ];
    TrialResult {
        explanation: Some("The container of 1.53.0 vanished while it was observed: somebody removed it.".into()),
        ..trial(
            "v1_53_0::cache_expiry::postgres",
            note("1.53.0", "Time-based cache expiry is now enabled by default"),
            Outcome::Errored,
            vec![table("", 1, &HOP, facts)],
        )
    }
}

fn image_missing() -> TrialResult {
    TrialResult {
        explanation: Some(
            "The image synapse 1.54.0 cannot be had.\npip: no matching distribution for matrix-synapse==1.54.0\nThe \
             log: images/synapse-1.54.0.log"
                .into(),
        ),
        seconds: 0.0,
        ..trial(
            "v1_54_0::legacy_structured_logging::sqlite",
            note("1.54.0", "Legacy structured logging configuration removal"),
            Outcome::Errored,
            Vec::new(),
        )
    }
}

fn not_run() -> TrialResult {
    TrialResult {
        explanation: Some("PostgreSQL 10 has no image on this machine's architecture.".into()),
        seconds: 0.0,
        ..trial(
            "v1_57_0::postgres_10::postgres",
            note("1.57.0", "Dropping support for PostgreSQL 9"),
            Outcome::NotRun,
            Vec::new(),
        )
    }
}

fn plan(walk: usize, title: &str, legs: &[&str], trials: &[&str]) -> WalkPlan {
    WalkPlan {
        walk,
        title: title.into(),
        legs: legs.iter().map(|&leg| leg.into()).collect(),
        trials: trials.iter().map(|&trial| trial.into()).collect(),
        evidence: format!("walk-{walk:02}"),
    }
}

fn ready(image: &str, source: &str, reference: &str, seconds: f64) -> Event {
    Event::ImageReady(ImageReady {
        image: image.into(),
        source: source.into(),
        reference: reference.into(),
        id: format!(
            "sha256:{:064x}",
            image.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        ),
        seconds,
    })
}

fn leg(walk: usize, leg: usize, boots: usize) -> Event {
    Event::LegFinished(LegFinished {
        walk,
        leg,
        seconds: 4.2,
        homeserver_cpu_seconds: 2.25,
        memory_bytes: 100_000_000,
        database_bytes: 2_000_000,
        boots,
        fingerprints: vec![
            ("server_version".into(), HOP.get(leg).copied().unwrap_or("1.53.0").into()),
            ("database".into(), if walk == 1 { "PostgreSQL 13.22" } else { "SQLite 3.34.1" }.into()),
        ],
    })
}

/// The plan of the run.
pub(crate) fn started(shard: Option<&str>) -> RunStarted {
    RunStarted {
        run: "20261123-171902-7f3a".into(),
        started: "2026-11-23T17:19:02Z".into(),
        command: "cargo test --test upgrades -- v1_53 v1_54 v1_57".into(),
        shard: shard.map(Into::into),
        flaky_permitted: false,
        control: false,
        qualification: None,
        options: Vec::new(),
        environment: vec![
            ("docker".into(), "20.10.24".into()),
            ("cores".into(), "2".into()),
            ("memory".into(), "24 GiB".into()),
            ("kernel".into(), "Linux 6.1.0 x86_64".into()),
        ],
        images: ["synapse 1.52.0", "synapse 1.53.0", "synapse 1.54.0", "postgres 13"].map(Into::into).into(),
        trials: [
            "v1_53_0::msc3283_capabilities::sqlite",
            "v1_53_0::msc3283_capabilities::postgres",
            "v1_53_0::webclient::sqlite",
            "v1_53_0::msc3231_registration_token::sqlite",
            "v1_53_0::cache_expiry::postgres",
            "v1_54_0::legacy_structured_logging::sqlite",
            "v1_57_0::postgres_10::postgres",
        ]
        .map(Into::into)
        .into(),
        walks: vec![
            plan(
                0,
                "1.52.0 → 1.53.0, SQLite",
                &HOP,
                &[
                    "v1_53_0::msc3283_capabilities::sqlite",
                    "v1_53_0::webclient::sqlite",
                    "v1_53_0::msc3231_registration_token::sqlite",
                ],
            ),
            plan(
                1,
                "1.52.0 → 1.53.0, PostgreSQL 13, 2 workers",
                &HOP,
                &["v1_53_0::msc3283_capabilities::postgres", "v1_53_0::cache_expiry::postgres"],
            ),
            plan(
                2,
                "1.52.0 → 1.53.0, SQLite, a listener with `webclient`",
                &["1.52.0", "1.53.0", "1.53.0, after: remove `webclient` from the listener"],
                &["v1_53_0::webclient::sqlite"],
            ),
            plan(3, "1.52.0 → 1.53.0, SQLite, a file as `web_client_location`", &HOP, &["v1_53_0::webclient::sqlite"]),
        ],
    }
}

/// The whole stream.
pub(crate) fn entries() -> Vec<Entry> {
    let answers = |walk, leg, seconds| Event::LegReady { walk, leg, started: true, seconds };
    let refuses = |walk, leg, seconds| Event::LegReady { walk, leg, started: false, seconds };
    let image = || "synapse 1.53.0".to_owned();
    let verdict = |result| Event::TrialFinished(Box::new(result));
    let alone =
        plan(4, "1.52.0 → 1.53.0, PostgreSQL 13, 2 workers, alone", &HOP, &["v1_53_0::msc3283_capabilities::postgres"]);
    [
        (0.0, Event::RunStarted(started(None))),
        (0.2, ready("synapse 1.52.0", "present", "synapse-upgrades:1.52.0", 0.0)),
        (0.3, ready("postgres 13", "registry", "docker.io/library/postgres:13", 0.0)),
        (0.3, Event::ImageStarted { image: image(), how: "building".into() }),
        (1.0, Event::ImageStep { image: image(), step: "1/9 FROM debian:bullseye-slim".into() }),
        (12.0, Event::ImageStep { image: image(), step: "5/9 RUN uv pip install --no-deps -r lock.txt".into() }),
        (13.0, Event::ImageStep { image: image(), step: "6/9 RUN python3 -m compileall".into() }),
        (21.5, ready("synapse 1.53.0", "built", "synapse-upgrades:1.53.0", 21.2)),
        (21.6, Event::ImageStarted { image: "synapse 1.54.0".into(), how: "pulling docker.io/matrixdotorg/synapse:v1.54.0".into() }),
        (21.7, Event::WalkStarted { walk: 0 }),
        (21.8, Event::WalkStarted { walk: 1 }),
        (22.0, Event::Notice { text: "The registry answers slowly: 9 s for a manifest.".into() }),
        (23.6, answers(0, 0, 1.9)),
        (25.9, answers(1, 0, 4.1)),
        (26.0, leg(0, 0, 1)),
        (27.9, answers(0, 1, 1.8)),
        (28.4, leg(1, 0, 3)),
        (29.5, Event::ImageFailed {
            image: "synapse 1.54.0".into(),
            error: "No source has it: the registry does not answer, and pip finds no matching distribution.\nThe log: images/synapse-1.54.0.log".into(),
            seconds: 7.9,
        }),
        (29.5, verdict(image_missing())),
        (30.2, leg(0, 1, 1)),
        (30.2, Event::WalkFinished { walk: 0, seconds: 8.5 }),
        (30.2, verdict(capabilities("sqlite", 0, true))),
        (30.3, verdict(registration_token())),
        (30.3, verdict(not_run())),
        (30.4, Event::WalkStarted { walk: 2 }),
        (32.6, answers(1, 1, 3.9)),
        (32.4, answers(2, 0, 1.9)),
        (33.0, Event::LegFinished(LegFinished { walk: 1, leg: 1, seconds: 4.3, homeserver_cpu_seconds: 3.0, memory_bytes: 0, database_bytes: 0, boots: 3, fingerprints: Vec::new() })),
        (33.0, Event::WalkFinished { walk: 1, seconds: 11.2 }),
        (33.0, verdict(cache_expiry())),
        (33.1, Event::WalkAdded(alone)),
        (33.1, Event::WalkStarted { walk: 4 }),
        (33.2, leg(2, 0, 1)),
        (34.9, refuses(2, 1, 1.6)),
        (35.0, leg(2, 1, 1)),
        (36.9, answers(2, 2, 1.8)),
        (37.1, answers(4, 0, 3.9)),
        (37.9, leg(2, 2, 1)),
        (37.9, Event::WalkFinished { walk: 2, seconds: 7.5 }),
        (38.0, Event::WalkStarted { walk: 3 }),
        (38.4, leg(4, 0, 3)),
        (39.9, answers(3, 0, 1.8)),
        (40.2, leg(3, 0, 1)),
        (42.0, refuses(3, 1, 1.7)),
        (42.1, leg(3, 1, 1)),
        (42.1, Event::WalkFinished { walk: 3, seconds: 4.1 }),
        (42.1, verdict(webclient())),
        (42.3, answers(4, 1, 3.8)),
        (43.0, leg(4, 1, 3)),
        (43.0, Event::WalkFinished { walk: 4, seconds: 9.9 }),
        (43.1, verdict(capabilities("postgres", 4, false))),
        (43.2, Event::RunFinished(RunFinished {
            seconds: 43.2,
            walking_seconds: 21.3,
            homeserver_cpu_seconds: 25.5,
            boots: 19,
            cores: 2,
            interrupted: false,
        })),
    ]
    .into_iter()
    .map(|(at, event)| Entry { at, event })
    .collect()
}

/// The stream of the same run, interrupted at 31 s.
pub(crate) fn interrupted() -> Vec<Entry> {
    let mut entries: Vec<Entry> = entries().into_iter().filter(|entry| entry.at < 31.0).collect();
    entries.push(Entry {
        at: 31.4,
        event: Event::RunFinished(RunFinished {
            seconds: 31.4,
            walking_seconds: 9.7,
            homeserver_cpu_seconds: 6.75,
            boots: 5,
            cores: 2,
            interrupted: true,
        }),
    });
    entries
}

/// The notes around, with each disposition.
pub(crate) fn ledger() -> Ledger {
    let entry = |release: &str, heading: &str, disposition| LedgerEntry { note: note(release, heading), disposition };
    let scenario = |name: &str| Disposition::Scenarios(vec![name.to_owned()]);
    Ledger {
        entries: vec![
            entry("1.57.0", "Changes to database schema for application services", Disposition::ToCome),
            entry("1.57.0", "Dropping support for PostgreSQL 9", scenario("postgres_10")),
            entry(
                "1.54.0",
                "Legacy structured logging configuration removal",
                scenario("v1_54_0::legacy_structured_logging"),
            ),
            entry(
                "1.53.0",
                "Dropping support for `webclient` listeners and non-HTTP(S) `web_client_location`",
                scenario("webclient"),
            ),
            entry("1.53.0", "Stablisation of MSC3231", scenario("msc3231_registration_token")),
            entry("1.53.0", "Time-based cache expiry is now enabled by default", scenario("cache_expiry")),
            entry(
                "1.53.0",
                "Deprecation of `capability` `org.matrix.msc3283.*`",
                Disposition::Scenarios(vec!["msc3283_capabilities".into(), "msc3283_removal".into()]),
            ),
            entry("1.51.0", "Deprecation of `webclient` listeners", Disposition::Inspected(vec!["warnings".into()])),
            entry(
                "1.49.0",
                "Upcoming reminders",
                Disposition::NotTestable("It announces; nothing changes in this release.".into()),
            ),
        ],
    }
}

/// The whole run as a recording.
pub(crate) fn recording() -> Recording {
    Recording { entries: entries(), ledger: Some(ledger()), ..Recording::default() }
}
