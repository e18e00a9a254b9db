//! Spans and sets as short text, for messages of failed tests.

use std::fmt::Write;

use opentelemetry_proto::tonic::common::v1::KeyValue;

use crate::generate::spans::BEGIN;
use crate::plain::trace::Sent;
use crate::plain::value::Value;

/// One line for each span: batch, trace, ID and parent, times since the begin in nanoseconds, and what it
/// has.
pub fn describe(batches: &[Vec<Sent>]) -> String {
    let mut text = String::new();
    for (batch, spans) in batches.iter().enumerate() {
        for span in spans {
            let _ = writeln!(text, "batch {batch} {}", line(span));
        }
    }
    text
}

fn line(sent: &Sent) -> String {
    let span = &sent.span;
    let last = |id: &[u8]| id.last().copied().map_or("-".to_owned(), |byte| byte.to_string());
    let mut text = format!(
        "trace {} span {} parent {} kind {} status {:?} flags {:x} {:?} +{}..+{} {}",
        last(&span.trace_id),
        last(&span.span_id),
        last(&span.parent_span_id),
        span.kind,
        span.status.as_ref().map(|status| (status.code, status.message.as_str())),
        span.flags,
        span.name,
        span.start_time_unix_nano - BEGIN,
        span.end_time_unix_nano - BEGIN,
        attributes(&span.attributes),
    );
    let _ = write!(text, " resource {}", attributes(&sent.resource.attributes));
    let scope = &sent.scope;
    let _ = write!(text, " scope {:?} {:?} {}", scope.name, scope.version, attributes(&scope.attributes));
    for event in &span.events {
        let time = event.time_unix_nano as i64 - span.start_time_unix_nano as i64;
        let _ = write!(text, " event {:?} {time} {}", event.name, attributes(&event.attributes));
    }
    for link in &span.links {
        let (trace, span) = (last(&link.trace_id), last(&link.span_id));
        let _ = write!(text, " link {trace} {span} {}", attributes(&link.attributes));
    }
    text
}

fn attributes(attributes: &[KeyValue]) -> String {
    let one =
        |attribute: &KeyValue| format!("{}={:?}", attribute.key, Value::of_any(attribute.value.as_ref()));
    format!("[{}]", attributes.iter().map(one).collect::<Vec<_>>().join(" "))
}
