//! Kind, status, failure and parenthood of a span in one byte, and its shown duration.

use spandrel_proto::otlp::{SpanKind, SpanView, StatusCode};

use crate::semantics;

/// Flags of a span in one byte: kind (bits 0 to 2), status (3 and 4), failed (5), has a parent (6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowFlags(pub u8);

/// The duration in nanoseconds that is shown: zero if the end lies before the start, where the difference wraps around.
pub fn shown_duration(start: u64, duration: u64) -> u64 {
    if start.checked_add(duration).is_some() { duration } else { 0 }
}

// === impl RowFlags ===

impl RowFlags {
    /// The flags of a span.
    pub fn of(span: &SpanView<'_>, failed: bool) -> Self {
        Self::of_parts(span.raw_kind, span.status(), failed, !semantics::is_parentless(span.parent_span_id))
    }

    pub(crate) fn of_parts(raw_kind: i32, status: StatusCode, failed: bool, has_parent: bool) -> Self {
        let kind = match raw_kind {
            known @ 1..=5 => known as u8,
            _ => 0,
        };
        let status = match status {
            StatusCode::Unset => 0,
            StatusCode::Ok => 1,
            StatusCode::Error => 2,
        };
        Self(kind | status << 3 | u8::from(failed) << 5 | u8::from(has_parent) << 6)
    }

    /// The kind; kinds that OTLP does not define read as unspecified.
    pub fn kind(self) -> SpanKind {
        SpanKind::from_raw(i32::from(self.0 & 7))
    }

    /// The status as sent, even if attribute `error` makes the span a failed one.
    pub fn status(self) -> StatusCode {
        StatusCode::from_raw(i32::from(self.0 >> 3 & 3))
    }

    /// Whether the span has failed, as `docs/semantics.md#failed` defines it.
    pub fn failed(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// Whether the span has a parent.
    pub fn has_parent(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// Whether the span is a request: SERVER, CONSUMER or parentless.
    pub fn is_request(self) -> bool {
        semantics::is_request(self.kind(), self.has_parent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_its_start_has_no_duration() {
        assert_eq!(shown_duration(100, 40u64.wrapping_sub(100)), 0);
        assert_eq!(shown_duration(100, 40), 40);
    }
}
