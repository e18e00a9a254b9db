//! OTLP requests with random IDs.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};

/// A random trace ID.
pub fn trace_id() -> Vec<u8> {
    // One bit is always set, because an ID of zeros is invalid.
    (fastrand::u128(..) | 1).to_be_bytes().to_vec()
}

/// A random span ID.
pub fn span_id() -> Vec<u8> {
    (fastrand::u64(..) | 1).to_be_bytes().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Now, in Unix nanoseconds.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

/// An attribute of text.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// An attribute of any type.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A span of one millisecond that starts now.
pub fn span(trace: &[u8], name: &str) -> Span {
    let start = now();
    Span {
        trace_id: trace.to_vec(),
        span_id: span_id(),
        name: name.to_owned(),
        kind: 1,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..Span::default()
    }
}

/// The spans of one service in one request.
pub fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let scope = InstrumentationScope { name: "spandrel.tests".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }];
    ExportTraceServiceRequest { resource_spans }
}

/// A trace of one span with a marker in every field that a sender can fill.
pub fn marked(trace: &[u8], marker: &str) -> ExportTraceServiceRequest {
    let mut root = span(trace, &format!("GET /{marker}"));
    root.attributes = vec![text("user", marker), text(&format!("key-{marker}"), "value")];
    root.trace_state = format!("vendor={marker}");
    root.status = Some(Status { code: 2, message: format!("failed for {marker}") });
    let event = |name: String| Event { name, attributes: vec![text(marker, marker)], ..Event::default() };
    root.events = vec![event(format!("event {marker}"))];
    let other = Link { trace_id: trace_id(), span_id: vec![7; 8], ..Link::default() };
    root.links = vec![Link { attributes: vec![text("link", marker)], ..other }];
    let mut sent = request(&format!("service-{marker}"), vec![root]);
    let resource = &mut sent.resource_spans[0];
    resource.schema_url = format!("https://{marker}.example");
    resource.resource.get_or_insert_default().attributes.push(text("host", marker));
    resource.scope_spans[0].scope.get_or_insert_default().name = format!("scope-{marker}");
    sent
}

/// Every span with its resource and scope, whose lists of spans are empty.
pub fn flat(data: &[ResourceSpans]) -> Vec<(ResourceSpans, ScopeSpans, Span)> {
    let mut all = Vec::new();
    for resource in data {
        let bare_resource = ResourceSpans { scope_spans: Vec::new(), ..resource.clone() };
        for scope in &resource.scope_spans {
            let bare_scope = ScopeSpans { spans: Vec::new(), ..scope.clone() };
            all.extend(
                scope.spans.iter().map(|span| (bare_resource.clone(), bare_scope.clone(), span.clone())),
            );
        }
    }
    all
}

/// The spans of a response, sorted by ID.
pub fn spans_by_id(data: &TracesData) -> Vec<Span> {
    let mut spans: Vec<Span> = flat(&data.resource_spans).into_iter().map(|(_, _, span)| span).collect();
    spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    spans
}
