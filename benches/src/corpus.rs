//! A corpus: OTLP requests of an e-commerce shop, as its instances export them.
//!
//! Deterministic: the same seed and beginning give the same bytes, whatever sends them and how fast. 25 services with
//! some 110 operations, failures with stack traces, and long traces of jobs, one of them of 20,000 spans. The spans of
//! a trace are scattered over many requests, among those of many other traces. [`Known`] has the facts that queries
//! need later; other modules send and measure.

mod encode;
mod exports;
mod failures;
mod operations;
mod pools;
mod recipe;
mod services;
mod shop;
mod shopper;
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display};
use std::iter;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use spandrel_proto::{TraceId, UnixNanos};

use self::exports::Exports;
use self::walk::Walker;

#[derive(Debug, Clone, Copy)]
pub struct CorpusConfig {
    /// The same seed gives the same corpus; another one gives other IDs.
    pub seed: u64,
    /// Spans of all requests together, at the least: traces are whole.
    pub spans: u64,
    /// Spans of one request; some have fewer.
    pub request_spans: usize,
    /// How spans are grouped into requests.
    pub batching: Batching,
    /// When the first trace begins; the last one does so [`CorpusConfig::covers`] later.
    pub begins: UnixNanos,
}

/// How spans are grouped into requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Spans of some instances: a collector in front of the shop.
    Collector,
    /// Spans of one instance: a sidecar beside each.
    Sidecar,
}

/// Makes requests, one after the other.
pub struct Corpus {
    config: CorpusConfig,
    walker: Walker,
    exports: Exports,
    ready: VecDeque<Request>,
    /// Long traces to come: after how many spans of short ones, and how long.
    long: VecDeque<(u64, u32)>,
    short_spans: u64,
    short_spans_wanted: u64,
    is_complete: bool,
    traces: Vec<KnownTrace>,
}

/// An `ExportTraceServiceRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its bytes.
    pub body: Bytes,
    /// Its spans.
    pub spans: u64,
}

/// Facts about a corpus, complete once all its requests are made.
#[derive(Debug, Default)]
pub struct Known {
    /// All traces, in the order in which they began.
    pub traces: Vec<KnownTrace>,
    /// All operations of which there are spans.
    pub operations: Vec<KnownOperation>,
    /// Spans that failed.
    pub failed_spans: u64,
}

/// Facts about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownTrace {
    /// Its ID.
    pub id: TraceId,
    /// Its spans.
    pub spans: u32,
    /// The order that was placed in it; some of its spans, and no others, have it as an attribute.
    pub order: Option<OrderId>,
}

/// Spans of one service and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOperation {
    /// The service's name.
    pub service: &'static str,
    /// The name of the spans.
    pub name: String,
    /// How many there are.
    pub spans: u64,
}

/// A rare value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderId(NonZeroU64);

const SPANS_PER_SECOND: u64 = 2_000;
/// Traces that are made before ended spans are sent.
const ROUND: usize = 64;
const LONGEST: u32 = 20_000;
/// Traces of 2,000 to 5,000 spans in a million spans.
const LONG_PER_MILLION: u64 = 5;

// === impl CorpusConfig ===

impl CorpusConfig {
    /// The time that so many spans cover.
    pub fn covers(spans: u64) -> Duration {
        Duration::from_nanos(spans * (1_000_000_000 / SPANS_PER_SECOND))
    }
}

// === impl Corpus ===

impl Corpus {
    /// A corpus from its beginning.
    pub fn new(config: CorpusConfig) -> Self {
        let mut walker = Walker::new(config.seed);
        let lengths = long_traces(config.spans, &mut walker.rng);
        let short_spans_wanted = config.spans - lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
        let mut long: Vec<_> = lengths
            .iter()
            .map(|length| (walker.rng.u64(0..=short_spans_wanted * 19 / 20), *length))
            .collect();
        long.sort_unstable();
        Self {
            config,
            walker,
            exports: Exports::new(config.batching, config.request_spans),
            ready: VecDeque::new(),
            long: long.into(),
            short_spans: 0,
            short_spans_wanted,
            is_complete: false,
            traces: Vec::new(),
        }
    }

    /// The facts about the requests so far.
    pub fn into_known(self) -> Known {
        let mut operations: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (side, spans) in self.walker.shop.sides().iter().zip(&self.walker.counts) {
            *operations.entry((side.service.facts().name, &side.name)).or_default() += spans;
        }
        operations.retain(|_, spans| *spans > 0);
        let service_of =
            |name| services::SERVICES.iter().map(|facts| facts.name).find(|known| *known == name);
        let operations = operations.into_iter().filter_map(|((service, name), spans)| {
            Some(KnownOperation { service: service_of(service)?, name: name.to_owned(), spans })
        });
        Known { operations: operations.collect(), failed_spans: self.walker.failed, traces: self.traces }
    }

    /// Makes some more traces, and the requests that are complete after them.
    fn advance(&mut self) {
        for _ in 0..ROUND {
            let now = self.now();
            while self.long.front().is_some_and(|(after, _)| *after <= self.short_spans) {
                self.begin_long(now);
            }
            if self.short_spans >= self.short_spans_wanted {
                self.is_complete = true;
                break;
            }
            let trace = self.walker.walk(&mut self.exports, now);
            self.short_spans += u64::from(trace.spans);
            self.traces.push(trace);
        }
        let before = if self.is_complete { u64::MAX } else { self.now() };
        self.exports.flush(before, &self.walker.shop, &mut self.walker.rng, &mut self.ready);
    }

    fn begin_long(&mut self, now: u64) {
        if let Some((_, spans)) = self.long.pop_front() {
            self.traces.push(self.walker.walk_long(&mut self.exports, now, spans));
        }
    }

    /// Traces begin at even intervals.
    fn now(&self) -> u64 {
        let share = self.short_spans as f64 / self.short_spans_wanted.max(1) as f64;
        let since = CorpusConfig::covers(self.config.spans).as_nanos() as f64 * share.min(1.0);
        self.config.begins.0 + since as u64
    }
}

/// The lengths of the long traces; a small corpus has none of the longest, a tiny one none at all.
fn long_traces(spans: u64, rng: &mut Rng) -> Vec<u32> {
    match spans {
        0..20_000 => Vec::new(),
        20_000..100_000 => vec![5_000, 2_000],
        _ => {
            let more = 1 + spans * LONG_PER_MILLION / 1_000_000;
            iter::once(LONGEST).chain((0..more).map(|_| rng.u32(2_000..=5_000))).collect()
        }
    }
}

impl Iterator for Corpus {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        while self.ready.is_empty() && !self.is_complete {
            self.advance();
        }
        self.ready.pop_front()
    }
}

// === impl KnownTrace ===

impl KnownTrace {
    /// The attribute that holds the ID of an order.
    pub const ORDER_ATTRIBUTE: &str = "order.id";
}

// === impl OrderId ===

impl OrderId {
    /// The number makes the order unique in this corpus and the next seed's; the mark, most likely, among others.
    fn new(number: u32, mark: u16) -> Self {
        Self(NonZeroU64::MIN.saturating_add(u64::from(number) << 16 | u64::from(mark)))
    }
}

impl Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.get() - 1;
        let number = 202_600_000_000 + (value >> 16) * 7_919 % 100_000_000;
        write!(f, "ord-{number}-{:04x}", value & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use spandrel_proto::otlp::{DecodeLimits, Decoded, ResourceView, SpanView, StatusCode, decode_request};

    use super::*;

    const BEGINS: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

    fn requests(seed: u64, batching: Batching) -> (Vec<Request>, Known) {
        let request_spans = if batching == Batching::Collector { 500 } else { 5 };
        let config = CorpusConfig { seed, spans: 30_000, request_spans, batching, begins: BEGINS };
        let mut corpus = Corpus::new(config);
        let requests = corpus.by_ref().collect();
        (requests, corpus.into_known())
    }

    fn decoded(request: &Request) -> Decoded {
        let decoded = decode_request(request.body.clone(), &DecodeLimits::default()).unwrap();
        assert_eq!((decoded.rejected.count, decoded.spans.len() as u64), (0, request.spans));
        decoded
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(requests(1, Batching::Collector).0, requests(1, Batching::Collector).0);
        assert_ne!(requests(1, Batching::Collector).0[0], requests(2, Batching::Collector).0[0]);
    }

    #[test]
    fn everything_known_is_true() {
        for batching in [Batching::Collector, Batching::Sidecar] {
            let (requests, known) = requests(7, batching);
            let mut traces: HashMap<TraceId, u32> = HashMap::new();
            let mut operations: HashMap<(String, String), u64> = HashMap::new();
            let mut with_order: HashMap<String, HashSet<TraceId>> = HashMap::new();
            let (mut ids, mut parents, mut failed) = (HashSet::new(), Vec::new(), 0);
            for request in &requests {
                let decoded = decoded(request);
                for span in &decoded.spans {
                    let resource = ResourceView::parse(&decoded.resources[span.resource as usize]).unwrap();
                    let service = resource.string_attribute("service.name").unwrap().to_owned();
                    let view = SpanView::parse(&decoded.body[span.at.clone()]).unwrap();
                    *traces.entry(span.trace_id).or_default() += 1;
                    *operations.entry((service, view.name.to_owned())).or_default() += 1;
                    ids.insert((span.trace_id, view.span_id.to_vec()));
                    if !view.parent_span_id.is_empty() {
                        parents.push((span.trace_id, view.parent_span_id.to_vec()));
                    }
                    failed += u64::from(view.status() == StatusCode::Error);
                    if let Some(order) = view.attributes().string(KnownTrace::ORDER_ATTRIBUTE) {
                        with_order.entry(order.to_owned()).or_default().insert(span.trace_id);
                    }
                }
            }
            assert!(parents.iter().all(|parent| ids.contains(parent)));
            assert_eq!(traces, known.traces.iter().map(|trace| (trace.id, trace.spans)).collect());
            assert_eq!(failed, known.failed_spans);
            let counted =
                known.operations.iter().map(|of| ((of.service.to_owned(), of.name.clone()), of.spans));
            assert_eq!(operations, counted.collect());
            let orders = known
                .traces
                .iter()
                .filter_map(|trace| Some((trace.order?.to_string(), HashSet::from([trace.id]))));
            assert_eq!(with_order, orders.collect());
        }
    }

    #[test]
    fn corpora_of_seeds_that_follow_each_other_have_no_order_in_common() {
        let numbers = |seed| -> HashSet<String> {
            let (_, known) = requests(seed, Batching::Collector);
            let order = |trace: &KnownTrace| Some(trace.order?.to_string().split('-').nth(1)?.to_owned());
            known.traces.iter().filter_map(order).collect()
        };
        let [first, second] = [8, 9].map(numbers);
        assert!(first.len() > 10 && first.is_disjoint(&second), "{}", first.len());
    }

    #[test]
    fn it_is_as_varied_as_real_traffic() {
        let (requests, known) = requests(3, Batching::Collector);
        let spans: u64 = requests.iter().map(|request| request.spans).sum();
        let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
        let per_span = bytes as f64 / spans as f64;
        assert!((470.0..520.0).contains(&per_span), "{per_span} bytes a span");
        let failed = known.failed_spans as f64 / spans as f64;
        assert!((0.02..0.07).contains(&failed), "{failed} of the spans failed");
        let services: HashSet<_> = known.operations.iter().map(|operation| operation.service).collect();
        assert_eq!(services.len(), 25);
        assert!(known.operations.len() > 120, "{} operations", known.operations.len());
        assert_eq!(known.traces.iter().map(|trace| trace.spans / 1_000).max(), Some(5));
    }

    #[test]
    fn requests_look_like_those_of_their_sender() {
        let (of_collector, _) = requests(3, Batching::Collector);
        let full = of_collector.iter().filter(|request| request.spans == 500).count();
        assert!(full * 10 > of_collector.len() * 9, "{full} of {} requests", of_collector.len());
        let first = decoded(&of_collector[0]);
        let traces: HashSet<TraceId> = first.spans.iter().map(|span| span.trace_id).collect();
        assert!(traces.len() > 100, "spans of {} traces in one request", traces.len());
        for request in &requests(3, Batching::Sidecar).0 {
            assert!(request.spans <= 5 && decoded(request).resources.len() == 1);
        }
    }
}
