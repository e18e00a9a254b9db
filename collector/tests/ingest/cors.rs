//! Browsers may send from the allowed origins, and from no other.

use spandrel_collector::{Collector, CollectorConfig, StartError};

use crate::support::{FakeStore, Server, body, post, send};

const ORIGIN: &str = "https://shop.example";

async fn server(origins: &[&str]) -> Server {
    let cors_origins = origins.iter().map(|&origin| origin.to_owned()).collect();
    Server::start(CollectorConfig { cors_origins, ..CollectorConfig::default() }).await
}

fn preflight(origin: &str) -> [(&str, &str); 3] {
    [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-anything"),
    ]
}

#[tokio::test]
async fn an_allowed_origin_may_send() {
    let server = server(&["https://other.example", ORIGIN]).await;
    let reply = send(server.http, "OPTIONS", "/v1/traces", &preflight(ORIGIN), b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(reply.header("access-control-allow-methods"), Some("post"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type,x-anything"));
    assert!(reply.header("access-control-max-age").is_some());
    let headers = [("origin", ORIGIN), ("content-type", "application/x-protobuf")];
    let reply = post(server.http, &headers, &body(1, 1)).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(ORIGIN)));
    // Refusals have the header, too, so that a page can read the reason.
    let reply = post(server.http, &[("origin", ORIGIN)], b"").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (415, Some(ORIGIN)));
}

#[tokio::test]
async fn any_origin_when_a_star_says_so() {
    let server = server(&["*"]).await;
    let reply = send(server.http, "OPTIONS", "/v1/traces", &preflight(ORIGIN), b"").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn others_may_not() {
    for origins in [&[][..], &["https://other.example"]] {
        let server = server(origins).await;
        let reply = send(server.http, "OPTIONS", "/v1/traces", &preflight(ORIGIN), b"").await;
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn an_origin_has_to_be_one() {
    for bad in ["shop.example", "https://shop.example/path", "https://a\nb", ""] {
        let config = CollectorConfig { cors_origins: vec![bad.to_owned()], ..CollectorConfig::default() };
        let started = Collector::start(config, std::sync::Arc::new(FakeStore::default()));
        assert!(matches!(started.err(), Some(StartError::Origin(origin)) if origin == bad), "{bad:?}");
    }
}
