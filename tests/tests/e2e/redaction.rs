//! What rules redact is nowhere: in no file of the data directory, no answer, no log, whatever port it came by.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;

use prost::Message as _;
use serde_json::json;
use spandrel_proto::otlp::wire::{put_bytes, put_uint};
use spandrel_tests::forensics::files_with;
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{self, Body, JSON, PROTOBUF, Reply};
use spandrel_tests::otlp::{hex, marked, trace_id};
use spandrel_tests::server::{Server, Settings, eventually};

const NOTHING: [PathBuf; 0] = [];
/// What a person must not find again, and the detector that finds it.
const SECRETS: [(&str, &str); 6] = [
    ("card", "4111 1111 1111 1111"),
    ("mail", "mallory.5Hn8cZ@example.org"),
    ("token", "eyJhbGciOiJx5Hn8.eyJzdWIiOiJx5Hn8.c2lnbmF0dXJl"),
    ("phone", "+49 171 5558844"),
    ("address", "203.0.113.77"),
    ("key", "-----BEGIN PRIVATE KEY----- MIIE5Hn8cZ -----END PRIVATE KEY-----"),
];
const RULES: &str = "clean: [{name: secrets, redact: [card, mail, token, phone, address, key]}]";
const PORTS: [&str; 7] = [
    "--zipkin-addr",
    "--jaeger-grpc-addr",
    "--jaeger-http-addr",
    "--jaeger-compact-addr",
    "--jaeger-binary-addr",
    "--datadog-addr",
    "--skywalking-addr",
];
const START_MICROS: u64 = 1_700_000_000_000_000;

/// Sends what has to be redacted, in each text that a protocol has for a span, and remembers the traces.
struct Sender {
    server: Server,
    secret: String,
    /// The trace of each way in.
    traces: Vec<(&'static str, String)>,
}

// === impl Sender ===

impl Sender {
    /// A trace whose ID fits into 64 bits.
    fn trace(&mut self, way: &'static str) -> u64 {
        let id = 0xa0 + self.traces.len() as u64;
        self.traces.push((way, format!("{id:032x}")));
        id
    }

    fn otlp(&mut self) {
        let mut request = |way| {
            let trace = trace_id();
            self.traces.push((way, hex(&trace)));
            marked(&trace, &self.secret)
        };
        let body = request("OTLP by gRPC").encode_to_vec();
        Grpc::connect(self.server.otlp_grpc()).unwrap().export(&body).unwrap();
        let protobuf = request("OTLP in protobuf").encode_to_vec();
        let json = serde_json::to_vec(&request("OTLP in JSON")).unwrap();
        for (kind, body) in [(PROTOBUF, protobuf), (JSON, json)] {
            let reply =
                http::request(self.server.otlp_http(), "POST", "/v1/traces", kind, Body::Sized(&body));
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }

    fn post(&self, port: &str, path: &str, kind: &str, body: &[u8]) -> Reply {
        let headers = [("content-type", kind)];
        let reply = http::request(self.server.address(port), "POST", path, &headers, Body::Sized(body));
        assert!([200, 202].contains(&reply.status), "{port}{path}: {} {}", reply.status, reply.text());
        reply
    }

    fn zipkin(&mut self) {
        let secret = self.secret.clone();
        let id = format!("{:016x}", self.trace("Zipkin 2 in JSON"));
        let span = json!([{
            "traceId": id, "id": id, "name": secret, "timestamp": START_MICROS, "duration": 9, "tags": { "a": secret },
            "localEndpoint": { "serviceName": secret }, "annotations": [{ "timestamp": START_MICROS, "value": secret }],
        }]);
        self.post("zipkin", "/api/v2/spans", "application/json", span.to_string().as_bytes());
        let id = format!("{:016x}", self.trace("Zipkin 1 in JSON"));
        let tag = json!({ "key": "a", "value": secret, "endpoint": { "serviceName": "z" } });
        let span = json!([{
            "traceId": id, "id": id, "name": secret, "timestamp": START_MICROS, "duration": 9, "binaryAnnotations": [tag],
        }]);
        self.post("zipkin", "/api/v1/spans", "application/json", span.to_string().as_bytes());
    }

    fn jaeger(&mut self) {
        let id = self.trace("Jaeger by HTTP");
        self.post("jaeger-http", "/api/traces", "application/x-thrift", &thrift(id, &self.secret));
        let binary = self.trace("Jaeger by datagrams");
        let head = b"\x80\x01\0\x04\0\0\0\x09emitBatch\0\0\0\0\x0c\0\x01";
        let datagram = [&head[..], &thrift(binary, &self.secret), b"\0"].concat();
        let compact_id = self.trace("Jaeger by compact datagrams");
        let compact = compact(compact_id, &self.secret);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&datagram, self.server.address("jaeger-binary")).unwrap();
        socket.send_to(&compact, self.server.address("jaeger-compact")).unwrap();
        let id = self.trace("Jaeger by gRPC");
        let message = |fields: &[(u32, &[u8])]| {
            let mut out = Vec::new();
            fields.iter().for_each(|(number, bytes)| put_bytes(&mut out, *number, bytes));
            out
        };
        let secret = self.secret.as_bytes();
        let tag = message(&[(1, b"a"), (3, secret)]);
        let ids: [&[u8]; 2] = [&u128::from(id).to_be_bytes(), &id.to_be_bytes()];
        let span = message(&[(1, ids[0]), (2, ids[1]), (3, secret), (8, &tag)]);
        let process = message(&[(1, secret)]);
        let request = message(&[(1, &message(&[(1, &span), (2, &process)]))]);
        let mut grpc = Grpc::connect(self.server.address("jaeger-grpc")).unwrap();
        grpc.call("/jaeger.api_v2.CollectorService/PostSpans", &request).unwrap();
    }

    fn skywalking(&mut self) {
        let id = self.trace("SkyWalking");
        let secret = self.secret.as_bytes();
        let (mut pair, mut log, mut span, mut segment) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut pair, 1, b"a");
        put_bytes(&mut pair, 2, secret);
        put_uint(&mut log, 1, START_MICROS / 1000);
        put_bytes(&mut log, 2, &pair);
        for (number, value) in
            [(1, 0), (2, u64::MAX), (3, START_MICROS / 1000), (4, START_MICROS / 1000 + 1), (8, 0)]
        {
            put_uint(&mut span, number, value);
        }
        for (number, bytes) in [(6, secret), (7, secret), (12, &pair), (13, &log)] {
            put_bytes(&mut span, number, bytes);
        }
        put_bytes(&mut segment, 1, format!("{id:032x}").as_bytes());
        for (number, bytes) in [(2, &b"segment.1.2"[..]), (3, &span), (4, secret), (5, b"instance")] {
            put_bytes(&mut segment, number, bytes);
        }
        let mut grpc = Grpc::connect(self.server.address("skywalking")).unwrap();
        grpc.call("/skywalking.v3.TraceSegmentReportService/collect", &segment).unwrap();
    }

    fn datadog(&mut self) {
        let text = |text: &str| [&[0xda][..], &(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let number = |value: u64| [&[0xcf][..], &value.to_be_bytes()].concat();
        let id = self.trace("Datadog");
        let mut span = vec![0x91, 0x91, 0x8a];
        for key in ["service", "name", "resource"] {
            span.extend([text(key), text(&self.secret)].concat());
        }
        let numbers = [("trace_id", id), ("span_id", id), ("parent_id", 0), ("error", 0)];
        let times = [("start", START_MICROS * 1000), ("duration", 9)];
        for (key, value) in numbers.into_iter().chain(times) {
            span.extend([text(key), number(value)].concat());
        }
        span.extend([text("meta"), vec![0x81], text("a"), text(&self.secret)].concat());
        self.post("datadog", "/v0.4/traces", "application/msgpack", &span);
    }

    /// All that the server tells: of each trace, of all, of itself.
    fn told(&self) -> String {
        let mut api = self.server.api();
        let mut told = String::new();
        for (way, trace) in &self.traces {
            let answer = eventually(way, || {
                let reply = api.get(&format!("traces/{trace}?format=otlp"));
                (reply.status == 200).then(|| reply.text())
            });
            for (detector, _) in SECRETS {
                assert!(
                    answer.contains(&format!("[{detector}]")),
                    "{way}: {detector} is not there: {answer}"
                );
            }
            told += &answer;
        }
        let paths = [
            "services",
            "operations?start=0&kind=any",
            "attributes?start=0",
            "export?format=otlp&start=0",
            "usage",
            "noise?start=0",
            "traces?start=0&limit=100",
            "dependencies?start=0",
            "clean/rules",
        ];
        for path in paths {
            let reply = api.get(path);
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            told += &reply.text();
        }
        told + &http::get(self.server.http(), "/metrics").text() + &self.server.stderr()
    }
}

/// A batch of thrift in the binary protocol: a process with a name, and a span with a name and a tag.
fn thrift(trace: u64, secret: &str) -> Vec<u8> {
    let text =
        |id: u8, text: &str| [&[11, 0, id][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let number = |id: u8, value: u64| [&[10, 0, id][..], &value.to_be_bytes()].concat();
    let process = [text(1, secret), vec![0]].concat();
    let ids = [number(1, trace), number(2, 0), number(3, trace), number(4, 0)].concat();
    let times = [number(8, START_MICROS), number(9, 100)].concat();
    let tag = [text(1, "a"), vec![8, 0, 2, 0, 0, 0, 0], text(3, secret), vec![0]].concat();
    let tags = [&[15, 0, 10, 12, 0, 0, 0, 1][..], &tag].concat();
    let span = [ids, text(5, secret), times, tags, vec![0]].concat();
    [&[12, 0, 1][..], &process, &[15, 0, 2, 12, 0, 0, 0, 1], &span, &[0]].concat()
}

/// A datagram in the compact protocol, of the same without a tag.
fn compact(trace: u64, secret: &str) -> Vec<u8> {
    let varint = |mut value: u64| {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    let number = |value: u64| [vec![0x16], varint(value << 1)].concat();
    let text =
        |head: u8, text: &str| [vec![head], varint(text.len() as u64), text.as_bytes().to_vec()].concat();
    let process = [vec![0x1c], text(0x18, secret), vec![0]].concat();
    let times = [number(START_MICROS), number(100)].concat();
    let ids = [number(trace), number(0), number(trace), number(0)].concat();
    let span = [ids, text(0x18, secret), b"\x25\x02".to_vec(), times, vec![0]].concat();
    let batch = [process, vec![0x19, 0x1c], span, vec![0]].concat();
    [&b"\x82\x21\0\x09emitBatch\x1c"[..], &batch, &[0]].concat()
}

#[test]
fn what_is_redacted_is_nowhere_whatever_port_it_came_by() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("spandrel.yaml"), folder.path().join("data"));
    fs::write(&file, RULES).unwrap();
    let mut flags = vec!["--config", file.to_str().unwrap()];
    flags.extend(PORTS.iter().flat_map(|port| [*port, "127.0.0.1:0"]));
    let server = Settings::on(&data).with(&flags).start();
    let mut sender =
        Sender { server, secret: SECRETS.map(|(_, secret)| secret).join(" ; "), traces: Vec::new() };
    sender.otlp();
    sender.zipkin();
    sender.jaeger();
    sender.skywalking();
    sender.datadog();
    let told = sender.told();
    let Sender { server, traces, .. } = sender;
    assert_eq!(traces.len(), 11);
    let look = |when: &str| {
        for (detector, secret) in SECRETS {
            assert!(!told.contains(secret), "{detector} is in an answer or the log");
            assert_eq!(files_with(&data, secret), NOTHING, "{detector} {when}");
        }
    };
    look("while it runs");
    server.stop();
    look("after it has stopped");
}
