//! The spans of one trace in their tree (`docs/semantics.md#tree`, `#trace`, `#segment`).

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub resource: Resource,
    pub scope: InstrumentationScope,
    pub span: Span,
}

/// A trace. Spans are named by their index.
#[derive(Debug)]
pub struct Trace {
    /// By start, then ID; equal ones once.
    pub spans: Vec<Sent>,
    /// The parent of each span in the tree.
    pub parents: Vec<Option<usize>>,
    pub root: usize,
    /// The numbers of each span when the tree is walked down and up again.
    pub nested: Vec<(i64, i64)>,
}

pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;
pub const CONSUMER: i32 = 5;

// === impl Sent ===

impl Sent {
    pub fn id(&self) -> &[u8] {
        &self.span.span_id
    }

    pub fn start(&self) -> u64 {
        self.span.start_time_unix_nano
    }

    /// Zero if the span ends before it starts.
    pub fn duration(&self) -> u64 {
        self.span.end_time_unix_nano.saturating_sub(self.start())
    }

    fn end(&self) -> u64 {
        self.start() + self.duration()
    }

    /// The ID that the span names as its parent's, if it names one.
    pub fn named_parent(&self) -> Option<&[u8]> {
        let id = &self.span.parent_span_id[..];
        id.iter().any(|byte| *byte != 0).then_some(id)
    }

    pub fn service(&self) -> &str {
        match attribute(&self.resource.attributes, "service.name") {
            Some(any_value::Value::StringValue(name)) if !name.is_empty() => name,
            _ => "unknown_service",
        }
    }

    /// What tells one service instance from another.
    fn instance(&self) -> (&str, [Option<&any_value::Value>; 2]) {
        let others = ["service.namespace", "service.instance.id"];
        (self.service(), others.map(|key| attribute(&self.resource.attributes, key)))
    }

    pub fn status(&self) -> i32 {
        self.span.status.as_ref().map_or(0, |status| status.code)
    }

    /// `docs/semantics.md#failed`
    pub fn has_failed(&self) -> bool {
        let error = match attribute(&self.span.attributes, "error") {
            Some(any_value::Value::BoolValue(flag)) => *flag,
            Some(any_value::Value::StringValue(text)) => text == "true",
            _ => false,
        };
        self.status() == 2 || self.status() == 0 && error
    }

    fn parent_is_local(&self) -> bool {
        self.span.flags & 0x100 != 0 && self.span.flags & 0x200 == 0
    }
}

pub fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a any_value::Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found?.value.as_ref().and_then(|AnyValue { value, .. }| value.as_ref())
}

// === impl Trace ===

impl Trace {
    /// The trace of some spans, of which there is one at least.
    pub fn of(sent: &[&Sent]) -> Self {
        let mut spans: Vec<Sent> = Vec::new();
        for span in sent {
            if !spans.contains(span) {
                spans.push((*span).clone());
            }
        }
        spans.sort_by(|a, b| (a.start(), a.id()).cmp(&(b.start(), b.id())));
        let parents = parents(&spans);
        let root = root(&spans);
        let nested = vec![(0, 0); spans.len()];
        let mut trace = Self { spans, parents, root, nested };
        trace.number();
        trace
    }

    fn number(&mut self) {
        let first = self.ancestors(self.root).last().copied().unwrap_or(self.root);
        let tops = (0..self.spans.len()).filter(|span| self.parents[*span].is_none() && *span != first);
        let mut number = 0;
        for top in [first].into_iter().chain(tops.collect::<Vec<_>>()) {
            self.number_below(top, &mut number);
        }
    }

    fn number_below(&mut self, span: usize, number: &mut i64) {
        *number += 1;
        self.nested[span].0 = *number;
        for child in self.children(span) {
            self.number_below(child, number);
        }
        *number += 1;
        self.nested[span].1 = *number;
    }

    pub fn children(&self, span: usize) -> Vec<usize> {
        (0..self.spans.len()).filter(|child| self.parents[*child] == Some(span)).collect()
    }

    /// The spans above a span, the nearest first.
    pub fn ancestors(&self, span: usize) -> Vec<usize> {
        let mut above = Vec::new();
        let mut at = span;
        while let Some(parent) = self.parents[at] {
            above.push(parent);
            at = parent;
        }
        above
    }

    pub fn duration(&self) -> u64 {
        let start = self.spans.iter().map(Sent::start).min().unwrap();
        self.spans.iter().map(Sent::end).max().unwrap() - start
    }

    /// Whether a span is the first of its segment.
    pub fn is_entry(&self, span: usize) -> bool {
        let Some(parent) = self.parents[span] else { return true };
        let (span, parent) = (&self.spans[span], &self.spans[parent]);
        let enters = [SERVER, CONSUMER].contains(&span.span.kind) && !span.parent_is_local();
        span.instance() != parent.instance() || enters
    }
}

fn parents(spans: &[Sent]) -> Vec<Option<usize>> {
    let mut parents: Vec<Option<usize>> = (0..spans.len()).map(|span| parent(spans, span)).collect();
    // Spans are looked at from the earliest on, so that a cycle is cut at its earliest span.
    for span in 0..spans.len() {
        let mut at = parents[span];
        for _ in 0..spans.len() {
            if at == Some(span) {
                parents[span] = None;
            }
            at = at.and_then(|at| parents[at]);
        }
    }
    parents
}

fn parent(spans: &[Sent], child: usize) -> Option<usize> {
    let span = &spans[child];
    let with_id = |id: &[u8]| (0..spans.len()).filter(|at| spans[*at].id() == id).collect::<Vec<usize>>();
    if span.span.kind == SERVER {
        let mut clients = with_id(span.id());
        clients.retain(|client| spans[*client].span.kind == CLIENT);
        if !clients.is_empty() {
            return Some(choose(spans, span.start(), &clients));
        }
    }
    let id = span.named_parent().filter(|id| *id != span.id())?;
    let candidates = with_id(id);
    let mut own = candidates.clone();
    own.retain(|candidate| spans[*candidate].instance() == span.instance());
    match (own.is_empty(), candidates.is_empty()) {
        (false, _) => Some(choose(spans, span.start(), &own)),
        (true, false) => Some(choose(spans, span.start(), &candidates)),
        (true, true) => None,
    }
}

/// Of spans that share an ID the last started one whose interval contains a start, else the earliest.
fn choose(spans: &[Sent], start: u64, candidates: &[usize]) -> usize {
    let contains = |at: &&usize| spans[**at].start() <= start && start <= spans[**at].end();
    *candidates.iter().rev().find(contains).unwrap_or(&candidates[0])
}

fn root(spans: &[Sent]) -> usize {
    let named = |at: &usize| spans[*at].named_parent();
    let is_orphan = |at: &usize| named(at).is_some_and(|id| spans.iter().all(|span| span.id() != id));
    let all = 0..spans.len();
    all.clone().find(|at| named(at).is_none()).or_else(|| all.clone().find(is_orphan)).unwrap_or(0)
}
