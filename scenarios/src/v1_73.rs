//! Synapse 1.73.0.

use harness::prelude::*;

notes!("1.73.0": legacy_metric_names);

/// Metric names with colons and counters without `_total` are gone; the option that kept them is ignored.
fn legacy_metric_names() -> Scenario {
    let legacy = |process: &'static str, path: &'static str| {
        Probe::from(move |hs: Live| async move {
            let metrics = hs.metrics(process, path).await?;
            let names = metrics.names();
            Ok(json!({
                "with a colon": names.iter().filter(|name| name.contains(':')).count(),
                "synapse_background_process_start_count": names.contains("synapse_background_process_start_count"),
                "synapse_background_process_start_count_total":
                    names.contains("synapse_background_process_start_count_total"),
            }))
        })
    };
    let shown = |colons: Value, plain: bool| {
        json!({
            "with a colon": colons,
            "synapse_background_process_start_count": plain,
            "synapse_background_process_start_count_total": true,
        })
    };
    Scenario::for_note("Legacy Prometheus metric names have now been removed")
        .hop("1.72.0", "1.73.0")
        .config(json!({ "enable_metrics": true, "enable_legacy_metrics": true }))
        .resources(["metrics"])
        .listener(metrics_listener())
        .seed(|hs| async move {
            hs.user("alice").await?.create_room(&json!({})).await?;
            Ok(())
        })
        .fact("on the metrics listener", legacy("main:9000", "/metrics"))
        .until("1.73.0", shown(json!(13), true))
        .since("1.73.0", shown(json!(0), false))
        .fact("on the HTTP listener", legacy("main", "/_synapse/metrics"))
        .until("1.73.0", shown(json!(13), true))
        .since("1.73.0", shown(json!(0), false))
}
