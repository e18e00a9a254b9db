//! Examples of each format, their flaws, and a comparison between them: one span says the same in every format.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::gather::{Gatherer, Unreadable};
use crate::otlp::wire::{put_bytes, put_fixed64, put_uint};
use crate::otlp::{DecodeLimits, Decoded};

fn gathered(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Result<Decoded, String> {
    gathered_within(&DecodeLimits::default(), decode)
}

fn gathered_within(
    limits: &DecodeLimits,
    decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>,
) -> Result<Decoded, String> {
    let mut hold = |_| Ok(());
    let mut gatherer = Gatherer::new(limits, &mut hold);
    decode(&mut gatherer).map_err(|error| error.to_string())?;
    Ok(gatherer.finish().unwrap())
}

fn json(text: &str) -> Decoded {
    gathered(|out| decode_json(&mut text.as_bytes(), out)).unwrap()
}

fn json_v1(text: &str) -> Decoded {
    gathered(|out| decode_json_v1(&mut text.as_bytes(), out)).unwrap()
}

fn spans(decoded: &Decoded) -> Vec<Span> {
    let span = |at: &std::ops::Range<usize>| Span::decode(&decoded.body[at.clone()]).unwrap();
    decoded.spans.iter().map(|known| span(&known.at)).collect()
}

/// The only span, which has to be accepted.
fn only(decoded: &Decoded) -> Span {
    assert_eq!((decoded.rejected.count, decoded.spans.len()), (0, 1), "{:?}", decoded.rejected);
    spans(decoded).remove(0)
}

fn service(decoded: &Decoded, span: usize) -> Vec<String> {
    let resource = ResourceSpans::decode(&*decoded.resources[decoded.spans[span].resource as usize]).unwrap();
    shown(&resource.resource.unwrap_or_default().attributes)
}

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let one = |attribute: &KeyValue| {
        let value = match attribute.value.clone().unwrap().value.unwrap() {
            V::StringValue(text) => text,
            V::BoolValue(value) => value.to_string(),
            V::IntValue(value) => value.to_string(),
            V::DoubleValue(value) => format!("{value:?}"),
            other => format!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    };
    attributes.iter().map(one).collect()
}

const FULL: &str = r#"[{
  "traceId": "5af7183fb1d4cf5f5af7183fb1d4cf60", "parentId": "6b221d5bc9e6496c", "id": "352bff9a74ca9ad2",
  "kind": "CLIENT", "name": "get /api", "timestamp": 1556604172355737, "duration": 1431,
  "localEndpoint": {"serviceName": "backend", "ipv4": "192.168.99.1", "port": 3306},
  "remoteEndpoint": {"serviceName": "db", "ipv4": "172.19.0.2", "ipv6": "2001:db8::c001", "port": 58648},
  "annotations": [{"timestamp": 1556604172355740, "value": "ws"}],
  "tags": {"http.method": "GET", "http.path": "/api"}, "debug": true, "unknown": [{}]
}]"#;

/// The same as [`FULL`] in protobuf.
fn full_in_protobuf() -> Vec<u8> {
    let mut span = Vec::new();
    put_bytes(&mut span, 1, &0x5af7_183f_b1d4_cf5f_5af7_183f_b1d4_cf60_u128.to_be_bytes());
    put_bytes(&mut span, 2, &0x6b22_1d5b_c9e6_496c_u64.to_be_bytes());
    put_bytes(&mut span, 3, &0x352b_ff9a_74ca_9ad2_u64.to_be_bytes());
    put_uint(&mut span, 4, 1);
    put_bytes(&mut span, 5, b"get /api");
    put_fixed64(&mut span, 6, 1_556_604_172_355_737);
    put_uint(&mut span, 7, 1431);
    let mut local = Vec::new();
    put_bytes(&mut local, 1, b"backend");
    put_bytes(&mut local, 2, &[192, 168, 99, 1]);
    put_uint(&mut local, 4, 3306);
    put_bytes(&mut span, 8, &local);
    let mut remote = Vec::new();
    put_bytes(&mut remote, 1, b"db");
    put_bytes(&mut remote, 2, &[172, 19, 0, 2]);
    put_bytes(&mut remote, 3, &0x2001_0db8_0000_0000_0000_0000_0000_c001_u128.to_be_bytes());
    put_uint(&mut remote, 4, 58648);
    put_bytes(&mut span, 9, &remote);
    let mut annotation = Vec::new();
    put_fixed64(&mut annotation, 1, 1_556_604_172_355_740);
    put_bytes(&mut annotation, 2, b"ws");
    put_bytes(&mut span, 10, &annotation);
    for (key, value) in [("http.method", "GET"), ("http.path", "/api")] {
        let mut tag = Vec::new();
        put_bytes(&mut tag, 1, key.as_bytes());
        put_bytes(&mut tag, 2, value.as_bytes());
        put_bytes(&mut span, 11, &tag);
    }
    put_uint(&mut span, 12, 1);
    let mut list = Vec::new();
    put_bytes(&mut list, 1, &span);
    list
}

#[test]
fn every_field_has_its_place() {
    let decoded = json(FULL);
    let span = only(&decoded);
    assert_eq!(span.trace_id, 0x5af7_183f_b1d4_cf5f_5af7_183f_b1d4_cf60_u128.to_be_bytes());
    assert_eq!(span.span_id, 0x352b_ff9a_74ca_9ad2_u64.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x6b22_1d5b_c9e6_496c_u64.to_be_bytes());
    assert_eq!((span.name.as_str(), span.kind), ("get /api", 3));
    assert_eq!(span.start_time_unix_nano, 1_556_604_172_355_737_000);
    assert_eq!(span.end_time_unix_nano, 1_556_604_172_357_168_000);
    assert_eq!(
        shown(&span.attributes),
        [
            "http.method=GET",
            "http.path=/api",
            "network.local.address=192.168.99.1",
            "network.local.port=3306",
            "peer.service=db",
            "network.peer.address=172.19.0.2",
            "zipkin.remote.ipv6=2001:db8::c001",
            "network.peer.port=58648",
            "zipkin.debug=true",
        ]
    );
    assert_eq!(service(&decoded, 0), ["service.name=backend"]);
    let event = &span.events[0];
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("ws", 1_556_604_172_355_740_000));
    assert_eq!((span.events.len(), span.status), (1, None));
}

#[test]
fn protobuf_says_the_same_as_json() {
    let body = full_in_protobuf();
    let decoded = gathered(|out| decode_protobuf(&body, out)).unwrap();
    assert_eq!(only(&decoded), only(&json(FULL)));
    assert_eq!(decoded.resources, json(FULL).resources);
}

#[test]
fn short_identifiers_are_padded_and_those_of_zeros_refused() {
    let span = only(&json(r#"[{"traceId":"abc","id":"1","parentId":"0000000000000000"}]"#));
    assert_eq!(span.trace_id, 0xabc_u128.to_be_bytes());
    assert_eq!(span.span_id, 1_u64.to_be_bytes());
    assert_eq!(span.parent_span_id, [0; 0]);
    for (member, why) in [
        (r#""traceId":"0","id":"1""#, "trace ID is missing or all zero"),
        (r#""traceId":"1""#, "span ID is missing"),
        (r#""traceId":"1","id":"""#, "[1].id: expected 1 to 16 hex digits"),
        (r#""traceId":"x","id":"1""#, "[1].traceId: expected 1 to 32 hex digits"),
        (r#""traceId":"1","id":"1","id":"1""#, "[1].id: is given twice"),
        (r#""traceId":"1","id":"1","timestamp":-5"#, "[1].timestamp: expected a whole number"),
        (r#""traceId":"1","id":"1","timestamp":18446744073709552"#, "beyond the year 2554"),
        (r#""traceId":"1","id":"1","timestamp":5,"duration":-6"#, "before 1970"),
        (
            r#""traceId":"1","id":"1","localEndpoint":{"port":true}"#,
            "[1].localEndpoint.port: expected a number",
        ),
        (r#""traceId":"1","id":"1","remoteEndpoint":{"ipv4":"80","port":{}}"#, "[1].remoteEndpoint.port"),
        (r#""traceId":"1","id":"1","localEndpoint":{"port":65536}"#, "from 0 to 65535"),
        (r#""traceId":"1","id":"1","localEndpoint":{"port":-1}"#, "from 0 to 65535"),
        (r#""traceId":"1","id":"1","binaryAnnotations":[]"#, "version 1, which goes to /api/v1/spans"),
        (r#""traceId":"1","id":"1","tags":[]"#, "[1].tags: expected an object"),
        (r#""traceId":"1","id":"1","tags":{"a":{}}"#, "[1].tags.a: expected a string"),
        (r#""traceId":"1","id":"1","name":7"#, "[1].name: expected a string"),
    ] {
        let text = format!(r#"[{{"traceId":"1","id":"7"}},{{{member}}},{{"traceId":"1","id":"9"}}]"#);
        let decoded = json(&text);
        let ids: Vec<u8> = spans(&decoded).iter().map(|span| span.span_id[7]).collect();
        assert_eq!((ids, decoded.rejected.count), (vec![7, 9], 1), "{member}");
        assert!(decoded.rejected.message().contains(why), "{}", decoded.rejected.message());
    }
    let decoded = json(r#"[1,"x",[],null]"#);
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (0, 4));
}

#[test]
fn what_is_no_list_of_spans_is_refused_as_a_whole() {
    for text in ["", "{}", "[", "[{]", "[{}] x", "[{\"a\":1,}]", "[{\"tags\":{\"a\":tru}}]"] {
        let refused = gathered(|out| decode_json(&mut text.as_bytes(), out)).unwrap_err();
        assert!(
            refused.starts_with("not a list of Zipkin spans: ") && refused.contains("column"),
            "{text}: {refused}"
        );
        assert!(gathered(|out| decode_json_v1(&mut text.as_bytes(), out)).is_err(), "{text}");
    }
    assert!(gathered(|out| decode_protobuf(b"\x0a\x05x", out)).is_err());
    assert!(gathered(|out| decode_thrift(b"\x0c\x00", out)).is_err());
    assert_eq!(json("[]").spans.len(), 0);
}

#[test]
fn tags_say_what_otlp_has_fields_for() {
    let status = |tags: &str| {
        let span = only(&json(&format!(r#"[{{"traceId":"1","id":"1","tags":{tags}}}]"#)));
        let status = span.status.unwrap_or_default();
        (status.code, status.message, shown(&span.attributes))
    };
    let of = |code, message: &str, attributes: &[&str]| {
        (code, message.to_owned(), attributes.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(status(r#"{"error":"true"}"#), of(2, "", &["error=true"]));
    assert_eq!(status(r#"{"error":""}"#), of(2, "", &["error="]));
    assert_eq!(status(r#"{"error":"refused"}"#), of(2, "refused", &["error=refused"]));
    assert_eq!(status(r#"{"error":"false"}"#), of(0, "", &["error=false"]));
    assert_eq!(status(r#"{"otel.status_code":"OK"}"#), of(1, "", &[]));
    let both = r#"{"error":"x","otel.status_description":"y","otel.status_code":"ERROR"}"#;
    assert_eq!(status(both), of(2, "y", &["error=x"]));
    let decoded =
        json(r#"[{"traceId":"1","id":"1","tags":{"otel.scope.name":"lib","otel.scope.version":"2"}}]"#);
    let scope = ScopeSpans::decode(&*decoded.scopes[0]).unwrap().scope.unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "2"));
}

#[test]
fn shared_identifiers_stay_as_they_were_sent() {
    let decoded = json(
        r#"[{"traceId":"1","id":"2","parentId":"1","kind":"CLIENT","localEndpoint":{"serviceName":"a"}},
            {"traceId":"1","id":"2","parentId":"1","kind":"SERVER","shared":true,"localEndpoint":{"serviceName":"b"}}]"#,
    );
    let spans = spans(&decoded);
    assert_eq!((spans[0].kind, spans[1].kind), (3, 2));
    assert_eq!((&spans[0].span_id, &spans[0].parent_span_id), (&spans[1].span_id, &spans[1].parent_span_id));
    assert_eq!(shown(&spans[1].attributes), ["zipkin.shared=true"]);
    assert_eq!(service(&decoded, 1), ["service.name=b"]);
}

#[test]
fn a_span_without_a_time_has_that_of_its_first_annotation() {
    let text = r#"[{"traceId":"1","id":"1","annotations":[{"timestamp":9,"value":"b"},{"timestamp":7,"value":"a"}]}]"#;
    let span = only(&json(text));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (7_000, 7_000));
}

#[test]
fn an_end_before_its_start_is_kept() {
    let times = |span: Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    let early = r#"[{"traceId":"1","id":"1","timestamp":9,"duration":-7}]"#;
    assert_eq!(times(only(&json(early))), (9_000, 2_000));
    assert_eq!(times(only(&json_v1(early))), (9_000, 2_000));
    let noted = r#"[{"traceId":"1","id":"1","annotations":[{"timestamp":9,"value":"sr"},{"timestamp":2,"value":"ss"}]}]"#;
    assert_eq!(times(only(&json_v1(noted))), (9_000, 2_000));
}

#[test]
fn version_1_refuses_members_of_version_2() {
    for member in
        [r#""tags":{"a":"b"}"#, r#""kind":"CLIENT""#, r#""localEndpoint":{}"#, r#""remoteEndpoint":{}"#]
    {
        let decoded =
            json_v1(&format!(r#"[{{"traceId":"1","id":"1",{member}}},{{"traceId":"1","id":"2"}}]"#));
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1), "{member}");
        let why = decoded.rejected.message();
        assert!(why.contains("version 2, which goes to /api/v2/spans"), "{why}");
    }
}

#[test]
fn binary_annotations_have_the_type_that_they_name() {
    let of = |value: &str| {
        json_v1(&format!(r#"[{{"traceId":"1","id":"1","binaryAnnotations":[{{"key":"k",{value}}}]}}]"#))
    };
    for (value, expected) in [
        (r#""value":"7","type":"I16""#, "k=7"),
        (r#""type":"I32","value":-7"#, "k=-7"),
        (r#""value":"-9223372036854775808","type":"I64""#, "k=-9223372036854775808"),
        (r#""value":"0.5","type":"DOUBLE""#, "k=0.5"),
        (r#""value":2,"type":"DOUBLE""#, "k=2.0"),
        (r#""value":"AP8=","type":"BYTES""#, "k=BytesValue([0, 255])"),
        (r#""value":"true","type":"BOOL""#, "k=true"),
        (r#""value":"7","type":"STRING""#, "k=7"),
        (r#""value":"x","type":"OTHER""#, "k=x"),
        (r#""value":7"#, "k=7"),
    ] {
        assert_eq!(shown(&only(&of(value)).attributes), [expected], "{value}");
    }
    let is_int = |value: &str| {
        let attribute = only(&of(value)).attributes.remove(0);
        matches!(attribute.value.and_then(|value| value.value), Some(V::IntValue(_)))
    };
    assert!(is_int(r#""value":"7","type":"I16""#) && !is_int(r#""value":"7","type":"STRING""#));
    for value in [
        r#""value":"32768","type":"I16""#,
        r#""value":"x","type":"I64""#,
        r#""value":true,"type":"DOUBLE""#,
        r#""value":"?","type":"BYTES""#,
        r#""value":"yes","type":"BOOL""#,
        r#""value":{}"#,
    ] {
        assert_eq!(of(value).rejected.count, 1, "{value}");
    }
}

#[test]
fn protobuf_refuses_ports_of_more_than_16_bits() {
    for port in [65_536, u64::MAX] {
        let (mut local, mut span, mut list) = (Vec::new(), Vec::new(), Vec::new());
        put_uint(&mut local, 4, port);
        put_bytes(&mut span, 1, &1_u128.to_be_bytes());
        put_bytes(&mut span, 3, &1_u64.to_be_bytes());
        put_bytes(&mut span, 8, &local);
        put_bytes(&mut list, 1, &span);
        let decoded = gathered(|out| decode_protobuf(&list, out)).unwrap();
        assert!(decoded.rejected.message().contains("0 to 65535"), "{port}: {:?}", decoded.rejected);
    }
}

#[test]
fn both_addresses_of_a_span_of_version_1_stay() {
    let text = r#"[{"traceId":"1","id":"2","timestamp":10,"annotations":[],"binaryAnnotations":[
        {"key":"sa","value":true,"endpoint":{"serviceName":"db","ipv4":"10.0.0.1","port":5432}},
        {"key":"ca","value":true,"endpoint":{"serviceName":"shop","ipv4":"10.0.0.2"}}]}]"#;
    assert_eq!(
        shown(&only(&json_v1(text)).attributes),
        [
            "zipkin.ca.service=shop",
            "zipkin.ca.address=10.0.0.2",
            "peer.service=db",
            "network.peer.address=10.0.0.1",
            "network.peer.port=5432"
        ]
    );
}

#[test]
fn a_span_of_version_1_becomes_its_sides() {
    let endpoint = |name: &str| format!(r#"{{"serviceName":"{name}","ipv4":"10.0.0.1","port":80}}"#);
    let text = format!(
        r#"[{{"traceId":"1","id":"2","parentId":"1","name":"get","timestamp":10,"duration":100,
          "annotations":[
            {{"timestamp":10,"value":"cs","endpoint":{a}}},{{"timestamp":20,"value":"sr","endpoint":{b}}},
            {{"timestamp":30,"value":"own","endpoint":{b}}},{{"timestamp":90,"value":"ss","endpoint":{b}}},
            {{"timestamp":110,"value":"cr","endpoint":{a}}}],
          "binaryAnnotations":[
            {{"key":"http.path","value":"/x","endpoint":{a}}},{{"key":"rows","value":7,"endpoint":{b}}},
            {{"key":"sa","value":true,"endpoint":{b}}},{{"key":"ok","value":false,"type":"BOOL"}}]}}]"#,
        a = endpoint("a"),
        b = endpoint("b"),
    );
    let decoded = json_v1(&text);
    let both = spans(&decoded);
    assert_eq!(both.len(), 2);
    let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!((both[0].kind, times(&both[0])), (3, (10_000, 110_000)));
    assert_eq!((both[1].kind, times(&both[1])), (2, (20_000, 90_000)));
    assert_eq!(
        (service(&decoded, 0), service(&decoded, 1)),
        (vec!["service.name=a".into()], vec!["service.name=b".into()])
    );
    let of = |span: &Span| {
        shown(&span.attributes)
            .into_iter()
            .filter(|text| !text.starts_with("network.local"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(&both[0]),
        [
            "http.path=/x",
            "ok=false",
            "peer.service=b",
            "network.peer.address=10.0.0.1",
            "network.peer.port=80"
        ]
    );
    assert_eq!(of(&both[1]), ["rows=7", "zipkin.shared=true"]);
    let events = |span: &Span| span.events.iter().map(|event| event.name.clone()).collect::<Vec<_>>();
    assert_eq!((events(&both[0]), events(&both[1])), (vec![], vec!["own".to_owned()]));
}

/// A span of version 1 in thrift's binary protocol.
fn thrift_span() -> Vec<u8> {
    thrift_span_at(&[])
}

/// The same, whose host has this address of version 6.
fn thrift_span_at(ipv6: &[u8]) -> Vec<u8> {
    fn field(kind: u8, id: u16, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &id.to_be_bytes(), value].concat()
    }
    fn text(text: &[u8]) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes()[..], text].concat()
    }
    let host = [
        field(8, 1, &[10, 0, 0, 1]),
        field(6, 2, &50_000_u16.to_be_bytes()),
        field(11, 3, &text(b"shop")),
        field(11, 4, &text(ipv6)),
        vec![0],
    ]
    .concat();
    let annotation = |time: i64, name: &[u8]| {
        [field(10, 1, &time.to_be_bytes()), field(11, 2, &text(name)), field(12, 3, &host), vec![0]].concat()
    };
    let list = |items: &[Vec<u8>]| [&[12][..], &(items.len() as u32).to_be_bytes(), &items.concat()].concat();
    let tag = [
        field(11, 1, &text(b"bytes")),
        field(11, 2, &text(&7_i64.to_be_bytes())),
        field(8, 3, &4_u32.to_be_bytes()),
        field(12, 4, &host),
        vec![0],
    ]
    .concat();
    let span = [
        field(10, 1, &2_i64.to_be_bytes()),
        field(11, 3, &text(b"get")),
        field(10, 4, &3_i64.to_be_bytes()),
        field(10, 5, &4_i64.to_be_bytes()),
        field(15, 6, &list(&[annotation(5, b"sr"), annotation(9, b"ss")])),
        field(15, 8, &list(&[tag])),
        field(2, 9, &[0]),
        field(10, 12, &1_i64.to_be_bytes()),
        vec![0],
    ]
    .concat();
    list(&[span])
}

#[test]
fn version_1_in_thrift() {
    let body = thrift_span();
    let decoded = gathered(|out| decode_thrift(&body, out)).unwrap();
    let span = only(&decoded);
    assert_eq!(span.trace_id, (1_u128 << 64 | 2).to_be_bytes());
    assert_eq!((span.name.as_str(), span.kind), ("get", 2));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000, 9_000));
    assert_eq!(
        shown(&span.attributes),
        ["bytes=7", "network.local.address=10.0.0.1", "network.local.port=50000", "zipkin.shared=true"]
    );
    assert_eq!((service(&decoded, 0), span.events.len()), (vec!["service.name=shop".to_owned()], 0));
    for end in 0..body.len() {
        assert!(gathered(|out| decode_thrift(&body[..end], out)).is_err(), "cut at {end}");
    }
    let refused = gathered(|out| decode_thrift(&[&body[..], &[0]].concat(), out)).unwrap_err();
    assert!(refused.contains("more bytes follow"), "{refused}");
    let decoded = gathered(|out| decode_thrift(&thrift_span_at(&[1; 15]), out)).unwrap();
    assert!(decoded.rejected.message().contains("neither 4 nor 16 bytes"), "{:?}", decoded.rejected);
}

#[test]
fn a_span_over_its_bound_is_refused_alone() {
    let limits = DecodeLimits { max_span_bytes: 1_000, max_resource_bytes: 100, ..DecodeLimits::default() };
    let tags = |count: usize| (0..count).map(|n| format!(r#""k{n}":"v""#)).collect::<Vec<_>>().join(",");
    for large in [
        format!(r#""tags":{{{}}}"#, tags(200)),
        format!(r#""name":"{}""#, "x".repeat(2_000)),
        format!(r#""tags":{{"otel.scope.name":"{0}","otel.scope.version":"{0}"}}"#, "x".repeat(60)),
        format!(r#""name":"{}","tags":{{"otel.scope.name":"{}"}}"#, "x".repeat(950), "x".repeat(90)),
        format!(r#""localEndpoint":{{"serviceName":"{}"}}"#, "x".repeat(200)),
    ] {
        let text = format!(r#"[{{"traceId":"1","id":"1",{large}}},{{"traceId":"1","id":"2"}}]"#);
        let decoded = gathered_within(&limits, |out| decode_json(&mut text.as_bytes(), out)).unwrap();
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1), "{large}");
        assert!(decoded.rejected.message().contains("over max"), "{}", decoded.rejected.message());
    }
}

proptest! {
    /// Every decoder refuses random bytes or writes OTLP spans from them, and none panics.
    #[test]
    fn any_bytes_are_refused_or_gathered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = gathered(|out| decode_json(&mut &*bytes, out));
        let _ = gathered(|out| decode_json_v1(&mut &*bytes, out));
        let _ = gathered(|out| decode_protobuf(&bytes, out)).map(|decoded| spans(&decoded));
        let _ = gathered(|out| decode_thrift(&bytes, out)).map(|decoded| spans(&decoded));
    }

    /// A byte of a good request is changed.
    #[test]
    fn a_flipped_byte_costs_no_more_than_the_request(at: prop::sample::Index, byte: u8) {
        for (body, decode) in [
            (full_in_protobuf(), decode_protobuf as fn(&[u8], &mut Gatherer<'_>) -> Result<(), Unreadable>),
            (thrift_span(), decode_thrift),
            (FULL.as_bytes().to_vec(), |body, out| decode_json(&mut &*body, out)),
        ] {
            let mut body = body;
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(decoded) = gathered(|out| decode(&body, out)) {
                spans(&decoded);
            }
        }
    }

    /// Any order of members says the same.
    #[test]
    fn members_come_in_any_order(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
        let members = [
            r#""traceId":"aa""#, r#""id":"b""#, r#""timestamp":5"#, r#""duration":"7""#,
            r#""tags":{"a":"1","b":"2"}"#, r#""localEndpoint":{"port":0,"serviceName":"s"}"#,
        ];
        let text = |order: &[usize]| {
            format!("[{{{}}}]", order.iter().map(|n| members[*n]).collect::<Vec<_>>().join(","))
        };
        prop_assert_eq!(only(&json(&text(&order))), only(&json(&text(&[0, 1, 2, 3, 4, 5]))));
    }
}
