//! Values while a query runs: their types, comparison and arithmetic.
//!
//! Numbers compare with each other whatever their type, and with a string that is the text of a number. Every other
//! pair of different types compares as false. Arithmetic on anything but numbers gives nil, and nil compares as false.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;
use spandrel_storage::table::Value;
use spandrel_traceql::ast::{BinaryOp, Kind, Literal, Status};

/// A value of one span.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'t> {
    /// No value.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number; also a duration in nanoseconds.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Cow<'t, str>),
    /// A status.
    Status(Status),
    /// A kind.
    Kind(Kind),
    /// A list.
    Array(&'t [Value]),
    /// A value that has no order and equals nothing: bytes, key-values, a value without a type.
    Opaque,
}

/// A value as a key of groups: equal values of one type are one key, NaN included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Nil,
    Bool(bool),
    Int(i64),
    /// By [`float_key`].
    Float(i64),
    Text(Box<str>),
    Status(u8),
    Kind(u8),
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

// === impl Scalar ===

impl<'t> Scalar<'t> {
    pub(crate) fn of_value(value: &'t Value) -> Self {
        match value {
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Int(int) => Self::Int(*int),
            Value::Double(double) => Self::Float(*double),
            Value::Array(elements) => Self::Array(elements),
            Value::Empty | Value::Bytes(_) | Value::KeyValues(_) => Self::Opaque,
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

    /// The number that it is.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Text(_) = self { None } else { self.number() }
    }

    /// The whole number that it is, also as a float, so that large ones compare without rounding, as in the store.
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

    /// The number that it is, or whose text it is, as a value.
    fn to_number(&self) -> Option<Scalar<'static>> {
        match self {
            Self::Int(int) => Some(Scalar::Int(*int)),
            Self::Float(float) => Some(Scalar::Float(*float)),
            Self::Text(text) => numeric_text(text),
            _ => None,
        }
    }

    /// The number that it is, or whose text it is.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::Text(text) => numeric_text(text).and_then(|number| number.number()),
            _ => None,
        }
    }

    /// The key of groups by this value.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Nil => Key::Nil,
            Self::Bool(flag) => Key::Bool(*flag),
            Self::Int(int) => Key::Int(*int),
            Self::Float(float) => Key::Float(float_key(*float)),
            Self::Text(text) => Key::Text(text.as_ref().into()),
            Self::Status(status) => Key::Status(*status as u8),
            Self::Kind(kind) => Key::Kind(*kind as u8),
            Self::Array(elements) => Key::Text(list_text(elements).into()),
            Self::Opaque => Key::Opaque,
        }
    }

    /// Without a borrow of the table; a list becomes its text.
    pub(crate) fn into_owned(self) -> Scalar<'static> {
        match self {
            Self::Nil => Scalar::Nil,
            Self::Bool(flag) => Scalar::Bool(flag),
            Self::Int(int) => Scalar::Int(int),
            Self::Float(float) => Scalar::Float(float),
            Self::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Self::Status(status) => Scalar::Status(status),
            Self::Kind(kind) => Scalar::Kind(kind),
            Self::Array(elements) => Scalar::Text(Cow::Owned(list_text(elements))),
            Self::Opaque => Scalar::Opaque,
        }
    }
}

/// A number with the order of the floats; equal ones, and all NaN, have one.
fn float_key(float: f64) -> i64 {
    let float = if float.is_nan() { f64::NAN } else { float + 0.0 };
    let bits = float.to_bits() as i64;
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// A list as JSON writes it, but for values that JSON does not have, which are left out.
fn list_text(elements: &[Value]) -> String {
    let element = |element: &Value| match element {
        Value::String(text) => Some(format!("{text:?}")),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Int(int) => Some(int.to_string()),
        Value::Double(double) => Some(double.to_string()),
        Value::Array(nested) => Some(list_text(nested)),
        Value::Empty | Value::Bytes(_) | Value::KeyValues(_) => None,
    };
    let elements: Vec<String> = elements.iter().filter_map(element).collect();
    format!("[{}]", elements.join(","))
}

/// The number of which a text is the canonical form: `503`, `-0.5`, but neither `0503` nor `5e2`.
pub(crate) fn numeric_text(text: &str) -> Option<Scalar<'static>> {
    if !text.bytes().next_back()?.is_ascii_digit() {
        return None;
    }
    if let Ok(int) = text.parse::<i64>() {
        return (int.to_string() == text).then_some(Scalar::Int(int));
    }
    let float: f64 = text.parse().ok()?;
    (float.is_finite() && float.to_string() == text).then_some(Scalar::Float(float))
}

// === Comparison ===

/// Whether a comparison of two values of spans holds; never for nil. Lists hold when any of their elements does; `!=` and `!~` when no
/// element is or matches the other side.
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
    match (left, right) {
        (Scalar::Text(text), Scalar::Text(other)) if is_text_operator(op) => holds_for_texts(op, text, other),
        (Scalar::Text(text), Scalar::Int(_) | Scalar::Float(_)) => {
            numeric_text(text).is_some_and(|number| holds(op, order(&number, right)))
        }
        (Scalar::Int(_) | Scalar::Float(_), Scalar::Text(text)) => {
            numeric_text(text).is_some_and(|number| holds(op, order(left, &number)))
        }
        _ => holds(op, order(left, right)),
    }
}

/// Nested lists are skipped.
fn any_element(op: BinaryOp, elements: &[Value], holds: impl Fn(BinaryOp, &Scalar<'_>) -> bool) -> bool {
    let any = |op| {
        let scalars = elements.iter().filter(|element| !matches!(element, Value::Array(_)));
        scalars.map(Scalar::of_value).any(|element| holds(op, &element))
    };
    match op {
        BinaryOp::Ne => !any(BinaryOp::Eq),
        BinaryOp::MatchesNot => !any(BinaryOp::Matches),
        op => any(op),
    }
}

fn is_text_operator(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Contains | BinaryOp::StartsWith | BinaryOp::EndsWith)
}

fn holds_for_texts(op: BinaryOp, text: &str, other: &str) -> bool {
    match op {
        BinaryOp::Contains => text.contains(other),
        BinaryOp::StartsWith => text.starts_with(other),
        _ => text.ends_with(other),
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

enum Comparable {
    Ordered(Ordering),
    Equal,
    Unequal,
}

fn holds(op: BinaryOp, order: Option<Comparable>) -> bool {
    match (op, order) {
        (_, None) => false,
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

/// The result of `+ - * / % ^`. Whole numbers stay whole, and a quotient of them is cut; what does not fit into 64 bits
/// becomes a float. Nil if a side is no number, and where the result is none, as after a division by zero.
pub(crate) fn arithmetic(op: BinaryOp, left: &Scalar<'_>, right: &Scalar<'_>) -> Scalar<'static> {
    let (Some(left), Some(right)) = (left.to_number(), right.to_number()) else { return Scalar::Nil };
    if let (Scalar::Int(a), Scalar::Int(b)) = (&left, &right)
        && let Some(whole) = whole_arithmetic(op, *a, *b)
    {
        return whole;
    }
    match (left.number(), right.number()) {
        (Some(a), Some(b)) => {
            let result = float_arithmetic(op, a, b);
            if result.is_finite() { Scalar::Float(result) } else { Scalar::Nil }
        }
        _ => Scalar::Nil,
    }
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

pub(crate) fn float_arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        _ => a.powf(b),
    }
}

pub(crate) fn negate(value: &Scalar<'_>) -> Scalar<'static> {
    arithmetic(BinaryOp::Sub, &Scalar::Int(0), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(text))
    }

    #[test]
    fn canonical_texts_are_numbers() {
        assert_eq!(numeric_text("503"), Some(Scalar::Int(503)));
        assert_eq!(numeric_text("-0.5"), Some(Scalar::Float(-0.5)));
        for other in ["", "0503", "5e2", "503.0", " 503", "+5", "NaN", "inf", "a1", ".5", "-"] {
            assert_eq!(numeric_text(other), None, "{other}");
        }
    }

    #[test]
    fn a_number_equals_its_text_but_a_text_no_number() {
        let test = |op, literal| Test { op, literal, regex: None };
        let eq_503 = test(BinaryOp::Eq, Scalar::Int(503));
        assert!(eq_503.holds(&text("503")) && eq_503.holds(&Scalar::Float(503.0)));
        assert!(!test(BinaryOp::Eq, text("503").into_owned()).holds(&Scalar::Int(503)));
        assert!(test(BinaryOp::Ge, Scalar::Int(500)).holds(&text("503")));
        assert!(!test(BinaryOp::Ne, Scalar::Int(500)).holds(&text("GET")));
    }

    #[test]
    fn lists_hold_by_element() {
        let list = [Value::Int(1), Value::String("a".to_owned())];
        let list = Scalar::Array(&list);
        let test = |op, literal| Test { op, literal, regex: None }.holds(&list);
        assert!(test(BinaryOp::Eq, text("a").into_owned()) && test(BinaryOp::Lt, Scalar::Int(2)));
        assert!(!test(BinaryOp::Ne, Scalar::Int(1)) && test(BinaryOp::Ne, Scalar::Int(2)));
    }

    #[test]
    fn whole_numbers_stay_whole_while_they_fit() {
        let of = |op, a, b| arithmetic(op, &Scalar::Int(a), &Scalar::Int(b));
        assert_eq!(of(BinaryOp::Div, 7, 2), Scalar::Int(3));
        assert_eq!(of(BinaryOp::Div, 7, 0), Scalar::Nil);
        assert_eq!(of(BinaryOp::Pow, 2, 10), Scalar::Int(1024));
        assert_eq!((of(BinaryOp::Pow, 10, -1), of(BinaryOp::Pow, -1, -3)), (Scalar::Int(0), Scalar::Int(-1)));
        assert_eq!(of(BinaryOp::Mul, i64::MAX, 2), Scalar::Float(i64::MAX as f64 * 2.0));
        assert_eq!(arithmetic(BinaryOp::Add, &Scalar::Nil, &Scalar::Int(1)), Scalar::Nil);
    }
}
