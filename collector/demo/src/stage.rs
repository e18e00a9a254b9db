//! The stage that scenarios play on: spans of the real SDK on simulated time.
//!
//! A request that takes 400 ms is played in microseconds: each piece of work has a clock of its own. Its span starts at
//! once and ends, with an explicit time stamp, when the wall clock reaches its end (see [`Stage::release`]). So spans
//! are exported as by real services: children before parents, each from its own instance, and none from the future.

use crate::failure::Failure;
use crate::fleet::{Fleet, Member, Scope};
use crate::incidents::Incidents;
use crate::message::Message;
use crate::rng::Rng;
use crate::topology::Service;
use opentelemetry::trace::{Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _};
use opentelemetry::{Context, Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

/// The shop, its random decisions, and the spans that have not ended yet.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) rng: Rng,
    pub(crate) incidents: Incidents,
    /// Messages that wait for the next batch consumer.
    pub(crate) mailbox: Vec<Message>,
    open: BinaryHeap<Reverse<Closing>>,
    traces: u64,
    spans: u64,
    closed: u64,
}

/// The properties of a span at its start.
pub(crate) struct Opening {
    pub(crate) scope: Scope,
    pub(crate) kind: SpanKind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) links: Vec<Link>,
}

/// The parent of a span.
pub(crate) enum Parent<'a> {
    None,
    Local(&'a SpanContext),
    /// In another process: the context came over the network.
    Remote(&'a SpanContext),
}

/// A piece of work in one instance: a span with a clock.
pub(crate) struct Work {
    pub(crate) member: Member,
    /// The simulated time that this work has reached.
    pub(crate) now: SystemTime,
    span: Span,
}

/// Branches that run at the same time: each starts at the same moment, the last one decides the end.
pub(crate) struct FanOut {
    start: SystemTime,
    latest: SystemTime,
}

/// A span whose end is known but not yet reached.
struct Closing {
    end: SystemTime,
    /// Spans with the same end are exported in the order in which they were closed.
    order: u64,
    span: Span,
}

impl Stage {
    pub(crate) fn new(fleet: Fleet, rng: Rng, incidents: Incidents) -> Self {
        let open = BinaryHeap::new();
        Self { fleet, rng, incidents, mailbox: Vec::new(), open, traces: 0, spans: 0, closed: 0 }
    }

    /// The numbers of traces and spans that were started.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.traces, self.spans)
    }

    pub(crate) fn choose(&mut self, service: Service) -> Member {
        self.fleet.choose(service, None, &mut self.rng)
    }

    /// An instance of the service other than `not`.
    pub(crate) fn choose_other(&mut self, service: Service, not: Member) -> Member {
        self.fleet.choose(service, Some(not), &mut self.rng)
    }

    /// A random time near this median.
    pub(crate) fn around(&mut self, median_ms: f64) -> Duration {
        self.rng.around(median_ms)
    }

    /// Starts a span in `member` at this simulated time.
    pub(crate) fn open(
        &mut self,
        member: Member,
        parent: Parent<'_>,
        opening: Opening,
        at: SystemTime,
    ) -> Work {
        let tracer = self.fleet.tracer(member, opening.scope);
        let builder = tracer
            .span_builder(opening.name)
            .with_kind(opening.kind)
            .with_start_time(at)
            .with_attributes(opening.attributes)
            .with_links(opening.links);
        self.spans += 1;
        self.traces += u64::from(matches!(parent, Parent::None));
        Work { member, now: at, span: builder.start_with_context(tracer, &parent.context()) }
    }

    /// Starts a span below `work`, in the same instance, at the time that `work` has reached.
    pub(crate) fn child(&mut self, work: &Work, opening: Opening) -> Work {
        self.open(work.member, Parent::Local(work.context()), opening, work.now)
    }

    /// Schedules the end of the span at the time that its work has reached, and returns that time.
    pub(crate) fn close(&mut self, work: Work) -> SystemTime {
        self.closed += 1;
        self.open.push(Reverse(Closing { end: work.now, order: self.closed, span: work.span }));
        work.now
    }

    /// A step inside an instance: an INTERNAL span around `play`.
    pub(crate) fn step<T>(
        &mut self,
        work: &mut Work,
        name: &'static str,
        play: impl FnOnce(&mut Stage, &mut Work) -> T,
    ) -> T {
        let mut step = self.child(work, Opening::new(Scope::App, SpanKind::Internal, name));
        let outcome = play(self, &mut step);
        work.now = self.close(step);
        outcome
    }

    /// Ends every span whose end is not after `now`, which passes it to its exporter.
    pub(crate) fn release(&mut self, now: SystemTime) {
        while self.open.peek().is_some_and(|Reverse(closing)| closing.end <= now) {
            if let Some(Reverse(mut closing)) = self.open.pop() {
                closing.span.end_with_timestamp(closing.end);
            }
        }
    }

    /// Ends every span, also those that end a little later than now, and returns the providers for shutting them down.
    pub(crate) fn finish(mut self) -> Vec<SdkTracerProvider> {
        while let Some(Reverse(mut closing)) = self.open.pop() {
            closing.span.end_with_timestamp(closing.end);
        }
        self.fleet.into_providers()
    }
}

impl Opening {
    pub(crate) fn new(scope: Scope, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Self {
        Self { scope, kind, name: name.into(), attributes: Vec::new(), links: Vec::new() }
    }

    pub(crate) fn with(mut self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    pub(crate) fn linked_to(mut self, links: impl IntoIterator<Item = Link>) -> Self {
        self.links.extend(links);
        self
    }
}

impl Parent<'_> {
    fn context(&self) -> Context {
        match self {
            Parent::None => Context::new(),
            Parent::Local(parent) => Context::new().with_remote_span_context((*parent).clone()),
            Parent::Remote(parent) => Context::new().with_remote_span_context(SpanContext::new(
                parent.trace_id(),
                parent.span_id(),
                parent.trace_flags(),
                true,
                parent.trace_state().clone(),
            )),
        }
    }
}

impl Work {
    pub(crate) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    pub(crate) fn event(&mut self, name: &'static str, attributes: Vec<KeyValue>) {
        self.span.add_event_with_timestamp(name, self.now, attributes);
    }

    /// Marks the work as failed: status ERROR and the type of the error.
    pub(crate) fn fail(&mut self, error_type: impl Into<Value>, message: impl Into<Cow<'static, str>>) {
        self.set("error.type", error_type);
        self.span.set_status(Status::error(message));
    }

    /// Records the exception of the failure on this span.
    pub(crate) fn exception(&mut self, failure: &Failure) {
        let exception = failure.exception();
        self.event(
            "exception",
            vec![
                KeyValue::new("exception.type", exception.kind),
                KeyValue::new("exception.message", exception.message),
                KeyValue::new("exception.stacktrace", exception.stack),
            ],
        );
    }
}

impl FanOut {
    pub(crate) fn from(work: &Work) -> Self {
        Self { start: work.now, latest: work.now }
    }

    /// Call this after each branch: the next branch starts where the first did.
    pub(crate) fn branch_done(&mut self, work: &mut Work) {
        self.latest = self.latest.max(work.now);
        work.now = self.start;
    }

    /// Moves `work` to the end of the last branch.
    pub(crate) fn join(self, work: &mut Work) {
        work.now = self.latest;
    }
}

impl Ord for Closing {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.end, self.order).cmp(&(other.end, other.order))
    }
}

impl PartialOrd for Closing {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Closing {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Closing {}
