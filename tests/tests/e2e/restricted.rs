//! Roles that see a part: of the services, of the spans that satisfy a condition, and without values that are hidden.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::http::{self, Body, Reply, percent_encoded};
use spandrel_tests::otlp;
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;

const ROLES: &str = r#"{
  "support": {"role": "read", "mask": ["user.secret", "http.url"], "mask-detected": ["mail", "card", "token"]},
  "cart": {"role": "edit", "services": ["cart"]},
  "prod": {"role": "read", "condition": "{ resource.deployment.environment = \"prod\" }"}
}"#;

struct Roles {
    server: Server,
    keys: Vec<(&'static str, String)>,
    _folder: TempDir,
}

/// What must not come out: in what is sent, each text that is hidden contains one of these.
const MARKERS: [&str; 4] = ["markone", "4111111111111111", "hunter2", "marktwo"];

fn texts(n: usize) -> Vec<(&'static str, String)> {
    vec![
        ("user.secret", format!("markone {n}")),
        ("url.full", format!("https://shop.example/marktwo/{n}")),
        ("note", format!("sent to markone{n}@example.org")),
        ("db.query.text", "select * from cards where n = '4111111111111111'".to_owned()),
        ("target", "postgres://app:hunter2@db/shop".to_owned()),
    ]
}

/// One request of a service in an environment, with markers in every place that a span has.
fn sent(service: &str, environment: &str, trace: &[u8], n: usize) -> Vec<u8> {
    let attributes = || texts(n).iter().map(|(key, text)| otlp::text(key, text)).collect::<Vec<_>>();
    let mut span: Span = otlp::span(trace, &format!("mail markone{n}@example.org"));
    span.attributes = attributes();
    span.attributes.push(otlp::attribute("card", Any::IntValue(4_111_111_111_111_111)));
    let items = ["plain", "markone@example.org"]
        .map(|text| AnyValue { value: Some(Any::StringValue(text.to_owned())) });
    span.attributes.push(otlp::attribute("list", Any::ArrayValue(ArrayValue { values: items.to_vec() })));
    span.attributes.push(otlp::text("open", &format!("{service} {environment}")));
    span.trace_state = "vendor=markone@example.org".to_owned();
    span.status = Some(Status { code: 2, message: "no card 4111111111111111".to_owned() });
    span.events.push(Event {
        name: "to markone@example.org".to_owned(),
        attributes: attributes(),
        ..Event::default()
    });
    span.links.push(Link {
        trace_id: otlp::trace_id(),
        span_id: otlp::span_id(),
        attributes: attributes(),
        ..Link::default()
    });
    let mut request = otlp::request(service, vec![span]);
    let of_service = &mut request.resource_spans[0];
    let resource = of_service.resource.as_mut().unwrap();
    resource.attributes.extend(attributes());
    resource.attributes.push(otlp::text("deployment.environment", environment));
    resource.attributes.push(otlp::text(&format!("only.{environment}"), "x"));
    of_service.scope_spans[0].scope = Some(InstrumentationScope {
        name: "scope markone@example.org".to_owned(),
        attributes: attributes(),
        ..InstrumentationScope::default()
    });
    request.encode_to_vec()
}

const QUERIES: [&str; 16] = [
    "{ }",
    "{ .user.secret = \"markone 1\" }",
    "{ .user.secret != nil } | select(.user.secret, .note, name, statusMessage)",
    "{ .http.url =~ \".*marktwo.*\" } | select(.url.full)",
    "{ .note =~ \".*markone.*\" } | select(.note)",
    "{ .note > \"sent to a\" } | select(.note, .card, .list, .target)",
    "{ name =~ \"mail mark.*\" }",
    "{ name = \"mail markone1@example.org\" }",
    "{ .card = 4111111111111111 }",
    "{ .card > 5 } | select(.card)",
    "{ .db.statement contains \"4111\" } | select(.db.query.text)",
    "{ event.name startsWith \"to mark\" } | select(event.name, event.note, link.note, instrumentation.name)",
    "{ event.user.secret != nil } | select(event.user.secret)",
    "{ .open != nil } | by(.note) | count() > 0",
    "{ statusMessage =~ \".*4111.*\" }",
    "{ .target endsWith \"db/shop\" } | select(.target)",
];

// === impl Roles ===

impl Roles {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let key = |role: &'static str| {
            let arguments = ["keys", "create", "--data-dir", data, "--role", role];
            let output = command(&arguments).output().unwrap();
            (role, String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned())
        };
        let keys = ["admin", "support", "cart", "prod"].map(key).to_vec();
        let server = Settings::on(folder.path()).with(&["--require-auth", "--roles", ROLES]).start();
        Self { server, keys, _folder: folder }
    }

    fn send(&self, body: &[u8]) {
        let authorization = format!("Bearer {}", self.key("admin"));
        let headers = [("content-type", "application/x-protobuf"), ("authorization", authorization.as_str())];
        let reply = http::request(self.server.otlp_http(), "POST", "/v1/traces", &headers, Body::Sized(body));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn key(&self, role: &str) -> &str {
        &self.keys.iter().find(|(known, _)| *known == role).unwrap().1
    }

    fn ask(&self, method: &str, path: &str, role: &str, body: Option<Value>) -> Reply {
        let authorization = format!("Bearer {}", self.key(role));
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        let text = body.map(|body| body.to_string());
        let body = text.as_ref().map_or(Body::None, |text| Body::Sized(text.as_bytes()));
        http::request(self.server.http(), method, path, &headers, body)
    }

    fn get(&self, path: &str, role: &str) -> Reply {
        self.ask("GET", path, role, None)
    }

    fn traces(&self, query: &str, role: &str) -> usize {
        let reply = self.get(&format!("/api/v1/traces?start=0&limit=500&q={}", percent_encoded(query)), role);
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        reply.json()["traces"].as_array().unwrap().len()
    }

    fn counted(&self, query: &str, role: &str) -> f64 {
        let query = percent_encoded(&format!("{query} | count_over_time()"));
        let reply = self.get(&format!("/api/v1/metrics?start=0&step=200000&q={query}"), role);
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        let series = reply.json()["series"].as_array().unwrap().clone();
        let points = series.iter().flat_map(|series| series["points"].as_array().unwrap());
        points.map(|point| point["value"].as_f64().unwrap()).sum()
    }

    /// Waits until the spans lie in a sealed block.
    fn sealed(&self) {
        eventually("sealed blocks", || {
            let status = self.get("/api/v1/status", "admin").json();
            (status["freshBlockCount"] == 0).then_some(())
        });
    }
}

/// Every kind of answer about some queries.
fn paths(trace: &[u8]) -> Vec<String> {
    let trace = otlp::hex(trace);
    let mut paths: Vec<String> = [
        format!("/api/v1/traces/{trace}"),
        format!("/api/v1/traces/{trace}?format=otlp"),
        format!("/api/v1/traces/{trace}?attributes=map"),
        "/api/v1/services".to_owned(),
        "/api/v1/services/cart/operations".to_owned(),
        "/api/v1/operations?start=0&kind=any".to_owned(),
        "/api/v1/aggregates?start=0&kind=any&groupBy=service,operation".to_owned(),
        "/api/v1/attributes?start=0".to_owned(),
        "/api/v1/attributes/compare?start=0&selection=%7B.open%20!%3D%20nil%7D".to_owned(),
        "/api/v1/status".to_owned(),
        "/api/v1/usage".to_owned(),
        "/api/v1/pins".to_owned(),
        "/api/v1/deletions".to_owned(),
    ]
    .into();
    for format in ["otlp", "jaeger"] {
        paths.push(format!("/api/v1/export?format={format}&start=0"));
    }
    for name in
        ["user.secret", "note", "name", "card", "list", "url.full", "event.note", "statusMessage", "target"]
    {
        paths.push(format!("/api/v1/attributes/{name}/values?start=0"));
        let query = percent_encoded(&format!("{{ }} | count_over_time() by({name})"));
        if !["note", "card", "list", "target"].contains(&name) {
            continue;
        }
        paths.push(format!(
            "/api/v1/metrics?start=0&step=200000&exemplars=5&q={}",
            query.replace("by%28", "by%28.")
        ));
    }
    for query in QUERIES {
        paths.push(format!("/api/v1/traces?start=0&spss=10&q={}", percent_encoded(query)));
        paths.push(format!("/api/v1/histogram?start=0&q={}", percent_encoded(query)));
        let grouped = percent_encoded(&format!("{query} | count_over_time() by(.user.secret, .note, name)"));
        paths.push(format!("/api/v1/metrics?start=0&step=200000&q={grouped}"));
    }
    paths
}

#[test]
fn no_answer_contains_what_is_masked() {
    let roles = Roles::new();
    let trace = otlp::trace_id();
    for n in 0..6 {
        let trace = if n < 3 { trace.clone() } else { otlp::trace_id() };
        roles.send(&sent(if n % 2 == 0 { "cart" } else { "bank" }, "prod", &trace, n));
    }
    for round in ["fresh", "sealed"] {
        for path in paths(&trace) {
            let told = roles.get(&path, "support");
            let text = told.text();
            for marker in MARKERS {
                assert!(!text.contains(marker), "{round}: {marker} in {path}: {text}");
            }
            assert!([200, 400].contains(&told.status), "{path}: {text}");
        }
        // What is hidden finds nothing, and what is open is found as for everybody.
        for (query, seen) in [
            ("{ .user.secret = \"markone 1\" }", 0),
            ("{ .user.secret != nil }", 0),
            ("{ .http.url =~ \".*marktwo.*\" }", 0),
            ("{ .note =~ \".*markone.*\" }", 0),
            ("{ name = \"mail markone1@example.org\" }", 0),
            ("{ .card > 5 }", 0),
            ("{ .note = \"sent to [mail]\" }", 4),
            ("{ name = \"mail [mail]\" && .open startsWith \"cart\" }", 2),
            ("{ .open = \"cart prod\" }", 2),
            ("{ .target endsWith \"db/shop\" }", 4),
        ] {
            assert_eq!(roles.traces(query, "support"), seen, "{round}: {query}");
            let spans = roles.counted(query, "support");
            assert_eq!(spans > 0.0, seen > 0, "{round}: {query}: {spans}");
        }
        assert!(roles.traces("{ .note =~ \".*markone.*\" }", "admin") == 4);
        let attributes = roles.get("/api/v1/attributes?start=0", "support").text();
        assert!(!attributes.contains("user.secret") && !attributes.contains("url.full"), "{attributes}");
        let shown = roles.get(&format!("/api/v1/traces/{}", otlp::hex(&trace)), "support").text();
        assert!(
            shown.contains("[masked]")
                && shown.contains("sent to [mail]")
                && shown.contains("app:[token]@db")
        );
        roles.sealed();
    }
}

#[test]
fn a_role_of_some_services_sees_nothing_of_others() {
    let roles = Roles::new();
    let (shared, alone) = (otlp::trace_id(), otlp::trace_id());
    for (service, trace) in
        [("cart", &shared), ("bank", &shared), ("bank", &alone), ("cart", &otlp::trace_id())]
    {
        roles.send(&sent(service, "prod", trace, 1));
    }
    for round in ["fresh", "sealed"] {
        for path in paths(&shared) {
            let reply = roles.get(&path, "cart");
            assert!(!reply.text().contains("bank"), "{round}: {path}: {}", reply.text());
        }
        assert_eq!(roles.get(&format!("/api/v1/traces/{}", otlp::hex(&alone)), "cart").status, 404);
        assert_eq!(
            (roles.traces("{ }", "cart"), roles.traces("{ .open startsWith \"bank\" }", "cart")),
            (2, 0)
        );
        assert_eq!(roles.traces("{ } | count() > 1", "cart"), 0, "the other span is hidden");
        assert_eq!(
            roles.counted("{ }", "cart"),
            roles.counted("{ resource.service.name = \"cart\" }", "admin")
        );
        let tree = roles.get(&format!("/api/v1/traces/{}", otlp::hex(&shared)), "cart").json();
        assert_eq!(tree["trace"]["spanCount"], 1, "{tree}");
        let found = roles.get("/api/v1/traces?start=0", "cart").json();
        assert!(found["traces"].as_array().unwrap().iter().all(|trace| trace["spanCount"] == 1), "{found}");
        let longest = roles.get("/api/v1/traces?start=0&order=longest", "cart");
        assert_eq!(longest.status, 403, "{}", longest.text());
        roles.sealed();
    }
    // A change reaches what is seen, and no more.
    let pin =
        |trace: &[u8]| roles.ask("PUT", &format!("/api/v1/pins/{}", otlp::hex(trace)), "cart", None).status;
    assert_eq!((pin(&shared), pin(&alone)), (200, 404));
    let deleted = roles.ask("POST", "/api/v1/delete", "cart", Some(json!({ "q": "{ }" })));
    assert_eq!(deleted.status, 403, "{}", deleted.text());
    assert_eq!(roles.traces("{ }", "admin"), 3);
}

#[test]
fn a_role_with_a_condition_sees_the_spans_that_satisfy_it() {
    let roles = Roles::new();
    let mixed = otlp::trace_id();
    for (environment, trace) in
        [("prod", &mixed), ("test", &mixed), ("test", &otlp::trace_id()), ("prod", &otlp::trace_id())]
    {
        roles.send(&sent(&format!("of-{environment}"), environment, trace, 1));
    }
    for round in ["fresh", "sealed"] {
        for path in paths(&mixed) {
            let text = roles.get(&path, "prod").text();
            assert!(!text.contains("of-test") && !text.contains("only.test"), "{round}: {path}: {text}");
        }
        let condition = "{ resource.deployment.environment = \"prod\" }";
        assert_eq!(roles.counted("{ }", "prod"), roles.counted(condition, "admin"));
        assert_eq!(roles.traces("{ }", "prod"), 2);
        assert_eq!(roles.traces("{ .open = \"of-test test\" }", "prod"), 0);
        let aggregates = |role: &str| {
            let path = "/api/v1/aggregates?start=0&step=200000&kind=any&groupBy=service,operation";
            let all = roles.get(path, role).json()["series"].as_array().unwrap().clone();
            all.into_iter().filter(|series| series["labels"]["service"] == "of-prod").collect::<Vec<_>>()
        };
        assert_eq!(aggregates("prod"), aggregates("admin"), "{round}");
        let services = roles.get("/api/v1/services", "prod").text();
        assert!(services.contains("of-prod") && !services.contains("of-test"), "{services}");
        assert_eq!(roles.get("/api/v1/dependencies?start=0", "prod").status, 403);
        roles.sealed();
    }
}

#[test]
fn a_role_that_cannot_be_is_refused_at_start() {
    for (roles, word) in [
        (r#"{"a": {"role": "admin", "services": ["x"]}}"#, "ingest, read or edit"),
        (r#"{"a": {"role": "read", "condition": "{ } | count() > 1"}}"#, "one filter"),
        (r#"{"a": {"role": "read", "mask": ["service.name"]}}"#, "service.name"),
        (r#"{"a": {"role": "read", "mask-detected": ["names"]}}"#, "card, mail and token"),
        (r#"{"read": {"role": "read"}}"#, "cannot be changed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused = Settings::on(folder.path()).with(&["--roles", roles]).try_start().err().unwrap();
        assert!(refused.stderr.contains(word), "{roles}: {}", refused.stderr);
    }
}
