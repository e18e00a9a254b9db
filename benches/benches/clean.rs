//! What rules cost a span between decoding and storing: none, twenty usual ones, and the dearest of them alone.
//!
//! Cleaning works on a decoded request in place, so each round gets a copy of its lists; the first line is that copy
//! alone. `cargo bench -p spandrel-benches --bench clean -- --once` cleans the corpus once without criterion, so that
//! `valgrind --tool=callgrind` and `perf stat` count instructions of nothing else.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot set itself up has nothing to measure"
)]

#[path = "clean/rules.rs"]
mod rules;

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use spandrel_benches::corpus::{Batching, Corpus, CorpusConfig};
use spandrel_clean::{HashKey, Registry, RuleSet};
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_request};
use spandrel_proto::{TenantId, UnixNanos};

const SPANS: u64 = 40_000;
const REQUEST_SPANS: usize = 500;

fn main() {
    if std::env::args().any(|argument| argument == "--once") {
        once();
        return;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let requests = requests();
    let mut group = criterion.benchmark_group("clean");
    let spans: usize = requests.iter().map(|request| request.spans.len()).sum();
    group.throughput(Throughput::Elements(spans as u64));
    for (name, yaml) in rules::ALL {
        let set = compile(yaml);
        group.bench_function(name, |bencher| {
            let copies = || requests.to_vec();
            bencher.iter_batched(copies, |copies| cleaned(&set, copies), BatchSize::LargeInput);
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Cleans the corpus once by each list, and prints the time for a million spans.
fn once() {
    let requests = requests();
    let spans: usize = requests.iter().map(|request| request.spans.len()).sum();
    let only = std::env::var("RULES").ok();
    for (name, yaml) in rules::ALL {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let set = compile(yaml);
        cleaned(&set, requests.to_vec());
        let copies = requests.to_vec();
        let begun = Instant::now();
        let left = cleaned(&set, copies);
        let seconds = begun.elapsed().as_secs_f64() * 1e6 / spans as f64;
        println!("{name}: {seconds:.3} s for a million spans; {left} of {spans} left");
    }
}

fn requests() -> Vec<Decoded> {
    let config = CorpusConfig {
        seed: 20_260_401,
        spans: SPANS,
        request_spans: REQUEST_SPANS,
        batching: Batching::Collector,
        begins: UnixNanos(1_790_000_000_000_000_000),
    };
    let decode = |body| decode_request(body, &DecodeLimits::default()).expect("a sound request");
    Corpus::new(config).map(|request| decode(request.body)).collect()
}

fn compile(yaml: &str) -> Arc<RuleSet> {
    let key = |_: Option<&str>| HashKey::new(&[7; 32]);
    Arc::new(RuleSet::parse(yaml, &key, &Registry::default()).expect("rules"))
}

#[inline(never)]
fn cleaned(set: &Arc<RuleSet>, requests: Vec<Decoded>) -> usize {
    let clean = |mut request: Decoded| {
        let applied = set.apply(&mut request, &TenantId::default(), |_| Ok::<_, Infallible>(()));
        black_box(applied.map(|tally| tally.dropped()).unwrap_or_default());
        request.spans.len()
    };
    requests.into_iter().map(clean).sum()
}
