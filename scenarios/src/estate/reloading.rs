//! An operator who has changed something has it read anew, as `systemctl reload` does: the service manager hears of it.

use super::prelude::*;

/// Where the homeserver tells its state.
const SOCKET: &str = "/tmp/notify";

pub(super) fn part() -> Part {
    Part::new("reloading")
        .since("1.9.0")
        // What a release does is looked at on the next one.
        .reads_since("1.9.0")
        .environment("NOTIFY_SOCKET", SOCKET)
        .write(async |_| Ok(json!({ "waiting": EXPECTED })))
        .read(|it: Visit| async move {
            if !it.is_first_time("reloading") {
                return Ok(json!(EXPECTED));
            }
            let lines = async || it.live.log_lines("Reloaded log config from").await;
            let before = lines().await?.len();
            let told: Vec<String> = serde_json::from_str(&it.live.python(&asking()).await?)?;
            let after = eventually(lines, |lines| lines.len() > before).await?;
            let is_read = if after.len() > before { "its log's configuration is read" } else { "nothing is read" };
            // And goes on.
            it.friend.get(&["account", "whoami"]).await?;
            Ok(told.iter().map(String::as_str).chain([is_read]).collect())
        })
        .loses(LOG_OUT)
}

/// What it tells, and that it does so.
const EXPECTED: [&str; 3] = ["RELOADING=1", "READY=1", "its log's configuration is read"];

/// Listens where a service manager would, asks the main process to read anew, and prints what it says.
fn asking() -> String {
    format!(
        "import glob, json, os, signal, socket\n\
         told, listener = [], socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         listener.bind('{SOCKET}')\n\
         listener.settimeout(30)\n\
         def is_main(process):\n\
         \x20   return b'synapse.app.homeserver' in open(process + '/cmdline', 'rb').read().split(b'\\0')\n\
         # A container's first process may be one that only starts the others.\n\
         main = max(int(process[6:]) for process in glob.glob('/proc/[0-9]*') if is_main(process))\n\
         os.kill(main, signal.SIGHUP)\n\
         try:\n\
         \x20   for _ in range(2):\n\
         \x20       told.append(listener.recv(99).decode())\n\
         except socket.timeout:\n\
         \x20   pass\n\
         os.remove('{SOCKET}')\n\
         print(json.dumps(told))"
    )
}
