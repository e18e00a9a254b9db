//! Compiles the TraceQL of a rule into a condition on one span. What needs the other spans of a trace is refused.
//!
//! Names of the semantic conventions that have changed are one field: the newest name that a span has counts, as in
//! queries.

use regex::Regex;
use spandrel_proto::semconv;
use spandrel_traceql::ast::{
    AttributeName, BinaryOp, Body, Field, FieldExpr, FieldName, Intrinsic, Literal, Scope, SpanSetExpr, Stage,
};

use crate::condition::{Expr, Node, Place};
use crate::facts::Keys;
use crate::value::{Scalar, Test};

/// Why a condition is refused, and where in its text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BindError {
    /// In characters, from 0.
    pub(crate) at: usize,
    pub(crate) message: String,
}

const ONE_CONDITION: &str =
    "a rule sees one span, so its match is one condition in braces, like { name = \"ping\" }";

/// Compiles a condition; the attributes of spans that it names get their numbers from `keys`. Also whether it asks for
/// something that only spans have, and log records have not.
pub(crate) fn condition(text: &str, keys: &mut Keys) -> Result<(Node, bool), BindError> {
    let query = spandrel_traceql::parse(text).map_err(|error| BindError {
        at: error.column - 1,
        message: format!("{}: {}", error.found, error.message),
    })?;
    let whole = |message: &str| BindError { at: 0, message: message.to_owned() };
    let Body::Traces(pipeline) = &query.body else { return Err(whole(ONE_CONDITION)) };
    let [Stage::Spans(SpanSetExpr::Filter(expr))] = &pipeline.stages[..] else {
        return Err(whole(ONE_CONDITION));
    };
    if !query.hints.is_empty() {
        return Err(whole("a rule takes no hints"));
    }
    let bound = Binder { keys }.condition(expr).map(|node| (node, asks_span(expr)));
    bound.map_err(|Refused { what, message }| {
        // A name without the part before its colon is the same name.
        let place = |what: &str| text.find(what).or_else(|| text.find(what.rsplit(':').next()?));
        let found = what.and_then(|what| place(&what));
        BindError { at: found.map_or(0, |at| text[..at].chars().count()), message }
    })
}

fn asks_span(expr: &FieldExpr) -> bool {
    match expr {
        FieldExpr::Literal(_) => false,
        FieldExpr::Field(field) => is_of_span(field),
        FieldExpr::Not(inner) | FieldExpr::Negate(inner) => asks_span(inner),
        FieldExpr::Binary(_, left, right) => asks_span(left) || asks_span(right),
    }
}

fn is_of_span(field: &Field) -> bool {
    match &field.name {
        FieldName::Intrinsic(intrinsic) => !matches!(
            intrinsic,
            Intrinsic::TraceId
                | Intrinsic::SpanId
                | Intrinsic::EventName
                | Intrinsic::InstrumentationName
                | Intrinsic::InstrumentationVersion
        ),
        FieldName::Attribute(name) => matches!(name.scope, Scope::Span | Scope::Link),
    }
}

struct Binder<'k> {
    keys: &'k mut Keys,
}

/// The error of a part, with the part as it prints itself.
struct Refused {
    what: Option<String>,
    message: String,
}

/// Where the values of one name of a field are looked up: in the span, its resource and its scope.
type Places = Vec<Place>;

// === impl Binder ===

impl Binder<'_> {
    fn condition(&mut self, expr: &FieldExpr) -> Result<Node, Refused> {
        Ok(match expr {
            FieldExpr::Literal(Literal::Bool(flag)) => Node::Constant(*flag),
            FieldExpr::Field(field) => {
                self.test(field, Test { op: BinaryOp::Eq, literal: Scalar::Bool(true), regex: None })?
            }
            FieldExpr::Not(inner) => Node::Not(Box::new(self.condition(inner)?)),
            FieldExpr::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
                let parts = vec![self.condition(left)?, self.condition(right)?];
                if *op == BinaryOp::And { Node::And(flat(parts, true)) } else { Node::Or(flat(parts, false)) }
            }
            FieldExpr::Binary(op, left, right) if is_comparison(*op) => self.comparison(*op, left, right)?,
            FieldExpr::Literal(_) | FieldExpr::Negate(_) | FieldExpr::Binary(..) => {
                Node::Compare(BinaryOp::Eq, self.expr(expr)?, Expr::Literal(Scalar::Bool(true)))
            }
        })
    }

    fn comparison(&mut self, op: BinaryOp, left: &FieldExpr, right: &FieldExpr) -> Result<Node, Refused> {
        let is_field = matches!(right, FieldExpr::Field(_));
        let is_nil = matches!(left, FieldExpr::Literal(Literal::Nil)) && constant(right).is_none();
        if (is_nil || is_field && matches!(left, FieldExpr::Literal(_)))
            && let Some(flipped) = flipped(op)
        {
            return self.comparison(flipped, right, left);
        }
        match (left, constant(right)) {
            (FieldExpr::Literal(Literal::Nil), Some(Literal::Nil)) => Ok(Node::Constant(false)),
            (FieldExpr::Field(field), Some(Literal::Nil)) => {
                let exists = self.exists(field)?;
                Ok(match op {
                    BinaryOp::Eq => Node::Not(Box::new(exists)),
                    BinaryOp::Ne => exists,
                    _ => Node::Constant(false),
                })
            }
            (FieldExpr::Field(field), Some(literal)) => {
                if is_parentless(field) {
                    return parentless(op, &literal);
                }
                let literal = id_literal(field, op, literal);
                let regex = match (op, &literal) {
                    (BinaryOp::Matches | BinaryOp::MatchesNot, Literal::String(pattern)) => {
                        Some(regex(pattern)?)
                    }
                    _ => None,
                };
                self.test(field, Test { op, literal: Scalar::of_literal(&literal), regex })
            }
            (expr, Some(Literal::Nil)) => {
                let is_nil = Node::IsNil(self.expr(expr)?);
                Ok(if op == BinaryOp::Eq { is_nil } else { Node::Not(Box::new(is_nil)) })
            }
            _ if matches!(op, BinaryOp::Matches | BinaryOp::MatchesNot) => Err(Refused {
                what: None,
                message: "a regular expression is compared with a field, and is a constant string".to_owned(),
            }),
            _ => Ok(Node::Compare(op, self.expr(left)?, self.expr(right)?)),
        }
    }

    fn expr(&mut self, expr: &FieldExpr) -> Result<Expr, Refused> {
        if let Some(literal) = constant(expr) {
            return Ok(Expr::Literal(Scalar::of_literal(&literal)));
        }
        Ok(match expr {
            FieldExpr::Literal(literal) => Expr::Literal(Scalar::of_literal(literal)),
            FieldExpr::Field(field) => Expr::Places(self.names(field)?.concat()),
            FieldExpr::Negate(inner) => Expr::Negate(Box::new(self.expr(inner)?)),
            FieldExpr::Binary(op, left, right) if is_arithmetic(*op) => {
                Expr::Arithmetic(*op, Box::new(self.expr(left)?), Box::new(self.expr(right)?))
            }
            FieldExpr::Not(_) | FieldExpr::Binary(..) => Expr::Condition(Box::new(self.condition(expr)?)),
        })
    }

    fn test(&mut self, field: &Field, test: Test) -> Result<Node, Refused> {
        let names = self.names(field)?;
        Ok(newest(names, |place| Node::Test(place, test.clone())))
    }

    fn exists(&mut self, field: &Field) -> Result<Node, Refused> {
        let places = self.names(field)?.concat();
        Ok(either(places.into_iter().map(Node::Exists).collect()))
    }

    /// For each name of a field, the newest first, where its values are.
    fn names(&mut self, field: &Field) -> Result<Vec<Places>, Refused> {
        let needs_trace = || Refused {
            what: Some(field.to_string()),
            message: format!(
                "{field} needs the other spans of the trace; a rule sees one span and its resource"
            ),
        };
        if field.of_parent {
            return Err(needs_trace());
        }
        match &field.name {
            FieldName::Intrinsic(intrinsic) => Ok(vec![vec![place_of(*intrinsic).ok_or_else(needs_trace)?]]),
            FieldName::Attribute(name) => {
                Ok(names_of(name).into_iter().map(|key| self.places(name.scope, key)).collect())
            }
        }
    }

    fn places(&mut self, scope: Scope, key: &str) -> Places {
        let owned = key.to_owned();
        match scope {
            Scope::Any => vec![Place::Span(self.keys.number(key)), Place::Resource(owned)],
            Scope::Span => vec![Place::Span(self.keys.number(key))],
            Scope::Resource => vec![Place::Resource(owned)],
            Scope::Event => vec![Place::Event(owned)],
            Scope::Link => vec![Place::Link(owned)],
            Scope::Instrumentation => vec![Place::Scope(owned)],
        }
    }
}

/// A test of the newest name that a span has.
fn newest(names: Vec<Places>, test: impl Fn(Place) -> Node) -> Node {
    let mut absent: Vec<Node> = Vec::new();
    let mut ways = Vec::new();
    for places in names {
        let holds = either(places.iter().cloned().map(&test).collect());
        let mut parts = absent.clone();
        parts.push(holds);
        ways.push(if parts.len() == 1 { parts.remove(0) } else { Node::And(parts) });
        absent.extend(places.into_iter().map(|place| Node::Not(Box::new(Node::Exists(place)))));
    }
    either(ways)
}

fn either(mut parts: Vec<Node>) -> Node {
    if parts.len() == 1 { parts.remove(0) } else { Node::Or(parts) }
}

/// Chains of one operator become one list.
fn flat(parts: Vec<Node>, all: bool) -> Vec<Node> {
    let one = |part| match part {
        Node::And(parts) if all => parts,
        Node::Or(parts) if !all => parts,
        part => vec![part],
    };
    parts.into_iter().flat_map(one).collect()
}

fn place_of(intrinsic: Intrinsic) -> Option<Place> {
    Some(match intrinsic {
        Intrinsic::Name => Place::Name,
        Intrinsic::Duration => Place::Duration,
        Intrinsic::Kind => Place::Kind,
        Intrinsic::Status => Place::Status,
        Intrinsic::StatusMessage => Place::StatusMessage,
        Intrinsic::Failed => Place::Failed,
        Intrinsic::TraceId => Place::TraceId,
        Intrinsic::SpanId => Place::SpanId,
        Intrinsic::ParentId => Place::ParentId,
        Intrinsic::EventName => Place::EventName,
        Intrinsic::EventTimeSinceStart => Place::EventTime,
        Intrinsic::LinkTraceId => Place::LinkTraceId,
        Intrinsic::LinkSpanId => Place::LinkSpanId,
        Intrinsic::InstrumentationName => Place::ScopeName,
        Intrinsic::InstrumentationVersion => Place::ScopeVersion,
        Intrinsic::ChildCount
        | Intrinsic::Root
        | Intrinsic::Entry
        | Intrinsic::TraceDuration
        | Intrinsic::RootName
        | Intrinsic::RootService
        | Intrinsic::NestedSetLeft
        | Intrinsic::NestedSetRight
        | Intrinsic::NestedSetParent
        | Intrinsic::Parent
        | Intrinsic::MeshRequest
        | Intrinsic::Mesh(_) => return None,
    })
}

fn is_parentless(field: &Field) -> bool {
    !field.of_parent && matches!(field.name, FieldName::Intrinsic(Intrinsic::NestedSetParent))
}

/// `nestedSetParent < 0` and its like ask whether a span names no parent, which the span itself tells.
fn parentless(op: BinaryOp, literal: &Literal) -> Result<Node, Refused> {
    use BinaryOp::*;
    let parentless = match (op, literal) {
        (Lt, Literal::Int(0)) | (Le | Eq, Literal::Int(-1)) => true,
        (Ge, Literal::Int(0)) | (Gt | Ne, Literal::Int(-1)) => false,
        _ => {
            let message = "of nestedSetParent, a rule only knows whether it is below 0: whether the span names no parent";
            return Err(Refused { what: Some("nestedSetParent".to_owned()), message: message.to_owned() });
        }
    };
    let literal = Scalar::Bool(parentless);
    Ok(Node::Test(Place::Parentless, Test { op: BinaryOp::Eq, literal, regex: None }))
}

fn names_of(name: &AttributeName) -> Vec<&str> {
    let known = if name.is_literal { None } else { semconv::names_of(&name.key) };
    known.map_or_else(|| vec![name.key.as_str()], <[&str]>::to_vec)
}

/// An ID that is asked for as a whole is one as the API writes it, whatever its case and with or without leading zeros.
fn id_literal(field: &Field, op: BinaryOp, literal: Literal) -> Literal {
    use Intrinsic::{LinkSpanId, LinkTraceId, ParentId, SpanId, TraceId};
    let digits = match field.name {
        FieldName::Intrinsic(TraceId | LinkTraceId) => 32,
        FieldName::Intrinsic(SpanId | ParentId | LinkSpanId) => 16,
        _ => return literal,
    };
    match literal {
        Literal::String(id)
            if matches!(op, BinaryOp::Eq | BinaryOp::Ne)
                && !id.is_empty()
                && id.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            Literal::String(format!("{:0>digits$}", id.to_ascii_lowercase()))
        }
        other => other,
    }
}

fn regex(pattern: &str) -> Result<Regex, Refused> {
    let refused = |message| Refused { what: Some(pattern.to_owned()), message };
    spandrel_traceql::anchored_regex(pattern).map_err(refused)
}

/// The value of an expression of constants; a negative number is written as a negation.
fn constant(expr: &FieldExpr) -> Option<Literal> {
    match expr {
        FieldExpr::Literal(literal) => Some(literal.clone()),
        FieldExpr::Negate(inner) => match constant(inner)? {
            Literal::Int(int) => int.checked_neg().map(Literal::Int),
            Literal::Duration(nanos) => nanos.checked_neg().map(Literal::Duration),
            Literal::Float(float) => Some(Literal::Float(-float)),
            _ => None,
        },
        _ => None,
    }
}

/// The operator when both sides change places.
fn flipped(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Eq | BinaryOp::Ne => op,
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Ge => BinaryOp::Le,
        _ => return None,
    })
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Eq | Ne | Lt | Le | Gt | Ge | Matches | MatchesNot | Contains | StartsWith | EndsWith)
}

fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Add | Sub | Mul | Div | Mod | Pow)
}
