//! A resent request is acknowledged and not stored again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spandrel_collector::{Clock, CollectorConfig};
use spandrel_storage::AppendError;

use crate::encodings::gzip;
use crate::support::{Grpc, Server, body, eventually, post, request, request_with_bad_spans};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

const RESENDS: &str = "spandrel_ingest_resends_total";

/// A clock that tests move.
fn clock() -> (Clock, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(0));
    let (start, moved) = (Instant::now(), seconds.clone());
    (Arc::new(move || start + Duration::from_secs(moved.load(Ordering::Relaxed))), seconds)
}

#[tokio::test]
async fn within_the_window_however_it_is_packed() {
    let (clock, seconds) = clock();
    let server = Server::start_with_clock(CollectorConfig::default(), clock).await;
    let sent = body(1, 3);
    assert_eq!(post(server.http, &[PROTOBUF], &sent).await.status, 200);
    seconds.store(299, Ordering::Relaxed);
    assert_eq!(post(server.http, &[PROTOBUF], &sent).await.status, 200);
    assert_eq!(post(server.http, &[PROTOBUF, ("content-encoding", "gzip")], &gzip(&sent)).await.status, 200);
    Grpc::connect(server.grpc).await.client().export(request(1, 3)).await.unwrap();
    assert_eq!(server.store.begun(), 1);
    assert_eq!(post(server.http, &[PROTOBUF], &body(2, 3)).await.status, 200);
    assert_eq!(server.store.begun(), 2, "another request is another request");
    seconds.store(300, Ordering::Relaxed);
    assert_eq!(post(server.http, &[PROTOBUF], &sent).await.status, 200);
    assert_eq!(server.store.begun(), 3, "after the window it is stored again");
}

#[tokio::test]
async fn a_window_of_zero_recognises_nothing() {
    let config = CollectorConfig { resend_window: Duration::ZERO, ..CollectorConfig::default() };
    let server = Server::start(config).await;
    for _ in 0..2 {
        assert_eq!(post(server.http, &[PROTOBUF], &body(1, 3)).await.status, 200);
    }
    assert_eq!(server.store.begun(), 2);
}

#[tokio::test]
async fn the_answer_is_the_same() {
    let server = Server::start(CollectorConfig::default()).await;
    let mut client = Grpc::connect(server.grpc).await.client();
    let sent = request_with_bad_spans(1, 2, 3);
    let first = client.export(sent.clone()).await.unwrap().into_inner();
    assert_eq!(first.partial_success.as_ref().unwrap().rejected_spans, 3);
    assert_eq!(client.export(sent).await.unwrap().into_inner(), first);
    assert_eq!(server.store.spans(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_waits_while_the_first_is_under_way() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.grpc).await;
    for failure in [Some(AppendError::DiskFull { free: 1, needed: 2 }), None] {
        let (begun, waiting) = (server.store.begun(), server.metric(RESENDS));
        server.store.block();
        server.store.fail(failure.clone());
        let send = || {
            let mut client = grpc.client();
            tokio::spawn(async move { client.export(request(1, 1)).await })
        };
        let first = send();
        eventually("the append begins", || server.store.begun() == begun + 1).await;
        let resends = [send(), send()];
        eventually("the resends wait", || server.metric(RESENDS) == waiting + 2).await;
        server.store.release();
        for send in [first].into_iter().chain(resends) {
            assert_eq!(send.await.unwrap().is_err(), failure.is_some());
        }
        assert_eq!(server.store.begun(), begun + 1, "three requests, one append");
    }
    assert_eq!(server.store.spans(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_may_leave() {
    let server = Server::start(CollectorConfig::default()).await;
    server.store.block();
    let (leaver, stayer) = (Grpc::connect(server.grpc).await, Grpc::connect(server.grpc).await);
    let send = |grpc: &Grpc| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(1, 1)).await })
    };
    let first = send(&leaver);
    eventually("the append begins", || server.store.begun() == 1).await;
    first.abort();
    drop(leaver);
    let resend = send(&stayer);
    eventually("the resend waits", || server.metric(RESENDS) == 1).await;
    server.store.release();
    resend.await.unwrap().unwrap();
    assert_eq!(server.store.spans(), 1);
}
