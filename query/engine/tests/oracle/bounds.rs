//! Questions that would take long or much, and tails: what ends them, and what they still say.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use spandrel_engine::live::Live;
use spandrel_engine::metrics::{MetricsPlan, metrics};
use spandrel_engine::traces::{TracesPlan, traces};
use spandrel_engine::{Budget, Limits, Partial, QueryError};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::plan::Order;
use spandrel_storage::{BlockTraceStore, TraceStore};
use spandrel_traceql::ast::{Body, Metrics, Pipeline};

use crate::generate::spans::{BATCHES, BEGIN, MINUTE};
use crate::plain::trace::Sent;
use crate::regressions::sent;
use crate::store::{State, decoded, store};

fn budget(limits: Limits) -> Budget {
    Budget::new(limits, Arc::new(AtomicBool::new(false)))
}

fn pipeline(query: &str) -> Pipeline {
    match spandrel_traceql::parse(query).unwrap().body {
        Body::Traces(pipeline) => pipeline,
        Body::Metrics(_) => panic!("{query} makes series"),
    }
}

fn series(query: &str) -> Metrics {
    match spandrel_traceql::parse(query).unwrap().body {
        Body::Metrics(metrics) => metrics,
        Body::Traces(_) => panic!("{query} makes no series"),
    }
}

fn filled(spans: &[Sent]) -> BlockTraceStore {
    let mut batches = vec![Vec::new(); BATCHES];
    batches[0] = spans.to_vec();
    store(&batches, State::Fresh)
}

/// The number of traces found, and why there may be more.
fn found(store: &BlockTraceStore, query: &str, limits: Limits) -> (usize, Option<Partial>) {
    let query = pipeline(query);
    let plan = TracesPlan {
        query: &query,
        range: TimeRange::ALL,
        order: Order::Newest,
        limit: 10,
        after: None,
        spans_per_set: Some(1),
    };
    let answer = traces(store, &TenantId::default(), &plan, &budget(limits)).unwrap();
    (answer.found.traces.len(), answer.partial)
}

#[test]
fn nested_aggregates_are_computed_once() {
    let store = filled(&[sent(1, 0), sent(2, 1)]);
    let nested =
        (0..60).fold("{ } | count() > 0".to_owned(), |inner, _| format!("{{ }} | ({inner} | count()) > 0"));
    // Twice for each level would take longer than the age of the universe.
    assert_eq!(found(&store, &nested, Limits::default()), (1, None));
}

#[test]
fn a_question_ends_when_its_time_is_over_or_its_client_has_left() {
    let store = filled(&[sent(1, 0), sent(2, 1)]);
    let query = "{ } | count() > 0";
    assert_eq!(found(&store, query, Limits::default()), (1, None));
    let no_time = Limits { time: Duration::ZERO, ..Limits::default() };
    assert_eq!(found(&store, query, no_time), (0, Some(Partial::Time)));
    let left = Budget::new(Limits::default(), Arc::new(AtomicBool::new(true)));
    let query = series("{ } | sum_over_time(.n)");
    let range = TimeRange { start: UnixNanos(BEGIN), end: Some(UnixNanos(BEGIN + MINUTE)) };
    let plan = MetricsPlan { query: &query, range, step: MINUTE, exemplars: 0 };
    let began = Instant::now();
    let answer = metrics(&store, &TenantId::default(), &plan, &left).unwrap();
    assert_eq!(answer.partial, Some(Partial::Cancelled), "{:?}", began.elapsed());
}

#[test]
fn memory_and_series_are_bounded_and_the_answer_says_so() {
    let spans: Vec<Sent> = (1..=50).map(|id| sent(id, 0)).collect();
    let store = filled(&spans);
    let range = TimeRange { start: UnixNanos(BEGIN), end: Some(UnixNanos(BEGIN + 10 * MINUTE)) };
    let ask = |query: &str, limits| {
        let query = series(query);
        let plan = MetricsPlan { query: &query, range, step: MINUTE + 1, exemplars: 0 };
        metrics(&store, &TenantId::default(), &plan, &budget(limits))
    };
    let by_id = "{ } | count_over_time() by(span:id)";
    assert_eq!(ask(by_id, Limits::default()).unwrap().series.len(), 50);
    let few = ask(by_id, Limits { series: 7, ..Limits::default() }).unwrap();
    assert_eq!((few.series.len(), few.partial), (7, Some(Partial::Series)));
    let little = ask(by_id, Limits { memory: 2_000, ..Limits::default() }).unwrap();
    assert!(little.series.len() < 50 && little.partial == Some(Partial::Memory));
    let quantiles: Vec<String> = (0..20).map(|n| format!("0.{n}")).collect();
    let many = format!("{{ }} | quantile_over_time(duration, {})", quantiles.join(", "));
    assert!(matches!(ask(&many, Limits::default()), Err(QueryError::Unsupported(_))));
}

#[test]
fn a_tail_shows_a_trace_that_a_span_completes_which_matches_nothing() {
    let store = filled(&[sent(9, 0)]);
    let tenant = TenantId::default();
    let query = pipeline("{ span:id = \"1\" } > { span:id = \"2\" }");
    let mut live = Live::begin(&store, &tenant, &query).unwrap();
    let mut next = || live.next(&store, &tenant, &budget(Limits::default())).unwrap();
    assert!(next().traces.is_empty(), "what was there before");
    store.append(&tenant, &[decoded(&[sent(2, 1)])]).unwrap();
    assert!(next().traces.is_empty(), "a child without its parent");
    store.append(&tenant, &[decoded(&[sent(1, 0)])]).unwrap();
    let found = next().traces;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].matched_span_count, found[0].spans.len()), (1, 1));
    assert!(next().traces.is_empty(), "nothing new");
}

#[test]
fn ids_are_compared_whatever_their_zeros_and_case() {
    let store = filled(&[sent(0xab, 0)]);
    for id in ["ab", "AB", "00000000000000ab"] {
        assert_eq!(found(&store, &format!("{{ span:id = \"{id}\" }}"), Limits::default()).0, 1, "{id}");
    }
    assert_eq!(found(&store, "{ span:id != \"AB\" }", Limits::default()).0, 0);
    assert_eq!(found(&store, "{ span:id contains \"0a\" }", Limits::default()).0, 1, "a part is no ID");
}

#[test]
fn a_count_of_nothing_is_zero() {
    let store = filled(&[sent(1, 0)]);
    let range = TimeRange { start: UnixNanos(BEGIN), end: Some(UnixNanos(BEGIN + 2 * MINUTE)) };
    for step in [MINUTE, MINUTE / 2] {
        let query = series("({ .missing = 1 } | rate()) + ({ } | count_over_time())");
        let plan = MetricsPlan { query: &query, range, step, exemplars: 0 };
        let answer = metrics(&store, &TenantId::default(), &plan, &budget(Limits::default())).unwrap();
        assert_eq!(answer.series[0].values.iter().sum::<f64>(), 1.0);
    }
}
