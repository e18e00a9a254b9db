//! Targets: the limit of each measurement on a machine with two cores that server and driver share.
//!
//! They hold for scattered spans of about 494 bytes on the wire, sent as fast as they are accepted, under `--durability
//! sync`, and for queries over HTTP on loopback.

/// CPU seconds per million spans until they are acknowledged and can be found.
pub(crate) const CPU_QUERYABLE: f64 = 2.5;
/// CPU seconds per million spans until they are sealed, all background work included.
pub(crate) const CPU_SEALED: f64 = 5.0;
/// Bytes per span on disk after sealing, for the whole data directory.
pub(crate) const BYTES_PER_SPAN: f64 = 45.0;
/// Peak memory during ingest, in MB.
pub(crate) const PEAK_MEMORY: f64 = 400.0;
/// A trace of 20 spans by its ID, p99 in ms.
pub(crate) const TRACE_P99: f64 = 4.0;
/// Growth of that p99 from the smallest store to the largest.
pub(crate) const TRACE_P99_GROWTH: f64 = 1.5;
/// A trace of 20,000 spans, in ms.
pub(crate) const LARGE_TRACE: f64 = 100.0;
/// Rare values, services, operations, failed spans: p95 in ms.
pub(crate) const SEARCH_P95: f64 = 20.0;
/// Values that no span has: p95 in ms.
pub(crate) const ABSENT_P95: f64 = 5.0;
/// Spans by their duration: p95 in ms.
pub(crate) const DURATION_P95: f64 = 10.0;
/// Structural questions over an hour: p95 in ms.
pub(crate) const STRUCTURAL_P95: f64 = 150.0;
/// Aggregates of pipelines over an hour: p95 in ms.
pub(crate) const PIPELINE_P95: f64 = 150.0;
/// Series by service over a day, from rollups: p95 in ms.
pub(crate) const ROLLUP_P95: f64 = 50.0;
/// Series by an attribute over all spans: p95 in ms.
pub(crate) const ATTRIBUTE_P95: f64 = 400.0;
/// Comparison of all attributes over all spans: p95 in ms.
pub(crate) const COMPARE_P95: f64 = 600.0;
/// Time from the start after a SIGKILL until ready, in seconds.
pub(crate) const READY_AFTER_KILL: f64 = 5.0;
/// Acknowledged spans that are lost by a SIGKILL.
pub(crate) const LOST: f64 = 0.0;
