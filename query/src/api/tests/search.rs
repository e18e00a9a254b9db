//! Searches and their pages.

use spandrel_proto::otlp::StatusCode;
use spandrel_storage::plan::{Order, Position};
use spandrel_storage::{Scanned, SearchAnswer, ServiceCount, TraceSummary};

use super::*;

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
        keys: vec![next.key],
        next: Some(next),
        partial: true,
        scanned: Scanned { blocks: 3, blocks_read: 2, spans: 1 },
        snapshot: 42,
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
            "nextCursor": cursor, "partial": true,
            "partialReason": "damaged blocks, or more traces than maxCandidates", "scanned": {"blocks": 3, "blocksRead": 2, "spans": 1}})
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
    let plans = std::mem::take(&mut *store.searches.lock());
    assert_eq!(plans[0].range, plans[1].range);
    assert_eq!(plans[1].after, store.found.next);
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
    check_problem("/api/v1/traces?q=%7B%20status%20%3D%203%20%7D", 400, "status is compared with error")
        .await;
    check_problem("/api/v1/traces?q=%7B%7D%20%7C%20rate()", 400, "/api/v1/metrics").await;
    check_problem("/api/v1/metrics?q=%7B%7D", 400, "has no metrics stage").await;
    check_problem("/api/v1/metrics?q=%7B%7D%20%7C%20rate()&step=1ns", 400, "maxMetricsPoints").await;
    check_problem("/api/v1/attributes/compare?selection=%7B%7D%7Ccount()%3E1", 400, "one filter").await;
    check_problem("/api/v1/export?q=%7B%7D%3E%7B%7D", 400, "joined by && and ||").await;
    check_problem("/api/v1/traces?limit=1001", 400, "from 1 to 1000").await;
    check_problem("/api/v1/traces?limit=0", 400, "from 1 to 1000").await;
    check_problem("/api/v1/traces?order=best", 400, "newest, oldest, longest").await;
    check_problem("/api/v1/traces?start=1700000000000", 400, "ambiguous").await;
    check_problem("/api/v1/traces?start=now&end=now-1h", 400, "start is after end").await;
    check_problem("/api/v1/traces?service=cart", 400, "allowed: q, start, end, limit, order, spss, cursor")
        .await;
    check_problem("/api/v1/traces?cursor=AAAA", 400, "not a cursor").await;
    let last = get(shop(), "/api/v1/traces").await.json();
    assert_eq!(
        last,
        json!({"traces": [], "nextCursor": null, "partial": false, "scanned": {"blocks": 0, "blocksRead": 0, "spans": 0}})
    );
}
