//! Synapse 1.73.0.

use harness::prelude::*;

notes!("1.73.0": legacy_metric_names);

/// What the names with a colon are called that others have in their place.
const NEW: [&str; 13] = [
    "synapse_admin_mau_current",
    "synapse_admin_mau_max",
    "synapse_admin_mau_registered_reserved_users",
    "synapse_federation_client_sent_pdu_destinations_count_total",
    "synapse_federation_client_sent_pdu_destinations_total",
    "synapse_util_caches_cache",
    "synapse_util_caches_cache_evicted_size",
    "synapse_util_caches_cache_hits",
    "synapse_util_caches_cache_size",
    "synapse_util_caches_response_cache",
    "synapse_util_caches_response_cache_evicted_size",
    "synapse_util_caches_response_cache_hits",
    "synapse_util_caches_response_cache_size",
];

/// Metric names with colons and counters without `_total` are gone; the option that kept them on a metrics listener is ignored. An
/// HTTP listener had them whatever the option said.
fn legacy_metric_names() -> Scenario {
    let legacy = |process: &'static str, path: &'static str| {
        Probe::from(move |hs: Live| async move {
            let metrics = hs.metrics(process, path).await?;
            let is_new = |name: &&str| name.ends_with("_total");
            let names = metrics.names();
            // Since 1.136.0 some have no sample until something is counted.
            let is_there = |name: &str| names.contains(name) || metrics.declares(name);
            Ok(json!({
                "names with a colon": names.iter().filter(|name| name.contains(':')).count(),
                "those in their place": NEW.iter().filter(|name| is_there(name)).collect::<Vec<_>>(),
                "counters with `_total`": metrics.counters().iter().any(is_new),
                "counters without": !metrics.counters().iter().all(is_new),
            }))
        })
    };
    let shown = |with_a_colon: u32, without_total: bool| {
        json!({
            "names with a colon": with_a_colon,
            "those in their place": NEW,
            "counters with `_total`": true,
            "counters without": without_total,
        })
    };
    let (both, new) = (|| shown(13, true), || shown(0, false));
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
        .changes(both(), new())
        .fact("what the server prints", printed())
        .always("")
        .begin_variant("the option is set")
        .config(json!({ "enable_legacy_metrics": true }))
        .fact("on the metrics listener", legacy("main:9000", "/metrics"))
        .changes(both(), new())
        .begin_step("the option is removed")
        .change(|deployment| {
            deployment.unset("enable_legacy_metrics");
        })
        .begin_variant("the option is not set")
        .fact("on the metrics listener", legacy("main:9000", "/metrics"))
        .always(new())
}
