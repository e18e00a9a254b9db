//! Compares the decoder with the generated types: for any bytes, both accept the same bodies and find the same spans.
//! The property test and the fuzz target share it, so it uses no store.
//!
//! The decoder may differ from the oracle by these rules alone:
//! - a string that is not UTF-8, or a value over a named limit, refuses its spans and not the request;
//! - a span whose trace ID, span ID or start is sent twice is refused, instead of the last one counting;
//! - groups, which OTLP never had, may nest less deeply.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spandrel_proto::otlp::wire::WireErrorKind;
use spandrel_proto::otlp::{
    AnyValue as View, Attributes, DecodeLimits, Decoded, DecodedSpan, ResourceView, ScopeView, SpanView,
    decode_request,
};
use spandrel_proto::{SpanId, TraceId};

/// Panics where decoder and oracle differ.
pub fn check(body: &[u8]) {
    let ours = decode_request(Bytes::copy_from_slice(body), &DecodeLimits::default());
    match (ours, ExportTraceServiceRequest::decode(body)) {
        (Ok(ours), Ok(theirs)) => check_spans(&ours, &theirs),
        (Ok(ours), Err(theirs)) => check_lenient(&ours, &theirs.to_string()),
        (Err(ours), Ok(_)) => {
            assert_eq!(ours.error.kind, WireErrorKind::BadGroup, "{ours}, but the oracle takes it");
        }
        (Err(_), Err(_)) => {}
    }
}

/// If only the decoder accepts a body, a documented rule allows it, and the spans that it keeps are valid.
fn check_lenient(ours: &Decoded, theirs: &str) {
    let kind = ["UTF-8", "max_"].iter().any(|rule| ours.rejected.message().contains(rule));
    let nothing_to_refuse = ours.spans.is_empty() && ours.rejected.count == 0 && theirs.contains("UTF-8");
    assert!(
        kind || nothing_to_refuse || theirs.contains("UTF-8") || theirs.contains("recursion"),
        "we take what is not valid: {theirs}"
    );
    for span in &ours.spans {
        if let Err(error) = Span::decode(&ours.body[span.at.clone()]) {
            assert!(error.to_string().contains("recursion"), "a kept span does not decode: {error}");
        }
    }
}

/// Spans with valid IDs are kept in order, each with its resource and scope.
fn check_spans(ours: &Decoded, theirs: &ExportTraceServiceRequest) {
    let mut kept = ours.spans.iter().peekable();
    let mut refused = 0;
    let some_sent_twice = ours.rejected.message().contains("sent twice");
    for resource in &theirs.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let trace = TraceId::from_wire(&span.trace_id);
                let (Some(trace), Some(id)) = (trace, SpanId::from_wire(&span.span_id)) else {
                    refused += 1;
                    continue;
                };
                let is_next = |found: &&DecodedSpan| {
                    encoded(Span::decode(&ours.body[found.at.clone()])) == span.encode_to_vec()
                };
                let Some(found) = kept.next_if(is_next) else {
                    assert!(some_sent_twice, "a span is missing: {span:?}");
                    refused += 1;
                    continue;
                };
                let bytes = &ours.body[found.at.clone()];
                assert_eq!(
                    (found.trace_id, found.span_id, found.start.0),
                    (trace, id, span.start_time_unix_nano)
                );
                check_resource(&ours.resources[found.resource as usize], resource);
                check_scope(&ours.scopes[found.scope as usize], scope);
                check_view(bytes, span);
            }
        }
    }
    assert!(kept.next().is_none(), "a span is there that the oracle does not know");
    assert_eq!(ours.rejected.count, refused, "{}", ours.rejected.message());
}

/// Messages are compared as bytes, because NaN does not equal itself.
fn encoded<M: Message>(message: Result<M, prost::DecodeError>) -> Vec<u8> {
    match message {
        Ok(message) => message.encode_to_vec(),
        Err(error) => panic!("what we keep does not decode: {error}"),
    }
}

fn check_resource(record: &Bytes, theirs: &ResourceSpans) {
    let decoded = ResourceSpans::decode(record.clone());
    let bare = ResourceSpans { scope_spans: Vec::new(), ..theirs.clone() };
    assert_eq!(encoded(decoded.clone()), bare.encode_to_vec());
    let Ok(view) = ResourceView::parse(record) else { panic!("a kept resource cannot be read") };
    assert_eq!((view.has_resource, view.schema_url), (theirs.resource.is_some(), theirs.schema_url.as_str()));
    if let (Some(resource), true) = (&theirs.resource, is_plain(record, &decoded)) {
        assert_eq!(view.dropped_attributes_count, resource.dropped_attributes_count);
        check_attributes(view.attributes(), &resource.attributes);
        assert_eq!(view.entity_refs().count(), resource.entity_refs.len());
    }
}

fn check_scope(record: &Bytes, theirs: &ScopeSpans) {
    let decoded = ScopeSpans::decode(record.clone());
    let bare = ScopeSpans { spans: Vec::new(), ..theirs.clone() };
    assert_eq!(encoded(decoded.clone()), bare.encode_to_vec());
    let Ok(view) = ScopeView::parse(record) else { panic!("a kept scope cannot be read") };
    assert_eq!((view.has_scope, view.schema_url), (theirs.scope.is_some(), theirs.schema_url.as_str()));
    if let (Some(scope), true) = (&theirs.scope, is_plain(record, &decoded)) {
        assert_eq!((view.name, view.version), (scope.name.as_str(), scope.version.as_str()));
        check_attributes(view.attributes(), &scope.attributes);
    }
}

fn check_view(bytes: &[u8], span: &Span) {
    let Ok(view) = SpanView::parse(bytes) else { panic!("a kept span cannot be read") };
    assert_eq!((view.name, view.trace_state), (span.name.as_str(), span.trace_state.as_str()));
    assert_eq!(
        (view.trace_id, view.span_id, view.parent_span_id),
        (&*span.trace_id, &*span.span_id, &*span.parent_span_id)
    );
    assert_eq!((view.start, view.end), (span.start_time_unix_nano, span.end_time_unix_nano));
    assert_eq!((view.raw_kind, view.flags), (span.kind, span.flags));
    assert_eq!(view.dropped_attributes_count, span.dropped_attributes_count);
    assert_eq!(view.dropped_events_count, span.dropped_events_count);
    assert_eq!(view.dropped_links_count, span.dropped_links_count);
    let status = span.status.clone().unwrap_or_default();
    assert_eq!((view.has_status, view.raw_status_code), (span.status.is_some(), status.code));
    assert_eq!(view.status_message, status.message);
    if !is_plain(bytes, &Ok(span.clone())) {
        return;
    }
    check_attributes(view.attributes(), &span.attributes);
    let (mut events, mut links) = (view.events(), view.links());
    for theirs in &span.events {
        let Some(Ok(event)) = events.next() else { panic!("an event is missing") };
        assert_eq!((event.time, event.name), (theirs.time_unix_nano, theirs.name.as_str()));
        check_attributes(event.attributes(), &theirs.attributes);
    }
    for theirs in &span.links {
        let Some(Ok(link)) = links.next() else { panic!("a link is missing") };
        assert_eq!((link.trace_id, link.span_id), (&*theirs.trace_id, &*theirs.span_id));
        assert_eq!((link.trace_state, link.flags), (theirs.trace_state.as_str(), theirs.flags));
        check_attributes(link.attributes(), &theirs.attributes);
    }
    assert!(events.next().is_none() && links.next().is_none());
}

/// Whether a message is encoded as every library does: no field twice, none unknown. Views do not merge values that
/// were sent in parts, which no sender does.
fn is_plain<M: Message>(bytes: &[u8], message: &Result<M, prost::DecodeError>) -> bool {
    message.as_ref().is_ok_and(|message| message.encoded_len() == bytes.len())
}

fn check_attributes(ours: Attributes<'_>, theirs: &[KeyValue]) {
    let ours: Vec<KeyValue> = ours.map(|attribute| key_value(attribute.as_ref())).collect();
    // String tables belong to profiles.
    let bytes = |all: &[KeyValue]| {
        let clean = |attribute: &KeyValue| KeyValue { key_strindex: 0, ..attribute.clone() }.encode_to_vec();
        all.iter().map(clean).collect::<Vec<_>>()
    };
    if theirs.iter().all(|attribute| !has_string_table(attribute)) {
        assert_eq!(bytes(&ours), bytes(theirs));
    }
}

fn has_string_table(attribute: &KeyValue) -> bool {
    fn value_has(value: &AnyValue) -> bool {
        match &value.value {
            Some(Value::StringValueStrindex(_)) => true,
            Some(Value::ArrayValue(array)) => array.values.iter().any(value_has),
            Some(Value::KvlistValue(list)) => list.values.iter().any(has_string_table),
            _ => false,
        }
    }
    attribute.key_strindex != 0 || attribute.value.as_ref().is_some_and(value_has)
}

fn key_value<E>(view: Result<&spandrel_proto::otlp::KeyValueView<'_>, E>) -> KeyValue {
    let Ok(view) = view else { panic!("a kept attribute cannot be read") };
    KeyValue { key: view.key.to_owned(), value: view.value.map(any_value), ..KeyValue::default() }
}

fn any_value(view: View<'_>) -> AnyValue {
    let value = match view {
        View::Empty => None,
        View::String(text) => Some(Value::StringValue(text.to_owned())),
        View::Bool(flag) => Some(Value::BoolValue(flag)),
        View::Int(int) => Some(Value::IntValue(int)),
        View::Double(double) => Some(Value::DoubleValue(double)),
        View::Bytes(bytes) => Some(Value::BytesValue(bytes.to_vec())),
        View::Array(message) => {
            let values = View::array_items(message).flatten().map(any_value).collect();
            Some(Value::ArrayValue(ArrayValue { values }))
        }
        View::KeyValues(message) => {
            let values = View::entries(message).map(|entry| key_value(entry.as_ref())).collect();
            Some(Value::KvlistValue(KeyValueList { values }))
        }
    };
    AnyValue { value }
}
