//! Synapse 1.73.0.

use harness::prelude::*;

notes!("1.73.0": legacy_metric_names);

/// Metric names with colons and counters without `_total` are gone; the option that kept them on a metrics listener is ignored. An
/// HTTP listener had them whatever the option said.
fn legacy_metric_names() -> Scenario {
    let legacy = |process: &'static str, path: &'static str| {
        Probe::from(move |hs: Live| async move {
            let names = hs.metrics(process, path).await?;
            let types = hs.anonymous().at(process)?.get(path).await?.ok()?.text();
            let counters: Vec<_> = types
                .lines()
                .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
                .map(|name| name.ends_with("_total"))
                .collect();
            Ok(json!({
                "names with a colon": names.names().iter().filter(|name| name.contains(':')).count(),
                "counters with `_total`": counters.contains(&true),
                "counters without": counters.contains(&false),
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
