//! Expressions on one span.

use spandrel_traceql::ast::{BinaryOp, FieldExpr, Literal};

use super::trace::Trace;
use super::value::{Value, arithmetic, compare, negate, test};

impl Trace {
    /// Whether a condition holds for a span.
    pub fn holds(&self, span: usize, expr: &FieldExpr) -> bool {
        match expr {
            FieldExpr::Literal(literal) => *literal == Literal::Bool(true),
            FieldExpr::Field(field) => {
                self.values(span, field).iter().any(|value| test(BinaryOp::Eq, value, &Value::Bool(true)))
            }
            FieldExpr::Not(inner) => !self.holds(span, inner),
            FieldExpr::Binary(BinaryOp::And, left, right) => {
                self.holds(span, left) && self.holds(span, right)
            }
            FieldExpr::Binary(BinaryOp::Or, left, right) => self.holds(span, left) || self.holds(span, right),
            FieldExpr::Binary(op, left, right) => self.comparison_holds(span, *op, left, right),
            FieldExpr::Negate(_) => false,
        }
    }

    fn comparison_holds(&self, span: usize, op: BinaryOp, left: &FieldExpr, right: &FieldExpr) -> bool {
        match (left, constant(left), right, constant(right)) {
            (_, _, _, Some(Value::Nil)) => self.is_nil(span, left) == (op == BinaryOp::Eq),
            (_, Some(Value::Nil), _, _) => self.is_nil(span, right) == (op == BinaryOp::Eq),
            (FieldExpr::Field(field), _, _, Some(constant)) => {
                self.values(span, field).iter().any(|value| test(op, value, &constant))
            }
            (_, Some(constant), FieldExpr::Field(field), _) if let Some(op) = mirrored(op) => {
                self.values(span, field).iter().any(|value| test(op, value, &constant))
            }
            _ => compare(op, &self.value(span, left), &self.value(span, right)),
        }
    }

    fn is_nil(&self, span: usize, expr: &FieldExpr) -> bool {
        self.value(span, expr) == Value::Nil
    }

    /// The value of an expression for a span.
    pub fn value(&self, span: usize, expr: &FieldExpr) -> Value {
        match expr {
            FieldExpr::Literal(literal) => Value::of_literal(literal),
            FieldExpr::Field(field) => self.first(span, field),
            FieldExpr::Negate(inner) => negate(&self.value(span, inner)),
            FieldExpr::Binary(op, left, right) if is_arithmetic(*op) => {
                arithmetic(*op, &self.value(span, left), &self.value(span, right))
            }
            FieldExpr::Not(_) | FieldExpr::Binary(..) => Value::Bool(self.holds(span, expr)),
        }
    }
}

/// The value of a constant, which may have a sign.
fn constant(expr: &FieldExpr) -> Option<Value> {
    match expr {
        FieldExpr::Literal(literal) => Some(Value::of_literal(literal)),
        FieldExpr::Negate(inner) => constant(inner).map(|value| negate(&value)),
        _ => None,
    }
}

/// The operator when both sides change places.
fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    match op {
        BinaryOp::Eq | BinaryOp::Ne => Some(op),
        BinaryOp::Lt => Some(BinaryOp::Gt),
        BinaryOp::Le => Some(BinaryOp::Ge),
        BinaryOp::Gt => Some(BinaryOp::Lt),
        BinaryOp::Ge => Some(BinaryOp::Le),
        _ => None,
    }
}

fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Add | Sub | Mul | Div | Mod | Pow)
}
