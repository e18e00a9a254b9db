//! `GET /api/v1/dependencies` of a running server: caller and callee arrive in separate requests, before and after a
//! restart.

use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::Link};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::http::{get, post_traces};
use spandrel_tests::otlp::{hex, now, request, span, text, trace_id};
use spandrel_tests::server::{Server, Settings, eventually};

fn send(server: &Server, service: &str, span: &Span) {
    let reply = post_traces(server.otlp_http(), &request(service, vec![span.clone()]).encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Caller, callee, kind, calls, errors.
fn edges(server: &Server, range: &str) -> Vec<Value> {
    let answer = server.api().json(&format!("dependencies?{range}"));
    assert_eq!(answer["partial"], false);
    let edges = answer["edges"].as_array().unwrap().iter();
    let counts = |e: &Value| json!([e["caller"], e["callee"], e["kind"], e["callCount"], e["errorCount"]]);
    edges.map(counts).collect()
}

#[test]
fn halves_from_many_requests_are_edges_at_once() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let trace = trace_id();
    let of_kind =
        |kind: i32, parent: &[u8]| Span { kind, parent_span_id: parent.to_vec(), ..span(&trace, "op") };
    // The trace ended two minutes ago, so its unpaired callers have become virtual edges.
    let ago = now() - 120_000_000_000;
    let begun = |span: Span, millis: u64| Span {
        start_time_unix_nano: ago,
        end_time_unix_nano: ago + millis * 1_000_000,
        ..span
    };
    let entry = begun(of_kind(2, &[]), 900);
    let call = begun(of_kind(3, &entry.span_id), 700);
    let failed = Status { code: 2, ..Status::default() };
    let answer = Span { status: Some(failed), ..begun(of_kind(2, &call.span_id), 500) };
    let mut query = begun(of_kind(3, &answer.span_id), 100);
    query.attributes.push(text("db.system", "postgresql"));
    let mut outside = begun(of_kind(3, &answer.span_id), 200);
    outside.attributes.push(text("server.address", "bank.example.com"));
    let publish = begun(of_kind(4, &answer.span_id), 10);
    let link = Link { trace_id: trace.clone(), span_id: publish.span_id.clone(), ..Link::default() };
    let other_trace = trace_id();
    let consume = Span { kind: 5, links: vec![link], ..begun(span(&other_trace, "process"), 50) };

    for (service, span) in [
        ("mail", &consume),
        ("cart", &outside),
        ("cart", &query),
        ("cart", &publish),
        ("cart", &answer),
        ("web", &call),
        ("web", &entry),
    ] {
        send(&server, service, span);
    }
    let expected = [
        json!(["cart", "bank.example.com", "virtual", 1, 0]),
        json!(["cart", "mail", "messaging", 1, 0]),
        json!(["cart", "postgresql", "database", 1, 0]),
        json!(["user", "web", "virtual", 1, 0]),
        json!(["web", "cart", "rpc", 1, 1]),
    ];
    assert_eq!(edges(&server, "start=now-1h"), expected);
    assert_eq!(edges(&server, "start=now-1h&end=now-30m"), [] as [Value; 0]);
    let answer = server.api().json("dependencies");
    let call = answer["edges"].as_array().unwrap().iter().find(|edge| edge["kind"] == "rpc").unwrap();
    // With one call, every quantile is the duration of the callee.
    let nanos = [&call["p50Nano"], &call["p95Nano"], &call["p99Nano"]];
    assert_eq!(nanos, [500_000_000; 3]);
    assert_eq!(call["exemplarTraceIds"], json!([hex(&trace)]));
    let refused = get(server.http(), "/api/v1/dependencies?start=1700000000000");
    assert_eq!(refused.status, 400, "{}", refused.text());

    server.stop();
    let server = Settings::on(data.path()).start();
    assert_eq!(edges(&server, "start=now-1h"), expected);
    let mut api = server.api();
    eventually("all is sealed", || (api.status("unsealedSpanCount") == 0).then_some(()));
    assert_eq!(edges(&server, "start=now-1h"), expected);
    server.stop();
}

/// An edge belongs to the minute of its consumer, however long before that the message was sent and in whatever block
/// the producer is.
#[test]
fn a_message_read_late_is_an_edge_of_the_readers_minute() {
    const MINUTE: u64 = 60_000_000_000;
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let (trace, other_trace) = (trace_id(), trace_id());
    let at = |span: Span, minutes: u64, kind: i32| {
        let start = now() - minutes * MINUTE;
        Span { kind, start_time_unix_nano: start, end_time_unix_nano: start + 1_000_000, ..span }
    };
    let publish = at(span(&trace, "send orders"), 55, 4);
    let child = Span { parent_span_id: publish.span_id.clone(), ..at(span(&trace, "process orders"), 10, 5) };
    let link = Link { trace_id: trace.clone(), span_id: publish.span_id.clone(), ..Link::default() };
    let linked = Span { links: vec![link], ..at(span(&other_trace, "process orders"), 5, 5) };
    let check = |when: &str| {
        let edge = |callee: &str| json!(["shop", callee, "messaging", 1, 0]);
        assert_eq!(edges(&server, "start=now-20m"), [edge("mail"), edge("stock")], "{when}");
        assert_eq!(edges(&server, "start=now-7m"), [edge("stock")], "{when}");
        assert_eq!(edges(&server, "start=now-1h&end=now-30m"), [] as [Value; 0], "{when}");
    };
    send(&server, "shop", &publish);
    let mut api = server.api();
    eventually("the producer is merged", || (api.status("unsealedSpanCount") == 0).then_some(()));
    send(&server, "mail", &child);
    send(&server, "stock", &linked);
    check("consumers fresh, producer merged");
    eventually("all is merged", || (api.status("unsealedSpanCount") == 0).then_some(()));
    check("all merged");
    server.stop();
}
