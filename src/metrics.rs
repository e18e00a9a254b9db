//! The server's own metrics: installs the recorder that all parts use, and renders it for Prometheus.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use spandrel_collector::Collector;
use spandrel_storage::TraceStore;

/// Bounds of histograms in seconds: from a sync on a fast disk to a query that users find slow.
const SECONDS: [f64; 14] =
    [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds of histograms of bytes and of spans.
const SIZES: [f64; 9] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

/// Installs the recorder. Call it before the parts are built, because they register their metrics then.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &SIZES)?
        .set_buckets_for_metric(Matcher::Suffix("_spans".to_owned()), &SIZES)?
        .install_recorder()
}

/// Sets the gauges that no part of the server sets when its value changes.
pub(crate) fn refresh(store: &dyn TraceStore, collector: &Collector) {
    let status = store.status();
    let load = collector.load();
    let gauges = [
        ("spandrel_store_bytes", status.store_bytes),
        ("spandrel_store_spans", status.span_count),
        ("spandrel_store_log_rows", status.log_row_count),
        ("spandrel_store_traces", status.trace_count),
        ("spandrel_store_fresh_blocks", status.fresh_block_count),
        ("spandrel_store_unsealed_spans", status.unsealed_span_count),
        ("spandrel_store_damaged_blocks", status.damaged_blocks),
        ("spandrel_store_damaged_records", status.damaged_records),
        ("spandrel_store_refuses_writes", u64::from(store.refusal().is_some())),
        ("spandrel_ingest_inflight_bytes", load.inflight_bytes as u64),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(value as f64);
    }
}
