//! Many small requests become few appends, and each gets the result of its own batch.

use spandrel_collector::{CollectorConfig, IngestLimits};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Grpc, PATIENCE, Server, body, eventually, post, request};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_an_append_shares_the_next() {
    // A linger longer than the test waits: batches must close because no request is arriving.
    let config = CollectorConfig { batch_linger: PATIENCE * 10, ..CollectorConfig::default() };
    let server = Server::start(config).await;
    server.store.block();
    let grpc = Grpc::connect(server.grpc).await;
    let send = |seed| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(seed, 5)).await })
    };
    let first = send(0);
    eventually("the first append begins", || server.store.begun() == 1).await;
    let others: Vec<_> = (1..=150).map(send).collect();
    let http = body(1000, 5);
    let address = server.http;
    let other_transport = tokio::spawn(async move { post(address, &[PROTOBUF], &http).await });
    eventually("all are queued", || queued(&server) == 151).await;
    assert!(!first.is_finished(), "answered before it is durable");
    server.store.release();
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(other_transport.await.unwrap().status, 200);
    let sizes: Vec<usize> = server.store.batches().iter().map(|batch| batch.bodies.len()).collect();
    assert_eq!(sizes, [1, 151]);
    assert_eq!(server.store.batches()[1].tenant.as_str(), "default");
}

/// Requests that wait for a batch.
fn queued(server: &Server) -> usize {
    server.collector.load().queued_requests
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_close_at_their_limits() {
    let limits = IngestLimits { max_batch_spans: 100, ..IngestLimits::default() };
    let server = Server::start(CollectorConfig { limits, ..CollectorConfig::default() }).await;
    server.store.block();
    let grpc = Grpc::connect(server.grpc).await;
    let sends: Vec<_> = [1, 40, 40, 40, 300, 5]
        .into_iter()
        .enumerate()
        .map(|(seed, spans)| {
            let mut client = grpc.client();
            tokio::spawn(async move { client.export(request(seed as u64, spans)).await })
        })
        .collect();
    eventually("all have arrived", || server.store.begun() == 1 && queued(&server) > 0).await;
    server.store.release();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(server.store.spans(), 426);
    for batch in server.store.batches() {
        assert!(batch.spans <= 100 || batch.bodies.len() == 1, "{} in {}", batch.spans, batch.bodies.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_batchers_store_everything_once() {
    let config = CollectorConfig { ingest_threads: 3, ..CollectorConfig::default() };
    let server = Server::start(config).await;
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let address = server.grpc;
            tokio::spawn(async move {
                let mut client = Grpc::connect(address).await.client();
                for seed in 0..100 {
                    client.export(request(sender * 1000 + seed, 5)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut bodies = server.store.bodies();
    assert_eq!(bodies.len(), 800);
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 800);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_leaves_loses_nobody_anything() {
    let server = Server::start(CollectorConfig::default()).await;
    server.store.block();
    let (leaver, stayer) = (Grpc::connect(server.grpc).await, Grpc::connect(server.grpc).await);
    let send = |grpc: &Grpc, seed| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(seed, 1)).await })
    };
    let first = send(&stayer, 1);
    eventually("the first append begins", || server.store.begun() == 1).await;
    let (left, stayed) = (send(&leaver, 2), send(&stayer, 3));
    eventually("both are queued", || queued(&server) == 2).await;
    left.abort();
    drop(leaver);
    server.store.release();
    first.await.unwrap().unwrap();
    stayed.await.unwrap().unwrap();
    assert_eq!(server.store.spans(), 3, "what was queued is stored, whoever still listens");
}

#[tokio::test]
async fn a_batch_waits_for_who_is_arriving_and_no_longer() {
    // A linger longer than the test waits: only the end of the last arrival can close the batch.
    let config = CollectorConfig { batch_linger: PATIENCE * 10, ..CollectorConfig::default() };
    let server = Server::start(config).await;
    for (seed, breaks_off) in [(1, false), (2, true)] {
        let sent = body(seed, 1);
        let mut late = begin_post(&server, sent.len()).await;
        eventually("it is arriving", || server.collector.load().arriving_requests == 1).await;
        let address = server.http;
        let other = tokio::spawn(async move { post(address, &[PROTOBUF], &body(100 + seed, 1)).await });
        eventually("the other is queued", || queued(&server) == 1).await;
        if breaks_off {
            late.shutdown().await.unwrap();
        } else {
            late.write_all(&sent).await.unwrap();
        }
        assert_eq!(other.await.unwrap().status, 200);
    }
    let sizes: Vec<usize> = server.store.batches().iter().map(|batch| batch.bodies.len()).collect();
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test]
async fn a_slow_body_holds_nobody_up_for_long() {
    let server = Server::start(CollectorConfig::default()).await;
    let mut slow = begin_post(&server, 100).await;
    slow.write_all(&[0x0a; 10]).await.unwrap();
    eventually("it is arriving", || server.collector.load().arriving_requests == 1).await;
    for seed in 0..5 {
        assert_eq!(post(server.http, &[PROTOBUF], &body(seed, 1)).await.status, 200);
    }
    assert_eq!(server.collector.load().arriving_requests, 1);
}

/// Sends the head of a request whose body of `length` bytes follows later.
async fn begin_post(server: &Server, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}
