//! Values, and how they are compared and computed with (`docs/semantics.md#conditions`).

use std::cmp::Ordering;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value;
use regex::Regex;
use spandrel_traceql::ast::{BinaryOp, Kind, Literal, Status};

/// A value of a span.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The span has no value.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Status(Status),
    Kind(Kind),
    List(Vec<Value>),
    /// Bytes, key-values and values without a type, which satisfy no comparison.
    Other,
}

// === impl Value ===

impl Value {
    pub fn of_any(value: Option<&AnyValue>) -> Self {
        use any_value::Value as Any;
        match value.and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(text)) => Self::Text(text.clone()),
            Some(Any::BoolValue(flag)) => Self::Bool(*flag),
            Some(Any::IntValue(int)) => Self::Int(*int),
            Some(Any::DoubleValue(double)) => Self::Float(*double),
            Some(Any::ArrayValue(list)) => {
                Self::List(list.values.iter().map(|element| Self::of_any(Some(element))).collect())
            }
            _ => Self::Other,
        }
    }

    pub fn of_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Nil => Self::Nil,
            Literal::Bool(flag) => Self::Bool(*flag),
            Literal::Int(int) | Literal::Duration(int) => Self::Int(*int),
            Literal::Float(float) => Self::Float(*float),
            Literal::String(text) => Self::Text(text.clone()),
            Literal::Status(status) => Self::Status(*status),
            Literal::Kind(kind) => Self::Kind(*kind),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Float(_))
    }

    /// The value as `Int` or `Float`, if it is a number or the canonical text of one.
    pub fn as_number(&self) -> Option<Self> {
        match self {
            Self::Int(_) | Self::Float(_) => Some(self.clone()),
            Self::Text(text) => number_of_text(text),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self.as_number()? {
            Self::Int(int) => Some(int as f64),
            Self::Float(float) => Some(float),
            _ => None,
        }
    }

    /// Whether both are the same value of a group.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_nan = |value: &Self| matches!(value, Self::Float(float) if float.is_nan());
        self == other || is_nan(self) && is_nan(other)
    }

    /// The value as answers show it: a list is the text of its elements, without those that JSON does not
    /// have.
    pub fn shown(&self) -> Self {
        match self {
            Self::List(elements) => Self::Text(text_of_list(elements)),
            value => value.clone(),
        }
    }

    /// The elements that comparisons look at: nested lists do not count.
    fn elements(&self) -> Vec<&Value> {
        match self {
            Self::List(elements) => {
                elements.iter().filter(|element| !matches!(element, Self::List(_))).collect()
            }
            value => vec![value],
        }
    }
}

fn number_of_text(text: &str) -> Option<Value> {
    if let Ok(int) = text.parse::<i64>() {
        return (int.to_string() == text).then_some(Value::Int(int));
    }
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite())?;
    (float.to_string() == text).then_some(Value::Float(float))
}

fn text_of_list(elements: &[Value]) -> String {
    let mut texts = Vec::new();
    for element in elements {
        match element {
            Value::Text(text) => texts.push(format!("{text:?}")),
            Value::Bool(flag) => texts.push(flag.to_string()),
            Value::Int(int) => texts.push(int.to_string()),
            Value::Float(float) => texts.push(float.to_string()),
            Value::List(nested) => texts.push(text_of_list(nested)),
            _ => {}
        }
    }
    format!("[{}]", texts.join(","))
}

/// Whether a field's value satisfies a comparison with a constant. A constant string is no number.
pub fn test(op: BinaryOp, value: &Value, constant: &Value) -> bool {
    let one = |op, value: &Value| match (value, constant) {
        (_, Value::Text(_)) if value.is_number() => false,
        _ => single(op, value, constant),
    };
    if !matches!(value, Value::List(_)) {
        return one(op, value);
    }
    let any = |op| value.elements().into_iter().any(|element| one(op, element));
    match op {
        BinaryOp::Ne => !any(BinaryOp::Eq),
        BinaryOp::MatchesNot => !any(BinaryOp::Matches),
        op => any(op),
    }
}

/// Whether a comparison of two expressions holds.
pub fn compare(op: BinaryOp, left: &Value, right: &Value) -> bool {
    let incomparable = |value: &Value| matches!(value, Value::Nil | Value::Other);
    if incomparable(left) || incomparable(right) {
        return false;
    }
    if !matches!((left, right), (Value::List(_), _) | (_, Value::List(_))) {
        return single(op, left, right);
    }
    let any = |op| {
        left.elements()
            .into_iter()
            .any(|left| right.elements().into_iter().any(|right| single(op, left, right)))
    };
    if op == BinaryOp::Ne { !any(BinaryOp::Eq) } else { any(op) }
}

/// A comparison of two values that are no lists.
fn single(op: BinaryOp, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => match op {
            BinaryOp::Matches => regex(right).is_match(left),
            BinaryOp::MatchesNot => !regex(right).is_match(left),
            BinaryOp::Contains => left.contains(right),
            BinaryOp::StartsWith => left.starts_with(right),
            BinaryOp::EndsWith => left.ends_with(right),
            _ => ordered(op, left.cmp(right)),
        },
        (Value::Bool(left), Value::Bool(right)) => equal_or_not(op, left == right),
        (Value::Status(left), Value::Status(right)) => equal_or_not(op, left == right),
        (Value::Kind(left), Value::Kind(right)) => equal_or_not(op, left == right),
        _ if left.is_number() || right.is_number() => match (left.as_number(), right.as_number()) {
            (Some(Value::Int(left)), Some(Value::Int(right))) => ordered(op, left.cmp(&right)),
            (Some(left), Some(right)) => order(&left, &right).is_some_and(|order| ordered(op, order)),
            _ => false,
        },
        _ => false,
    }
}

/// The order of two numbers, without rounding whole ones.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(int), Value::Float(float)) => order_of_int(*int, *float),
        (Value::Float(float), Value::Int(int)) => order_of_int(*int, *float).map(Ordering::reverse),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn order_of_int(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // A float beyond 128 bits is cut to their limits, which are beyond those of `int`, too.
    let whole = i128::from(int).cmp(&(float.floor() as i128));
    let has_fraction = float.fract() != 0.0;
    Some(if whole == Ordering::Equal && has_fraction { Ordering::Less } else { whole })
}

fn regex(pattern: &str) -> Regex {
    Regex::new(&format!("^(?s:{pattern})$")).unwrap()
}

fn ordered(op: BinaryOp, order: Ordering) -> bool {
    match op {
        BinaryOp::Eq => order == Ordering::Equal,
        BinaryOp::Ne => order != Ordering::Equal,
        BinaryOp::Lt => order == Ordering::Less,
        BinaryOp::Le => order != Ordering::Greater,
        BinaryOp::Gt => order == Ordering::Greater,
        BinaryOp::Ge => order != Ordering::Less,
        _ => false,
    }
}

fn equal_or_not(op: BinaryOp, equal: bool) -> bool {
    match op {
        BinaryOp::Eq => equal,
        BinaryOp::Ne => !equal,
        _ => false,
    }
}

/// `+ - * / % ^`. Whole numbers stay whole as long as they fit; what is no number gives nil.
pub fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Value {
    let (Some(left), Some(right)) = (left.as_number(), right.as_number()) else { return Value::Nil };
    if let (Value::Int(left), Value::Int(right)) = (&left, &right) {
        if *right == 0 && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
            return Value::Nil;
        }
        if *right < 0 && op == BinaryOp::Pow {
            // Cut towards zero, which has no such power.
            return match *left {
                0 => Value::Nil,
                1 => Value::Int(1),
                -1 => Value::Int(1 - 2 * (*right & 1)),
                _ => Value::Int(0),
            };
        }
        if let Some(whole) = whole(op, *left, *right) {
            return Value::Int(whole);
        }
    }
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => match float(op, left, right) {
            result if result.is_finite() => Value::Float(result),
            _ => Value::Nil,
        },
        _ => Value::Nil,
    }
}

fn whole(op: BinaryOp, left: i64, right: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => left.checked_add(right),
        BinaryOp::Sub => left.checked_sub(right),
        BinaryOp::Mul => left.checked_mul(right),
        BinaryOp::Div => left.checked_div(right),
        BinaryOp::Mod => left.checked_rem(right),
        _ => left.checked_pow(u32::try_from(right).ok()?),
    }
}

pub fn float(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        _ => left.powf(right),
    }
}

/// `-a`
pub fn negate(value: &Value) -> Value {
    arithmetic(BinaryOp::Sub, &Value::Int(0), value)
}
