//! One walk through the shop: from what a shopper does to the spans of all services involved.

use fastrand::Rng;
use spandrel_proto::{SpanId, TraceId};

use super::KnownTrace;
use super::encode::{Exception, Kind, SpanHead, SpanWriter};
use super::fleet::Fleet;
use super::shop::{About, Call, ENTRIES, Operation, Service, Via};

/// A span that has ended, ready to be sent.
pub(super) struct EndedSpan {
    /// Whose it is.
    pub(super) instance: u16,
    /// What wrote it.
    pub(super) scope: u8,
    /// Its `Span` message.
    pub(super) message: Vec<u8>,
}

/// A walk under way.
struct Walk<'a> {
    rng: &'a mut Rng,
    fleet: &'a Fleet,
    trace_id: TraceId,
    shopper: Shopper,
    has_order: bool,
    /// Children stand before their parents.
    spans: Vec<EndedSpan>,
}

/// What is the same for all spans of a trace.
struct Shopper {
    user_id: String,
    sku: String,
    address: String,
    agent: &'static str,
}

/// Where a call comes from.
#[derive(Clone, Copy)]
struct Caller {
    instance: u16,
    span: Option<SpanId>,
    is_remote: bool,
}

/// How something ended.
#[derive(Clone, Copy)]
struct Ended {
    at: u64,
    failure: Option<&'static Failure>,
}

/// Why something fails.
struct Failure {
    kind: &'static str,
    message: &'static str,
}

const FAILURES: [Failure; 4] = [
    Failure { kind: "java.net.SocketTimeoutException", message: "Read timed out after 2000 ms" },
    Failure { kind: "PoolExhaustedError", message: "no connection became free within 500 ms" },
    Failure { kind: "InvalidStateError", message: "expected state RESERVED, found RELEASED" },
    Failure { kind: "UpstreamUnavailable", message: "connection refused by upstream" },
];

const STACKTRACE: &str = "\
  at shop.transport.Channel.await(Channel.java:214)\n\
  at shop.transport.Channel.call(Channel.java:131)\n\
  at shop.resilience.Retry.run(Retry.java:58)\n\
  at shop.handlers.Dispatch.handle(Dispatch.java:92)\n";

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) Version/19.1 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "shop-app/7.3.0 (Android 16)",
];

/// How often an operation fails of itself...
const OWN_FAILURE: f64 = 0.002;
/// ...and how often the failure of a call becomes that of the caller.
const PASSED_ON: f64 = 0.7;
const NETWORK_NANOS: u64 = 180_000;

/// Something that a shopper does, beginning at a point in time: what is known of it, and its spans.
pub(super) fn walk(rng: &mut Rng, fleet: &Fleet, start: u64) -> (KnownTrace, Vec<EndedSpan>) {
    let trace_id = TraceId::from_bytes((rng.u128(..) | 1).to_be_bytes());
    let operation = pick_entry(rng);
    let shopper = Shopper::new(rng);
    let instance = fleet.pick(Service::Edge, rng);
    let mut walk = Walk { rng, fleet, trace_id, shopper, has_order: false, spans: Vec::with_capacity(32) };
    walk.handle(operation, Caller { instance, span: None, is_remote: false }, instance, start);
    let known = KnownTrace { id: trace_id, spans: walk.spans.len() as u64, has_order: walk.has_order };
    (known, walk.spans)
}

fn pick_entry(rng: &mut Rng) -> &'static Operation {
    let total = ENTRIES.iter().map(|(weight, _)| weight).sum();
    let mut place = rng.u32(0..total);
    for (weight, operation) in &ENTRIES {
        match place.checked_sub(*weight) {
            Some(rest) => place = rest,
            None => return operation,
        }
    }
    ENTRIES[0].1
}

// === impl Shopper ===

impl Shopper {
    fn new(rng: &mut Rng) -> Self {
        Self {
            user_id: format!("u-{:06}", rng.u32(0..200_000)),
            sku: format!("SKU-{:05}", rng.u32(0..20_000)),
            address: format!("203.0.113.{}", rng.u8(1..255)),
            agent: AGENTS[rng.usize(0..AGENTS.len())],
        }
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn span_id(&mut self) -> SpanId {
        SpanId::from_bytes((self.rng.u64(..) | 1).to_be_bytes())
    }

    /// Most take what is typical, few take very long.
    fn takes(&mut self, micros: u32) -> u64 {
        let long_tail = -(1.0 - self.rng.f64()).ln();
        (f64::from(micros) * 1_000.0 * (0.4 + 0.6 * long_tail)) as u64
    }

    /// The side that does the work: SERVER, CONSUMER or INTERNAL.
    fn handle(&mut self, operation: &Operation, caller: Caller, instance: u16, start: u64) -> Ended {
        let span_id = self.span_id();
        let own_time = self.takes(operation.micros);
        let mut now = start + own_time / 2;
        let mut failure = None;
        for call in operation.calls {
            for _ in 0..self.repeats(call) {
                let inside = Caller { instance, span: Some(span_id), is_remote: false };
                let ended = self.call(call.operation, inside, now);
                now = ended.at;
                failure = failure.or(ended.failure);
            }
        }
        let end = now + own_time / 2;
        let failure = self.fails(failure);
        let (kind, name) = match operation.via {
            Via::Http | Via::Rpc => (Kind::Server, operation.name.to_owned()),
            Via::Queue { topic } => (Kind::Consumer, format!("process {topic}")),
            Via::Database { .. } | Via::Local => (Kind::Internal, operation.name.to_owned()),
        };
        let mut span = SpanWriter::new(&SpanHead {
            trace_id: self.trace_id,
            span_id,
            parent_id: caller.span,
            parent_is_remote: caller.is_remote,
            name: &name,
            kind,
            start,
            end,
        });
        self.describe_handling(&mut span, operation, instance, failure);
        self.describe_business(&mut span, operation.about);
        self.end(span, operation, instance, failure.map(|failure| (failure, end)));
        Ended { at: end, failure }
    }

    /// The side that waits, and what it waits for: CLIENT or PRODUCER; a local step has no such side.
    fn call(&mut self, operation: &Operation, caller: Caller, start: u64) -> Ended {
        let span_id = self.span_id();
        let there = Caller { span: Some(span_id), is_remote: true, ..caller };
        let (kind, ended, peer) = match operation.via {
            Via::Local => return self.handle(operation, caller, caller.instance, start),
            Via::Database { .. } => {
                let at = start + self.takes(operation.micros);
                (Kind::Client, Ended { at, failure: self.fails(None) }, caller.instance)
            }
            Via::Http | Via::Rpc => {
                let peer = self.fleet.pick(operation.service, self.rng);
                let ended = self.handle(operation, there, peer, start + NETWORK_NANOS);
                let failure = ended.failure.or_else(|| self.fails(None));
                (Kind::Client, Ended { at: ended.at + NETWORK_NANOS, failure }, peer)
            }
            Via::Queue { .. } => {
                let peer = self.fleet.pick(operation.service, self.rng);
                let waits = self.takes(80_000);
                self.handle(operation, there, peer, start + waits);
                (Kind::Producer, Ended { at: start + NETWORK_NANOS, failure: None }, peer)
            }
        };
        let name = match operation.via {
            Via::Queue { topic } => format!("send {topic}"),
            _ => operation.name.to_owned(),
        };
        let mut span = SpanWriter::new(&SpanHead {
            trace_id: self.trace_id,
            span_id,
            parent_id: caller.span,
            parent_is_remote: caller.is_remote,
            name: &name,
            kind,
            start,
            end: ended.at,
        });
        self.describe_call(&mut span, operation, peer, ended.failure);
        self.end(span, operation, caller.instance, ended.failure.map(|failure| (failure, ended.at)));
        ended
    }

    fn repeats(&mut self, call: &Call) -> u32 {
        if self.rng.f64() < call.chance { self.rng.u32(call.times.0..=call.times.1) } else { 0 }
    }

    fn fails(&mut self, of_calls: Option<&'static Failure>) -> Option<&'static Failure> {
        match of_calls {
            Some(failure) => (self.rng.f64() < PASSED_ON).then_some(failure),
            None if self.rng.f64() < OWN_FAILURE => Some(&FAILURES[self.rng.usize(0..FAILURES.len())]),
            None => None,
        }
    }

    fn end(
        &mut self,
        mut span: SpanWriter,
        operation: &Operation,
        instance: u16,
        failure: Option<(&'static Failure, u64)>,
    ) {
        if let Some((Failure { kind, message }, at)) = failure {
            span.text("error.type", kind);
            span.exception(&Exception { at, kind, message, stacktrace: STACKTRACE });
            span.failed(message);
        }
        let scope = Fleet::scope_of(&operation.via);
        self.spans.push(EndedSpan { instance, scope, message: span.finish() });
    }
}

// === attributes, named as OpenTelemetry's conventions do ===

impl Walk<'_> {
    fn describe_handling(
        &mut self,
        span: &mut SpanWriter,
        operation: &Operation,
        instance: u16,
        failure: Option<&Failure>,
    ) {
        let host = &self.fleet.instance(instance).host;
        match operation.via {
            Via::Http => {
                let (method, route) = operation.name.split_once(' ').unwrap_or_default();
                span.text("http.request.method", method);
                span.text("http.route", route);
                span.text("url.path", &route.replace("{sku}", &self.shopper.sku));
                span.text("url.scheme", "https");
                span.int("http.response.status_code", if failure.is_some() { 500 } else { 200 });
                span.int("http.response.body.size", self.rng.i64(200..60_000));
                span.text("server.address", host);
                span.int("server.port", 8443);
                span.text("client.address", &self.shopper.address);
                span.text("user_agent.original", self.shopper.agent);
                span.text("network.protocol.version", "2");
                span.text("user.id", &self.shopper.user_id);
            }
            Via::Rpc => {
                describe_rpc(span, operation, failure);
                span.text("server.address", host);
                span.int("server.port", 9000);
                span.text("network.protocol.name", "http");
                span.text("network.transport", "tcp");
                span.text("client.address", &self.shopper.address);
                span.text("user.id", &self.shopper.user_id);
            }
            Via::Queue { topic } => {
                describe_queue(span, topic, "process", self.rng.i64(200..4_000));
                span.text("messaging.consumer.group.name", "mailer");
                span.int("messaging.kafka.offset", self.rng.i64(1_000_000..9_000_000));
                span.text("server.address", "queue.shop.internal");
                span.text("user.id", &self.shopper.user_id);
            }
            Via::Local | Via::Database { .. } => {
                span.text("code.function.name", operation.name);
                span.text("code.file.path", "src/steps/step.rs");
                span.int("code.line.number", operation.name.len() as i64 * 17);
                span.int("thread.id", self.rng.i64(1..64));
                span.text("thread.name", "worker");
                span.text("user.id", &self.shopper.user_id);
                span.text("product.sku", &self.shopper.sku);
                span.bool("feature.new_ranking", self.rng.bool());
            }
        }
    }

    fn describe_call(
        &mut self,
        span: &mut SpanWriter,
        operation: &Operation,
        peer: u16,
        failure: Option<&Failure>,
    ) {
        let host = &self.fleet.instance(peer).host;
        match operation.via {
            Via::Database { system, namespace, statement } => {
                span.text("db.system.name", system);
                span.text("db.namespace", namespace);
                span.text("db.operation.name", operation.name.split(' ').next().unwrap_or_default());
                span.text("db.query.summary", operation.name);
                span.text("db.query.text", statement);
                span.int("db.response.returned_rows", self.rng.i64(0..40));
                span.text("server.address", &format!("{system}.shop.internal"));
                span.int("server.port", if system == "redis" { 6379 } else { 5432 });
                span.text("network.peer.address", &format!("10.0.9.{}", self.rng.u8(1..9)));
                span.text("thread.name", "worker");
            }
            Via::Rpc => {
                describe_rpc(span, operation, failure);
                span.text("server.address", host);
                span.int("server.port", 9000);
                span.text("network.transport", "tcp");
                span.text("network.peer.address", &format!("10.0.{}.{}", peer, self.rng.u8(1..9)));
                span.int("rpc.message.sent.compressed_size", self.rng.i64(20..600));
                span.int("rpc.message.received.compressed_size", self.rng.i64(40..9_000));
            }
            Via::Queue { topic } => {
                describe_queue(span, topic, "send", self.rng.i64(200..4_000));
                span.text("messaging.message.id", &format!("{:016x}", self.rng.u64(..)));
                span.int("messaging.destination.partition.id", self.rng.i64(0..12));
                span.text("server.address", "queue.shop.internal");
            }
            Via::Http | Via::Local => {
                let (method, route) = operation.name.split_once(' ').unwrap_or_default();
                let path = route.replace("{sku}", &self.shopper.sku);
                span.text("http.request.method", method);
                span.text("url.full", &format!("https://{host}:8443{path}"));
                span.text("url.template", route);
                span.int("http.response.status_code", if failure.is_some() { 500 } else { 200 });
                span.text("server.address", host);
                span.int("server.port", 8443);
                span.text("network.protocol.version", "2");
                span.text("network.peer.address", &format!("10.0.{}.{}", peer, self.rng.u8(1..9)));
                span.int("http.response.body.size", self.rng.i64(200..60_000));
            }
        }
    }

    fn describe_business(&mut self, span: &mut SpanWriter, about: About) {
        match about {
            About::Nothing => {}
            About::Basket => {
                span.int("basket.lines", self.rng.i64(1..12));
                span.double("basket.total", self.rng.i64(500..90_000) as f64 / 100.0);
                span.text("basket.currency", "EUR");
            }
            About::Order => {
                self.has_order = true;
                span.text(KnownTrace::ORDER_ATTRIBUTE, &KnownTrace::order_of(self.trace_id));
                span.double("order.total", self.rng.i64(500..90_000) as f64 / 100.0);
                span.bool("order.first", self.rng.u8(..) < 40);
            }
        }
    }
}

fn describe_rpc(span: &mut SpanWriter, operation: &Operation, failure: Option<&Failure>) {
    let (service, method) = operation.name.split_once('/').unwrap_or_default();
    span.text("rpc.system", "grpc");
    span.text("rpc.service", service);
    span.text("rpc.method", method);
    span.int("rpc.grpc.status_code", if failure.is_some() { 14 } else { 0 });
}

fn describe_queue(span: &mut SpanWriter, topic: &str, operation: &str, size: i64) {
    span.text("messaging.system", "kafka");
    span.text("messaging.destination.name", topic);
    span.text("messaging.operation.name", operation);
    span.text("messaging.client.id", "shop");
    span.int("messaging.message.body.size", size);
}
