//! Walks through the shop: turns an operation of a shopper into the spans of all services involved.

use std::collections::VecDeque;

use fastrand::Rng;
use spandrel_proto::otlp::StatusCode;
use spandrel_proto::otlp::wire::{put_bytes, put_fixed32, put_fixed64};
use spandrel_proto::{SpanId, TraceId};

use super::encode::{self, Kind};
use super::exports::Exports;
use super::failures::Failure;
use super::pools::{self, Pools};
use super::services::SERVICES;
use super::shop::{Shop, SideCall, SideId};
use super::shopper::Shopper;
use super::{KnownTrace, OrderId};

/// Makes traces, one after the other.
pub(super) struct Walker {
    pub(super) rng: Rng,
    pub(super) shop: Shop,
    pools: Pools,
    /// Factors on the usual durations.
    factors: Vec<f64>,
    orders: u32,
    /// Traces that placed an order recently, for the links of jobs.
    recent: VecDeque<TraceId>,
    /// The number of spans of each side.
    pub(super) counts: Vec<u64>,
    pub(super) failed: u64,
    message: Vec<u8>,
}

/// One trace in the making.
struct Walk<'a> {
    walker: &'a mut Walker,
    exports: &'a mut Exports,
    trace: TraceId,
    shopper: Shopper,
    spans: u32,
    /// From this number of spans on, only necessary calls are made.
    enough: u32,
}

/// A span that is to be written.
struct Span<'a> {
    side: SideId,
    id: SpanId,
    parent: Option<SpanId>,
    instance: u16,
    start: u64,
    end: u64,
    failed: bool,
    /// The span failed itself, not because of a call.
    is_origin: bool,
    links: &'a [(TraceId, SpanId)],
}

/// The outcome of an operation.
#[derive(Clone, Copy)]
struct Ended {
    at: u64,
    failed: bool,
}

/// How often a failed call makes the caller fail.
const PASSED_ON: f64 = 0.62;
const MILLISECOND: u64 = 1_000_000;
const FACTORS: usize = 8_192;
/// More than the orders of a corpus.
const ORDERS: u32 = 50_000_000;
const RECENT: usize = 64;
const SPAN_FLAGS: u32 = 16;
/// W3C's "sampled", and OTLP's bit that says that it is known whether the parent is remote.
const SAMPLED_PARENT_KNOWN: u32 = 0x101;
/// The length at which most traces end, unless necessary calls remain.
const USUAL_SPANS: u32 = 26;

// === impl Walker ===

impl Walker {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let shop = Shop::new(&mut rng);
        let pools = Pools::new(&mut rng);
        let factor = |at: usize| {
            let tail = if at.is_multiple_of(256) { 12.0 } else { 1.0 };
            tail * (0.6 * pools::normal(&mut rng) - 0.18).exp()
        };
        let factors = (0..FACTORS).map(factor).collect();
        let counts = vec![0; shop.sides().len()];
        let (recent, message) = (VecDeque::new(), Vec::new());
        // The next seed makes the spans that are sent during queries. It must not repeat the orders that are queried.
        let orders = ORDERS * (seed % 2) as u32;
        Self { rng, shop, pools, factors, orders, recent, counts, failed: 0, message }
    }

    /// Makes the trace of a shopper, or sometimes of a job.
    pub(super) fn walk(&mut self, exports: &mut Exports, start: u64) -> KnownTrace {
        let entry = self.shop.entry(&mut self.rng);
        let order = self.shop.side(entry).has_order.then(|| self.place_order());
        let mut walk = Walk::new(self, exports, order, USUAL_SPANS);
        let instance = walk.instance_of(entry);
        if entry == walk.walker.shop.export {
            let links = walk.links(12);
            walk.run(entry, start, None, instance, &links);
        } else {
            walk.run(entry, start, None, instance, &[]);
        }
        let known = walk.known(order);
        if order.is_some() {
            self.recent.truncate(RECENT - 1);
            self.recent.push_front(known.id);
        }
        known
    }

    /// Makes the trace of a job with many steps in sequence, until there are enough spans.
    pub(super) fn walk_long(&mut self, exports: &mut Exports, start: u64, spans: u32) -> KnownTrace {
        let (job, step) = (self.shop.reprice, self.shop.reprice_chunk);
        let mut walk = Walk::new(self, exports, None, u32::MAX);
        let instance = walk.instance_of(job);
        let id = walk.span_id();
        let mut now = start + MILLISECOND;
        while walk.spans + 1 < spans {
            now = walk.run(step, now, Some(id), instance, &[]).at + MILLISECOND;
        }
        let links = walk.links(16);
        let (parent, failed, is_origin) = (None, false, false);
        let end = now + MILLISECOND;
        walk.emit(&Span { side: job, id, parent, instance, start, end, failed, is_origin, links: &links });
        walk.known(None)
    }

    fn place_order(&mut self) -> OrderId {
        self.orders += 1;
        OrderId::new(self.orders, self.rng.u16(..))
    }

    fn takes(&mut self, nanos: f64) -> u64 {
        (nanos * self.factors[self.rng.usize(0..FACTORS)]) as u64
    }
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn new(walker: &'a mut Walker, exports: &'a mut Exports, order: Option<OrderId>, enough: u32) -> Self {
        let shopper = Shopper::new(&walker.pools, order.map(|order| order.to_string()), &mut walker.rng);
        let shopper = if enough == u32::MAX { shopper.system() } else { shopper };
        let trace = TraceId::from_bytes((walker.rng.u128(..) | 1).to_be_bytes());
        Self { walker, exports, trace, shopper, spans: 0, enough }
    }

    fn known(&self, order: Option<OrderId>) -> KnownTrace {
        KnownTrace { id: self.trace, spans: self.spans, order }
    }

    fn span_id(&mut self) -> SpanId {
        SpanId::from_bytes((self.walker.rng.u64(..) | 1).to_be_bytes())
    }

    fn instance_of(&mut self, side: SideId) -> u16 {
        let service = self.walker.shop.side(side).service;
        self.walker.shop.instance(service, &mut self.walker.rng)
    }

    fn links(&mut self, count: usize) -> Vec<(TraceId, SpanId)> {
        let traces: Vec<_> = self.walker.recent.iter().take(count).copied().collect();
        traces.into_iter().map(|trace| (trace, self.span_id())).collect()
    }

    /// The server's side of an operation.
    fn run(
        &mut self,
        side: SideId,
        start: u64,
        parent: Option<SpanId>,
        instance: u16,
        links: &[(TraceId, SpanId)],
    ) -> Ended {
        let (nanos, failure) = (self.walker.shop.side(side).nanos, self.walker.shop.side(side).failure);
        let own = self.walker.takes(nanos);
        let is_origin = self.walker.rng.f64() < failure;
        let id = self.span_id();
        let mut failed = is_origin;
        let mut now = start + own / 2;
        let mut latest = now;
        for at in 0..self.walker.shop.side(side).calls.len() {
            let call = self.walker.shop.side(side).calls[at];
            for _ in 0..self.repeats(&call) {
                let ended = self.call(&call, now, id, instance);
                failed |= ended.failed && self.walker.rng.f64() < PASSED_ON;
                latest = latest.max(ended.at);
                if !call.parallel {
                    now = latest;
                }
            }
        }
        let end = latest + own - own / 2;
        self.emit(&Span { side, id, parent, instance, start, end, failed, is_origin, links });
        Ended { at: end, failed }
    }

    fn repeats(&mut self, call: &SideCall) -> u32 {
        let rng = &mut self.walker.rng;
        if call.chance < 1.0 && (rng.f64() >= call.chance || self.spans > self.enough) {
            return 0;
        }
        rng.u32(call.times.0..=call.times.1)
    }

    /// The client's side of a call, if there is one, and the call.
    fn call(&mut self, call: &SideCall, now: u64, parent: SpanId, instance: u16) -> Ended {
        let start = now + 20_000;
        let Some(side) = call.client else {
            return self.run(call.target, start, Some(parent), instance, &[]);
        };
        let id = self.span_id();
        let there = self.instance_of(call.target);
        let network = self.walker.rng.u64(120_000..1_020_000);
        let ended = if self.walker.shop.side(side).kind == Kind::Producer {
            // The consumer runs later, when the producer has continued.
            let lag = self.walker.rng.u64(4 * MILLISECOND..64 * MILLISECOND);
            self.run(call.target, start + network + lag, Some(id), there, &[]);
            Ended { at: start + network, failed: false }
        } else {
            let ended = self.run(call.target, start + network, Some(id), there, &[]);
            Ended { at: ended.at + network, ..ended }
        };
        let Ended { at: end, failed } = ended;
        let (parent, is_origin) = (Some(parent), false);
        self.emit(&Span { side, id, parent, instance, start, end, failed, is_origin, links: &[] });
        ended
    }

    fn emit(&mut self, span: &Span<'_>) {
        let Walker { rng, shop, pools, message, .. } = &mut *self.walker;
        let side = shop.side(span.side);
        message.clear();
        put_bytes(message, 1, self.trace.as_bytes());
        put_bytes(message, 2, span.id.as_bytes());
        if let Some(parent) = span.parent {
            put_bytes(message, 4, parent.as_bytes());
        }
        message.extend_from_slice(&side.head);
        put_fixed64(message, 7, span.start);
        put_fixed64(message, 8, span.end);
        side.recipe.write(message, &self.shopper, pools, span.failed, rng);
        let duration = span.end - span.start;
        if span.failed && (span.is_origin || rng.bool()) {
            let facts = &SERVICES[side.service as usize];
            let Failure { kind, message: why, stacktrace } = Failure::draw(facts.language, facts.name, rng);
            encode::exception(message, span.end - duration / 20, kind, &why, &stacktrace);
        } else if rng.f64() < 0.09 {
            let sizes = [("message.id", rng.i64(0..1_000)), ("message.uncompressed_size", rng.i64(0..9_000))];
            encode::event(message, span.start + duration / 3, side.event, sizes);
        }
        for (trace, id) in span.links {
            encode::link(message, *trace, *id);
        }
        if span.failed {
            let why = if span.is_origin { "internal error" } else { "upstream request failed" };
            encode::status(message, StatusCode::Error, why);
        } else if side.kind == Kind::Server && rng.f64() < 0.2 {
            encode::status(message, StatusCode::Ok, "");
        }
        put_fixed32(message, SPAN_FLAGS, SAMPLED_PARENT_KNOWN);
        self.exports.add(span.end, span.instance, side.scope, message);
        self.spans += 1;
        self.walker.counts[span.side] += 1;
        self.walker.failed += u64::from(span.failed);
    }
}
