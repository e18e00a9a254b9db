//! The columns of one row of a page, without the values of its slots.

use spandrel_proto::otlp::SpanView;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::{SpanId, TraceId};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) class: u32,
    pub(crate) resource_scope: u32,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) sequence: u64,
    pub(crate) span_id: SpanId,
    pub(crate) parent: u64,
}

/// The spans that a span links to; links with invalid IDs are left out.
pub(crate) fn links_of(span: &[u8]) -> Result<Vec<(TraceId, SpanId)>, WireError> {
    let mut links = Vec::new();
    for link in SpanView::parse(span)?.links() {
        let link = link?;
        links.extend(TraceId::from_wire(link.trace_id).zip(SpanId::from_wire(link.span_id)));
    }
    Ok(links)
}
