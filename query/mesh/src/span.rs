//! One span of a trace: what it says of a request in a mesh, and its place in the trace.

use spandrel_proto::SpanId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanView};

use crate::facts::Facts;
use crate::texts::Texts;

/// A span of a trace.
#[derive(Debug, Clone)]
pub struct MeshSpan {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub start: u64,
    pub duration: u64,
    pub facts: Facts,
}

// === impl MeshSpan ===

impl MeshSpan {
    /// Reads a `Span` message and its resource.
    pub fn read(resource: &[u8], span: &[u8]) -> Result<Self, WireError> {
        let view = SpanView::parse(span)?;
        let mut texts = Texts::default();
        texts.see(ResourceView::parse(resource)?.attributes())?;
        texts.see(view.attributes())?;
        Ok(Self {
            id: SpanId::from_wire(view.span_id).unwrap_or_default(),
            parent: SpanId::from_wire(view.parent_span_id),
            start: view.start,
            duration: view.duration(),
            facts: Facts::of(view.name, &texts),
        })
    }
}
