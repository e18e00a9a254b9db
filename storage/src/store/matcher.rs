//! Whether a span satisfies a predicate: exactly, on the span; or as an upper bound, on columns.
//!
//! Predicates have no negation above comparisons, so a comparison that columns cannot decide may be
//! taken as true: rows that fall through the columns are then looked at in full.

use regex::Regex;
use spandrel_block::{Dictionary, Number, RowFlags, Token, TokenFilter, semantics};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, Attributes, ResourceView, SpanKind, SpanView, StatusCode};

use crate::plan::{AttributeScope, Comparison, Field, Literal, Predicate};

const SERVICE_NAME: &str = "service.name";

// === on a span ===

/// Whether a span satisfies a predicate.
pub(crate) fn matches(
    predicate: &Predicate,
    span: &SpanView<'_>,
    resource: &ResourceView<'_>,
) -> Result<bool, WireError> {
    Ok(match predicate {
        Predicate::All => true,
        Predicate::And(parts) => {
            for part in parts {
                if !matches(part, span, resource)? {
                    return Ok(false);
                }
            }
            true
        }
        Predicate::Or(parts) => {
            for part in parts {
                if matches(part, span, resource)? {
                    return Ok(true);
                }
            }
            false
        }
        Predicate::Compare(field, comparison) => match field {
            Field::Name => comparison.holds_for_text(span.name),
            Field::Duration => comparison.holds_for_number(Number::Int(clamp(span.duration()))),
            Field::Status => comparison.holds_for_status(span.status()),
            Field::Kind => comparison.holds_for_kind(RowFlags::of(span, false).kind()),
            Field::Failed => comparison.holds_for_bool(semantics::has_failed(span)?),
            Field::Attribute(scope, key) => {
                any_attribute(*scope, key, span, resource, |value| comparison.holds_for_value(value))?
            }
        },
        Predicate::Exists(field) => exists(field, span, resource)?,
        Predicate::Absent(field) => !exists(field, span, resource)?,
    })
}

/// A text that every span that satisfies the predicate has among its bytes, if there is one. Looking
/// for it is many times faster than reading the span. `in_resource` tells whether a resource could
/// hold the text instead.
pub(crate) fn required_text<'p>(
    predicate: &'p Predicate,
    in_resource: &mut dyn FnMut(&str) -> bool,
) -> Option<&'p str> {
    match predicate {
        Predicate::And(parts) => parts.iter().find_map(|part| required_text(part, in_resource)),
        Predicate::Compare(Field::Attribute(scope, _), Comparison::Eq(Literal::String(text))) => {
            let only_on_span = match scope {
                AttributeScope::Span => true,
                AttributeScope::Any => !in_resource(text),
                AttributeScope::Resource => false,
            };
            (only_on_span && !text.is_empty()).then_some(text)
        }
        _ => None,
    }
}

fn exists(field: &Field, span: &SpanView<'_>, resource: &ResourceView<'_>) -> Result<bool, WireError> {
    match field {
        Field::Attribute(scope, key) => any_attribute(*scope, key, span, resource, |_| true),
        _ => Ok(true),
    }
}

fn any_attribute(
    scope: AttributeScope,
    key: &str,
    span: &SpanView<'_>,
    resource: &ResourceView<'_>,
    holds: impl Fn(AnyValue<'_>) -> bool,
) -> Result<bool, WireError> {
    let any = |attributes: Attributes<'_>| -> Result<bool, WireError> {
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.key == key && holds(attribute.value.unwrap_or(AnyValue::Empty)) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if scope != AttributeScope::Resource && any(span.attributes())? {
        return Ok(true);
    }
    if scope == AttributeScope::Span {
        return Ok(false);
    }
    if key == SERVICE_NAME {
        // The name that people see, also for resources that do not say theirs.
        return Ok(holds(AnyValue::String(semantics::service_name(resource))));
    }
    any(resource.attributes())
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

// === on columns ===

/// A predicate made ready for the rows of one block.
#[derive(Debug)]
pub(crate) enum BlockPredicate {
    Constant(bool),
    /// By index of the operation.
    Operation(Vec<bool>),
    Duration(Comparison),
    Flags(Field, Comparison),
    /// Needs the span itself.
    Span,
    And(Vec<BlockPredicate>),
    Or(Vec<BlockPredicate>),
}

/// The columns of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnRow {
    pub(crate) operation: u32,
    pub(crate) duration: u64,
    pub(crate) flags: RowFlags,
}

impl BlockPredicate {
    /// Prepares a predicate for a block. `filter` is asked for only when an attribute is compared.
    pub(crate) fn new<E>(
        predicate: &Predicate,
        dictionary: &Dictionary,
        filter: &mut dyn FnMut() -> Result<std::sync::Arc<TokenFilter>, E>,
    ) -> Result<Self, E> {
        Ok(match predicate {
            Predicate::All => Self::Constant(true),
            Predicate::And(parts) => Self::and(Self::each(parts, dictionary, filter)?),
            Predicate::Or(parts) => Self::or(Self::each(parts, dictionary, filter)?),
            Predicate::Compare(Field::Name, comparison) => {
                Self::operation(dictionary, |_, name| comparison.holds_for_text(name))
            }
            Predicate::Compare(Field::Duration, comparison) => Self::Duration(comparison.clone()),
            Predicate::Compare(field @ (Field::Status | Field::Kind | Field::Failed), comparison) => {
                Self::Flags(field.clone(), comparison.clone())
            }
            Predicate::Compare(Field::Attribute(AttributeScope::Resource, key), comparison)
                if key == SERVICE_NAME =>
            {
                Self::operation(dictionary, |service, _| comparison.holds_for_text(service))
            }
            Predicate::Compare(Field::Attribute(scope, key), comparison) => {
                let token = comparison.token(key).unwrap_or_else(|| Token::of_key(key));
                let service = key == SERVICE_NAME && *scope == AttributeScope::Any;
                if service || filter()?.may_contain(token) { Self::Span } else { Self::Constant(false) }
            }
            Predicate::Exists(Field::Attribute(_, key)) if key != SERVICE_NAME => {
                if filter()?.may_contain(Token::of_key(key)) { Self::Span } else { Self::Constant(false) }
            }
            Predicate::Exists(Field::Attribute(..)) | Predicate::Absent(Field::Attribute(..)) => Self::Span,
            Predicate::Exists(_) => Self::Constant(true),
            Predicate::Absent(_) => Self::Constant(false),
        })
    }

    fn each<E>(
        parts: &[Predicate],
        dictionary: &Dictionary,
        filter: &mut dyn FnMut() -> Result<std::sync::Arc<TokenFilter>, E>,
    ) -> Result<Vec<Self>, E> {
        parts.iter().map(|part| Self::new(part, dictionary, filter)).collect()
    }

    fn operation(dictionary: &Dictionary, holds: impl Fn(&str, &str) -> bool) -> Self {
        let service = |index: u32| dictionary.services[index as usize].as_str();
        let table: Vec<bool> =
            dictionary.operations.iter().map(|(s, name)| holds(service(*s), name)).collect();
        match table.iter().all(|known| *known == table[0]) {
            true => Self::Constant(table.first().copied().unwrap_or(false)),
            false => Self::Operation(table),
        }
    }

    fn and(mut parts: Vec<Self>) -> Self {
        parts.retain(|part| !matches!(part, Self::Constant(true)));
        if parts.iter().any(|part| matches!(part, Self::Constant(false))) {
            return Self::Constant(false);
        }
        if parts.is_empty() { Self::Constant(true) } else { Self::And(parts) }
    }

    fn or(mut parts: Vec<Self>) -> Self {
        parts.retain(|part| !matches!(part, Self::Constant(false)));
        if parts.iter().any(|part| matches!(part, Self::Constant(true))) {
            return Self::Constant(true);
        }
        if parts.is_empty() { Self::Constant(false) } else { Self::Or(parts) }
    }

    /// Whether columns alone cannot decide.
    pub(crate) fn needs_span(&self) -> bool {
        match self {
            Self::Span => true,
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::needs_span),
            _ => false,
        }
    }

    /// Whether a row may match; exact unless [`Self::needs_span`].
    pub(crate) fn may_match(&self, row: ColumnRow) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Operation(table) => table[row.operation as usize],
            Self::Duration(comparison) => comparison.holds_for_number(Number::Int(clamp(row.duration))),
            Self::Flags(Field::Status, comparison) => comparison.holds_for_status(row.flags.status()),
            Self::Flags(Field::Kind, comparison) => comparison.holds_for_kind(row.flags.kind()),
            Self::Flags(_, comparison) => comparison.holds_for_bool(row.flags.failed()),
            Self::Span => true,
            Self::And(parts) => parts.iter().all(|part| part.may_match(row)),
            Self::Or(parts) => parts.iter().any(|part| part.may_match(row)),
        }
    }
}

// === impl Comparison ===

impl Comparison {
    fn holds_for_value(&self, value: AnyValue<'_>) -> bool {
        match value {
            AnyValue::String(text) => self.holds_for_text(text),
            AnyValue::Bool(flag) => self.holds_for_bool(flag),
            AnyValue::Int(int) => self.holds_for_number(Number::Int(int)),
            AnyValue::Double(double) => self.holds_for_number(Number::of_double(double)),
            AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) | AnyValue::Empty => false,
        }
    }

    fn holds_for_text(&self, text: &str) -> bool {
        let ordered = |literal: &Literal| match literal {
            Literal::String(wanted) => Some(text.cmp(wanted.as_str())),
            _ => None,
        };
        self.holds(ordered, |regex| Some(regex.is_match(text)))
    }

    fn holds_for_number(&self, number: Number) -> bool {
        let ordered = |literal: &Literal| match literal {
            Literal::Int(int) => compare_numbers(number, Number::Int(*int)),
            Literal::Float(double) => compare_numbers(number, Number::of_double(*double)),
            _ => None,
        };
        self.holds(ordered, |_| None)
    }

    fn holds_for_bool(&self, flag: bool) -> bool {
        self.holds_for_unordered(&Literal::Bool(flag))
    }

    fn holds_for_status(&self, status: StatusCode) -> bool {
        self.holds_for_unordered(&Literal::Status(status))
    }

    fn holds_for_kind(&self, kind: SpanKind) -> bool {
        self.holds_for_unordered(&Literal::Kind(kind))
    }

    /// For types without an order: only `=` and `!=` hold, and only for a literal of the same type.
    fn holds_for_unordered(&self, value: &Literal) -> bool {
        let same_type = |literal: &Literal| std::mem::discriminant(literal) == std::mem::discriminant(value);
        match self {
            Self::Eq(literal) => literal == value,
            Self::Ne(literal) => same_type(literal) && literal != value,
            _ => false,
        }
    }

    /// `ordered` compares the value with a literal, if they can be compared.
    fn holds(
        &self,
        ordered: impl Fn(&Literal) -> Option<std::cmp::Ordering>,
        is_match: impl Fn(&Regex) -> Option<bool>,
    ) -> bool {
        match self {
            Self::Eq(literal) => ordered(literal).is_some_and(|o| o.is_eq()),
            Self::Ne(literal) => ordered(literal).is_some_and(|o| o.is_ne()),
            Self::Lt(literal) => ordered(literal).is_some_and(|o| o.is_lt()),
            Self::Le(literal) => ordered(literal).is_some_and(|o| o.is_le()),
            Self::Gt(literal) => ordered(literal).is_some_and(|o| o.is_gt()),
            Self::Ge(literal) => ordered(literal).is_some_and(|o| o.is_ge()),
            Self::Matches(regex) => is_match(regex) == Some(true),
            Self::MatchesNot(regex) => is_match(regex) == Some(false),
        }
    }

    /// The token that an attribute has if it equals the literal.
    fn token(&self, key: &str) -> Option<Token> {
        let key = Token::of_key(key);
        match self {
            Self::Eq(Literal::String(text)) => Some(key.with_string(text)),
            Self::Eq(Literal::Int(int)) => Some(key.with_number(Number::Int(*int))),
            Self::Eq(Literal::Float(double)) => Some(key.with_number(Number::of_double(*double))),
            Self::Eq(Literal::Bool(flag)) => Some(key.with_bool(*flag)),
            _ => None,
        }
    }
}

fn compare_numbers(a: Number, b: Number) -> Option<std::cmp::Ordering> {
    let double = |number| match number {
        Number::Int(int) => int as f64,
        Number::Double(double) => double,
    };
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        _ => double(a).partial_cmp(&double(b)),
    }
}
