//! A table of invalid requests, and the response of each transport.

use spandrel_collector::{CollectorConfig, IngestLimits};
use tonic::Code;

use crate::encodings::{ALL, deflate, gzip, zstd};
use crate::support::{Grpc, Reply, Server, body, framed, post, post_chunked, request};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Small, so that the tests need not send 64 MiB.
const MAX_REQUEST: usize = 100_000;
const MAX_DECOMPRESSED: usize = 300_000;

fn config() -> CollectorConfig {
    let limits = IngestLimits {
        max_request_bytes: MAX_REQUEST,
        max_decompressed_bytes: MAX_DECOMPRESSED,
        ..IngestLimits::default()
    };
    CollectorConfig { limits, ..CollectorConfig::default() }
}

/// The message of a refusal in the request's own format; a permanent refusal has no hint to retry.
fn message(reply: &Reply, is_json: bool) -> String {
    assert_eq!(reply.header("retry-after"), None, "{reply:?}");
    if is_json {
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.json().get("details").is_none());
        return reply.json()["message"].as_str().unwrap().to_owned();
    }
    assert_eq!(reply.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(reply.rpc_status().details, []);
    reply.rpc_status().message
}

#[tokio::test]
async fn over_http() {
    let server = Server::start(config()).await;
    let good = body(1, 2);
    let truncated = &good[..good.len() - 3];
    let large = vec![0; MAX_REQUEST + 1];
    let (gzip_bomb, zstd_bomb, deflate_bomb) =
        (gzip(&vec![0; 8 << 20]), zstd(&vec![0; 8 << 20]), deflate(&vec![0; 8 << 20]));
    let with = |encoding| ("content-encoding", encoding);

    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8], u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("truncated", vec![PROTOBUF], truncated, 400, "ends inside a field"),
        ("not protobuf", vec![PROTOBUF], b"\xff\xff\xff\xff", 400, "at byte"),
        (
            "JSON as protobuf",
            vec![PROTOBUF],
            b"{\"resourceSpans\":[]}",
            400,
            "not an ExportTraceServiceRequest",
        ),
        ("not JSON", vec![JSON], b"{\"resourceSpans\":", 400, "line 1 column"),
        ("empty JSON", vec![JSON], b"", 400, "not an OTLP/JSON request"),
        (
            "wrong type in JSON",
            vec![JSON],
            b"{\"resourceSpans\":[{\"resource\":7}]}",
            400,
            "resourceSpans[0].resource",
        ),
        ("no content type", vec![], &good, 415, "application/x-protobuf"),
        ("text", vec![("content-type", "text/plain")], &good, 415, "text/plain"),
        ("brotli", vec![PROTOBUF, with("br")], &good, 415, "gzip, zstd, deflate"),
        ("two encodings", vec![PROTOBUF, with("gzip, zstd")], &good, 415, "gzip, zstd"),
        ("two encoding headers", vec![PROTOBUF, with("gzip"), with("zstd")], &good, 415, "and another"),
        ("not gzip", vec![PROTOBUF, with("gzip")], &good, 400, "not valid gzip"),
        ("not zstd", vec![PROTOBUF, with("zstd")], &good, 400, "not valid zstd"),
        ("not deflate", vec![PROTOBUF, with("deflate")], &good, 400, "not valid deflate"),
        ("gzip of JSON of nothing", vec![JSON, with("gzip")], b"", 400, "not valid gzip"),
        ("large", vec![PROTOBUF], &large, 413, "maxRequestBytes = 100000"),
        ("large JSON", vec![JSON], &large, 413, "maxRequestBytes = 100000"),
        ("gzip bomb", vec![PROTOBUF, with("gzip")], &gzip_bomb, 413, "maxDecompressedBytes = 300000"),
        ("zstd bomb", vec![JSON, with("zstd")], &zstd_bomb, 413, "maxDecompressedBytes = 300000"),
        (
            "deflate bomb",
            vec![PROTOBUF, with("deflate")],
            &deflate_bomb,
            413,
            "maxDecompressedBytes = 300000",
        ),
    ];
    for (name, headers, body, status, part) in cases {
        let is_json = status == 415 && !headers.contains(&PROTOBUF) || headers.contains(&JSON);
        for reply in
            [post(server.http, &headers, body).await, post_chunked(server.http, &headers, body, 10_000).await]
        {
            assert_eq!(reply.status, status, "{name}: {reply:?}");
            let text = message(&reply, is_json);
            assert!(text.contains(part), "{name}: {text}");
            let offered = reply.header("accept-encoding");
            assert_eq!(offered.is_some(), status == 415, "{name}: {reply:?}");
        }
    }
    assert_eq!(server.store.begun(), 0);
    assert_eq!(post(server.http, &[PROTOBUF], &good).await.status, 200, "the next sender is served");
}

#[tokio::test]
async fn over_grpc() {
    let server = Server::start(config()).await;
    let grpc = Grpc::connect(server.grpc).await;
    let good = body(1, 2);
    let gzip_of = ("grpc-encoding", "gzip");

    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, Code, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (
            "truncated",
            vec![],
            framed(false, &good[..good.len() - 3]),
            Code::InvalidArgument,
            "ends inside a field",
        ),
        ("not protobuf", vec![], framed(false, b"\xff\xff\xff"), Code::InvalidArgument, "at byte"),
        ("no message", vec![], vec![], Code::InvalidArgument, "less than a message's prefix"),
        ("a short frame", vec![], framed(false, &good)[..20].to_vec(), Code::InvalidArgument, "is announced"),
        ("two messages", vec![], framed(false, &good).repeat(2), Code::InvalidArgument, "is announced"),
        (
            "a strange flag",
            vec![],
            [&[9], &framed(false, &good)[1..]].concat(),
            Code::InvalidArgument,
            "first byte is 9",
        ),
        ("compressed somehow", vec![], framed(true, &good), Code::InvalidArgument, "but not how"),
        ("not gzip", vec![gzip_of], framed(true, &good), Code::InvalidArgument, "not valid gzip"),
        (
            "snappy",
            vec![("grpc-encoding", "snappy")],
            framed(true, &good),
            Code::Unimplemented,
            "gzip, zstd, deflate",
        ),
        (
            "large",
            vec![],
            framed(false, &vec![0; MAX_REQUEST + 1]),
            Code::ResourceExhausted,
            "maxRequestBytes = 100000",
        ),
    ];
    for (name, headers, body, code, part) in cases {
        let status = grpc.send(&headers, body).await;
        assert_eq!(status.code(), code, "{name}: {status}");
        assert!(status.message().contains(part), "{name}: {status}");
        assert_eq!(status.details(), b"", "{name} is for good, so nothing says when to retry");
    }
    for (encoding, pack) in &ALL[1..] {
        let bomb = framed(true, &pack(&vec![0; 8 << 20]));
        let status = grpc.send(&[("grpc-encoding", encoding)], bomb).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{encoding}: {status}");
        assert!(status.message().contains("maxDecompressedBytes = 300000"), "{encoding}: {status}");
        assert_eq!(status.details(), b"");
    }
    let elsewhere = "http://collector/opentelemetry.proto.collector.trace.v1.TraceService/Import";
    assert_eq!(grpc.send_to(elsewhere, &[], vec![]).await.code(), Code::Unimplemented);
    assert_eq!(server.store.begun(), 0);
    grpc.client().export(request(1, 2)).await.expect("the same connection is still good");
}

#[tokio::test]
async fn a_body_far_over_the_limit_still_gets_its_answer() {
    // A body larger than the socket buffers, from a sender that writes all of it before it reads.
    let server = Server::start(config()).await;
    let body = vec![0; 40 << 20];
    assert_eq!(post(server.http, &[PROTOBUF], &body).await.status, 413);
    assert_eq!(post_chunked(server.http, &[PROTOBUF], &body, 1 << 20).await.status, 413);
    let status = Grpc::connect(server.grpc).await.send(&[], framed(false, &body)).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn arbitrary_bytes_never_break_anything() {
    let server = Server::start(config()).await;
    let grpc = Grpc::connect(server.grpc).await;
    let good = body(1, 3);
    for at in 0..good.len() {
        let mut mutated = good.clone();
        mutated[at] = mutated[at].wrapping_add(1 + at as u8 % 255);
        let (encoding, pack) = ALL[at % ALL.len()];
        let headers = [PROTOBUF, ("content-encoding", encoding)];
        let status = post(server.http, &headers, &pack(&mutated)).await.status;
        assert!([200, 400].contains(&status), "byte {at}: {status}");
        let status =
            grpc.send(&[("grpc-encoding", encoding)], framed(encoding != "identity", &pack(&mutated))).await;
        assert!([Code::Ok, Code::InvalidArgument].contains(&status.code()), "byte {at}: {status}");
    }
}
