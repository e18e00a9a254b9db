//! Definitions of the glossary's words for one span (`docs/semantics.md#failed`, `#error-code`, `#service`,
//! `#request`), and of a trace's root (`docs/semantics.md#trace`).
//!
//! Pure functions over views, shared by the store (columns, rollups, summaries) and by assembly.

use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, EventView, RawValue, ResourceView, SpanKind, SpanView, StatusCode};

/// The service of spans whose resource has no `service.name`.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// The service that a resource names, or [`UNKNOWN_SERVICE`].
pub fn service_name<'a>(resource: &ResourceView<'a>) -> &'a str {
    match resource.string_attribute("service.name") {
        Some(name) if !name.is_empty() => name,
        _ => UNKNOWN_SERVICE,
    }
}

/// The attribute that marks a span without a status as failed.
pub const ERROR_ATTRIBUTE: &str = "error";

/// Whether a span has failed: its status is ERROR, or is UNSET with attribute `error` true or `"true"`.
pub fn has_failed(span: &SpanView<'_>) -> Result<bool, WireError> {
    let mut error = false;
    if span.status() == StatusCode::Unset {
        span.visit_raw_attributes(|key, value| {
            if key == ERROR_ATTRIBUTE.as_bytes() {
                error = matches!(value, RawValue::Bool(true) | RawValue::String(b"true"));
            }
        })?;
    }
    Ok(failed(span.status(), error))
}

/// Like [`has_failed`], given the status and whether the attribute is true.
pub fn failed(status: StatusCode, error: bool) -> bool {
    match status {
        StatusCode::Error => true,
        StatusCode::Ok => false,
        StatusCode::Unset => error,
    }
}

/// Whether a span is a request: kind SERVER or CONSUMER, or without a parent.
pub fn is_request(kind: SpanKind, has_parent: bool) -> bool {
    !has_parent || matches!(kind, SpanKind::Server | SpanKind::Consumer)
}

/// A short code for the failure of a span; `None` unless the span failed and names a code.
pub fn error_code(span: &SpanView<'_>) -> Result<Option<String>, WireError> {
    error_code_with(span, std::iter::empty())
}

/// The same, given the log records of the span as well, in the order of their times.
pub fn error_code_with<'l>(
    span: &SpanView<'_>,
    logs: impl Iterator<Item = EventView<'l>>,
) -> Result<Option<String>, WireError> {
    if !has_failed(span)? {
        return Ok(None);
    }
    let mut ranked: [Option<String>; 9] = Default::default();
    for attribute in span.attributes() {
        let attribute = attribute?;
        let Some(value) = attribute.value else { continue };
        let (rank, code) = match attribute.key {
            "error.type" => (0, text(value)),
            "http.response.status_code" => (1, http_code(value)),
            "http.status_code" => (2, http_code(value)),
            "rpc.status_code" => (3, rpc_code(value)),
            "rpc.response.status_code" => (4, rpc_code(value)),
            "rpc.grpc.status_code" => (5, rpc_code(value)),
            "grpc.status_code" => (6, rpc_code(value)),
            "db.response.status_code" => (7, text(value)),
            "response_flags" => (8, text(value).filter(|flags| flags != "-")),
            _ => continue,
        };
        ranked[rank] = code;
    }
    let [error_type, http, old_http, rpc, older_rpc, grpc, old_grpc, db, flags] = ranked;
    let early = error_type.or(http).or(old_http).or(rpc).or(older_rpc).or(grpc).or(old_grpc).or(db);
    if early.is_some() {
        return Ok(early);
    }
    Ok(last_exception_type(span, logs)?.or(flags))
}

/// The type of the exception that an event or log record tells of, if it does. Logging libraries give their records no
/// event name.
pub fn exception_type<'e>(event: &EventView<'e>) -> Option<&'e str> {
    let may_be = event.name.is_empty() || event.name == "exception" || event.name.ends_with(".exception");
    let kind = may_be.then(|| event.attributes().string("exception.type")).flatten();
    kind.filter(|kind| !kind.is_empty())
}

/// The type of the last exception: the last event of the span that tells of one, or a log record that is not earlier.
fn last_exception_type<'l>(
    span: &SpanView<'_>,
    logs: impl Iterator<Item = EventView<'l>>,
) -> Result<Option<String>, WireError> {
    let mut last: Option<(u64, String)> = None;
    for event in span.events() {
        let event = event?;
        if let Some(kind) = exception_type(&event) {
            last = Some((event.time, kind.to_owned()));
        }
    }
    for event in logs {
        let is_earlier = last.as_ref().is_some_and(|(time, _)| event.time < *time);
        if let Some(kind) = exception_type(&event).filter(|_| !is_earlier) {
            last = Some((event.time, kind.to_owned()));
        }
    }
    Ok(last.map(|(_, kind)| kind))
}

fn text(value: AnyValue<'_>) -> Option<String> {
    match value {
        AnyValue::String("") => None,
        AnyValue::String(text) => Some(text.to_owned()),
        AnyValue::Int(int) => Some(int.to_string()),
        _ => None,
    }
}

fn http_code(value: AnyValue<'_>) -> Option<String> {
    let code = match value {
        AnyValue::Int(int) => int,
        AnyValue::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (code >= 400).then(|| code.to_string())
}

fn rpc_code(value: AnyValue<'_>) -> Option<String> {
    text(value).filter(|code| code != "0" && code != "OK")
}

/// The fields of a span that decide which span is the root.
#[derive(Debug, Clone, Copy)]
pub struct RootCandidate<'a> {
    /// Its start in nanoseconds.
    pub start: u64,
    /// Its ID as sent.
    pub span_id: &'a [u8],
    /// Its parent's ID; empty or zeros without a parent.
    pub parent_id: &'a [u8],
}

/// The root of a trace: the earliest parentless span, else the earliest span whose parent is missing, else (if all are
/// in cycles) the earliest span. Spans have to be sorted by (start, span ID).
pub fn root_of(spans: &[RootCandidate<'_>]) -> Option<usize> {
    if let Some(root) = spans.iter().position(|span| is_parentless(span.parent_id)) {
        return Some(root);
    }
    let ids: std::collections::HashSet<&[u8]> = spans.iter().map(|span| span.span_id).collect();
    let orphan = spans.iter().position(|span| !ids.contains(span.parent_id));
    orphan.or((!spans.is_empty()).then_some(0))
}

/// Whether the ID stands for no parent; some exporters write it as eight zero bytes.
pub fn is_parentless(parent_id: &[u8]) -> bool {
    parent_id.iter().all(|byte| *byte == 0)
}
