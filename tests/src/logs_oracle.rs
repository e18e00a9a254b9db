//! Log requests in both formats against each other and against prost: no record is lost or made up, rows hold what the
//! records said, and what is written of rows decodes to the same rows. The property test and the fuzz target share it.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use spandrel_proto::otlp::wire::put_bytes;
use spandrel_proto::otlp::{
    DecodeLimits, Decoded, SpanRecord, SpanView, decode_json_logs_request, decode_logs_request, logs_of,
    write_logs_json,
};

/// `ExportLogsServiceRequest`, as far as records are compared. The generated types of this workspace have no logs.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// `ResourceLogs` without its resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLogs {
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// `ScopeLogs` without its scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// `LogRecord`.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub time: u64,
    #[prost(uint64, tag = "2")]
    pub severity_number: u64,
    #[prost(string, tag = "3")]
    pub severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "8")]
    pub flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    pub observed: u64,
    #[prost(string, tag = "12")]
    pub event_name: String,
}

/// Panics if records of a protobuf body are lost, made up or changed.
pub fn check(body: &[u8]) {
    let Ok(ours) = decode_logs_request(Bytes::copy_from_slice(body), &DecodeLimits::default()) else {
        return;
    };
    check_rows(&ours);
    let Ok(theirs) = Request::decode(body) else { return };
    let all = theirs.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let all: u64 = all.map(|scope| scope.log_records.len() as u64).sum();
    assert_eq!(ours.log_records + ours.without_span.count + ours.rejected.count, all);
}

/// The same of a JSON text.
pub fn check_text(text: &[u8]) {
    if let Ok(ours) = decode_json_logs_request(&mut &*text, &DecodeLimits::default()) {
        check_rows(&ours);
    }
}

/// What is written of rows, in either format, decodes to the same rows.
fn check_rows(ours: &Decoded) {
    assert!(ours.spans.is_empty());
    let (mut body, mut count) = (Vec::new(), 0);
    for record in records(ours) {
        let Ok(row) = SpanView::parse(record.span) else { panic!("a row cannot be read") };
        let mut scope = record.scope.to_vec();
        for log in logs_of(&row) {
            let mut message = Vec::new();
            let Ok(()) = log.and_then(|log| log.write_message(&mut message, &row)) else {
                panic!("a record cannot be written");
            };
            put_bytes(&mut scope, 2, &message);
            count += 1;
        }
        let mut resource = record.resource.to_vec();
        put_bytes(&mut resource, 2, &scope);
        put_bytes(&mut body, 1, &resource);
    }
    assert_eq!(count, ours.log_records);
    let Ok(again) = decode_logs_request(body.into(), &DecodeLimits::default()) else {
        panic!("what rows give is the wire format");
    };
    assert!(again.rejected.is_empty() && again.without_span.count == 0, "{:?}", again.rejected);
    let spans = |decoded: &Decoded| records(decoded).map(|record| record.span.to_vec()).collect::<Vec<_>>();
    assert_eq!(spans(ours), spans(&again));
    let mut json = Vec::new();
    // A value may nest as deeply as protobuf lets it, and JSON is written all the same.
    let Ok(()) = write_logs_json(&mut json, records(ours)) else { panic!("rows cannot be written as JSON") };
    let Ok(read) = decode_json_logs_request(&mut &*json, &DecodeLimits::default()) else {
        panic!("what rows give is JSON: {}", String::from_utf8_lossy(&json));
    };
    assert_eq!(read.log_records, ours.log_records, "{}", String::from_utf8_lossy(&json));
}

fn records(decoded: &Decoded) -> impl Iterator<Item = SpanRecord<'_>> {
    decoded.logs.iter().map(|row| SpanRecord {
        resource: &decoded.resources[row.resource as usize],
        scope: &decoded.scopes[row.scope as usize],
        span: decoded.span(row),
    })
}
