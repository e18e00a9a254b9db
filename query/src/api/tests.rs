//! Requests to the router over a store that holds one trace.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, TracesData};
use prost::Message;
use serde_json::{Value, json};
use spandrel_proto::UnixNanos;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_storage::plan::{GroupBy, KindFilter, Order, Position};
use spandrel_storage::{
    LatencySketch, Point, Scanned, SearchAnswer, Series, ServiceCount, StoreStatus, TraceSummary,
};
use tower::ServiceExt;

use super::*;
use crate::state::QueryConfig;
use crate::testing::{self, FakeStore, TRACE};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_800_000_000 * SECOND;

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn content_type(&self) -> &str {
        self.headers["content-type"].to_str().unwrap()
    }
}

fn config() -> QueryConfig {
    QueryConfig { clock: || UnixNanos(NOW), ..QueryConfig::default() }
}

async fn get_with(store: Arc<FakeStore>, config: QueryConfig, request: Request<Body>) -> Got {
    let response = router(QueryState::new(store, config)).oneshot(request).await.unwrap();
    Got {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec(),
    }
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn get(store: FakeStore, path: &str) -> Got {
    get_with(Arc::new(store), config(), request(path)).await
}

/// A problem: its status, and a part of what it tells.
async fn check_problem(path: &str, status: u16, part: &str) {
    let got = get(shop(), path).await;
    assert_eq!((got.status, got.content_type()), (status, "application/problem+json"), "{path}");
    let problem = got.json();
    assert_eq!(problem["status"], status);
    assert!(problem["type"].is_string() && problem["title"].is_string());
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(part), "{path}: {detail}");
}

fn shop() -> FakeStore {
    FakeStore {
        spans: testing::spans(
            "1 - server gateway 100..900 http.status_code=503 error=true
             2 1 client gateway 200..800
             3 2 server cart 300..700 error res.service.instance.id=c-1
             4 3 internal cart 310..320 res.service.instance.id=c-1
             5 1 server auth 120..150",
        ),
        ..FakeStore::default()
    }
}

#[tokio::test]
async fn the_tree_has_every_member_of_the_contract() {
    let got = get(shop(), "/api/v1/traces/AA").await;
    assert_eq!((got.status, got.content_type()), (200, "application/json"));
    let tree = got.json();
    let trace = &tree["trace"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(trace),
        [
            "id",
            "startUnixNano",
            "endUnixNano",
            "durationNano",
            "status",
            "errorCode",
            "rootService",
            "rootName",
            "spanCount",
            "errorCount",
            "segmentCount",
            "services",
            "warnings",
            "resources",
            "scopes",
            "segments"
        ]
    );
    assert_eq!(trace["id"], TRACE);
    assert_eq!(
        (&trace["startUnixNano"], &trace["endUnixNano"], &trace["durationNano"]),
        (&json!("100"), &json!("900"), &json!(800))
    );
    assert_eq!((&trace["status"], &trace["errorCode"]), (&json!("UNSET"), &json!("503")));
    assert_eq!((&trace["rootService"], &trace["rootName"]), (&json!("gateway"), &json!("op-1")));
    assert_eq!(
        (&trace["spanCount"], &trace["errorCount"], &trace["segmentCount"]),
        (&json!(5), &json!(2), &json!(3))
    );
    assert_eq!(trace["services"][1], json!({"name": "cart", "spanCount": 2, "errorCount": 1}));
    assert_eq!(trace["warnings"], json!([]));
    assert_eq!(
        trace["resources"][0],
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}], "schemaUrl": "", "droppedAttributesCount": 0})
    );
    assert_eq!(trace["scopes"], json!([{"name": "test", "version": "1", "attributes": [], "schemaUrl": ""}]));

    let segments = trace["segments"].as_array().unwrap();
    let ids: Vec<&Value> = segments.iter().map(|segment| &segment["id"]).collect();
    assert_eq!(ids, ["0000000000000001", "0000000000000005", "0000000000000003"]);
    let cart = &segments[2];
    let mut members = cart.clone();
    members.as_object_mut().unwrap().remove("spans");
    assert_eq!(
        members,
        json!({"id": "0000000000000003", "parentSegmentId": "0000000000000001", "parentSpanId": "0000000000000002",
               "service": "cart", "instance": "c-1", "startUnixNano": "300", "endUnixNano": "700", "durationNano": 400,
               "status": "ERROR", "errorCode": null, "spanCount": 2, "errorCount": 1})
    );
    assert_eq!(
        cart["spans"][1],
        json!({"id": "0000000000000004", "parentId": "0000000000000003", "name": "op-4", "kind": "INTERNAL",
               "startUnixNano": "310", "endUnixNano": "320", "durationNano": 10, "selfNano": 10, "status": "UNSET",
               "statusMessage": "", "errorCode": null, "resource": cart["spans"][0]["resource"], "scope": 0,
               "attributes": [], "events": [], "links": [], "flags": 0, "traceState": "", "warnings": []})
    );
    assert_eq!(keys(&cart["spans"][1]).len(), 19);
    assert_eq!(segments[0]["parentSegmentId"], Value::Null);
    assert_eq!(segments[0]["parentSpanId"], Value::Null);
    assert_eq!(segments[0]["instance"], Value::Null);
    assert_eq!(segments[0]["spans"][0]["parentId"], Value::Null);
}

#[tokio::test]
async fn one_subtree() {
    let path = format!("/api/v1/traces/{TRACE}?segment=0000000000000003");
    let tree = get(shop(), &path).await.json();
    assert_eq!(tree["trace"]["spanCount"], 5);
    assert_eq!(tree["trace"]["segments"].as_array().unwrap().len(), 1);
    assert_eq!(tree["trace"]["segments"][0]["spans"].as_array().unwrap().len(), 2);
    check_problem("/api/v1/traces/aa?segment=0000000000000009", 404, "no segment").await;
}

#[tokio::test]
async fn a_truncated_tree_goes_on_by_cursor_until_all_spans_were_given() {
    let store = Arc::new(shop());
    let config = QueryConfig { max_tree_spans: 2, ..config() };
    let whole = get(shop(), "/api/v1/traces/aa").await.json();
    let ids = |tree: &Value| -> Vec<(Value, Value)> {
        let segments = tree["trace"]["segments"].as_array().unwrap().clone();
        let spans = |segment: Value| {
            let spans = segment["spans"].as_array().unwrap().clone();
            spans.into_iter().map(move |span| (segment["id"].clone(), span["id"].clone()))
        };
        segments.into_iter().flat_map(spans).collect()
    };
    let mut path = "/api/v1/traces/aa".to_owned();
    let mut seen = Vec::new();
    for page in 0.. {
        let tree = get_with(store.clone(), config.clone(), request(&path)).await.json();
        assert_eq!((&tree["trace"]["spanCount"], &tree["trace"]["segmentCount"]), (&json!(5), &json!(3)));
        seen.extend(ids(&tree));
        let Some(cursor) = tree["trace"]["nextCursor"].as_str() else {
            assert_eq!(page, 2);
            assert_eq!(tree["trace"].get("truncated"), None);
            break;
        };
        assert_eq!(tree["trace"]["truncated"], true);
        path = format!("/api/v1/traces/aa?cursor={cursor}");
    }
    assert_eq!(seen, ids(&whole));

    let first = get_with(store.clone(), config.clone(), request("/api/v1/traces/aa")).await.json();
    let cursor = first["trace"]["nextCursor"].as_str().unwrap().to_owned();
    let other = request(&format!("/api/v1/traces/aa?segment=0000000000000003&cursor={cursor}"));
    assert_eq!(get_with(store, config.clone(), other).await.status, 400);
    let mut grown = shop();
    grown.spans.extend(testing::spans("6 1 client gateway 880..890"));
    let stale =
        get_with(Arc::new(grown), config, request(&format!("/api/v1/traces/aa?cursor={cursor}"))).await;
    assert_eq!(stale.status, 409);
    assert!(stale.json()["detail"].as_str().unwrap().contains("begin again"));
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_a_problem() {
    check_problem("/api/v1/traces/bb", 404, "no trace 000000000000000000000000000000bb").await;
    check_problem("/api/v1/traces/bb?format=otlp", 404, "no trace").await;
    check_problem("/api/v1/traces/xyz", 400, "not a hex digit").await;
    check_problem("/api/v1/traces/000", 400, "zeros").await;
    check_problem("/api/v1/traces/%FF", 400, "traceId").await;
    check_problem("/api/v1/traces/aa?format=xml", 400, "tree, otlp, otlp-proto").await;
    check_problem("/api/v1/traces/aa?format=otlp&attributes=map", 400, "only the tree").await;
    check_problem("/api/v1/traces/aa?cursor=abc", 400, "not a cursor").await;
    check_problem("/api/v1/traces/aa?limit=5", 400, "allowed: format, attributes, segment, cursor").await;
    check_problem("/api/v1/traces/aa/critical-path", 404, "openapi.json").await;
    check_problem("/api/v1/dependencies", 404, "openapi.json").await;
    check_problem("/api/nothing", 404, "openapi.json").await;
    check_problem("/api", 404, "openapi.json").await;
    let broken = FakeStore { broken: true, ..shop() };
    let got = get(broken, "/api/v1/traces/aa").await;
    assert_eq!((got.status, got.content_type()), (500, "application/problem+json"));
}

#[tokio::test]
async fn other_methods_are_refused() {
    let post = Request::post("/api/v1/services").body(Body::empty()).unwrap();
    let got = get_with(Arc::new(shop()), config(), post).await;
    assert_eq!((got.status, got.content_type()), (405, "application/problem+json"));
    assert_eq!(got.headers["allow"], "GET,HEAD");
}

fn rich() -> Span {
    let value = |value| Some(AnyValue { value: Some(value) });
    let nested = KeyValueList { values: vec![testing::string("x", "y")] };
    let list =
        ArrayValue { values: vec![AnyValue { value: Some(Any::IntValue(1)) }, AnyValue { value: None }] };
    Span {
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: 7u64.to_be_bytes().to_vec(),
        trace_state: "a=b".to_owned(),
        parent_span_id: 9u64.to_be_bytes().to_vec(),
        flags: 0x301,
        name: "rich \"name\"\n".to_owned(),
        kind: 77,
        start_time_unix_nano: u64::MAX - 1,
        end_time_unix_nano: 5,
        attributes: vec![
            testing::attribute("twice", Any::IntValue(1)),
            testing::attribute("big", Any::IntValue(i64::MIN)),
            testing::attribute("exact", Any::IntValue(-(1 << 53))),
            testing::attribute("float", Any::DoubleValue(0.1)),
            testing::attribute("nan", Any::DoubleValue(f64::NEG_INFINITY)),
            testing::attribute("bytes", Any::BytesValue(vec![1, 2, 255])),
            testing::attribute("list", Any::ArrayValue(list)),
            testing::attribute("map", Any::KvlistValue(nested)),
            testing::attribute("twice", Any::BoolValue(true)),
        ],
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 3,
            name: "exception".to_owned(),
            attributes: vec![testing::string("exception.type", "Boom")],
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "c=d".to_owned(),
            attributes: vec![opentelemetry_proto::tonic::common::v1::KeyValue {
                key: "k".to_owned(),
                value: value(Any::StringValue("v".to_owned())),
                ..Default::default()
            }],
            dropped_attributes_count: 4,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status { message: "bad".to_owned(), code: 2 }),
    }
}

fn rich_store() -> FakeStore {
    FakeStore { spans: vec![testing::stored(vec![testing::string("service.name", "s")], &rich())], ..shop() }
}

#[tokio::test]
async fn odd_spans_are_shown_with_what_is_odd() {
    let tree = get(rich_store(), "/api/v1/traces/aa").await.json();
    let span = &tree["trace"]["segments"][0]["spans"][0];
    assert_eq!(span["kind"], "UNSPECIFIED");
    assert_eq!(span["name"], "rich \"name\"\n");
    assert_eq!((&span["startUnixNano"], &span["endUnixNano"]), (&json!("18446744073709551614"), &json!("5")));
    assert_eq!(
        (&span["durationNano"], &span["selfNano"], &span["flags"]),
        (&json!(0), &json!(0), &json!(0x301))
    );
    assert_eq!((&span["parentId"], &span["errorCode"]), (&json!("0000000000000009"), &json!("Boom")));
    assert_eq!(span["attributes"][1], json!({"key": "big", "value": {"intValue": "-9223372036854775808"}}));
    assert_eq!(span["attributes"].as_array().unwrap().len(), 9);
    assert_eq!(span["events"][0]["timeUnixNano"], "3");
    assert_eq!(span["links"][0]["traceId"], "01".repeat(16));
    let warnings = span["warnings"].as_array().unwrap();
    assert!(warnings[0].as_str().unwrap().starts_with("external parent: 0000000000000009"));
    assert!(warnings[1].as_str().unwrap().contains("ends before it starts"));
    assert_eq!(tree["trace"]["segments"][0]["parentSpanId"], "0000000000000009");
    assert!(tree["trace"]["warnings"][1].as_str().unwrap().starts_with("external parent"));
}

#[tokio::test]
async fn attributes_as_plain_objects() {
    let tree = get(rich_store(), "/api/v1/traces/aa?attributes=map").await.json();
    let trace = &tree["trace"];
    assert_eq!(trace["resources"][0]["attributes"], json!({"service.name": "s"}));
    assert_eq!(trace["scopes"][0]["attributes"], json!({}));
    let span = &trace["segments"][0]["spans"][0];
    assert_eq!(
        span["attributes"],
        json!({"big": "-9223372036854775808", "exact": -9007199254740992i64, "float": 0.1, "nan": "-Infinity",
               "bytes": "AQL/", "list": [1, null], "map": {"x": "y"}, "twice": true})
    );
    assert_eq!(
        span["events"],
        json!([{"timeUnixNano": "3", "name": "exception", "attributes": {"exception.type": "Boom"}, "droppedAttributesCount": 2}])
    );
    assert_eq!(
        span["links"],
        json!([{"traceId": "01".repeat(16), "spanId": "02".repeat(8), "traceState": "c=d", "attributes": {"k": "v"},
                "droppedAttributesCount": 4, "flags": 1}])
    );
}

/// Every span of OTLP data with its resource, as protobuf, sorted.
fn flat(data: &TracesData) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut spans = Vec::new();
    for resource in &data.resource_spans {
        for scope in &resource.scope_spans {
            assert_eq!(scope.scope.as_ref().unwrap().name, "test");
            for span in &scope.spans {
                spans.push((resource.resource.as_ref().unwrap().encode_to_vec(), span.encode_to_vec()));
            }
        }
    }
    spans.sort();
    spans
}

#[tokio::test]
async fn otlp_gives_back_what_came_in() {
    let mut span = rich();
    // The oracle cannot read what OTLP JSON writes for infinity; the tests of the writer can.
    span.attributes.retain(|attribute| attribute.key != "nan");
    let mut store = FakeStore { spans: vec![testing::stored(Vec::new(), &span)], ..shop() };
    // Enough for several groups, with resources that alternate.
    let lines: Vec<String> = (16..2000)
        .map(|i| format!("{i:x} - internal s{} {i}..{} k={}", i % 3, i + 1, "v".repeat(300)))
        .collect();
    store.spans.extend(testing::spans(&lines.join("\n")));
    let sent: Vec<_> = store.spans.iter().map(|stored| stored.span.to_vec()).collect();
    let store = Arc::new(store);

    let proto = get_with(store.clone(), config(), request("/api/v1/traces/aa?format=otlp-proto")).await;
    assert_eq!((proto.status, proto.content_type()), (200, "application/x-protobuf"));
    let proto = TracesData::decode(&*proto.body).unwrap();
    let mut given: Vec<_> = flat(&proto).into_iter().map(|(_, span)| span).collect();
    let mut wanted = sent;
    given.sort();
    wanted.sort();
    assert_eq!(given, wanted);

    let json = get_with(store, config(), request("/api/v1/traces/aa?format=otlp")).await;
    assert_eq!((json.status, json.content_type()), (200, "application/json"));
    let json: TracesData = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(flat(&json), flat(&proto));
}

fn summary() -> TraceSummary {
    TraceSummary {
        id: TRACE.parse().unwrap(),
        root_service: "gateway".to_owned(),
        root_name: "GET /".to_owned(),
        status: StatusCode::Error,
        error_code: Some("503".to_owned()),
        start: UnixNanos(NOW - 5),
        duration: (1 << 60) + 1,
        span_count: 5,
        error_count: 2,
        services: vec![ServiceCount { name: "gateway".to_owned(), span_count: 5, error_count: 2 }],
        matched_span_ids: vec!["1".parse().unwrap()],
        matched_span_count: 1,
    }
}

fn searchable() -> FakeStore {
    let next = Position { key: NOW - 5, trace: TRACE.parse().unwrap(), snapshot: 42 };
    let found = SearchAnswer {
        traces: vec![summary()],
        next: Some(next),
        partial: true,
        scanned: Scanned { blocks: 3, blocks_read: 2, spans: 1 },
    };
    FakeStore { found, ..shop() }
}

#[tokio::test]
async fn a_search_is_planned_and_answered() {
    let store = Arc::new(searchable());
    let got = get_with(
        store.clone(),
        config(),
        request("/api/v1/traces?q=%7B%20failed%20%7D&limit=7&order=longest"),
    )
    .await;
    let page = got.json();
    let cursor = page["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(
        page,
        json!({"traces": [{"id": TRACE, "rootService": "gateway", "rootName": "GET /",
            "startUnixNano": (NOW - 5).to_string(), "durationNano": (1u64 << 60) + 1, "spanCount": 5, "errorCount": 2,
            "status": "ERROR", "errorCode": "503",
            "services": [{"name": "gateway", "spanCount": 5, "errorCount": 2}],
            "matchedSpanIds": ["0000000000000001"], "matchedSpanCount": 1}],
            "nextCursor": cursor, "partial": true, "scanned": {"blocks": 3, "blocksRead": 2, "spans": 1}})
    );
    let plan = store.searches.lock().pop().unwrap();
    assert_eq!((plan.limit, plan.order, plan.after), (7, Order::Longest, None));
    assert_eq!((plan.range.start, plan.range.end), (UnixNanos(NOW - 3_600 * SECOND), None));
    assert_eq!(format!("{:?}", plan.predicate), "Compare(Failed, Eq(Bool(true)))");
}

#[tokio::test]
async fn a_cursor_goes_on_where_the_page_ended_at_the_times_of_the_first() {
    let store = Arc::new(searchable());
    let first = "/api/v1/traces?q=%7B%7D&start=now-10s&end=now";
    let page = get_with(store.clone(), config(), request(first)).await.json();
    let cursor = page["nextCursor"].as_str().unwrap();
    let later = QueryConfig { clock: || UnixNanos(NOW + 77 * SECOND), ..config() };
    let next = format!("{first}&cursor={cursor}&limit=3");
    assert_eq!(get_with(store.clone(), later, request(&next)).await.status, 200);
    let plans = store.searches.lock();
    assert_eq!(plans[0].range, plans[1].range);
    assert_eq!(plans[1].after, store.found.next);
    drop(plans);
    for other in [
        "q=%7Bfailed%7D&start=now-10s&end=now",
        "q=%7B%7D&start=now-11s&end=now",
        "q=%7B%7D&start=now-10s&end=now&order=oldest",
        "",
    ] {
        let got =
            get_with(store.clone(), config(), request(&format!("/api/v1/traces?{other}&cursor={cursor}")))
                .await;
        assert_eq!(got.status, 400, "{other}");
        assert!(got.json()["detail"].as_str().unwrap().contains("other parameters"));
    }
}

#[tokio::test]
async fn a_search_that_cannot_be_is_a_problem() {
    check_problem(
        "/api/v1/traces?q=%7B%20status%20%3D%203%20%7D",
        400,
        "q: at character 12: status is compared with error",
    )
    .await;
    check_problem("/api/v1/traces?q=%7B%7D%20%7C%20rate()", 400, "does not support yet").await;
    check_problem("/api/v1/traces?limit=1001", 400, "from 1 to 1000").await;
    check_problem("/api/v1/traces?limit=0", 400, "from 1 to 1000").await;
    check_problem("/api/v1/traces?order=best", 400, "newest, oldest, longest").await;
    check_problem("/api/v1/traces?start=1700000000000", 400, "ambiguous").await;
    check_problem("/api/v1/traces?start=now&end=now-1h", 400, "start is after end").await;
    check_problem("/api/v1/traces?service=cart", 400, "allowed: q, start, end, limit, order, cursor").await;
    check_problem("/api/v1/traces?cursor=AAAA", 400, "not a cursor").await;
    let last = get(shop(), "/api/v1/traces").await.json();
    assert_eq!(
        last,
        json!({"traces": [], "nextCursor": null, "partial": false, "scanned": {"blocks": 0, "blocksRead": 0, "spans": 0}})
    );
}

#[tokio::test]
async fn names() {
    let services = get(shop(), "/api/v1/services").await.json();
    assert_eq!(services, json!({"services": [{"name": "cart"}, {"name": "gate/way"}]}));
    let operations = get(shop(), "/api/v1/services/gate%2Fway/operations").await.json();
    assert_eq!(
        operations,
        json!({"operations": [{"name": "GET /", "kind": "SERVER"}, {"name": "call", "kind": "UNSPECIFIED"}]})
    );
    let none = get(shop(), "/api/v1/services/other/operations").await.json();
    assert_eq!(none, json!({"operations": []}));
    check_problem("/api/v1/services?x=1", 400, "no parameters").await;
}

#[tokio::test]
async fn aggregates_are_planned_and_answered() {
    let mut latency = LatencySketch::default();
    latency.add(1000);
    let point = |time: u64, requests: u64, errors: u64| Point {
        time: UnixNanos(time),
        request_count: requests,
        error_count: errors,
        latency: latency.clone(),
    };
    let series = Series {
        service: Some("cart".to_owned()),
        operation: None,
        kind: Some(SpanKind::Server),
        points: vec![point(60, 3, 1), point(120, 0, 0)],
    };
    let store = Arc::new(FakeStore { series: vec![series], ..shop() });
    let path = "/api/v1/aggregates?service=cart&operation=op&kind=server&groupBy=service,kind&start=now-2h&end=&step=5m";
    let got = get_with(store.clone(), config(), request(path)).await.json();
    assert_eq!(
        got,
        json!({"stepNano": 300 * SECOND, "estimated": false, "series": [{"labels": {"service": "cart", "kind": "SERVER"},
            "points": [{"timeUnixNano": "60", "requestCount": 3, "errorCount": 1, "errorRate": 1.0 / 3.0,
                "successRate": 1.0 - 1.0 / 3.0, "p50Nano": 1000, "p75Nano": 1000, "p90Nano": 1000, "p95Nano": 1000,
                "p99Nano": 1000, "maxNano": 1000}]}]})
    );
    let plan = store.aggregates.lock().pop().unwrap();
    assert_eq!((plan.service.as_deref(), plan.operation.as_deref()), (Some("cart"), Some("op")));
    assert_eq!(plan.kind, KindFilter::Only(SpanKind::Server));
    assert_eq!(plan.group_by, GroupBy { service: true, operation: false, kind: true });
    assert_eq!((plan.range.start.0, plan.range.end), (NOW - 7_200 * SECOND, Some(UnixNanos(NOW))));

    get_with(store.clone(), config(), request("/api/v1/aggregates")).await;
    let plan = store.aggregates.lock().pop().unwrap();
    assert_eq!(
        (plan.kind, plan.step, plan.group_by),
        (KindFilter::Requests, 60 * SECOND, GroupBy::default())
    );
    check_problem("/api/v1/aggregates?groupBy=service,host", 400, "service, operation and kind").await;
    check_problem("/api/v1/aggregates?kind=request", 400, "any, server").await;
    check_problem("/api/v1/aggregates?step=0s", 400, "not a step").await;
    check_problem("/api/v1/aggregates?start=0&step=1s", 400, "max_aggregate_points").await;
}

#[tokio::test]
async fn status_has_every_member_of_the_contract() {
    let status = StoreStatus {
        span_count: 5,
        trace_count: 1,
        store_bytes: 1000,
        fresh_block_count: 2,
        unsealed_span_count: 3,
        oldest: Some(UnixNanos(1)),
        newest: None,
        appended_spans: 5,
        damaged_blocks: 0,
    };
    let limits = [("retention".to_owned(), json!("7d"))].into_iter().collect();
    let config = QueryConfig { version: "1.2.3".to_owned(), limits, ..config() };
    let store = Arc::new(FakeStore { status, ..shop() });
    let got = get_with(store, config, request("/api/v1/status")).await.json();
    let limits = got["limits"].clone();
    assert_eq!(
        got,
        json!({"version": "1.2.3", "spanCount": 5, "traceCount": 1, "storeBytes": 1000, "freshBlockCount": 2,
               "damagedBlockCount": 0, "unsealedSpanCount": 3, "oldestUnixNano": "1", "newestUnixNano": null,
               "ingestSpansPerSecond": 0.0, "limits": limits})
    );
    assert_eq!((&limits["retention"], &limits["maxTreeSpans"]), (&json!("7d"), &json!(200_000)));
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    for encoding in ["gzip", "zstd"] {
        let mut asking = request("/api/v1/traces/aa");
        asking.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
        let got = get_with(Arc::new(shop()), config(), asking).await;
        assert_eq!(got.headers["content-encoding"], encoding);
    }
    assert!(get(shop(), "/api/v1/traces/aa").await.headers.get("content-encoding").is_none());
}

#[tokio::test]
async fn the_openapi_document_describes_every_route_and_no_other() {
    let got = get(shop(), "/api/v1/openapi.json").await;
    assert_eq!((got.status, got.content_type()), (200, "application/json"));
    let document = got.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let mut served: Vec<String> = routes().into_iter().map(|(path, _)| format!("{PREFIX}{path}")).collect();
    let mut sorted = described.clone();
    sorted.sort();
    served.sort();
    assert_eq!(sorted, served);
}

/// The document's parameters against the refusal of one that is not known, which lists the others.
#[tokio::test]
async fn the_openapi_document_describes_every_parameter_and_no_other() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let mut resolved = Vec::new();
        for parameter in parameters {
            match parameter["$ref"].as_str() {
                Some(reference) => resolved.push(document.pointer(&reference[1..]).expect(reference).clone()),
                None => resolved.push(parameter),
            }
        }
        let names = |place: &str| -> Vec<&str> {
            let here = resolved.iter().filter(|parameter| parameter["in"] == place);
            here.map(|parameter| parameter["name"].as_str().unwrap()).collect()
        };
        for name in names("path") {
            assert!(path.contains(&format!("{{{name}}}")), "{path} {name}");
        }
        let placeholders = path.matches('{').count();
        assert_eq!(names("path").len(), placeholders, "{path}");
        let concrete = path.replace("{traceId}", "aa").replace("{service}", "cart");
        let problem = get(shop(), &format!("{concrete}?unknown=1")).await.json();
        let query = names("query");
        let allowed = if query.is_empty() { "no parameters".to_owned() } else { query.join(", ") };
        assert_eq!(problem["allowed"], allowed, "{path}");
    }
}

/// Every reference leads somewhere, and every schema's required members are described.
#[test]
fn the_openapi_document_is_coherent() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        if let Some(required) = value.get("required").and_then(Value::as_array) {
            for name in required {
                assert!(value["properties"].get(name.as_str().unwrap()).is_some(), "{name}");
            }
        }
        match value {
            Value::Object(members) => waiting.extend(members.values()),
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
}
