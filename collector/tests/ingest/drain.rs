//! Shutting down: accepted requests are stored, later ones are refused with a hint to retry.

use std::sync::Arc;
use std::time::Duration;

use spandrel_collector::{Collector, CollectorConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{FakeStore, Grpc, PATIENCE, Server, body, eventually, post, request};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test(flavor = "multi_thread")]
async fn finishes_what_was_accepted() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.grpc).await;
    server.store.block();
    let send = |seed| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(seed, 1)).await })
    };
    let mut sends = vec![send(0)];
    eventually("the first append begins", || server.store.begun() == 1).await;
    sends.extend((1..10).map(send));
    eventually("the others are queued", || server.collector.load().queued_requests == 9).await;
    // Another request, of which only half the body was sent.
    let sent = body(100, 1);
    let mut half = TcpStream::connect(server.http).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        sent.len()
    );
    half.write_all(head.as_bytes()).await.unwrap();
    eventually("it is admitted", || server.collector.load().arriving_requests == 1).await;

    let shutdown = server.collector.shutdown(PATIENCE);
    let rest = async {
        eventually("new requests are refused", || server.collector.load().is_draining).await;
        let reply = post(server.http, &[PROTOBUF], &body(200, 1)).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        assert!(reply.rpc_status().message.contains("shutting down"));
        let status = grpc.client().export(request(201, 1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.details().is_empty(), "RetryInfo");
        half.write_all(&sent).await.unwrap();
        server.store.release();
        let mut answer = String::new();
        half.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let (result, ()) = tokio::join!(shutdown, rest);
    assert_eq!(result, Ok(()));
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(server.store.spans(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_up_at_the_deadline_and_says_so() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.grpc).await;
    server.store.block();
    let send = |seed| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(seed, 1)).await })
    };
    let first = send(0);
    eventually("the first append begins", || server.store.begun() == 1).await;
    let second = send(1);
    eventually("the second is queued", || server.collector.load().queued_requests == 1).await;
    let error = server.collector.shutdown(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.refused, 1);
    let status = second.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message().contains("shutting down")), (Code::Unavailable, true));
    // The first request gets no response until the store has finished its append.
    assert!(!first.is_finished());
    server.store.release();
    first.await.unwrap().unwrap();
    assert_eq!(server.store.spans(), 1);
}

#[tokio::test]
async fn twice_is_once() {
    let server = Server::start(CollectorConfig::default()).await;
    assert_eq!(server.collector.shutdown(PATIENCE).await, Ok(()));
    assert_eq!(server.collector.shutdown(PATIENCE).await, Ok(()));
}

/// A thread that ends later could be the last to hold the store, and would close it while the process exits. Each round
/// is one more chance to see that.
#[tokio::test]
async fn a_drained_collector_has_released_the_store() {
    for round in 0..500 {
        let store = Arc::new(FakeStore::default());
        let collector = Collector::start(CollectorConfig::default(), store.clone()).unwrap();
        assert_eq!(collector.shutdown(PATIENCE).await, Ok(()));
        assert_eq!(Arc::strong_count(&store), 1, "round {round}");
    }
}
