//! Checks responses against the OpenAPI document: each operation gives every status that it documents and no other,
//! with a body that the schema describes completely.

use std::collections::BTreeSet;

use jsonschema::Validator;
use spandrel_proto::SpanId;
use spandrel_storage::backup::{BackupId, Manifest};
use spandrel_storage::{
    Deletion, DeletionId, Dependency, EdgeKind, EdgeTotals, SearchAnswer, ServiceCount, TraceSummary,
};

use super::*;
use crate::api::openapi::DOCUMENT;
use crate::cursor::TreeCursor;

/// The server that a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// A store with every feature.
    Full,
    /// Deletions never finish.
    Deleting,
    /// Every read of the store fails.
    Broken,
    /// The store has neither deletions nor backups.
    ReadOnly,
    /// All permits for queries are taken.
    Busy,
}

/// A request that the OpenAPI document allows, and the status of its response.
struct Exchange {
    server: Server,
    method: &'static str,
    template: &'static str,
    path: String,
    body: &'static str,
    status: u16,
}

/// Requests that succeed, at least one of each operation and each of its content types.
const GOOD: [(&str, &str, &str, &str, u16); 42] = [
    ("get", "/traces", "/traces?start=0", "", 200),
    ("get", "/traces/live", "/traces/live?q=%7B%7D", "", 200),
    ("get", "/traces/{traceId}", "/traces/aa", "", 200),
    ("get", "/traces/{traceId}", "/traces/aa?attributes=map", "", 200),
    ("get", "/traces/{traceId}/hops", "/traces/aa/hops", "", 200),
    ("get", "/traces/{traceId}", "/traces/aa?format=otlp", "", 200),
    ("get", "/traces/{traceId}", "/traces/aa?format=otlp-proto", "", 200),
    ("get", "/traces/{traceId}", "/traces/aa?format=otlp-logs", "", 200),
    ("get", "/traces/{traceId}", "/traces/aa?format=otlp-logs-proto", "", 200),
    ("get", "/export", "/export?format=otlp", "", 200),
    ("get", "/export", "/export?format=jaeger", "", 200),
    ("get", "/export", "/export?format=parquet", "", 200),
    ("get", "/services", "/services", "", 200),
    ("get", "/services/{service}/operations", "/services/gate%2Fway/operations", "", 200),
    ("get", "/aggregates", "/aggregates?groupBy=service,kind", "", 200),
    ("get", "/operations", "/operations?service=cart&kind=any", "", 200),
    (
        "get",
        "/traces/{traceId}/spans/{spanId}/percentile",
        "/traces/aa/spans/0000000000000001/percentile",
        "",
        200,
    ),
    ("get", "/metrics", "/metrics?q=%7B%7D%7Crate()by(name,.a)&step=60&exemplars=1", "", 200),
    ("get", "/histogram", "/histogram?q=%7B%7D", "", 200),
    ("get", "/attributes", "/attributes?scope=span", "", 200),
    ("get", "/attributes/compare", "/attributes/compare?selection=%7Bfailed%7D", "", 200),
    ("get", "/attributes/{name}/values", "/attributes/http.route/values?prefix=x", "", 200),
    ("get", "/dependencies", "/dependencies", "", 200),
    ("get", "/mesh/edges", "/mesh/edges", "", 200),
    ("get", "/noise", "/noise?start=0&spans=10", "", 200),
    ("get", "/backups", "/backups", "", 200),
    ("post", "/backups", "/backups", "", 200),
    ("post", "/backups", "/backups", r#"{"id": null, "have": []}"#, 200),
    ("delete", "/backups/{backupId}", "/backups/00000000000000b1", "", 204),
    ("post", "/check", "/check", "", 200),
    ("post", "/delete", "/delete", r#"{"q": "{ }", "start": null, "wait": true}"#, 200),
    ("get", "/deletions", "/deletions", "", 200),
    ("get", "/deletions/{deletionId}", "/deletions/00000000000000D1", "", 200),
    ("get", "/pins", "/pins", "", 200),
    ("get", "/pins/{traceId}", "/pins/aa", "", 200),
    ("put", "/pins/{traceId}", "/pins/aa", "", 200),
    ("delete", "/pins/{traceId}", "/pins/aa", "", 204),
    ("get", "/status", "/status", "", 200),
    ("get", "/tenants", "/tenants", "", 200),
    ("delete", "/tenants/{tenant}", "/tenants/shop", "", 202),
    ("get", "/usage", "/usage", "", 200),
    ("get", "/openapi.json", "/openapi.json", "", 200),
];

#[tokio::test]
async fn every_documented_status_is_given_and_no_other() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys();
            // The HTTP listener refuses addresses that are too long before the router sees the request.
            for status in statuses.filter(|status| !["414", "431"].contains(&status.as_str())) {
                documented.insert(format!("{method} {path} {status}"));
            }
        }
    }
    let mut given = BTreeSet::new();
    for exchange in exchanges(&documented) {
        let got = answer(&exchange).await;
        let Exchange { method, template, status, path, server, .. } = &exchange;
        assert_eq!(
            got.status,
            *status,
            "{server:?}: {method} {path}: {}",
            String::from_utf8_lossy(&got.body)
        );
        let operation = &document["paths"][format!("{PREFIX}{template}")][*method];
        check_body(&document, operation, &got, &format!("{method} {path} {status}"));
        given.insert(format!("{method} {PREFIX}{template} {status}"));
    }
    assert_eq!(given, documented);
}

fn exchanges(documented: &BTreeSet<String>) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    let mut add = |server, method, template, path: &str, body, status| {
        exchanges.push(Exchange { server, method, template, path: path.to_owned(), body, status });
    };
    for (method, template, path, body, status) in GOOD {
        add(Server::Full, method, template, path, body, status);
        let documents = |status: u16| documented.contains(&format!("{method} {PREFIX}{template} {status}"));
        let joint = if path.contains('?') { '&' } else { '?' };
        add(Server::Full, method, template, &format!("{path}{joint}unknown=1"), body, 400);
        if documents(500) {
            add(Server::Broken, method, template, path, body, 500);
        }
        if documents(503) {
            add(Server::Busy, method, template, path, body, 503);
        }
    }
    for (method, template, path, body) in [
        ("get", "/backups", "/backups", ""),
        ("post", "/backups", "/backups", ""),
        ("post", "/check", "/check", ""),
        ("post", "/delete", "/delete", r#"{"q": "{ }"}"#),
        ("get", "/deletions", "/deletions", ""),
        ("get", "/pins", "/pins", ""),
        ("delete", "/tenants/{tenant}", "/tenants/shop", ""),
    ] {
        add(Server::ReadOnly, method, template, path, body, 404);
    }
    for (method, template, path) in [
        ("get", "/traces/{traceId}", "/traces/bb"),
        ("get", "/traces/{traceId}/hops", "/traces/bb/hops"),
        ("delete", "/backups/{backupId}", "/backups/00000000000000b2"),
        ("get", "/deletions/{deletionId}", "/deletions/00000000000000d2"),
        ("get", "/pins/{traceId}", "/pins/bb"),
        ("put", "/pins/{traceId}", "/pins/bb"),
        (
            "get",
            "/traces/{traceId}/spans/{spanId}/percentile",
            "/traces/bb/spans/0000000000000001/percentile",
        ),
        ("delete", "/pins/{traceId}", "/pins/bb"),
    ] {
        add(Server::Full, method, template, path, "", 404);
    }
    add(Server::Deleting, "post", "/delete", "/delete", r#"{"q": "{ }"}"#, 202);
    add(Server::Full, "post", "/backups", "/backups", r#"{"id": "00000000000000b1"}"#, 409);
    let of_another_tree =
        TreeCursor { fingerprint: crate::cursor::fingerprint_of(&[TRACE, ""]), span_count: 1_000, offset: 1 };
    let path = format!("/traces/aa?cursor={}", of_another_tree.encode());
    add(Server::Full, "get", "/traces/{traceId}", &path, "", 409);
    exchanges
}

async fn answer(exchange: &Exchange) -> Got {
    let Exchange { server, method, path, body, .. } = exchange;
    let mut store = full_store();
    match server {
        Server::Full | Server::Busy => {}
        Server::Deleting => store.deletions[0].finished = None,
        Server::Broken => store.broken = true,
        Server::ReadOnly => store.maintains = false,
    }
    let config = QueryConfig {
        max_concurrent_queries: 1,
        queue_timeout: std::time::Duration::from_millis(1),
        ..config()
    };
    let state = QueryState::new(Arc::new(store), config);
    let _running = match server {
        Server::Busy => Some(state.executor().place(state.asker()).await.unwrap()),
        _ => None,
    };
    let request = Request::builder().method(method.to_uppercase().as_str()).uri(format!("{PREFIX}{path}"));
    let request = request.header("content-type", "application/json").body(Body::from(*body)).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    // A stream of events has no end.
    let is_endless = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let body = match is_endless {
        true => Vec::new(),
        false => to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec(),
    };
    Got { status, headers, body }
}

fn full_store() -> FakeStore {
    let mut store = shop();
    store.logs = testing::logs(
        "cart",
        json!([
            { "spanId": "0000000000000003", "timeUnixNano": "650", "eventName": "e", "body": { "intValue": "1" } },
            { "spanId": "0000000000000009", "observedTimeUnixNano": "650", "flags": 1 },
        ]),
    );
    let trace = TRACE.parse().unwrap();
    let mut latency = LatencySketch::default();
    latency.add(1000);
    let worst = Exemplar { failed: true, duration: 1000, trace };
    let point = Point { time: UnixNanos(60), request_count: 3, error_count: 1, latency, worst: Some(worst) };
    store.series = vec![Series {
        service: Some("cart".to_owned()),
        operation: None,
        kind: Some(SpanKind::Server),
        points: vec![point],
    }];
    let mut totals = EdgeTotals::default();
    totals.add(worst);
    store.edges = vec![Dependency {
        caller: "gateway".to_owned(),
        callee: "cart".to_owned(),
        kind: EdgeKind::Rpc,
        totals,
    }];
    store.found = SearchAnswer {
        traces: vec![TraceSummary {
            id: trace,
            root_service: "gateway".to_owned(),
            root_name: "GET /".to_owned(),
            start: UnixNanos(1),
            duration: 2,
            span_count: 3,
            error_count: 1,
            status: spandrel_proto::otlp::StatusCode::Error,
            error_code: Some("503".to_owned()),
            services: vec![ServiceCount { name: "gateway".to_owned(), span_count: 3, error_count: 1 }],
            matched_span_ids: vec![SpanId::from_bytes([1; 8])],
            matched_span_count: 1,
        }],
        ..SearchAnswer::default()
    };
    let taken = UnixNanos(7);
    let backup = BackupId(0xb1);
    store.backups = vec![Manifest {
        id: backup,
        taken,
        records: None,
        blocks: Vec::new(),
        lost: Vec::new(),
        without: Vec::new(),
    }];
    store.deletions = vec![Deletion {
        id: DeletionId(0xd1),
        accepted: UnixNanos(8),
        finished: Some(UnixNanos(9)),
        traces: 1,
        spans: 2,
        damaged_blocks: 0,
        backups: vec![(backup, taken)],
        damaged_store: false,
    }];
    store.pins = vec![(trace, UnixNanos(5))];
    store.maintains = true;
    store
}

// === schemas ===

fn check_body(document: &Value, operation: &Value, got: &Got, what: &str) {
    let response = resolved(document, &operation["responses"][got.status.to_string()]);
    assert!(response.is_object(), "{what}: this status is not documented");
    let Some(contents) = response["content"].as_object() else {
        return assert!(got.body.is_empty(), "{what}: a body that is not documented");
    };
    let content = contents.get(got.content_type());
    let content = content.unwrap_or_else(|| panic!("{what}: {} is not documented", got.content_type()));
    let bodies: Vec<Value> = match got.content_type() {
        "application/json" | "application/problem+json" => vec![got.json()],
        "application/x-ndjson" => {
            let text = std::str::from_utf8(&got.body).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
        _ => return,
    };
    let validator = validator(document, &content["schema"]);
    assert!(!bodies.is_empty(), "{what}: no body");
    for body in bodies {
        let errors: Vec<String> =
            validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?}\n{body:#}");
    }
}

fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect(reference),
        None => value,
    }
}

/// A validator that also refuses members which the schema does not describe: clients have to ignore unknown members,
/// but the schema has to be complete.
fn validator(document: &Value, schema: &Value) -> Validator {
    let mut schema = json!({ "allOf": [schema], "components": document["components"] });
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("type") == Some(&json!("object"))
                && members.contains_key("properties")
                && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn an_undescribed_member_is_noticed() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let validator = validator(&document, &json!({ "$ref": "#/components/schemas/Service" }));
    assert!(validator.is_valid(&json!({ "name": "cart" })));
    assert!(!validator.is_valid(&json!({ "name": "cart", "colour": "red" })));
    assert!(!validator.is_valid(&json!({ "name": 7 })));
}

/// The server writes the tree by hand; the command line reads it with these types.
#[tokio::test]
async fn the_tree_is_what_its_types_say() {
    for path in ["/api/v1/traces/aa", "/api/v1/traces/aa?attributes=map"] {
        let tree = get(shop(), path).await.json();
        let read: crate::answers::TraceAnswer<Value> = serde_json::from_value(tree.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), tree);
    }
}
