//! Reports over spans of which it is known what they are.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use spandrel_engine::Limits;
use spandrel_storage::StoredSpan;

use super::tally::Tally;
use super::{names, *};
use crate::answers::NoiseFinding;
use crate::testing::{attribute, stored, string};

fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 900_000,
        attributes,
        ..Span::default()
    }
}

fn of(service: &str, span: &Span) -> StoredSpan {
    stored(vec![string("service.name", service), string("region", "eu")], span)
}

/// The findings of spans, each of a trace of its own, or all of one.
fn findings(spans: &[StoredSpan], alone: bool) -> Vec<NoiseFinding> {
    let mut tally = Tally::default();
    for (number, span) in spans.iter().enumerate() {
        if number == 0 || alone {
            tally.begin_trace();
        }
        tally.add(span, |_| true);
        if alone {
            tally.end_trace();
        }
    }
    findings::of(&tally)
}

fn kinds(found: &[NoiseFinding]) -> Vec<&str> {
    found.iter().map(|finding| &*finding.kind).collect()
}

#[test]
fn probes_are_known_by_name_or_path_and_failed_ones_stay() {
    let health = span("GET /healthz", vec![]);
    let by_path = span("GET", vec![string("url.path", "/actuator/prometheus")]);
    let ping = span("PING", vec![]);
    let mut failed = of("cart", &health);
    failed.failed = true;
    let spans = [of("cart", &health), of("cart", &health), failed, of("cart", &by_path), of("cart", &ping)];
    let found = findings(&spans, false);
    assert_eq!(kinds(&found).len(), 3, "{found:?}");
    let of_kind = |kind: &str| found.iter().find(|finding| finding.kind == kind).unwrap();
    let health = of_kind("healthChecks");
    let bytes = spans[0].span.len() as u64;
    assert_eq!((health.count, health.saved_spans, health.saved_bytes), (3, 2, 2 * bytes));
    assert_eq!(
        health.rule,
        "- name: \"health checks of cart: GET /healthz\"\n  match: \"{ resource.service.name = \\\"cart\\\" && \
         name = \\\"GET /healthz\\\" && kind = server && !failed }\"\n  drop: true\n"
    );
    assert!(of_kind("scrapes").rule.contains(r#"span.url.path = \"/actuator/prometheus\""#));
    assert_eq!(of_kind("pings").subject, "PING");
}

#[test]
fn what_only_looks_like_a_probe_is_none() {
    for name in
        ["GET /health/records/17", "healthz", "metrics", "GET /upload", "GET /live-chat", "ping-pong game"]
    {
        assert_eq!(findings(&[of("cart", &span(name, vec![]))], true), [], "{name}");
    }
    for name in
        ["/readyz", "HTTP GET /api/health/status", "grpc.health.v1.Health/Check", "GET https://x/livez"]
    {
        assert_eq!(kinds(&findings(&[of("cart", &span(name, vec![]))], true)), ["healthChecks"], "{name}");
    }
}

#[test]
fn polling_is_steady_alone_and_without_failures() {
    let poll: Vec<StoredSpan> = (0..60).map(|_| of("worker", &span("receive", vec![]))).collect();
    let found = findings(&poll, true);
    assert_eq!(kinds(&found), ["polling"]);
    assert!(found[0].rule.contains("keep: 1%") && found[0].saved_spans == 60, "{found:?}");
    assert_eq!(findings(&poll, false), [], "spans of one trace");
    let mut failing = poll.clone();
    failing[5].failed = true;
    assert_eq!(findings(&failing, true), []);
    let uneven = |n: u64| Span { end_time_unix_nano: 1_000 + (1 << (n % 30)), ..span("receive", vec![]) };
    let uneven: Vec<StoredSpan> = (0..60).map(|n| of("worker", &uneven(n))).collect();
    assert_eq!(findings(&uneven, true), []);
}

#[test]
fn names_with_ids_are_one_shape() {
    let spans: Vec<StoredSpan> =
        (0..25).map(|n| of("cart", &span(&format!("GET /user/{n}/cart"), vec![]))).collect();
    let found = findings(&spans, false);
    assert_eq!((kinds(&found), &*found[0].subject, found[0].count), (vec!["names"], "GET /user/*/cart", 25));
    for (name, shape) in [
        ("/o/0b9e3c1a-1f2d-4c3b-8a79-5d6e7f809a1b/x", "/o/*/x"),
        ("/blob/3f786850e387550fdab836ed7e6dc881de23001b", "/blob/*"),
        ("HTTP/1.1 GET /v1/users oauth2 retry 3", "HTTP/1.1 GET /v1/users oauth2 retry 3"),
        ("job-123456", "job-*"),
    ] {
        assert_eq!(names::shape(name), shape);
    }
}

#[test]
fn attributes_that_tell_nothing_go_and_those_that_mean_something_stay() {
    let attributes = |n: u64| {
        vec![
            string("region", "eu"),
            string("build", "7 \"b\""),
            string("http.request.method", "GET"),
            string("user", &format!("u{n}")),
            string("hidden", "[masked]"),
            attribute("tier", any_value::Value::IntValue(2)),
        ]
    };
    let spans: Vec<StoredSpan> = (0..30).map(|n| of("cart", &span("a", attributes(n)))).collect();
    let found = findings(&spans, false);
    let subjects: Vec<(&str, &str)> = found.iter().map(|f| (&*f.kind, &*f.subject)).collect();
    assert_eq!(
        subjects,
        [("constant", "span.build"), ("repeated", "span.region"), ("constant", "span.tier")]
    );
    assert!(found[0].rule.contains(r#"set: {"resource.build": "7 \"b\""}"#), "{}", found[0].rule);
    assert!(!found[1].rule.contains("set:"), "{}", found[1].rule);
    // One that differs once is not constant.
    let mut spans = spans;
    spans.push(of("cart", &span("a", vec![string("region", "us"), string("build", "8")])));
    assert_eq!(kinds(&findings(&spans, false)), ["constant"]);
}

#[test]
fn personal_data_is_counted_and_never_told() {
    let secret = "ada.l@example.org";
    let spans = [
        of("cart", &span("a", vec![string("note", secret), string("n", "x")])),
        of("cart", &span(&format!("mail {secret}"), vec![string("note", "nothing")])),
    ];
    let found = findings(&spans, false);
    assert_eq!(kinds(&found), ["personalData", "personalData"]);
    assert_eq!((&*found[0].subject, found[0].count), ("span.note", 1));
    assert!(found[0].rule.contains("redact: {detect: [mail], in: [\"span.note\"]}"), "{}", found[0].rule);
    assert_eq!(found[1].subject, "name");
    assert!(!format!("{found:?}").contains("ada"), "{found:?}");
}

#[test]
fn sizes_of_attributes_are_those_of_the_wire() {
    let values = vec![
        string("a", ""),
        string("long", &"x".repeat(300)),
        attribute("i", any_value::Value::IntValue(-5)),
        attribute("j", any_value::Value::IntValue(300)),
        attribute("d", any_value::Value::DoubleValue(1.5)),
        attribute("b", any_value::Value::BoolValue(true)),
        attribute("x", any_value::Value::BytesValue(vec![0; 200])),
    ];
    let with = |attributes: Vec<KeyValue>| of("cart", &span("a", attributes)).span.len() as u64;
    for value in values {
        let mut tally = Tally::default();
        tally.begin_trace();
        tally.add(&of("cart", &span("a", vec![value.clone()])), |_| true);
        let counted: u64 = tally.services["cart"].attributes.values().map(|attribute| attribute.bytes).sum();
        assert_eq!(counted, with(vec![value]) - with(vec![]));
    }
}

#[test]
fn a_report_ends_where_its_limits_are() {
    let mut tally = Tally::default();
    tally.begin_trace();
    tally
        .add(&StoredSpan { span: Bytes::from_static(b"\x0a\xff"), ..of("cart", &span("a", vec![])) }, |_| {
            true
        });
    assert_eq!((tally.spans, tally.unreadable), (1, 1));
    let budget = Budget::new(Limits { memory: 1_000, ..Limits::default() }, Arc::default());
    for n in 0..10 {
        tally.add(&of("cart", &span(&format!("name {n}"), vec![])), |bytes| budget.take(bytes));
    }
    assert!(!budget.allows());
}
