//! Arbitrary requests for property tests: small, and with everything that OTLP allows.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Any request whose spans have valid IDs. Doubles are never NaN, which does not equal itself.
pub fn requests() -> impl Strategy<Value = ExportTraceServiceRequest> {
    vec(resource_spans(), 0..4).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn resource_spans() -> impl Strategy<Value = ResourceSpans> {
    (option::of(resource()), vec(scope_spans(), 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url })
}

fn resource() -> impl Strategy<Value = Resource> {
    (attributes(), small(), vec(entity_ref(), 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    )
}

fn entity_ref() -> impl Strategy<Value = EntityRef> {
    (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type,
            id_keys,
            description_keys,
        },
    )
}

fn scope_spans() -> impl Strategy<Value = ScopeSpans> {
    (option::of(scope()), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    })
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes(), small()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let ids =
        (trace_id(), id(8), prop_oneof![Just(Vec::new()), Just(vec![0; 8]), id(8), vec(any::<u8>(), 0..12)]);
    let words = (text(), text(), code(), time(), time(), flags());
    let lists = (attributes(), vec(event(), 0..3), vec(link(), 0..3), option::of(status()));
    let dropped = (small(), small(), small());
    (ids, words, lists, dropped).prop_map(|(ids, words, lists, dropped)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        trace_state: words.0,
        name: words.1,
        kind: words.2,
        start_time_unix_nano: words.3,
        end_time_unix_nano: words.4,
        flags: words.5,
        attributes: lists.0,
        events: lists.1,
        links: lists.2,
        status: lists.3,
        dropped_attributes_count: dropped.0,
        dropped_events_count: dropped.1,
        dropped_links_count: dropped.2,
    })
}

fn event() -> impl Strategy<Value = Event> {
    (time(), text(), attributes(), small()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (vec(any::<u8>(), 0..17), vec(any::<u8>(), 0..9), text(), attributes(), small(), flags()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    (text(), code()).prop_map(|(message, code)| Status { message, code })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(key_value(option::of(any_value())), 0..4)
}

/// Keys that are semantic conventions, repeat, or are unusual.
fn key_value(value: impl Strategy<Value = Option<AnyValue>>) -> impl Strategy<Value = KeyValue> {
    let key = prop_oneof![
        3 => prop::sample::select(vec!["service.name", "error", "error.type", "k", "http.route"]).prop_map(str::to_owned),
        1 => text(),
    ];
    (key, value).prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() })
}

/// Attribute values of every type, nested a little.
pub fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|text| Some(Value::StringValue(text))),
        any::<bool>().prop_map(|flag| Some(Value::BoolValue(flag))),
        prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(0)]
            .prop_map(|int| Some(Value::IntValue(int))),
        double().prop_map(|double| Some(Value::DoubleValue(double))),
        vec(any::<u8>(), 0..6).prop_map(|bytes| Some(Value::BytesValue(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = vec(key_value(option::of(inner.clone())), 0..3);
        prop_oneof![
            vec(inner, 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            list.prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn double() -> impl Strategy<Value = f64> {
    let strange =
        vec![0.0, -0.0, 1.0, f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, f64::NEG_INFINITY];
    prop_oneof![
        prop::sample::select(strange),
        any::<f64>().prop_filter("NaN equals nothing", |d| !d.is_nan())
    ]
}

/// Empty text, ASCII, text that JSON escapes, and text with long UTF-8 sequences.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        3 => "[a-z./_-]{1,8}",
        1 => "\\PC{0,6}",
        1 => prop::sample::select(vec!["\"\\\u{0}\u{1f}\n", "ä€😀", "\u{2028}\u{feff}", "true", "</script>"]).prop_map(str::to_owned),
    ]
}

/// Few trace IDs, so that requests share traces.
fn trace_id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => (1u8..4).prop_map(|n| vec![n; 16]), 1 => id(16)]
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), length).prop_filter("an ID of zeros is none", |id| id.iter().any(|byte| *byte != 0))
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        any::<u64>(),
        1_700_000_000_000_000_000u64..1_700_000_100_000_000_000
    ]
}

/// Known and unknown enum values.
fn code() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0i32..7, 1 => any::<i32>()]
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, Just(0x100), Just(0x300), any::<u32>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => any::<u32>()]
}

/// A grace period for replaced blocks: none, shorter than one step of the clock, or longer than several.
pub fn grace() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![0, 5, 60]).prop_map(Duration::from_secs)
}

/// The number of cases of a property: `usually`, or `PROPTEST_CASES` from the environment.
pub fn cases(usually: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(usually), max_shrink_iters: 2000, ..ProptestConfig::default() }
}
