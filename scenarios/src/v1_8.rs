//! Synapse 1.8.0.

use harness::prelude::*;

notes!("1.8.0": log_file_refused);

/// `log_file` has had no effect since 1.3.0; now a configuration that still has it is refused. `--log-file`, unknown since
/// then, is refused with the same words.
fn log_file_refused() -> Scenario {
    let command = "a start with --log-file";
    let refused_with_status = |status: i64, text: &str| json!({ "exit status": status, "printed": contains(text) });
    Scenario::for_note("Upgrading to v1.8.0")
        .hop("1.7.3", "1.8.0")
        .config(json!({ "log_file": "/data/x.log" }))
        .fact("start", start())
        .until("1.8.0", started())
        .since("1.8.0", refused("Support for the log_file configuration option and --log-file"))
        .fact("/data/x.log", |hs: Live| async move { hs.read("/data/x.log").await })
        .always(Value::Null)
        // Where the option is let through, a second server would run, and be ended with status 124.
        .fact(command, |hs: Live| async move {
            let server = ["timeout", "30", "python", "-m", "synapse.app.homeserver", "-c", "/data/homeserver.yaml"];
            let output = hs.exec(&[&server[..], &["--log-file", "/data/x.log"]].concat()).await?;
            Ok(json!({ "exit status": output.status, "printed": output.stderr }))
        })
        .until("1.8.0", refused_with_status(2, "unrecognized arguments: --log-file /data/x.log"))
        .since("1.8.0", refused_with_status(1, "--log-file command-line option was removed in Synapse 1.3.0"))
        .step("log_file is removed")
        .change(|deployment| {
            deployment.unset("log_file");
        })
        .now("start", started())
}
