//! Tags by which senders of Zipkin and Jaeger say what OTLP has fields for. The names are those that OpenTelemetry
//! defines for its exporters to these formats, and `error` of OpenTracing and Zipkin.

use super::attributes::Value;
use super::draft::Draft;
use crate::otlp::StatusCode;

/// Adds a tag: as the field that it stands for, or as an attribute.
#[inline]
pub(crate) fn tag(draft: &mut Draft, key: &[u8], value: Value<'_>) {
    // Few tags begin like these.
    let is_field = match key.first() {
        Some(b'o') => otel(draft, key, value),
        Some(b'e') if key == b"error" => {
            error(draft, value);
            // It stays an attribute: searches by it find the span, whatever its status is.
            false
        }
        _ => false,
    };
    if !is_field {
        draft.attribute(key, value);
    }
}

fn otel(draft: &mut Draft, key: &[u8], value: Value<'_>) -> bool {
    let Value::Text(text) = value else { return false };
    match (key, text) {
        (b"otel.status_code", b"OK") => draft.set_status(StatusCode::Ok),
        (b"otel.status_code", b"ERROR") => draft.set_status(StatusCode::Error),
        (b"otel.status_description", message) => draft.set_status_message(message),
        (b"otel.scope.name" | b"otel.library.name", name) => draft.set_scope_name(name),
        (b"otel.scope.version" | b"otel.library.version", version) => draft.set_scope_version(version),
        _ => return false,
    }
    true
}

fn error(draft: &mut Draft, value: Value<'_>) {
    match value {
        Value::Bool(false) | Value::Text(b"false") => {}
        Value::Text(b"true") => draft.mark_error(b""),
        Value::Text(message) => draft.mark_error(message),
        _ => draft.mark_error(b""),
    }
}
