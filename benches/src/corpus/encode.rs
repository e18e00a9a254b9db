//! Writes the OTLP messages that a corpus is made of. No generated types: making a request must cost
//! far less than what the server does with it.

use spandrel_proto::otlp::StatusCode;
use spandrel_proto::otlp::wire::{put_bytes, put_fixed32, put_fixed64, put_uint, put_varint};
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
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// What every span has, attributes aside.
pub(super) struct SpanHead<'a> {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent_id: Option<SpanId>,
    pub(super) parent_is_remote: bool,
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// An exception, as a span event tells it.
pub(super) struct Exception<'a> {
    pub(super) at: u64,
    pub(super) kind: &'a str,
    pub(super) message: &'a str,
    pub(super) stacktrace: &'a str,
}

const SPAN_ATTRIBUTES: u32 = 9;
const SPAN_EVENTS: u32 = 11;
const SPAN_STATUS: u32 = 15;
const SPAN_FLAGS: u32 = 16;
const EVENT_ATTRIBUTES: u32 = 3;
/// W3C's "sampled", and OTLP's "it is known whether the parent is remote".
const SAMPLED_PARENT_KNOWN: u32 = 0x101;
const PARENT_IS_REMOTE: u32 = 0x200;

/// A `Span` message in the making.
pub(super) struct SpanWriter {
    message: Vec<u8>,
}

// === impl SpanWriter ===

impl SpanWriter {
    pub(super) fn new(head: &SpanHead<'_>) -> Self {
        let mut message = Vec::with_capacity(768);
        put_bytes(&mut message, 1, head.trace_id.as_bytes());
        put_bytes(&mut message, 2, head.span_id.as_bytes());
        if let Some(parent) = head.parent_id {
            put_bytes(&mut message, 4, parent.as_bytes());
        }
        put_bytes(&mut message, 5, head.name.as_bytes());
        put_uint(&mut message, 6, head.kind as u64);
        put_fixed64(&mut message, 7, head.start);
        put_fixed64(&mut message, 8, head.end);
        let remote = if head.parent_is_remote { PARENT_IS_REMOTE } else { 0 };
        put_fixed32(&mut message, SPAN_FLAGS, SAMPLED_PARENT_KNOWN | remote);
        Self { message }
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        attribute(&mut self.message, SPAN_ATTRIBUTES, key, Value::Text(value));
    }

    pub(super) fn int(&mut self, key: &str, value: i64) {
        attribute(&mut self.message, SPAN_ATTRIBUTES, key, Value::Int(value));
    }

    pub(super) fn double(&mut self, key: &str, value: f64) {
        attribute(&mut self.message, SPAN_ATTRIBUTES, key, Value::Double(value));
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        attribute(&mut self.message, SPAN_ATTRIBUTES, key, Value::Bool(value));
    }

    pub(super) fn exception(&mut self, exception: &Exception<'_>) {
        nested(&mut self.message, SPAN_EVENTS, |event| {
            put_fixed64(event, 1, exception.at);
            put_bytes(event, 2, b"exception");
            attribute(event, EVENT_ATTRIBUTES, "exception.type", Value::Text(exception.kind));
            attribute(event, EVENT_ATTRIBUTES, "exception.message", Value::Text(exception.message));
            attribute(event, EVENT_ATTRIBUTES, "exception.stacktrace", Value::Text(exception.stacktrace));
        });
    }

    pub(super) fn failed(&mut self, message: &str) {
        nested(&mut self.message, SPAN_STATUS, |status| {
            put_bytes(status, 2, message.as_bytes());
            put_uint(status, 3, StatusCode::Error as u64);
        });
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.message
    }
}

/// A `Resource` message.
pub(super) fn resource(attributes: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (key, value) in attributes {
        attribute(&mut message, 1, key, *value);
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

fn attribute(out: &mut Vec<u8>, number: u32, key: &str, value: Value<'_>) {
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

/// Appends a message within a message. Its length stands before it but is known only behind it.
pub(super) fn nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    const LENGTH_DELIMITED: u64 = 2;
    put_varint(out, u64::from(number) << 3 | LENGTH_DELIMITED);
    let at = out.len();
    // One byte is enough for most lengths; the others push the message a little further.
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
