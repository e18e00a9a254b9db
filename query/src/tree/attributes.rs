//! Attributes, events and links in a tree: as OTLP JSON writes them, or as plain objects for scripts.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{
    AnyValue, Attributes, EventView, KeyValueView, LinkView, LogView, write_any_value, write_attributes,
    write_event, write_link, write_string,
};

use crate::assemble::Log;
use crate::json::Object;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttributeStyle {
    /// `[{"key":"a","value":{"intValue":"1"}}]`: loses nothing.
    Otlp,
    /// `{"a":1}`: the last of several values of a key, large integers as strings.
    Map,
}

/// Integers up to here are exact in every JSON reader.
const MAX_EXACT: u64 = 1 << 53;

// === impl AttributeStyle ===

impl AttributeStyle {
    /// Writes attributes.
    pub(super) fn attributes(self, out: &mut Vec<u8>, attributes: Attributes<'_>) -> Result<(), WireError> {
        match self {
            Self::Otlp => write_attributes(out, attributes),
            Self::Map => write_map(out, attributes),
        }
    }

    /// Writes an event.
    pub(super) fn event(self, out: &mut Vec<u8>, event: &EventView<'_>) -> Result<(), WireError> {
        if self == Self::Otlp {
            return write_event(out, event);
        }
        let mut object = Object::begin(out);
        object.time("timeUnixNano", event.time);
        object.string("name", event.name);
        write_map(object.name("attributes"), event.attributes())?;
        object.number("droppedAttributesCount", event.dropped_attributes_count);
        object.end();
        Ok(())
    }

    /// Writes a log record of a span as an event, with what a log has beside.
    pub(super) fn log(
        self,
        out: &mut Vec<u8>,
        log: &Log,
        view: &LogView<'_>,
        is_event: bool,
    ) -> Result<(), WireError> {
        self.log_with(out, log, view, |object| {
            if is_event {
                object.name("alsoEvent").extend_from_slice(b"true");
            }
        })
    }

    /// Writes a log record of a span that is not in the trace.
    pub(super) fn log_of_unknown(self, out: &mut Vec<u8>, log: &Log) -> Result<(), WireError> {
        self.log_with(out, log, &LogView::parse(&log.event)?, |object| {
            object.hex("spanId", log.span.as_bytes());
        })
    }

    fn log_with(
        self,
        out: &mut Vec<u8>,
        log: &Log,
        view: &LogView<'_>,
        more: impl FnOnce(&mut Object<'_>),
    ) -> Result<(), WireError> {
        let mut object = Object::begin(out);
        object.time("timeUnixNano", log.time);
        object.string("name", view.event.name);
        self.attributes(object.name("attributes"), view.event.attributes())?;
        if view.event.dropped_attributes_count > 0 {
            object.number("droppedAttributesCount", view.event.dropped_attributes_count);
        }
        let mut inner = Object::begin(object.name("log"));
        inner.number("severityNumber", view.severity);
        inner.string("severityText", view.severity_text);
        match view.body {
            None => inner.null("body"),
            Some(body) if self == Self::Otlp => write_any_value(inner.name("body"), body)?,
            Some(body) => write_value(inner.name("body"), body)?,
        }
        if view.observed != 0 {
            inner.time("observedTimeUnixNano", view.observed);
        }
        if view.flags != 0 {
            inner.number("flags", view.flags);
        }
        inner.number("resource", log.resource);
        inner.number("scope", log.scope);
        more(&mut inner);
        inner.end();
        object.end();
        Ok(())
    }

    /// Writes a link.
    pub(super) fn link(self, out: &mut Vec<u8>, link: &LinkView<'_>) -> Result<(), WireError> {
        if self == Self::Otlp {
            return write_link(out, link);
        }
        let mut object = Object::begin(out);
        object.hex("traceId", link.trace_id);
        object.hex("spanId", link.span_id);
        object.string("traceState", link.trace_state);
        write_map(object.name("attributes"), link.attributes())?;
        object.number("droppedAttributesCount", link.dropped_attributes_count);
        object.number("flags", link.flags);
        object.end();
        Ok(())
    }
}

/// Attributes with unique keys: the last of several values wins.
pub(crate) fn each_key_once(attributes: Attributes<'_>) -> Result<Vec<KeyValueView<'_>>, WireError> {
    let mut attributes: Vec<KeyValueView<'_>> = attributes.collect::<Result<_, _>>()?;
    let last: FxHashMap<&str, usize> = (0..).zip(&attributes).map(|(place, a)| (a.key, place)).collect();
    if last.len() < attributes.len() {
        let mut place = 0..;
        attributes.retain(|attribute| place.next() == last.get(attribute.key).copied());
    }
    Ok(attributes)
}

fn write_map(out: &mut Vec<u8>, attributes: Attributes<'_>) -> Result<(), WireError> {
    out.push(b'{');
    for (count, attribute) in each_key_once(attributes)?.iter().enumerate() {
        if count > 0 {
            out.push(b',');
        }
        write_string(out, attribute.key);
        out.push(b':');
        write_value(out, attribute.value.unwrap_or(AnyValue::Empty))?;
    }
    out.push(b'}');
    Ok(())
}

/// Writes a value as plain JSON. It may recurse, since ingest bounds the nesting.
pub(crate) fn write_value(out: &mut Vec<u8>, value: AnyValue<'_>) -> Result<(), WireError> {
    match value {
        AnyValue::Empty => out.extend_from_slice(b"null"),
        AnyValue::String(text) => write_string(out, text),
        AnyValue::Bool(flag) => drop(write!(out, "{flag}")),
        AnyValue::Int(int) if int.unsigned_abs() <= MAX_EXACT => drop(write!(out, "{int}")),
        AnyValue::Int(int) => drop(write!(out, "\"{int}\"")),
        AnyValue::Double(double) if double.is_finite() => drop(serde_json::to_writer(out, &double)),
        AnyValue::Double(double) => {
            let name = if double.is_nan() { "NaN" } else { "Infinity" };
            let sign = if double < 0.0 { "-" } else { "" };
            drop(write!(out, "\"{sign}{name}\""));
        }
        AnyValue::Bytes(bytes) => drop(write!(out, "\"{}\"", STANDARD.encode(bytes))),
        AnyValue::KeyValues(message) => write_map(out, AnyValue::entries(message))?,
        AnyValue::Array(message) => {
            out.push(b'[');
            for (place, item) in AnyValue::array_items(message).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_value(out, item?)?;
            }
            out.push(b']');
        }
    }
    Ok(())
}
