//! One span in each encoding says the same, references find their place, and no bytes make a parser panic.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::gather::Unreadable;
use crate::otlp::wire::put_varint;
use crate::otlp::{DecodeLimits, Decoded};
use crate::thrift::{Fields, Protocol, Reader, Type};

fn gathered(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Result<Decoded, String> {
    let mut hold = |_| Ok(());
    let mut gatherer = Gatherer::new(&DecodeLimits::default(), &mut hold);
    decode(&mut gatherer).map_err(|error| error.to_string())?;
    Ok(gatherer.finish().unwrap())
}

fn only(decoded: &Decoded) -> (ResourceSpans, Span) {
    assert_eq!((decoded.rejected.count, decoded.spans.len()), (0, 1), "{:?}", decoded.rejected);
    let resource = ResourceSpans::decode(&*decoded.resources[0]).unwrap();
    (resource, Span::decode(&decoded.body[decoded.spans[0].at.clone()]).unwrap())
}

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let value = |attribute: &KeyValue| format!("{:?}", attribute.value.clone().unwrap().value.unwrap());
    attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect()
}

// === Jaeger's messages, for prost ===

#[derive(Clone, PartialEq, prost::Message)]
struct PostSpansRequest {
    #[prost(message, optional, tag = "1")]
    batch: Option<Batch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<JaegerSpan>,
    #[prost(message, optional, tag = "2")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Process {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(message, repeated, tag = "2")]
    tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    operation_name: String,
    #[prost(message, repeated, tag = "4")]
    references: Vec<SpanRef>,
    #[prost(uint32, tag = "5")]
    flags: u32,
    #[prost(message, optional, tag = "6")]
    start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    duration: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    tags: Vec<Tag>,
    #[prost(message, repeated, tag = "9")]
    logs: Vec<JaegerLog>,
    #[prost(message, optional, tag = "10")]
    process: Option<Process>,
    #[prost(string, tag = "11")]
    process_id: String,
    #[prost(string, repeated, tag = "12")]
    warnings: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(int32, tag = "3")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerLog {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<Tag>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tag {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(string, tag = "3")]
    text: String,
    #[prost(bool, tag = "4")]
    bool: bool,
    #[prost(int64, tag = "5")]
    int: i64,
    #[prost(double, tag = "6")]
    double: f64,
    #[prost(bytes = "vec", tag = "7")]
    bytes: Vec<u8>,
}

fn text(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), text: value.to_owned(), ..Tag::default() }
}

fn id(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn trace(value: u64) -> Vec<u8> {
    u128::from(value).to_be_bytes().to_vec()
}

fn full() -> JaegerSpan {
    JaegerSpan {
        trace_id: trace(1),
        span_id: id(2),
        operation_name: "GET /".to_owned(),
        references: vec![SpanRef { trace_id: trace(1), span_id: id(3), kind: 0 }],
        flags: 1,
        start_time: Some(Time { seconds: 5, nanos: 7_000 }),
        duration: Some(Time { seconds: 0, nanos: 9_000 }),
        tags: vec![
            text("span.kind", "server"),
            text("a", "b"),
            Tag { key: "error".to_owned(), kind: 1, bool: true, ..Tag::default() },
            Tag { key: "n".to_owned(), kind: 2, int: -7, ..Tag::default() },
            Tag { key: "d".to_owned(), kind: 3, double: 0.5, ..Tag::default() },
            Tag { key: "x".to_owned(), kind: 4, bytes: vec![0, 255], ..Tag::default() },
        ],
        logs: vec![JaegerLog {
            timestamp: Some(Time { seconds: 5, nanos: 8_000 }),
            fields: vec![text("level", "warn"), text("event", "retry")],
        }],
        ..JaegerSpan::default()
    }
}

fn request(span: JaegerSpan) -> Vec<u8> {
    let tags = vec![text("hostname", "pod-1"), text("ip", "10.0.0.1")];
    let process = Some(Process { service_name: "shop".to_owned(), tags });
    PostSpansRequest { batch: Some(Batch { spans: vec![span], process }) }.encode_to_vec()
}

fn decoded(span: JaegerSpan) -> (ResourceSpans, Span) {
    let body = request(span);
    only(&gathered(|out| decode_post_spans(&body, out)).unwrap())
}

/// As a message of Kafka is.
#[test]
fn a_span_alone_is_the_same_as_in_a_batch_of_its_process() {
    let Some(Batch { spans, process }) = PostSpansRequest::decode(&*request(full())).unwrap().batch else {
        panic!()
    };
    let alone = JaegerSpan { process, ..spans[0].clone() }.encode_to_vec();
    let (resource, span) = only(&gathered(|out| decode_span(&alone, out)).unwrap());
    assert_eq!((resource, span), decoded(full()));
    for flawed in [&b""[..], b"\xff", &alone[..alone.len() - 1]] {
        let outcome = gathered(|out| decode_span(flawed, out));
        assert!(outcome.is_err() || outcome.is_ok_and(|decoded| decoded.spans.is_empty()), "{flawed:?}");
    }
}

#[test]
fn every_field_has_its_place() {
    let (resource, span) = decoded(full());
    assert_eq!((span.trace_id, span.span_id, span.parent_span_id), (trace(1), id(2), id(3)));
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("GET /", 2, 1));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000_007_000, 5_000_016_000));
    assert_eq!(
        shown(&span.attributes),
        [
            r#"a=StringValue("b")"#,
            "error=BoolValue(true)",
            "n=IntValue(-7)",
            "d=DoubleValue(0.5)",
            "x=BytesValue([0, 255])",
        ]
    );
    assert_eq!(span.status.unwrap().code, 2);
    assert_eq!((span.events[0].name.as_str(), span.events[0].time_unix_nano), ("retry", 5_000_008_000));
    assert_eq!(shown(&span.events[0].attributes), [r#"level=StringValue("warn")"#]);
    assert_eq!(span.links, []);
    assert_eq!(
        shown(&resource.resource.unwrap().attributes),
        [
            r#"service.name=StringValue("shop")"#,
            r#"host.name=StringValue("pod-1")"#,
            r#"ip=StringValue("10.0.0.1")"#,
        ]
    );
}

#[test]
fn what_has_no_field_becomes_an_attribute() {
    let own = Process { service_name: "own".to_owned(), tags: vec![] };
    let (resource, span) = decoded(JaegerSpan {
        flags: 3,
        tags: vec![text("span.kind", "odd"), text("w3c.tracestate", "a=b")],
        process: Some(own),
        process_id: "p1".to_owned(),
        warnings: vec!["one".to_owned(), "two".to_owned()],
        ..full()
    });
    assert_eq!((span.kind, span.flags, span.trace_state.as_str()), (0, 1, "a=b"));
    let all = shown(&span.attributes);
    assert_eq!(all[..2], [r#"span.kind=StringValue("odd")"#, r#"jaeger.process_id=StringValue("p1")"#]);
    assert!(
        all[2].starts_with("jaeger.warnings=ArrayValue") && all[2].contains("one") && all[2].contains("two")
    );
    assert_eq!(all[3], "jaeger.flags=IntValue(3)");
    assert_eq!(shown(&resource.resource.unwrap().attributes), [r#"service.name=StringValue("own")"#]);
}

#[test]
fn references_are_the_parent_or_links() {
    let to = |trace_id: u64, span_id: u64, kind: i32| SpanRef {
        trace_id: trace(trace_id),
        span_id: id(span_id),
        kind,
    };
    for (references, parent, links) in [
        (vec![to(1, 3, 1), to(1, 4, 0), to(9, 5, 0)], Some(4), vec![3, 5]),
        (vec![to(1, 3, 1)], Some(3), vec![3]),
        (vec![to(9, 3, 0)], None, vec![3]),
        (vec![to(1, 3, 0), to(1, 3, 0), to(1, 4, 0)], Some(3), vec![3, 4]),
        (vec![], None, vec![]),
    ] {
        let (_, span) = decoded(JaegerSpan { references: references.clone(), ..full() });
        assert_eq!(span.parent_span_id, parent.map(id).unwrap_or_default(), "{references:?}");
        let linked: Vec<Vec<u8>> = span.links.iter().map(|link| link.span_id.clone()).collect();
        assert_eq!(linked, links.into_iter().map(id).collect::<Vec<_>>(), "{references:?}");
    }
}

#[test]
fn an_end_before_its_start_is_kept() {
    let times = |seconds, nanos| JaegerSpan { duration: Some(Time { seconds, nanos }), ..full() };
    let early = times(-1, -7_000);
    assert_eq!(decoded(early.clone()).1.end_time_unix_nano, 4_000_000_000);
    let body = batch_in_thrift(&early);
    assert_eq!(only(&gathered(|out| decode_batch(&body, out)).unwrap()), decoded(early));
    for seconds in [-6, i64::MIN, i64::MAX] {
        let body = request(times(seconds, 0));
        let refused = gathered(|out| decode_post_spans(&body, out)).unwrap().rejected;
        assert!(refused.message().contains("before 1970 or beyond 2554"), "{}", refused.message());
    }
}

#[test]
fn warnings_stay_whole_and_bounded() {
    let warned = |warnings: Vec<String>| JaegerSpan { warnings, ..full() };
    let span = decoded(warned(vec!["one\0two".to_owned(), String::new()])).1;
    let warnings = span.attributes.iter().find(|attribute| attribute.key == "jaeger.warnings");
    let found = format!("{warnings:?}");
    assert!(found.contains(r#"StringValue("one\0two")"#) && found.contains(r#"StringValue("")"#), "{found}");
    let body = request(warned(vec![String::new(); 5_000]));
    let mut hold = |_| Ok(());
    let limits = DecodeLimits { max_span_bytes: 10_000, ..DecodeLimits::default() };
    let mut out = Gatherer::new(&limits, &mut hold);
    decode_post_spans(&body, &mut out).unwrap();
    let decoded = out.finish().unwrap();
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (0, 1));
    assert!(decoded.rejected.message().contains("maxSpanBytes"), "{}", decoded.rejected.message());
}

#[test]
fn spans_of_a_batch_share_its_resource() {
    let named = |name: &str| Process { service_name: name.to_owned(), tags: vec![] };
    let own = JaegerSpan { process: Some(named("own")), ..full() };
    let batch = Batch { spans: vec![full(), own, full()], process: Some(named("shop")) };
    let body = PostSpansRequest { batch: Some(batch) }.encode_to_vec();
    let decoded = gathered(|out| decode_post_spans(&body, out)).unwrap();
    let resources: Vec<u32> = decoded.spans.iter().map(|span| span.resource).collect();
    assert_eq!((resources, decoded.resources.len()), (vec![0, 1, 0], 2));
}

// === thrift ===

/// Writes the binary protocol, as far as a batch needs it.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn head(mut self, kind: u8, id: i16) -> Self {
        self.0.push(kind);
        self.0.extend(id.to_be_bytes());
        self
    }

    fn i64(self, id: i16, value: i64) -> Self {
        let mut out = self.head(10, id);
        out.0.extend(value.to_be_bytes());
        out
    }

    fn i32(self, id: i16, value: i32) -> Self {
        let mut out = self.head(8, id);
        out.0.extend(value.to_be_bytes());
        out
    }

    fn text(self, id: i16, text: &[u8]) -> Self {
        let mut out = self.head(11, id);
        out.0.extend((text.len() as u32).to_be_bytes());
        out.0.extend(text);
        out
    }

    fn bytes(self, kind: u8, id: i16, value: &[u8]) -> Self {
        let mut out = self.head(kind, id);
        out.0.extend(value);
        out
    }

    fn list(self, id: i16, items: Vec<Writer>) -> Self {
        let mut out = self.head(15, id);
        out.0.push(12);
        out.0.extend((items.len() as u32).to_be_bytes());
        items.into_iter().for_each(|item| out.0.extend(item.end()));
        out
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

fn tag_in_thrift(tag: &Tag) -> Writer {
    let out = Writer::default().text(1, tag.key.as_bytes());
    match tag.kind {
        0 => out.i32(2, 0).text(3, tag.text.as_bytes()),
        1 => out.i32(2, 2).bytes(2, 5, &[u8::from(tag.bool)]),
        2 => out.i32(2, 3).i64(6, tag.int),
        3 => out.i32(2, 1).bytes(4, 4, &tag.double.to_be_bytes()),
        _ => out.i32(2, 4).text(7, &tag.bytes),
    }
}

/// The same as [`request`], with the process behind the spans.
fn batch_in_thrift(span: &JaegerSpan) -> Vec<u8> {
    let tags = |tags: &[Tag]| tags.iter().map(tag_in_thrift).collect::<Vec<_>>();
    let low = |id: &[u8]| i64::from_be_bytes(*id.last_chunk().unwrap());
    let high = |id: &[u8]| i64::from_be_bytes(*id.first_chunk().unwrap());
    let micros = |time: &Option<Time>| {
        time.as_ref().map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
    };
    let references = span.references.iter().map(|to| {
        let trace = Writer::default().i32(1, to.kind).i64(2, low(&to.trace_id)).i64(3, high(&to.trace_id));
        trace.i64(4, low(&to.span_id))
    });
    let logs = span
        .logs
        .iter()
        .map(|log| Writer::default().i64(1, micros(&log.timestamp)).list(2, tags(&log.fields)));
    let written = Writer::default()
        .i64(1, low(&span.trace_id))
        .i64(2, high(&span.trace_id))
        .i64(3, low(&span.span_id))
        .i64(4, 0)
        .text(5, span.operation_name.as_bytes())
        .list(6, references.collect())
        .i32(7, span.flags.cast_signed())
        .i64(8, micros(&span.start_time))
        .i64(9, micros(&span.duration))
        .list(10, tags(&span.tags))
        .list(11, logs.collect());
    let process = [text("hostname", "pod-1"), text("ip", "10.0.0.1")];
    let process = Writer::default().text(1, b"shop").list(2, tags(&process)).end();
    Writer::default().list(2, vec![written]).bytes(12, 1, &process).i64(3, 9).end()
}

/// Writes a struct of the binary protocol in the compact one.
fn compact_struct(reader: &mut Reader<'_>, out: &mut Vec<u8>) {
    let (mut fields, mut last) = (Fields::default(), 0);
    while let Some(field) = reader.next_field(&mut fields).unwrap() {
        let code = match field.kind {
            Type::Bool if reader.bool().unwrap() => 1,
            kind => compact_type(kind),
        };
        match field.id - last {
            more @ 1..=15 => out.push((more as u8) << 4 | code),
            _ => {
                out.push(code);
                put_varint(out, zigzag(field.id.into()));
            }
        }
        last = field.id;
        if field.kind != Type::Bool {
            compact_value(reader, field.kind, out);
        }
    }
    out.push(0);
}

fn compact_type(kind: Type) -> u8 {
    match kind {
        Type::Bool => 2,
        Type::I32 => 5,
        Type::I64 => 6,
        Type::Double => 7,
        Type::Binary => 8,
        Type::List => 9,
        Type::Struct => 12,
        other => panic!("{other:?} is not in a batch"),
    }
}

fn compact_value(reader: &mut Reader<'_>, kind: Type, out: &mut Vec<u8>) {
    match kind {
        Type::I32 => put_varint(out, zigzag(reader.i32().unwrap().into())),
        Type::I64 => put_varint(out, zigzag(reader.i64().unwrap())),
        Type::Double => out.extend(reader.double().unwrap().to_le_bytes()),
        Type::Binary => {
            let bytes = reader.bytes().unwrap();
            put_varint(out, bytes.len() as u64);
            out.extend(bytes);
        }
        Type::List => {
            let list = reader.list().unwrap();
            let code = if list.length == 0 { 0 } else { compact_type(list.item) };
            match list.length {
                short @ 0..15 => out.push((short as u8) << 4 | code),
                length => {
                    out.push(0xf0 | code);
                    put_varint(out, length as u64);
                }
            }
            (0..list.length).for_each(|_| compact_value(reader, list.item, out));
        }
        Type::Struct => compact_struct(reader, out),
        other => panic!("{other:?} is not in a batch"),
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// A call in both protocols; the arguments are given in the binary one.
fn calls(name: &str, arguments: &[u8]) -> [(Protocol, Vec<u8>); 2] {
    let length = name.len() as u8;
    let binary = [&[0x80, 1, 0, 4, 0, 0, 0, length][..], name.as_bytes(), &[0; 4], arguments].concat();
    let mut compact = [&[0x82, 0x21, 0, length][..], name.as_bytes()].concat();
    compact_struct(&mut Reader::new(arguments, Protocol::Binary), &mut compact);
    [(Protocol::Binary, binary), (Protocol::Compact, compact)]
}

#[test]
fn both_protocols_have_trace_ids_of_128_bits() {
    let trace_id = [[1; 8], [0xfe; 8]].concat();
    let references = vec![SpanRef { trace_id: trace_id.clone(), span_id: id(3), kind: 0 }];
    let long = JaegerSpan { trace_id, references, ..full() };
    let arguments = Writer::default().bytes(12, 1, &batch_in_thrift(&long)).end();
    for (protocol, datagram) in calls("emitBatch", &arguments) {
        let found = gathered(|out| decode_agent_message(&datagram, protocol, out)).unwrap();
        assert_eq!(only(&found), decoded(long.clone()), "{protocol:?}");
        let longer = [&datagram[..], &[0]].concat();
        let refused = gathered(|out| decode_agent_message(&longer, protocol, out)).unwrap_err();
        assert!(refused.contains("more bytes follow"), "{protocol:?}: {refused}");
    }
}

#[test]
fn the_agent_takes_spans_of_zipkin() {
    let note = |time, name: &[u8]| Writer::default().i64(1, time).text(2, name);
    let span = Writer::default().i64(1, 2).text(3, b"get").i64(4, 3);
    let span = span.list(6, vec![note(5, b"cs"), note(9, b"cr")]).i64(12, 1);
    let arguments = Writer::default().list(1, vec![span]).end();
    for (protocol, datagram) in calls("emitZipkinBatch", &arguments) {
        let found = gathered(|out| decode_agent_message(&datagram, protocol, out)).unwrap();
        let (_, span) = only(&found);
        assert_eq!((span.trace_id, span.span_id), ([id(1), id(2)].concat(), id(3)), "{protocol:?}");
        assert_eq!((span.name.as_str(), span.kind), ("get", 3), "{protocol:?}");
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000, 9_000), "{protocol:?}");
    }
}

#[test]
fn bytes_behind_a_batch_are_refused() {
    let body = [batch_in_thrift(&full()), vec![0]].concat();
    let refused = gathered(|out| decode_batch(&body, out)).unwrap_err();
    assert!(refused.contains("more bytes follow"), "{refused}");
}

#[test]
fn thrift_says_the_same_as_protobuf() {
    let body = batch_in_thrift(&full());
    let batch = gathered(|out| decode_batch(&body, out)).unwrap();
    assert_eq!(only(&batch), decoded(full()));
    let datagram =
        [&[0x80, 1, 0, 4, 0, 0, 0, 9][..], b"emitBatch", &[0; 4], &[12, 0, 1], &body, &[0]].concat();
    let agent = gathered(|out| decode_agent_message(&datagram, Protocol::Binary, out)).unwrap();
    assert_eq!(only(&agent), decoded(full()));
    for end in 0..body.len() {
        assert!(gathered(|out| decode_batch(&body[..end], out)).is_err(), "cut at {end}");
    }
    let other = [&[0x80, 1, 0, 4, 0, 0, 0, 4][..], b"ping", &[0; 4], &[12, 0, 1, 0, 0]].concat();
    let refused = gathered(|out| decode_agent_message(&other, Protocol::Binary, out)).unwrap_err();
    assert!(refused.contains("expected a call of emitBatch"), "{refused}");
}

#[test]
fn millions_of_empty_references_cost_the_span() {
    let mut hold = |_| Ok(());
    let limits = DecodeLimits { max_span_bytes: 10_000, ..DecodeLimits::default() };
    let mut out = Gatherer::new(&limits, &mut hold);
    let references = (0..5_000).map(|_| Writer::default()).collect();
    let span = Writer::default().i64(1, 1).i64(3, 1).list(6, references);
    decode_batch(&Writer::default().list(2, vec![span]).end(), &mut out).unwrap();
    let decoded = out.finish().unwrap();
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (0, 1));
    assert!(decoded.rejected.message().contains("maxSpanBytes"), "{}", decoded.rejected.message());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_gathered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = gathered(|out| decode_post_spans(&bytes, out));
        let _ = gathered(|out| decode_span(&bytes, out));
        let _ = gathered(|out| decode_batch(&bytes, out));
        for protocol in [Protocol::Binary, Protocol::Compact] {
            let _ = gathered(|out| decode_agent_message(&bytes, protocol, out));
        }
    }

    #[test]
    fn a_flipped_byte_costs_no_more_than_the_request(at: prop::sample::Index, byte: u8) {
        let (mut protobuf, mut thrift) = (request(full()), batch_in_thrift(&full()));
        let (in_protobuf, in_thrift) = (at.index(protobuf.len()), at.index(thrift.len()));
        (protobuf[in_protobuf], thrift[in_thrift]) = (byte, byte);
        for decoded in [gathered(|out| decode_post_spans(&protobuf, out)), gathered(|out| decode_batch(&thrift, out))] {
            for span in decoded.iter().flat_map(|decoded| &decoded.spans) {
                let body = &decoded.as_ref().unwrap().body;
                Span::decode(&body[span.at.clone()]).unwrap();
            }
        }
    }
}
