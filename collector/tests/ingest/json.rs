//! Which parts of a JSON request a flaw makes invalid, and which it does not.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use spandrel_collector::CollectorConfig;

use crate::encodings::gzip;
use crate::support::{Reply, Server, post};

const JSON: (&str, &str) = ("content-type", "application/json");

fn span(name: &str) -> Value {
    json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": name })
}

fn request(spans: &[Value]) -> Value {
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] })
}

fn with(name: &str, value: Value) -> Value {
    let mut span = span("odd");
    span[name] = value;
    span
}

async fn send(server: &Server, body: &str) -> Reply {
    let plain = post(server.http, &[JSON], body.as_bytes()).await;
    let packed = post(server.http, &[JSON, ("content-encoding", "gzip")], &gzip(body.as_bytes())).await;
    assert_eq!((plain.status, &plain.body), (packed.status, &packed.body));
    plain
}

fn names(server: &Server) -> Vec<String> {
    let last = server.store.requests().pop().unwrap();
    let scopes = last.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span: Span| span.name).collect()
}

#[tokio::test]
async fn one_bad_span_costs_that_span() {
    let server = Server::start(CollectorConfig::default()).await;
    let nested = (0..40).fold(json!({}), |value, _| json!({ "arrayValue": { "values": [value] } }));
    for (bad, place) in [
        (with("traceId", json!("5b8efff798038103d269b633813fc60")), "spans[1].traceId"),
        (with("traceId", json!("abc")), "spans[1].traceId"),
        (with("spanId", json!("not hex, not hex")), "spans[1].spanId"),
        (with("spanId", json!(7)), "spans[1].spanId"),
        (with("startTimeUnixNano", json!(1.5)), "spans[1].startTimeUnixNano"),
        (with("startTimeUnixNano", json!({})), "spans[1].startTimeUnixNano"),
        (with("name", json!(["x"])), "spans[1].name"),
        (with("events", json!("x")), "spans[1].events"),
        (with("attributes", json!([{ "key": "k", "value": nested }])), "maxNesting = 32"),
    ] {
        let body = request(&[span("first"), bad, span("last")]).to_string();
        let reply = send(&server, &body).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.text());
        let partial = &reply.json()["partialSuccess"];
        assert_eq!(partial["rejectedSpans"], "1", "{body}: {partial}");
        let message = partial["errorMessage"].as_str().unwrap();
        assert!(message.starts_with("resourceSpans[0].scopeSpans[0].spans[1]"), "{message}");
        assert!(message.contains(place), "{message}");
        assert_eq!(names(&server), ["first", "last"]);
    }
}

#[tokio::test]
async fn what_belongs_to_no_span_is_a_warning() {
    let server = Server::start(CollectorConfig::default()).await;
    let mut body = request(&[span("kept")]);
    body["resourceSpans"].as_array_mut().unwrap().push(json!({ "scopeSpans": {} }));
    let reply = send(&server, &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "0", "{partial}");
    assert!(partial["errorMessage"].as_str().unwrap().contains("resourceSpans[1].scopeSpans"), "{partial}");
    assert_eq!(names(&server), ["kept"]);
}

#[tokio::test]
async fn a_broken_body_is_no_broken_json() {
    let server = Server::start(CollectorConfig::default()).await;
    let mut packed = gzip(format!("{{]{}", " ".repeat(500_000)).as_bytes());
    let sound = post(server.http, &[JSON, ("content-encoding", "gzip")], &packed).await;
    assert_eq!(sound.status, 400);
    assert!(sound.text().contains("line 1 column 2"), "{}", sound.text());
    let crc = packed.len() - 8;
    packed[crc] ^= 1;
    let broken = post(server.http, &[JSON, ("content-encoding", "gzip")], &packed).await;
    assert_eq!(broken.status, 400);
    assert!(broken.text().contains("not valid gzip"), "{}", broken.text());
}
