//! Slow senders, and senders that break off.

use std::time::Duration;

use spandrel_collector::{CollectorConfig, IngestLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Server, body, eventually, post};

const HEAD: &str =
    "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n";

#[tokio::test]
async fn a_body_has_to_arrive_in_time() {
    let limits = IngestLimits { body_timeout: Duration::from_millis(30), ..IngestLimits::default() };
    let server = Server::start(CollectorConfig { limits, ..CollectorConfig::default() }).await;
    let mut slow = TcpStream::connect(server.http).await.unwrap();
    slow.write_all(format!("{HEAD}content-length: 100\r\n\r\nabc").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("bodyTimeout = 30ms"), "{answer}");
    eventually("its share of memory is free", || server.collector.load().inflight_bytes == 0).await;
}

#[tokio::test]
async fn what_breaks_off_is_forgotten() {
    let server = Server::start(CollectorConfig::default()).await;
    let mut leaver = TcpStream::connect(server.http).await.unwrap();
    leaver.write_all(format!("{HEAD}content-length: 100\r\n\r\nabc").as_bytes()).await.unwrap();
    eventually("it is being read", || server.collector.load().inflight_bytes == 3).await;
    drop(leaver);
    eventually("its share of memory is free", || server.collector.load().inflight_bytes == 0).await;
    assert_eq!(server.collector.load().arriving_requests, 0);
    let reply = post(server.http, &[("content-type", "application/x-protobuf")], &body(1, 1)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(server.store.spans(), 1);
}

#[tokio::test]
async fn a_large_body_waits_for_the_word_to_send() {
    // With `Expect: 100-continue`, a body over the limit is refused without waiting for it.
    let server = Server::start(CollectorConfig::default()).await;
    let mut sender = TcpStream::connect(server.http).await.unwrap();
    let head = format!("{HEAD}expect: 100-continue\r\ncontent-length: 999999999\r\n\r\n");
    sender.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    sender.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
}
