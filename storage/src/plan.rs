//! Queries as the store understands them. Query languages translate into these.
//! What a condition means for a span is in `docs/semantics.md#conditions`.

use regex::Regex;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_proto::{TimeRange, TraceId};

/// Which traces to find, in which order, and how many.
#[derive(Debug, Clone)]
pub struct SearchPlan {
    /// What one span has to satisfy for its trace to match.
    pub predicate: Predicate,
    /// A trace is in range when a matching span starts in it.
    pub range: TimeRange,
    /// Which traces come first.
    pub order: Order,
    /// Traces at the most.
    pub limit: usize,
    /// Continue behind this place.
    pub after: Option<Position>,
}

/// Which traces to give, all of them.
#[derive(Debug, Clone)]
pub struct ScanPlan {
    /// What one span has to satisfy for its trace to be given.
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

/// What is compared.
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
    /// An attribute.
    Attribute(AttributeScope, String),
}

/// Where an attribute is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttributeScope {
    /// On the span or its resource (`.key`).
    Any,
    /// On the span (`span.key`).
    Span,
    /// On the resource (`resource.key`).
    Resource,
}

/// An operator and what stands to its right.
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
}

/// A constant. Numbers compare with each other whatever their type; nothing else does.
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

/// A place in an ordered result, as of one moment of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// What the order sorts by, of the last trace given.
    pub key: u64,
    /// The last trace given.
    pub trace: TraceId,
    /// Spans stored later than this do not move or add traces on later pages.
    pub snapshot: u64,
}

/// Which spans to count, how to group them, and how finely.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// Only this service.
    pub service: Option<String>,
    /// Only spans of this name.
    pub operation: Option<String>,
    /// Which spans count.
    pub kind: KindFilter,
    /// One series for each value of these.
    pub group_by: GroupBy,
    /// Spans that start in this range.
    pub range: TimeRange,
    /// The width of a point in nanoseconds; points begin at multiples of it. Not zero.
    pub step: u64,
    /// Points of one series at the most, so that a range without an end stays bounded whatever clocks say: the last
    /// point also counts the spans that start after it. Not zero.
    pub max_points: usize,
}

/// Which spans an aggregate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindFilter {
    /// Requests: kind SERVER or CONSUMER, or without a parent.
    Requests,
    /// All spans.
    Any,
    /// Spans of one kind.
    Only(SpanKind),
}

/// The labels that series are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupBy {
    /// The service's name.
    pub service: bool,
    /// The span's name.
    pub operation: bool,
    /// The span's kind.
    pub kind: bool,
}
