//! Jaeger's JSON of traces, which its UI reads from files.
//!
//! Times are cut to microseconds. A resource becomes a process and its attributes the process's tags; kind, status,
//! scope and trace state become tags under the names of OpenTelemetry's mapping to Jaeger; links become references.
//! Schema URLs, scope attributes, flags, dropped counts and attributes of links are lost.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{
    AnyValue, Attributes, EventView, ResourceView, ScopeView, SpanKind, SpanView, StatusCode, write_string,
};
use spandrel_storage::semantics::{self, ERROR_ATTRIBUTE};
use spandrel_storage::{StoredSpan, TraceScan, TraceSpans};

use crate::executor::{Output, StreamError};
use crate::json::Object;
use crate::problem::Problem;
use crate::tree::write_value;

/// The processes of a trace by resource, in the order in which their spans come.
#[derive(Default)]
struct Processes {
    known: FxHashMap<Bytes, usize>,
    resources: Vec<Bytes>,
}

/// A list of tags that is being written.
struct Tags<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

const MICRO: u64 = 1_000;
/// JavaScript rounds larger integers; Jaeger writes them as strings, too.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// Writes all traces as one document.
pub(super) fn write(out: &mut Output, scan: &mut TraceScan<'_>) -> Result<(), StreamError> {
    out.buffer.extend_from_slice(b"{\"data\":[");
    let mut separator = "\n";
    for trace in scan {
        let (id, spans) = trace?;
        if write_trace(out, id, spans, separator)? {
            separator = ",\n";
        }
    }
    out.buffer.extend_from_slice(b"\n],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n");
    Ok(())
}

/// Writes a trace behind a separator, on a line of its own. Returns false for a trace without spans, which is left out.
fn write_trace(
    out: &mut Output,
    id: TraceId,
    spans: TraceSpans,
    separator: &str,
) -> Result<bool, StreamError> {
    let mut processes = Processes::default();
    let mut empty = true;
    for span in spans {
        let span = span?;
        if empty {
            out.buffer.extend_from_slice(separator.as_bytes());
            out.buffer.extend_from_slice(format!("{{\"traceID\":\"{id}\",\"spans\":[").as_bytes());
        } else {
            out.buffer.push(b',');
        }
        empty = false;
        let process = processes.number(&span.resource);
        write_span(&mut out.buffer, &span, process).map_err(unreadable)?;
        out.spill()?;
    }
    if !empty {
        out.buffer.extend_from_slice(b"],\"processes\":");
        processes.write(&mut out.buffer).map_err(unreadable)?;
        out.buffer.extend_from_slice(b",\"warnings\":null}");
    }
    Ok(!empty)
}

fn unreadable(error: WireError) -> Problem {
    Problem::unreadable(format!("a stored span could not be read ({error}); export as otlp"))
}

fn write_span(out: &mut Vec<u8>, stored: &StoredSpan, process: usize) -> Result<(), WireError> {
    let span = SpanView::parse(&stored.span)?;
    let mut object = Object::begin(out);
    object.hex("traceID", span.trace_id);
    object.hex("spanID", span.span_id);
    object.string("operationName", span.name);
    write_references(object.name("references"), &span)?;
    object.number("startTime", span.start / MICRO);
    object.number("duration", span.duration() / MICRO);
    write_tags(object.name("tags"), &span, &ScopeView::parse(&stored.scope)?)?;
    write_logs(object.name("logs"), &span)?;
    object.string("processID", &format!("p{process}"));
    object.null("warnings");
    object.end();
    Ok(())
}

fn write_references(out: &mut Vec<u8>, span: &SpanView<'_>) -> Result<(), WireError> {
    let reference = |out: &mut Vec<u8>, kind: &str, trace: &[u8], id: &[u8]| {
        let mut object = Object::begin(out);
        object.string("refType", kind);
        object.hex("traceID", trace);
        object.hex("spanID", id);
        object.end();
    };
    out.push(b'[');
    let mut empty = true;
    if !semantics::is_parentless(span.parent_span_id) {
        reference(out, "CHILD_OF", span.trace_id, span.parent_span_id);
        empty = false;
    }
    for link in span.links() {
        let link = link?;
        if !empty {
            out.push(b',');
        }
        reference(out, "FOLLOWS_FROM", link.trace_id, link.span_id);
        empty = false;
    }
    out.push(b']');
    Ok(())
}

fn write_tags(out: &mut Vec<u8>, span: &SpanView<'_>, scope: &ScopeView<'_>) -> Result<(), WireError> {
    let mut tags = Tags::begin(out);
    let mut says_error = false;
    for attribute in span.attributes() {
        let attribute = attribute?;
        says_error |= attribute.key == ERROR_ATTRIBUTE;
        tags.add(attribute.key, attribute.value.unwrap_or(AnyValue::Empty))?;
    }
    tags.text("span.kind", kind_name(span.kind()))?;
    tags.text("otel.scope.name", scope.name)?;
    tags.text("otel.scope.version", scope.version)?;
    if span.status() != StatusCode::Unset {
        tags.text("otel.status_code", span.status().name())?;
    }
    if span.status() == StatusCode::Error && !says_error {
        tags.add(ERROR_ATTRIBUTE, AnyValue::Bool(true))?;
    }
    tags.text("otel.status_description", span.status_message)?;
    tags.text("w3c.tracestate", span.trace_state)?;
    tags.end();
    Ok(())
}

fn kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Unspecified | SpanKind::Other(_) => "",
    }
}

fn write_logs(out: &mut Vec<u8>, span: &SpanView<'_>) -> Result<(), WireError> {
    out.push(b'[');
    for (place, event) in span.events().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_log(out, &event?)?;
    }
    out.push(b']');
    Ok(())
}

fn write_log(out: &mut Vec<u8>, event: &EventView<'_>) -> Result<(), WireError> {
    let mut object = Object::begin(out);
    object.number("timestamp", event.time / MICRO);
    let mut fields = Tags::begin(object.name("fields"));
    fields.text("event", event.name)?;
    fields.add_all(event.attributes(), "event")?;
    fields.end();
    object.end();
    Ok(())
}

// === impl Processes ===

impl Processes {
    /// The number of a resource's process; the first is 1.
    fn number(&mut self, resource: &Bytes) -> usize {
        if let Some(number) = self.known.get(resource) {
            return *number;
        }
        self.resources.push(resource.clone());
        self.known.insert(resource.clone(), self.resources.len());
        self.resources.len()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut object = Object::begin(out);
        for (number, resource) in (1..).zip(&self.resources) {
            let resource = ResourceView::parse(resource)?;
            let mut process = Object::begin(object.name(&format!("p{number}")));
            process.string("serviceName", semantics::service_name(&resource));
            let mut tags = Tags::begin(process.name("tags"));
            tags.add_all(resource.attributes(), "service.name")?;
            tags.end();
            process.end();
        }
        object.end();
        Ok(())
    }
}

// === impl Tags ===

impl<'o> Tags<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, empty: true }
    }

    /// Adds a text unless it is empty.
    fn text(&mut self, key: &str, text: &str) -> Result<(), WireError> {
        if text.is_empty() { Ok(()) } else { self.add(key, AnyValue::String(text)) }
    }

    /// Adds all attributes but `elsewhere`, which has a field of its own.
    fn add_all(&mut self, attributes: Attributes<'_>, elsewhere: &str) -> Result<(), WireError> {
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.key != elsewhere {
                self.add(attribute.key, attribute.value.unwrap_or(AnyValue::Empty))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, key: &str, value: AnyValue<'_>) -> Result<(), WireError> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        let mut tag = Object::begin(self.out);
        tag.string("key", key);
        tag.string("type", type_name(value));
        match value {
            AnyValue::Empty => tag.string("value", ""),
            AnyValue::Int(int) if int.unsigned_abs() > MAX_SAFE => tag.string("value", &int.to_string()),
            AnyValue::Bytes(bytes) => tag.string("value", &STANDARD.encode(bytes)),
            AnyValue::Array(_) | AnyValue::KeyValues(_) => {
                let mut text = Vec::new();
                write_value(&mut text, value)?;
                write_string(tag.name("value"), &String::from_utf8_lossy(&text));
            }
            scalar => write_value(tag.name("value"), scalar)?,
        }
        tag.end();
        Ok(())
    }

    fn end(self) {
        self.out.push(b']');
    }
}

fn type_name(value: AnyValue<'_>) -> &'static str {
    match value {
        AnyValue::Bool(_) => "bool",
        AnyValue::Int(_) => "int64",
        // JSON has no number for infinity and NaN; they become text.
        AnyValue::Double(double) if double.is_finite() => "float64",
        AnyValue::Bytes(_) => "binary",
        _ => "string",
    }
}
