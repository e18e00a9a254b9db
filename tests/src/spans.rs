//! Spans in a short notation for tests, and requests of them.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_json_request, decode_request};
use spandrel_proto::{SpanId, TraceId};
use spandrel_storage::StoredSpan;

/// One span with its resource and scope, in the types of the oracle.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// Its resource, without scopes.
    pub resource: ResourceSpans,
    /// Its scope, without spans.
    pub scope: ScopeSpans,
    /// The span itself.
    pub span: Span,
}

/// A second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// A minute in nanoseconds.
pub const MINUTE: u64 = 60 * SECOND;
/// An hour in nanoseconds.
pub const HOUR: u64 = 60 * MINUTE;
/// The time at which tests begin: a whole hour in 2023.
pub const BEGIN: u64 = 472_222 * HOUR;

/// A trace ID that ends in `n`.
pub fn trace_id(n: u64) -> TraceId {
    TraceId::from_bytes(u128::from(n).to_be_bytes())
}

/// A span ID that ends in `n`.
pub fn span_id(n: u64) -> SpanId {
    SpanId::from_bytes(n.to_be_bytes())
}

/// An attribute.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A text as the value of an attribute.
pub fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

/// A span of one millisecond that starts at `BEGIN`, of service `shop`, without a parent.
pub fn sent(trace: u64, span: u64) -> Sent {
    Sent {
        resource: ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", text("shop"))],
                ..Resource::default()
            }),
            ..ResourceSpans::default()
        },
        scope: ScopeSpans::default(),
        span: Span {
            trace_id: trace_id(trace).as_bytes().to_vec(),
            span_id: span_id(span).as_bytes().to_vec(),
            name: "GET /".to_owned(),
            kind: 2,
            start_time_unix_nano: BEGIN,
            end_time_unix_nano: BEGIN + 1_000_000,
            ..Span::default()
        },
    }
}

// === impl Sent ===

impl Sent {
    /// Sets the service.
    pub fn service(mut self, name: &str) -> Self {
        self.resource_attributes().retain(|attribute| attribute.key != "service.name");
        self.on_resource("service.name", text(name))
    }

    /// Sets the name.
    pub fn name(mut self, name: &str) -> Self {
        self.span.name = name.to_owned();
        self
    }

    /// Sets the kind, as on the wire.
    pub fn kind(mut self, kind: i32) -> Self {
        self.span.kind = kind;
        self
    }

    /// Sets the parent.
    pub fn parent(mut self, n: u64) -> Self {
        self.span.parent_span_id = span_id(n).as_bytes().to_vec();
        self
    }

    /// Sets the start, as an offset to `BEGIN`, and the duration.
    pub fn at(mut self, offset: u64, duration: u64) -> Self {
        self.span.start_time_unix_nano = BEGIN + offset;
        self.span.end_time_unix_nano = BEGIN + offset + duration;
        self
    }

    /// Sets start and end.
    pub fn times(mut self, start: u64, end: u64) -> Self {
        self.span.start_time_unix_nano = start;
        self.span.end_time_unix_nano = end;
        self
    }

    /// Sets the status, as on the wire.
    pub fn status(mut self, code: i32) -> Self {
        self.span.status = Some(Status { code, message: String::new() });
        self
    }

    /// Adds an attribute.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.span.attributes.push(attribute(key, value));
        self
    }

    /// Adds an attribute to the resource.
    pub fn on_resource(mut self, key: &str, value: Value) -> Self {
        self.resource_attributes().push(attribute(key, value));
        self
    }

    fn resource_attributes(&mut self) -> &mut Vec<KeyValue> {
        &mut self.resource.resource.get_or_insert_default().attributes
    }

    pub fn trace(&self) -> TraceId {
        TraceId::from_wire(&self.span.trace_id).unwrap()
    }

    pub fn id(&self) -> SpanId {
        SpanId::from_wire(&self.span.span_id).unwrap()
    }

    pub fn start(&self) -> u64 {
        self.span.start_time_unix_nano
    }

    /// The duration; zero if it ends before it starts.
    pub fn duration(&self) -> u64 {
        self.span.end_time_unix_nano.saturating_sub(self.span.start_time_unix_nano)
    }

    /// The span without empty messages and values, so that equal spans have equal fields.
    pub fn says_only(&self) -> Self {
        let mut said = self.clone();
        let Self { resource, scope, span } = &mut said;
        resource.resource.iter_mut().for_each(|resource| drop_empty_values(&mut resource.attributes));
        scope.scope.iter_mut().for_each(|scope| drop_empty_values(&mut scope.attributes));
        resource.resource = resource.resource.take().filter(|resource| *resource != Resource::default());
        scope.scope = scope.scope.take().filter(|scope| *scope != InstrumentationScope::default());
        span.status = span.status.take().filter(|status| *status != Status::default());
        drop_empty_values(&mut span.attributes);
        span.events.iter_mut().for_each(|event| drop_empty_values(&mut event.attributes));
        span.links.iter_mut().for_each(|link| drop_empty_values(&mut link.attributes));
        said
    }

    /// A stored span, decoded with the generated types.
    pub fn from_stored(stored: &StoredSpan) -> Self {
        Self {
            resource: ResourceSpans::decode(stored.resource.clone()).unwrap(),
            scope: ScopeSpans::decode(stored.scope.clone()).unwrap(),
            span: Span::decode(stored.span.clone()).unwrap(),
        }
    }
}

fn drop_empty_values(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        attribute.value.iter_mut().for_each(drop_empty_values_of);
        attribute.value = attribute.value.take().filter(|value| value.value.is_some());
    }
}

fn drop_empty_values_of(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::KvlistValue(list)) => drop_empty_values(&mut list.values),
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(drop_empty_values_of),
        _ => {}
    }
}

/// A request with these spans; neighbours with the same resource and scope share a group.
pub fn request(spans: &[Sent]) -> ExportTraceServiceRequest {
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    for (at, sent) in spans.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &spans[at]);
        let same_resource = before.is_some_and(|before| before.resource == sent.resource);
        let same_scope = same_resource && before.is_some_and(|before| before.scope == sent.scope);
        if !same_resource {
            resource_spans.push(sent.resource.clone());
        }
        let scopes = &mut resource_spans.last_mut().unwrap().scope_spans;
        if !same_scope {
            scopes.push(sent.scope.clone());
        }
        scopes.last_mut().unwrap().spans.push(sent.span.clone());
    }
    ExportTraceServiceRequest { resource_spans }
}

/// The spans of a request, each with its resource and scope.
pub fn flatten(request: &ExportTraceServiceRequest) -> Vec<Sent> {
    let mut spans = Vec::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            let template = Sent {
                resource: ResourceSpans {
                    resource: resource.resource.clone(),
                    scope_spans: Vec::new(),
                    schema_url: resource.schema_url.clone(),
                },
                scope: ScopeSpans {
                    scope: scope.scope.clone(),
                    spans: Vec::new(),
                    schema_url: scope.schema_url.clone(),
                },
                span: Span::default(),
            };
            spans.extend(scope.spans.iter().map(|span| Sent { span: span.clone(), ..template.clone() }));
        }
    }
    spans
}

/// Spans as the collector passes them to the store.
pub fn decoded(spans: &[Sent]) -> Decoded {
    decode(&request(spans))
}

/// A request as the collector passes it to the store; every span has to be valid.
pub fn decode(request: &ExportTraceServiceRequest) -> Decoded {
    read(request.encode_to_vec())
}

/// The same for an encoded request.
pub fn read(request: Vec<u8>) -> Decoded {
    let decoded = decode_request(Bytes::from(request), &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.rejected.count, 0, "{}", decoded.rejected.message());
    decoded
}

/// The same for OTLP/JSON.
pub fn from_json(mut request: &[u8]) -> Decoded {
    let decoded = decode_json_request(&mut request, &DecodeLimits::default()).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    decoded
}

/// A request with one span that has an unknown field, and so has its scope. Generated types would drop the fields, so
/// the messages are joined by hand.
pub fn with_unknown_fields(one: &Sent, value: &str) -> Vec<u8> {
    let field = |number: u64, bytes: &[u8]| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(number << 3 | 2, &mut out);
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        [out, bytes.to_vec()].concat()
    };
    let span = [one.span.encode_to_vec(), field(999, value.as_bytes())].concat();
    let scope = [one.scope.encode_to_vec(), field(2, &span), field(998, b"as well")].concat();
    let resource = [one.resource.encode_to_vec(), field(2, &scope)].concat();
    field(1, &resource)
}
