//! Rows of log records (`log_rows.rs`) as messages in memory, for those who change what is in them.
//!
//! Not for reading many of them: `log_view.rs` reads a row where it lies.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;

/// A row: the log records that one request had of one span.
#[derive(Clone, PartialEq, Message)]
pub struct LogRowMessage {
    /// The trace ID.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// The span ID.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// The time by which the row is sorted.
    #[prost(fixed64, tag = "7")]
    pub start: u64,
    /// The same.
    #[prost(fixed64, tag = "8")]
    pub end: u64,
    /// The records.
    #[prost(message, repeated, tag = "11")]
    pub logs: Vec<LogMessage>,
}

/// A log record in a row. The numbers above 16 are those of `log_rows::field`.
#[derive(Clone, PartialEq, Message)]
pub struct LogMessage {
    /// The record's time, else that of observation.
    #[prost(fixed64, tag = "1")]
    pub time: u64,
    /// The name of the event.
    #[prost(string, tag = "2")]
    pub event_name: String,
    /// The attributes.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
    /// How many attributes the sender has left out.
    #[prost(uint32, tag = "4")]
    pub dropped_attributes_count: u32,
    /// 1 if the record had no time of its own.
    #[prost(uint64, tag = "17")]
    pub only_observed: u64,
    /// The number of the severity.
    #[prost(uint64, tag = "18")]
    pub severity: u64,
    /// The text of the severity.
    #[prost(string, tag = "19")]
    pub severity_text: String,
    /// The body.
    #[prost(message, optional, tag = "21")]
    pub body: Option<AnyValue>,
    /// The flags of the trace.
    #[prost(fixed32, tag = "24")]
    pub flags: u32,
    /// From the time to that of observation, zigzag.
    #[prost(uint64, optional, tag = "27")]
    pub observed_after: Option<u64>,
    /// Fields that this program does not know.
    #[prost(bytes = "vec", tag = "31")]
    pub unknown: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::super::log_rows::field;
    use super::*;

    #[test]
    fn the_numbers_are_those_of_rows() {
        let log = LogMessage {
            only_observed: 1,
            severity: 2,
            severity_text: "a".to_owned(),
            body: Some(AnyValue::default()),
            flags: 3,
            observed_after: Some(4),
            unknown: vec![8, 1],
            ..LogMessage::default()
        };
        let bytes = log.encode_to_vec();
        let mut reader = super::super::wire::Reader::new(&bytes);
        let mut numbers = Vec::new();
        while let Some(field) = reader.next_field().unwrap() {
            numbers.push(field.number);
        }
        let known = [
            field::ONLY_OBSERVED,
            field::SEVERITY,
            field::SEVERITY_TEXT,
            field::BODY,
            field::FLAGS,
            field::OBSERVED_AFTER,
            field::UNKNOWN,
        ];
        assert_eq!(numbers, known);
    }
}
