//! Many small requests become few appends, and each learns how its own batch ended.

use std::time::Duration;

use spandrel_collector::{CollectorConfig, IngestLimits};

use crate::support::{Grpc, PATIENCE, Server, body, eventually, post, request};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_an_append_shares_the_next() {
    // A linger beyond all patience: batches must close because nobody is arriving any more.
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
async fn a_slow_body_holds_nobody_up_for_long() {
    use tokio::io::AsyncWriteExt as _;
    let config = CollectorConfig { batch_linger: Duration::from_millis(5), ..CollectorConfig::default() };
    let server = Server::start(config).await;
    let mut slow = tokio::net::TcpStream::connect(server.http).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&[0x0a; 10]).await.unwrap();
    // The others are answered although the slow one has not arrived.
    for seed in 0..5 {
        assert_eq!(post(server.http, &[PROTOBUF], &body(seed, 1)).await.status, 200);
    }
}
