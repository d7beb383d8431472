//! What operators run beside the homeserver: tools of the release, on data that an older one wrote.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("tools")
        // What a release does is looked at on the next one.
        .reads_since("0.34.0")
        .write(|it: Visit| async move {
            let person = it.somebody("exported").await?;
            let room = person.room(json!({ "preset": "private_chat" })).await?;
            person.say(&room, "to be taken along").await?;
            Ok(json!({ "room": room, "waiting": [] }))
        })
        .read(|it: Visit| async move {
            if !it.is_first_time("tools") {
                return Ok(json!([]));
            }
            let (made, word) = (it.live.unique("made-by-a-tool"), "a word for a tool");
            let person = it.somebody("exported").await?;
            let said: Value = serde_json::from_str(&it.live.python(&running(&made, word, person.id(), &it)?).await?)?;
            let failing = |tool: &str| json!([tool, said[tool]["status"], said[tool]["printed"]]);
            let mut failures = Vec::new();
            if super::passwords::try_to_log_in(&it, &made, word).await?.status() != 200 {
                failures.push(failing("register_new_matrix_user"));
            }
            let hash = text(&said["hash_password"]["printed"]);
            let hash = hash.lines().last().unwrap_or_default();
            it.live.execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE name = '{}'", person.id())).await?;
            if super::passwords::try_to_log_in(&it, person.id(), word).await?.status() != 200 {
                failures.push(failing("hash_password"));
            }
            // Not even begun from 1.45.0 to 1.46.0 (#11191).
            let review = "synapse_review_recent_signups";
            let is_due = it.from("1.44.0") && super::is_looked_for(&it, "1.45.0rc1", "1.46.0rc1", "1.47.0rc1");
            if is_due && !text(&said[review]["printed"]).contains(person.id()) {
                failures.push(failing(review));
            }
            // Broken for long before (#11078).
            if it.from("1.46.0") && !text(&said["export-data"]["found"]).contains("to be taken along") {
                failures.push(failing("export-data"));
            }
            Ok(json!(failures))
        })
        .loses("DELETE FROM users WHERE name LIKE '@exported%'")
}

/// Runs them all where the homeserver runs: what each prints, with its status, and what was found where data are exported to.
fn running(made: &str, word: &str, person: &str, it: &Visit) -> Result<String> {
    let room = it.kept("room")?;
    Ok(format!(
        "import json, os, subprocess, sys\n\
         bin, config, to = os.path.dirname(sys.executable), '/data/homeserver.yaml', '/tmp/exported-{mark}'\n\
         def run(*command):\n\
         \x20   if not os.path.exists(command[0]):\n\
         \x20       return {{'status': None, 'printed': 'there is none'}}\n\
         \x20   process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)\n\
         \x20   printed = process.communicate()[0].decode()\n\
         \x20   return {{'status': process.returncode, 'printed': printed}}\n\
         def tool(name, *arguments):\n\
         \x20   said[name] = run(os.path.join(bin, name), *arguments)\n\
         said = {{}}\n\
         tool('register_new_matrix_user', '-u', '{made}', '-p', '{word}', '--no-admin', '-c', config, 'http://localhost:8008')\n\
         tool('hash_password', '-p', '{word}', '-c', config)\n\
         tool('synapse_review_recent_signups', '-c', config)\n\
         said['export-data'] = run(sys.executable, '-m', 'synapse.app.admin_cmd', '-c', config,\n\
         \x20   'export-data', '{person}', '--output-directory', to)\n\
         events = os.path.join(to, 'rooms', '{room}', 'events')\n\
         said['export-data']['found'] = open(events).read() if os.path.exists(events) else ''\n\
         print(json.dumps(said))",
        mark = it.mark,
    ))
}
