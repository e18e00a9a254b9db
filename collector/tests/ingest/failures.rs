//! A store that fails or is slow: every sender gets an error, and memory stays bounded.

use spandrel_collector::{CollectorConfig, IngestLimits};
use spandrel_storage::AppendError;
use tonic::Code;

use crate::support::{Grpc, Reply, RpcStatus, Server, body, eventually, post, request};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Asserts that an HTTP response is a refusal with a hint to retry.
fn assert_retryable(reply: &Reply, status: u16, code: Code, part: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    let seconds: u64 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    let told = reply.rpc_status();
    assert_eq!(told.code, code as i32);
    assert!(told.message.contains(part), "{}", told.message);
    assert_eq!(told.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
}

/// Asserts that a gRPC status is a refusal with a hint to retry.
fn assert_retryable_status(status: &tonic::Status, code: Code, part: &str) {
    use prost::Message as _;
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(part), "{status}");
    let details = RpcStatus::decode(status.details()).unwrap();
    assert_eq!((details.code, details.message.as_str()), (code as i32, status.message()));
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    // RetryInfo { retry_delay { seconds } }: field 1 of field 1, not zero.
    assert!(
        matches!(details.details[0].value[..], [0x0a, _, 0x08, seconds, ..] if seconds > 0),
        "{:?}",
        details.details[0].value
    );
}

#[tokio::test]
async fn every_failure_of_the_store_has_its_status() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.grpc).await;
    let cases = [
        (AppendError::DiskFull { free: 1, needed: 2 }, 507, Code::Unavailable, "disk is full"),
        (AppendError::Overloaded { unsealed_spans: 9 }, 429, Code::ResourceExhausted, "behind with merging"),
        (AppendError::Poisoned("sync failed".to_owned()), 503, Code::Unavailable, "sync failed"),
        (AppendError::Encode("no".to_owned()), 503, Code::Unavailable, "none of them is stored"),
        (AppendError::NoKey("master key".to_owned()), 503, Code::Unavailable, "cannot be encrypted"),
        (AppendError::Closed, 503, Code::Unavailable, "closing"),
    ];
    for (error, status, code, part) in cases {
        server.store.fail(error);
        assert_retryable(&post(server.http, &[PROTOBUF], &body(1, 1)).await, status, code, part);
        let told = grpc.client().export(request(1, 1)).await.unwrap_err();
        assert_retryable_status(&told, code, part);
        let reply = post(server.http, &[JSON], &serde_json::to_vec(&request(1, 1)).unwrap()).await;
        assert_eq!((reply.status, reply.json()["code"].as_i64()), (status, Some(code as i64)));
        assert!(reply.json()["details"][0]["retryDelay"].as_str().unwrap().ends_with('s'));
    }
    assert_eq!(server.store.spans(), 0);
    server.store.fail(None);
    assert_eq!(post(server.http, &[PROTOBUF], &body(1, 1)).await.status, 200, "failures are not remembered");
    assert_eq!(server.store.spans(), 1);
}

#[tokio::test]
async fn a_panic_of_the_store_is_an_error_and_not_a_hang() {
    let server = Server::start(CollectorConfig::default()).await;
    server.store.set_panics(true);
    let reply = post(server.http, &[PROTOBUF], &body(1, 1)).await;
    assert_retryable(&reply, 503, Code::Unavailable, "unexpectedly");
    server.store.set_panics(false);
    assert_eq!(post(server.http, &[PROTOBUF], &body(1, 1)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_requests_of_a_failed_batch_are_told() {
    let server = Server::start(CollectorConfig::default()).await;
    server.store.block();
    let grpc = Grpc::connect(server.grpc).await;
    let send = |seed| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(seed, 1)).await })
    };
    let mut sends = vec![send(0)];
    eventually("the first append begins", || server.store.begun() == 1).await;
    sends.extend((1..20).map(send));
    eventually("the others are queued", || server.collector.load().queued_requests == 19).await;
    server.store.fail(AppendError::DiskFull { free: 1, needed: 2 });
    server.store.release();
    for send in sends {
        assert_retryable_status(&send.await.unwrap().unwrap_err(), Code::Unavailable, "disk is full");
    }
    assert_eq!((server.store.begun(), server.store.spans()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_presses_back_by_requests() {
    let limits = IngestLimits { max_queue_requests: 3, ..IngestLimits::default() };
    press_back(limits, "maxQueueRequests = 3", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_presses_back_by_queued_bytes() {
    let limits = IngestLimits { max_queue_bytes: 2 * body(1, 100).len(), ..IngestLimits::default() };
    press_back(limits, "maxQueueBytes", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_presses_back_by_bytes_in_flight() {
    // The limit fits two and a half requests: one in the store and one that waits.
    let limits = IngestLimits { max_inflight_bytes: 4 * body(1, 100).len(), ..IngestLimits::default() };
    press_back(limits, "maxInflightBytes", 1).await;
}

/// While one append is blocked, `room` requests wait and one more is refused; after the append, all succeed.
async fn press_back(limits: IngestLimits, limit: &str, room: usize) {
    let server = Server::start(CollectorConfig { limits, ..CollectorConfig::default() }).await;
    server.store.block();
    let grpc = Grpc::connect(server.grpc).await;
    let send = |seed| {
        let mut client = grpc.client();
        tokio::spawn(async move { client.export(request(seed, 100)).await })
    };
    let mut sends = vec![send(0)];
    eventually("the first append begins", || server.store.begun() == 1).await;
    sends.extend((1..=room as u64).map(send));
    eventually("the queue is full", || server.collector.load().queued_requests == room).await;
    for seed in 100..120 {
        assert_retryable(
            &post(server.http, &[PROTOBUF], &body(seed, 100)).await,
            429,
            Code::ResourceExhausted,
            limit,
        );
        let told = grpc.client().export(request(seed, 100)).await.unwrap_err();
        assert_retryable_status(&told, Code::ResourceExhausted, limit);
    }
    assert_eq!(server.collector.load().queued_requests, room);
    server.store.release();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(post(server.http, &[PROTOBUF], &body(100, 100)).await.status, 200);
    assert_eq!(server.store.spans(), (room + 2) * 100);
}
