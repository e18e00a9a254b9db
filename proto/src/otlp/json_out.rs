//! Writes stored records as OTLP/JSON, straight into a buffer.
//!
//! The format is OTLP's JSON mapping: hex IDs, 64-bit integers as strings, bytes as base64, default values left out. A
//! sub-message that was sent empty is written as `{}`, so that reading the JSON again gives the same request.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SpanRecord;
use super::attribute::{AnyValue, Attributes};
use super::log_view::{LogView, logs_of};
use super::view::{EntityRefView, EventView, LinkView, ResourceView, ScopeView, SpanView};
use super::wire::WireError;

/// The names that tell a request of one signal from one of another.
struct Names {
    opening: &'static [u8],
    scopes: &'static str,
    items: &'static str,
}

const SPANS: Names = Names { opening: b"{\"resourceSpans\":[", scopes: "scopeSpans", items: "spans" };
const LOGS: Names = Names { opening: b"{\"resourceLogs\":[", scopes: "scopeLogs", items: "logRecords" };

/// Writes one `{"resourceSpans":[…]}` that groups neighbours of the same resource and scope.
pub fn write_request_json<'a>(
    out: &mut Vec<u8>,
    records: impl IntoIterator<Item = SpanRecord<'a>>,
) -> Result<(), WireError> {
    write_grouped(out, &SPANS, records, write_span)
}

/// Writes one `{"resourceLogs":[…]}` with the log records of rows in the same way.
pub fn write_logs_json<'a>(
    out: &mut Vec<u8>,
    rows: impl IntoIterator<Item = SpanRecord<'a>>,
) -> Result<(), WireError> {
    write_grouped(out, &LOGS, rows, |out, row| {
        let row = SpanView::parse(row)?;
        let logs: Vec<LogView<'_>> = logs_of(&row).collect::<Result<_, _>>()?;
        for (place, log) in logs.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_log(out, &row, log)?;
        }
        Ok(())
    })
}

fn write_grouped<'a>(
    out: &mut Vec<u8>,
    names: &Names,
    records: impl IntoIterator<Item = SpanRecord<'a>>,
    mut write: impl FnMut(&mut Vec<u8>, &'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    out.extend_from_slice(names.opening);
    let mut open: Option<(&[u8], &[u8])> = None;
    for record in records {
        match open {
            Some((resource, scope)) if resource == record.resource && scope == record.scope => out.push(b','),
            Some((resource, _)) if resource == record.resource => {
                out.extend_from_slice(b"]},");
                open_scope(out, names, record.scope)?;
            }
            _ => {
                if open.is_some() {
                    out.extend_from_slice(b"]}]},");
                }
                open_resource(out, names, record.resource)?;
                open_scope(out, names, record.scope)?;
            }
        }
        open = Some((record.resource, record.scope));
        write(out, record.span)?;
    }
    if open.is_some() {
        out.extend_from_slice(b"]}]}");
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

/// Writes a log record as OTLP/JSON, with the IDs of its row.
fn write_log(out: &mut Vec<u8>, row: &SpanView<'_>, log: &LogView<'_>) -> Result<(), WireError> {
    let mut object = Object::begin(out);
    object.time("timeUnixNano", log.time());
    object.time("observedTimeUnixNano", log.observed);
    object.count("severityNumber", log.severity);
    object.string("severityText", log.severity_text);
    if let Some(body) = log.body {
        object.key("body");
        write_any_value(object.out, body)?;
    }
    object.attributes(log.event.attributes())?;
    object.count("droppedAttributesCount", log.event.dropped_attributes_count);
    object.count("flags", log.flags);
    object.hex("traceId", row.trace_id);
    object.hex("spanId", row.span_id);
    object.string("eventName", log.event.name);
    object.end();
    Ok(())
}

fn open_resource(out: &mut Vec<u8>, names: &Names, record: &[u8]) -> Result<(), WireError> {
    let view = ResourceView::parse(record)?;
    let mut object = Object::begin(out);
    if view.has_resource {
        object.key("resource");
        write_resource(object.out, &view)?;
    }
    object.string("schemaUrl", view.schema_url);
    object.key(names.scopes);
    object.out.push(b'[');
    Ok(())
}

fn open_scope(out: &mut Vec<u8>, names: &Names, record: &[u8]) -> Result<(), WireError> {
    let view = ScopeView::parse(record)?;
    let mut object = Object::begin(out);
    if view.has_scope {
        object.key("scope");
        let mut scope = Object::begin(object.out);
        scope.string("name", view.name);
        scope.string("version", view.version);
        scope.attributes(view.attributes())?;
        scope.count("droppedAttributesCount", view.dropped_attributes_count);
        scope.end();
    }
    object.string("schemaUrl", view.schema_url);
    object.key(names.items);
    object.out.push(b'[');
    Ok(())
}

fn write_resource(out: &mut Vec<u8>, view: &ResourceView<'_>) -> Result<(), WireError> {
    let mut object = Object::begin(out);
    object.attributes(view.attributes())?;
    object.count("droppedAttributesCount", view.dropped_attributes_count);
    let refs: Vec<EntityRefView<'_>> = view.entity_refs().collect::<Result<_, _>>()?;
    if !refs.is_empty() {
        object.key("entityRefs");
        write_list(object.out, &refs, write_entity_ref);
    }
    object.end();
    Ok(())
}

fn write_entity_ref(out: &mut Vec<u8>, entity: &EntityRefView<'_>) {
    let mut object = Object::begin(out);
    object.string("schemaUrl", entity.schema_url);
    object.string("type", entity.kind);
    for (name, keys) in [("idKeys", &entity.id_keys), ("descriptionKeys", &entity.description_keys)] {
        if !keys.is_empty() {
            object.key(name);
            write_list(object.out, keys, |out, key| write_string(out, key));
        }
    }
    object.end();
}

/// Writes an entry of a tree's resource list: attributes, schema URL and dropped count, all present.
pub fn write_resource_entry(out: &mut Vec<u8>, record: &[u8]) -> Result<(), WireError> {
    let view = ResourceView::parse(record)?;
    out.extend_from_slice(b"{\"attributes\":");
    write_attributes(out, view.attributes())?;
    out.extend_from_slice(b",\"schemaUrl\":");
    write_string(out, view.schema_url);
    let _ = write!(out, ",\"droppedAttributesCount\":{}}}", view.dropped_attributes_count);
    Ok(())
}

fn write_span(out: &mut Vec<u8>, message: &[u8]) -> Result<(), WireError> {
    let span = SpanView::parse(message)?;
    let mut object = Object::begin(out);
    object.hex("traceId", span.trace_id);
    object.hex("spanId", span.span_id);
    object.string("traceState", span.trace_state);
    object.hex("parentSpanId", span.parent_span_id);
    object.count("flags", span.flags);
    object.string("name", span.name);
    object.number("kind", i64::from(span.raw_kind));
    object.time("startTimeUnixNano", span.start);
    object.time("endTimeUnixNano", span.end);
    object.attributes(span.attributes())?;
    object.count("droppedAttributesCount", span.dropped_attributes_count);
    let events: Vec<EventView<'_>> = span.events().collect::<Result<_, _>>()?;
    if !events.is_empty() {
        object.key("events");
        try_write_list(object.out, &events, write_event)?;
    }
    object.count("droppedEventsCount", span.dropped_events_count);
    let links: Vec<LinkView<'_>> = span.links().collect::<Result<_, _>>()?;
    if !links.is_empty() {
        object.key("links");
        try_write_list(object.out, &links, write_link)?;
    }
    object.count("droppedLinksCount", span.dropped_links_count);
    if span.has_status {
        object.key("status");
        let mut status = Object::begin(object.out);
        status.string("message", span.status_message);
        status.number("code", i64::from(span.raw_status_code));
        status.end();
    }
    object.end();
    Ok(())
}

/// Writes an event as OTLP/JSON.
pub fn write_event(out: &mut Vec<u8>, event: &EventView<'_>) -> Result<(), WireError> {
    let mut object = Object::begin(out);
    object.time("timeUnixNano", event.time);
    object.string("name", event.name);
    object.attributes(event.attributes())?;
    object.count("droppedAttributesCount", event.dropped_attributes_count);
    object.end();
    Ok(())
}

/// Writes a link as OTLP/JSON.
pub fn write_link(out: &mut Vec<u8>, link: &LinkView<'_>) -> Result<(), WireError> {
    let mut object = Object::begin(out);
    object.hex("traceId", link.trace_id);
    object.hex("spanId", link.span_id);
    object.string("traceState", link.trace_state);
    object.attributes(link.attributes())?;
    object.count("droppedAttributesCount", link.dropped_attributes_count);
    object.count("flags", link.flags);
    object.end();
    Ok(())
}

/// Writes attributes as OTLP/JSON: an array of keys and typed values.
pub fn write_attributes(out: &mut Vec<u8>, attributes: Attributes<'_>) -> Result<(), WireError> {
    out.push(b'[');
    for (index, attribute) in attributes.enumerate() {
        let attribute = attribute?;
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"key\":");
        write_string(out, attribute.key);
        if let Some(value) = attribute.value {
            out.extend_from_slice(b",\"value\":");
            write_any_value(out, value)?;
        }
        out.push(b'}');
    }
    out.push(b']');
    Ok(())
}

/// Writes one attribute value as OTLP/JSON.
pub fn write_any_value(out: &mut Vec<u8>, value: AnyValue<'_>) -> Result<(), WireError> {
    match value {
        AnyValue::Empty => out.extend_from_slice(b"{"),
        AnyValue::String(text) => {
            out.extend_from_slice(b"{\"stringValue\":");
            write_string(out, text);
        }
        AnyValue::Bool(flag) => drop(write!(out, "{{\"boolValue\":{flag}")),
        AnyValue::Int(int) => {
            out.extend_from_slice(b"{\"intValue\":\"");
            out.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
            out.push(b'"');
        }
        AnyValue::Double(double) => {
            out.extend_from_slice(b"{\"doubleValue\":");
            write_double(out, double);
        }
        AnyValue::Array(message) => {
            out.extend_from_slice(b"{\"arrayValue\":{\"values\":[");
            for (index, item) in AnyValue::array_items(message).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_any_value(out, item?)?;
            }
            out.extend_from_slice(b"]}");
        }
        AnyValue::KeyValues(message) => {
            out.extend_from_slice(b"{\"kvlistValue\":{\"values\":");
            write_attributes(out, AnyValue::entries(message))?;
            out.push(b'}');
        }
        AnyValue::Bytes(bytes) => drop(write!(out, "{{\"bytesValue\":\"{}\"", STANDARD.encode(bytes))),
    }
    out.push(b'}');
    Ok(())
}

/// Writes a JSON string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail, and a str is always serialisable.
    let _ = serde_json::to_writer(out, text);
}

fn write_double(out: &mut Vec<u8>, double: f64) {
    match double {
        d if d.is_nan() => out.extend_from_slice(b"\"NaN\""),
        f64::INFINITY => out.extend_from_slice(b"\"Infinity\""),
        f64::NEG_INFINITY => out.extend_from_slice(b"\"-Infinity\""),
        d => drop(serde_json::to_writer(out, &d)),
    }
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn try_write_list<T>(
    out: &mut Vec<u8>,
    items: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &T) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut result = Ok(());
    write_list(out, items, |out, item| {
        if result.is_ok() {
            result = write(out, item);
        }
    });
    result
}

/// Writes the members of an object, leaving out those with a default value.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

// === impl Object ===

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    fn key(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn string(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.key(name);
            write_string(self.out, text);
        }
    }

    fn hex(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(name);
            self.out.push(b'"');
            for byte in bytes {
                let _ = write!(self.out, "{byte:02x}");
            }
            self.out.push(b'"');
        }
    }

    fn time(&mut self, name: &str, nanos: u64) {
        if nanos != 0 {
            self.key(name);
            self.out.push(b'"');
            self.out.extend_from_slice(itoa::Buffer::new().format(nanos).as_bytes());
            self.out.push(b'"');
        }
    }

    fn count(&mut self, name: &str, count: u32) {
        self.number(name, i64::from(count));
    }

    fn number(&mut self, name: &str, number: i64) {
        if number != 0 {
            self.key(name);
            let _ = write!(self.out, "{number}");
        }
    }

    fn attributes(&mut self, attributes: Attributes<'_>) -> Result<(), WireError> {
        if attributes.clone().next().is_none() {
            return Ok(());
        }
        self.key("attributes");
        write_attributes(self.out, attributes)
    }

    fn end(self) {
        self.out.push(b'}');
    }
}
