//! Exports of the instances: each sends its ended spans every few seconds, so that the spans of a trace are scattered
//! over many requests, among those of others.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use spandrel_proto::otlp::wire::put_bytes;

use super::encode;
use super::shop::Shop;
use super::{Batching, Request};

/// Spans that were not sent yet.
pub(super) struct Exports {
    batching: Batching,
    request_spans: usize,
    /// The spans of each export, by its time.
    rounds: BTreeMap<u64, Round>,
}

/// The spans that all instances send at the same time, by instance and scope.
type Round = BTreeMap<(u16, u16), Ended>;

/// Spans of one instance and scope.
#[derive(Default)]
struct Ended {
    /// Fields of `ScopeSpans`, one after the other.
    bytes: Vec<u8>,
    /// The end of each span.
    ends: Vec<usize>,
}

/// The interval between two exports of an instance.
const EVERY_NANOS: u64 = 5_000_000_000;
const SCOPE_SPANS_SPAN: u32 = 2;

// === impl Exports ===

impl Exports {
    pub(super) fn new(batching: Batching, request_spans: usize) -> Self {
        Self { batching, request_spans: request_spans.max(1), rounds: BTreeMap::new() }
    }

    /// Adds a span that ended at `end`.
    pub(super) fn add(&mut self, end: u64, instance: u16, scope: u16, message: &[u8]) {
        let round = self.rounds.entry(end / EVERY_NANOS).or_default();
        let ended = round.entry((instance, scope)).or_default();
        put_bytes(&mut ended.bytes, SCOPE_SPANS_SPAN, message);
        ended.ends.push(ended.bytes.len());
    }

    /// Makes the requests of complete exports: no span ends before this time any more.
    pub(super) fn flush(&mut self, before: u64, shop: &Shop, rng: &mut Rng, out: &mut VecDeque<Request>) {
        let later = self.rounds.split_off(&(before / EVERY_NANOS));
        for (_, round) in std::mem::replace(&mut self.rounds, later) {
            self.requests(round, shop, rng, out);
        }
    }

    fn requests(&self, round: Round, shop: &Shop, rng: &mut Rng, out: &mut VecDeque<Request>) {
        let mut instances: Vec<Vec<((u16, u16), Ended)>> = Vec::new();
        for (from, ended) in round {
            match instances.last_mut() {
                Some(same) if same[0].0.0 == from.0 => same.push((from, ended)),
                _ => instances.push(vec![(from, ended)]),
            }
        }
        rng.shuffle(&mut instances);
        let mut request = Draft::new(shop, self.request_spans);
        for instance in instances {
            for ((instance, scope), ended) in instance {
                request.add(instance, scope, &ended, out);
            }
            if self.batching == Batching::Sidecar {
                request.send(out);
            }
        }
        request.send(out);
    }
}

/// A request in the making.
struct Draft<'a> {
    shop: &'a Shop,
    full: usize,
    spans: usize,
    body: Vec<u8>,
    /// The `ResourceSpans` message that is being filled: its instance and its bytes.
    of_instance: Option<(u16, Vec<u8>)>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    fn new(shop: &'a Shop, full: usize) -> Self {
        Self { shop, full, spans: 0, body: Vec::new(), of_instance: None }
    }

    /// Adds spans, and finishes a request when it is full.
    fn add(&mut self, instance: u16, scope: u16, ended: &Ended, out: &mut VecDeque<Request>) {
        let mut from = 0;
        while from < ended.ends.len() {
            let to = ended.ends.len().min(from + self.full - self.spans);
            let start = if from == 0 { 0 } else { ended.ends[from - 1] };
            self.add_scope(instance, scope, &ended.bytes[start..ended.ends[to - 1]]);
            self.spans += to - from;
            from = to;
            if self.spans == self.full {
                self.send(out);
            }
        }
    }

    fn add_scope(&mut self, instance: u16, scope: u16, spans: &[u8]) {
        if self.of_instance.as_ref().is_none_or(|(of, _)| *of != instance) {
            self.end_instance();
            let mut message = Vec::with_capacity(64 << 10);
            put_bytes(&mut message, 1, self.shop.resource(instance));
            self.of_instance = Some((instance, message));
        }
        let Some((_, message)) = &mut self.of_instance else { return };
        let scope = self.shop.scope(scope);
        encode::nested(message, 2, |scope_spans| {
            put_bytes(scope_spans, 1, scope);
            scope_spans.extend_from_slice(spans);
        });
    }

    fn end_instance(&mut self) {
        if let Some((_, message)) = self.of_instance.take() {
            put_bytes(&mut self.body, 1, &message);
        }
    }

    fn send(&mut self, out: &mut VecDeque<Request>) {
        self.end_instance();
        if self.spans > 0 {
            let body = std::mem::take(&mut self.body);
            out.push_back(Request { body: body.into(), spans: std::mem::take(&mut self.spans) as u64 });
        }
    }
}
