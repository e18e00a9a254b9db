//! Zipkin's ways in: what each accepts, and what each answers to the rest.

use opentelemetry_proto::tonic::trace::v1::Span;
use spandrel_collector::{CollectorConfig, IngestLimits};
use spandrel_storage::AppendError;
use tonic::Code;

use crate::encodings::{gzip, zstd};
use crate::support::{Grpc, Reply, Server, framed, send};

const V2: &str = "/api/v2/spans";
const V1: &str = "/api/v1/spans";
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const THRIFT: (&str, &str) = ("content-type", "application/x-thrift");

const SPAN: &str = r#"{"traceId":"a","id":"b","name":"get","localEndpoint":{"serviceName":"shop"}}"#;
/// The same span in protobuf.
const SPAN_IN_PROTOBUF: &[u8] =
    b"\x0a\x23\x0a\x08\0\0\0\0\0\0\0\x0a\x1a\x08\0\0\0\0\0\0\0\x0b\x2a\x03get\x42\x06\x0a\x04shop\x68\0";
/// The same span in thrift.
const SPAN_IN_THRIFT: &[u8] =
    b"\x0c\0\0\0\x01\x0a\0\x01\0\0\0\0\0\0\0\x0a\x0b\0\x03\0\0\0\x03get\x0a\0\x04\0\0\0\0\0\0\0\x0b\0";

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &*length)]].concat();
    send(server.zipkin, "POST", path, &headers, body).await
}

fn list(spans: &[&str]) -> Vec<u8> {
    format!("[{}]", spans.join(",")).into_bytes()
}

/// The spans of the last request.
fn last(server: &Server) -> Vec<Span> {
    let request = server.store.requests().pop().unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

#[tokio::test]
async fn every_form_of_a_span_is_stored() {
    let server = Server::start(CollectorConfig::default()).await;
    let json = list(&[SPAN]);
    let packed = gzip(&list(&[SPAN, SPAN]));
    let squeezed = zstd(&list(&[SPAN, SPAN, SPAN]));
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8], usize);
    let cases: Vec<Case<'_>> = vec![
        (V2, vec![JSON], &json, 1),
        (V2, vec![JSON, ("content-encoding", "gzip")], &packed, 2),
        (V2, vec![("content-encoding", "zstd")], &squeezed, 3),
        (V2, vec![PROTOBUF], SPAN_IN_PROTOBUF, 1),
        (V1, vec![JSON], b"[{\"traceId\":\"a\",\"id\":\"b\",\"name\":\"get\"}]", 1),
        (V1, vec![THRIFT], SPAN_IN_THRIFT, 1),
    ];
    for (path, headers, body, spans) in cases {
        let reply = post(&server, path, &headers, body).await;
        assert_eq!((reply.status, reply.text().as_str()), (202, ""), "{path} {headers:?}");
        let stored = last(&server);
        assert_eq!(stored.len(), spans, "{path} {headers:?}");
        assert_eq!((stored[0].name.as_str(), stored[0].trace_id[15], stored[0].span_id[7]), ("get", 10, 11));
    }
    let grpc = Grpc::connect(server.zipkin).await;
    let url = "http://collector/zipkin.proto3.SpanService/Report";
    assert_eq!(grpc.send_to(url, &[], framed(false, SPAN_IN_PROTOBUF)).await.code(), Code::Ok);
    for (transport, format, spans) in
        [("http", "json", 6), ("http", "protobuf", 1), ("http", "json-v1", 1), ("http", "thrift-v1", 1)]
    {
        let name = format!(
            "spandrel_ingest_spans_total{{receiver=\"zipkin\",transport=\"{transport}\",format=\"{format}\"}}"
        );
        assert_eq!(server.metric(&name), spans, "{name}");
    }
}

#[tokio::test]
async fn refusals_are_texts() {
    let limits = IngestLimits { max_decompressed_bytes: 300_000, ..IngestLimits::default() };
    let server = Server::start(CollectorConfig { limits, ..CollectorConfig::default() }).await;
    let bomb = gzip(&vec![b' '; 8 << 20]);
    let gzipped = [JSON, ("content-encoding", "gzip")];
    for (path, headers, body, status, why) in [
        (V2, &[JSON][..], &b"{}"[..], 400, "not a list of Zipkin spans: expected an array"),
        (V2, &[JSON], b"[{]", 400, "line 1 column 3"),
        (V2, &[JSON], b"[{}]", 400, "no span was accepted: [0]: its trace ID is missing"),
        (V2, &gzipped, b"[]", 400, "not valid gzip"),
        (V2, &gzipped, &bomb, 413, "maxDecompressedBytes = 300000"),
        (V2, &[("content-type", "text/csv")], b"[]", 415, "send application/json or application/x-protobuf"),
        (V2, &[JSON, ("content-encoding", "br")], b"[]", 415, "\"br\" is not supported"),
        (V2, &[PROTOBUF], b"\x0a\x05x", 400, "not a ListOfSpans of Zipkin"),
        (V1, &[THRIFT], b"\x0c\0\0\0\x02\0", 400, "ends inside a value"),
        (V1, &[PROTOBUF], b"", 415, "application/x-thrift"),
        ("/api/v3/spans", &[JSON], b"[]", 404, "POST /api/v2/spans"),
    ] {
        let reply = post(&server, path, headers, body).await;
        assert_eq!(reply.status, status, "{path} {headers:?}: {}", reply.text());
        assert!(reply.text().contains(why), "{path} {headers:?}: {}", reply.text());
    }
    let get = send(server.zipkin, "GET", V2, &[], b"").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("post")));
    assert_eq!(server.store.spans(), 0);
    let grpc = Grpc::connect(server.zipkin).await;
    let url = "http://collector/zipkin.proto3.SpanService/Report";
    let status = grpc.send_to(url, &[], framed(false, b"\x0a\x00")).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn one_bad_span_costs_that_span() {
    let server = Server::start(CollectorConfig::default()).await;
    let reply = post(&server, V2, &[JSON], &list(&[SPAN, r#"{"traceId":"x","id":"1"}"#, SPAN])).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.text(), "1 spans were refused: [1].traceId: expected 1 to 32 hex digits\n");
    assert_eq!(last(&server).len(), 2);
    assert_eq!(server.metric("spandrel_ingest_refused_spans_total"), 1);
}

#[tokio::test]
async fn a_success_means_stored_and_a_resend_is_known() {
    let server = Server::start(CollectorConfig::default()).await;
    let body = list(&[SPAN]);
    server.store.fail(AppendError::DiskFull { free: 1, needed: 2 });
    let full = post(&server, V2, &[JSON], &body).await;
    assert_eq!((full.status, full.header("retry-after")), (507, Some("30")));
    server.store.fail(None);
    for _ in 0..2 {
        assert_eq!(post(&server, V2, &[JSON], &body).await.status, 202);
    }
    assert_eq!((server.store.spans(), server.metric("spandrel_ingest_resends_total")), (1, 1));
}

#[tokio::test]
async fn the_same_bytes_in_another_format_are_no_resend() {
    let server = Server::start(CollectorConfig::default()).await;
    let body = list(&[r#"{"traceId":"a","id":"b","name":"get"}"#]);
    for path in [V1, V2, V2] {
        assert_eq!(post(&server, path, &[JSON], &body).await.status, 202);
    }
    assert_eq!((server.store.spans(), server.metric("spandrel_ingest_resends_total")), (2, 1));
}
