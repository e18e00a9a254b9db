//! Logs of a trace: among the events of their spans, beside them, and as OTLP.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use prost::Message;

use super::*;

fn id(span: u64) -> String {
    format!("{span:016x}")
}

/// An exception of span 3, and a line of span 1.
fn records() -> Value {
    let attributes = json!([
        { "key": "exception.type", "value": { "stringValue": "Timeout" } },
        { "key": "exception.message", "value": { "stringValue": "too late" } },
    ]);
    json!([
        { "spanId": id(3), "timeUnixNano": "650", "severityNumber": 17, "severityText": "ERROR",
          "eventName": "db.client.operation.exception", "attributes": attributes },
        { "spanId": id(1), "observedTimeUnixNano": "150", "body": { "stringValue": "begun" }, "flags": 1 },
        { "spanId": id(9), "timeUnixNano": "700", "body": { "intValue": "7" } },
    ])
}

fn with_logs(records: Value) -> FakeStore {
    FakeStore { logs: testing::logs("cart", records), ..shop() }
}

async fn tree(store: FakeStore, path: &str) -> Value {
    let got = get(store, path).await;
    assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
    got.json()["trace"].clone()
}

fn span(trace: &Value, span: u64) -> &Value {
    let segments = trace["segments"].as_array().unwrap().iter();
    let mut spans = segments.flat_map(|segment| segment["spans"].as_array().unwrap());
    spans.find(|one| one["id"] == id(span)).unwrap()
}

#[tokio::test]
async fn records_stand_among_the_events_of_their_spans() {
    let trace = tree(with_logs(records()), "/api/v1/traces/aa").await;
    assert_eq!((&trace["spanCount"], &trace["logCount"]), (&json!(5), &json!(3)));
    let events = span(&trace, 3)["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["name"], &events[0]["timeUnixNano"]),
        (&json!("db.client.operation.exception"), &json!("650"))
    );
    let log = &events[0]["log"];
    assert_eq!(
        (&log["severityNumber"], &log["severityText"], &log["body"]),
        (&json!(17), &json!("ERROR"), &Value::Null)
    );
    assert_eq!(
        trace["resources"][log["resource"].as_u64().unwrap() as usize]["attributes"][0]["value"]["stringValue"],
        "cart"
    );
    assert_eq!(span(&trace, 3)["errorCode"], "Timeout", "of the exception in the log");
    let line = &span(&trace, 1)["events"][0];
    assert_eq!(
        (&line["timeUnixNano"], &line["log"]["body"]),
        (&json!("150"), &json!({ "stringValue": "begun" }))
    );
    assert_eq!((&line["log"]["observedTimeUnixNano"], &line["log"]["flags"]), (&json!("150"), &json!(1)));
    let unknown = trace["logs"].as_array().unwrap();
    assert_eq!((unknown.len(), &unknown[0]["log"]["spanId"]), (1, &json!(id(9))));
    assert!(trace["warnings"].to_string().contains("1 log record names a span that is not in this trace"));
    let plain = tree(with_logs(records()), "/api/v1/traces/aa?attributes=map").await;
    assert_eq!(plain["logs"][0]["log"]["body"], json!(7));
    assert_eq!(span(&plain, 3)["events"][0]["attributes"]["exception.type"], "Timeout");
}

#[tokio::test]
async fn equal_records_are_shown_once() {
    let mut store = with_logs(records());
    store.logs.extend(testing::logs("cart", json!([records()[0], records()[2]])));
    let trace = tree(store, "/api/v1/traces/aa").await;
    assert_eq!(trace["logCount"], 3);
    assert_eq!(span(&trace, 3)["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_exception_that_comes_both_ways_is_shown_once() {
    let mut store = with_logs(records());
    let at = store
        .spans
        .iter()
        .position(|span| spandrel_proto::otlp::SpanView::parse(&span.span).unwrap().span_id[7] == 3);
    let stored = &mut store.spans[at.unwrap()];
    let mut span_three = Span::decode(&*stored.span).unwrap();
    let event = |name: &str, message: &str| Event {
        time_unix_nano: 640,
        name: name.to_owned(),
        attributes: vec![
            testing::string("exception.type", "Timeout"),
            testing::string("exception.message", message),
            testing::string("exception.stacktrace", "at line 1"),
        ],
        ..Event::default()
    };
    span_three.events =
        vec![event("exception", "too late"), event("exception", "another"), event("retry", "too late")];
    stored.span = span_three.encode_to_vec().into();
    let trace = tree(store, "/api/v1/traces/aa").await;
    let events = span(&trace, 3)["events"].as_array().unwrap();
    let names: Vec<&Value> = events.iter().map(|event| &event["name"]).collect();
    assert_eq!(names, ["exception", "retry", "db.client.operation.exception"]);
    assert_eq!((&events[2]["log"]["alsoEvent"], &events[0]["log"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_trace_of_logs_alone_is_one() {
    let store = FakeStore { spans: Vec::new(), ..with_logs(records()) };
    let trace = tree(store, "/api/v1/traces/aa").await;
    assert_eq!(
        (&trace["spanCount"], &trace["logCount"], &trace["segments"]),
        (&json!(0), &json!(3), &json!([]))
    );
    assert_eq!((&trace["startUnixNano"], &trace["endUnixNano"]), (&json!("150"), &json!("700")));
    assert_eq!((&trace["rootService"], trace["logs"].as_array().unwrap().len()), (&Value::Null, 3));
    assert!(trace["warnings"].to_string().contains("no span of this trace is stored"));
}

#[tokio::test]
async fn otlp_has_room_for_both() {
    let got = get(with_logs(records()), "/api/v1/traces/aa?format=otlp").await.json();
    assert!(got["resourceSpans"].is_array());
    let logs = &got["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(logs.as_array().unwrap().len(), 3);
    let alone = get(with_logs(records()), "/api/v1/traces/aa?format=otlp-logs").await.json();
    assert_eq!((&alone["resourceLogs"], &alone["resourceSpans"]), (&got["resourceLogs"], &Value::Null));
    let none = get(shop(), "/api/v1/traces/aa?format=otlp-logs").await;
    assert_eq!((none.status, none.json()), (200, json!({ "resourceLogs": [] })));
    let plain = get(shop(), "/api/v1/traces/aa?format=otlp").await.json();
    assert_eq!(plain["resourceLogs"], Value::Null, "no member without logs");
    let message = get(with_logs(records()), "/api/v1/traces/aa?format=otlp-logs-proto").await;
    assert_eq!(message.content_type(), "application/x-protobuf");
    let again = spandrel_proto::otlp::decode_logs_request(message.body.into(), &Default::default()).unwrap();
    assert_eq!((again.log_records, again.without_span.count), (3, 0));
}
