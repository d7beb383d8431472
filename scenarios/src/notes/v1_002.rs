//! Synapse 1.2.0.

use harness::prelude::*;

notes!("1.2.0": metrics_renamed);

/// Counters get a name that ends in `_total`, and no name keeps a colon; what they were called before is shown beside it.
///
/// It is `prometheus_client` 0.4 or newer that the new names of counters come from. 1.2.0 is the first to permit it.
/// Upstream: PR 5636.
fn metrics_renamed() -> Scenario {
    let renamed = |process: &'static str, path: &'static str| {
        Probe::from(move |hs: Live| async move {
            // What measures blocks first is still under way when the server answers.
            eventually(
                || hs.metrics(process, path),
                |metrics| metrics.names().iter().any(|name| name.starts_with("synapse_util_metrics_block_count")),
            )
            .await?;
            // The caches are counted while one looks, and shown to who looks next.
            let metrics = hs.metrics(process, path).await?;
            let names = metrics.names();
            let unlike = |(old, new): &&(&str, &str)| {
                let values =
                    |name| metrics.of(name).map(|sample| (sample.labels.clone(), sample.value)).collect::<Vec<_>>();
                values(old) != values(new)
            };
            let lacking = |of: fn(&(&'static str, &'static str)) -> &'static str| {
                RENAMED.iter().map(of).filter(|name| !names.contains(name)).collect::<Vec<_>>()
            };
            Ok(json!({
                "old names that are not there": lacking(|(old, _)| old),
                "new names that are not there": lacking(|(_, new)| new),
                "other values under the new name": RENAMED.iter().filter(unlike).count(),
            }))
        })
    };
    let new: Vec<&str> = RENAMED.iter().map(|(_, new)| *new).collect();
    let shown = |lacking: &[&str]| {
        json!({
            "old names that are not there": [],
            "new names that are not there": lacking,
            "other values under the new name": lacking.len(),
        })
    };
    // From then on old names are not there at all. (On the metrics listener one may still ask for them, until 1.73.0.)
    let old: Vec<&str> = RENAMED.iter().map(|(old, _)| *old).collect();
    let without_old = |lacking: &[&str]| {
        json!({
            "old names that are not there": old,
            "new names that are not there": lacking,
            "other values under the new name": RENAMED.len() - lacking.len(),
        })
    };
    // Counters of something that has not happened yet: with a label for the server's name they have no sample. PR 18656.
    let not_counted = [
        "synapse_federation_client_events_processed_total",
        "synapse_federation_client_sent_pdu_destinations_count_total",
        "synapse_federation_client_sent_pdu_destinations_total",
        "synapse_federation_client_sent_transactions_total",
        "synapse_notifier_notified_events_total",
        "synapse_storage_events_persisted_events_total",
    ];
    let library = Probe::from(|hs: Live| async move {
        let metrics = hs.metrics("main:9000", "/metrics").await?;
        let names = metrics.names();
        let ours =
            names.iter().filter(|name| name.starts_with("process_cpu_seconds") || name.starts_with("python_gc_coll"));
        Ok(json!(ours.collect::<Vec<_>>()))
    });
    Scenario::for_note("Upgrading to v1.2.0")
        .disagreement(
            "names of the process and of Python's garbage collector are among those that are renamed",
            "1.1.0 has none of the old ones, and `process_cpu_seconds_total` already; the old ones come with 1.2.0",
        )
        .hop("1.1.0", "1.2.0")
        .config(json!({ "enable_metrics": true }))
        .resources(["metrics"])
        .listener(metrics_listener())
        .fact("on the metrics listener", renamed("main:9000", "/metrics"))
        .changes(shown(&new), shown(&[]))
        .since("1.71.0", without_old(&[]))
        .since("1.136.0", without_old(&not_counted))
        .fact("on the HTTP listener", renamed("main", "/_synapse/metrics"))
        .changes(shown(&new), shown(&[]))
        .since("1.73.0", without_old(&[]))
        .since("1.136.0", without_old(&not_counted))
        .fact("names of the process and of the garbage collector", library)
        .changes(
            json!(["process_cpu_seconds_total"]),
            json!([
                "process_cpu_seconds",
                "process_cpu_seconds_total",
                "python_gc_collections",
                "python_gc_collections_total",
            ]),
        )
        .since("1.71.0", json!(["process_cpu_seconds_total", "python_gc_collections_total"]))
}

/// Some that always have samples, of each kind: old name, new name.
const RENAMED: [(&str, &str); 11] = [
    ("synapse_background_process_start_count", "synapse_background_process_start_count_total"),
    ("synapse_federation_client_events_processed", "synapse_federation_client_events_processed_total"),
    (
        "synapse_federation_client_sent_pdu_destinations:count",
        "synapse_federation_client_sent_pdu_destinations_count_total",
    ),
    ("synapse_federation_client_sent_pdu_destinations:total", "synapse_federation_client_sent_pdu_destinations_total"),
    ("synapse_federation_client_sent_transactions", "synapse_federation_client_sent_transactions_total"),
    ("synapse_http_server_response_count", "synapse_http_server_response_count_total"),
    ("synapse_notifier_notified_events", "synapse_notifier_notified_events_total"),
    ("synapse_storage_events_persisted_events", "synapse_storage_events_persisted_events_total"),
    ("synapse_util_metrics_block_count", "synapse_util_metrics_block_count_total"),
    // Not in upstream's table.
    ("synapse_util_caches_cache:hits", "synapse_util_caches_cache_hits"),
    ("synapse_util_caches_cache:size", "synapse_util_caches_cache_size"),
];
