//! Jaeger's spans over gRPC, HTTP and datagrams, from the port to the tree.

use std::net::UdpSocket;
use std::process::Command;

use serde_json::{Value, json};
use spandrel_tests::api::Api;
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{self, Body};
use spandrel_tests::server::{Settings, eventually, workspace_root};

const THRIFT: &[(&str, &str)] = &[("content-type", "application/x-thrift")];

/// Writes thrift's binary protocol, as far as a batch needs it.
#[derive(Default)]
struct Thrift(Vec<u8>);

impl Thrift {
    fn field(mut self, kind: u8, id: u8, value: &[u8]) -> Self {
        self.0.extend([kind, 0, id]);
        self.0.extend(value);
        self
    }

    fn number(self, id: u8, value: i64) -> Self {
        self.field(10, id, &value.to_be_bytes())
    }

    fn text(self, id: u8, text: &str) -> Self {
        self.field(11, id, &[&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat())
    }

    fn list(self, id: u8, items: Vec<Thrift>) -> Self {
        let count = (items.len() as u32).to_be_bytes();
        let items: Vec<u8> = items.into_iter().flat_map(Thrift::end).collect();
        self.field(15, id, &[&[12][..], &count, &items].concat())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

fn tag(key: &str, value: &str) -> Thrift {
    Thrift::default().text(1, key).field(8, 2, &[0; 4]).text(3, value)
}

/// A server's span in `trace`, and its client's below another service's root.
fn batch(service: &str, trace: i64, id: i64, parent: i64, kind: &str) -> Vec<u8> {
    let start = 1_700_000_000_000_000 + id;
    let span = Thrift::default()
        .number(1, trace)
        .number(2, 0)
        .number(3, id)
        .number(4, parent)
        .text(5, "get")
        .number(8, start)
        .number(9, 1_000 - 10 * id)
        .list(10, vec![tag("span.kind", kind), tag("via", "thrift")]);
    let process = Thrift::default().text(1, service).list(2, vec![tag("hostname", "pod-1")]).end();
    Thrift::default().field(12, 1, &process).list(2, vec![span]).end()
}

fn datagram(batch: &[u8]) -> Vec<u8> {
    [&b"\x80\x01\0\x04\0\0\0\x09emitBatch\0\0\0\0\x0c\0\x01"[..], batch, b"\0"].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A span in a call of the compact protocol: field numbers are differences, and numbers zigzag.
fn compact_datagram(service: &str, trace: u64, id: u64, parent: u64) -> Vec<u8> {
    let text = |head: u8, text: &str| [&[head, text.len() as u8][..], text.as_bytes()].concat();
    let number = |value: u64| [vec![0x16], varint(value << 1)].concat();
    let process = [text(0x18, service), vec![0]].concat();
    let times = [number(1_700_000_000_000_000 + id), number(100)].concat();
    let ids = [number(trace), number(0), number(id), number(parent)].concat();
    let span = [ids, text(0x18, "get"), b"\x25\x02".to_vec(), times, vec![0]].concat();
    let batch = [vec![0x1c], process, vec![0x19, 0x1c], span, vec![0]].concat();
    [&b"\x82\x21\0\x09emitBatch\x1c"[..], &batch, &[0]].concat()
}

const FLAGS: [&str; 8] = [
    "--jaeger-grpc-addr",
    "127.0.0.1:0",
    "--jaeger-http-addr",
    "127.0.0.1:0",
    "--jaeger-compact-addr",
    "127.0.0.1:0",
    "--jaeger-binary-addr",
    "127.0.0.1:0",
];

fn names(api: &mut Api, trace: &str) -> Vec<String> {
    let tree = api.tree(trace);
    let segments = tree["segments"].as_array().unwrap();
    segments.iter().map(|segment| segment["service"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_comes_in_by_each_port_is_one_tree() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&FLAGS).start();
    let reply = http::request(
        server.address("jaeger-http"),
        "POST",
        "/api/traces?format=jaeger.thrift",
        THRIFT,
        Body::Sized(&batch("front", 7, 1, 0, "client")),
    );
    assert_eq!((reply.status, reply.text()), (202, String::new()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent = datagram(&batch("cart", 7, 2, 1, "server"));
    socket.send_to(&sent, server.address("jaeger-binary")).unwrap();
    // The same span in protobuf: trace 7, span 3 below span 2.
    let mut span = b"\x0a\x10".to_vec();
    span.extend(7_u128.to_be_bytes());
    span.extend(b"\x12\x08\0\0\0\0\0\0\0\x03\x1a\x03get");
    let mut reference = b"\x0a\x10".to_vec();
    reference.extend(7_u128.to_be_bytes());
    reference.extend(b"\x12\x08\0\0\0\0\0\0\0\x02");
    span.extend([0x22, reference.len() as u8]);
    span.extend(&reference);
    let batch = [&[0x0a, span.len() as u8][..], &span, b"\x12\x06\x0a\x04cart"].concat();
    let request = [&[0x0a, batch.len() as u8][..], &batch].concat();
    let mut grpc = Grpc::connect(server.address("jaeger-grpc")).unwrap();
    grpc.call("/jaeger.api_v2.CollectorService/PostSpans", &request).unwrap();

    let mut api = server.api();
    eventually("the datagram is stored", || (api.status("spanCount") == 3).then_some(()));
    let compact = compact_datagram("compact", 8, 4, 9);
    socket.send_to(&compact, server.address("jaeger-compact")).unwrap();
    eventually("the compact one is stored", || (api.status("spanCount") == 4).then_some(()));
    let tree = api.tree("8");
    let span = &tree["segments"][0]["spans"][0];
    assert_eq!((&span["name"], &span["durationNano"]), (&json!("get"), &json!(100_000)), "{tree}");
    assert_eq!(
        (&span["parentId"], names(&mut api, "8")),
        (&json!("0000000000000009"), vec!["compact".to_owned()])
    );
    assert_eq!(names(&mut api, "7"), ["front", "cart", "cart"][..2], "two segments, the child inside");
    let tree = api.tree("7");
    let root = &tree["segments"][0]["spans"][0];
    assert_eq!((&root["kind"], &root["durationNano"]), (&json!("CLIENT"), &json!(990_000)));
    assert_eq!(tree["resources"].to_string().matches("host.name").count(), 2);
    let stored = r#"{receiver="jaeger",transport="udp",format="thrift-binary"}"#;
    assert_eq!(server.metric(&format!("spandrel_ingest_spans_total{stored}")), Some(1.0));
    let received = r#"spandrel_ingest_datagrams_total{receiver="jaeger",format="thrift-binary"}"#;
    assert_eq!(server.metric(received), Some(1.0));
    socket.send_to(b"nonsense", server.address("jaeger-compact")).unwrap();
    let lost =
        r#"spandrel_ingest_datagrams_lost_total{receiver="jaeger",format="thrift-compact",why="refused"}"#;
    eventually("nonsense is counted", || (server.metric(lost) == Some(1.0)).then_some(()));
    server.stop();
}

/// What the operating system has taken when the server is told to stop is stored.
#[test]
fn datagrams_that_wait_are_stored_when_the_server_stops() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&FLAGS).start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for id in 1..=200 {
        socket
            .send_to(&datagram(&batch("front", 9, id, 0, "client")), server.address("jaeger-binary"))
            .unwrap();
    }
    server.stop();
    let server = Settings::on(data.path()).start();
    assert_eq!(server.api().status("spanCount"), 200);
    server.stop();
}

#[test]
fn datagrams_and_credentials_exclude_each_other() {
    let data = tempfile::tempdir().unwrap();
    let both = ["--require-auth", "--jaeger-compact-addr", "127.0.0.1:0"];
    let refused = Settings::on(data.path()).with(&both).try_start().err().expect("a refusal");
    assert!(refused.stderr.contains("datagrams carry no credential"), "{}", refused.stderr);
}

/// Jaeger's own client for Node.js, over HTTP and by datagrams, which it writes in the binary protocol.
#[test]
fn what_the_client_sends_is_found_field_by_field() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&FLAGS).start();
    let mut api = server.api();
    for (transport, port) in [("http", "jaeger-http"), ("udp", "jaeger-binary")] {
        let mut command = Command::new("node");
        command.arg(workspace_root().join("tests/sdk/node/jaeger.mjs"));
        let output = command.args([transport, &server.address(port).to_string()]).output().unwrap();
        assert!(output.status.success(), "{transport}: {}", String::from_utf8_lossy(&output.stderr));
        let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
        let trace = sent[0]["trace"].as_str().unwrap();
        let found = eventually(transport, || {
            let reply = api.get(&format!("traces/{trace}?attributes=map"));
            (reply.status == 200 && reply.json()["trace"]["spanCount"] == 2).then(|| reply.json())
        });
        let trace = &found["trace"];
        let spans = trace["segments"][0]["spans"].as_array().unwrap();
        assert_eq!(trace["segments"][0]["service"], "shop", "{transport}");
        let (root, call) = (&spans[0], &spans[1]);
        assert_eq!(
            (&root["id"], &root["name"], &root["kind"]),
            (&sent[0]["span"], &json!("checkout"), &json!("SERVER"))
        );
        assert_eq!((&call["id"], &call["parentId"]), (&sent[1]["span"], &sent[0]["span"]), "{transport}");
        assert_eq!((&call["kind"], &call["status"]), (&json!("CLIENT"), &json!("ERROR")), "{transport}");
        let tags = &root["attributes"];
        assert_eq!(tags["ok"], true, "{tags}");
        // JavaScript has one type of numbers, so that the client sends all of them as doubles.
        assert_eq!((&tags["count"], &tags["ratio"]), (&json!(3.0), &json!(0.5)), "{tags}");
        let event = &call["events"][0];
        assert_eq!((&event["name"], &event["attributes"]["why"]), (&json!("retry"), &json!("ä")), "{event}");
        let resource = &trace["resources"][0]["attributes"];
        assert_eq!((&resource["region"], &resource["zone"]), (&json!("eu-1"), &json!(7.0)), "{resource}");
        assert!(resource["host.name"].is_string() && resource["jaeger.version"].is_string(), "{resource}");
    }
    server.stop();
}
