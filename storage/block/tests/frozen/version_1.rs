//! The frozen block of format 1, which is read by converting its spans into today's format.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spandrel_block::{
    BlockMeta, CatalogRow, Header, Number, RowFlags, RowRange, SectionKind, Token, TraceTable, upgrade,
    verify,
};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::{SpanKind, StatusCode};

use super::common::{CREATED, OpenBlock, section};
use super::fixture;

const START: u64 = 1_700_000_000_000_000_000;
/// Spans of the second trace: enough for several body chunks.
const MANY: u64 = 400;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The resources and the scope of the fixture.
fn records() -> ([ResourceSpans; 2], ScopeSpans) {
    let resource = |service: &str| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", Value::StringValue(service.to_owned()))],
            ..Resource::default()
        }),
        schema_url: "https://example.com/schema".to_owned(),
        ..ResourceSpans::default()
    };
    let scope =
        InstrumentationScope { name: "lib".to_owned(), version: "1.2".to_owned(), ..Default::default() };
    (["shop", "cart"].map(resource), ScopeSpans { scope: Some(scope), ..ScopeSpans::default() })
}

/// Two spans of a first trace, many of a second, each with the index of its resource.
fn spans() -> Vec<(usize, Span)> {
    let span = |trace: u8, id: u64, start: u64, duration: u64| Span {
        trace_id: vec![trace; 16],
        span_id: id.to_be_bytes().to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.wrapping_add(duration),
        name: "GET /".to_owned(),
        kind: 2,
        ..Span::default()
    };
    let failed = Status { code: 2, message: "no".to_owned() };
    let mut spans = vec![
        (0, Span { status: Some(failed), ..span(1, 1, START, 2_000_000_000) }),
        (
            1,
            Span {
                parent_span_id: 1u64.to_be_bytes().to_vec(),
                kind: 3,
                name: "read".to_owned(),
                attributes: vec![
                    attribute("http.response.status_code", Value::IntValue(404)),
                    attribute("cache.hit", Value::BoolValue(true)),
                    attribute("ratio", Value::DoubleValue(0.5)),
                ],
                ..span(1, 2, START + 7, 1_000)
            },
        ),
    ];
    // Text that hardly compresses, so that the fixture has chunks that use the first one as their dictionary.
    let noise = |n: u64| {
        (0..16).map(|i| format!("{:016x}", (n * 16 + i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    };
    spans.extend((0..MANY).map(|n| {
        let attributes = vec![attribute("noise", Value::StringValue(noise(n)))];
        (1, Span { attributes, ..span(2, n + 1, START + n * 1_000_000_000, n) })
    }));
    spans
}

fn check_meta(meta: &BlockMeta) {
    assert_eq!((meta.level, meta.created), (1, CREATED));
    assert_eq!((meta.spans, meta.traces, meta.failed), (2 + MANY as u32, 2, 1));
    assert_eq!((meta.min_start.0, meta.max_start.0), (START, START + (MANY - 1) * 1_000_000_000));
    assert_eq!((meta.min_duration, meta.max_duration), (0, 2_000_000_000));
    assert_eq!((meta.min_sequence, meta.max_sequence), (10, 12));
    assert_eq!((meta.kinds, meta.statuses), (0b1100, 0b101));
    let names: Vec<(&str, Vec<&str>)> = meta
        .services
        .iter()
        .map(|s| (s.name.as_str(), s.operations.iter().map(|o| o.name.as_str()).collect()))
        .collect();
    assert_eq!(names, [("cart", vec!["GET /", "read"]), ("shop", vec!["GET /"])]);
    let kinds: Vec<SpanKind> = meta.services[0].operations[1].kinds().collect();
    assert_eq!(kinds, [SpanKind::Client]);
}

/// Format 1 encodes zone maps and traces as today's format does.
#[test]
fn zone_data_and_traces() {
    let block = fixture("block-v1.bin");
    let header = Header::parse(&block).unwrap();
    assert_eq!(header.version(), 1);
    let one = |kind| section(&block, header.section(kind).unwrap());
    check_meta(&BlockMeta::decode(&one(SectionKind::Meta)).unwrap());
    check_meta(&CatalogRow::decode(&fixture("row-v1.bin")).unwrap().meta);
    let traces = TraceTable::decode(one(SectionKind::Traces), 2, 2 + MANY as u32).unwrap();
    check_traces(&traces);
    check_traces(&verify(block).unwrap().traces);
}

fn check_traces(traces: &TraceTable) {
    let id = |n: u8| TraceId::from_bytes([n; 16]);
    let second = RowRange { first: 2, rows: MANY as u32 };
    assert_eq!(traces.entries(), [(id(1), RowRange { first: 0, rows: 2 }), (id(2), second)]);
}

#[test]
fn spans_come_back_byte_for_byte() {
    let upgraded = upgrade(&fixture("block-v1.bin")).unwrap();
    let frozen = CatalogRow::decode(&fixture("row-v1.bin")).unwrap();
    assert_eq!(upgraded.row.meta, frozen.meta);
    check_traces(&upgraded.traces);
    verify(upgraded.bytes.clone()).unwrap();
    let open = OpenBlock::new(&upgraded.bytes);
    let (resources, scope) = records();
    let resources = resources.map(|record| Bytes::from(record.encode_to_vec()));
    let rows = open.rows();
    assert_eq!(rows.len(), 2 + MANY as usize);
    for (at, (row, (resource, span))) in rows.iter().zip(spans()).enumerate() {
        assert_eq!(row.pushed.resource, resources[resource], "row {at}");
        assert_eq!(row.pushed.scope, Bytes::from(scope.encode_to_vec()), "row {at}");
        assert_eq!(row.pushed.span, Bytes::from(span.encode_to_vec()), "row {at}");
        assert_eq!(row.pushed.sequence, 10 + at as u64 % 3, "row {at}");
        let of = |flags: RowFlags| (flags.kind(), flags.status(), flags.failed(), flags.has_parent());
        let expected = match at {
            0 => (SpanKind::Server, StatusCode::Error, true, false),
            1 => (SpanKind::Client, StatusCode::Unset, false, true),
            _ => (SpanKind::Server, StatusCode::Unset, false, false),
        };
        assert_eq!(of(RowFlags(row.flags)), expected, "row {at}");
    }
}

#[test]
fn filters_and_rollups_are_made_anew() {
    let open = OpenBlock::new(&upgrade(&fixture("block-v1.bin")).unwrap().bytes);
    for token in [
        Token::of_key("cache.hit"),
        Token::of_key("cache.hit").with_bool(true),
        Token::of_key("http.response.status_code").with_number(Number::Int(404)),
        Token::of_key("ratio").with_number(Number::Double(0.5)),
    ] {
        assert!(open.page_knows(0, token));
    }
    assert!(open.resources_may_have(Token::of_key("service.name").with_string("cart")));
    let absent = |n: &u32| open.page_knows(0, Token::of_key(&format!("absent {n}")));
    let absent = (0..100).filter(absent).count();
    assert!(absent < 10, "{absent} of 100 absent keys are not told apart");

    let first = open.rollups.iter().find(|row| row.operation == 0).unwrap();
    assert_eq!(
        (u64::from(first.minute), first.start()),
        (START / 60_000_000_000, START / 60_000_000_000 * 60_000_000_000)
    );
    assert_eq!((first.count, first.errors, first.latency.max()), (1, 1, 2_000_000_000));
    assert_eq!((first.flags().kind(), first.flags().is_request()), (SpanKind::Server, true));
    let many = open.rollups.iter().filter(|row| row.operation == 2);
    // 400 spans, one a second, beginning 20 s into a minute.
    assert_eq!(many.map(|row| row.count).collect::<Vec<_>>(), [40, 60, 60, 60, 60, 60, 60]);
}
