//! The order of rows in a block: by trace, start and span ID.

use spandrel_proto::{SpanId, TraceId};

/// The sort key of rows: trace, start, span ID. IDs are big-endian numbers, which compare faster than bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    pub(crate) trace: u128,
    pub(crate) start: u64,
    pub(crate) span_id: u64,
}

// === impl RowKey ===

impl RowKey {
    /// The key of the span with these IDs and this start in nanoseconds.
    pub fn new(trace: TraceId, start: u64, span_id: SpanId) -> Self {
        Self {
            trace: u128::from_be_bytes(*trace.as_bytes()),
            start,
            span_id: u64::from_be_bytes(*span_id.as_bytes()),
        }
    }

    /// The trace ID.
    pub fn trace(&self) -> TraceId {
        TraceId::from_bytes(self.trace.to_be_bytes())
    }

    /// The start in nanoseconds since the epoch.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The span ID.
    pub fn span_id(&self) -> SpanId {
        SpanId::from_bytes(self.span_id.to_be_bytes())
    }
}
