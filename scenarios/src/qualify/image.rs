//! The candidate's image beside its predecessor's, and the schema deltas in both.

use std::collections::{BTreeMap, BTreeSet};

use harness::prelude::*;

use super::session::{gone_since_the_leg_before, on_the_leg_before, since_the_leg_before, whole};

/// What operators build on: what an image is set to do, what it holds, and what its tools take.
pub(super) fn contract(against: &str, candidate: &str) -> Scenario {
    Scenario::for_note("What changed without a note")
        .hop(against, candidate)
        .invariant("what is otherwise is listed")
        .without_estate("it looks into the images")
        .fact("what the image is set to", |hs: Live| async move {
            let config = &hs.image().await?["config"];
            let settings = ["Cmd", "Entrypoint", "Env", "StopSignal", "User", "WorkingDir"];
            let mut set: BTreeMap<&str, Value> = settings.map(|name| (name, config[name].clone())).into();
            set.insert("Env", environment(&config["Env"]));
            since_the_leg_before(&hs, "contract", &whole(&json!(set)))
        })
        .always(anything())
        .fact("what the image promises", |hs: Live| async move {
            let config = &hs.image().await?["config"];
            let promises = ["ExposedPorts", "Healthcheck", "Volumes"].map(|name| (name, config[name].clone()));
            let promises: BTreeMap<_, _> = promises.into_iter().filter(|(_, value)| !value.is_null()).collect();
            gone_since_the_leg_before(&hs, "promises", &whole(&json!(promises)))
        })
        .always(anything())
        // Another entry point or user is as good, as long as whoever runs the image has a homeserver by it.
        .fact("run as it is delivered", |hs: Live| async move {
            let environment = ["SYNAPSE_SERVER_NAME=delivered.test", "SYNAPSE_REPORT_STATS=no"];
            gone_since_the_leg_before(&hs, "delivered", &hs.as_delivered(&environment).await?)
        })
        .always(anything())
        .fact(
            "what the image holds",
            |hs: Live| async move { since_the_leg_before(&hs, "holds", &said(&hs, HOLDS).await?) },
        )
        .always(anything())
        .fact("what it declares to need and does not hold", |hs: Live| async move { said(&hs, NEEDS).await })
        .always(json!([]))
        .fact("tools and their options", |hs: Live| async move {
            gone_since_the_leg_before(&hs, "tools", &said(&hs, TOOLS).await?)
        })
        .always(anything())
        .fact("settings that are read", |hs: Live| async move {
            let now = said(&hs, SETTINGS).await?;
            let before = on_the_leg_before(&hs, "settings", &now)?;
            Ok(before.map_or_else(|| json!([]), |before| settings_otherwise(&before, &now)))
        })
        .always(anything())
        .fact("how it logs by itself", |hs: Live| async move {
            since_the_leg_before(&hs, "logging", &json!(hs.python(LOGGING).await?))
        })
        .always(anything())
        .fact("how large the image is", |hs: Live| async move {
            let size = hs.image().await?["bytes"].as_f64().unwrap_or_default();
            let Some(before) = on_the_leg_before(&hs, "size", &json!(size))? else { return Ok(json!([])) };
            let ratio = size / before.as_f64().unwrap_or_default().max(1.0);
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
            let now = said(&hs, SCHEMA).await?;
            let Some(before) = on_the_leg_before(&hs, "deltas", &now)? else {
                return Ok(if now["deltas"] == json!({}) { json!("none found") } else { json!([]) });
            };
            let old = before["deltas"].as_object().into_iter().flatten();
            let otherwise = old.filter(|(name, sum)| now["deltas"].get(name) != Some(sum)).map(|(name, _)| name);
            Ok(json!(otherwise.collect::<Vec<_>>()))
        })
        .always(json!([]))
        .fact("deltas that no database would ever have", |hs: Live| async move {
            let now = said(&hs, SCHEMA).await?;
            let before = on_the_leg_before(&hs, "new deltas", &now)?;
            let is_past = |name: &str, number: u64| {
                before
                    .as_ref()
                    .is_some_and(|it| it["deltas"].get(name).is_none() && Some(number) < it["number"].as_u64())
            };
            let names = now["deltas"].as_object().into_iter().flatten().map(|(name, _)| name);
            // A database will not come to its number, or has come past it.
            let lost = names.filter(|name| {
                let number = directory(name);
                Some(number) > now["number"].as_u64() || is_past(name, number)
            });
            Ok(json!(lost.collect::<Vec<_>>()))
        })
        .always(json!([]))
        .fact("whether its predecessor may use its database", |hs: Live| async move {
            let now = said(&hs, SCHEMA).await?;
            let before = on_the_leg_before(&hs, "the predecessor's schema", &now)?.unwrap_or_else(|| now.clone());
            let (has, needed) = (before["number"].as_u64(), now["oldest"].as_u64());
            Ok(match (has, needed) {
                (Some(has), Some(needed)) if has < needed => {
                    json!(format!("no: it has schema {has}, and {needed} is needed"))
                }
                _ => json!("yes"),
            })
        })
        .always("yes")
        .named(candidate, "deltas")
}

/// What a program says of the image, as JSON.
async fn said(hs: &Live, program: &str) -> Result<Value> {
    Ok(serde_json::from_str(&hs.python(program).await?)?)
}

/// The number of the schema that a delta leads to: `73` of `main/delta/73/08x.sql`.
fn directory(delta: &str) -> u64 {
    delta.split('/').rev().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// A container's variables by name, but for those of the interpreter's own image.
fn environment(variables: &Value) -> Value {
    let of_python = ["PATH", "LANG", "GPG_KEY"];
    let named = variables.as_array().into_iter().flatten().filter_map(|it| it.as_str()?.split_once('='));
    named
        .filter(|(name, _)| !of_python.contains(name) && !name.starts_with("PYTHON_"))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

/// Settings that are read no more, and those that are new. One that is still named somewhere has only moved in the code.
fn settings_otherwise(before: &Value, now: &Value) -> Value {
    let listed = |of: &Value| -> BTreeSet<String> {
        of.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let is_experiment = |name: &String| name.contains("msc") || name.contains("experimental");
    let (was, is, named) = (listed(&before["read"]), listed(&now["read"]), listed(&now["named"]));
    let gone = was.difference(&named).map(|name| {
        let text = format!("{name} is read no more");
        if is_experiment(name) { json!(text) } else { json!({ "breaks": text }) }
    });
    let known = listed(&before["named"]);
    gone.chain(is.difference(&known).map(|name| json!(format!("{name} is new")))).collect()
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

/// What the package says that it needs, extras that are there included, against what is there.
const NEEDS: &str = "\
import importlib.metadata as m, json
from packaging.requirements import Requirement
lacks = []
for line in m.requires('matrix-synapse') or []:
    need = Requirement(line)
    is_extra = need.marker is not None and not need.marker.evaluate({'extra': ''})
    if need.marker is not None and 'extra' not in str(need.marker) and is_extra:
        continue
    try:
        there = m.version(need.name)
    except m.PackageNotFoundError:
        if not is_extra:
            lacks.append('%s, of which %s is needed' % (need.name, need.specifier or 'any'))
        continue
    if not need.specifier.contains(there, prereleases=True):
        lacks.append('%s is %s, and %s is needed' % (need.name, there, need.specifier))
print(json.dumps(sorted(set(lacks))))";

/// The options of each tool that the package brings, by the tool's own help.
const TOOLS: &str = "\
import importlib.metadata as m, json, os, re, shutil, subprocess, sys
tools = {}
for entry in m.distribution('matrix-synapse').entry_points:
    if entry.group == 'console_scripts':
        program = 'import sys; sys.argv[0] = %r; from %s import %s as main; sys.exit(main())' % (
            entry.name, *entry.value.split(':'))
        said = subprocess.run([sys.executable, '-c', program, '--help'], capture_output=True, text=True)
        tools[entry.name] = {
            'help': said.returncode == 0,
            'options': {option: True for option in re.findall(r'(?<![\\w-])--?[a-z][\\w-]*', said.stdout)},
        }
print(json.dumps(tools))";

/// Names that the configuration's code takes out of what it is given, and all that it names at all.
const SETTINGS: &str = "\
import ast, glob, json, os, synapse.config
read, named = set(), set()
for path in glob.glob(os.path.join(os.path.dirname(synapse.config.__file__), '*.py')):
    for node in ast.walk(ast.parse(open(path).read())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            named.add(node.value)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named.add(node.target.id)
        of = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == 'get':
            of = node.args[0] if node.args else None
        if isinstance(node, ast.Subscript):
            of = node.slice
        if isinstance(of, ast.Constant) and isinstance(of.value, str) and of.value.isidentifier():
            read.add(of.value)
print(json.dumps({'read': sorted(read), 'named': sorted(named)}))";

/// The logging that a homeserver is given where an operator gives none.
const LOGGING: &str = "\
from synapse.config.logger import DEFAULT_LOG_CONFIG
print(DEFAULT_LOG_CONFIG.template)";

/// The number of the schema, that of the oldest code which may still use its database, and every file below a directory of
/// deltas with a sum of its content.
const SCHEMA: &str = "\
import hashlib, json, os, synapse.storage
from synapse.storage.schema import SCHEMA_COMPAT_VERSION, SCHEMA_VERSION
root = os.path.join(os.path.dirname(synapse.storage.__file__), 'schema')
sums = {}
for place, _, files in os.walk(root):
    if 'delta' in place.split(os.sep) and '__pycache__' not in place:
        for name in files:
            path = os.path.join(place, name)
            sums[os.path.relpath(path, root)] = hashlib.sha256(open(path, 'rb').read()).hexdigest()
print(json.dumps({'number': SCHEMA_VERSION, 'oldest': SCHEMA_COMPAT_VERSION, 'deltas': sums}))";
