//! A corpus: OTLP requests of an e-commerce shop, as its collectors or its sidecars would send them.
//!
//! Deterministic: the same seed and times give the same bytes, whatever sends them and how fast. The
//! spans of a trace are spread over neighbouring requests, among those of many other traces. What is
//! needed to ask for it later ([`KnownTrace`]) is kept; nothing here sends or measures anything.

mod encode;
mod fleet;
mod shop;
mod trace;

use std::mem;

use bytes::Bytes;
use fastrand::Rng;
use spandrel_proto::otlp::wire::put_bytes;
use spandrel_proto::{TraceId, UnixNanos};

use self::fleet::Fleet;
use self::trace::EndedSpan;

/// What a corpus is made from.
#[derive(Debug, Clone, Copy)]
pub struct CorpusConfig {
    /// The same seed gives the same corpus; another one gives other IDs.
    pub seed: u64,
    /// Spans in all requests together.
    pub spans: u64,
    /// Spans of one request; the last ones may have fewer.
    pub request_spans: usize,
    /// Who sends.
    pub batching: Batching,
}

/// What goes into a request together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Whatever ended, of all services: a collector in front of the shop.
    Collector,
    /// Spans of one instance: a sidecar beside each.
    Sidecar,
}

/// Makes requests, one after the other.
pub struct Corpus {
    config: CorpusConfig,
    rng: Rng,
    fleet: Fleet,
    /// Spans of all traces begun so far.
    planned: u64,
    /// What of these traces was not sent yet.
    in_flight: Vec<Vec<EndedSpan>>,
    /// For sidecars: what each instance has not sent yet.
    waiting: Vec<Vec<EndedSpan>>,
    known: Vec<KnownTrace>,
}

/// An `ExportTraceServiceRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its bytes.
    pub body: Bytes,
    /// Its spans.
    pub spans: u64,
}

/// What is known of a trace once its requests were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownTrace {
    /// Its ID.
    pub id: TraceId,
    /// Its spans.
    pub spans: u64,
    /// It placed an order, whose ID one of its spans has as an attribute.
    pub has_order: bool,
}

/// Traces that are under way at the same time.
const IN_FLIGHT: usize = 64;
/// A trace begins before its requests are made, so that nothing ends in the future.
const BEGAN_BEFORE_NANOS: u64 = 3_000_000_000;

// === impl Corpus ===

impl Corpus {
    /// A corpus from its beginning.
    pub fn new(config: CorpusConfig) -> Self {
        let mut rng = Rng::with_seed(config.seed);
        let fleet = Fleet::new(&mut rng);
        let waiting = (0..fleet.len()).map(|_| Vec::new()).collect();
        Self { config, rng, fleet, planned: 0, in_flight: Vec::new(), waiting, known: Vec::new() }
    }

    /// The next request, of traces that are under way now; `None` after the last.
    pub fn next_request(&mut self, now: UnixNanos) -> Option<Request> {
        let spans = match self.config.batching {
            Batching::Collector => self.draw_from_everywhere(now),
            Batching::Sidecar => self.draw_from_one_instance(now),
        };
        (!spans.is_empty()).then(|| self.request(spans))
    }

    /// All traces of the requests made so far.
    pub fn into_traces(self) -> Vec<KnownTrace> {
        self.known
    }

    fn draw_from_everywhere(&mut self, now: UnixNanos) -> Vec<EndedSpan> {
        let mut spans = Vec::with_capacity(self.config.request_spans);
        while spans.len() < self.config.request_spans {
            let Some(span) = self.draw(now) else { break };
            spans.push(span);
        }
        spans
    }

    fn draw_from_one_instance(&mut self, now: UnixNanos) -> Vec<EndedSpan> {
        while let Some(span) = self.draw(now) {
            let waiting = &mut self.waiting[usize::from(span.instance)];
            waiting.push(span);
            if waiting.len() == self.config.request_spans {
                return mem::take(waiting);
            }
        }
        self.waiting.iter_mut().find(|waiting| !waiting.is_empty()).map(mem::take).unwrap_or_default()
    }

    /// The next span of some trace that is under way.
    fn draw(&mut self, now: UnixNanos) -> Option<EndedSpan> {
        while self.in_flight.len() < IN_FLIGHT && self.planned < self.config.spans {
            self.begin_trace(now);
        }
        if self.in_flight.is_empty() {
            return None;
        }
        let at = self.rng.usize(0..self.in_flight.len());
        let span = self.in_flight[at].pop();
        if self.in_flight[at].is_empty() {
            self.in_flight.swap_remove(at);
        }
        span
    }

    fn begin_trace(&mut self, now: UnixNanos) {
        let start = now.0.saturating_sub(BEGAN_BEFORE_NANOS) + self.rng.u64(0..1_000_000_000);
        let (mut trace, mut spans) = trace::walk(&mut self.rng, &self.fleet, start);
        let room = self.config.spans - self.planned;
        if trace.spans > room {
            // The last trace is cut to what was asked for. Parents stand behind their children: what
            // is left has all its parents, but perhaps no order any more.
            spans.drain(..(trace.spans - room) as usize);
            trace = KnownTrace { spans: room, has_order: false, ..trace };
        }
        self.planned += trace.spans;
        self.known.push(trace);
        // Taken from the end.
        spans.reverse();
        self.in_flight.push(spans);
    }

    fn request(&self, mut spans: Vec<EndedSpan>) -> Request {
        spans.sort_by_key(|span| (span.instance, span.scope));
        let mut body = Vec::with_capacity(spans.iter().map(|span| span.message.len() + 16).sum());
        for of_instance in spans.chunk_by(|a, b| a.instance == b.instance) {
            encode::nested(&mut body, 1, |resource_spans| {
                put_bytes(resource_spans, 1, &self.fleet.instance(of_instance[0].instance).resource);
                for of_scope in of_instance.chunk_by(|a, b| a.scope == b.scope) {
                    encode::nested(resource_spans, 2, |scope_spans| {
                        put_bytes(scope_spans, 1, self.fleet.scope(of_scope[0].scope));
                        of_scope.iter().for_each(|span| put_bytes(scope_spans, 2, &span.message));
                    });
                }
            });
        }
        Request { body: body.into(), spans: spans.len() as u64 }
    }
}

// === impl KnownTrace ===

impl KnownTrace {
    /// The attribute that holds the ID of an order.
    pub const ORDER_ATTRIBUTE: &str = "order.id";

    /// The ID of the order that a trace placed, if it did.
    pub fn order(&self) -> Option<String> {
        self.has_order.then(|| Self::order_of(self.id))
    }

    fn order_of(trace: TraceId) -> String {
        let [a, b, c, d, e, f, ..] = trace.as_bytes();
        format!("order-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
    }
}

/// Operations that are worth searching for: (service, name of the span).
pub const OPERATIONS: [(&str, &str); 4] = [
    ("basket", "GET /baskets/{id}"),
    ("catalogue", "shop.catalogue.v1.Catalogue/GetProduct"),
    ("payments", "POST /charges"),
    ("storefront", "render page"),
];

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use spandrel_proto::otlp::{DecodeLimits, SpanView, decode_request};

    use super::*;

    const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

    fn requests(seed: u64, batching: Batching) -> (Vec<Request>, Vec<KnownTrace>) {
        let request_spans = if batching == Batching::Collector { 500 } else { 5 };
        let mut corpus = Corpus::new(CorpusConfig { seed, spans: 10_000, request_spans, batching });
        let requests = std::iter::from_fn(|| corpus.next_request(NOW)).collect();
        (requests, corpus.into_traces())
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(requests(1, Batching::Collector), requests(1, Batching::Collector));
        assert_ne!(requests(1, Batching::Collector).0[0], requests(2, Batching::Collector).0[0]);
    }

    #[test]
    fn every_span_is_valid_and_has_its_parent() {
        for batching in [Batching::Collector, Batching::Sidecar] {
            let (requests, traces) = requests(7, batching);
            let mut found: HashMap<TraceId, u64> = HashMap::new();
            let (mut ids, mut parents, mut attributes, mut failed) = (HashSet::new(), Vec::new(), 0, 0);
            for request in &requests {
                let decoded = decode_request(request.body.clone(), &DecodeLimits::default()).unwrap();
                assert_eq!((decoded.rejected.count, decoded.spans.len() as u64), (0, request.spans));
                for span in &decoded.spans {
                    let view = SpanView::parse(&decoded.body[span.at.clone()]).unwrap();
                    *found.entry(span.trace_id).or_default() += 1;
                    ids.insert((span.trace_id, view.span_id.to_vec()));
                    parents.extend(
                        (!view.parent_span_id.is_empty())
                            .then(|| (span.trace_id, view.parent_span_id.to_vec())),
                    );
                    attributes += view.attributes().count();
                    failed += view.events().count();
                }
            }
            assert_eq!(ids.len(), 10_000);
            assert!(parents.iter().all(|parent| ids.contains(parent)));
            assert_eq!(found, traces.iter().map(|trace| (trace.id, trace.spans)).collect());
            assert!((90_000..120_000).contains(&attributes), "{attributes} attributes");
            assert!((20..1_000).contains(&failed), "{failed} failed spans");
        }
    }

    #[test]
    fn requests_look_like_those_of_their_sender() {
        let (requests_of_collector, _) = requests(3, Batching::Collector);
        let bytes: usize = requests_of_collector.iter().map(|request| request.body.len()).sum();
        assert!((4_500_000..6_000_000).contains(&bytes), "{bytes} bytes");
        assert!(requests_of_collector.iter().all(|request| request.spans == 500));
        let decoded =
            decode_request(requests_of_collector[3].body.clone(), &DecodeLimits::default()).unwrap();
        let traces: HashSet<TraceId> = decoded.spans.iter().map(|span| span.trace_id).collect();
        assert!(traces.len() > 40 && decoded.resources.len() > 20, "{} traces", traces.len());
        let (requests_of_sidecars, _) = requests(3, Batching::Sidecar);
        for request in requests_of_sidecars {
            let decoded = decode_request(request.body, &DecodeLimits::default()).unwrap();
            assert!(request.spans <= 5 && decoded.resources.len() == 1);
        }
    }

    #[test]
    fn operations_to_search_for_are_there() {
        let (requests, traces) = requests(5, Batching::Collector);
        let mut seen = HashSet::new();
        for request in requests {
            let decoded = decode_request(request.body, &DecodeLimits::default()).unwrap();
            for span in &decoded.spans {
                let resource = &decoded.resources[span.resource as usize];
                let resource = spandrel_proto::otlp::ResourceView::parse(resource).unwrap();
                let service = resource.string_attribute("service.name").unwrap().to_owned();
                let view = SpanView::parse(&decoded.body[span.at.clone()]).unwrap();
                seen.insert((service, view.name.to_owned()));
            }
        }
        for (service, name) in OPERATIONS {
            assert!(seen.contains(&(service.to_owned(), name.to_owned())), "{service} {name}");
        }
        assert!(traces.iter().any(|trace| trace.order().is_some()));
    }
}
