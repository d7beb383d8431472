//! Synapse 1.8.0.

use harness::prelude::*;

notes!("1.8.0": log_file_refused);

/// `log_file` has had no effect since 1.3.0; now a configuration that still has it is refused.
fn log_file_refused() -> Scenario {
    Scenario::for_note("Upgrading to v1.8.0")
        .hop("1.7.3", "1.8.0")
        .config(json!({ "log_file": "/data/x.log" }))
        .fact("start", start())
        .until("1.8.0", started())
        .since("1.8.0", refused("Support for the log_file configuration option and --log-file"))
        .fact("/data/x.log", |hs: Live| async move { hs.read("/data/x.log").await })
        .always(Value::Null)
        .step("a log configuration instead")
        .change(|deployment| {
            deployment.unset("log_file");
        })
        .now("start", started())
}
