//! Writes the OTLP messages of a corpus without generated types, because making a request must cost far less than the
//! server's work on it.

use spandrel_proto::otlp::StatusCode;
use spandrel_proto::otlp::wire::{put_bytes, put_fixed64, put_uint, put_varint};
use spandrel_proto::{SpanId, TraceId};

/// The value of an attribute.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Double(f64),
    Bool(bool),
}

/// The kinds of spans, as OTLP numbers them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

pub(super) const SPAN_ATTRIBUTE: u32 = 9;
const RESOURCE_ATTRIBUTE: u32 = 1;
const EVENT_ATTRIBUTE: u32 = 3;
const LINK_ATTRIBUTE: u32 = 4;
const SPAN_EVENT: u32 = 11;
const SPAN_LINK: u32 = 13;
const SPAN_STATUS: u32 = 15;

/// A `Resource` message.
pub(super) fn resource(attributes: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (key, value) in attributes {
        attribute(&mut message, RESOURCE_ATTRIBUTE, key, *value);
    }
    message
}

/// An `InstrumentationScope` message.
pub(super) fn scope(name: &str, version: &str) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, 1, name.as_bytes());
    put_bytes(&mut message, 2, version.as_bytes());
    message
}

/// One attribute of a span, ready to be copied into it.
pub(super) fn span_attribute(key: &str, value: Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    attribute(&mut bytes, SPAN_ATTRIBUTE, key, value);
    bytes
}

/// An event with the attributes of an exception.
pub(super) fn exception(out: &mut Vec<u8>, at: u64, kind: &str, message: &str, stacktrace: &str) {
    nested(out, SPAN_EVENT, |event| {
        put_fixed64(event, 1, at);
        put_bytes(event, 2, b"exception");
        attribute(event, EVENT_ATTRIBUTE, "exception.type", Value::Text(kind));
        attribute(event, EVENT_ATTRIBUTE, "exception.message", Value::Text(message));
        attribute(event, EVENT_ATTRIBUTE, "exception.stacktrace", Value::Text(stacktrace));
    });
}

/// An event with two numbers.
pub(super) fn event(out: &mut Vec<u8>, at: u64, name: &str, attributes: [(&str, i64); 2]) {
    nested(out, SPAN_EVENT, |event| {
        put_fixed64(event, 1, at);
        put_bytes(event, 2, name.as_bytes());
        for (key, value) in attributes {
            attribute(event, EVENT_ATTRIBUTE, key, Value::Int(value));
        }
    });
}

/// A link to a span of another trace.
pub(super) fn link(out: &mut Vec<u8>, trace: TraceId, span: SpanId) {
    nested(out, SPAN_LINK, |link| {
        put_bytes(link, 1, trace.as_bytes());
        put_bytes(link, 2, span.as_bytes());
        attribute(link, LINK_ATTRIBUTE, "link.kind", Value::Text("order"));
    });
}

/// A status; the message may be empty.
pub(super) fn status(out: &mut Vec<u8>, code: StatusCode, message: &str) {
    nested(out, SPAN_STATUS, |status| {
        if !message.is_empty() {
            put_bytes(status, 2, message.as_bytes());
        }
        put_uint(status, 3, code as u64);
    });
}

/// A `KeyValue`, in the field of this number.
pub(super) fn attribute(out: &mut Vec<u8>, number: u32, key: &str, value: Value<'_>) {
    nested(out, number, |pair| {
        put_bytes(pair, 1, key.as_bytes());
        nested(pair, 2, |out| match value {
            Value::Text(text) => put_bytes(out, 1, text.as_bytes()),
            Value::Bool(truth) => put_uint(out, 2, truth.into()),
            Value::Int(int) => put_uint(out, 3, int.cast_unsigned()),
            Value::Double(double) => put_fixed64(out, 4, double.to_bits()),
        });
    });
}

/// Appends a nested message. Its length comes before it but is known only after it.
pub(super) fn nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    const LENGTH_DELIMITED: u64 = 2;
    put_varint(out, u64::from(number) << 3 | LENGTH_DELIMITED);
    let at = out.len();
    // One byte is enough for most lengths; a longer one moves the message.
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out[at] = short,
        _ => {
            let mut long = Vec::with_capacity(5);
            put_varint(&mut long, length as u64);
            out.splice(at..=at, long);
        }
    }
}
