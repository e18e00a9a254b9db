//! Requests over each transport are stored unchanged, and answered in the sender's format.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;
use spandrel_collector::CollectorConfig;
use tonic::codec::CompressionEncoding;

use crate::support::{Grpc, Server, body, post, post_chunked, request, request_with_bad_spans, send_raw};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn http_protobuf() {
    let server = Server::start(CollectorConfig::default()).await;
    for (index, media) in
        ["application/x-protobuf", "application/protobuf", "Application/X-Protobuf"].iter().enumerate()
    {
        let sent = body(index as u64, 3);
        let reply = post(server.http, &[("content-type", media)], &sent).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{reply:?}");
        assert_eq!(reply.header("content-type"), Some(&*media.to_lowercase()));
        assert_eq!(server.store.bodies()[index], sent);
    }
}

#[tokio::test]
async fn http_json() {
    let server = Server::start(CollectorConfig::default()).await;
    let sent = request(1, 3);
    let reply = post(server.http, &[JSON], &serde_json::to_vec(&sent).unwrap()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(server.store.requests(), [sent]);
}

#[tokio::test]
async fn http_in_chunks_of_any_size() {
    let server = Server::start(CollectorConfig::default()).await;
    for (index, chunk) in [1, 7, 1000, 100_000].into_iter().enumerate() {
        let sent = body(index as u64, 20);
        assert_eq!(post_chunked(server.http, &[PROTOBUF], &sent, chunk).await.status, 200);
        assert_eq!(server.store.bodies()[index], sent);
    }
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let server = Server::start(CollectorConfig::default()).await;
    let mut bytes = Vec::new();
    for (seed, connection) in [(1, "keep-alive"), (2, "close")] {
        let sent = body(seed, 1);
        let length = sent.len();
        bytes.extend(
            format!(
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                 content-length: {length}\r\nconnection: {connection}\r\n\r\n"
            )
            .bytes(),
        );
        bytes.extend(sent);
    }
    let reply = send_raw(server.http, &bytes).await;
    assert!(reply.text().contains("200 OK"), "{reply:?}");
    assert_eq!(server.store.spans(), 2);
}

#[tokio::test]
async fn grpc_plain_and_compressed() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.grpc).await;
    let encodings = [
        None,
        Some(CompressionEncoding::Gzip),
        Some(CompressionEncoding::Zstd),
        Some(CompressionEncoding::Deflate),
    ];
    for (index, encoding) in encodings.into_iter().enumerate() {
        let mut client = grpc.client();
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        // The last request is larger than every window and frame.
        let sent = request(index as u64, if index == 0 { 60_000 } else { 500 });
        let response = client.export(sent.clone()).await.unwrap().into_inner();
        assert_eq!(response.partial_success, None);
        assert_eq!(server.store.bodies()[index], sent.encode_to_vec());
    }
}

#[tokio::test]
async fn bad_spans_are_left_out_and_counted() {
    let server = Server::start(CollectorConfig::default()).await;
    let why = "span ID has 3 bytes, not 8";

    let sent = request_with_bad_spans(1, 4, 2);
    let response = Grpc::connect(server.grpc).await.client().export(sent).await.unwrap().into_inner();
    let partial = response.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (2, why));

    let sent = request_with_bad_spans(2, 3, 1);
    let reply = post(server.http, &[PROTOBUF], &sent.encode_to_vec()).await;
    let partial = ExportTraceServiceResponse::decode(&*reply.body).unwrap().partial_success.unwrap();
    assert_eq!((reply.status, partial.rejected_spans, partial.error_message.as_str()), (200, 1, why));

    // All spans are bad: the response is still a success, with nothing stored.
    let sent = request_with_bad_spans(3, 0, 2);
    let reply = post(server.http, &[JSON], &serde_json::to_vec(&sent).unwrap()).await;
    let why = "spanId: expected a span ID: 16 hex digits, not all zero, found 010203";
    let why = [0, 1].map(|span| format!("resourceSpans[0].scopeSpans[0].spans[{span}].{why}")).join("; ");
    let expected = json!({ "partialSuccess": { "rejectedSpans": "2", "errorMessage": why } });
    assert_eq!((reply.status, reply.json()), (200, expected));

    assert_eq!(server.store.spans(), 4 + 3);
}

#[tokio::test]
async fn nothing_sent_is_a_success_that_stores_nothing() {
    let server = Server::start(CollectorConfig::default()).await;
    let response =
        Grpc::connect(server.grpc).await.client().export(ExportTraceServiceRequest::default()).await;
    assert_eq!(response.unwrap().into_inner(), ExportTraceServiceResponse::default());
    assert_eq!(post(server.http, &[PROTOBUF], &body(1, 0)).await.status, 200);
    assert_eq!(post(server.http, &[PROTOBUF], b"").await.status, 200);
    assert_eq!(post(server.http, &[JSON], b"{}").await.text(), "{}");
    assert_eq!(server.store.begun(), 0);
}

#[tokio::test]
async fn other_paths_and_methods_say_where_to_go() {
    let server = Server::start(CollectorConfig::default()).await;
    let reply = crate::support::send(server.http, "GET", "/v1/traces", &[], b"").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("post")));
    assert!(reply.json()["message"].as_str().unwrap().contains("POST"));
    let reply = crate::support::send(server.http, "POST", "/v1/other", &[("content-length", "0")], b"").await;
    assert_eq!(reply.status, 404);
    assert!(reply.json()["message"].as_str().unwrap().contains("/v1/traces"));

    // gRPC's own response would have HTTP status 200, which the sender would take for a success.
    let reply = post(server.grpc, &[PROTOBUF], &body(1, 1)).await;
    assert_eq!(reply.status, 415);
    assert!(reply.text().contains("OTLP/HTTP"), "{reply:?}");
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let reply =
        crate::support::send(server.grpc, "POST", path, &[PROTOBUF, ("content-length", "0")], b"").await;
    assert_eq!(reply.status, 415);
    assert!(reply.text().contains("OTLP/HTTP"), "{reply:?}");

    let status = Grpc::connect(server.http).await.client().export(request(1, 1)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("OTLP/HTTP"), "{status}");
}
