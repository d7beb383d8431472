//! Synapse 1.73.0.

use harness::prelude::*;

notes!("1.73.0": legacy_metric_names);

/// Metric names with colons and counters without `_total` are gone; the option that kept them on a metrics listener is ignored. An
/// HTTP listener had them whatever the option said.
fn legacy_metric_names() -> Scenario {
    let legacy = |process: &'static str, path: &'static str| {
        Probe::from(move |hs: Live| async move {
            let metrics = hs.metrics(process, path).await?;
            let is_new = |name: &String| name.ends_with("_total");
            Ok(json!({
                "names with a colon": metrics.names().iter().filter(|name| name.contains(':')).count(),
                "counters with `_total`": metrics.counters().iter().any(is_new),
                "counters without": !metrics.counters().iter().all(is_new),
            }))
        })
    };
    let both = || json!({ "names with a colon": 13, "counters with `_total`": true, "counters without": true });
    let new = || json!({ "names with a colon": 0, "counters with `_total`": true, "counters without": false });
    Scenario::for_note("Legacy Prometheus metric names have now been removed")
        .hop("1.72.0", "1.73.0")
        .config(json!({ "enable_metrics": true }))
        .resources(["metrics"])
        .listener(metrics_listener())
        .seed(|hs| async move {
            hs.user("alice").await?.create_room(&json!({})).await?;
            Ok(())
        })
        .fact("on the HTTP listener", legacy("main", "/_synapse/metrics"))
        .until("1.73.0", both())
        .since("1.73.0", new())
        .fact("what the server prints", printed())
        .always("")
        .variant("the option is set")
        .config(json!({ "enable_legacy_metrics": true }))
        .fact("on the metrics listener", legacy("main:9000", "/metrics"))
        .until("1.73.0", both())
        .since("1.73.0", new())
        .step("the option is removed")
        .change(|deployment| {
            deployment.unset("enable_legacy_metrics");
        })
        .variant("the option is not set")
        .fact("on the metrics listener", legacy("main:9000", "/metrics"))
        .always(new())
}
