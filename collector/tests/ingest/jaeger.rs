//! Jaeger's ways in: what each accepts, and what each answers to the rest.

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use spandrel_collector::{AgentProtocol, CollectorConfig};
use spandrel_storage::AppendError;
use tonic::Code;

use crate::support::{Grpc, Reply, Server, framed, send};

const THRIFT: (&str, &str) = ("content-type", "application/x-thrift");
const POST_SPANS: &str = "http://collector/jaeger.api_v2.CollectorService/PostSpans";
const TRACES: &str = "/api/traces?format=jaeger.thrift";

/// A batch of one span: trace 10, span 11, `get`.
fn batch() -> Vec<u8> {
    let mut span = Vec::new();
    for (id, value) in [(1_u8, 10_i64), (2, 0), (3, 11), (4, 0), (8, 1_700_000_000_000_000), (9, 5)] {
        span.extend([10, 0, id]);
        span.extend(value.to_be_bytes());
    }
    span.extend(b"\x0b\0\x05\0\0\0\x03get\0");
    [b"\x0c\0\x01\x0b\0\x01\0\0\0\x04shop\0\x0f\0\x02\x0c\0\0\0\x01", &span[..], b"\0"].concat()
}

fn datagram() -> Vec<u8> {
    [&b"\x80\x01\0\x04\0\0\0\x09emitBatch\0\0\0\0\x0c\0\x01"[..], &batch(), b"\0"].concat()
}

/// The same span as `PostSpansRequest`.
fn post_spans() -> Vec<u8> {
    let mut span = b"\x0a\x10".to_vec();
    span.extend(10_u128.to_be_bytes());
    span.extend(b"\x12\x08\0\0\0\0\0\0\0\x0b\x1a\x03get");
    let batch = [&[0x0a, span.len() as u8][..], &span, b"\x12\x06\x0a\x04shop"].concat();
    [&[0x0a, batch.len() as u8][..], &batch].concat()
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &*length)]].concat();
    send(server.jaeger_http, "POST", path, &headers, body).await
}

fn names(server: &Server) -> Vec<(String, u8, u8)> {
    let requests = server.store.requests().into_iter().flat_map(|request| request.resource_spans);
    let scopes = requests.flat_map(|resource| resource.scope_spans);
    let shown = |span: Span| (span.name, span.trace_id[15], span.span_id[7]);
    scopes.flat_map(|scope| scope.spans).map(shown).collect()
}

#[tokio::test]
async fn every_form_of_a_span_is_stored() {
    let server = Server::start(CollectorConfig::default()).await;
    let reply = post(&server, TRACES, &[THRIFT], &batch()).await;
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
    let grpc = Grpc::connect(server.jaeger_grpc).await;
    assert_eq!(grpc.send_to(POST_SPANS, &[], framed(false, &post_spans())).await.code(), Code::Ok);
    let agent = server.agent(AgentProtocol::Binary);
    agent.take(datagram().into()).await;
    assert_eq!(names(&server), vec![("get".to_owned(), 10, 11); 3]);
    for labels in [
        r#"transport="http",format="thrift""#,
        r#"transport="grpc",format="protobuf""#,
        r#"transport="udp",format="thrift-binary""#,
    ] {
        assert_eq!(server.metric(&format!("spandrel_ingest_spans_total{{receiver=\"jaeger\",{labels}}}")), 1);
    }
}

#[tokio::test]
async fn refusals_are_texts() {
    let server = Server::start(CollectorConfig::default()).await;
    let good = batch();
    for (path, headers, body, status, why) in [
        (
            TRACES,
            &[THRIFT][..],
            &good[..20],
            400,
            "not a batch of Jaeger in thrift: the message ends inside a value",
        ),
        (TRACES, &[], &good, 415, "application/x-thrift"),
        ("/api/traces?format=jaeger.json", &[THRIFT], &good, 415, "jaeger.json"),
        ("/api/spans", &[THRIFT], &good, 404, "POST /api/traces"),
    ] {
        let reply = post(&server, path, headers, body).await;
        assert_eq!(reply.status, status, "{path} {headers:?}: {}", reply.text());
        assert!(reply.text().contains(why), "{path} {headers:?}: {}", reply.text());
    }
    let grpc = Grpc::connect(server.jaeger_grpc).await;
    assert_eq!(
        grpc.send_to(POST_SPANS, &[], framed(false, b"\x0a\x05x")).await.code(),
        Code::InvalidArgument
    );
    let other = "http://collector/jaeger.api_v2.SamplingManager/GetSamplingStrategy";
    assert_eq!(grpc.send_to(other, &[], framed(false, b"")).await.code(), Code::Unimplemented);
    assert_eq!(server.store.spans(), 0);
}

/// Datagrams have no answer: what became of each is counted.
#[tokio::test]
async fn what_becomes_of_datagrams_is_counted() {
    let server = Server::start(CollectorConfig::default()).await;
    let agent = server.agent(AgentProtocol::Binary);
    agent.take(datagram().into()).await;
    agent.take(Bytes::from_static(b"nonsense")).await;
    server.store.fail(AppendError::DiskFull { free: 1, needed: 2 });
    let mut other = datagram();
    other[60] ^= 1;
    agent.take(other.into()).await;
    agent.dropped(7);
    let count = |name: &str, labels: &str| {
        server.metric(&format!("{name}{{receiver=\"jaeger\",format=\"thrift-binary\"{labels}}}"))
    };
    assert_eq!(count("spandrel_ingest_datagrams_total", ""), 3);
    assert_eq!(count("spandrel_ingest_datagrams_lost_total", ",why=\"refused\""), 2);
    assert_eq!(count("spandrel_ingest_datagrams_lost_total", ",why=\"socket\""), 7);
    assert_eq!(server.store.spans(), 1);
}
