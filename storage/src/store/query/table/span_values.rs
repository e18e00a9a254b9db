//! The values of a column, read from a span, its resource and its scope. The definition of every column is here.

use spandrel_block::semantics::service_name;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, Attributes, ResourceView, ScopeView, SpanView};

use crate::store::read::matcher::SERVICE_NAME;
use crate::table::{AttributeLevel, ColumnName, Value};

/// Shows the values of a column that resource and scope decide; none of another column.
pub(crate) fn each_value_of_scope(
    column: &ColumnName,
    resource: &[u8],
    scope: &[u8],
    mut tell: impl FnMut(Value),
) -> Result<(), WireError> {
    match column {
        ColumnName::Attribute(AttributeLevel::Resource, key) => {
            let resource = ResourceView::parse(resource)?;
            if key == SERVICE_NAME {
                tell(Value::String(service_name(&resource).to_owned()));
                return Ok(());
            }
            each_attribute(resource.attributes(), key, &mut tell)
        }
        ColumnName::Attribute(AttributeLevel::Scope, key) => {
            each_attribute(ScopeView::parse(scope)?.attributes(), key, &mut tell)
        }
        ColumnName::ScopeName => tell_text(ScopeView::parse(scope)?.name, tell),
        ColumnName::ScopeVersion => tell_text(ScopeView::parse(scope)?.version, tell),
        _ => Ok(()),
    }
}

/// Shows the values of a column that the span itself decides; none of another column.
pub(crate) fn each_value_of_span(
    column: &ColumnName,
    span: &SpanView<'_>,
    mut tell: impl FnMut(Value),
) -> Result<(), WireError> {
    match column {
        ColumnName::Attribute(AttributeLevel::Span, key) => {
            each_attribute(span.attributes(), key, &mut tell)?;
        }
        ColumnName::Attribute(AttributeLevel::Event, key) => {
            for event in span.events() {
                each_attribute(event?.attributes(), key, &mut tell)?;
            }
        }
        ColumnName::Attribute(AttributeLevel::Link, key) => {
            for link in span.links() {
                each_attribute(link?.attributes(), key, &mut tell)?;
            }
        }
        ColumnName::StatusMessage => tell_text(span.status_message, tell)?,
        ColumnName::TraceState => tell_text(span.trace_state, tell)?,
        ColumnName::Flags if span.flags != 0 => tell(Value::Int(i64::from(span.flags))),
        ColumnName::EventName => {
            for event in span.events() {
                tell(Value::String(event?.name.to_owned()));
            }
        }
        ColumnName::EventTimeSinceStart => {
            for event in span.events() {
                tell(time_since(span.start, event?.time));
            }
        }
        ColumnName::LinkTraceId => {
            for link in span.links() {
                tell(hex(link?.trace_id));
            }
        }
        ColumnName::LinkSpanId => {
            for link in span.links() {
                tell(hex(link?.span_id));
            }
        }
        _ => {}
    }
    Ok(())
}

fn each_attribute(
    attributes: Attributes<'_>,
    key: &str,
    tell: &mut impl FnMut(Value),
) -> Result<(), WireError> {
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.key == key {
            tell(value_of(attribute.value.unwrap_or(AnyValue::Empty))?);
        }
    }
    Ok(())
}

fn tell_text(text: &str, mut tell: impl FnMut(Value)) -> Result<(), WireError> {
    if !text.is_empty() {
        tell(Value::String(text.to_owned()));
    }
    Ok(())
}

/// An attribute's value as tables have it.
pub(super) fn value_of(value: AnyValue<'_>) -> Result<Value, WireError> {
    Ok(match value {
        AnyValue::Empty => Value::Empty,
        AnyValue::String(text) => Value::String(text.to_owned()),
        AnyValue::Bool(flag) => Value::Bool(flag),
        AnyValue::Int(int) => Value::Int(int),
        AnyValue::Double(double) => Value::Double(double),
        AnyValue::Array(message) => {
            let elements = AnyValue::array_items(message).map(|element| value_of(element?));
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
        AnyValue::KeyValues(message) => Value::KeyValues(message.to_vec()),
        AnyValue::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
    })
}

/// The nanoseconds from a span's start to another time, as far as they fit.
pub(super) fn time_since(start: u64, time: u64) -> Value {
    let since = i128::from(time) - i128::from(start);
    Value::Int(since.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> Value {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Value::String(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}
