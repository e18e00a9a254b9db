//! Values of one span while a condition is decided, and how they compare: as in a query, so that a rule matches the spans
//! that a search with the same condition finds.
//!
//! Numbers compare with each other whatever their type, and with a text that is the canonical text of a number. Every
//! other pair of different types compares as false, and so does what has no value.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;
use spandrel_proto::otlp::AnyValue;
use spandrel_traceql::ast::{BinaryOp, Kind, Literal, Status};

/// A value of one span.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// No value.
    Nil,
    Bool(bool),
    /// Also a duration in nanoseconds.
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Status(Status),
    Kind(Kind),
    /// An `ArrayValue` message.
    Array(&'a [u8]),
    /// A value that has no order and equals nothing: bytes, key-values, a value without a type.
    Opaque,
}

/// A comparison with a constant.
#[derive(Debug, Clone)]
pub(crate) struct Test {
    pub(crate) op: BinaryOp,
    pub(crate) literal: Scalar<'static>,
    /// The compiled right side of `=~` and `!~`.
    pub(crate) regex: Option<Regex>,
}

enum Comparable {
    Ordered(Ordering),
    Equal,
    Unequal,
}

// === impl Scalar ===

impl<'a> Scalar<'a> {
    pub(crate) fn of_value(value: AnyValue<'a>) -> Self {
        match value {
            AnyValue::String(text) => Self::Text(Cow::Borrowed(text)),
            AnyValue::Bool(flag) => Self::Bool(flag),
            AnyValue::Int(int) => Self::Int(int),
            AnyValue::Double(double) => Self::Float(double),
            AnyValue::Array(message) => Self::Array(message),
            AnyValue::Empty | AnyValue::Bytes(_) | AnyValue::KeyValues(_) => Self::Opaque,
        }
    }

    pub(crate) fn of_literal(literal: &Literal) -> Scalar<'static> {
        match literal {
            Literal::Nil => Scalar::Nil,
            Literal::Bool(flag) => Scalar::Bool(*flag),
            Literal::Int(int) | Literal::Duration(int) => Scalar::Int(*int),
            Literal::Float(float) => Scalar::Float(*float),
            Literal::String(text) => Scalar::Text(Cow::Owned(text.clone())),
            Literal::Status(status) => Scalar::Status(*status),
            Literal::Kind(kind) => Scalar::Kind(*kind),
        }
    }

    fn as_whole(&self) -> Option<i64> {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        match self {
            Self::Int(int) => Some(*int),
            Self::Float(float) if float.fract() == 0.0 && (-LIMIT..LIMIT).contains(float) => {
                Some(*float as i64)
            }
            _ => None,
        }
    }

    /// The number that it is, or whose text it is.
    fn to_number(&self) -> Option<Scalar<'static>> {
        match self {
            Self::Int(int) => Some(Scalar::Int(*int)),
            Self::Float(float) => Some(Scalar::Float(*float)),
            Self::Text(text) => numeric_text(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self.to_number()? {
            Scalar::Int(int) => Some(int as f64),
            Scalar::Float(float) => Some(float),
            _ => None,
        }
    }
}

/// The number of which a text is the canonical form: `503`, `-0.5`, but neither `0503` nor `5e2`.
fn numeric_text(text: &str) -> Option<Scalar<'static>> {
    if !text.bytes().next_back()?.is_ascii_digit() {
        return None;
    }
    if let Ok(int) = text.parse::<i64>() {
        return (int.to_string() == text).then_some(Scalar::Int(int));
    }
    let float: f64 = text.parse().ok()?;
    (float.is_finite() && float.to_string() == text).then_some(Scalar::Float(float))
}

/// Whether a comparison of two values holds. An array holds when any of its elements does; for `!=` and `!~` when no
/// element equals or matches the other side.
pub(crate) fn compare(op: BinaryOp, left: &Scalar<'_>, right: &Scalar<'_>) -> bool {
    if [left, right].into_iter().any(|side| matches!(side, Scalar::Nil | Scalar::Opaque)) {
        return false;
    }
    if let Scalar::Array(elements) = left {
        return any_element(op, elements, |op, element| compare(op, element, right));
    }
    if let Scalar::Array(elements) = right {
        return any_element(op, elements, |op, element| compare(op, left, element));
    }
    match (op, left, right) {
        (BinaryOp::Contains, Scalar::Text(text), Scalar::Text(part)) => text.contains(&**part),
        (BinaryOp::StartsWith, Scalar::Text(text), Scalar::Text(part)) => text.starts_with(&**part),
        (BinaryOp::EndsWith, Scalar::Text(text), Scalar::Text(part)) => text.ends_with(&**part),
        (_, Scalar::Text(text), Scalar::Int(_) | Scalar::Float(_)) => {
            numeric_text(text).is_some_and(|number| holds(op, order(&number, right)))
        }
        (_, Scalar::Int(_) | Scalar::Float(_), Scalar::Text(text)) => {
            numeric_text(text).is_some_and(|number| holds(op, order(left, &number)))
        }
        _ => holds(op, order(left, right)),
    }
}

/// Nested arrays are skipped.
fn any_element(op: BinaryOp, message: &[u8], holds: impl Fn(BinaryOp, &Scalar<'_>) -> bool) -> bool {
    let any = |op| {
        let elements = AnyValue::array_items(message).map_while(Result::ok);
        let mut scalars = elements.filter(|element| !matches!(element, AnyValue::Array(_)));
        scalars.any(|element| holds(op, &Scalar::of_value(element)))
    };
    match op {
        BinaryOp::Ne => !any(BinaryOp::Eq),
        BinaryOp::MatchesNot => !any(BinaryOp::Matches),
        op => any(op),
    }
}

/// How two values are ordered; `None` if they do not compare. Types without an order are equal or unequal.
fn order(left: &Scalar<'_>, right: &Scalar<'_>) -> Option<Comparable> {
    let unordered = |equal| Some(if equal { Comparable::Equal } else { Comparable::Unequal });
    match (left, right) {
        (Scalar::Bool(a), Scalar::Bool(b)) => unordered(a == b),
        (Scalar::Status(a), Scalar::Status(b)) => unordered(a == b),
        (Scalar::Kind(a), Scalar::Kind(b)) => unordered(a == b),
        (Scalar::Text(a), Scalar::Text(b)) => Some(Comparable::Ordered(a.cmp(b))),
        (Scalar::Int(a), Scalar::Int(b)) => Some(Comparable::Ordered(a.cmp(b))),
        (Scalar::Int(_) | Scalar::Float(_), Scalar::Int(_) | Scalar::Float(_)) => {
            let order = match (left.as_whole(), right.as_whole()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => left.number()?.partial_cmp(&right.number()?),
            };
            order.map(Comparable::Ordered)
        }
        _ => None,
    }
}

fn holds(op: BinaryOp, order: Option<Comparable>) -> bool {
    match (op, order) {
        (BinaryOp::Eq, Some(Comparable::Equal)) | (BinaryOp::Ne, Some(Comparable::Unequal)) => true,
        (op, Some(Comparable::Ordered(order))) => match op {
            BinaryOp::Eq => order.is_eq(),
            BinaryOp::Ne => order.is_ne(),
            BinaryOp::Lt => order.is_lt(),
            BinaryOp::Le => order.is_le(),
            BinaryOp::Gt => order.is_gt(),
            BinaryOp::Ge => order.is_ge(),
            _ => false,
        },
        _ => false,
    }
}

// === impl Test ===

impl Test {
    /// Whether a value satisfies it. A constant string equals strings only, while a constant number also equals its
    /// text.
    pub(crate) fn holds(&self, value: &Scalar<'_>) -> bool {
        if let (BinaryOp::Eq, Scalar::Text(wanted), Scalar::Text(text)) = (self.op, &self.literal, value) {
            return wanted == text;
        }
        if let Scalar::Array(elements) = value {
            return any_element(self.op, elements, |op, element| self.holds_for_one(op, element));
        }
        self.holds_for_one(self.op, value)
    }

    fn holds_for_one(&self, op: BinaryOp, value: &Scalar<'_>) -> bool {
        match (op, value, &self.literal) {
            (BinaryOp::Matches, Scalar::Text(text), _) => self.matches(text) == Some(true),
            (BinaryOp::MatchesNot, Scalar::Text(text), _) => self.matches(text) == Some(false),
            (_, Scalar::Int(_) | Scalar::Float(_), Scalar::Text(_)) => false,
            _ => compare(op, value, &self.literal),
        }
    }

    fn matches(&self, text: &str) -> Option<bool> {
        self.regex.as_ref().map(|regex| regex.is_match(text))
    }
}

// === Arithmetic ===

/// The result of `+ - * / % ^`. Whole numbers stay whole where the result fits; nil where a side or the result is no
/// number.
pub(crate) fn arithmetic(op: BinaryOp, left: &Scalar<'_>, right: &Scalar<'_>) -> Scalar<'static> {
    let (Some(left), Some(right)) = (left.to_number(), right.to_number()) else { return Scalar::Nil };
    if let (Scalar::Int(a), Scalar::Int(b)) = (&left, &right)
        && let Some(whole) = whole_arithmetic(op, *a, *b)
    {
        return whole;
    }
    let (Some(a), Some(b)) = (left.number(), right.number()) else { return Scalar::Nil };
    let result = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        _ => f64::NAN,
    };
    if result.is_finite() { Scalar::Float(result) } else { Scalar::Nil }
}

/// `None` if the result does not fit.
fn whole_arithmetic(op: BinaryOp, a: i64, b: i64) -> Option<Scalar<'static>> {
    if b == 0 && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
        return Some(Scalar::Nil);
    }
    let whole = match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Div => a.checked_div(b),
        BinaryOp::Mod => a.checked_rem(b),
        _ if b < 0 => return Some(inverse_power(a, b)),
        _ => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    whole.map(Scalar::Int)
}

/// A whole number to a negative power, cut towards zero.
fn inverse_power(a: i64, b: i64) -> Scalar<'static> {
    match a {
        0 => Scalar::Nil,
        1 => Scalar::Int(1),
        -1 => Scalar::Int(if b % 2 == 0 { 1 } else { -1 }),
        _ => Scalar::Int(0),
    }
}

pub(crate) fn negate(value: &Scalar<'_>) -> Scalar<'static> {
    arithmetic(BinaryOp::Sub, &Scalar::Int(0), value)
}
