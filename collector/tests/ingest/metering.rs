//! The collector's metrics, as a scrape returns them.

use spandrel_collector::CollectorConfig;
use spandrel_storage::AppendError;

use crate::support::{Grpc, Server, body, post, request, request_with_bad_spans};

#[tokio::test]
async fn count_what_was_stored_and_what_was_refused() {
    let server = Server::start(CollectorConfig::default()).await;
    let shows = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert_eq!(server.metric(name).to_string(), value, "{name}");
    };
    shows("spandrel_ingest_refused_total{reason=\"disk_full\"} 0");

    let protobuf = [("content-type", "application/x-protobuf")];
    let json = [("content-type", "application/json")];
    Grpc::connect(server.grpc).await.client().export(request(1, 5)).await.unwrap();
    post(server.http, &protobuf, &body(2, 3)).await;
    post(server.http, &protobuf, &body(2, 3)).await;
    post(server.http, &json, &serde_json::to_vec(&request_with_bad_spans(3, 2, 4)).unwrap()).await;
    post(server.http, &protobuf, b"\xff").await;
    post(server.http, &[], b"").await;
    server.store.fail(AppendError::DiskFull { free: 1, needed: 2 });
    post(server.http, &protobuf, &body(4, 1)).await;

    shows("spandrel_ingest_spans_total{receiver=\"otlp\",transport=\"grpc\",format=\"protobuf\"} 5");
    shows("spandrel_ingest_spans_total{receiver=\"otlp\",transport=\"http\",format=\"protobuf\"} 3");
    shows("spandrel_ingest_spans_total{receiver=\"otlp\",transport=\"http\",format=\"json\"} 2");
    shows("spandrel_ingest_resends_total 1");
    shows("spandrel_ingest_refused_spans_total 4");
    shows("spandrel_ingest_refused_total{reason=\"malformed\"} 1");
    shows("spandrel_ingest_refused_total{reason=\"content_type\"} 1");
    shows("spandrel_ingest_refused_total{reason=\"disk_full\"} 1");
    shows("spandrel_ingest_queue_requests 0");
    shows("spandrel_ingest_queue_bytes 0");
    shows("spandrel_ingest_batch_spans_count 4");
    shows("spandrel_ingest_append_seconds_count 4");
    shows("spandrel_ingest_request_bytes_count 6");
}

#[test]
fn every_limit_has_a_name_and_a_value() {
    let limits = CollectorConfig::default().limits.list();
    assert!(limits.contains(&("maxRequestBytes", (64 << 20).into())));
    assert!(limits.contains(&("bodyTimeout", "30s".into())));
}
