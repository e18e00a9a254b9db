//! OTLP/JSON to protobuf: the slow road in, after which a request is like any other.
//!
//! The mapping is protobuf's JSON mapping with OTLP's exceptions: IDs are hex, enums are numbers
//! (names are understood too), field names are lowerCamelCase (the original snake_case is understood
//! too), 64-bit integers come as strings or numbers, unknown fields are ignored, null means "not sent".

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::wire::{put_bytes, put_fixed32, put_fixed64, put_uint};

/// What is wrong with a JSON request, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an OTLP/JSON request: {path}: {message}")]
pub struct JsonError {
    /// The place, as in `resourceSpans[0].scopeSpans[1].spans[2].startTimeUnixNano`.
    pub path: String,
    /// What was expected there.
    pub message: String,
}

/// Protobuf bytes of an `ExportTraceServiceRequest` given as JSON.
pub fn request_from_json(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| JsonError { path: "body".to_owned(), message: error.to_string() })?;
    let mut out = Vec::with_capacity(text.len() / 2);
    Encoder { path: Vec::new() }.message(&mut out, &value, REQUEST)?;
    Ok(out)
}

/// How the JSON of a field becomes a field on the wire.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Hex,
    Base64,
    Bool,
    Int64,
    Uint32,
    Double,
    Fixed64,
    Fixed32,
    Enum(&'static str, &'static [&'static str]),
    Message(&'static [JsonField]),
    /// A message that may hold itself.
    AnyValue,
    Repeated(&'static Kind),
}

type JsonField = (&'static str, u32, Kind);

const REQUEST: &[JsonField] = &[("resourceSpans", 1, Kind::Repeated(&Kind::Message(RESOURCE_SPANS)))];
const RESOURCE_SPANS: &[JsonField] = &[
    ("resource", 1, Kind::Message(RESOURCE)),
    ("scopeSpans", 2, Kind::Repeated(&Kind::Message(SCOPE_SPANS))),
    ("schemaUrl", 3, Kind::Text),
];
const RESOURCE: &[JsonField] = &[
    ("attributes", 1, ATTRIBUTES),
    ("droppedAttributesCount", 2, Kind::Uint32),
    ("entityRefs", 3, Kind::Repeated(&Kind::Message(ENTITY_REF))),
];
const ENTITY_REF: &[JsonField] = &[
    ("schemaUrl", 1, Kind::Text),
    ("type", 2, Kind::Text),
    ("idKeys", 3, Kind::Repeated(&Kind::Text)),
    ("descriptionKeys", 4, Kind::Repeated(&Kind::Text)),
];
const SCOPE_SPANS: &[JsonField] = &[
    ("scope", 1, Kind::Message(SCOPE)),
    ("spans", 2, Kind::Repeated(&Kind::Message(SPAN))),
    ("schemaUrl", 3, Kind::Text),
];
const SCOPE: &[JsonField] = &[
    ("name", 1, Kind::Text),
    ("version", 2, Kind::Text),
    ("attributes", 3, ATTRIBUTES),
    ("droppedAttributesCount", 4, Kind::Uint32),
];
const SPAN: &[JsonField] = &[
    ("traceId", 1, Kind::Hex),
    ("spanId", 2, Kind::Hex),
    ("traceState", 3, Kind::Text),
    ("parentSpanId", 4, Kind::Hex),
    ("name", 5, Kind::Text),
    (
        "kind",
        6,
        Kind::Enum("SPAN_KIND_", &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]),
    ),
    ("startTimeUnixNano", 7, Kind::Fixed64),
    ("endTimeUnixNano", 8, Kind::Fixed64),
    ("attributes", 9, ATTRIBUTES),
    ("droppedAttributesCount", 10, Kind::Uint32),
    ("events", 11, Kind::Repeated(&Kind::Message(EVENT))),
    ("droppedEventsCount", 12, Kind::Uint32),
    ("links", 13, Kind::Repeated(&Kind::Message(LINK))),
    ("droppedLinksCount", 14, Kind::Uint32),
    ("status", 15, Kind::Message(STATUS)),
    ("flags", 16, Kind::Fixed32),
];
const STATUS: &[JsonField] =
    &[("message", 2, Kind::Text), ("code", 3, Kind::Enum("STATUS_CODE_", &["UNSET", "OK", "ERROR"]))];
const EVENT: &[JsonField] = &[
    ("timeUnixNano", 1, Kind::Fixed64),
    ("name", 2, Kind::Text),
    ("attributes", 3, ATTRIBUTES),
    ("droppedAttributesCount", 4, Kind::Uint32),
];
const LINK: &[JsonField] = &[
    ("traceId", 1, Kind::Hex),
    ("spanId", 2, Kind::Hex),
    ("traceState", 3, Kind::Text),
    ("attributes", 4, ATTRIBUTES),
    ("droppedAttributesCount", 5, Kind::Uint32),
    ("flags", 6, Kind::Fixed32),
];
const ATTRIBUTES: Kind = Kind::Repeated(&Kind::Message(KEY_VALUE));
const KEY_VALUE: &[JsonField] =
    &[("key", 1, Kind::Text), ("value", 2, Kind::AnyValue), ("keyStrindex", 3, Kind::Uint32)];
const ANY_VALUE: &[JsonField] = &[
    ("stringValue", 1, Kind::Text),
    ("boolValue", 2, Kind::Bool),
    ("intValue", 3, Kind::Int64),
    ("doubleValue", 4, Kind::Double),
    ("arrayValue", 5, Kind::Message(&[("values", 1, Kind::Repeated(&Kind::AnyValue))])),
    ("kvlistValue", 6, Kind::Message(&[("values", 1, ATTRIBUTES)])),
    ("bytesValue", 7, Kind::Base64),
];

/// Both alphabets, padded or not, as protobuf's JSON mapping accepts.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

struct Encoder {
    path: Vec<Step>,
}

enum Step {
    Field(&'static str),
    Item(usize),
}

// === impl Encoder ===

impl Encoder {
    fn message(
        &mut self,
        out: &mut Vec<u8>,
        value: &Value,
        fields: &'static [JsonField],
    ) -> Result<(), JsonError> {
        let Value::Object(object) = value else { return Err(self.expected("an object", value)) };
        for &(name, number, kind) in fields {
            let Some(value) = lookup(object, name) else { continue };
            self.path.push(Step::Field(name));
            self.field(out, number, kind, value)?;
            self.path.pop();
        }
        Ok(())
    }

    fn field(&mut self, out: &mut Vec<u8>, number: u32, kind: Kind, value: &Value) -> Result<(), JsonError> {
        match kind {
            Kind::Repeated(item) => {
                let Value::Array(items) = value else { return Err(self.expected("an array", value)) };
                for (index, value) in items.iter().enumerate() {
                    self.path.push(Step::Item(index));
                    self.field(out, number, *item, value)?;
                    self.path.pop();
                }
            }
            Kind::AnyValue => self.field(out, number, Kind::Message(ANY_VALUE), value)?,
            Kind::Message(fields) => {
                let mut inner = Vec::new();
                self.message(&mut inner, value, fields)?;
                put_bytes(out, number, &inner);
            }
            Kind::Text => put_bytes(out, number, self.text(value)?.as_bytes()),
            Kind::Hex => put_bytes(out, number, &self.hex(value)?),
            Kind::Base64 => {
                let text = self.text(value)?;
                let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
                let bytes = engine.decode(text).map_err(|_| self.expected("base64", value))?;
                put_bytes(out, number, &bytes);
            }
            Kind::Bool => {
                let flag = value.as_bool().ok_or_else(|| self.expected("true or false", value))?;
                put_uint(out, number, u64::from(flag));
            }
            Kind::Int64 => {
                let int = int(value)
                    .ok_or_else(|| self.expected("a 64-bit integer, as a string or a number", value))?;
                put_uint(out, number, int as u64);
            }
            Kind::Double => {
                let double = double(value).ok_or_else(|| self.expected("a number", value))?;
                put_fixed64(out, number, double.to_bits());
            }
            Kind::Uint32 => put_uint(out, number, u64::from(self.uint32(value)?)),
            Kind::Fixed32 => put_fixed32(out, number, self.uint32(value)?),
            Kind::Fixed64 => {
                let wanted = "an unsigned 64-bit integer, as a string or a number";
                let time = uint(value).ok_or_else(|| self.expected(wanted, value))?;
                put_fixed64(out, number, time);
            }
            Kind::Enum(prefix, names) => {
                let known =
                    |text: &str| names.iter().position(|name| text.strip_prefix(prefix) == Some(name));
                let named = value.as_str().and_then(known).and_then(|index| i64::try_from(index).ok());
                let code = named.or_else(|| int(value)).and_then(|code| i32::try_from(code).ok());
                let code = code.ok_or_else(|| self.expected("the number of an enum value", value))?;
                put_uint(out, number, i64::from(code) as u64);
            }
        }
        Ok(())
    }

    fn text<'v>(&self, value: &'v Value) -> Result<&'v str, JsonError> {
        value.as_str().ok_or_else(|| self.expected("a string", value))
    }

    fn uint32(&self, value: &Value) -> Result<u32, JsonError> {
        let small = uint(value).and_then(|n| u32::try_from(n).ok());
        small.ok_or_else(|| self.expected("an unsigned 32-bit integer", value))
    }

    fn hex(&self, value: &Value) -> Result<Vec<u8>, JsonError> {
        let text = self.text(value)?;
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
            }
            _ => Err(self.expected("hex digits", value)),
        }
    }

    fn expected(&self, what: &str, found: &Value) -> JsonError {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Item(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() {
            path.push_str("body");
        }
        let shown: String = found.to_string().chars().take(40).collect();
        JsonError { path, message: format!("expected {what}, found {shown}") }
    }
}

fn lookup<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let value = object.get(name).or_else(|| {
        let mut snake = String::with_capacity(name.len() + 4);
        for c in name.chars() {
            if c.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        object.get(&snake)
    });
    value.filter(|value| !value.is_null())
}

/// JSON writers that know only doubles send whole numbers as `1.0` or `1e3`.
fn whole(value: &Value) -> Option<f64> {
    value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0)
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_i64().or_else(|| whole(value).map(|n| n as i64)),
    }
}

fn uint(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_u64().or_else(|| whole(value).filter(|n| *n >= 0.0).map(|n| n as u64)),
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            other => other.parse().ok(),
        },
        _ => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
    use prost::Message;

    use super::*;

    fn parse(text: &str) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(request_from_json(text.as_bytes()).unwrap().as_slice()).unwrap()
    }

    #[test]
    fn reads_the_mapping_of_otlp() {
        let request = parse(
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeSpans":[{"scope":{"name":"lib"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
            "spanId":"eee19b7ec3c1b174","parentSpanId":"","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000",
            "endTimeUnixNano":1544712661000000000,"unknown":{"a":1},"droppedEventsCount":null,"flags":257,
            "attributes":[{"key":"i","value":{"intValue":"-9223372036854775808"}},{"key":"n","value":{"intValue":7}},
            {"key":"d","value":{"doubleValue":"NaN"}},{"key":"b","value":{"bytesValue":"_-8"}},
            {"key":"a","value":{"arrayValue":{}}},{"key":"e","value":{}},{"key":"none"},
            {"key":"kv","value":{"kvlistValue":{"values":[{"key":"x","value":{"boolValue":true}}]}}}],
            "status":{"code":"STATUS_CODE_ERROR","message":"no"}}]}]}]}"#,
        );
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((span.trace_id[0], span.span_id.len(), span.kind, span.flags), (0x5b, 8, 2, 257));
        assert_eq!(span.start_time_unix_nano + 1_000_000_000, span.end_time_unix_nano);
        assert_eq!(span.status.as_ref().unwrap().code, 2);
        let value = |i: usize| span.attributes[i].value.clone().and_then(|v| v.value);
        assert_eq!(value(0), Some(V::IntValue(i64::MIN)));
        assert_eq!(value(1), Some(V::IntValue(7)));
        assert!(matches!(value(2), Some(V::DoubleValue(d)) if d.is_nan()));
        assert_eq!(value(3), Some(V::BytesValue(vec![0xff, 0xef])));
        assert!(matches!(value(4), Some(V::ArrayValue(a)) if a.values.is_empty()));
        assert_eq!((value(5), span.attributes[5].value.is_some()), (None, true));
        assert!(span.attributes[6].value.is_none());
    }

    #[test]
    fn says_where_and_what() {
        for (text, path) in [
            (r#"[]"#, "body"),
            (r#"{"resourceSpans":{}}"#, "resourceSpans"),
            (
                r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xy"}]}]}]}"#,
                "resourceSpans[0].scopeSpans[0].spans[0].traceId",
            ),
            (
                r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{"startTimeUnixNano":-1}]}]}]}"#,
                "resourceSpans[0].scopeSpans[0].spans[1].startTimeUnixNano",
            ),
            (r#"{"#, "body"),
        ] {
            assert_eq!(request_from_json(text.as_bytes()).unwrap_err().path, path, "{text}");
        }
    }
}
