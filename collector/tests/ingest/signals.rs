//! What agents send beside traces: refused with the setting that ends it, or taken and counted.

use spandrel_collector::{CollectorConfig, OtherSignals};
use tonic::Code;

use crate::support::{Grpc, Server, framed, send};

const PATHS: [(&str, &str); 2] = [
    ("/v1/metrics", "OTEL_METRICS_EXPORTER=none"),
    ("/v1development/profiles", "OTEL_PROFILES_EXPORTER=none"),
];
const METHODS: [(&str, &str); 2] = [
    ("metrics.v1.MetricsService", "OTEL_METRICS_EXPORTER=none"),
    ("profiles.v1development.ProfilesService", "OTEL_PROFILES_EXPORTER=none"),
];

fn url(service: &str) -> String {
    format!("http://collector/opentelemetry.proto.collector.{service}/Export")
}

#[tokio::test]
async fn a_refusal_names_the_setting_that_ends_it() {
    let server = Server::start(CollectorConfig::default()).await;
    for (path, setting) in PATHS {
        let json = [("content-type", "application/json"), ("content-length", "2")];
        let reply = send(server.http, "POST", path, &json, b"{}").await;
        assert_eq!((reply.status, reply.header("retry-after")), (404, None), "{path}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains(setting) && message.contains("--other-signals discard"),
            "{path}: {message}"
        );
        let protobuf = [("content-type", "application/x-protobuf"), ("content-length", "0")];
        let reply = send(server.http, "POST", path, &protobuf, b"").await;
        assert_eq!((reply.status, reply.rpc_status().code), (404, 12), "{path}");
    }
    let grpc = Grpc::connect(server.grpc).await;
    for (service, setting) in METHODS {
        let status = grpc.send_to(&url(service), &[], framed(false, b"")).await;
        assert_eq!(status.code(), Code::Unimplemented, "{service}");
        assert!(status.message().contains(setting), "{service}: {status}");
    }
    assert_eq!(server.metric("spandrel_ingest_refused_total{reason=\"other_signal\"}"), 6);
}

#[tokio::test]
async fn what_is_discarded_is_counted() {
    let config = CollectorConfig { other_signals: OtherSignals::Discard, ..CollectorConfig::default() };
    let server = Server::start(config).await;
    for (path, _) in PATHS {
        let json = [("content-type", "application/json"), ("content-length", "7")];
        let reply = send(server.http, "POST", path, &json, b"{\"a\":1}").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{path}");
    }
    let grpc = Grpc::connect(server.grpc).await;
    for (service, _) in METHODS {
        let status = grpc.send_to(&url(service), &[], framed(false, b"abc")).await;
        assert_eq!(status.code(), Code::Ok, "{service}");
    }
    for signal in ["metrics", "profiles"] {
        let count = |name: &str| server.metric(&format!("spandrel_ingest_{name}{{signal=\"{signal}\"}}"));
        assert_eq!((count("discarded_total"), count("discarded_bytes_total")), (2, 7 + 8), "{signal}");
    }
    assert_eq!(server.store.spans(), 0);
}
