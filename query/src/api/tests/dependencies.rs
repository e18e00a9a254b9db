//! Edges as the API shows them.

use spandrel_proto::TraceId;
use spandrel_storage::{Dependency, EdgeKind, EdgeTotals, Exemplar};

use super::*;

#[tokio::test]
async fn edges_are_shown_with_every_member_of_the_contract() {
    let mut totals = EdgeTotals::default();
    let trace: TraceId = TRACE.parse().unwrap();
    totals.add(Exemplar { failed: true, duration: 1_000, trace });
    let edge = |kind| Dependency {
        caller: "gateway".to_owned(),
        callee: "cart".to_owned(),
        kind,
        totals: totals.clone(),
    };
    let store = FakeStore { edges: vec![edge(EdgeKind::Rpc), edge(EdgeKind::Virtual)], ..shop() };
    let got = get(store, "/api/v1/dependencies").await.json();
    let shown = |kind: &str| {
        json!({"caller": "gateway", "callee": "cart", "kind": kind, "callCount": 1, "errorCount": 1,
            "p50Nano": 1000, "p95Nano": 1000, "p99Nano": 1000, "exemplarTraceIds": [TRACE]})
    };
    assert_eq!(got, json!({"edges": [shown("rpc"), shown("virtual")], "partial": false}));
}

#[tokio::test]
async fn edges_are_asked_for_over_a_range() {
    let store = Arc::new(shop());
    get_with(store.clone(), config(), request("/api/v1/dependencies")).await;
    get_with(store.clone(), config(), request("/api/v1/dependencies?start=now-2h&end=now-1h")).await;
    let ranges: Vec<_> =
        store.edge_ranges.lock().iter().map(|range| (range.start.0, range.end.map(|end| end.0))).collect();
    let hour = 3_600 * SECOND;
    assert_eq!(ranges, [(NOW - hour, None), (NOW - 2 * hour, Some(NOW - hour))]);
    check_problem("/api/v1/dependencies?service=cart", 400, "allowed: start, end").await;
    check_problem("/api/v1/dependencies?start=now&end=now-1h", 400, "before end").await;
    let got = get(FakeStore { broken: true, ..shop() }, "/api/v1/dependencies").await;
    assert_eq!(got.status, 500);
}
