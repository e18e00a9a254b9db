//! One span of a trace: what it says of a request in a mesh, and its place in the trace.

use std::sync::Arc;

use spandrel_proto::SpanId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanKind, SpanView};

use crate::facts::Facts;
use crate::texts::Texts;

/// A span of a trace.
#[derive(Debug, Clone)]
pub struct MeshSpan {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub start: u64,
    pub duration: u64,
    /// Whether it is the caller's side of a call.
    pub is_client: bool,
    /// Shared by spans that say the same.
    pub facts: Arc<Facts>,
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
            is_client: view.kind() == SpanKind::Client,
            facts: Arc::new(Facts::of(view.name, &texts)),
        })
    }
}
