//! Zipkin's spans, as clients and a real Envoy mesh send them: found by ID and by search, and in the tree that the same
//! calls have when they are sent as OTLP.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Value, json};
use spandrel_tests::api::Api;
use spandrel_tests::http::{Body, Connection, JSON, PROTOBUF, Reply};
use spandrel_tests::otlp::{flat, hex};
use spandrel_tests::server::{Server, Settings, eventually, workspace_root};
use spandrel_tests::{fixtures, http};

/// Envoy sends bodies in pieces of about this size.
const CHUNK: usize = 4_096;

/// A segment of a tree: its service, its spans, and the segments below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    service: String,
    spans: Vec<String>,
    below: Vec<Shape>,
}

fn post(server: &Server, spans: &Value) -> Reply {
    let text = spans.to_string();
    http::request(server.address("zipkin"), "POST", "/api/v2/spans", JSON, Body::Sized(text.as_bytes()))
}

// === trees ===

fn shapes_of(trace: &Value) -> Vec<Shape> {
    let segments = trace["segments"].as_array().unwrap();
    let mut shapes: Vec<Shape> = Vec::new();
    for segment in segments.iter().filter(|segment| segment["parentSegmentId"].is_null()) {
        shapes.push(shape(segment, segments));
    }
    shapes.sort();
    shapes
}

fn shape(segment: &Value, all: &[Value]) -> Shape {
    let span = |span: &Value| {
        // Without a route, Envoy names the same span differently in each format.
        let name = span["name"].as_str().unwrap().trim_start_matches("egress ");
        format!("{} {name}", span["kind"].as_str().unwrap())
    };
    let mut spans: Vec<String> = segment["spans"].as_array().unwrap().iter().map(span).collect();
    spans.sort();
    let children = all.iter().filter(|child| child["parentSegmentId"] == segment["id"]);
    let mut below: Vec<Shape> = children.map(|child| shape(child, all)).collect();
    below.sort();
    Shape { service: segment["service"].as_str().unwrap().to_owned(), spans, below }
}

/// How often each shape of a trace occurs in each phase of the recording.
fn phases(api: &mut Api) -> BTreeMap<String, BTreeMap<Vec<Shape>, u64>> {
    let mut phases: BTreeMap<String, BTreeMap<Vec<Shape>, u64>> = BTreeMap::new();
    for found in api.search("{ }") {
        let tree = api.tree(found["id"].as_str().unwrap());
        let attributes = tree["segments"][0]["spans"][0]["attributes"].as_array().unwrap();
        let phase = attributes.iter().find(|attribute| attribute["key"] == "demo.phase").unwrap();
        let phase = phase["value"]["stringValue"].as_str().unwrap().to_owned();
        *phases.entry(phase).or_default().entry(shapes_of(&tree)).or_default() += 1;
    }
    phases
}

#[test]
fn the_mesh_has_the_tree_that_it_has_as_otlp() {
    let folder = tempfile::tempdir().unwrap();
    let test = "the mesh as Zipkin";
    let Some(zipkin) = fixtures::unpack(test, "mesh/zipkin-json", folder.path()) else { return };
    let Some(otlp) = fixtures::unpack(test, "mesh/otlp-grpc", folder.path()) else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(&data.path().join("zipkin")).start();
    let bodies = fixtures::bodies_named(&zipkin, "-http.json");
    let mut sender = Connection::open(server.address("zipkin")).unwrap();
    for body in &bodies {
        let reply = sender.request("POST", "/api/v2/spans", JSON, Body::Chunked(body, CHUNK)).unwrap();
        assert_eq!((reply.status, reply.text()), (202, String::new()));
    }
    let mut api = server.api();
    let mut sent: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for body in &bodies {
        for span in serde_json::from_slice::<Vec<Value>>(body).unwrap() {
            sent.entry(span["traceId"].as_str().unwrap().to_owned()).or_default().push(span);
        }
    }
    let spans = sent.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!((api.status("spanCount"), api.status("traceCount")), (spans, sent.len() as u64));
    for (trace, sent) in &sent {
        check_fields(&api.otlp(trace).unwrap().resource_spans, sent);
    }
    let as_zipkin = phases(&mut api);
    server.stop();

    let server = Settings::on(&data.path().join("otlp")).start();
    let mut sender = Connection::open(server.otlp_http()).unwrap();
    for body in fixtures::bodies(&otlp) {
        assert_eq!(sender.request("POST", "/v1/traces", PROTOBUF, Body::Sized(&body)).unwrap().status, 200);
    }
    let as_otlp = phases(&mut server.api());
    server.stop();
    assert_eq!(as_zipkin.keys().collect::<Vec<_>>(), as_otlp.keys().collect::<Vec<_>>());
    for (phase, shapes) in &as_otlp {
        // Faults are injected at random, so that each shape occurs, but not equally often.
        let both = [shapes, &as_zipkin[phase]].map(|shapes| shapes.keys().collect::<BTreeSet<_>>());
        assert_eq!(both[0], both[1], "{phase}");
        if phase != "fault_injection" {
            assert_eq!(shapes, &as_zipkin[phase], "{phase}");
        }
    }
}

/// Every field that was sent is found in the span.
fn check_fields(stored: &[ResourceSpans], sent: &[Value]) {
    let mut stored: Vec<(ResourceSpans, Span)> =
        flat(stored).into_iter().map(|(resource, _, span)| (resource, span)).collect();
    assert_eq!(stored.len(), sent.len());
    for sent in sent {
        let is_it = |(resource, span): &(ResourceSpans, Span)| said(resource, span) == expected(sent);
        let place = stored.iter().position(is_it).unwrap_or_else(|| {
            let all: Vec<Value> = stored.iter().map(|(resource, span)| said(resource, span)).collect();
            panic!("not found: {}\namong {all:#?}", expected(sent))
        });
        stored.remove(place);
    }
}

fn said(resource: &ResourceSpans, span: &Span) -> Value {
    let texts = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        let text = |attribute: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            let value = match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
                Any::StringValue(text) => json!(text),
                Any::BoolValue(value) => json!(value),
                other => panic!("{other:?}"),
            };
            (attribute.key.clone(), value)
        };
        attributes.iter().map(text).collect::<BTreeMap<_, _>>()
    };
    let events: Vec<Value> =
        span.events.iter().map(|event| json!([event.time_unix_nano, event.name])).collect();
    json!({
        "resource": texts(&resource.resource.as_ref().unwrap().attributes), "id": hex(&span.span_id),
        "parent": hex(&span.parent_span_id), "name": span.name, "kind": span.kind,
        "times": [span.start_time_unix_nano, span.end_time_unix_nano], "attributes": texts(&span.attributes),
        "events": events, "status": span.status.as_ref().map_or(0, |status| status.code),
    })
}

fn expected(sent: &Value) -> Value {
    let nanos = |micros: &Value| micros.as_u64().unwrap() * 1_000;
    let mut attributes = sent["tags"].clone();
    attributes["network.local.address"] = sent["localEndpoint"]["ipv4"].clone();
    if sent["shared"] == true {
        attributes["zipkin.shared"] = json!(true);
    }
    let annotations = sent["annotations"].as_array().cloned().unwrap_or_default();
    let events: Vec<Value> =
        annotations.iter().map(|one| json!([nanos(&one["timestamp"]), one["value"]])).collect();
    let start = nanos(&sent["timestamp"]);
    json!({
        "resource": { "service.name": sent["localEndpoint"]["serviceName"] }, "id": sent["id"],
        "parent": sent["parentId"].as_str().unwrap_or_default(), "name": sent["name"],
        "kind": if sent["kind"] == "SERVER" { 2 } else { 3 }, "times": [start, start + nanos(&sent["duration"])],
        "attributes": attributes, "events": events, "status": if sent["tags"]["error"] == "true" { 2 } else { 0 },
    })
}

// === without a recording ===

fn span(id: &str, parent: Option<&str>, kind: &str, service: &str, start: u64) -> Value {
    json!({
        "traceId": "00000000000000aa00000000000000bb", "id": id, "parentId": parent, "kind": kind, "name": "get",
        "timestamp": 1_700_000_000_000_000_u64 + start, "duration": 1_000 - 10 * start, "shared": kind == "SERVER",
        "localEndpoint": { "serviceName": service }, "tags": { "demo.phase": "own" },
    })
}

/// A call that was tried again: one client, two servers, one ID, and a child of the second server.
#[test]
fn client_and_servers_that_share_an_id_are_parent_and_children() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let mut failed = span("02", Some("01"), "SERVER", "cart", 2);
    failed["duration"] = json!(1);
    failed["tags"]["error"] = json!("out of stock");
    let all = json!([
        span("02", Some("01"), "SERVER", "cart", 5),
        span("03", Some("02"), "CLIENT", "cart", 6),
        span("02", Some("01"), "CLIENT", "shop", 1),
        failed,
        span("01", None, "SERVER", "shop", 0),
    ]);
    let reply = post(&server, &all);
    assert_eq!((reply.status, reply.text()), (202, String::new()));
    let mut api = server.api();
    let trace = api.tree("aa00000000000000bb");
    let leaf = |spans: &[&str]| Shape {
        service: "cart".to_owned(),
        spans: spans.iter().map(|span| (*span).to_owned()).collect(),
        below: vec![],
    };
    let shop = Shape {
        service: "shop".to_owned(),
        spans: vec!["CLIENT get".to_owned(), "SERVER get".to_owned()],
        below: vec![leaf(&["CLIENT get", "SERVER get"]), leaf(&["SERVER get"])],
    };
    assert_eq!(shapes_of(&trace), [shop]);
    assert_eq!((&trace["spanCount"], &trace["errorCount"]), (&json!(5), &json!(1)));
    let found = api.search(r#"{ resource.service.name = "cart" && status = error }"#);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        server.metric(r#"spandrel_ingest_spans_total{receiver="zipkin",transport="http",format="json"}"#),
        Some(5.0)
    );
    // The same request again is a resend.
    assert_eq!(post(&server, &all).status, 202);
    assert_eq!(api.status("spanCount"), 5);
    server.stop();
}

/// Zipkin's own client for Node.js.
#[test]
fn what_the_client_sends_is_found_field_by_field() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let mut command = Command::new("node");
    command.arg(workspace_root().join("tests/sdk/node/zipkin.mjs"));
    let output = command.arg(server.address("zipkin").to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sent: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sent.len(), 3);
    let mut api = server.api();
    eventually("all spans are there", || (api.status("spanCount") == 3).then_some(()));
    let id = sent[0]["traceId"].as_str().unwrap();
    let tree = api.tree(id);
    let services: Vec<&Value> =
        tree["segments"].as_array().unwrap().iter().map(|segment| &segment["service"]).collect();
    assert_eq!(services, ["shop", "cart"]);
    assert_eq!(tree["errorCount"], 1, "the tag `error`");
    let stored = flat(&api.otlp(id).unwrap().resource_spans);
    for one in &sent {
        let nanos = |member: &str| one[member].as_u64().unwrap() * 1_000;
        let kind = if one["kind"] == "CLIENT" { 3 } else { 2 };
        let is_it = |span: &Span| json!(hex(&span.span_id)) == one["id"] && span.kind == kind;
        let (_, _, span) =
            stored.iter().find(|(_, _, span)| is_it(span)).unwrap_or_else(|| panic!("{one} is lost"));
        assert_eq!(span.start_time_unix_nano, nanos("timestamp"), "{one}");
        assert_eq!(span.end_time_unix_nano, nanos("timestamp") + nanos("duration"), "{one}");
        assert_eq!(json!(span.name), one["name"]);
        for (key, value) in one["tags"].as_object().into_iter().flatten() {
            let tag = span.attributes.iter().find(|attribute| attribute.key == *key);
            let Some(Any::StringValue(text)) = tag.and_then(|tag| tag.value.as_ref()?.value.as_ref()) else {
                panic!("{key} of {one} is lost")
            };
            assert_eq!(json!(text), *value);
        }
    }
    server.stop();
}

#[test]
fn a_server_without_zipkin_has_no_such_port() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--zipkin-addr", "off"]).start();
    assert!(!server.listening().contains_key("zipkin"));
    let reply = http::request(server.otlp_http(), "POST", "/api/v2/spans", JSON, Body::Sized(b"[]"));
    assert_eq!(reply.status, 404);
    server.stop();
}
