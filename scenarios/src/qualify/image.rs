//! The candidate's image beside its predecessor's, and the schema deltas in both.

use harness::prelude::*;

use super::session::{since_the_leg_before, whole};

/// What operators build on: what an image is set to do, and what it holds.
pub(super) fn contract(against: &str, candidate: &str) -> Scenario {
    Scenario::for_note("What changed without a note")
        .hop(against, candidate)
        .invariant("what is otherwise is listed")
        .without_estate("it looks into the images")
        .fact("what the image is set to", |hs: Live| async move {
            let contract = hs.image().await?;
            since_the_leg_before(&hs, "contract", &whole(&contract["config"]))
        })
        .always(anything())
        .fact("what the image holds", |hs: Live| async move {
            let held: Value = serde_json::from_str(&hs.python(HOLDS).await?)?;
            since_the_leg_before(&hs, "holds", &held)
        })
        .always(anything())
        .fact("how large the image is", |hs: Live| async move {
            let size = hs.image().await?["bytes"].as_f64().unwrap_or_default();
            let Ok(before) = hs.recall("size") else {
                hs.remember("size", &size.to_string());
                return Ok(json!([]));
            };
            let ratio = size / before.parse::<f64>()?.max(1.0);
            let is_alike = (1.0 / MUCH..=MUCH).contains(&ratio);
            Ok(if is_alike { json!([]) } else { json!([format!("{ratio:.2} times its predecessor's")]) })
        })
        .always(anything())
        .named(candidate, "image")
}

/// A release keeps the deltas of the one before as they are: a database that has had them will not have them again.
pub(super) fn deltas(against: &str, candidate: &str) -> Scenario {
    Scenario::for_note("Users' data survives")
        .hop(against, candidate)
        .invariant("a delta that has been released stays as it is")
        .without_estate("it looks into the images")
        .fact("deltas of the predecessor that are otherwise", |hs: Live| async move {
            let mut now: Value = serde_json::from_str(&hs.python(DELTAS).await?)?;
            let Ok(before) = hs.recall("deltas") else {
                hs.remember("deltas", &now.to_string());
                return Ok(if now == json!({}) { json!("none found") } else { json!([]) });
            };
            let before: Value = serde_json::from_str(&before)?;
            let now = now.as_object_mut().map(std::mem::take).unwrap_or_default();
            let old = before.as_object().into_iter().flatten();
            let otherwise = old.filter(|(name, sum)| now.get(*name) != Some(sum)).map(|(name, _)| name);
            Ok(json!(otherwise.collect::<Vec<_>>()))
        })
        .always(json!([]))
        .named(candidate, "deltas")
}

/// A size beyond so many times the other is told.
const MUCH: f64 = 1.1;

/// Interpreter and libraries outside Python, by major and minor version.
const HOLDS: &str = "\
import json, sqlite3, ssl, sys
minor = lambda version: '.'.join(str(version).split('.')[:2])
print(json.dumps({
    'Python': '%d.%d' % sys.version_info[:2],
    'SQLite': minor(sqlite3.sqlite_version),
    'OpenSSL': minor(ssl.OPENSSL_VERSION.split()[1]),
}))";

/// Every file below a directory of deltas, with a sum of its content.
const DELTAS: &str = "\
import hashlib, json, os, synapse.storage
root = os.path.join(os.path.dirname(synapse.storage.__file__), 'schema')
sums = {}
for place, _, files in os.walk(root):
    if 'delta' in place.split(os.sep) and '__pycache__' not in place:
        for name in files:
            path = os.path.join(place, name)
            sums[os.path.relpath(path, root)] = hashlib.sha256(open(path, 'rb').read()).hexdigest()
print(json.dumps(sums))";
