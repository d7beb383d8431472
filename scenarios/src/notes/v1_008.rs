//! Synapse 1.8.0.

use harness::prelude::*;

notes!("1.8.0": log_file_refused);

/// `log_file` has had no effect since 1.3.0; now a configuration that still has it is refused. `--log-file`, unknown since
/// then, is refused with the same words.
fn log_file_refused() -> Scenario {
    let command = "a start with --log-file";
    // A sentence, not a traceback that ends in it; later releases begin it in another way.
    let sentence = || {
        matches(concat!(
            r"(ERROR|Error in configuration):\s+Support for the log_file configuration option and --log-file ",
            r"command-line option was\s+removed in Synapse 1\.3\.0\. ",
            r"You should instead set up a separate log configuration file\.",
        ))
    };
    let printed = |status: i64, text: Value| json!({ "exit status": status, "printed": text });
    Scenario::for_note("Upgrading to v1.8.0")
        .hop("1.7.3", "1.8.0")
        .config(json!({ "log_file": "/data/x.log" }))
        .fact("start", start())
        .changes(started(), printed(1, sentence()))
        .fact("/data/x.log", |hs: Live| async move { hs.read("/data/x.log").await })
        .always(Value::Null)
        // Where the option is let through, a second server would run, and be ended with status 124.
        .fact(command, |hs: Live| async move {
            let server = ["timeout", "120", "python", "-m", "synapse.app.homeserver", "-c", "/data/homeserver.yaml"];
            let output = hs.exec(&[&server[..], &["--log-file", "/data/x.log"]].concat()).await?;
            Ok(json!({ "exit status": output.status, "printed": output.stderr }))
        })
        .changes(printed(2, contains("unrecognized arguments: --log-file /data/x.log")), printed(1, sentence()))
        .step("log_file is removed", |it| it.unset("log_file").now("start", started()))
        .step("log_file names no file", |it| it.reconfigure(json!({ "log_file": "" })).now("start", started()))
}
