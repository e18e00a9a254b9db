//! Spans from the topics of a real Kafka, from its own producer to the tree: what is committed is durable, what is read
//! twice is shown once, and nothing is lost when either side ends.

use std::fs;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::api::Api;
use spandrel_tests::kafka::{Kafka, PASSWORD, Security, USER};
use spandrel_tests::otlp::{hex, marked, request, span, spans_by_id, text, trace_id};
use spandrel_tests::server::{Server, Settings, eventually};

const STORED: &str = r#"spandrel_kafka_messages_total{group="spandrel",topic="spans",outcome="stored"}"#;
const PASSED_OVER: &str =
    r#"spandrel_kafka_messages_total{group="spandrel",topic="spans",outcome="passed_over"}"#;

/// A server that reads `spans`, by flags.
fn settings(data: &tempfile::TempDir, kafka: &Kafka) -> Settings {
    Settings::on(data.path()).with(&["--kafka-brokers", &kafka.address(), "--kafka-topics", "spans"])
}

/// The same, whose group does not wait long for it after a crash.
fn restless(data: &tempfile::TempDir, kafka: &Kafka) -> Settings {
    let source = json!([{"brokers": [kafka.address()], "topics": ["spans"], "session-timeout": "1s"}]);
    Settings::on(data.path()).with(&["--kafka", &source.to_string()])
}

/// A request of one span, and its trace.
fn message(name: &str) -> (String, Vec<u8>) {
    let trace = trace_id();
    let mut one = span(&trace, name);
    one.attributes = vec![text("name", name)];
    (hex(&trace), request("shop", vec![one]).encode_to_vec())
}

fn await_trace(api: &mut Api, trace: &str) -> TracesData {
    eventually("a trace of the topic", || api.otlp(trace))
}

/// Waits until Kafka has these offsets of the group.
fn await_committed(kafka: &mut Kafka, offsets: &str) {
    eventually("offsets are committed", || (kafka.ok("committed spandrel") == offsets).then_some(()));
}

#[test]
fn what_is_produced_is_found_field_by_field_however_it_is_compressed() {
    let Some(mut kafka) = Kafka::start("kafka") else { return };
    kafka.create("spans", 3);
    let data = tempfile::tempdir().unwrap();
    let server = settings(&data, &kafka).start();
    let mut api = server.api();
    for (partition, compression) in [(0, "none"), (1, "gzip"), (2, "snappy"), (0, "lz4"), (1, "zstd")] {
        let trace = trace_id();
        let sent = marked(&trace, compression);
        kafka.send("spans", partition, compression, &[&sent.encode_to_vec()]);
        let found = await_trace(&mut api, &hex(&trace));
        assert_eq!(found.resource_spans, sent.resource_spans, "{compression}");
    }
    await_committed(&mut kafka, "spans/0=2 spans/1=2 spans/2=1");
    let stored = r#"{receiver="kafka",transport="kafka",format="otlp-protobuf"}"#;
    assert_eq!(server.metric(&format!("spandrel_ingest_spans_total{stored}")), Some(5.0));
    assert_eq!((server.metric(STORED), server.metric(PASSED_OVER)), (Some(5.0), Some(0.0)));
    let lag = r#"spandrel_kafka_lag{group="spandrel",topic="spans",partition="2"}"#;
    eventually("no lag is left", || (server.metric(lag) == Some(0.0)).then_some(()));
    let committed = r#"spandrel_kafka_committed_offset{group="spandrel",topic="spans",partition="1"}"#;
    assert_eq!(server.metric(committed), Some(2.0));
    assert_eq!(server.metric(r#"spandrel_ingest_delay_seconds_count{receiver="kafka"}"#), Some(5.0));
    server.stop();
    assert_eq!(kafka.ok("members spandrel"), "0", "it has left the group");
}

#[test]
fn each_encoding_is_read_from_its_topic() {
    let Some(mut kafka) = Kafka::start("kafka") else { return };
    let trace = |n: u64| format!("{n:032x}");
    let otlp = json!({"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": [{"traceId": trace(1), "spanId": "00000000000000a1", "name": "get", "kind": 2,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000001000000"}]}]}]});
    let zipkin = json!([{"traceId": trace(2), "id": "00000000000000a2", "name": "get", "kind": "SERVER",
        "timestamp": 1_700_000_000_000_000_u64, "duration": 1000, "localEndpoint": {"serviceName": "shop"}}]);
    // Field numbers of zipkin.proto3.ListOfSpans and of jaeger.api_v2.Span.
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let id = |n: u64| u128::from(n).to_be_bytes();
    let zipkin_span = [
        field(1, &id(3)),
        field(3, &0xa3_u64.to_be_bytes()),
        vec![4 << 3, 2],
        field(5, b"get"),
        [&[6 << 3 | 1][..], &1_700_000_000_000_000_u64.to_le_bytes()].concat(),
        vec![7 << 3, 0xe8, 7],
        field(8, &field(1, b"shop")),
    ]
    .concat();
    let process =
        [field(1, b"shop"), field(2, &[field(1, b"hostname"), field(3, b"pod-1")].concat())].concat();
    let kind = [field(1, b"span.kind"), field(3, b"server")].concat();
    let jaeger_span = [
        field(1, &id(4)),
        field(2, &0xa4_u64.to_be_bytes()),
        field(3, b"get"),
        field(6, b"\x08\x80\xe2\xcf\xaa\x06"),
        field(7, b"\x10\xc0\x84\x3d"),
        field(8, &kind),
        field(10, &process),
    ]
    .concat();
    // Thrift's binary protocol: a list of one span of version 1, with `sr` and `ss`.
    let annotation = |time: i64, value: &[u8]| {
        let host = [&b"\x08\0\x01\0\0\0\0\x06\0\x02\0\0\x0b\0\x03\0\0\0\x04shop\0"[..]].concat();
        let mut out = [&b"\x0a\0\x01"[..], &time.to_be_bytes(), b"\x0b\0\x02\0\0\0\x02", value].concat();
        out.extend([&b"\x0c\0\x03"[..], &host, b"\0"].concat());
        out
    };
    let thrift = [
        &b"\x0c\0\0\0\x01\x0a\0\x01"[..],
        &5_i64.to_be_bytes(),
        b"\x0b\0\x03\0\0\0\x03get\x0a\0\x04",
        &0xa5_i64.to_be_bytes(),
        b"\x0f\0\x06\x0c\0\0\0\x02",
        &annotation(1_700_000_000_000_000, b"sr"),
        &annotation(1_700_000_000_001_000, b"ss"),
        b"\0",
    ]
    .concat();
    let base64 = |bytes: &[u8]| spandrel_tests::kafka::base64(bytes);
    let jaeger = json!({"traceId": base64(&id(6)), "spanId": base64(&0xa6_u64.to_be_bytes()), "operationName": "get",
        "startTime": "2023-11-14T22:13:20Z", "duration": "0.001s", "tags": [{"key": "span.kind", "vStr": "server"}],
        "process": {"serviceName": "shop"}});
    let messages: [(&str, Vec<u8>); 6] = [
        ("otlp_json", otlp.to_string().into_bytes()),
        ("zipkin_json", zipkin.to_string().into_bytes()),
        ("zipkin_proto", field(1, &zipkin_span)),
        ("jaeger_proto", jaeger_span),
        ("zipkin_thrift", thrift),
        ("jaeger_json", jaeger.to_string().into_bytes()),
    ];
    let source = |(encoding, _): &(&str, Vec<u8>)| json!({"brokers": [kafka.address()], "topics": [encoding], "encoding": encoding, "group": encoding});
    let sources: Value = messages.iter().map(source).collect();
    let (data, file) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(file.path(), format!("kafka: {sources}\n")).unwrap();
    // The topics do not exist yet, and are found once they do.
    let server = Settings::on(data.path()).with(&["--config", file.path().to_str().unwrap()]).start();
    let mut api = server.api();
    for (n, (encoding, message)) in messages.iter().enumerate() {
        kafka.create(encoding, 1);
        kafka.send(encoding, 0, "none", &[message]);
        let n = n as u64 + 1;
        await_trace(&mut api, &trace(n));
        let tree = api.tree(&trace(n));
        let (segment, one) = (&tree["segments"][0], &tree["segments"][0]["spans"][0]);
        assert_eq!(segment["service"], "shop", "{encoding}: {tree}");
        assert_eq!((&one["name"], &one["kind"]), (&json!("get"), &json!("SERVER")), "{encoding}");
        assert_eq!(one["id"], format!("{:016x}", 0xa0 + n), "{encoding}");
        assert_eq!(one["startUnixNano"], "1700000000000000000", "{encoding}");
        assert_eq!(one["durationNano"], 1_000_000, "{encoding}");
    }
    server.stop();
}

#[test]
fn a_bad_message_between_good_ones_is_passed_over_and_named() {
    let Some(mut kafka) = Kafka::start("kafka") else { return };
    kafka.create("spans", 1);
    let ((first, one), (second, two)) = (message("one"), message("two"));
    let last = kafka.send("spans", 0, "none", &[&one, b"\xffthis is no span", b"", &two]);
    assert_eq!(last, 3);
    let data = tempfile::tempdir().unwrap();
    let server = settings(&data, &kafka).start();
    let mut api = server.api();
    for trace in [&first, &second] {
        await_trace(&mut api, trace);
    }
    await_committed(&mut kafka, "spans/0=4");
    assert_eq!((server.metric(STORED), server.metric(PASSED_OVER)), (Some(2.0), Some(1.0)));
    let empty = r#"spandrel_kafka_messages_total{group="spandrel",topic="spans",outcome="empty"}"#;
    assert_eq!(server.metric(empty), Some(1.0));
    let log = server.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("passed over")).collect();
    let words = ["topic=\"spans\"", "partition=0", "offset=1"];
    assert!(lines.len() == 1 && words.iter().all(|word| lines[0].contains(word)), "{log}");
    server.stop();
}

#[test]
fn killing_the_server_while_it_reads_loses_nothing_and_shows_nothing_twice() {
    const MESSAGES: usize = 600;
    const KILLS: usize = 4;
    let Some(mut kafka) = Kafka::start("kafka") else { return };
    kafka.create("spans", 2);
    let sent: Vec<(String, Vec<u8>)> = (0..MESSAGES).map(|n| message(&format!("n{n}"))).collect();
    let data = tempfile::tempdir().unwrap();
    for (round, part) in sent.chunks(MESSAGES / KILLS).enumerate() {
        let mut server: Server = restless(&data, &kafka).start();
        for (at, some) in part.chunks(15).enumerate() {
            let bodies: Vec<&[u8]> = some.iter().map(|(_, body)| &body[..]).collect();
            kafka.send("spans", (at % 2) as u32, "lz4", &bodies);
        }
        // Somewhere in the middle: some are stored and committed, some stored alone, some neither.
        let some = 1.0 + round as f64 * 30.0;
        eventually("some are stored", || (server.metric(STORED)? >= some).then_some(()));
        server.kill();
    }
    let server = restless(&data, &kafka).start();
    let half = MESSAGES / 2;
    await_committed(&mut kafka, &format!("spans/0={half} spans/1={half}"));
    let mut api = server.api();
    for (trace, body) in &sent {
        let found = spans_by_id(&api.otlp(trace).unwrap_or_else(|| panic!("{trace} is lost")));
        let request =
            opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(&**body);
        assert_eq!(found, request.unwrap().resource_spans[0].scope_spans[0].spans, "{trace}");
    }
    assert_eq!(api.search("{ resource.service.name = \"shop\" }").len(), MESSAGES);
    assert_eq!(server.metric(PASSED_OVER), Some(0.0));
    server.stop();
}

#[test]
fn a_broker_that_is_down_at_first_or_later_is_waited_for() {
    let Some(mut kafka) = Kafka::prepare("kafka", Security::Plain) else { return };
    let data = tempfile::tempdir().unwrap();
    let server = settings(&data, &kafka).start();
    eventually("the log tells of it", || {
        server.stderr().contains("connecting to Kafka failed").then_some(())
    });
    kafka.start_broker();
    kafka.create("spans", 1);
    let (trace, body) = message("before");
    kafka.send("spans", 0, "none", &[&body]);
    let mut api = server.api();
    await_trace(&mut api, &trace);
    await_committed(&mut kafka, "spans/0=1");
    kafka.kill_broker();
    let errors = r#"spandrel_kafka_errors_total{group="spandrel"}"#;
    let before = server.metric(errors).unwrap();
    eventually("it is noticed", || (server.metric(errors)? > before).then_some(()));
    assert!(api.is_ready(), "everything else goes on");
    kafka.start_broker();
    let (trace, body) = message("after");
    eventually("the broker takes messages again", || {
        kafka.run("members spandrel").ok().map(|_| kafka.send("spans", 0, "none", &[&body]))
    });
    await_trace(&mut api, &trace);
    await_committed(&mut kafka, "spans/0=2");
    server.stop();
}

#[test]
fn what_a_quota_does_not_let_through_waits_in_the_topic_and_belongs_to_the_tenant_of_its_source() {
    let Some(mut kafka) = Kafka::start("kafka") else { return };
    kafka.create("spans", 1);
    let data = tempfile::tempdir().unwrap();
    let source = json!([{"brokers": [kafka.address()], "topics": ["spans"], "tenant": "shop"}]).to_string();
    let tenants = r#"{"shop": {"max-stored-bytes": 1}}"#;
    let with = |tenants: &str| {
        Settings::on(data.path()).with(&["--multitenancy", "--kafka", &source, "--tenants", tenants])
    };
    let server = with(tenants).start();
    let waiting = r#"spandrel_kafka_waiting{group="spandrel"}"#;
    let mut traces = Vec::new();
    // The first ones may come before it is counted what is stored.
    eventually("the quota is reached", || {
        let (trace, body) = message("of the shop");
        traces.push(trace);
        kafka.send("spans", 0, "none", &[&body]);
        (server.metric(waiting) == Some(1.0)).then_some(())
    });
    let reader = server.api().json("status")["topicReaders"][0].take();
    assert_eq!((&reader["group"], &reader["topics"]), (&json!("spandrel"), &json!(["spans"])));
    assert_eq!((&reader["state"], &reader["partitionCount"]), (&json!("waiting"), &json!(1)));
    assert!(reader["reason"].as_str().is_some_and(|why| why.contains("max-stored-bytes")), "{reader}");
    let log = server.stderr();
    assert!(log.contains("reading from Kafka waits") && log.contains("max-stored-bytes"), "{log}");
    // It stops although it waits, and what it has not stored is not committed.
    server.stop();
    let server = with("{}").start();
    await_committed(&mut kafka, &format!("spans/0={}", traces.len()));
    let of = |tenant: &str, trace: &str| {
        let path = format!("/api/v1/traces/{trace}");
        let headers = [("x-scope-orgid", tenant)];
        let body = spandrel_tests::http::Body::None;
        spandrel_tests::http::request(server.http(), "GET", &path, &headers, body).status
    };
    for trace in &traces {
        assert_eq!((of("shop", trace), of("other", trace)), (200, 404));
    }
    server.stop();
}

#[test]
fn two_servers_of_one_group_share_the_partitions() {
    let Some(mut kafka) = Kafka::start("kafka") else { return };
    kafka.create("spans", 4);
    let data = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = settings(&data[0], &kafka).start();
    eventually("the first is there", || (kafka.run("members spandrel").ok()? == "1").then_some(()));
    let second = settings(&data[1], &kafka).start();
    eventually("both are there", || (kafka.run("members spandrel").ok()? == "2").then_some(()));
    let share = |server: &Server| server.stderr().contains("gives this server partitions");
    eventually("both read", || (share(&first) && share(&second)).then_some(()));
    let mut traces = Vec::new();
    for partition in 0..4 {
        let (trace, body) = message("shared");
        kafka.send("spans", partition, "none", &[&body]);
        traces.push(trace);
    }
    await_committed(&mut kafka, "spans/0=1 spans/1=1 spans/2=1 spans/3=1");
    let found = |server: &Server| {
        let mut api = server.api();
        traces.iter().filter(|trace| api.otlp(trace).is_some()).count()
    };
    let counts = [found(&first), found(&second)];
    assert_eq!(counts[0] + counts[1], 4, "{counts:?}");
    first.stop();
    let (trace, body) = message("for the one that is left");
    kafka.send("spans", 0, "none", &[&body]);
    await_trace(&mut second.api(), &trace);
    second.stop();
}

#[test]
fn brokers_are_known_by_their_certificate_and_this_server_by_its_password() {
    let Some(mut kafka) = Kafka::start_with("kafka", Security::ScramOverTls) else { return };
    kafka.create("spans", 1);
    let (data, password) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(password.path(), "incorrect donkey\n").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let source = json!([{
        "brokers": [kafka.address()], "topics": ["spans"], "tls": {"ca": kafka.pki.file("ca.crt")},
        "sasl": {"mechanism": "scram-sha-512", "user": USER, "password-file": password.path()}
    }]);
    fs::write(file.path(), format!("kafka: {source}\n")).unwrap();
    let server = Settings::on(data.path()).with(&["--config", file.path().to_str().unwrap()]).start();
    eventually("the broker refuses it", || {
        server.stderr().contains("connecting to Kafka failed").then_some(())
    });
    // The file is read again for the next attempt.
    fs::write(password.path(), format!("{PASSWORD}\n")).unwrap();
    let (trace, body) = message("over TLS");
    kafka.send("spans", 0, "none", &[&body]);
    await_trace(&mut server.api(), &trace);
    assert!(!server.stderr().contains(PASSWORD) && !server.stderr().contains("donkey"));
    server.stop();
}
