//! Requests to the router over a store that holds one trace.

mod conformance;
mod dependencies;
mod export;
mod logs;
mod openapi;
mod search;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::{Value, json};
use spandrel_proto::UnixNanos;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::plan::{GroupBy, KindFilter};
use spandrel_storage::{Exemplar, LatencySketch, Point, Series, StoreStatus};
use tower::ServiceExt;

use super::*;
use crate::answers::{IngestDelay, TopicReader};
use crate::state::{IngestDelays, QueryConfig, TopicReaders};
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

/// Expects a problem with this status, whose detail contains `part`.
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
async fn what_is_not_there_or_not_allowed_is_a_problem() {
    check_problem("/api/v1/traces/bb", 404, "no trace 000000000000000000000000000000bb").await;
    check_problem("/api/v1/traces/bb?format=otlp", 404, "no trace").await;
    check_problem("/api/v1/traces/xyz", 400, "not a hex digit").await;
    check_problem("/api/v1/traces/000", 400, "zeros").await;
    check_problem("/api/v1/traces/%FF", 400, "traceId").await;
    check_problem("/api/v1/traces/aa?format=xml", 400, "tree, otlp, otlp-proto, otlp-logs, otlp-logs-proto")
        .await;
    check_problem("/api/v1/traces/aa?format=otlp&attributes=map", 400, "only the tree").await;
    check_problem("/api/v1/traces/aa?cursor=abc", 400, "not a cursor").await;
    check_problem("/api/v1/traces/aa?limit=5", 400, "allowed: format, attributes, segment, cursor").await;
    check_problem("/api/v1/traces/aa/critical-path", 404, "openapi.json").await;
    check_problem("/api/v1/traces/compare?a=aa&b=bb", 404, "openapi.json").await;
    check_problem("/api/nothing", 404, "openapi.json").await;
    check_problem("/api", 404, "openapi.json").await;
    let broken = FakeStore { broken: true, ..shop() };
    let got = get(broken, "/api/v1/traces/aa").await;
    assert_eq!((got.status, got.content_type()), (500, "application/problem+json"));
}

/// A bad request is refused before the store begins a backup.
#[tokio::test]
async fn backups_that_cannot_be_are_problems() {
    for (body, status, part) in [
        ("{", 400, "body"),
        ("{\"havee\": []}", 400, "havee"),
        ("{\"have\": [\"xyz\"]}", 400, "32 lower-case hex digits"),
        ("{\"id\": \"1\"}", 400, "16 lower-case hex digits"),
        ("", 404, "takes no backups"),
    ] {
        let request = Request::post("/api/v1/backups").body(Body::from(body)).unwrap();
        let got = get_with(Arc::new(shop()), config(), request).await;
        assert_eq!((got.status, got.content_type()), (status, "application/problem+json"), "{body}");
        let detail = got.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let unknown = Request::delete("/api/v1/backups/12").body(Body::empty()).unwrap();
    assert_eq!(get_with(Arc::new(shop()), config(), unknown).await.status, 400);
    let check = Request::post("/api/v1/check?deep=1").body(Body::empty()).unwrap();
    assert_eq!(get_with(Arc::new(shop()), config(), check).await.status, 400);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let post = Request::post("/api/v1/services").body(Body::empty()).unwrap();
    let got = get_with(Arc::new(shop()), config(), post).await;
    assert_eq!((got.status, got.content_type()), (405, "application/problem+json"));
    assert_eq!(got.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn head_tells_the_length_of_the_answer() {
    let whole = get(shop(), "/api/v1/openapi.json").await;
    let mut head = Request::head("/api/v1/openapi.json").body(Body::empty()).unwrap();
    head.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let got = get_with(Arc::new(shop()), config(), head).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.headers["content-length"].to_str().unwrap(), whole.body.len().to_string());
    assert!(got.body.is_empty());
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
        worst: Some(Exemplar { failed: errors > 0, duration: 1000, trace: TRACE.parse().unwrap() }),
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
        json!({"stepNano": 300 * SECOND, "estimated": false, "partial": false, "series": [{"labels": {"service": "cart", "kind": "SERVER"},
            "points": [{"timeUnixNano": "60", "requestCount": 3, "errorCount": 1, "errorRate": 1.0 / 3.0,
                "successRate": 1.0 - 1.0 / 3.0, "p50Nano": 1000, "p75Nano": 1000, "p90Nano": 1000, "p95Nano": 1000,
                "p99Nano": 1000, "maxNano": 1000, "exemplarTraceIds": [TRACE]}]}]})
    );
    let plan = store.aggregates.lock().pop().unwrap();
    assert_eq!((plan.service.as_deref(), plan.operation.as_deref()), (Some("cart"), Some("op")));
    assert_eq!(plan.kind, KindFilter::Only(SpanKind::Server));
    assert_eq!(plan.group_by, GroupBy { service: true, operation: false, kind: true });
    assert_eq!((plan.range.start.0, plan.range.end), (NOW - 7_200 * SECOND, None));

    get_with(store.clone(), config(), request("/api/v1/aggregates")).await;
    let plan = store.aggregates.lock().pop().unwrap();
    assert_eq!(
        (plan.kind, plan.step, plan.group_by),
        (KindFilter::Requests, 60 * SECOND, GroupBy::default())
    );
    check_problem("/api/v1/aggregates?groupBy=service,host", 400, "service, operation and kind").await;
    check_problem("/api/v1/aggregates?kind=request", 400, "any, server").await;
    check_problem("/api/v1/aggregates?step=0s", 400, "not a step").await;
    check_problem("/api/v1/aggregates?start=0&step=1s", 400, "maxAggregatePoints").await;
}

#[tokio::test]
async fn status_has_every_member_of_the_contract() {
    let status = StoreStatus {
        span_count: 5,
        trace_count: 1,
        log_row_count: 4,
        store_bytes: 1000,
        fresh_block_count: 2,
        unsealed_span_count: 3,
        oldest: Some(UnixNanos(1)),
        newest: None,
        appended_spans: 5,
        damaged_blocks: 0,
        wal_truncated: true,
        damaged_records: 6,
    };
    let limits = [("retention".to_owned(), json!("7d"))].into_iter().collect();
    let listen = [("otlpHttp".to_owned(), SocketAddr::from(([127, 0, 0, 1], 4318)))].into();
    let config = QueryConfig {
        version: "1.2.3".to_owned(),
        listen,
        encrypted: vec!["otlpHttp".to_owned()],
        ingest_delays: IngestDelays::new(|| {
            vec![IngestDelay { receiver: "otlp".to_owned(), span_count: 7, p50_nano: 5, p99_nano: 9 }]
        }),
        topic_readers: TopicReaders::new(|| {
            vec![TopicReader {
                group: "g".to_owned(),
                topics: vec!["spans".to_owned()],
                encoding: "otlp_proto".to_owned(),
                state: "waiting".to_owned(),
                reason: Some("a quota".to_owned()),
                partition_count: 3,
                lag: 8,
            }]
        }),
        limits,
        ..config()
    };
    let store = Arc::new(FakeStore { status, ..shop() });
    let got = get_with(store, config, request("/api/v1/status")).await.json();
    let limits = got["limits"].clone();
    assert_eq!(
        got,
        json!({"version": "1.2.3", "spanCount": 5, "traceCount": 1, "logRowCount": 4, "storeBytes": 1000,
               "freshBlockCount": 2,
               "damagedBlockCount": 0, "damagedRecordCount": 6, "logWasCut": true, "unsealedSpanCount": 3,
               "oldestUnixNano": "1", "newestUnixNano": null, "ingestSpansPerSecond": 0.0,
               "ingestDelays": [{"receiver": "otlp", "spanCount": 7, "p50Nano": 5, "p99Nano": 9}],
               "topicReaders": [{"group": "g", "topics": ["spans"], "encoding": "otlp_proto", "state": "waiting", "reason": "a quota",
                                 "partitionCount": 3, "lag": 8}],
               "listen": {"otlpHttp": "127.0.0.1:4318"}, "encrypted": ["otlpHttp"], "limits": limits})
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
