//! Queries as the store understands them. Query languages translate into these.
//! What a condition means for a span is in `docs/semantics.md#conditions`.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_proto::{TimeRange, TraceId};

/// A search: the traces to find, their order, and how many.
#[derive(Debug, Clone)]
pub struct SearchPlan {
    /// A trace matches if one of its spans satisfies this.
    pub predicate: Predicate,
    /// A trace is in range when a matching span starts in it.
    pub range: TimeRange,
    /// The order of the traces.
    pub order: Order,
    /// The most traces to return.
    pub limit: usize,
    /// The position of the last trace of the previous page; `None` for the first page.
    pub after: Option<Position>,
    /// What the search may take.
    pub effort: Effort,
}

/// What a query may take of the machine.
#[derive(Debug, Clone)]
pub struct Effort {
    /// The most threads that work on it at a time.
    pub threads: usize,
    /// Asked again and again while it runs: ends it, with a partial answer.
    pub stop: Stop,
}

/// Says when a query has to end.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

/// A scan: all traces with a span that matches.
#[derive(Debug, Clone)]
pub struct ScanPlan {
    /// A trace matches if one of its spans satisfies this.
    pub predicate: Predicate,
    /// A trace is in range when a span that satisfies the predicate starts in it.
    pub range: TimeRange,
}

/// A condition on one span.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// Every span.
    All,
    /// All of these.
    And(Vec<Predicate>),
    /// Any of these.
    Or(Vec<Predicate>),
    /// A field compared with a literal. A span that lacks the field does not match, whatever the operator.
    Compare(Field, Comparison),
    /// The span has the field (`!= nil`).
    Exists(Field),
    /// The span lacks the field (`= nil`).
    Absent(Field),
}

/// The field of a span that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// The span's name.
    Name,
    /// End minus start, in nanoseconds; zero when the span ends before it starts.
    Duration,
    /// The span's status as sent.
    Status,
    /// The span's kind.
    Kind,
    /// Whether the span has failed (`docs/semantics.md#failed`).
    Failed,
    /// Whether the span names no parent.
    Parentless,
    /// An attribute.
    Attribute(AttributeScope, String),
}

/// Where an attribute is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttributeScope {
    /// On the span or its resource (`.key`).
    Any,
    /// On the span (`span.key`).
    Span,
    /// On the resource (`resource.key`).
    Resource,
}

/// An operator and its right operand.
#[derive(Debug, Clone)]
pub enum Comparison {
    /// `=`
    Eq(Literal),
    /// `!=`
    Ne(Literal),
    /// `<`
    Lt(Literal),
    /// `<=`
    Le(Literal),
    /// `>`
    Gt(Literal),
    /// `>=`
    Ge(Literal),
    /// `=~`, anchored at both ends by the parser.
    Matches(Regex),
    /// `!~`
    MatchesNot(Regex),
    /// The value is a string that contains this text.
    Contains(String),
    /// The value is a string that starts with this text.
    StartsWith(String),
    /// The value is a string that ends with this text.
    EndsWith(String),
}

/// A constant. Numbers compare with each other whatever their type, and with strings that are the canonical text of a
/// number; other types only with themselves.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Text.
    String(String),
    /// A whole number; also a duration in nanoseconds.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// `error`, `ok`, `unset`.
    Status(StatusCode),
    /// `server`, `client` and so on.
    Kind(SpanKind),
}

/// The order of found traces. Ties are broken by trace ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Latest trace start first.
    Newest,
    /// Earliest trace start first.
    Oldest,
    /// Longest trace first.
    Longest,
    /// Shortest trace first.
    Shortest,
    /// Most spans first.
    MostSpans,
    /// Most failed spans first.
    MostErrors,
}

/// A position in an ordered result, as of one moment of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The value by which the last returned trace was sorted.
    pub key: u64,
    /// The last returned trace.
    pub trace: TraceId,
    /// Spans stored later than this commit do not move or add traces on later pages.
    pub snapshot: u64,
}

/// An aggregate: the spans to count, how to group them, and the time step.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// Counts only this service; `None` for all.
    pub service: Option<String>,
    /// Counts only spans with this name; `None` for all.
    pub operation: Option<String>,
    /// Counts only spans of these kinds.
    pub kind: KindFilter,
    /// The labels of the series.
    pub group_by: GroupBy,
    /// Counts only spans that start in this range.
    pub range: TimeRange,
    /// The width of a point in nanoseconds; points begin at multiples of it. Not zero.
    pub step: u64,
    /// The most points of one series, so that a range without an end stays bounded whatever clocks say: the last point
    /// also counts the spans that start after it. Not zero.
    pub max_points: usize,
    /// Asked for each block and each page: ends the aggregate, with a partial answer.
    pub stop: Stop,
}

/// The spans that an aggregate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindFilter {
    /// Requests: kind SERVER or CONSUMER, or without a parent.
    Requests,
    /// All spans.
    Any,
    /// Spans of one kind.
    Only(SpanKind),
}

/// The labels by which series are distinguished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupBy {
    /// The service's name.
    pub service: bool,
    /// The span's name.
    pub operation: bool,
    /// The span's kind.
    pub kind: bool,
}

// === impl Effort, Stop ===

impl Default for Effort {
    fn default() -> Self {
        Self { threads: 1, stop: Stop::default() }
    }
}

impl Stop {
    /// Ends a query once a function says so.
    pub fn new(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_over)))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|is_over| is_over())
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Stop(a signal)" } else { "Stop(never)" })
    }
}
