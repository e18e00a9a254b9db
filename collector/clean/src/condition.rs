//! The condition of a rule: TraceQL on one span, its resource and its scope, compiled so that what the resource alone
//! decides is decided once for each resource.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use spandrel_block::semantics;
use spandrel_proto::otlp::{
    Attributes, EventView, LinkView, ResourceView, ScopeView, SpanKind, SpanView, StatusCode,
};
use spandrel_traceql::ast::{BinaryOp, Kind, Status};

use crate::facts::{Facts, Keys, in_part, text_in};
use crate::value::{Scalar, Test, arithmetic, compare, negate};

/// What has to be true of a span.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Constant(bool),
    /// By its number, a condition that the resource alone decides.
    OfResource(usize),
    Test(Place, Test),
    Exists(Place),
    Compare(BinaryOp, Expr, Expr),
    IsNil(Expr),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// An expression with a value.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Literal(Scalar<'static>),
    /// The first value of any of these places.
    Places(Vec<Place>),
    Condition(Box<Node>),
    Negate(Box<Expr>),
    Arithmetic(BinaryOp, Box<Expr>, Box<Expr>),
}

/// Where values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Name,
    Duration,
    Kind,
    Status,
    StatusMessage,
    Failed,
    TraceId,
    SpanId,
    ParentId,
    /// Whether the span names no parent.
    Parentless,
    ScopeName,
    ScopeVersion,
    EventName,
    EventTime,
    LinkTraceId,
    LinkSpanId,
    /// An attribute of the span, by the number of its key.
    Span(usize),
    Resource(String),
    Scope(String),
    Event(String),
    Link(String),
}

/// The conditions on resources of all rules.
#[derive(Debug, Default)]
pub(crate) struct ResourceConditions {
    nodes: Vec<Node>,
    known: FxHashMap<String, usize>,
}

/// One span as conditions see it.
pub(crate) struct View<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) facts: &'a Facts,
    pub(crate) span: &'a [u8],
    pub(crate) trace_id: spandrel_proto::TraceId,
    pub(crate) resource: &'a [u8],
    pub(crate) scope: &'a [u8],
    /// For each condition on resources, whether it holds.
    pub(crate) of_resource: &'a [bool],
}

const SERVICE_NAME: &str = "service.name";

// === impl ResourceConditions ===

impl ResourceConditions {
    /// The same condition, with its parts that the resource alone decides by number.
    pub(crate) fn extract(&mut self, node: Node) -> Node {
        if matches!(node, Node::Constant(_)) {
            return node;
        }
        if node.is_of_resource() {
            // Equal conditions of several rules are decided once.
            let nodes = &mut self.nodes;
            let number = *self.known.entry(format!("{node:?}")).or_insert_with(|| {
                nodes.push(node);
                nodes.len() - 1
            });
            return Node::OfResource(number);
        }
        let all = |conditions: &mut Self, parts: Vec<Node>| {
            parts.into_iter().map(|part| conditions.extract(part)).collect()
        };
        match node {
            Node::Not(inner) => Node::Not(Box::new(self.extract(*inner))),
            Node::And(parts) => Node::And(all(self, parts)),
            Node::Or(parts) => Node::Or(all(self, parts)),
            node => node,
        }
    }

    /// For each condition, whether it holds for a resource.
    pub(crate) fn decide(&self, resource: &[u8]) -> Vec<bool> {
        let (keys, facts) = (Keys::default(), Facts::default());
        let trace_id = Default::default();
        let view =
            View { keys: &keys, facts: &facts, span: &[], trace_id, resource, scope: &[], of_resource: &[] };
        self.nodes.iter().map(|node| view.holds(node)).collect()
    }
}

// === impl Node ===

impl Node {
    fn is_of_resource(&self) -> bool {
        match self {
            Self::Constant(_) | Self::OfResource(_) => true,
            Self::Test(place, _) | Self::Exists(place) => place.is_of_resource(),
            Self::Compare(_, left, right) => left.is_of_resource() && right.is_of_resource(),
            Self::IsNil(expr) => expr.is_of_resource(),
            Self::Not(inner) => inner.is_of_resource(),
            Self::And(parts) | Self::Or(parts) => parts.iter().all(Self::is_of_resource),
        }
    }

    /// The attributes of a span of which it has to have one, if the condition is to hold; `None` if it may without.
    pub(crate) fn needs(&self) -> Option<Vec<usize>> {
        match self {
            Self::Test(Place::Span(slot), _) | Self::Exists(Place::Span(slot)) => Some(vec![*slot]),
            Self::And(parts) => parts.iter().filter_map(Self::needs).min_by_key(Vec::len),
            Self::Or(parts) => {
                let all: Option<Vec<_>> = parts.iter().map(Self::needs).collect();
                all.map(|all| all.concat())
            }
            Self::Constant(false) => Some(Vec::new()),
            _ => None,
        }
    }

    /// What is known of the condition when the resource is; `None` if it depends on the span.
    pub(crate) fn outlook(&self, of_resource: &[bool]) -> Option<bool> {
        match self {
            Self::Constant(holds) => Some(*holds),
            Self::OfResource(number) => Some(of_resource[*number]),
            Self::Not(inner) => inner.outlook(of_resource).map(|holds| !holds),
            Self::And(parts) => joined(parts, of_resource, true),
            Self::Or(parts) => joined(parts, of_resource, false),
            Self::Test(..) | Self::Exists(_) | Self::Compare(..) | Self::IsNil(_) => None,
        }
    }
}

/// All of the parts hold, or any of them, as far as it is known.
fn joined(parts: &[Node], of_resource: &[bool], all: bool) -> Option<bool> {
    let mut known = Some(all);
    for part in parts {
        match part.outlook(of_resource) {
            Some(holds) if holds == all => {}
            Some(holds) => return Some(holds),
            None => known = None,
        }
    }
    known
}

// === impl Expr, Place ===

impl Expr {
    fn is_of_resource(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Places(places) => places.iter().all(Place::is_of_resource),
            Self::Condition(node) => node.is_of_resource(),
            Self::Negate(inner) => inner.is_of_resource(),
            Self::Arithmetic(_, left, right) => left.is_of_resource() && right.is_of_resource(),
        }
    }
}

impl Place {
    fn is_of_resource(&self) -> bool {
        matches!(self, Self::Resource(_))
    }
}

// === impl View ===

impl<'a> View<'a> {
    pub(crate) fn holds(&self, node: &Node) -> bool {
        match node {
            Node::Constant(holds) => *holds,
            Node::OfResource(number) => self.of_resource[*number],
            Node::Test(place, test) => self.any(place, &mut |value| test.holds(value)),
            Node::Exists(place) => self.any(place, &mut |_| true),
            Node::Compare(op, left, right) => compare(*op, &self.value(left), &self.value(right)),
            Node::IsNil(expr) => self.value(expr) == Scalar::Nil,
            Node::Not(inner) => !self.holds(inner),
            Node::And(parts) => parts.iter().all(|part| self.holds(part)),
            Node::Or(parts) => parts.iter().any(|part| self.holds(part)),
        }
    }

    fn value(&self, expr: &Expr) -> Scalar<'a> {
        match expr {
            Expr::Literal(literal) => literal.clone(),
            Expr::Places(places) => places.iter().find_map(|place| self.first(place)).unwrap_or(Scalar::Nil),
            Expr::Condition(node) => Scalar::Bool(self.holds(node)),
            Expr::Negate(inner) => negate(&self.value(inner)),
            Expr::Arithmetic(op, left, right) => arithmetic(*op, &self.value(left), &self.value(right)),
        }
    }

    /// Whether `holds` is true for any value of a place.
    #[inline]
    fn any(&self, place: &Place, holds: &mut dyn FnMut(&Scalar<'_>) -> bool) -> bool {
        match place {
            Place::Span(slot) => {
                self.facts.any_value(self.span, self.keys, *slot, |value| holds(&Scalar::of_value(value)))
            }
            Place::Scope(key) => {
                ScopeView::parse(self.scope).is_ok_and(|scope| any_attribute(scope.attributes(), key, holds))
            }
            Place::Event(key) => {
                self.facts.has_events
                    && self.events().any(|event| any_attribute(event.attributes(), key, holds))
            }
            Place::Link(key) => {
                self.facts.has_links && self.links().any(|link| any_attribute(link.attributes(), key, holds))
            }
            Place::EventName => self.events().any(|event| holds(&text(event.name))),
            Place::EventTime => self.events().any(|event| holds(&self.since_start(&event))),
            Place::LinkTraceId => self.links().any(|link| holds(&id(link.trace_id))),
            Place::LinkSpanId => self.links().any(|link| holds(&id(link.span_id))),
            Place::Resource(key) if key != SERVICE_NAME => ResourceView::parse(self.resource)
                .is_ok_and(|resource| any_attribute(resource.attributes(), key, holds)),
            _ => self.first(place).is_some_and(|value| holds(&value)),
        }
    }

    fn first(&self, place: &Place) -> Option<Scalar<'a>> {
        let facts = self.facts;
        Some(match place {
            Place::Name => text(text_in(self.span, facts.name)),
            Place::Duration => {
                Scalar::Int(i64::try_from(facts.end.saturating_sub(facts.start)).unwrap_or(i64::MAX))
            }
            Place::Kind => Scalar::Kind(kind(facts.raw_kind)),
            Place::Status => Scalar::Status(status(facts.raw_status)),
            Place::StatusMessage => text(text_in(self.span, facts.status_message)),
            Place::Failed => {
                let span = SpanView::parse(self.span).ok()?;
                Scalar::Bool(semantics::has_failed(&span).unwrap_or_default())
            }
            Place::TraceId => Scalar::Text(Cow::Owned(self.trace_id.to_string())),
            Place::SpanId => id(in_part(self.span, facts.span_id)),
            Place::ParentId => {
                let parent = in_part(self.span, facts.parent_id);
                if semantics::is_parentless(parent) { text("") } else { id(parent) }
            }
            Place::Parentless => Scalar::Bool(semantics::is_parentless(in_part(self.span, facts.parent_id))),
            Place::ScopeName => text(ScopeView::parse(self.scope).ok()?.name),
            Place::ScopeVersion => text(ScopeView::parse(self.scope).ok()?.version),
            Place::EventName => text(self.events().next()?.name),
            Place::EventTime => self.since_start(&self.events().next()?),
            Place::LinkTraceId => id(self.links().next()?.trace_id),
            Place::LinkSpanId => id(self.links().next()?.span_id),
            Place::Span(slot) => Scalar::of_value(facts.first_value(self.span, self.keys, *slot)?),
            // Resources without a service have the name that users see and query.
            Place::Resource(key) if key == SERVICE_NAME => {
                text(semantics::service_name(&ResourceView::parse(self.resource).ok()?))
            }
            Place::Resource(key) => {
                first_attribute(ResourceView::parse(self.resource).ok()?.attributes(), key)?
            }
            Place::Scope(key) => first_attribute(ScopeView::parse(self.scope).ok()?.attributes(), key)?,
            Place::Event(key) => self.events().find_map(|event| first_attribute(event.attributes(), key))?,
            Place::Link(key) => self.links().find_map(|link| first_attribute(link.attributes(), key))?,
        })
    }

    fn events(&self) -> impl Iterator<Item = EventView<'a>> + use<'a> {
        SpanView::parse(self.span).into_iter().flat_map(|span| span.events().map_while(Result::ok))
    }

    fn links(&self) -> impl Iterator<Item = LinkView<'a>> + use<'a> {
        SpanView::parse(self.span).into_iter().flat_map(|span| span.links().map_while(Result::ok))
    }

    fn since_start(&self, event: &EventView<'_>) -> Scalar<'a> {
        let since = i128::from(event.time) - i128::from(self.facts.start);
        Scalar::Int(since.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

fn any_attribute(attributes: Attributes<'_>, key: &str, holds: &mut dyn FnMut(&Scalar<'_>) -> bool) -> bool {
    let mut of_key = attributes.map_while(Result::ok).filter(|attribute| attribute.key == key);
    of_key.any(|attribute| holds(&attribute.value.map_or(Scalar::Opaque, Scalar::of_value)))
}

fn first_attribute<'a>(attributes: Attributes<'a>, key: &str) -> Option<Scalar<'a>> {
    let mut all = attributes.map_while(Result::ok);
    let found = all.find(|attribute| attribute.key == key)?;
    Some(found.value.map_or(Scalar::Opaque, Scalar::of_value))
}

fn text(text: &str) -> Scalar<'_> {
    Scalar::Text(Cow::Borrowed(text))
}

fn id(bytes: &[u8]) -> Scalar<'static> {
    Scalar::Text(Cow::Owned(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn kind(raw: i32) -> Kind {
    match SpanKind::from_raw(raw) {
        SpanKind::Unspecified | SpanKind::Other(_) => Kind::Unspecified,
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
    }
}

fn status(raw: i32) -> Status {
    match StatusCode::from_raw(raw) {
        StatusCode::Unset => Status::Unset,
        StatusCode::Ok => Status::Ok,
        StatusCode::Error => Status::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_names_the_attributes_that_it_cannot_hold_without() {
        let has = |slot| Node::Exists(Place::Span(slot));
        for (node, needs) in [
            (has(1), Some(vec![1])),
            (Node::Exists(Place::Name), None),
            (Node::Exists(Place::Event("a".to_owned())), None),
            (Node::Not(Box::new(has(1))), None),
            (Node::IsNil(Expr::Places(vec![Place::Span(1)])), None),
            (Node::Or(vec![has(1), has(2)]), Some(vec![1, 2])),
            (Node::Or(vec![has(1), Node::Exists(Place::Name)]), None),
            (
                Node::And(vec![Node::Exists(Place::Name), Node::Or(vec![has(1), has(2)]), has(3)]),
                Some(vec![3]),
            ),
            (Node::And(vec![]), None),
            (Node::Constant(true), None),
            (Node::Constant(false), Some(vec![])),
        ] {
            assert_eq!(node.needs(), needs, "{node:?}");
        }
    }
}
