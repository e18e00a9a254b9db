//! Two encodings of one span have the same canonical form; different spans have different forms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::wire::{attribute, bytes, fixed32, fixed64, group, number, varint, wide_bytes};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message;
use spandrel_block::{Deduplicator, RowKey, SpanParts};
use spandrel_proto::{SpanId, TraceId};

fn parts(resource: &[u8], scope: &[u8], span: &[u8]) -> SpanParts {
    let [resource, scope, span] = [resource, scope, span].map(Bytes::copy_from_slice);
    SpanParts { resource, scope, span }
}

fn canonical_span(span: &[u8]) -> Bytes {
    parts(&[], &[], span).canonical().span
}

fn concat(fields: &[Vec<u8>]) -> Vec<u8> {
    fields.concat()
}

/// A value of every type, and lists that nest.
fn values() -> Vec<Value> {
    let any = |value| AnyValue { value };
    let entry = KeyValue {
        key: "k".to_owned(),
        value: Some(any(Some(Value::BoolValue(true)))),
        ..KeyValue::default()
    };
    vec![
        Value::StringValue(String::new()),
        Value::BoolValue(false),
        Value::IntValue(0),
        Value::IntValue(-1),
        Value::DoubleValue(0.0),
        Value::DoubleValue(-0.0),
        Value::BytesValue(Vec::new()),
        Value::ArrayValue(ArrayValue { values: vec![any(None), any(Some(Value::IntValue(0)))] }),
        Value::ArrayValue(ArrayValue::default()),
        Value::KvlistValue(KeyValueList { values: vec![entry] }),
    ]
}

fn whole_span() -> Span {
    let of = |(at, value): (usize, Value)| KeyValue {
        key: format!("k{at}"),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let attributes: Vec<KeyValue> = values().into_iter().enumerate().map(of).collect();
    let event =
        Event { time_unix_nano: 5, name: "e".to_owned(), attributes: attributes.clone(), ..Event::default() };
    let link = Link { trace_id: vec![3; 16], span_id: vec![4; 8], flags: 0x300, ..Link::default() };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![9; 8],
        trace_state: "a=b".to_owned(),
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: 5,
        end_time_unix_nano: 9,
        attributes,
        events: vec![event.clone(), Event::default(), event],
        links: vec![link, Link::default()],
        status: Some(Status { message: "no".to_owned(), code: 2 }),
        flags: 0x101,
        dropped_attributes_count: 1,
        dropped_events_count: 2,
        dropped_links_count: 3,
    }
}

#[test]
fn what_generated_code_writes_is_canonical() {
    let span = whole_span().encode_to_vec();
    assert_eq!(canonical_span(&span), span);
}

#[test]
fn default_values_need_not_be_written() {
    let explicit = concat(&[
        bytes(3, b""),
        bytes(4, b""),
        bytes(5, b""),
        number(6, 0),
        fixed64(7, 0),
        fixed64(8, 0),
        number(10, 0),
        number(12, 0),
        number(14, 0),
        bytes(15, &concat(&[bytes(2, b""), number(3, 0)])),
        fixed32(16, 0),
    ]);
    assert_eq!(canonical_span(&explicit), canonical_span(&[]));
    // An empty message equals a missing one: status, resource, scope, value.
    assert_eq!(canonical_span(&bytes(15, b"")), canonical_span(&[]));
    let empty = parts(&bytes(1, &number(2, 0)), &bytes(1, &bytes(1, b"")), b"");
    assert_eq!(empty.canonical(), parts(b"", b"", b"").canonical());
    let [none, empty] = [bytes(1, b"k"), attribute("k", b"")].map(|one| canonical_span(&bytes(9, &one)));
    assert_eq!(none, empty);
    let zeros = concat(&[fixed64(1, 0), bytes(2, b""), number(4, 0)]);
    assert_eq!(canonical_span(&bytes(11, &zeros)), canonical_span(&bytes(11, b"")));
    let zeros = concat(&[bytes(1, b""), bytes(2, b""), bytes(3, b""), number(5, 0), fixed32(6, 0)]);
    assert_eq!(canonical_span(&bytes(13, &zeros)), canonical_span(&bytes(13, b"")));
}

#[test]
fn order_and_encoding_of_fields_do_not_matter() {
    let reversed = concat(&[fixed32(16, 7), bytes(5, b"name"), bytes(1, &[1; 16])]);
    let ordered = concat(&[bytes(1, &[1; 16]), bytes(5, b"name"), fixed32(16, 7)]);
    assert_eq!(canonical_span(&reversed), canonical_span(&ordered));
    let wide = [varint(6 << 3, 3), varint(2, 5)].concat();
    assert_eq!(canonical_span(&wide), canonical_span(&number(6, 2)));
    assert_eq!(canonical_span(&wide_bytes(5, b"n", 2, 4)), canonical_span(&bytes(5, b"n")));
    // A negative enum in five bytes and in ten; true as any number but zero.
    assert_eq!(canonical_span(&number(6, u64::from(u32::MAX))), canonical_span(&number(6, u64::MAX)));
    let truth = |raw| canonical_span(&bytes(9, &attribute("k", &number(2, raw))));
    assert_eq!(truth(7), truth(1));
    let nan = |bits| canonical_span(&bytes(9, &attribute("k", &fixed64(4, bits))));
    assert_eq!(nan(f64::NAN.to_bits() | 1), nan((-f64::NAN).to_bits()));
}

#[test]
fn the_last_of_a_field_counts_and_parts_of_a_message_are_one() {
    assert_eq!(canonical_span(&concat(&[number(6, 1), number(6, 2)])), canonical_span(&number(6, 2)));
    assert_eq!(canonical_span(&concat(&[number(6, 1), number(6, 0)])), canonical_span(&[]));
    let [message, code] = [bytes(2, b"no"), number(3, 2)];
    let halves = concat(&[bytes(15, &code), number(6, 1), bytes(15, &message)]);
    let whole = concat(&[number(6, 1), bytes(15, &concat(&[message, code]))]);
    assert_eq!(canonical_span(&halves), canonical_span(&whole));
    let either = concat(&[bytes(1, b"text"), number(3, 7)]);
    let last = bytes(9, &attribute("k", &number(3, 7)));
    assert_eq!(canonical_span(&bytes(9, &attribute("k", &either))), canonical_span(&last));
    let key_behind = concat(&[bytes(2, &number(3, 7)), bytes(1, b"k")]);
    assert_eq!(canonical_span(&bytes(9, &key_behind)), canonical_span(&last));
}

#[test]
fn a_text_that_a_later_one_replaces_does_not_count() {
    let replaced = concat(&[bytes(3, b"\x80"), bytes(3, b"schema")]);
    assert_eq!(parts(b"", &replaced, b"").canonical(), parts(b"", &bytes(3, b"schema"), b"").canonical());
    let unreadable = concat(&[bytes(3, b"schema"), bytes(3, b"\x80")]);
    assert_ne!(parts(b"", &unreadable, b"").canonical(), parts(b"", b"", b"").canonical());
}

#[test]
fn what_differs_stays_different() {
    let span = whole_span();
    let mut spans: Vec<Vec<u8>> = Vec::new();
    let mut add = |change: fn(&mut Span)| {
        let mut changed = span.clone();
        change(&mut changed);
        spans.push(changed.encode_to_vec());
    };
    add(|_| ());
    add(|span| span.attributes.swap(0, 1));
    add(|span| span.attributes.push(span.attributes[0].clone()));
    add(|span| span.attributes[0].value = None);
    add(|span| span.attributes[2].value = span.attributes[1].value.clone());
    add(|span| span.attributes[4].value = span.attributes[5].value.clone());
    add(|span| span.attributes[7].value = span.attributes[8].value.clone());
    add(|span| span.events.swap(0, 1));
    add(|span| span.links.truncate(1));
    add(|span| span.parent_span_id = vec![0; 8]);
    add(|span| span.parent_span_id.clear());
    add(|span| span.kind = 99);
    add(|span| span.status = None);
    spans.push([span.encode_to_vec(), number(99, 0)].concat());
    spans.push([span.encode_to_vec(), fixed64(99, 0)].concat());
    spans.push([span.encode_to_vec(), group(99, &number(1, 0))].concat());
    let mut known = Deduplicator::default();
    let key = |start| RowKey::new(TraceId::from_bytes([1; 16]), start, SpanId::from_bytes([2; 8]));
    let mut is_first = |parts: &SpanParts| known.is_first(key(5), Some(key(5)), || Some(parts.clone()));
    for span in &spans {
        assert!(is_first(&parts(b"", b"", span)));
        assert!(is_first(&parts(&bytes(3, b"schema"), b"", span)));
        assert!(is_first(&parts(b"", &bytes(3, b"schema"), span)));
    }
    for span in &spans {
        assert!(!is_first(&parts(b"", b"", span)));
        let status_again = [span.clone(), bytes(15, b"")].concat();
        assert!(!is_first(&parts(b"", &bytes(3, b"schema"), &status_again)));
    }
}

#[test]
fn only_spans_of_one_key_are_compared() {
    let key = |start| RowKey::new(TraceId::from_bytes([1; 16]), start, SpanId::from_bytes([2; 8]));
    let span = || Some(parts(b"", b"", b""));
    let mut known = Deduplicator::default();
    assert!(known.is_first(key(1), Some(key(2)), || panic!("nothing to compare it with")));
    assert!(known.is_first(key(2), Some(key(2)), span));
    assert!(!known.is_first(key(2), Some(key(2)), span));
    assert!(known.is_first(key(2), Some(key(2)), || None), "unreadable");
    assert!(!known.is_first(key(2), Some(key(3)), span));
    assert!(known.is_first(key(3), Some(key(3)), span));
    assert!(!known.is_first(key(3), None, span));
}

#[test]
fn damage_is_compared_as_it_is_and_depth_is_bounded() {
    let cut = &whole_span().encode_to_vec()[..50];
    assert_eq!(canonical_span(cut), cut);
    let mut deep = number(3, 7);
    for _ in 0..1_000 {
        deep = bytes(5, &bytes(1, &deep));
    }
    let span = bytes(9, &attribute("k", &deep));
    assert_eq!(canonical_span(&span), span);
}

/// Random fields of a resource, a scope or a span: known ones, often with their defaults, and unknown ones.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let small = || prop_oneof![2 => Just(0u64), 1 => 0u64..4, 1 => any::<u64>()];
    let payload = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..3),
        (1u32..8, small()).prop_map(|(field, value)| number(field, value)),
        (1u32..8).prop_map(|field| bytes(field, b"")),
        ("[a-c]?", 1u32..8, small()).prop_map(|(key, field, value)| attribute(&key, &number(field, value))),
    ];
    let field = prop_oneof![
        (1u32..20, small()).prop_map(|(field, value)| number(field, value)),
        (1u32..20, small()).prop_map(|(field, value)| fixed64(field, value)),
        (1u32..20, small()).prop_map(|(field, value)| fixed32(field, value as u32)),
        (1u32..20, payload).prop_map(|(field, payload)| bytes(field, &payload)),
    ];
    prop::collection::vec(field, 0..8).prop_map(|fields| fields.concat())
}

proptest! {
    /// The canonical form of a canonical form is itself, and generated code reads the same from it as from the sent
    /// bytes. Of bytes that it refuses, it may read the canonical form: a text that is not UTF-8 is not in there when a
    /// later value replaces it.
    #[test]
    fn the_canonical_form_says_the_same(resource in fields(), scope in fields(), span in fields()) {
        let canonical = parts(&resource, &scope, &span).canonical();
        prop_assert_eq!(&canonical.canonical(), &canonical);
        if let Ok(sent) = Span::decode(&span[..]) {
            let read = Span::decode(canonical.span).map(without_empty_messages);
            prop_assert_eq!(read, Ok(without_empty_messages(sent)));
        }
        if let Ok(sent) = ResourceSpans::decode(&resource[..]) {
            let read = ResourceSpans::decode(canonical.resource).map(plain_resource);
            prop_assert_eq!(read, Ok(plain_resource(sent)));
        }
        if let Ok(sent) = ScopeSpans::decode(&scope[..]) {
            let read = ScopeSpans::decode(canonical.scope).map(plain_scope);
            prop_assert_eq!(read, Ok(plain_scope(sent)));
        }
    }
}

fn plain_resource(sent: ResourceSpans) -> String {
    without_empty_values(sent.resource.unwrap_or_default())
}

fn plain_scope(sent: ScopeSpans) -> (String, String) {
    let mut scope = sent.scope.unwrap_or_default();
    plain_attributes(&mut scope.attributes);
    (format!("{scope:?}"), sent.schema_url)
}

fn without_empty_values(mut resource: Resource) -> String {
    plain_attributes(&mut resource.attributes);
    format!("{resource:?}")
}

/// Compared as text, because a NaN does not equal itself.
fn without_empty_messages(mut span: Span) -> String {
    span.status = span.status.filter(|status| *status != Status::default());
    plain_attributes(&mut span.attributes);
    span.events.iter_mut().for_each(|event| plain_attributes(&mut event.attributes));
    span.links.iter_mut().for_each(|link| plain_attributes(&mut link.attributes));
    format!("{span:?}")
}

fn plain_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        attribute.value = attribute.value.take().filter(|value| value.value.is_some());
    }
}
