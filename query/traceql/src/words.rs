//! The words and symbols of the language: what the parser looks up, the printer writes and completion offers.

use crate::ast::{
    AttributeName, BinaryOp, Intrinsic, Kind, Literal, MeshField, Relation, Scope, Status, StructuralResult,
};

/// How tightly an operator binds: a higher one is evaluated first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Binding {
    /// Takes every operator.
    Loosest,
    /// `&&` and `||`, which bind equally.
    Logic,
    /// Comparisons and structural operators.
    Comparison,
    /// `+` and `-`, also as a sign.
    Sum,
    /// `!`
    Not,
    /// `*`, `/` and `%`
    Product,
    /// `^`, which groups from the right.
    Power,
    /// Takes no operator.
    Tightest,
}

/// The operators between two values.
pub(crate) const OPERATORS: [(&str, BinaryOp, Binding); 19] = [
    ("||", BinaryOp::Or, Binding::Logic),
    ("&&", BinaryOp::And, Binding::Logic),
    ("=", BinaryOp::Eq, Binding::Comparison),
    ("!=", BinaryOp::Ne, Binding::Comparison),
    ("<", BinaryOp::Lt, Binding::Comparison),
    ("<=", BinaryOp::Le, Binding::Comparison),
    (">", BinaryOp::Gt, Binding::Comparison),
    (">=", BinaryOp::Ge, Binding::Comparison),
    ("=~", BinaryOp::Matches, Binding::Comparison),
    ("!~", BinaryOp::MatchesNot, Binding::Comparison),
    ("contains", BinaryOp::Contains, Binding::Comparison),
    ("startsWith", BinaryOp::StartsWith, Binding::Comparison),
    ("endsWith", BinaryOp::EndsWith, Binding::Comparison),
    ("+", BinaryOp::Add, Binding::Sum),
    ("-", BinaryOp::Sub, Binding::Sum),
    ("*", BinaryOp::Mul, Binding::Product),
    ("/", BinaryOp::Div, Binding::Product),
    ("%", BinaryOp::Mod, Binding::Product),
    ("^", BinaryOp::Pow, Binding::Power),
];

/// The operators between two sets of spans, besides `&&` and `||`.
pub(crate) const STRUCTURAL: [(&str, Relation, StructuralResult); 15] = [
    (">", Relation::Child, StructuralResult::Right),
    ("<", Relation::Parent, StructuralResult::Right),
    (">>", Relation::Descendant, StructuralResult::Right),
    ("<<", Relation::Ancestor, StructuralResult::Right),
    ("~", Relation::Sibling, StructuralResult::Right),
    ("!>", Relation::Child, StructuralResult::RightWithout),
    ("!<", Relation::Parent, StructuralResult::RightWithout),
    ("!>>", Relation::Descendant, StructuralResult::RightWithout),
    ("!<<", Relation::Ancestor, StructuralResult::RightWithout),
    ("!~", Relation::Sibling, StructuralResult::RightWithout),
    ("&>", Relation::Child, StructuralResult::Both),
    ("&<", Relation::Parent, StructuralResult::Both),
    ("&>>", Relation::Descendant, StructuralResult::Both),
    ("&<<", Relation::Ancestor, StructuralResult::Both),
    ("&~", Relation::Sibling, StructuralResult::Both),
];

/// The scopes of attributes, as they are written in front of the dot.
pub(crate) const SCOPES: [(&str, Scope); 6] = [
    ("", Scope::Any),
    ("span", Scope::Span),
    ("resource", Scope::Resource),
    ("event", Scope::Event),
    ("link", Scope::Link),
    ("instrumentation", Scope::Instrumentation),
];

/// The intrinsics with their names. The first name is the one that is printed.
pub(crate) const INTRINSICS: [(Intrinsic, &[&str]); 38] = [
    (Intrinsic::Duration, &["duration", "span:duration"]),
    (Intrinsic::Name, &["name", "span:name"]),
    (Intrinsic::Kind, &["kind", "span:kind"]),
    (Intrinsic::Status, &["status", "span:status"]),
    (Intrinsic::StatusMessage, &["statusMessage", "span:statusMessage"]),
    (Intrinsic::SpanId, &["span:id"]),
    (Intrinsic::ParentId, &["span:parentID"]),
    (Intrinsic::ChildCount, &["span:childCount", "childCount"]),
    (Intrinsic::Failed, &["failed", "span:failed"]),
    (Intrinsic::Root, &["root", "span:root"]),
    (Intrinsic::Entry, &["entry", "span:entry"]),
    (Intrinsic::TraceDuration, &["trace:duration", "traceDuration"]),
    (Intrinsic::RootName, &["trace:rootName", "rootName"]),
    (Intrinsic::RootService, &["trace:rootService", "rootServiceName"]),
    (Intrinsic::TraceId, &["trace:id"]),
    (Intrinsic::EventName, &["event:name"]),
    (Intrinsic::EventTimeSinceStart, &["event:timeSinceStart"]),
    (Intrinsic::LinkTraceId, &["link:traceID"]),
    (Intrinsic::LinkSpanId, &["link:spanID"]),
    (Intrinsic::InstrumentationName, &["instrumentation:name"]),
    (Intrinsic::InstrumentationVersion, &["instrumentation:version"]),
    (Intrinsic::NestedSetLeft, &["nestedSetLeft"]),
    (Intrinsic::NestedSetRight, &["nestedSetRight"]),
    (Intrinsic::NestedSetParent, &["nestedSetParent"]),
    (Intrinsic::Parent, &["parent"]),
    (Intrinsic::MeshRequest, &["mesh.request"]),
    (Intrinsic::Mesh(MeshField::Role), &["mesh.role"]),
    (Intrinsic::Mesh(MeshField::Proxy), &["mesh.proxy"]),
    (Intrinsic::Mesh(MeshField::Direction), &["mesh.direction"]),
    (Intrinsic::Mesh(MeshField::Workload), &["mesh.workload"]),
    (Intrinsic::Mesh(MeshField::Namespace), &["mesh.namespace"]),
    (Intrinsic::Mesh(MeshField::Instance), &["mesh.instance"]),
    (Intrinsic::Mesh(MeshField::Zone), &["mesh.zone"]),
    (Intrinsic::Mesh(MeshField::Callee), &["mesh.callee"]),
    (Intrinsic::Mesh(MeshField::Subset), &["mesh.subset"]),
    (Intrinsic::Mesh(MeshField::Upstream), &["mesh.upstream"]),
    (Intrinsic::Mesh(MeshField::Flags), &["mesh.flags"]),
    (Intrinsic::Mesh(MeshField::Outcome), &["mesh.outcome"]),
];

/// What stands in front of the dot of fields of a mesh.
pub(crate) const MESH: &str = "mesh";

/// Intrinsics whose short name stands behind `parent.`; another name there is that of an attribute.
const SHORT_OF_PARENT: [Intrinsic; 5] =
    [Intrinsic::Duration, Intrinsic::Name, Intrinsic::Kind, Intrinsic::Status, Intrinsic::StatusMessage];

/// The constants that are words.
pub(crate) const CONSTANTS: [(&str, Literal); 14] = [
    ("nil", Literal::Nil),
    ("true", Literal::Bool(true)),
    ("false", Literal::Bool(false)),
    ("ok", Literal::Status(Status::Ok)),
    ("error", Literal::Status(Status::Error)),
    ("unset", Literal::Status(Status::Unset)),
    ("unspecified", Literal::Kind(Kind::Unspecified)),
    ("internal", Literal::Kind(Kind::Internal)),
    ("server", Literal::Kind(Kind::Server)),
    ("client", Literal::Kind(Kind::Client)),
    ("producer", Literal::Kind(Kind::Producer)),
    ("consumer", Literal::Kind(Kind::Consumer)),
    ("minInt", Literal::Int(i64::MIN)),
    ("maxInt", Literal::Int(i64::MAX)),
];

/// Stages of pipelines.
pub(crate) const STAGES: [&str; 3] = ["by", "select", "coalesce"];

/// Functions of a set of spans that give a number.
pub(crate) const AGGREGATES: [&str; 7] = ["count", "min", "max", "sum", "avg", "count_distinct", "quantile"];

/// Statements on a whole trace.
pub(crate) const QUANTIFIERS: [&str; 2] = ["none", "all"];

/// Functions over time that count spans.
pub(crate) const COUNTS: [&str; 2] = ["rate", "count_over_time"];

/// Functions over time of the values of an expression.
pub(crate) const FOLDS: [&str; 7] = [
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "avg_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "count_distinct_over_time",
];

/// The function that divides spans and compares their attributes.
pub(crate) const COMPARE: &str = "compare";

/// What is done with series.
pub(crate) const SECOND_STAGES: [&str; 4] = ["topk", "bottomk", "top", "bottom"];

/// What an operator is called, and how it binds.
pub(crate) fn operator(op: BinaryOp) -> (&'static str, Binding) {
    let found = OPERATORS.iter().find(|(_, known, _)| *known == op);
    found.map_or(("", Binding::Tightest), |(text, _, binding)| (text, *binding))
}

/// The operator that is written like this, and how it binds.
pub(crate) fn operator_named(text: &str) -> Option<(BinaryOp, Binding)> {
    OPERATORS.iter().find(|(known, ..)| *known == text).map(|(_, op, binding)| (*op, *binding))
}

/// Whether an operator compares two values by their order or by equality.
pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
    matches!(op, Eq | Ne | Lt | Le | Gt | Ge)
}

/// What a structural operator is called.
pub(crate) fn structural(relation: Relation, result: StructuralResult) -> &'static str {
    let found = STRUCTURAL.iter().find(|(_, of, gives)| (*of, *gives) == (relation, result));
    found.map_or("", |(text, _, _)| text)
}

/// The structural operator that is written like this.
pub(crate) fn structural_named(text: &str) -> Option<(Relation, StructuralResult)> {
    STRUCTURAL.iter().find(|(known, ..)| *known == text).map(|(_, relation, result)| (*relation, *result))
}

/// What a scope is called.
pub(crate) fn scope(scope: Scope) -> &'static str {
    SCOPES.iter().find(|(_, known)| *known == scope).map_or("", |(name, _)| name)
}

/// The scope of this name.
pub(crate) fn scope_named(name: &str) -> Option<Scope> {
    SCOPES.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
}

/// The name of an intrinsic that is printed.
pub(crate) fn intrinsic(intrinsic: Intrinsic) -> &'static str {
    names(intrinsic).first().copied().unwrap_or_default()
}

/// The name that is printed behind `parent.`.
pub(crate) fn intrinsic_of_parent(of: Intrinsic) -> &'static str {
    let scoped = names(of).iter().find(|name| name.contains(':'));
    if is_short_of_parent(of) { intrinsic(of) } else { scoped.copied().unwrap_or_default() }
}

/// The intrinsic of this name.
pub(crate) fn intrinsic_named(name: &str) -> Option<Intrinsic> {
    INTRINSICS.iter().find(|(_, names)| names.contains(&name)).map(|(intrinsic, _)| *intrinsic)
}

/// The intrinsic of this name behind `parent.`.
pub(crate) fn intrinsic_of_parent_named(name: &str) -> Option<Intrinsic> {
    intrinsic_named(name).filter(|found| name.contains(':') || is_short_of_parent(*found))
}

fn is_short_of_parent(intrinsic: Intrinsic) -> bool {
    matches!(intrinsic, Intrinsic::Mesh(_) | Intrinsic::MeshRequest) || SHORT_OF_PARENT.contains(&intrinsic)
}

/// Whether an attribute without a scope, written behind `parent.`, would be read as something else: an intrinsic of this
/// name, or an attribute of the scope that its key begins with.
pub(crate) fn is_taken_of_parent(name: &AttributeName) -> bool {
    let scope = name.key.split_once('.').map(|(scope, _)| scope);
    let is_plain = !name.is_literal && name.key.chars().all(is_attribute_char);
    let is_scoped = scope.is_some_and(|scope| scope == MESH || scope_named(scope).is_some());
    is_plain && (is_scoped || intrinsic_of_parent_named(&name.key).is_some())
}

/// The constant of this name.
pub(crate) fn constant_named(name: &str) -> Option<Literal> {
    CONSTANTS.iter().find(|(known, _)| *known == name).map(|(_, constant)| constant.clone())
}

/// What a constant is called, if it is a word.
pub(crate) fn constant(literal: &Literal) -> Option<&'static str> {
    CONSTANTS.iter().find(|(_, known)| known == literal).map(|(name, _)| *name)
}

/// Whether this is a function that makes series of spans.
pub(crate) fn is_over_time(name: &str) -> bool {
    COUNTS.contains(&name) || FOLDS.contains(&name) || name == COMPARE
}

/// Whether this is a function that stands in a pipeline, and not in braces.
pub(crate) fn is_function(name: &str) -> bool {
    let others = [STAGES.as_slice(), &AGGREGATES, &QUANTIFIERS, &SECOND_STAGES];
    is_over_time(name) || others.iter().any(|names| names.contains(&name))
}

/// Whether a name of an attribute may contain this character without quotes.
pub(crate) fn is_attribute_char(c: char) -> bool {
    !c.is_whitespace() && !"{}()=~!<>&|^,\"".contains(c)
}

fn names(intrinsic: Intrinsic) -> &'static [&'static str] {
    INTRINSICS.iter().find(|(known, _)| *known == intrinsic).map_or(&[], |(_, names)| names)
}
