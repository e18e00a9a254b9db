//! Log requests in both formats, their rows, and the way back.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message;

use super::*;

/// `ExportLogsServiceRequest`, for the tests alone.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "7")]
    dropped: u32,
    #[prost(fixed32, tag = "8")]
    flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    observed: u64,
    #[prost(string, tag = "12")]
    event_name: String,
    /// A field of a later version.
    #[prost(string, tag = "90")]
    later: String,
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

fn record(trace: u8, span: u8, time: u64) -> LogRecord {
    LogRecord {
        time,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: Some(text("it broke")),
        attributes: vec![KeyValue {
            key: "exception.type".to_owned(),
            value: Some(text("IOError")),
            ..KeyValue::default()
        }],
        trace_id: vec![trace; 16],
        span_id: vec![span; 8],
        observed: time + 5,
        event_name: "exception".to_owned(),
        ..LogRecord::default()
    }
}

fn request(log_records: Vec<LogRecord>) -> Request {
    let resource = Some(Resource {
        attributes: vec![KeyValue {
            key: "service.name".to_owned(),
            value: Some(text("shop")),
            ..KeyValue::default()
        }],
        ..Resource::default()
    });
    let scope = Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() });
    let scope_logs = vec![ScopeLogs { scope, log_records }];
    Request { resource_logs: vec![ResourceLogs { resource, scope_logs, schema_url: String::new() }] }
}

fn limits() -> DecodeLimits {
    DecodeLimits { max_span_bytes: 1 << 20, max_resource_bytes: 1 << 16, max_nesting: 16 }
}

fn decode(request: &Request) -> Decoded {
    decode_logs_request(request.encode_to_vec().into(), &limits()).unwrap()
}

/// The records of all rows, written as OTLP again.
fn records(decoded: &Decoded) -> Vec<LogRecord> {
    let mut records = Vec::new();
    for row in &decoded.logs {
        let row = SpanView::parse(decoded.span(row)).unwrap();
        for log in logs_of(&row) {
            let mut bytes = Vec::new();
            log.unwrap().write_message(&mut bytes, &row).unwrap();
            records.push(LogRecord::decode(&*bytes).unwrap());
        }
    }
    records
}

fn json_of(decoded: &Decoded) -> String {
    let rows = decoded.logs.iter().map(|row| SpanRecord {
        resource: &decoded.resources[row.resource as usize],
        scope: &decoded.scopes[row.scope as usize],
        span: decoded.span(row),
    });
    let mut out = Vec::new();
    write_logs_json(&mut out, rows).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn records_of_one_span_are_one_row_and_come_back() {
    let sent = vec![record(1, 1, 30), record(1, 2, 20), record(1, 1, 10)];
    let decoded = decode(&request(sent.clone()));
    assert_eq!((decoded.spans.len(), decoded.logs.len(), decoded.log_records), (0, 2, 3));
    assert_eq!(records(&decoded), [sent[2].clone(), sent[0].clone(), sent[1].clone()]);
    let row = &decoded.logs[0];
    assert_eq!((row.start.0, row.trace_id.as_bytes()[0]), (10, 1));
    let key = SpanKey::parse(decoded.span(row)).unwrap();
    assert_eq!((key.start, key.span_id), (10, row.span_id));
}

#[test]
fn a_noisy_span_gets_several_rows() {
    let long = LogRecord { body: Some(text(&"x".repeat(10_000))), ..record(1, 1, 1) };
    let sent: Vec<LogRecord> = (0..40).map(|at| LogRecord { time: at + 1, ..long.clone() }).collect();
    let decoded = decode(&request(sent.clone()));
    assert_eq!((decoded.logs.len() > 3, records(&decoded)), (true, sent));
}

#[test]
fn a_record_without_a_span_is_told_apart_from_a_bad_one() {
    let without = LogRecord { trace_id: Vec::new(), ..record(1, 1, 1) };
    let zero = LogRecord { span_id: vec![0; 8], ..record(1, 1, 1) };
    let short = LogRecord { span_id: vec![1; 3], ..record(1, 1, 1) };
    let decoded = decode(&request(vec![record(1, 1, 1), without, zero, short]));
    assert_eq!((decoded.log_records, decoded.without_span.count), (1, 2));
    let place = "resourceLogs[0].scopeLogs[0].logRecords";
    assert_eq!(decoded.without_span.first, format!("{place}[1]"));
    assert!(decoded.without_span.reason().starts_with("2 log records without traceId and spanId"));
    assert_eq!(decoded.rejected.reasons, [format!("{place}[3]: span ID has 3 bytes, not 8")]);
}

#[test]
fn json_says_the_same() {
    let text = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
            {"timeUnixNano":"30","observedTimeUnixNano":35,"severityNumber":"SEVERITY_NUMBER_ERROR","severityText":"ERROR",
             "body":{"stringValue":"it broke"},"eventName":"exception","traceId":"01010101010101010101010101010101",
             "spanId":"0101010101010101","attributes":[{"key":"exception.type","value":{"stringValue":"IOError"}}]},
            {"body":{"stringValue":"at the start"},"traceId":"","spanId":""},
            {"body":{"stringValue":"bad"},"traceId":"01","spanId":"0101010101010101"},
            {"body":{"intValue":"x"},"traceId":"01010101010101010101010101010101","spanId":"0101010101010101"}
        ]}]}]}"#;
    let decoded = decode_json_logs_request(&mut text.as_bytes(), &limits()).unwrap();
    assert_eq!(records(&decoded), [record(1, 1, 30)]);
    assert_eq!(decoded.without_span.first, "resourceLogs[0].scopeLogs[0].logRecords[1]");
    let reasons = decoded.rejected.message();
    assert!(reasons.contains("logRecords[2]: trace ID has 1 bytes, not 16"), "{reasons}");
    assert!(reasons.contains("logRecords[3].body.intValue"), "{reasons}");
    let again = decode_json_logs_request(&mut json_of(&decoded).as_bytes(), &limits()).unwrap();
    assert_eq!(records(&again), records(&decoded));
}

#[test]
fn what_is_no_request_is_refused() {
    let error = decode_logs_request(vec![0x0a, 5, 1].into(), &limits()).unwrap_err();
    assert!(error.to_string().starts_with("not an ExportLogsServiceRequest: "), "{error}");
    for text in ["[]", r#"{"resourceLogs":{}}"#, "{"] {
        assert!(decode_json_logs_request(&mut text.as_bytes(), &limits()).is_err(), "{text}");
    }
}

fn any_record() -> impl Strategy<Value = LogRecord> {
    let ids = (0u8..3, 1u8..3);
    let times =
        (prop_oneof![Just(0u64), 1u64..9, any::<u64>()], prop_oneof![Just(0u64), 1u64..9, any::<u64>()]);
    let texts = (".{0,3}", "[a-z.]{0,9}", ".{0,3}");
    (ids, times, texts, 0i32..25, any::<[u32; 2]>(), proptest::option::of("[a-z]{0,4}")).prop_map(
        |(
            (trace, span),
            (time, observed),
            (severity_text, event_name, later),
            severity_number,
            numbers,
            body,
        )| {
            LogRecord {
                time,
                observed,
                severity_text,
                event_name,
                later,
                severity_number,
                dropped: numbers[0],
                flags: numbers[1],
                body: body.as_deref().map(text),
                trace_id: if trace == 0 { Vec::new() } else { vec![trace; 16] },
                ..record(1, span, 1)
            }
        },
    )
}

proptest! {
    /// Whatever records say, a row of them says the same, in protobuf and in JSON.
    #[test]
    fn nothing_is_lost(sent in proptest::collection::vec(any_record(), 0..12)) {
        let decoded = decode(&request(sent.clone()));
        let mut wanted: Vec<LogRecord> = sent.into_iter().filter(|record| !record.trace_id.is_empty()).collect();
        prop_assert_eq!(decoded.log_records, wanted.len() as u64);
        let key = |record: &LogRecord| {
            let time = if record.time == 0 { record.observed } else { record.time };
            (record.trace_id.clone(), record.span_id.clone(), time)
        };
        wanted.sort_by_key(key);
        prop_assert_eq!(records(&decoded), wanted.clone());
        wanted.iter_mut().for_each(|record| record.later = String::new());
        let again = decode_json_logs_request(&mut json_of(&decoded).as_bytes(), &limits()).unwrap();
        prop_assert_eq!(records(&again), wanted);
    }
}
