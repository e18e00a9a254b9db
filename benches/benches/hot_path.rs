//! The hot path, step by step and in process: the cost of a span on its way in, at rest, and out.
//!
//! Throughput is in spans. The store is the real one over an engine in memory, so that no measurement waits for a disk;
//! `src/load` drives a real server. Only `hot_path/block.rs` depends on the sections of a block, which change with its
//! format.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set itself up has nothing to measure")]

#[path = "hot_path/block.rs"]
mod block;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use spandrel_benches::corpus::{Batching, Corpus, CorpusConfig, Known, KnownTrace};
use spandrel_proto::otlp::{
    DecodeLimits, Decoded, SpanRecord, decode_json_request, decode_request, write_request_json,
};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_query::{QueryConfig, QueryState};
use spandrel_storage::engine::MemoryEngine;
use spandrel_storage::plan::{
    AttributeScope, Comparison, Effort, Field, Literal, Order, Predicate, SearchPlan,
};
use spandrel_storage::{BlockTraceStore, Clock, LatencySketch, StoreConfig, TraceStore};
use tower::ServiceExt as _;

/// A clock that stands still, so that no block ages during a measurement.
struct Frozen;

const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
const SEED: u64 = 20_260_401;
/// The spans of a store that is queried, in blocks of a few requests each.
const STORED_SPANS: u64 = 40_000;
const REQUESTS_PER_BLOCK: usize = 4;

fn main() {
    // A quarter of criterion's default times, so that the whole run takes two minutes.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    corpus(&mut criterion);
    decode(&mut criterion);
    block::block(&mut criterion);
    store(&mut criterion);
    questions(&mut criterion);
    tree(&mut criterion);
    sketch(&mut criterion);
    criterion.final_summary();
}

// === measurements ===

/// The corpus itself, which must cost far less than the work on it.
fn corpus(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "corpus", 10_000);
    group.bench_function("make requests", |b| {
        b.iter(|| black_box(requests(10_000)));
    });
}

fn decode(criterion: &mut Criterion) {
    let (requests, _) = requests(500);
    let body = requests.into_iter().next().expect("a request");
    let json = json_of(&decoded(body.clone()));
    let mut group = group_of(criterion, "decode", 500);
    group.bench_function("protobuf", |b| {
        b.iter(|| decode_request(black_box(body.clone()), &DecodeLimits::default()));
    });
    group.bench_function("JSON", |b| {
        b.iter(|| decode_json_request(&mut black_box(&*json), &DecodeLimits::default()));
    });
}

fn store(criterion: &mut Criterion) {
    let (bodies, _) = requests(STORED_SPANS);
    let batches = batches(bodies);
    let mut group = group_of(criterion, "store", STORED_SPANS);
    group.sample_size(10);
    group.bench_function("append", |b| {
        b.iter_batched_ref(empty_store, |store| append(store, &batches), BatchSize::PerIteration);
    });
    group.bench_function("merge fresh blocks", |b| {
        let filled = || {
            let store = empty_store();
            append(&store, &batches);
            store
        };
        b.iter_batched_ref(filled, |store| store.seal_all(), BatchSize::PerIteration);
    });
}

fn questions(criterion: &mut Criterion) {
    let (fresh, known) = filled_store();
    let (sealed, _) = filled_store();
    sealed.seal_all();
    for (state, store) in [("fresh", fresh), ("sealed", sealed)] {
        let mut group = criterion.benchmark_group(format!("ask, {state}"));
        let mut ids = known.traces.iter().cycle();
        group.bench_function("trace by ID", |b| {
            b.iter(|| {
                let id = ids.next().expect("a trace").id;
                let found = store.trace(&TenantId::default(), id).expect("no error").expect("a trace");
                found.filter(Result::is_ok).count()
            });
        });
        for (name, predicate) in predicates(&known) {
            let effort = Effort::default();
            let (range, order, after) = (TimeRange::ALL, Order::Newest, None);
            let plan = SearchPlan { predicate, range, order, limit: 20, after, effort };
            group.bench_function(name, |b| b.iter(|| store.search(&TenantId::default(), black_box(&plan))));
        }
    }
}

/// A trace from the store to the API's JSON: read, assembled into segments and spans, written.
fn tree(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (store, known) = filled_store();
    store.seal_all();
    let router = {
        let _inside = runtime.enter();
        spandrel_query::router(QueryState::new(Arc::new(store), QueryConfig::default()))
    };
    let largest = known.traces.iter().max_by_key(|trace| trace.spans).expect("a trace");
    let mut group = group_of(criterion, "tree", largest.spans.into());
    let path = format!("/api/v1/traces/{}", largest.id);
    group.bench_function("largest trace as JSON", |b| b.iter(|| runtime.block_on(get(&router, &path))));
}

fn sketch(criterion: &mut Criterion) {
    let mut rng = fastrand::Rng::with_seed(SEED);
    // Durations from a microsecond to a second, evenly on a logarithmic scale.
    let durations: Vec<u64> = (0..1_000).map(|_| (1e3 * 10f64.powf(rng.f64() * 6.0)) as u64).collect();
    let mut group = group_of(criterion, "sketch", durations.len() as u64);
    let mut sketch = LatencySketch::default();
    group.bench_function("add", |b| {
        b.iter(|| durations.iter().for_each(|duration| sketch.add(black_box(*duration))));
    });
}

// === fixtures ===

impl Clock for Frozen {
    fn now(&self) -> UnixNanos {
        NOW
    }
}

fn group_of<'c>(criterion: &'c mut Criterion, name: &str, spans: u64) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(spans));
    group
}

fn requests(spans: u64) -> (Vec<Bytes>, Known) {
    let config =
        CorpusConfig { seed: SEED, spans, request_spans: 500, batching: Batching::Collector, begins: NOW };
    let mut corpus = Corpus::new(config);
    let bodies = corpus.by_ref().map(|request| request.body).collect();
    (bodies, corpus.into_known())
}

fn decoded(body: Bytes) -> Decoded {
    decode_request(body, &DecodeLimits::default()).expect("a valid request")
}

fn json_of(request: &Decoded) -> Vec<u8> {
    let records = request.spans.iter().map(|span| SpanRecord {
        resource: &request.resources[span.resource as usize],
        scope: &request.scopes[span.scope as usize],
        span: &request.body[span.at.clone()],
    });
    let mut json = Vec::new();
    write_request_json(&mut json, records).expect("valid spans");
    json
}

fn batches(bodies: Vec<Bytes>) -> Vec<Vec<Decoded>> {
    let decoded: Vec<Decoded> = bodies.into_iter().map(decoded).collect();
    decoded.chunks(REQUESTS_PER_BLOCK).map(<[Decoded]>::to_vec).collect()
}

fn empty_store() -> BlockTraceStore {
    let engine = Arc::new(MemoryEngine::default());
    BlockTraceStore::open(engine, Arc::new(Frozen), StoreConfig::default()).expect("an empty store")
}

fn append(store: &BlockTraceStore, batches: &[Vec<Decoded>]) {
    for batch in batches {
        store.append(&TenantId::default(), batch).expect("an acknowledgement");
    }
}

fn filled_store() -> (BlockTraceStore, Known) {
    let (bodies, known) = requests(STORED_SPANS);
    let store = empty_store();
    append(&store, &batches(bodies));
    (store, known)
}

fn predicates(known: &Known) -> [(&'static str, Predicate); 6] {
    let text = |value: &str| Comparison::Eq(Literal::String(value.to_owned()));
    let span_attribute = || Field::Attribute(AttributeScope::Span, KnownTrace::ORDER_ATTRIBUTE.to_owned());
    let order = known.traces.iter().find_map(|trace| trace.order).expect("a trace with an order");
    let operation = known.operations.iter().max_by_key(|operation| operation.spans).expect("an operation");
    let service_name = Field::Attribute(AttributeScope::Resource, "service.name".to_owned());
    [
        ("rare attribute", Predicate::Compare(span_attribute(), text(&order.to_string()))),
        ("absent attribute", Predicate::Compare(span_attribute(), text("none"))),
        (
            "service and operation",
            Predicate::And(vec![
                Predicate::Compare(service_name, text(operation.service)),
                Predicate::Compare(Field::Name, text(&operation.name)),
            ]),
        ),
        ("failed spans", Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)))),
        // Neither filters nor zone maps help: every span with the attribute is read.
        (
            "verdict on every span",
            Predicate::And(vec![
                Predicate::Compare(span_attribute(), Comparison::Ne(Literal::String("none".to_owned()))),
                Predicate::Compare(Field::Duration, Comparison::Lt(Literal::Int(0))),
            ]),
        ),
        ("newest", Predicate::All),
    ]
}

async fn get(router: &Router, path: &str) -> usize {
    let request = HttpRequest::get(path).body(Body::empty()).expect("a path");
    let answer = router.clone().oneshot(request).await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body").len()
}
