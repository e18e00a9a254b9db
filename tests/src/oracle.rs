//! Computes the expected answers: the rules of the contract, applied to plain lists of spans, one by one.
//!
//! The code is meant to be obviously right. It shares nothing with the store but the plans and the answers.

pub mod edges;

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_proto::{SpanId, TraceId, UnixNanos};
use spandrel_storage::plan::{
    AggregatePlan, AttributeScope, Comparison, Field, KindFilter, Literal, Order, Predicate, SearchPlan,
};
use spandrel_storage::{Operation, ServiceCount};

use crate::spans::Sent;

/// One trace of an answer, with the fields that the oracle computes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Summary {
    pub id: TraceId,
    pub root_service: String,
    pub root_name: String,
    pub status: StatusCode,
    pub start: u64,
    pub duration: u64,
    pub span_count: u64,
    pub error_count: u64,
    pub services: Vec<ServiceCount>,
    pub matched_span_ids: Vec<SpanId>,
    pub matched_span_count: u64,
}

/// One point of an aggregate with all durations in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Counted {
    pub requests: u64,
    pub errors: u64,
    pub durations: Vec<u64>,
}

/// The key of a point of a series: service, operation, kind, time.
pub type PointKey = (Option<String>, Option<String>, Option<SpanKind>, u64);

// === single spans ===

/// The service of a span.
pub fn service(sent: &Sent) -> &str {
    let attributes = sent.resource.resource.iter().flat_map(|resource| &resource.attributes);
    let mut names = attributes.filter(|a| a.key == "service.name").filter_map(|a| match value(a) {
        Some(Value::StringValue(name)) => Some(name.as_str()),
        _ => None,
    });
    names.next_back().filter(|name| !name.is_empty()).unwrap_or("unknown_service")
}

/// Whether a span has failed.
pub fn failed(sent: &Sent) -> bool {
    match status(sent) {
        StatusCode::Error => true,
        StatusCode::Ok => false,
        StatusCode::Unset => {
            let last = sent.span.attributes.iter().rfind(|attribute| attribute.key == "error");
            match last.and_then(value) {
                Some(Value::BoolValue(flag)) => *flag,
                Some(Value::StringValue(text)) => text == "true",
                _ => false,
            }
        }
    }
}

/// The status as sent.
pub fn status(sent: &Sent) -> StatusCode {
    StatusCode::from_raw(sent.span.status.as_ref().map_or(0, |status| status.code))
}

/// The kind; unknown ones read as unspecified.
pub fn kind(sent: &Sent) -> SpanKind {
    match SpanKind::from_raw(sent.span.kind) {
        SpanKind::Other(_) => SpanKind::Unspecified,
        known => known,
    }
}

/// Whether the span has a parent.
pub fn has_parent(sent: &Sent) -> bool {
    sent.span.parent_span_id.iter().any(|byte| *byte != 0)
}

fn value(attribute: &KeyValue) -> Option<&Value> {
    attribute.value.as_ref().and_then(|value| value.value.as_ref())
}

/// Whether a span satisfies a predicate.
pub fn matches(predicate: &Predicate, sent: &Sent) -> bool {
    match predicate {
        Predicate::All => true,
        Predicate::And(parts) => parts.iter().all(|part| matches(part, sent)),
        Predicate::Or(parts) => parts.iter().any(|part| matches(part, sent)),
        Predicate::Compare(field, comparison) => {
            found(field, sent).iter().any(|found| found.satisfies(comparison))
        }
        Predicate::Exists(field) => !found(field, sent).is_empty(),
        Predicate::Absent(field) => found(field, sent).is_empty(),
    }
}

/// A value that a span has for a field.
enum Found {
    One(Literal),
    /// The elements of an array that can be compared with a literal.
    Array(Vec<Literal>),
    /// A value that cannot be compared with a literal.
    Other,
}

impl Found {
    fn satisfies(&self, comparison: &Comparison) -> bool {
        match (self, comparison) {
            (Self::One(literal), _) => holds(comparison, literal),
            (Self::Array(elements), Comparison::Ne(unwanted)) => {
                let unwanted = Comparison::Eq(unwanted.clone());
                !elements.iter().any(|element| holds(&unwanted, element))
            }
            (Self::Array(elements), Comparison::MatchesNot(unwanted)) => {
                let unwanted = Comparison::Matches(unwanted.clone());
                !elements.iter().any(|element| holds(&unwanted, element))
            }
            (Self::Array(elements), _) => elements.iter().any(|element| holds(comparison, element)),
            (Self::Other, _) => false,
        }
    }
}

fn found(field: &Field, sent: &Sent) -> Vec<Found> {
    match field {
        Field::Name => vec![Found::One(Literal::String(sent.span.name.clone()))],
        Field::Duration => vec![Found::One(Literal::Int(i64::try_from(sent.duration()).unwrap_or(i64::MAX)))],
        Field::Status => vec![Found::One(Literal::Status(status(sent)))],
        Field::Kind => vec![Found::One(Literal::Kind(kind(sent)))],
        Field::Failed => vec![Found::One(Literal::Bool(failed(sent)))],
        Field::Parentless => {
            let is_parentless = sent.span.parent_span_id.iter().all(|byte| *byte == 0);
            vec![Found::One(Literal::Bool(is_parentless))]
        }
        Field::Attribute(scope, key) => {
            let mut found = Vec::new();
            if *scope != AttributeScope::Resource {
                found.extend(sent.span.attributes.iter().filter(|a| a.key == *key).map(found_in));
            }
            if *scope != AttributeScope::Span && key == "service.name" {
                found.push(Found::One(Literal::String(service(sent).to_owned())));
            } else if *scope != AttributeScope::Span {
                let attributes = sent.resource.resource.iter().flat_map(|resource| &resource.attributes);
                found.extend(attributes.filter(|a| a.key == *key).map(found_in));
            }
            found
        }
    }
}

fn found_in(attribute: &KeyValue) -> Found {
    match value(attribute) {
        Some(Value::ArrayValue(array)) => {
            let elements = array.values.iter().filter_map(|element| element.value.as_ref());
            Found::Array(elements.filter_map(literal).collect())
        }
        one => one.and_then(literal).map_or(Found::Other, Found::One),
    }
}

fn literal(value: &Value) -> Option<Literal> {
    match value {
        Value::StringValue(text) => Some(Literal::String(text.clone())),
        Value::BoolValue(flag) => Some(Literal::Bool(*flag)),
        Value::IntValue(int) => Some(Literal::Int(*int)),
        Value::DoubleValue(double) => Some(Literal::Float(*double)),
        _ => None,
    }
}

fn holds(comparison: &Comparison, found: &Literal) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    if let (Literal::String(text), true) = (found, names_number(comparison)) {
        return number(text).is_some_and(|number| holds(comparison, &number));
    }
    let order = |wanted: &Literal| match (found, wanted) {
        (Literal::String(a), Literal::String(b)) => Some(a.cmp(b)),
        (Literal::Int(a), Literal::Int(b)) => Some(a.cmp(b)),
        (Literal::Int(a), Literal::Float(b)) => (*a as f64).partial_cmp(b),
        (Literal::Float(a), Literal::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Literal::Float(a), Literal::Float(b)) => a.partial_cmp(b),
        (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => {
            // Values without an order are equal or not.
            (a == b).then_some(Equal).or(matches!(comparison, Comparison::Ne(_)).then_some(Less))
        }
        _ => None,
    };
    match comparison {
        Comparison::Eq(wanted) => order(wanted) == Some(Equal),
        Comparison::Ne(wanted) => order(wanted).is_some_and(|order| order != Equal),
        Comparison::Lt(wanted) if is_ordered(found) => order(wanted) == Some(Less),
        Comparison::Le(wanted) if is_ordered(found) => matches!(order(wanted), Some(Less | Equal)),
        Comparison::Gt(wanted) if is_ordered(found) => order(wanted) == Some(Greater),
        Comparison::Ge(wanted) if is_ordered(found) => matches!(order(wanted), Some(Greater | Equal)),
        Comparison::Matches(regex) => matches!(found, Literal::String(text) if regex.is_match(text)),
        Comparison::MatchesNot(regex) => matches!(found, Literal::String(text) if !regex.is_match(text)),
        Comparison::Contains(part) => matches!(found, Literal::String(text) if text.contains(part)),
        Comparison::StartsWith(part) => matches!(found, Literal::String(text) if text.starts_with(part)),
        Comparison::EndsWith(part) => matches!(found, Literal::String(text) if text.ends_with(part)),
        _ => false,
    }
}

/// Whether the right operand is a number.
fn names_number(comparison: &Comparison) -> bool {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    let (Eq(literal) | Ne(literal) | Lt(literal) | Le(literal) | Gt(literal) | Ge(literal)) = comparison
    else {
        return false;
    };
    matches!(literal, Literal::Int(_) | Literal::Float(_))
}

/// The number that is written in this way and no other.
fn number(text: &str) -> Option<Literal> {
    let int = text.parse::<i64>().ok().filter(|int| int.to_string() == text).map(Literal::Int);
    let double =
        || text.parse::<f64>().ok().filter(|double| double.is_finite() && double.to_string() == text);
    int.or_else(|| double().map(Literal::Float))
}

fn is_ordered(literal: &Literal) -> bool {
    matches!(literal, Literal::String(_) | Literal::Int(_) | Literal::Float(_))
}

// === lists of spans ===

/// The spans without duplicates: equal in resource, scope and every field, whatever defaults are spelled out.
pub fn distinct(spans: &[Sent]) -> Vec<Sent> {
    let mut kept: Vec<Sent> = Vec::new();
    for sent in spans {
        if !kept.iter().any(|known| known.says_only() == sent.says_only()) {
            kept.push(sent.clone());
        }
    }
    kept
}

/// The spans of one trace without duplicates, by (start, span ID).
pub fn trace(spans: &[Sent], id: TraceId) -> Vec<Sent> {
    let own: Vec<Sent> = spans.iter().filter(|sent| sent.trace() == id).cloned().collect();
    let mut own = distinct(&own);
    own.sort_by_key(|sent| (sent.start(), sent.id()));
    own
}

/// All traces with a matching span in range, in the order of the plan; limit and cursor are ignored.
pub fn search(spans: &[Sent], plan: &SearchPlan) -> Vec<Summary> {
    let ids: BTreeSet<TraceId> = spans.iter().map(Sent::trace).collect();
    let summaries = ids.into_iter().map(|id| summarise(id, &trace(spans, id), plan));
    let mut found: Vec<Summary> = summaries.filter(|summary| summary.matched_span_count > 0).collect();
    let key = |summary: &Summary| match plan.order {
        Order::Newest => summary.start,
        Order::Oldest => !summary.start,
        Order::Longest => summary.duration,
        Order::Shortest => !summary.duration,
        Order::MostSpans => summary.span_count,
        Order::MostErrors => summary.error_count,
    };
    found.sort_by_key(|summary| std::cmp::Reverse((key(summary), summary.id)));
    found
}

/// Summarises one trace from all its spans in order.
pub fn summarise(id: TraceId, spans: &[Sent], plan: &SearchPlan) -> Summary {
    let in_range = |sent: &&Sent| plan.range.contains(UnixNanos(sent.start()));
    let matched: Vec<SpanId> =
        spans.iter().filter(in_range).filter(|sent| matches(&plan.predicate, sent)).map(Sent::id).collect();
    let orphan = |sent: &&Sent| !spans.iter().any(|other| other.span.span_id == sent.span.parent_span_id);
    let root = spans.iter().find(|sent| !has_parent(sent)).or_else(|| spans.iter().find(orphan));
    let root = root.unwrap_or(&spans[0]);
    let start = spans.iter().map(Sent::start).min().unwrap();
    let end = spans.iter().map(|sent| sent.start() + sent.duration()).max().unwrap();
    let mut services: BTreeMap<&str, ServiceCount> = BTreeMap::new();
    for sent in spans {
        let name = service(sent);
        let empty = || ServiceCount { name: name.to_owned(), span_count: 0, error_count: 0 };
        let count = services.entry(name).or_insert_with(empty);
        count.span_count += 1;
        count.error_count += u64::from(failed(sent));
    }
    Summary {
        id,
        root_service: service(root).to_owned(),
        root_name: root.span.name.clone(),
        status: status(root),
        start,
        duration: end - start,
        span_count: spans.len() as u64,
        error_count: spans.iter().filter(|sent| failed(sent)).count() as u64,
        services: services.into_values().collect(),
        matched_span_count: matched.len() as u64,
        matched_span_ids: matched.into_iter().take(20).collect(),
    }
}

/// Counts spans by series and step.
pub fn aggregate(spans: &[Sent], plan: &AggregatePlan) -> BTreeMap<PointKey, Counted> {
    let mut points: BTreeMap<PointKey, Counted> = BTreeMap::new();
    for sent in spans {
        let kind = kind(sent);
        let counts = match plan.kind {
            KindFilter::Any => true,
            KindFilter::Only(wanted) => kind == wanted,
            KindFilter::Requests => {
                !has_parent(sent) || matches!(kind, SpanKind::Server | SpanKind::Consumer)
            }
        };
        let wanted = counts
            && plan.range.contains(UnixNanos(sent.start()))
            && plan.service.as_deref().is_none_or(|wanted| wanted == service(sent))
            && plan.operation.as_deref().is_none_or(|wanted| wanted == sent.span.name);
        if !wanted {
            continue;
        }
        let key = (
            plan.group_by.service.then(|| service(sent).to_owned()),
            plan.group_by.operation.then(|| sent.span.name.clone()),
            plan.group_by.kind.then_some(kind),
            sent.start() - sent.start() % plan.step,
        );
        let point = points.entry(key).or_default();
        point.requests += 1;
        point.errors += u64::from(failed(sent));
        point.durations.push(sent.duration());
    }
    points
}

/// The names of all services.
pub fn services(spans: &[Sent]) -> Vec<String> {
    let names: BTreeSet<String> = spans.iter().map(|sent| service(sent).to_owned()).collect();
    names.into_iter().collect()
}

/// The operations of a service.
pub fn operations(spans: &[Sent], of: &str) -> Vec<Operation> {
    let own = spans.iter().filter(|sent| service(sent) == of);
    let found: BTreeSet<Operation> =
        own.map(|sent| Operation { name: sent.span.name.clone(), kind: kind(sent) }).collect();
    found.into_iter().collect()
}

/// Compares with a summary of the store.
impl PartialEq<spandrel_storage::TraceSummary> for Summary {
    fn eq(&self, other: &spandrel_storage::TraceSummary) -> bool {
        let known = Self {
            id: other.id,
            root_service: other.root_service.clone(),
            root_name: other.root_name.clone(),
            status: other.status,
            start: other.start.0,
            duration: other.duration,
            span_count: other.span_count,
            error_count: other.error_count,
            services: other.services.clone(),
            matched_span_ids: other.matched_span_ids.clone(),
            matched_span_count: other.matched_span_count,
        };
        *self == known
    }
}
