//! OTLP traces, and logs of spans: protobuf and JSON, read and written without generated types.
//!
//! Field numbers and the JSON mapping are those of the OpenTelemetry protocol
//! (`opentelemetry/proto/trace/v1/trace.proto`, `opentelemetry/proto/logs/v1/logs.proto` and their neighbours). Tests compare this module with the crate
//! `opentelemetry-proto`.

mod attribute;
mod decode;
mod head;
mod json_in;
mod json_out;
mod log_message;
mod log_rows;
#[cfg(test)]
mod log_tests;
mod log_view;
mod plain;
mod raw;
mod rejections;
mod view;
pub mod wire;

pub use attribute::{AnyValue, Attributes, KeyValueView};
pub use decode::{DecodeError, DecodeLimits, Decoded, DecodedSpan, WithoutSpan, decode_request};
pub use head::SpanHead;
pub use json_in::{JsonError, decode_json_logs_request, decode_json_request};
pub use json_out::{
    write_any_value, write_attributes, write_event, write_link, write_logs_json, write_request_json,
    write_resource_entry, write_string,
};
pub use log_message::{LogMessage, LogRowMessage};
pub use log_rows::{decode_logs_request, field as row_field};
pub use log_view::{LogView, logs_of};
pub use raw::{RawValue, SpanKey, raw_attribute};
pub use rejections::Rejections;
pub use view::{EntityRefView, EventView, LinkView, ResourceView, ScopeView, SpanKind, SpanView, StatusCode};

/// One span with its resource and scope, which are stored and returned unchanged.
#[derive(Clone, Copy, Debug)]
pub struct SpanRecord<'a> {
    /// A `ResourceSpans` message without its `scope_spans`.
    pub resource: &'a [u8],
    /// A `ScopeSpans` message without its `spans`.
    pub scope: &'a [u8],
    /// A `Span` message.
    pub span: &'a [u8],
}
