//! Bad input over real sockets: the server responds with a clear error or keeps the span, and never panics, hangs or
//! stops accepting spans. After every group of inputs it is alive and ready, and accepts a valid trace.
//!
//! SPANDREL_MUTATION_SEED repeats the mutations of an earlier run.

use std::io::Write as _;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message as _;
use serde_json::{Value as Json, json};
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{self, Body, Connection, JSON, PROTOBUF, Reply, post_traces, request as ask};
use spandrel_tests::otlp::{attribute, hex, now, request, span, span_id, spans_by_id, text, trace_id};
use spandrel_tests::server::{Server, Settings};
use tonic::Code;

/// The longest time that a response may take while other clients misbehave.
const PROMPT: Duration = Duration::from_secs(10);

struct Target {
    server: Server,
    _data: tempfile::TempDir,
}

impl Target {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { server: Settings::on(data.path()).start(), _data: data }
    }

    /// Asserts that the server is alive and ready, and that a valid trace sent by HTTP and by gRPC is found.
    fn is_well(&mut self) {
        assert!(self.server.is_alive(), "the server is gone: {}", self.server.stderr());
        let began = Instant::now();
        assert!(self.server.api().is_ready());
        let sound = rich_span();
        let reply =
            post_traces(self.server.otlp_http(), &request("well", vec![sound.clone()]).encode_to_vec());
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
        let other = rich_span();
        let body = request("well", vec![other.clone()]).encode_to_vec();
        Grpc::connect(self.server.otlp_grpc()).unwrap().export(&body).unwrap();
        for span in [sound, other] {
            let stored = self.server.api().otlp(&hex(&span.trace_id)).expect("a sound trace");
            assert_eq!(spans_by_id(&stored), [span]);
        }
        assert!(began.elapsed() < PROMPT, "a sound trace took {:?}", began.elapsed());
        let log = self.server.stderr();
        assert!(!log.contains("panicked"), "{log}");
    }

    fn keeps(&self, span: &Span) {
        let body = request("odd", vec![span.clone()]).encode_to_vec();
        let reply = post_traces(self.server.otlp_http(), &body);
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{span:?}: {}", reply.text());
        let id = hex(&span.trace_id);
        let mut api = self.server.api();
        let stored = api.otlp(&id).unwrap_or_else(|| panic!("{id} is not kept"));
        assert!(spans_by_id(&stored).contains(span), "{id} came back different");
        assert_eq!(api.tree(&id)["id"], id, "the tree of an odd span");
        let found = api.search(&format!("{{ name = \"{}\" }}", span.name));
        assert!(found.iter().any(|trace| trace["id"] == id), "search does not find {}", span.name);
    }
}

/// A span with every field.
fn rich_span() -> Span {
    let mut rich = span(&trace_id(), "rich");
    let list =
        ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(-1)) }, AnyValue { value: None }] };
    rich.attributes = vec![
        text("a", "b"),
        attribute("n", Value::DoubleValue(0.5)),
        attribute("bytes", Value::BytesValue(vec![0, 255, 128])),
        attribute("list", Value::ArrayValue(list)),
    ];
    rich.events = vec![Event {
        time_unix_nano: 7,
        name: "e".to_owned(),
        attributes: vec![text("k", "v")],
        dropped_attributes_count: 1,
    }];
    rich.links = vec![Link {
        trace_id: trace_id(),
        span_id: span_id(),
        trace_state: "a=b".to_owned(),
        flags: 0x101,
        ..Link::default()
    }];
    rich.trace_state = "x=y".to_owned();
    rich
}

fn json_of(request: &ExportTraceServiceRequest) -> Json {
    serde_json::to_value(request).unwrap()
}

/// Asserts an error that a sender can act on: protobuf's Status, as protobuf or as JSON.
#[track_caller]
fn is_refusal(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(!reply.body.is_empty(), "{status} without a word");
}

#[track_caller]
fn partial(reply: &Reply) -> (i64, String) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let partial =
        ExportTraceServiceResponse::decode(&*reply.body).unwrap().partial_success.unwrap_or_default();
    (partial.rejected_spans, partial.error_message)
}

#[test]
fn bytes_that_are_no_request() {
    let mut target = Target::start();
    let seed = std::env::var("SPANDREL_MUTATION_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    let _ = writeln!(std::io::stderr(), "mutations: SPANDREL_MUTATION_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let sound = request("broken", vec![rich_span(), rich_span()]).encode_to_vec();
    let sound_json = serde_json::to_vec(&request("broken", vec![rich_span()])).unwrap();
    let mut http = Connection::open(target.server.otlp_http()).unwrap();
    let mut grpc = Grpc::connect(target.server.otlp_grpc()).unwrap();

    for end in 1..sound.len() {
        let reply = http.request("POST", "/v1/traces", PROTOBUF, Body::Sized(&sound[..end])).unwrap();
        is_refusal(&reply, 400);
    }
    let status = grpc.export(&sound[..sound.len() / 2]).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(!status.message().is_empty());

    for place in 0..3_000 {
        let json = place % 3 == 2;
        let mut body = if json { sound_json.clone() } else { sound.clone() };
        for _ in 0..random.usize(1..=4) {
            mutate(&mut body, &mut random);
        }
        if place % 5 == 0 {
            // The body may be valid or not; if it is refused, the code is INVALID_ARGUMENT.
            if let Err(status) = grpc.export(&body) {
                assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            }
        } else {
            let headers = if json { JSON } else { PROTOBUF };
            let reply = http.request("POST", "/v1/traces", headers, Body::Sized(&body)).unwrap();
            assert!([200, 400].contains(&reply.status), "{}: {}", reply.status, reply.text());
        }
    }
    // Every accepted trace can be read.
    let mut api = target.server.api();
    for trace in api.search("{ }") {
        let id = trace["id"].as_str().unwrap();
        api.otlp(id).unwrap_or_else(|| panic!("{id} is listed, but not there"));
        api.tree(id);
    }
    target.is_well();
}

fn mutate(body: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if body.is_empty() {
        return;
    }
    let place = random.usize(..body.len());
    match random.u8(..5) {
        0 => body[place] = random.u8(..),
        1 => body[place] ^= 1 << random.u8(..8),
        2 => drop(body.remove(place)),
        3 => body.insert(place, random.u8(..)),
        _ => body.truncate(place.max(1)),
    }
}

#[test]
fn types_and_encodings_that_are_not_supported() {
    let mut target = Target::start();
    let body = request("types", vec![rich_span()]).encode_to_vec();
    let otlp = target.server.otlp_http();
    let post =
        |headers: &[(&str, &str)], body: &[u8]| ask(otlp, "POST", "/v1/traces", headers, Body::Sized(body));

    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/grpc", "", "nonsense"] {
        is_refusal(&post(&[("content-type", kind)], &body), 415);
    }
    is_refusal(&post(&[], &body), 415);
    for encoding in ["br", "compress", "nonsense", "gzip, br"] {
        is_refusal(&post(&[PROTOBUF[0], ("content-encoding", encoding)], &body), 415);
    }
    for encoding in ["gzip", "zstd", "deflate"] {
        is_refusal(&post(&[PROTOBUF[0], ("content-encoding", encoding)], &body), 400);
    }
    for wrong in [
        "[]",
        "7",
        "{\"resourceSpans\":7}",
        "{\"resourceSpans\":[{\"scopeSpans\":{}}]}",
        "{",
        "",
        "\u{feff}{}",
        "{\"resourceSpans\":[{]}",
    ] {
        is_refusal(&post(JSON, wrong.as_bytes()), 400);
    }
    let deep = format!("{{\"resourceSpans\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    is_refusal(&post(JSON, deep.as_bytes()), 400);
    assert_eq!(post(PROTOBUF, b"").status, 200, "an empty request has no spans");
    assert_eq!(post(JSON, b"{}").status, 200);

    for (method, path, status) in [
        ("GET", "/v1/traces", 405),
        ("PUT", "/v1/traces", 405),
        ("POST", "/v1/metrics", 404),
        ("POST", "/", 404),
    ] {
        is_refusal(&ask(otlp, method, path, PROTOBUF, Body::Sized(&body)), status);
    }
    let mut grpc = Grpc::connect(target.server.otlp_grpc()).unwrap();
    let status =
        grpc.call("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", &body).unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    // A client of OTLP/HTTP uses the gRPC port.
    let reply = post_traces(target.server.otlp_grpc(), &body);
    is_refusal(&reply, 415);
    assert!(reply.text().contains("4318"), "{}", reply.text());
    target.is_well();
}

#[test]
fn ids_that_are_none_are_refused_one_by_one() {
    let mut target = Target::start();
    let sound = rich_span();
    let with_trace = |id: Vec<u8>| Span { trace_id: id, ..rich_span() };
    let with_span = |id: Vec<u8>| Span { span_id: id, ..rich_span() };
    let bad = vec![
        with_trace(Vec::new()),
        with_trace(vec![0; 16]),
        with_trace(vec![1; 15]),
        with_trace(vec![1; 17]),
        with_trace(vec![7; 100_000]),
        with_span(Vec::new()),
        with_span(vec![0; 8]),
        with_span(vec![1; 7]),
        with_span(vec![1; 9]),
    ];
    let count = bad.len() as i64;
    let spans = [&bad[..4], std::slice::from_ref(&sound), &bad[4..]].concat();
    let body = request("ids", spans).encode_to_vec();
    let (rejected, why) = partial(&post_traces(target.server.otlp_http(), &body));
    assert_eq!(rejected, count, "{why}");
    assert!(why.contains("trace") && why.contains("span"), "{why}");
    let mut api = target.server.api();
    assert_eq!(spans_by_id(&api.otlp(&hex(&sound.trace_id)).unwrap()), std::slice::from_ref(&sound));
    assert_eq!(api.search("{ resource.service.name = \"ids\" }").len(), 1, "only the sound one is kept");

    // An invalid parent or link must not cost the span.
    for parent in [vec![1; 3], vec![0; 8], vec![9; 16]] {
        let mut odd = span(&trace_id(), "odd parent");
        odd.parent_span_id = parent;
        let reply =
            post_traces(target.server.otlp_http(), &request("ids", vec![odd.clone()]).encode_to_vec());
        let (rejected, why) = partial(&reply);
        assert!(rejected == 0 || !why.is_empty(), "refused without a reason");
        assert_eq!(api.otlp(&hex(&odd.trace_id)).is_some(), rejected == 0, "{why}");
    }
    // Invalid UTF-8 in a string: the name of the first of two spans.
    let (mut first, second) = (span(&trace_id(), "UTF8UTF8"), rich_span());
    first.name = "UTF8UTF8".to_owned();
    let mut body = request("ids", vec![first, second.clone()]).encode_to_vec();
    let place = body.windows(8).position(|bytes| bytes == b"UTF8UTF8").unwrap();
    body[place] = 0xff;
    let (rejected, why) = partial(&post_traces(target.server.otlp_http(), &body));
    assert_eq!(rejected, 1, "{why}");
    assert!(why.contains("UTF-8"), "{why}");
    assert!(api.otlp(&hex(&second.trace_id)).is_some());

    for path in [
        "xyz",
        "0",
        "00000000000000000000000000000000",
        "123456789012345678901234567890123",
        "%00",
        "..%2f..%2fetc",
    ] {
        let reply = api.get(&format!("traces/{path}"));
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.text());
        reply.problem();
    }
    target.is_well();
}

/// The same for JSON: a mistake costs its span and no other.
#[test]
fn a_flaw_in_json_costs_that_span() {
    let mut target = Target::start();
    let otlp = target.server.otlp_http();
    let mut api = target.server.api();
    let nested = (0..40).fold(json!({}), |value, _| json!({ "arrayValue": { "values": [value] } }));
    for (member, value) in [
        ("traceId", json!("5b8efff798038103d269b633813fc60")),
        ("traceId", json!("abc")),
        ("spanId", json!("these are no hex")),
        ("spanId", json!(7)),
        ("name", json!(["x"])),
        ("kind", json!("a server")),
        ("startTimeUnixNano", json!(1.5)),
        ("endTimeUnixNano", json!("18446744073709551616")),
        ("droppedEventsCount", json!(-1)),
        ("status", json!("ok")),
        ("events", json!({})),
        ("attributes", json!([{ "key": "k", "value": nested }])),
    ] {
        let kept = [rich_span(), rich_span()];
        let mut body = json_of(&request("flaws", vec![kept[0].clone(), rich_span(), kept[1].clone()]));
        body["resourceSpans"][0]["scopeSpans"][0]["spans"][1][member] = value;
        let reply = ask(otlp, "POST", "/v1/traces", JSON, Body::Sized(body.to_string().as_bytes()));
        assert_eq!(reply.status, 200, "{member}: {}", reply.text());
        let answer: Json = serde_json::from_slice(&reply.body).unwrap();
        let partial = &answer["partialSuccess"];
        assert_eq!(partial["rejectedSpans"], "1", "{member}: {answer}");
        let place = format!("resourceSpans[0].scopeSpans[0].spans[1].{member}");
        assert!(partial["errorMessage"].as_str().unwrap().starts_with(&place), "{member}: {answer}");
        for span in kept {
            assert_eq!(spans_by_id(&api.otlp(&hex(&span.trace_id)).expect("a kept trace")), [span]);
        }
    }
    target.is_well();
}

/// JavaScript may cut a text inside a surrogate pair; the test does so in every kind of string.
#[test]
fn texts_cut_inside_an_emoji_are_kept() {
    let mut target = Target::start();
    let mut cut = span(&trace_id(), "party CUT");
    cut.attributes = vec![text("key CUT", "value CUT")];
    cut.trace_state = "CUT".to_owned();
    let mut sent = request("service CUT", vec![cut]);
    sent.resource_spans[0].schema_url = "CUT".to_owned();
    let body = json_of(&sent).to_string();
    let reply = ask(
        target.server.otlp_http(),
        "POST",
        "/v1/traces",
        JSON,
        Body::Sized(body.replace("CUT", "\\ud83c").as_bytes()),
    );
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    let kept: ExportTraceServiceRequest = serde_json::from_str(&body.replace("CUT", "\u{fffd}")).unwrap();
    let mut api = target.server.api();
    let span = &kept.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(spans_by_id(&api.otlp(&hex(&span.trace_id)).unwrap()), std::slice::from_ref(span));
    let found = api.search("{ name = \"party \u{fffd}\" && resource.service.name = \"service \u{fffd}\" }");
    assert_eq!(found.len(), 1);
    target.is_well();
}

#[test]
fn numbers_with_an_exponent_are_whole_numbers() {
    let mut target = Target::start();
    for number in ["1.795988707752e18", "1.795988707752E+18", "\"1795988707752e6\""] {
        let sent = span(&trace_id(), "exponent");
        let mut body = json_of(&request("numbers", vec![sent.clone()]));
        let written = &mut body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        written["startTimeUnixNano"] = json!("START");
        written["droppedEventsCount"] = json!("COUNT");
        let body = body.to_string().replace("\"START\"", number).replace("\"COUNT\"", "0.5e1");
        let reply = ask(target.server.otlp_http(), "POST", "/v1/traces", JSON, Body::Sized(body.as_bytes()));
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{number}");
        let kept = Span { start_time_unix_nano: 1_795_988_707_752_000_000, dropped_events_count: 5, ..sent };
        let stored = target.server.api().otlp(&hex(&kept.trace_id)).unwrap();
        assert_eq!(spans_by_id(&stored), [kept], "{number}");
    }
    target.is_well();
}

#[test]
fn odd_spans_are_kept() {
    let mut target = Target::start();
    let base = |name: &str| span(&trace_id(), name);
    target.keeps(&Span { start_time_unix_nano: 0, end_time_unix_nano: 0, ..base("1970") });
    target.keeps(&Span { start_time_unix_nano: 1, end_time_unix_nano: 2, ..base("1970 and a bit") });
    let year_2200 = 7_258_118_400_000_000_000;
    target.keeps(&Span {
        start_time_unix_nano: year_2200,
        end_time_unix_nano: year_2200 + 5,
        ..base("2200")
    });
    target.keeps(&Span { start_time_unix_nano: u64::MAX - 1, end_time_unix_nano: u64::MAX, ..base("2554") });
    target.keeps(&Span {
        start_time_unix_nano: 0,
        end_time_unix_nano: u64::MAX,
        ..base("all the time there is")
    });
    target.keeps(&Span { end_time_unix_nano: now() - 1_000_000_000, ..base("ends before it starts") });
    target.keeps(&Span { kind: 99, ..base("unknown kind") });
    let large = "ä".repeat(512 << 10);
    target.keeps(&Span { attributes: vec![text("large", &large)], ..base("one megabyte") });
    target.keeps(&Span { attributes: vec![text(&large, "x")], ..base("a key of one megabyte") });
    let many = (0..20_000).map(|number| text(&format!("key.{number}"), "v")).collect();
    target.keeps(&Span { attributes: many, ..base("20,000 attributes") });
    let own = span_id();
    target.keeps(&Span { span_id: own.clone(), parent_span_id: own, ..base("its own parent") });
    let again = (0..50).map(|number| text("again", &number.to_string())).collect();
    target.keeps(&Span { attributes: again, ..base("a key 50 times") });
    let events = (0..5_000)
        .map(|n| Event { time_unix_nano: n, name: format!("event {n}"), ..Event::default() })
        .collect();
    target.keeps(&Span { events, ..base("5,000 events") });
    let nameless = Span { name: String::new(), ..base("") };
    target.keeps(&nameless);

    let mut anonymous = request("x", vec![base("no service")]);
    anonymous.resource_spans[0].resource = None;
    let id = hex(&anonymous.resource_spans[0].scope_spans[0].spans[0].trace_id);
    assert_eq!(post_traces(target.server.otlp_http(), &anonymous.encode_to_vec()).status, 200);
    assert_eq!(target.server.api().tree(&id)["rootService"], "unknown_service");
    target.is_well();
}

#[test]
fn bodies_that_are_too_large_or_blow_up() {
    let mut target = Target::start();
    let otlp = target.server.otlp_http();
    let most = target.server.api().json("status")["limits"]["maxDecompressedBytes"]
        .as_u64()
        .expect("a named limit") as usize;
    let zeros = vec![0; most + (1 << 20)];
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(&*zeros, 1).unwrap();
    for (encoding, bomb) in [("gzip", &gzip), ("deflate", &deflate), ("zstd", &zstd)] {
        assert!(bomb.len() < 1 << 20, "{encoding}: no bomb");
        for _ in 0..4 {
            let reply = ask(
                otlp,
                "POST",
                "/v1/traces",
                &[PROTOBUF[0], ("content-encoding", encoding)],
                Body::Sized(bomb),
            );
            is_refusal(&reply, 413);
            assert!(reply.text().contains("maxDecompressedBytes"), "{}", reply.text());
        }
    }
    let mut grpc =
        Grpc::connect(target.server.otlp_grpc()).unwrap().compressed(tonic::codec::CompressionEncoding::Gzip);
    let status = grpc.export(&zeros).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.details().is_empty(), "RetryInfo would ask for the same again");
    // Too large without compression: refused at once if the length is declared, else when the limit is reached.
    let reply = ask(otlp, "POST", "/v1/traces", PROTOBUF, Body::Sized(&zeros));
    is_refusal(&reply, 413);
    let reply = ask(otlp, "POST", "/v1/traces", PROTOBUF, Body::Chunked(&zeros, 1 << 20));
    is_refusal(&reply, 413);
    let mut liar = Connection::open(otlp).unwrap();
    liar.write(b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 99999999999999\r\nexpect: 100-continue\r\n\r\n").unwrap();
    is_refusal(&liar.read_reply().unwrap(), 413);
    target.is_well();
}

#[test]
fn a_trace_of_200_000_spans() {
    const SPANS: usize = 200_000;
    const PER_REQUEST: usize = 5_000;
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--max-tree-spans", "50000"]).start();
    let mut target = Target { server, _data: data };
    let trace = trace_id();
    let root = Span { kind: 2, ..span(&trace, "root") };
    let mut spans = vec![root.clone()];
    for place in 1..SPANS {
        // One wide fan, with chains of a thousand spans.
        let parent = if place % 1_000 == 1 { root.span_id.clone() } else { spans[place - 1].span_id.clone() };
        let start = root.start_time_unix_nano + place as u64;
        let name = format!("step {}", place % 50);
        spans.push(Span { parent_span_id: parent, start_time_unix_nano: start, name, ..span(&trace, "") });
    }
    let mut sender = Connection::open(target.server.otlp_http()).unwrap();
    for chunk in spans.chunks(PER_REQUEST) {
        let body = request("huge", chunk.to_vec()).encode_to_vec();
        let reply = sender.request("POST", "/v1/traces", PROTOBUF, Body::Sized(&body)).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let id = hex(&trace);
    let mut api = target.server.api();
    let stored = spans_by_id(&api.otlp(&id).unwrap());
    spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    assert!(stored == spans, "format=otlp-proto is complete: {} of {}", stored.len(), spans.len());
    let json = api.json(&format!("traces/{id}?format=otlp"));
    assert_eq!(spandrel_tests::normalize::of_otlp_json(&json).len(), SPANS);

    // The pages of the tree have every span exactly once.
    let (mut seen, mut cursor, mut pages) = (std::collections::HashSet::new(), String::new(), 0);
    loop {
        let path = if cursor.is_empty() {
            format!("traces/{id}")
        } else {
            format!("traces/{id}?cursor={}", http::percent_encoded(&cursor))
        };
        let answer = api.json(&path)["trace"].take();
        assert_eq!(answer["spanCount"], SPANS, "the summary is of the whole trace");
        pages += 1;
        let mut on_page = 0;
        for span in answer["segments"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|segment| segment["spans"].as_array().unwrap())
        {
            assert!(seen.insert(span["id"].as_str().unwrap().to_owned()), "a span stands on two pages");
            on_page += 1;
        }
        assert!((1..=50_000).contains(&on_page), "{on_page} spans on a page");
        let Some(next) = answer["nextCursor"].as_str() else {
            assert_ne!(answer["truncated"], true, "truncated without a cursor");
            break;
        };
        assert_eq!(answer["truncated"], true);
        cursor = next.to_owned();
    }
    assert_eq!((seen.len(), pages), (SPANS, 4));
    let found = api.search("{ resource.service.name = \"huge\" }");
    assert_eq!((found.len(), &found[0]["matchedSpanCount"]), (1, &SPANS.into()));
    assert!(found[0]["matchedSpanIds"].as_array().unwrap().len() <= 20);
    target.is_well();
}

#[test]
fn slow_clients_hold_nobody_up() {
    const SLOW: usize = 200;
    let mut target = Target::start();
    let body = request("slow", vec![rich_span()]).encode_to_vec();
    let addresses = [target.server.otlp_http(), target.server.http(), target.server.otlp_grpc()];
    let mut slow = Vec::new();
    for place in 0..SLOW {
        let mut connection = Connection::open(addresses[place % 3]).unwrap();
        let start: &[u8] = match place % 4 {
            0 => b"",
            1 => b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
            2 => b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\n\n",
            _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        };
        connection.write(start).unwrap();
        slow.push(connection);
    }
    for round in 0..5 {
        for connection in &mut slow {
            // The server may have closed the connection; then the write fails.
            let _ = connection.write(if round % 2 == 0 { b"a" } else { b"\n" });
        }
        let began = Instant::now();
        let reply = post_traces(target.server.otlp_http(), &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(http::get(target.server.http(), "/healthz").status, 200);
        assert!(began.elapsed() < PROMPT, "others wait {:?}", began.elapsed());
    }
    target.is_well();
    drop(slow);
    target.is_well();
}

#[test]
fn many_connections_at_once() {
    const MANY: usize = 500;
    let mut target = Target::start();
    let body = request("many", vec![rich_span()]).encode_to_vec();
    let mut all: Vec<Connection> =
        (0..MANY).map(|_| Connection::open(target.server.otlp_http()).unwrap()).collect();
    for (place, connection) in all.iter_mut().enumerate() {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write(head.as_bytes()).unwrap();
        // Every other client disconnects in the middle of the body.
        connection.write(&body[..if place % 2 == 0 { body.len() } else { body.len() / 2 }]).unwrap();
    }
    for (place, mut connection) in all.into_iter().enumerate() {
        if place % 2 == 0 {
            let reply = connection.read_reply().unwrap();
            assert!([200, 429, 503].contains(&reply.status), "{}: {}", reply.status, reply.text());
        }
    }
    target.is_well();
}
