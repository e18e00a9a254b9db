//! The spans and queries of the benchmark: the corpus of the other benchmarks, in the order of a merge.

use bytes::Bytes;
use spandrel_benches::corpus::{Batching, Corpus, CorpusConfig, KnownTrace};
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_request};
use spandrel_proto::{TraceId, UnixNanos};

/// A span with its keys.
pub struct Span {
    pub trace: TraceId,
    pub start: u64,
    pub resource: Bytes,
    pub scope: Bytes,
    pub bytes: Bytes,
}

/// All spans and queries.
pub struct Input {
    pub spans: Vec<Span>,
    pub traces: usize,
    pub requests: Vec<Decoded>,
    /// Traces to query by ID, each with the ID of its order, by which only this trace is found.
    pub wanted: Vec<(TraceId, String)>,
}

/// Spans of one block, or of one row group.
pub const GROUP: usize = 50_000;
/// The attribute whose values are rare.
pub const RARE: &str = KnownTrace::ORDER_ATTRIBUTE;

const BEGINS: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

// === impl Input ===

impl Input {
    pub fn new(spans: u64, seed: u64, questions: usize) -> Self {
        let config =
            CorpusConfig { seed, spans, request_spans: 500, batching: Batching::Collector, begins: BEGINS };
        let mut corpus = Corpus::new(config);
        let decode = |body| decode_request(body, &DecodeLimits::default()).expect("a valid request");
        let requests: Vec<Decoded> = corpus.by_ref().map(|request| decode(request.body)).collect();
        let known = corpus.into_known();
        let mut spans: Vec<Span> = requests.iter().flat_map(of_request).collect();
        spans.sort_by_key(|span| (span.trace, span.start));
        let with_order: Vec<(TraceId, String)> =
            known.traces.iter().filter_map(|trace| Some((trace.id, trace.order?.to_string()))).collect();
        let step = (with_order.len() / questions.max(1)).max(1);
        let wanted = with_order.into_iter().step_by(step).take(questions).collect();
        Self { spans, traces: known.traces.len(), requests, wanted }
    }

    /// The spans' own bytes.
    pub fn bytes(&self) -> usize {
        self.spans.iter().map(|span| span.bytes.len()).sum()
    }

    /// Values that no span has, and that look like existing ones.
    pub fn absent(&self) -> Vec<String> {
        self.wanted.iter().map(|(_, order)| format!("{order}-no")).collect()
    }
}

fn of_request(decoded: &Decoded) -> impl Iterator<Item = Span> {
    decoded.spans.iter().map(|span| Span {
        trace: span.trace_id,
        start: span.start.0,
        resource: decoded.resources[span.resource as usize].clone(),
        scope: decoded.scopes[span.scope as usize].clone(),
        bytes: decoded.body.slice(span.at.clone()),
    })
}
