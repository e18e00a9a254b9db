//! What scrapes have counted so far, of what a caller sees.

use spandrel_mesh::istio::IstioMetrics;
use spandrel_proto::UnixNanos;

/// Istio's metrics, and how far they are counted.
#[derive(Debug)]
pub(crate) struct SpanCounters {
    pub(crate) metrics: IstioMetrics,
    /// Everything before this has been counted.
    pub(crate) until: UnixNanos,
}

// === impl SpanCounters ===

impl SpanCounters {
    /// Counts what ends from now on.
    pub(crate) fn since(until: UnixNanos) -> Self {
        Self { metrics: IstioMetrics::default(), until }
    }
}
