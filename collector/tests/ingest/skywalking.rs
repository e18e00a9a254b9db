//! SkyWalking's ways in: a stream that stays open, single messages, and what agents send beside segments.

use std::time::Duration;

use spandrel_collector::CollectorConfig;
use spandrel_storage::AppendError;
use tokio::sync::mpsc;
use tonic::Code;

use crate::support::{Grpc, Server, eventually, framed};

const COLLECT: &str = "http://collector/skywalking.v3.TraceSegmentReportService/collect";
const IN_SYNC: &str = "http://collector/skywalking.v3.TraceSegmentReportService/collectInSync";

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

/// A segment of one span, which has no start.
fn segment(id: &str) -> Vec<u8> {
    [field(1, b"trace"), field(2, id.as_bytes()), field(3, &field(6, b"/orders")), field(4, b"shop")].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_stream_is_stored_while_it_is_open() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.skywalking).await;
    let (sender, frames) = mpsc::channel(8);
    let stream = tokio::spawn(async move { grpc.stream(COLLECT, frames).await });
    sender.send(framed(false, &segment("a"))).await.unwrap();
    eventually("the first segment is stored", || server.store.spans() == 1).await;
    // A message in pieces, and two that arrive together.
    let next = framed(false, &segment("b"));
    sender.send(next[..7].to_vec()).await.unwrap();
    sender.send(next[7..].to_vec()).await.unwrap();
    sender.send([framed(false, &segment("c")), framed(false, &segment("d"))].concat()).await.unwrap();
    eventually("all of them are stored", || server.store.spans() == 4).await;
    assert!(!stream.is_finished());
    drop(sender);
    assert_eq!(stream.await.unwrap().code(), Code::Ok);
    let stored =
        "spandrel_ingest_spans_total{receiver=\"skywalking\",transport=\"grpc\",format=\"protobuf\"}";
    assert_eq!(server.metric(stored), 4);
}

#[tokio::test]
async fn a_bad_segment_does_not_cost_its_neighbours() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.skywalking).await;
    let body =
        [segment("a"), b"\x0a\x09x".to_vec(), segment("b")].map(|message| framed(false, &message)).concat();
    let answer = grpc.send_to(COLLECT, &[], body).await;
    assert_eq!(answer.code(), Code::InvalidArgument);
    assert!(answer.message().contains("not a segment of SkyWalking"), "{answer:?}");
    assert_eq!(server.store.spans(), 2);
    let cut = framed(false, &segment("c"));
    let answer = grpc.send_to(COLLECT, &[], cut[..9].to_vec()).await;
    assert!(answer.message().contains("ends inside a message"), "{answer:?}");
    assert_eq!(server.store.spans(), 2);
}

#[tokio::test]
async fn compressed_messages_and_collections_are_taken() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.skywalking).await;
    let body = [framed(true, &gzip(&segment("a"))), framed(false, &segment("b"))].concat();
    assert_eq!(grpc.send_to(COLLECT, &[("grpc-encoding", "gzip")], body).await.code(), Code::Ok);
    let collection = [field(1, &segment("c")), field(1, &segment("d"))].concat();
    assert_eq!(grpc.send_to(IN_SYNC, &[], framed(false, &collection)).await.code(), Code::Ok);
    assert_eq!(server.store.spans(), 4);
    let unnamed = grpc.send_to(COLLECT, &[], framed(true, &gzip(&segment("e")))).await;
    assert_eq!(unnamed.code(), Code::InvalidArgument);
}

/// Agents send nothing twice.
#[tokio::test]
async fn a_stream_waits_until_the_store_takes_more() {
    let server = Server::start(CollectorConfig::default()).await;
    server.store.fail(AppendError::Overloaded { unsealed_spans: 1 });
    let grpc = Grpc::connect(server.skywalking).await;
    let sending = tokio::spawn(async move { grpc.send_to(COLLECT, &[], framed(false, &segment("a"))).await });
    eventually("it was tried", || server.store.begun() == 1).await;
    server.store.fail(None);
    assert_eq!(sending.await.unwrap().code(), Code::Ok);
    assert_eq!(server.store.spans(), 1);
}

#[tokio::test]
async fn a_silent_stream_ends_when_the_server_stops() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.skywalking).await;
    let (sender, frames) = mpsc::channel(1);
    let stream = tokio::spawn(async move { grpc.stream(COLLECT, frames).await });
    sender.send(framed(false, &segment("a"))).await.unwrap();
    eventually("the segment is stored", || server.store.spans() == 1).await;
    server.collector.shutdown(Duration::from_secs(5)).await.unwrap();
    assert_eq!(stream.await.unwrap().code(), Code::Ok, "what was sent is stored");
    drop(sender);
}

#[tokio::test]
async fn what_agents_send_beside_segments_is_answered_and_counted() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.skywalking).await;
    for call in [
        "ManagementService/keepAlive",
        "MeterReportService/collectBatch",
        "ProfileTask/getProfileTaskCommands",
    ] {
        let url = format!("http://collector/skywalking.v3.{call}");
        assert_eq!(grpc.send_to(&url, &[], framed(false, b"12")).await.code(), Code::Ok, "{call}");
    }
    assert_eq!(server.metric("spandrel_ingest_discarded_total{signal=\"metrics\"}"), 1);
    let other = grpc.send_to("http://collector/skywalking.v2.Old/collect", &[], framed(false, b"")).await;
    assert_eq!(other.code(), Code::Unimplemented);
    assert!(other.message().contains("skywalking.v3"), "{other:?}");
}
