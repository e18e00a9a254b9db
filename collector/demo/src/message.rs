//! A message in Kafka, with the headers that its consumers read. `protocol/messaging.rs` sends and processes messages.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext};
use std::time::SystemTime;

/// A published message.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) topic: &'static str,
    pub(crate) published: SystemTime,
    pub(crate) id: String,
    pub(crate) partition: String,
    pub(crate) producer: SpanContext,
}

// === impl Message ===

impl Message {
    /// A link to the producer. Its context is remote, because it came in the headers.
    pub(crate) fn link(&self) -> Link {
        let producer = &self.producer;
        let context = SpanContext::new(
            producer.trace_id(),
            producer.span_id(),
            producer.trace_flags(),
            true,
            producer.trace_state().clone(),
        );
        Link::new(context, vec![KeyValue::new("messaging.message.id", self.id.clone())], 0)
    }
}
