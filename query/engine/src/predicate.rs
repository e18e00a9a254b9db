//! The part of a query that a store can test on single spans: a predicate that every span of a result satisfies.
//!
//! It may admit more than the query does; `exact` says when it does not, so that a store can answer alone.

use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use spandrel_traceql::ast::{
    self, BinaryOp, FieldExpr, FieldName, Intrinsic, Pipeline, Scope, SpanSetExpr, SpanSetOp, Stage,
    StructuralResult,
};

use crate::bind::{constant, names_of};
use crate::mesh;

/// A predicate, and whether it is all of the condition.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) predicate: Predicate,
    pub(crate) exact: bool,
}

/// What each span in a result of the pipeline satisfies. Exact if the pipeline is one filter whose condition the store
/// knows.
pub(crate) fn of_pipeline(pipeline: &Pipeline) -> Bound {
    let mut parts = Vec::new();
    for stage in &pipeline.stages {
        if let Stage::Spans(expr) = stage {
            parts.push(of_set(expr));
        }
    }
    let is_filter = matches!(&pipeline.stages[..], [Stage::Spans(SpanSetExpr::Filter(_))]);
    let joined = and(parts);
    Bound { exact: joined.exact && is_filter, ..joined }
}

/// What other spans of a matching trace satisfy, beside those of the result: for each predicate there is one.
pub(crate) fn companions(pipeline: &Pipeline) -> Vec<Predicate> {
    let mut found = Vec::new();
    for stage in &pipeline.stages {
        if let Stage::Spans(expr) = stage {
            add_companions(expr, true, &mut found);
        }
    }
    found
}

fn add_companions(expr: &SpanSetExpr, is_result: bool, found: &mut Vec<Predicate>) {
    match expr {
        // The predicate of the result says the same.
        SpanSetExpr::Filter(_) if is_result => {}
        SpanSetExpr::Filter(condition) => match of_condition(condition).predicate {
            Predicate::All => {}
            predicate => found.push(predicate),
        },
        SpanSetExpr::Binary(SpanSetOp::And, left, right) => {
            add_companions(left, false, found);
            add_companions(right, false, found);
        }
        SpanSetExpr::Binary(SpanSetOp::Structural { result, .. }, left, right) => match result {
            StructuralResult::Right => {
                add_companions(left, false, found);
                add_companions(right, is_result, found);
            }
            StructuralResult::RightWithout => add_companions(right, is_result, found),
            StructuralResult::Both => {
                add_companions(left, false, found);
                add_companions(right, false, found);
            }
        },
        SpanSetExpr::All(inner) => add_companions(inner, is_result, found),
        // One side may be empty, or has to be; what a pipeline needs depends on its stages.
        SpanSetExpr::Binary(SpanSetOp::Or, ..) | SpanSetExpr::None(_) | SpanSetExpr::Wrapped(_) => {}
    }
}

fn of_set(expr: &SpanSetExpr) -> Bound {
    let either = |left, right| inexact(or(vec![of_set(left), of_set(right)]).predicate);
    match expr {
        SpanSetExpr::Filter(condition) => of_condition(condition),
        SpanSetExpr::Binary(SpanSetOp::Structural { result, .. }, left, right) => match result {
            StructuralResult::Right | StructuralResult::RightWithout => inexact(of_set(right).predicate),
            StructuralResult::Both => either(left, right),
        },
        // A side that holds without spans of its own adds none.
        SpanSetExpr::Binary(SpanSetOp::And, left, right) if holds_without_spans(left) => {
            inexact(of_set(right).predicate)
        }
        SpanSetExpr::Binary(SpanSetOp::And, left, right) if holds_without_spans(right) => {
            inexact(of_set(left).predicate)
        }
        SpanSetExpr::Binary(_, left, right) => either(left, right),
        SpanSetExpr::Wrapped(pipeline) => inexact(of_pipeline(pipeline).predicate),
        SpanSetExpr::All(inner) => inexact(of_set(inner).predicate),
        SpanSetExpr::None(_) => anything(),
    }
}

fn holds_without_spans(expr: &SpanSetExpr) -> bool {
    matches!(expr, SpanSetExpr::None(_))
}

/// What the store can test of a condition.
pub(crate) fn of_condition(expr: &FieldExpr) -> Bound {
    match expr {
        FieldExpr::Literal(ast::Literal::Bool(true)) => exact(Predicate::All),
        FieldExpr::Literal(ast::Literal::Bool(false)) => exact(Predicate::Or(Vec::new())),
        FieldExpr::Binary(BinaryOp::And, left, right) => and(vec![of_condition(left), of_condition(right)]),
        FieldExpr::Binary(BinaryOp::Or, left, right) => or(vec![of_condition(left), of_condition(right)]),
        FieldExpr::Field(field) => of_comparison(field, BinaryOp::Eq, &ast::Literal::Bool(true)),
        FieldExpr::Binary(op, left, right) => match (&**left, constant(right)) {
            (FieldExpr::Field(field), Some(literal)) => of_comparison(field, *op, &literal),
            _ => anything(),
        },
        FieldExpr::Literal(_) | FieldExpr::Not(_) | FieldExpr::Negate(_) => anything(),
    }
}

fn of_comparison(field: &ast::Field, op: BinaryOp, literal: &ast::Literal) -> Bound {
    if field.of_parent {
        return anything();
    }
    match &field.name {
        FieldName::Intrinsic(Intrinsic::NestedSetParent) => of_parent_number(op, literal),
        FieldName::Intrinsic(Intrinsic::Mesh(field)) => inexact(mesh::implied(*field, op, literal)),
        FieldName::Intrinsic(intrinsic) => match stored_field(*intrinsic) {
            Some(field) => of_stored(field, op, literal),
            None => anything(),
        },
        FieldName::Attribute(name) => {
            let scope = match name.scope {
                Scope::Any => AttributeScope::Any,
                Scope::Span => AttributeScope::Span,
                Scope::Resource => AttributeScope::Resource,
                Scope::Event | Scope::Link | Scope::Instrumentation => return anything(),
            };
            let field = |key: &str| Field::Attribute(scope, key.to_owned());
            newest(&names_of(name).into_iter().map(field).collect::<Vec<_>>(), op, literal)
        }
    }
}

/// `nestedSetParent < 0` and its like ask whether a span names no parent: its number is -1 then, and not below 0 else.
fn of_parent_number(op: BinaryOp, literal: &ast::Literal) -> Bound {
    use BinaryOp::*;
    let parentless = match (op, literal) {
        (Lt, ast::Literal::Int(0)) | (Le | Eq, ast::Literal::Int(-1)) => true,
        (Ge, ast::Literal::Int(0)) | (Gt | Ne, ast::Literal::Int(-1)) => false,
        _ => return anything(),
    };
    exact(Predicate::Compare(Field::Parentless, Comparison::Eq(Literal::Bool(parentless))))
}

/// The comparison for the newest name that a span has.
fn newest(names: &[Field], op: BinaryOp, literal: &ast::Literal) -> Bound {
    let absent = |field: &Field| exact(Predicate::Absent(field.clone()));
    if *literal == ast::Literal::Nil {
        return match op {
            BinaryOp::Eq => and(names.iter().map(absent).collect()),
            BinaryOp::Ne => or(names.iter().map(|name| exact(Predicate::Exists(name.clone()))).collect()),
            _ => exact(Predicate::Or(Vec::new())),
        };
    }
    let Some(comparison) = comparison(op, literal) else { return anything() };
    let one = |at: usize| {
        let here = exact(Predicate::Compare(names[at].clone(), comparison.clone()));
        and(names[..at].iter().map(absent).chain([here]).collect())
    };
    or((0..names.len()).map(one).collect())
}

fn stored_field(intrinsic: Intrinsic) -> Option<Field> {
    Some(match intrinsic {
        Intrinsic::Name => Field::Name,
        Intrinsic::Duration => Field::Duration,
        Intrinsic::Status => Field::Status,
        Intrinsic::Kind => Field::Kind,
        Intrinsic::Failed => Field::Failed,
        _ => return None,
    })
}

fn of_stored(field: Field, op: BinaryOp, literal: &ast::Literal) -> Bound {
    let comparison = comparison(op, literal);
    comparison.map_or_else(anything, |comparison| exact(Predicate::Compare(field, comparison)))
}

fn comparison(op: BinaryOp, literal: &ast::Literal) -> Option<Comparison> {
    use BinaryOp::*;
    let text = || if let ast::Literal::String(text) = literal { Some(text.clone()) } else { None };
    let regex = || text().and_then(|pattern| spandrel_traceql::anchored_regex(&pattern).ok());
    match op {
        Eq => stored_literal(literal).map(Comparison::Eq),
        Ne => stored_literal(literal).map(Comparison::Ne),
        Lt => stored_literal(literal).map(Comparison::Lt),
        Le => stored_literal(literal).map(Comparison::Le),
        Gt => stored_literal(literal).map(Comparison::Gt),
        Ge => stored_literal(literal).map(Comparison::Ge),
        Matches => regex().map(Comparison::Matches),
        MatchesNot => regex().map(Comparison::MatchesNot),
        Contains => text().map(Comparison::Contains),
        StartsWith => text().map(Comparison::StartsWith),
        EndsWith => text().map(Comparison::EndsWith),
        _ => None,
    }
}

fn stored_literal(literal: &ast::Literal) -> Option<Literal> {
    use spandrel_proto::otlp::{SpanKind, StatusCode};
    Some(match literal {
        ast::Literal::Nil => return None,
        ast::Literal::Bool(flag) => Literal::Bool(*flag),
        ast::Literal::Int(int) | ast::Literal::Duration(int) => Literal::Int(*int),
        ast::Literal::Float(float) => Literal::Float(*float),
        ast::Literal::String(text) => Literal::String(text.clone()),
        ast::Literal::Status(status) => Literal::Status(match status {
            ast::Status::Unset => StatusCode::Unset,
            ast::Status::Ok => StatusCode::Ok,
            ast::Status::Error => StatusCode::Error,
        }),
        ast::Literal::Kind(kind) => Literal::Kind(match kind {
            ast::Kind::Unspecified => SpanKind::Unspecified,
            ast::Kind::Internal => SpanKind::Internal,
            ast::Kind::Server => SpanKind::Server,
            ast::Kind::Client => SpanKind::Client,
            ast::Kind::Producer => SpanKind::Producer,
            ast::Kind::Consumer => SpanKind::Consumer,
        }),
    })
}

fn exact(predicate: Predicate) -> Bound {
    Bound { predicate, exact: true }
}

fn inexact(predicate: Predicate) -> Bound {
    Bound { predicate, exact: false }
}

fn anything() -> Bound {
    inexact(Predicate::All)
}

fn and(parts: Vec<Bound>) -> Bound {
    let exact = parts.iter().all(|part| part.exact);
    let mut flat = Vec::new();
    for part in parts {
        match part.predicate {
            Predicate::All => {}
            Predicate::And(parts) => flat.extend(parts),
            part => flat.push(part),
        }
    }
    let predicate = match flat.len() {
        0 => Predicate::All,
        1 => flat.remove(0),
        _ => Predicate::And(flat),
    };
    Bound { predicate, exact }
}

fn or(parts: Vec<Bound>) -> Bound {
    let exact = parts.iter().all(|part| part.exact);
    if parts.iter().any(|part| matches!(part.predicate, Predicate::All)) {
        return Bound { predicate: Predicate::All, exact };
    }
    let mut flat: Vec<Predicate> = parts.into_iter().map(|part| part.predicate).collect();
    let predicate = if flat.len() == 1 { flat.remove(0) } else { Predicate::Or(flat) };
    Bound { predicate, exact }
}
