//! The syntax tree of a query, as written: names are not resolved, and nothing is optimised.
//!
//! Every node prints itself (`print.rs`), and parsing what it prints gives the same tree.

/// A whole query with its hints.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What is asked.
    pub body: Body,
    /// `with(name = value, ...)`, in the order in which they were written.
    pub hints: Vec<Hint>,
}

/// What a query asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Traces, each with sets of its spans.
    Traces(Pipeline),
    /// Series over time.
    Metrics(Metrics),
}

/// `name = value` of `with(...)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    /// The name, as in `exemplars`.
    pub name: String,
    /// The value.
    pub value: Literal,
}

/// Stages joined by `|`. Each gets the span sets of the stage before it; the first one gets one set of all spans of a
/// trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Never empty.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `{ ... }` and what combines such filters.
    Spans(SpanSetExpr),
    /// `count() > 2`, `avg(duration) > max(duration) / 2`: keeps the sets for which it holds. If a field stands outside
    /// of an aggregate (`duration > 2 * avg(duration)`), it keeps the spans of each set for which it holds.
    Filter(ScalarFilter),
    /// `by(a, b)`: splits each set by the values of expressions.
    By(Vec<FieldExpr>),
    /// `coalesce()`: joins all sets of a trace.
    Coalesce,
    /// `select(a, b)`: the fields that the answer shows of each span.
    Select(Vec<Field>),
}

/// An expression that gives a set of spans of a trace.
#[derive(Debug, Clone, PartialEq)]
pub enum SpanSetExpr {
    /// `{ condition }`; `{ }` is `{ true }`.
    Filter(FieldExpr),
    /// Two sets joined.
    Binary(SpanSetOp, Box<SpanSetExpr>, Box<SpanSetExpr>),
    /// `( pipeline )`.
    Wrapped(Box<Pipeline>),
    /// `none(set)`: holds, without spans of its own, when the set is empty.
    None(Box<SpanSetExpr>),
    /// `all(set)`: the set, if all spans of the trace are in it.
    All(Box<SpanSetExpr>),
}

/// How two span sets are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanSetOp {
    /// `&&`: all spans of both, if neither side is empty.
    And,
    /// `||`: all spans of both.
    Or,
    /// A relation in the tree of spans, between the left and the right side.
    Structural {
        /// The relation of a right span to a left one.
        relation: Relation,
        /// Which spans the result contains.
        result: StructuralResult,
    },
}

/// The relation of a span of the right side to one of the left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`: the right one is a child of the left one.
    Child,
    /// `<`: it is the parent.
    Parent,
    /// `>>`: it is a descendant.
    Descendant,
    /// `<<`: it is an ancestor.
    Ancestor,
    /// `~`: both have the same parent, and are not the same span.
    Sibling,
}

/// The spans that a structural operator returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StructuralResult {
    /// `>>`: those of the right side that are in the relation to one of the left side.
    Right,
    /// `!>>`: those of the right side that are not.
    RightWithout,
    /// `&>>`: those of both sides that are in the relation.
    Both,
}

/// A comparison of two scalars.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarFilter {
    /// `=`, `!=`, `<`, `<=`, `>` or `>=`.
    pub op: BinaryOp,
    /// The left side.
    pub left: ScalarExpr,
    /// The right side.
    pub right: ScalarExpr,
}

/// A number for each span set, or, if a field stands in it, for each span.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarExpr {
    /// A constant.
    Literal(Literal),
    /// A field of the span that is looked at.
    Field(Field),
    /// An aggregate over the set.
    Aggregate(Aggregate),
    /// `( pipeline | aggregate )`: the aggregate over the sets that the pipeline makes of the set of the outer pipeline's
    /// beginning, all spans of the trace.
    Wrapped(Box<Pipeline>, Aggregate),
    /// `-a`.
    Negate(Box<ScalarExpr>),
    /// `+ - * / % ^`.
    Arithmetic(BinaryOp, Box<ScalarExpr>, Box<ScalarExpr>),
}

/// An aggregate over a set of spans.
#[derive(Debug, Clone, PartialEq)]
pub enum Aggregate {
    /// `count()`.
    Count,
    /// `min(e)`.
    Min(FieldExpr),
    /// `max(e)`.
    Max(FieldExpr),
    /// `sum(e)`.
    Sum(FieldExpr),
    /// `avg(e)`.
    Avg(FieldExpr),
    /// `count_distinct(e)`: the number of different values.
    CountDistinct(FieldExpr),
    /// `quantile(e, q)`.
    Quantile(FieldExpr, f64),
}

/// An expression on one span.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldExpr {
    /// A constant.
    Literal(Literal),
    /// A field.
    Field(Field),
    /// `!e`.
    Not(Box<FieldExpr>),
    /// `-e`.
    Negate(Box<FieldExpr>),
    /// Two expressions joined.
    Binary(BinaryOp, Box<FieldExpr>, Box<FieldExpr>),
}

/// An operator between two expressions on a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `contains`
    Contains,
    /// `startsWith`
    StartsWith,
    /// `endsWith`
    EndsWith,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

/// A field of a span, or of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// Whether it is the field of the span's parent (`parent.`).
    pub of_parent: bool,
    /// Which field.
    pub name: FieldName,
}

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldName {
    /// What every span has.
    Intrinsic(Intrinsic),
    /// An attribute.
    Attribute(AttributeName),
}

/// The name of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttributeName {
    /// Where it is looked up.
    pub scope: Scope,
    /// Its key.
    pub key: String,
    /// Whether a part of it was quoted, so that older and newer names of the same attribute do not count.
    pub is_literal: bool,
}

/// Where an attribute is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `.key`: on the span or its resource.
    Any,
    /// `span.key`
    Span,
    /// `resource.key`
    Resource,
    /// `event.key`: on an event of the span.
    Event,
    /// `link.key`: on a link of the span.
    Link,
    /// `instrumentation.key`: on the span's scope.
    Instrumentation,
}

/// What every span has without an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    /// `span:duration`, `duration`
    Duration,
    /// `span:name`, `name`
    Name,
    /// `span:kind`, `kind`
    Kind,
    /// `span:status`, `status`
    Status,
    /// `span:statusMessage`, `statusMessage`
    StatusMessage,
    /// `span:id`
    SpanId,
    /// `span:parentID`
    ParentId,
    /// `span:childCount`, `childCount`
    ChildCount,
    /// `failed`: the span has failed, as every count of errors counts it.
    Failed,
    /// `root`: the span is the root of its trace.
    Root,
    /// `entry`: the span is the first of its segment.
    Entry,
    /// `trace:duration`, `traceDuration`
    TraceDuration,
    /// `trace:rootName`, `rootName`
    RootName,
    /// `trace:rootService`, `rootServiceName`
    RootService,
    /// `trace:id`
    TraceId,
    /// `event:name`
    EventName,
    /// `event:timeSinceStart`
    EventTimeSinceStart,
    /// `link:traceID`
    LinkTraceId,
    /// `link:spanID`
    LinkSpanId,
    /// `instrumentation:name`
    InstrumentationName,
    /// `instrumentation:version`
    InstrumentationVersion,
    /// `nestedSetLeft`: the number of the span when the tree is walked down, from 1.
    NestedSetLeft,
    /// `nestedSetRight`
    NestedSetRight,
    /// `nestedSetParent`: the parent's `nestedSetLeft`; -1 for spans that name no parent, 0 if the parent is missing.
    NestedSetParent,
    /// `parent`: the parent span; compared with nil alone.
    Parent,
    /// `mesh.request`: the span counts as a request where spans of proxies and of applications for the same request are
    /// counted once.
    MeshRequest,
    /// `mesh.role` and so on: what the proxies of a service mesh tell.
    Mesh(MeshField),
}

/// What a span tells of a service mesh, behind `mesh.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeshField {
    /// `mesh.role`: `"proxy-listener"`, `"proxy-attempt"` or `"app"`.
    Role,
    /// `mesh.proxy`: `"sidecar"`, `"gateway"` or `"waypoint"`.
    Proxy,
    /// `mesh.direction`: `"inbound"` or `"outbound"`.
    Direction,
    /// `mesh.workload`: the service, however its spans write its name.
    Workload,
    /// `mesh.namespace`
    Namespace,
    /// `mesh.instance`: the pod.
    Instance,
    /// `mesh.zone`
    Zone,
    /// `mesh.callee`: the service to which a proxy sends a request.
    Callee,
    /// `mesh.subset`: its version, if the proxy chose one.
    Subset,
    /// `mesh.upstream`: the address to which an attempt went.
    Upstream,
    /// `mesh.flags`: the response flags, each a value.
    Flags,
    /// `mesh.outcome`: `"ok"`, `"client-error"`, `"injected"`, `"abandoned"` or `"error"`.
    Outcome,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A string.
    String(String),
    /// `ok`, `error`, `unset`
    Status(Status),
    /// `server`, `client`, ...
    Kind(Kind),
}

/// A status as a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// `unset`
    Unset,
    /// `ok`
    Ok,
    /// `error`
    Error,
}

/// A kind as a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `unspecified`
    Unspecified,
    /// `internal`
    Internal,
    /// `server`
    Server,
    /// `client`
    Client,
    /// `producer`
    Producer,
    /// `consumer`
    Consumer,
}

/// Series over time, and what is computed from them.
#[derive(Debug, Clone, PartialEq)]
pub enum Metrics {
    /// `pipeline | rate() by(a)`.
    Fold {
        /// The spans that are counted.
        spans: Pipeline,
        /// What is computed of them for each step.
        function: MetricsFunction,
        /// The labels of the series.
        by: Vec<Field>,
    },
    /// `pipeline | compare({ selection }, topN, startNs, endNs)`.
    Compare {
        /// The spans that are compared.
        spans: Pipeline,
        /// The condition by which they are divided.
        selection: FieldExpr,
        /// The most values of each attribute.
        top: u32,
        /// The range of the selection; `None` for all of the query's.
        range: Option<(i64, i64)>,
    },
    /// A second stage: `series | topk(5)`.
    Second(Box<Metrics>, SecondStage),
    /// A constant between series.
    Scalar(f64),
    /// `(a) / (b)`, joined by labels.
    Arithmetic(BinaryOp, Box<Metrics>, Box<Metrics>),
}

/// What is computed of the spans of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricsFunction {
    /// Spans a second.
    Rate,
    /// The number of spans.
    CountOverTime,
    /// The smallest value.
    MinOverTime(FieldExpr),
    /// The largest value.
    MaxOverTime(FieldExpr),
    /// The sum of values.
    SumOverTime(FieldExpr),
    /// The mean of values.
    AvgOverTime(FieldExpr),
    /// Quantiles of values, each a series.
    QuantileOverTime(FieldExpr, Vec<f64>),
    /// Counts of values in buckets, each a series.
    HistogramOverTime(FieldExpr),
    /// The number of different values.
    CountDistinctOverTime(FieldExpr),
}

/// What is done with series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SecondStage {
    /// `topk(n)`: the largest n of each step.
    TopK(u32),
    /// `bottomk(n)`: the smallest n of each step.
    BottomK(u32),
    /// `top(n)`: the n series that are largest over the whole range, in that order.
    Top(u32),
    /// `bottom(n)`: the n series that are smallest over the whole range, in that order.
    Bottom(u32),
    /// `> 10`: the points for which the comparison holds. The number is in nanoseconds where a duration was written.
    Filter(BinaryOp, f64),
}
