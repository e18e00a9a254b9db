//! Resends in another encoding, or with explicit defaults: spans that are equal in OTLP are stored as one, for lookups,
//! searches and aggregates.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::http::{Body, JSON, post_traces, request as ask};
use spandrel_tests::otlp::{hex, now, spans_by_id, trace_id};
use spandrel_tests::server::{Server, Settings, eventually};

/// Sends a request in JSON; all of it has to be accepted.
fn post(server: &Server, body: &[u8]) {
    let reply = ask(server.otlp_http(), "POST", "/v1/traces", JSON, Body::Sized(body));
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
}

fn body(span: &Value) -> Vec<u8> {
    let service = json!({ "key": "service.name", "value": { "stringValue": "json" } });
    let body = json!({
        "resourceSpans": [{ "resource": { "attributes": [service] }, "scopeSpans": [{ "spans": [span] }] }]
    });
    serde_json::to_vec(&body).unwrap()
}

/// Equal requests in other bytes: explicit defaults, members in another order, protobuf.
#[test]
fn a_resend_in_other_words_is_a_duplicate() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let start = now();
    let span = json!({
        "traceId": hex(&trace_id()),
        "spanId": format!("{:016x}", fastrand::u64(1..)),
        "name": "checkout",
        "kind": 2,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + 1_000_000).to_string(),
    });
    let trace = span["traceId"].as_str().unwrap().to_owned();
    let mut explicit = span.clone();
    for (field, zero) in [
        ("droppedAttributesCount", json!(0)),
        ("droppedEventsCount", json!(0)),
        ("droppedLinksCount", json!("0")),
        ("flags", json!(0)),
        ("parentSpanId", json!("")),
        ("traceState", json!("")),
        ("attributes", json!([])),
        ("events", json!([])),
        ("status", json!({ "code": 0, "message": "" })),
    ] {
        explicit[field] = zero;
    }
    for span in [&explicit, &span] {
        post(&server, &body(span));
    }
    // The exported trace is sent back, as JSON and as protobuf.
    let exported = server.api().get(&format!("traces/{trace}?format=otlp"));
    post(&server, &exported.body);
    let stored = server.api().otlp(&trace).unwrap();
    let again = ExportTraceServiceRequest { resource_spans: stored.resource_spans };
    assert_eq!(post_traces(server.otlp_http(), &again.encode_to_vec()).status, 200);

    let check = |when: &str| {
        let mut api = server.api();
        assert_eq!(spans_by_id(&api.otlp(&trace).unwrap()).len(), 1, "{when}, by ID");
        assert_eq!(api.tree(&trace)["spanCount"], 1, "{when}, as a tree");
        let found = api.search("{ resource.service.name = \"json\" }");
        assert_eq!((found.len(), &found[0]["spanCount"]), (1, &json!(1)), "{when}, by search");
    };
    check("before a merge");
    let mut api = server.api();
    eventually("a merge", || (api.status("unsealedSpanCount") == 0).then_some(()));
    check("after a merge");
    let answer = api.json("aggregates?service=json&step=1h&start=now-2h");
    let points = answer["series"][0]["points"].as_array().unwrap();
    let requests: u64 = points.iter().map(|point| point["requestCount"].as_u64().unwrap()).sum();
    assert_eq!(requests, 1, "{answer}");
    server.stop();
}
