//! Log records of spans, on every way by which they come, and what becomes of those that belong to no span.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::{Value, json};
use spandrel_collector::{CollectorConfig, OtherSignals};
use tonic::Code;

use crate::encodings::gzip;
use crate::support::{Grpc, Reply, Server, framed, send};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const METHOD: &str = "http://collector/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// `ExportLogsServiceRequest` with one resource and one scope.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time: u64,
    #[prost(bytes = "vec", tag = "9")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    span_id: Vec<u8>,
}

/// A request of so many records of spans and so many of none.
fn protobuf(of_spans: u8, of_none: u8) -> Vec<u8> {
    let of_span = |at| LogRecord { time: 7, trace_id: vec![1; 16], span_id: vec![at + 1; 8] };
    let of_none = (0..of_none).map(|_| LogRecord { time: 7, ..LogRecord::default() });
    let log_records = (0..of_spans).map(of_span).chain(of_none).collect();
    Request { resource_logs: vec![ResourceLogs { scope_logs: vec![ScopeLogs { log_records }] }] }
        .encode_to_vec()
}

fn json_of(records: &[Value]) -> String {
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] }).to_string()
}

fn record(span: u8) -> Value {
    json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": format!("eee19b7ec3c1b1{span:02x}"),
            "body": { "stringValue": "said" } })
}

async fn post(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", length.as_str())]].concat();
    send(server.http, "POST", "/v1/logs", &headers, body).await
}

#[tokio::test]
async fn records_of_spans_are_stored_on_every_way() {
    let server = Server::start(CollectorConfig::default()).await;
    let body = protobuf(3, 0);
    let reply = post(&server, &[PROTOBUF], &body).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let reply = post(&server, &[JSON], json_of(&[record(1), record(2)]).as_bytes()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    let packed = gzip(json_of(&[record(3)]).as_bytes());
    let reply = post(&server, &[JSON, ("content-encoding", "gzip")], &packed).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    let grpc = Grpc::connect(server.grpc).await;
    let status = grpc.send_to(METHOD, &[], framed(false, &protobuf(4, 0))).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
    let packed = framed(true, &gzip(&protobuf(5, 0)));
    let status = grpc.send_to(METHOD, &[("grpc-encoding", "gzip")], packed).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
    assert_eq!((server.store.log_records(), server.store.spans()), (3 + 2 + 1 + 4 + 5, 0));
    let count = |transport: &str, format: &str| {
        let labels = format!("receiver=\"otlp\",transport=\"{transport}\",format=\"{format}\"");
        server.metric(&format!("spandrel_ingest_log_records_total{{{labels}}}"))
    };
    let counts = [count("http", "logs-protobuf"), count("http", "logs-json"), count("grpc", "logs-protobuf")];
    assert_eq!(counts, [3, 3, 9]);
}

#[tokio::test]
async fn a_record_of_no_span_is_refused_with_its_place() {
    let server = Server::start(CollectorConfig::default()).await;
    let reply =
        post(&server, &[JSON], json_of(&[record(1), json!({ "traceId": "", "spanId": "" })]).as_bytes())
            .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedLogRecords"], "1", "{partial}");
    let message = partial["errorMessage"].as_str().unwrap();
    assert!(message.contains("resourceLogs[0].scopeLogs[0].logRecords[1]"), "{message}");
    let reply = post(&server, &[PROTOBUF], &protobuf(1, 2)).await;
    // The answers of both services have the same fields.
    let partial = ExportTraceServiceResponse::decode(&*reply.body).unwrap().partial_success.unwrap();
    assert_eq!((reply.status, partial.rejected_spans), (200, 2));
    assert!(partial.error_message.contains("2 log records without traceId and spanId"), "{partial:?}");
    assert_eq!(server.store.log_records(), 2);
    assert_eq!(server.metric("spandrel_ingest_refused_log_records_total"), 3);
    assert_eq!(server.metric("spandrel_ingest_refused_spans_total"), 0);
}

#[tokio::test]
async fn a_bad_record_costs_itself() {
    let server = Server::start(CollectorConfig::default()).await;
    let bad = json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "01", "body": {} });
    let reply = post(&server, &[JSON], json_of(&[record(1), bad, record(2)]).as_bytes()).await;
    let partial = &reply.json()["partialSuccess"];
    assert_eq!((reply.status, &partial["rejectedLogRecords"]), (200, &json!("1")), "{partial}");
    assert!(
        partial["errorMessage"].as_str().unwrap().contains("logRecords[1]: span ID has 1 bytes"),
        "{partial}"
    );
    assert_eq!(server.store.log_records(), 2);
}

#[tokio::test]
async fn a_request_of_nothing_else_gets_one_clear_answer() {
    let server = Server::start(CollectorConfig::default()).await;
    let reply = post(&server, &[PROTOBUF], &protobuf(0, 2)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (400, None));
    let message = reply.rpc_status().message;
    for part in ["2 log records", "OTEL_LOGS_EXPORTER=none", "--other-signals discard"] {
        assert!(message.contains(part), "{message}");
    }
    let grpc = Grpc::connect(server.grpc).await;
    let status = grpc.send_to(METHOD, &[], framed(false, &protobuf(0, 1))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(server.metric("spandrel_ingest_refused_total{reason=\"other_signal\"}"), 2);
    // A request of no record at all is none of those.
    assert_eq!(post(&server, &[JSON], b"{}").await.status, 200);
}

#[tokio::test]
async fn where_other_signals_are_discarded_records_of_no_span_are() {
    let config = CollectorConfig { other_signals: OtherSignals::Discard, ..CollectorConfig::default() };
    let server = Server::start(config).await;
    assert_eq!(post(&server, &[PROTOBUF], &protobuf(0, 2)).await.status, 200);
    let reply = post(&server, &[PROTOBUF], &protobuf(3, 1)).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(server.metric("spandrel_ingest_discarded_log_records_total"), 3);
    assert_eq!(server.store.log_records(), 3);
}

#[tokio::test]
async fn a_resend_is_stored_once_and_failures_are_told() {
    let server = Server::start(CollectorConfig::default()).await;
    for _ in 0..2 {
        assert_eq!(post(&server, &[PROTOBUF], &protobuf(2, 0)).await.status, 200);
    }
    assert_eq!(server.store.log_records(), 2);
    server.store.fail(spandrel_storage::AppendError::Closed);
    let reply = post(&server, &[PROTOBUF], &protobuf(3, 0)).await;
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
}
