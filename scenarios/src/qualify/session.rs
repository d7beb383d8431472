//! A fixed session of requests, before and after: what is answered otherwise is listed.
//!
//! The data are the same, the times and ids are not: answers are compared by status, error code, and the names and types of
//! what they hold. Where a server says what it can do, whole.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Method, Version, prelude::*};

/// The requests, by section.
const SESSION: &str = include_str!("session.txt");

/// What upstream took away from clients and meant to, though no note says so: it is listed, and breaks nothing.
struct OnPurpose {
    since: &'static str,
    /// Where it was: how such a place ends.
    places: &'static [&'static str],
    reference: &'static str,
}

const ON_PURPOSE: &[OnPurpose] = &[OnPurpose {
    since: "1.164.0rc1",
    places: &[
        " → .m.rule.contains_display_name",
        " → .m.rule.contains_user_name",
        " → .m.rule.roomnotif",
        " → account_data → events → [] → content → global → content → []",
    ],
    reference: "https://github.com/element-hq/synapse/pull/20220",
}];

/// What browsers and caches go by.
const HEADERS: [&str; 10] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "cache-control",
    "content-disposition",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "location",
    "x-robots-tag",
];

/// A difference is told in so many characters at most, and so many of them: beyond that nobody reads on.
const TOLD: usize = 300;
const TOLD_AT_ONCE: usize = 50;

/// One request of the session.
#[derive(Clone, Debug)]
struct Ask {
    who: String,
    method: Method,
    path: String,
    body: Option<String>,
    keeps: Keeps,
}

/// How much of an answer is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    /// Status and error code.
    Status,
    /// And the names and types of what it holds.
    Shape,
    /// And the values.
    All,
}

/// The differences that the candidate shows in each section of the session, and in its metrics.
pub(super) fn answers(against: &str, candidate: &str) -> Scenario {
    let scenario = Scenario::for_note("What changed without a note")
        .on_both()
        .hop(against, candidate)
        .invariant("what is otherwise is listed")
        .alone("it asks for whatever there is")
        .without_estate("the same data are asked for on each leg")
        .config(json!({
            "allow_guest_access": true,
            "enable_registration": true,
            "enable_registration_without_verification": true,
            "allow_public_rooms_without_auth": true,
            "allow_public_rooms_over_federation": true,
            "enable_metrics": true,
        }))
        .listener(metrics_listener())
        .seed(prepare);
    let sections = sections();
    let scenario = sections.into_iter().fold(scenario, |scenario, (title, asks)| {
        let name = title.clone();
        let probe = Probe::from(move |hs: Live| {
            let (title, asks) = (title.clone(), asks.clone());
            async move {
                // What the first time leaves behind, the second meets on each leg.
                run(&hs, &asks).await?;
                let now = run(&hs, &asks).await?;
                answered_since(&hs, &title, &now)
            }
        });
        scenario.fact(&name, probe).always(anything())
    });
    scenario
        .fact("names of metrics", |hs: Live| async move {
            // What is declared: which of them have samples depends on what has happened.
            let text = hs.anonymous().at("main:9000")?.get("/metrics").await?.ok()?.text();
            let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
            let names: BTreeMap<&str, &str> = declared.collect();
            gone_since_the_leg_before(&hs, "names of metrics", &json!(names))
        })
        .always(anything())
        .named(candidate, "answers")
}

/// Makes what the session asks for.
async fn prepare(hs: Live) -> Result<()> {
    let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
    hs.admin().await?;
    let guest = hs.anonymous().post("/_matrix/client/v3/register?kind=guest", &json!({})).await?.ok()?;
    hs.remember("guest", &guest.field("user_id")?);
    hs.remember("guest_token", &guest.field("access_token")?);
    let options =
        json!({ "room_alias_name": "session", "name": "a session", "visibility": "public", "preset": "public_chat" });
    let room = alice.room("room", &options).await?;
    bob.join(&room).await?;
    hs.remember("event", &alice.say(&room, "a session begins").await?.ok()?.field("event_id")?);
    let media = alice.upload("session.txt", "text/plain", b"a session").await?;
    hs.remember("media", media.trim_start_matches("mxc://"));
    Ok(())
}

/// Asks, one after the other.
async fn run(hs: &Live, asks: &[Ask]) -> Result<Value> {
    let mut answers = BTreeMap::new();
    for ask in asks {
        let client = match ask.who.as_str() {
            "nobody" => hs.anonymous(),
            "admin" => hs.admin().await?,
            "guest" => hs.anonymous().with_token(&hs.recall("guest_token")?),
            "stranger" => hs.anonymous().with_token("a token of nobody's"),
            user => hs.user(user).await?,
        };
        let mut request = client.request(ask.method.clone(), &hs.fill(&ask.path)?);
        if let Some(body) = &ask.body {
            request = request.body("application/json", hs.fill(body)?.into_bytes());
        }
        let answer = request.await?;
        let body = answer.json().ok();
        let headers: BTreeMap<&str, &str> =
            HEADERS.iter().filter_map(|&name| Some((name, answer.header(name)?))).collect();
        let mut shown = json!({ "answers": answer.brief(), "headers": headers });
        match (ask.keeps, body) {
            (Keeps::Shape, Some(body)) => shown["body"] = shape(&body),
            (Keeps::All, Some(body)) => shown["body"] = whole(&body),
            (Keeps::Status, _) | (_, None) => {}
        }
        answers.insert(
            format!("{} {} {}{}", ask.who, ask.method, ask.path, ask.body.as_deref().unwrap_or_default()),
            shown,
        );
    }
    Ok(json!(answers))
}

/// What is otherwise than on the first leg, on which nothing is.
pub(super) fn since_the_leg_before(hs: &Live, what: &str, now: &Value) -> Result<Value> {
    let differences = otherwise(hs, what, now)?.into_iter();
    Ok(told(differences.map(|it| Difference { takes_away: false, ..it }).collect(), hs.release()))
}

/// The same, and what is gone is marked as taken away from whoever relies on it.
pub(super) fn gone_since_the_leg_before(hs: &Live, what: &str, now: &Value) -> Result<Value> {
    Ok(told(otherwise(hs, what, now)?, hs.release()))
}

fn otherwise(hs: &Live, what: &str, now: &Value) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    if let Some(before) = on_the_leg_before(hs, what, now)? {
        compare("", &before, now, &mut differences);
    }
    Ok(differences)
}

/// The same of answers: one that is of another kind is one difference.
fn answered_since(hs: &Live, what: &str, now: &Value) -> Result<Value> {
    let Some(before) = on_the_leg_before(hs, what, now)? else { return Ok(json!([])) };
    Ok(told(answered_otherwise(&before, now), hs.release()))
}

fn answered_otherwise(before: &Value, now: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut headers: BTreeMap<(String, bool), Vec<&String>> = BTreeMap::new();
    for (ask, now) in now.as_object().into_iter().flatten() {
        let before = &before[ask];
        let status = |shown: &Value| shown["answers"]["status"].as_u64();
        let (was, is) = (status(before).unwrap_or_default(), status(now).unwrap_or_default());
        if was != is {
            let text = format!("{ask}: was {}, is {}", before["answers"], now["answers"]);
            let fails = was < 400 && is >= 400 && !is_experiment(ask);
            // Doors that were shut for a reason; and nobody asks for an error of the server's.
            let opens = matches!(was, 401 | 403) && is < 400;
            differences.push(Difference { place: ask.clone(), text, takes_away: fails || opens || is >= 500 });
            continue;
        }
        let is_promised = was < 400 && !is_experiment(ask);
        let code =
            |shown: &Value| shown["answers"]["errcode"].as_str().filter(|code| *code != "M_UNKNOWN").map(str::to_owned);
        if before["answers"] != now["answers"] {
            let text = format!("{ask}: was {}, is {}", before["answers"], now["answers"]);
            // Programs go by the code; the text is for people.
            let takes_away = code(before).is_some() && code(now).is_none() && !is_experiment(ask);
            differences.push(Difference { place: ask.clone(), text, takes_away });
        }
        let mut inner = Vec::new();
        compare(ask, &json!({ "body": before["body"] }), &json!({ "body": now["body"] }), &mut inner);
        differences.extend(inner.into_iter().map(|it| Difference { takes_away: is_promised && it.takes_away, ..it }));
        // What is to be said of one answer's headers is to be said of many.
        let mut inner = Vec::new();
        compare("headers", &before["headers"], &now["headers"], &mut inner);
        for Difference { text, takes_away, .. } in inner {
            headers.entry((text, is_promised && takes_away)).or_default().push(ask);
        }
    }
    differences.extend(headers.into_iter().map(|((text, takes_away), asks)| {
        let more = if asks.len() > 1 { format!(" and {} more", asks.len() - 1) } else { String::new() };
        Difference { place: asks[0].clone(), text: format!("{}{more} → {text}", asks[0]), takes_away }
    }));
    differences
}

/// What breaks something first, and no more than is read.
fn told(mut differences: Vec<Difference>, release: &Version) -> Value {
    let meant = |difference: &Difference| on_purpose(&difference.place, release);
    differences.sort_by_key(|difference| !difference.takes_away || meant(difference).is_some());
    let more = differences.len().saturating_sub(TOLD_AT_ONCE);
    let rest = (more > 0).then(|| json!(format!("and {more} more, which the requests in the evidence show")));
    let shown = differences.iter().take(TOLD_AT_ONCE).map(|difference| {
        let text = match difference.text.char_indices().nth(TOLD) {
            Some((end, _)) => format!("{} …", &difference.text[..end]),
            None => difference.text.clone(),
        };
        match meant(difference) {
            Some(reference) => json!(format!("{text} (meant so: {reference})")),
            None if difference.takes_away => json!({ "breaks": text }),
            None => json!(text),
        }
    });
    shown.chain(rest).collect()
}

/// Where upstream says that a difference at this place is meant.
fn on_purpose(place: &str, release: &Version) -> Option<&'static str> {
    let is_it = |one: &&OnPurpose| {
        let since: Version = one.since.parse().expect("a constant version");
        *release >= since && one.places.iter().any(|end| place.ends_with(end))
    };
    ON_PURPOSE.iter().find(is_it).map(|one| one.reference)
}

/// What was there on the first leg, which remembers what there is now.
pub(super) fn on_the_leg_before(hs: &Live, what: &str, now: &Value) -> Result<Option<Value>> {
    let place = format!("session: {what}");
    let Ok(before) = hs.recall(&place) else {
        hs.remember(&place, &now.to_string());
        return Ok(None);
    };
    Ok(Some(serde_json::from_str(&before)?))
}

/// The sections with their requests, in the order of the file.
///
/// # Panics
///
/// Panics on a malformed line; a unit test meets that first.
fn sections() -> Vec<(String, Vec<Ask>)> {
    let mut sections: Vec<(String, Vec<Ask>)> = Vec::new();
    for line in SESSION.lines().filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title.to_owned(), Vec::new()));
        } else if !line.starts_with('#') {
            let ask = ask(line).unwrap_or_else(|| panic!("`{line}` is no request"));
            sections.last_mut().expect("a section comes first").1.push(ask);
        }
    }
    sections
}

fn ask(line: &str) -> Option<Ask> {
    let mut words = line.splitn(4, ' ');
    let (who, method, path) = (words.next()?, words.next()?, words.next()?);
    let (keeps, method) = match method.split_at(1) {
        ("=", method) => (Keeps::All, method),
        ("~", method) => (Keeps::Status, method),
        _ => (Keeps::Shape, method),
    };
    Some(Ask {
        who: who.to_owned(),
        method: method.parse().ok().filter(|_| path.starts_with('/'))?,
        path: path.to_owned(),
        body: words.next().map(str::to_owned),
        keeps,
    })
}

/// The names and types of a value. What is made anew each time, an id as a name, is `*`; of a list, what its items hold.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("true or false"),
        Value::Number(_) => json!("a number"),
        Value::String(_) => json!("a text"),
        Value::Array(items) => json!({ "[]": items.iter().map(shape).reduce(together).unwrap_or(json!("nothing")) }),
        Value::Object(map) => {
            let mut named: BTreeMap<&str, Value> = BTreeMap::new();
            for (key, value) in map {
                let (key, value) = (if is_id(key) { "*" } else { key }, shape(value));
                let value = match named.remove(key) {
                    Some(other) => together(other, value),
                    None => value,
                };
                named.insert(key, value);
            }
            json!(named)
        }
    }
}

/// Is it a name that is not the same twice?
fn is_id(key: &str) -> bool {
    let device = key.len() == 10 && key.chars().all(|c| c.is_ascii_uppercase());
    device || key.contains(':') || key.starts_with(['!', '@', '$', '#'])
}

/// What two shapes hold together.
fn together(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            for (key, value) in other {
                let value = match one.remove(&key) {
                    Some(own) => together(own, value),
                    None => value,
                };
                one.insert(key, value);
            }
            Value::Object(one)
        }
        (one, other) if one == other => one,
        (one, other) if one == json!("nothing") => other,
        (one, other) if other == json!("nothing") => one,
        (one, other) => {
            let texts: BTreeSet<String> = [one, other]
                .iter()
                .flat_map(|it| {
                    it.as_str()
                        .map_or_else(|| it.to_string(), str::to_owned)
                        .split(", or ")
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                })
                .collect();
            json!(texts.into_iter().collect::<Vec<_>>().join(", or "))
        }
    }
}

/// A value whose lists are told apart by what they hold, so that what is added in the middle is all that differs.
pub(super) fn whole(value: &Value) -> Value {
    let name = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        item => item["rule_id"].as_str().or(item["type"].as_str()).map(str::to_owned),
    };
    match value {
        Value::Array(items) => {
            let named: Option<BTreeMap<String, Value>> = items
                .iter()
                .map(|item| Some((name(item)?, if item.is_string() { json!("is there") } else { whole(item) })))
                .collect();
            match named.filter(|named| named.len() == items.len()) {
                Some(named) => json!(named),
                None => items.iter().map(whole).collect(),
            }
        }
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), whole(value))).collect(),
        other => other.clone(),
    }
}

/// The kinds of value that a shape names. That it is sometimes null is for the data to say, as when a user was last seen.
fn besides_null(shape: &Value) -> Option<BTreeSet<&str>> {
    let kinds: BTreeSet<&str> = shape.as_str()?.split(", or ").filter(|kind| *kind != "null").collect();
    (!kinds.is_empty()).then_some(kinds)
}

/// Is it what [`shape`] calls a value, and not a value?
fn is_kind(shape: &Value) -> bool {
    let kinds = ["true or false", "a number", "a text", "null", "nothing"];
    shape.as_str().is_some_and(|kind| kinds.contains(&kind) || kind.contains(", or "))
}

/// One thing that is otherwise.
struct Difference {
    place: String,
    text: String,
    /// Is something gone, or of another kind?
    takes_away: bool,
}

/// Lists what is otherwise, a sentence for each.
fn compare(place: &str, before: &Value, now: &Value, differences: &mut Vec<Difference>) {
    if before == now {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        let (had, has) = (besides_null(before), besides_null(now));
        if had.is_some() && had == has {
            return;
        }
        let takes_away = is_loss(before, now) && !is_experiment(place);
        let text = format!("{place}: was {before}, is {now}");
        differences.push(Difference { place: place.to_owned(), text, takes_away });
        return;
    };
    let within = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place} → {key}") };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let place = within(key);
        let (text, takes_away) = match (old.get(key), new.get(key)) {
            (Some(before), Some(now)) => {
                compare(&place, before, now, differences);
                continue;
            }
            (Some(before), None) => (format!("{place} is gone (was {before})"), key != "*" && !is_experiment(&place)),
            (None, Some(now)) => (format!("{place} is new ({now})"), false),
            (None, None) => continue,
        };
        differences.push(Difference { place, text, takes_away });
    }
}

/// Is a value taken away by what is there now? An empty list, or nothing at all, is what the data made it; another value of
/// the same kind is no loss, but for a yes that becomes a no.
fn is_loss(before: &Value, now: &Value) -> bool {
    let is_absent = |value: &Value| value.is_null() || value == "null" || value == "nothing";
    match (before, now) {
        _ if is_absent(before) || is_absent(now) => false,
        (Value::Bool(was), Value::Bool(is)) => *was && !is,
        (Value::Number(_), Value::Number(_)) => false,
        (Value::String(_), Value::String(_)) => is_kind(before) && is_kind(now),
        _ => true,
    }
}

/// Is it the place of an experiment, which may go at any time?
fn is_experiment(place: &str) -> bool {
    let is = |name: &str| {
        name.contains("msc") || name.contains("unstable") || name.starts_with("org.") || name.starts_with("io.")
    };
    place.split(" → ").any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_long_enough_and_asks_everybody() {
        let asks: Vec<Ask> = sections().into_iter().flat_map(|(_, asks)| asks).collect();
        assert!(asks.len() >= 150, "{}", asks.len());
        for who in ["alice", "admin", "guest", "nobody"] {
            assert!(asks.iter().any(|ask| ask.who == who), "{who}");
        }
        for api in ["/_matrix/client/", "/_synapse/admin/", "/_matrix/federation/", "/_matrix/client/v1/media/"] {
            assert!(asks.iter().filter(|ask| ask.path.starts_with(api)).count() > 5, "{api}");
        }
    }

    fn texts(differences: &[Difference]) -> Vec<&str> {
        differences.iter().map(|difference| difference.text.as_str()).collect()
    }

    #[test]
    fn what_is_taken_away_breaks_and_what_is_added_or_an_experiment_does_not() {
        let ok = |body: Value| json!({ "answers": { "status": 200 }, "body": shape(&body) });
        let refused = json!({ "answers": { "status": 404, "errcode": "M_UNRECOGNIZED" } });
        let before = json!({
            "alice GET /kept": ok(json!({ "a": 1, "b": "x", "seen": null, "org.matrix.msc1": true })),
            "alice GET /gone": ok(json!({})),
            "alice GET /unstable/gone": ok(json!({})),
            "alice GET /comes": refused,
        });
        let now = json!({
            "alice GET /kept": ok(json!({ "a": "1", "c": 1, "seen": 5 })),
            "alice GET /gone": refused,
            "alice GET /unstable/gone": refused,
            "alice GET /comes": ok(json!({ "much": 1 })),
        });
        let release = "1.163.2".parse().unwrap();
        let seen = told(answered_otherwise(&before, &now), &release);
        let breaks: Vec<&str> = seen.as_array().unwrap().iter().filter_map(|it| it["breaks"].as_str()).collect();
        assert_eq!(
            breaks,
            [
                r#"alice GET /kept → body → a: was "a number", is "a text""#,
                r#"alice GET /kept → body → b is gone (was "a text")"#,
                r#"alice GET /gone: was {"status":200}, is {"status":404,"errcode":"M_UNRECOGNIZED"}"#,
            ]
        );
        assert_eq!(seen.as_array().unwrap().len(), 8, "{seen}");
    }

    #[test]
    fn what_is_taken_away_on_purpose_breaks_nothing_from_then_on() {
        let rules = |rules: Value| json!({ "alice GET /pushrules/": { "answers": { "status": 200 }, "body": rules } });
        let before = rules(json!({ "override": { ".m.rule.roomnotif": {}, ".m.rule.other": {} } }));
        let breaks = |release: &str, now: Value| {
            let seen = told(answered_otherwise(&before, &rules(now)), &release.parse().unwrap());
            seen.as_array().unwrap().iter().filter(|it| it["breaks"].is_string()).count()
        };
        let without_rules = json!({ "override": {} });
        assert_eq!((breaks("1.163.2", without_rules.clone()), breaks("1.164.0rc3", without_rules)), (2, 1));
        assert_eq!(breaks("1.164.0rc3", json!({})), 1);
    }

    #[test]
    fn doors_that_open_and_codes_that_are_lost_break_and_experiments_and_switches_turned_on_do_not() {
        let refused = |status: u64, code: &str| json!({ "answers": { "status": status, "errcode": code } });
        let ok =
            |body: Value, headers: Value| json!({ "answers": { "status": 200 }, "body": body, "headers": headers });
        let cors = json!({ "access-control-allow-origin": "*" });
        let can = |on: bool| json!({ "m.thing": { "enabled": on }, "unstable_features": { "org.matrix.x": !on } });
        let before = json!({
            "alice GET /_synapse/admin/v1/x": refused(403, "M_FORBIDDEN"),
            "alice GET /code": refused(400, "M_NOT_FOUND"),
            "alice GET /other code": refused(400, "M_UNKNOWN"),
            "alice GET /fails": refused(404, "M_NOT_FOUND"),
            "alice GET /on": ok(can(false), cors.clone()),
            "alice GET /off": ok(can(true), cors.clone()),
            "alice GET /some": ok(shape(&json!({ "chunk": [] })), cors),
        });
        let now = json!({
            "alice GET /_synapse/admin/v1/x": ok(json!({}), json!({})),
            "alice GET /code": refused(400, "M_UNKNOWN"),
            "alice GET /other code": refused(400, "M_INVALID_PARAM"),
            "alice GET /fails": refused(500, "M_UNKNOWN"),
            "alice GET /on": ok(can(true), json!({})),
            "alice GET /off": ok(can(false), json!({})),
            "alice GET /some": ok(shape(&json!({ "chunk": [{ "a": 1 }] })), json!({})),
        });
        let seen = told(answered_otherwise(&before, &now), &"1.163.2".parse().unwrap());
        let breaks: Vec<&str> = seen.as_array().unwrap().iter().filter_map(|it| it["breaks"].as_str()).collect();
        assert_eq!(
            breaks,
            [
                r#"alice GET /_synapse/admin/v1/x: was {"status":403,"errcode":"M_FORBIDDEN"}, is {"status":200}"#,
                r#"alice GET /code: was {"status":400,"errcode":"M_NOT_FOUND"}, is {"status":400,"errcode":"M_UNKNOWN"}"#,
                r#"alice GET /fails: was {"status":404,"errcode":"M_NOT_FOUND"}, is {"status":500,"errcode":"M_UNKNOWN"}"#,
                "alice GET /off → body → m.thing → enabled: was true, is false",
                r#"alice GET /on and 2 more → headers → access-control-allow-origin is gone (was "*")"#,
            ]
        );
    }

    #[test]
    fn what_is_too_much_to_be_read_still_breaks() {
        let body = |number: usize| {
            json!((0..number).map(|at| (format!("f{at}"), json!("x".repeat(500)))).collect::<BTreeMap<_, _>>())
        };
        let answer = |number| json!({ "alice GET /x": { "answers": { "status": 200 }, "body": body(number) } });
        let seen = told(answered_otherwise(&answer(200), &answer(0)), &"1.163.2".parse().unwrap());
        let seen = seen.as_array().unwrap();
        assert_eq!((seen.len(), seen.iter().filter(|it| it["breaks"].is_string()).count()), (51, 50));
    }

    #[test]
    fn ids_and_times_are_no_difference_and_names_and_types_are() {
        let answer =
            |id: &str, at: u64| json!({ "chunk": [{ "id": id, "at": at }], "members": { id: { "name": "A" } } });
        let mut differences = Vec::new();
        compare("", &shape(&answer("@a:hs.test", 1)), &shape(&answer("@b:hs.test", 2)), &mut differences);
        assert!(differences.is_empty());
        let now = json!({ "chunk": [{ "id": "x", "at": "today" }, { "seen": true }], "members": {} });
        compare("", &shape(&answer("@a:hs.test", 1)), &shape(&now), &mut differences);
        assert_eq!(
            texts(&differences),
            [
                r#"chunk → [] → at: was "a number", is "a text""#,
                r#"chunk → [] → seen is new ("true or false")"#,
                r#"members → * is gone (was {"name":"a text"})"#,
            ]
        );
    }

    #[test]
    fn what_a_server_can_do_is_compared_by_value() {
        let mut differences = Vec::new();
        let (old, new) = (json!({ "versions": ["v1.1"] }), json!({ "versions": ["v1.1", "v1.2"] }));
        compare("", &whole(&old), &whole(&new), &mut differences);
        assert_eq!(texts(&differences), [r#"versions → v1.2 is new ("is there")"#]);
    }
}
