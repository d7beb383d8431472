//! Names of metrics, before and after they were made to fit Prometheus' rules.

use std::collections::BTreeSet;

use harness::prelude::*;

/// A fact of metrics: the kinds of names that an endpoint shows. `process` and `path` as in [`Live::metrics`].
pub(crate) fn names(process: &'static str, path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let metrics = hs.metrics(process, path).await?;
        let names = metrics.names();
        // When a counter was made is a metric of its own until 1.67.0, and has no new name.
        let is_old = |name: &&&str| name.contains(':') && !name.ends_with("_created");
        let with_colon: BTreeSet<_> = names.iter().filter(is_old).collect();
        let counters = metrics.counters();
        let bare: Vec<_> = BARE.iter().filter(|name| names.contains(*name)).collect();
        let total: Vec<_> = BARE.iter().filter(|name| names.contains(format!("{name}_total").as_str())).collect();
        Ok(json!({
            "with a colon": with_colon,
            "counters without `_total`, of three": bare,
            "counters with `_total`, of three": total,
            "every counter with `_total`": counters.iter().all(|name| name.ends_with("_total")),
        }))
    })
}

const BARE: [&str; 3] = ["process_cpu_seconds", "python_gc_collections", "synapse_background_process_start_count"];

/// Old names beside the new ones.
pub(crate) fn both() -> Value {
    json!({
        "with a colon": COLONS,
        "counters without `_total`, of three": BARE,
        "counters with `_total`, of three": BARE,
        "every counter with `_total`": false,
    })
}

/// Only new names, but for what 1.67.0 itself calls otherwise: its exporter without the old ones is the library's.
pub(crate) fn unfinished() -> Value {
    let mut names = new();
    names["with a colon"] = json!([
        "synapse_admin_mau:current",
        "synapse_admin_mau:max",
        "synapse_admin_mau:registered_reserved_users",
        "synapse_federation_client_sent_pdu_destinations:count_total",
        "synapse_federation_client_sent_pdu_destinations:total_total",
    ]);
    names
}

/// Only new names.
pub(crate) fn new() -> Value {
    json!({
        "with a colon": [],
        "counters without `_total`, of three": [],
        "counters with `_total`, of three": BARE,
        "every counter with `_total`": true,
    })
}

const COLONS: [&str; 13] = [
    "synapse_admin_mau:current",
    "synapse_admin_mau:max",
    "synapse_admin_mau:registered_reserved_users",
    "synapse_federation_client_sent_pdu_destinations:count",
    "synapse_federation_client_sent_pdu_destinations:total",
    "synapse_util_caches_cache:evicted_size",
    "synapse_util_caches_cache:hits",
    "synapse_util_caches_cache:size",
    "synapse_util_caches_cache:total",
    "synapse_util_caches_response_cache:evicted_size",
    "synapse_util_caches_response_cache:hits",
    "synapse_util_caches_response_cache:size",
    "synapse_util_caches_response_cache:total",
];
