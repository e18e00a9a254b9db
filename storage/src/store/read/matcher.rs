//! Decides exactly whether a span satisfies a predicate. The estimate from columns alone is in `query/pruning/`.

use spandrel_block::{Number, Rebuilder, RowFlags, Token, semantics};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, Attributes, ResourceView, SpanKind, SpanView, StatusCode};

use crate::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use crate::store::core::block_reader::BlockError;

pub(crate) const SERVICE_NAME: &str = "service.name";

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
            Field::Parentless => comparison.holds_for_bool(semantics::is_parentless(span.parent_span_id)),
            Field::Attribute(scope, key) => {
                any_attribute(*scope, key, span, resource, |value| comparison.holds_for_value(value))?
            }
        },
        Predicate::Exists(field) => exists(field, span, resource)?,
        Predicate::Absent(field) => !exists(field, span, resource)?,
    })
}

/// Whether the span of a row, rebuilt from its page, satisfies a predicate.
pub(crate) fn row_matches(
    predicate: &Predicate,
    spans: &mut Rebuilder,
    row: usize,
    trace: TraceId,
) -> Result<bool, BlockError> {
    let mut span = Vec::new();
    spans.seek(row);
    spans.next(trace, &mut span)?;
    let page = spans.page();
    let (resource, _) = page.dictionary.resource_and_scope(page.core.resource_scope[row]);
    let (span, resource) = (SpanView::parse(&span)?, ResourceView::parse(resource)?);
    Ok(matches(predicate, &span, &resource)?)
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
        // Resources without a service name have the default name, which users see and query.
        return Ok(holds(AnyValue::String(semantics::service_name(resource))));
    }
    any(resource.attributes())
}

pub(crate) fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

// === impl Comparison ===

impl Comparison {
    pub(crate) fn holds_for_value(&self, value: AnyValue<'_>) -> bool {
        match value {
            AnyValue::String(text) => self.holds_for_text(text),
            AnyValue::Bool(flag) => self.holds_for_bool(flag),
            AnyValue::Int(int) => self.holds_for_number(Number::Int(int)),
            AnyValue::Double(double) => self.holds_for_number(Number::of_double(double)),
            AnyValue::Array(message) => self.holds_for_elements(message),
            AnyValue::KeyValues(_) | AnyValue::Bytes(_) | AnyValue::Empty => false,
        }
    }

    /// The comparison holds for an array if it holds for any element; `!=` and `!~` hold if no element equals or
    /// matches. Nested arrays are skipped.
    fn holds_for_elements(&self, message: &[u8]) -> bool {
        let any = |comparison: &Self| {
            let elements = AnyValue::array_items(message).map_while(Result::ok);
            let mut scalars = elements.filter(|element| !matches!(element, AnyValue::Array(_)));
            scalars.any(|element| comparison.holds_for_value(element))
        };
        match self {
            Self::Ne(literal) => !any(&Self::Eq(literal.clone())),
            Self::MatchesNot(regex) => !any(&Self::Matches(regex.clone())),
            _ => any(self),
        }
    }

    pub(crate) fn holds_for_text(&self, text: &str) -> bool {
        let ordered = |literal: &Literal| match literal {
            Literal::String(wanted) => Some(text.cmp(wanted.as_str())),
            _ => {
                let wanted = literal.number()?;
                compare_with(Number::of_text(text)?, wanted)
            }
        };
        self.holds(ordered, Some(text))
    }

    pub(crate) fn holds_for_number(&self, number: Number) -> bool {
        self.holds(|literal| compare_with(number, literal.number()?), None)
    }

    pub(crate) fn holds_for_bool(&self, flag: bool) -> bool {
        self.holds_for_unordered(&Literal::Bool(flag))
    }

    pub(crate) fn holds_for_status(&self, status: StatusCode) -> bool {
        self.holds_for_unordered(&Literal::Status(status))
    }

    pub(crate) fn holds_for_kind(&self, kind: SpanKind) -> bool {
        self.holds_for_unordered(&Literal::Kind(kind))
    }

    /// Types without an order satisfy only `=` and `!=`, and only with a literal of the same type.
    fn holds_for_unordered(&self, value: &Literal) -> bool {
        let same_type = |literal: &Literal| std::mem::discriminant(literal) == std::mem::discriminant(value);
        match self {
            Self::Eq(literal) => literal == value,
            Self::Ne(literal) => same_type(literal) && literal != value,
            _ => false,
        }
    }

    /// `ordered` compares the value with a literal; `None` if their types differ. `text` is the value if it is a string.
    fn holds(&self, ordered: impl Fn(&Literal) -> Option<std::cmp::Ordering>, text: Option<&str>) -> bool {
        match self {
            Self::Eq(literal) => ordered(literal).is_some_and(|o| o.is_eq()),
            Self::Ne(literal) => ordered(literal).is_some_and(|o| o.is_ne()),
            Self::Lt(literal) => ordered(literal).is_some_and(|o| o.is_lt()),
            Self::Le(literal) => ordered(literal).is_some_and(|o| o.is_le()),
            Self::Gt(literal) => ordered(literal).is_some_and(|o| o.is_gt()),
            Self::Ge(literal) => ordered(literal).is_some_and(|o| o.is_ge()),
            Self::Matches(regex) => text.is_some_and(|text| regex.is_match(text)),
            Self::MatchesNot(regex) => text.is_some_and(|text| !regex.is_match(text)),
            Self::Contains(part) => text.is_some_and(|text| text.contains(part.as_str())),
            Self::StartsWith(part) => text.is_some_and(|text| text.starts_with(part.as_str())),
            Self::EndsWith(part) => text.is_some_and(|text| text.ends_with(part.as_str())),
        }
    }

    /// Whether it may hold for any number from `min` to `max`.
    pub(crate) fn may_hold_between(&self, min: Number, max: Number) -> bool {
        match self {
            Self::Lt(_) | Self::Le(_) => self.holds_for_number(min),
            Self::Gt(_) | Self::Ge(_) => self.holds_for_number(max),
            Self::Eq(literal) => {
                Self::Le(literal.clone()).holds_for_number(min)
                    && Self::Ge(literal.clone()).holds_for_number(max)
            }
            // What only texts satisfy says nothing about numbers.
            _ => true,
        }
    }

    /// Whether it orders numbers, so that only numbers, texts of numbers and arrays of these can satisfy it.
    pub(crate) fn orders_numbers(&self) -> bool {
        let (Self::Lt(literal) | Self::Le(literal) | Self::Gt(literal) | Self::Ge(literal)) = self else {
            return false;
        };
        literal.number().is_some()
    }

    /// The tokens of attributes that equal the literal, or have an element that equals it; any of them may occur. None
    /// if not only such attributes satisfy the comparison.
    pub(crate) fn tokens(&self, key: &str) -> Vec<Token> {
        let Self::Eq(literal) = self else { return Vec::new() };
        let key = Token::of_key(key);
        match literal {
            Literal::String(text) => vec![key.with_string(text)],
            Literal::Bool(flag) => vec![key.with_bool(*flag)],
            _ => literal.number().map_or(Vec::new(), |number| {
                let texts = number.texts();
                let texts = texts.iter().map(|text| key.with_string(text));
                std::iter::once(key.with_number(number)).chain(texts).collect()
            }),
        }
    }
}

// === impl Literal ===

impl Literal {
    fn number(&self) -> Option<Number> {
        match self {
            Self::Int(int) => Some(Number::Int(*int)),
            Self::Float(double) => Some(Number::of_double(*double)),
            _ => None,
        }
    }
}

fn compare_with(a: Number, b: Number) -> Option<std::cmp::Ordering> {
    let double = |number| match number {
        Number::Int(int) => int as f64,
        Number::Double(double) => double,
    };
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        _ => double(a).partial_cmp(&double(b)),
    }
}
