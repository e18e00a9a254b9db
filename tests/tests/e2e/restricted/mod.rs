//! Roles that see a part: of the services, of the spans that satisfy a condition, and without values that are hidden.

mod roles;
mod routes;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::otlp;
use spandrel_tests::server::Settings;

use self::roles::{Roles, Tenancy};
use self::routes::{Known, requests, told};

/// What must not come out: in what is sent, each text that is hidden contains one of these.
const MARKERS: [&str; 6] =
    ["markone", "4111111111111111", "4111 1111 1111 1111", "hunter2", "marktwo", "markthree"];

/// Attributes of every level.
fn marked(n: usize) -> Vec<KeyValue> {
    let text = |text: &str| AnyValue { value: Some(Any::StringValue(text.to_owned())) };
    let items = ["plain", "markone@example.org"].map(text).to_vec();
    let inner = vec![otlp::text("user.secret", "markone"), otlp::text("note", "markone@example.org")];
    vec![
        otlp::text("user.secret", &format!("markone {n}")),
        otlp::text("url.full", &format!("https://shop.example/marktwo/{n}")),
        otlp::text("note", &format!("sent to markone{n}@example.org")),
        otlp::text("db.query.text", "select * from cards where n = '4111111111111111'"),
        otlp::text("target", "postgres://app:hunter2@db/shop"),
        otlp::text("groups", "order 12 4111 1111 1111 1111 7"),
        otlp::text("glued", "idghp_markthree0123456789"),
        otlp::text("by markone@example.org", "x"),
        otlp::attribute("card", Any::IntValue(4_111_111_111_111_111)),
        otlp::attribute("price", Any::DoubleValue(4_111_111_111_111_111.0)),
        otlp::attribute("list", Any::ArrayValue(ArrayValue { values: items })),
        otlp::attribute("map", Any::KvlistValue(KeyValueList { values: inner })),
        otlp::attribute("blob", Any::BytesValue(b"markone".to_vec())),
    ]
}

/// A span with markers in every place that a span has.
fn span(service: &str, environment: &str, trace: &[u8], n: usize) -> Span {
    let mut span: Span = otlp::span(trace, &format!("mail markone{n}@example.org"));
    span.attributes = marked(n);
    span.attributes.push(otlp::text("open", &format!("{service} {environment}")));
    span.trace_state = "vendor=markone@example.org".to_owned();
    span.status = Some(Status { code: 2, message: "no card 4111111111111111".to_owned() });
    span.events.push(Event {
        name: "to markone@example.org".to_owned(),
        attributes: marked(n),
        ..Event::default()
    });
    span.links.push(Link {
        trace_id: otlp::trace_id(),
        span_id: otlp::span_id(),
        trace_state: "vendor=markone@example.org".to_owned(),
        attributes: marked(n),
        ..Link::default()
    });
    span
}

/// One request of a service in an environment, with markers in resource and scope, too.
fn request(service: &str, environment: &str, spans: Vec<Span>, n: usize) -> Vec<u8> {
    let mut request = otlp::request(service, spans);
    let of_service = &mut request.resource_spans[0];
    of_service.schema_url = "https://markone@example.org".to_owned();
    let resource = of_service.resource.as_mut().unwrap();
    resource.attributes.extend(marked(n));
    resource.attributes.push(otlp::text("deployment.environment", environment));
    resource.attributes.push(otlp::text(&format!("only.{environment}"), "x"));
    let of_scope = &mut of_service.scope_spans[0];
    of_scope.schema_url = "https://markone@example.org".to_owned();
    of_scope.scope = Some(InstrumentationScope {
        name: "scope markone@example.org".to_owned(),
        version: "of markone@example.org".to_owned(),
        attributes: marked(n),
        ..InstrumentationScope::default()
    });
    request.encode_to_vec()
}

fn sent(service: &str, environment: &str, trace: &[u8], n: usize) -> Vec<u8> {
    request(service, environment, vec![span(service, environment, trace, n)], n)
}

/// Calls that no span answers, of a service whose name is marked, to peers whose names are marked. They ended two
/// minutes ago, so that the service map shows them.
fn calls() -> Vec<u8> {
    let trace = otlp::trace_id();
    let ago = otlp::now() - 120_000_000_000;
    let call = |attributes: Vec<KeyValue>| Span {
        kind: 3,
        start_time_unix_nano: ago,
        end_time_unix_nano: ago + 1_000_000,
        attributes,
        ..otlp::span(&trace, "call")
    };
    let spans = vec![
        call(vec![otlp::text("peer.service", "markone1@example.org")]),
        call(vec![otlp::text("server.address", "markone2@example.org")]),
        call(vec![otlp::text("db.system", "postgresql"), otlp::text("db.namespace", "password=hunter2")]),
    ];
    request("cart of markone@example.org", "prod", spans, 0)
}

/// A request of a mesh, as the proxies of both sides tell it, with markers in every name but that of the node, without
/// which a span is not known as that of a listener.
fn hop() -> Vec<u8> {
    let trace = otlp::trace_id();
    let proxy = |side: &str, parent: &[u8], cluster: &str| {
        let mut span = otlp::span(&trace, "egress markone@example.org");
        span.parent_span_id = parent.to_vec();
        let node = format!("sidecar~10.0.0.1~{side}-1.shop~shop");
        span.attributes = vec![
            otlp::text("component", "proxy"),
            otlp::text("node_id", &node),
            otlp::text("zone", "zone of markone@example.org"),
            otlp::text("upstream_cluster", cluster),
            otlp::text("response_flags", "markone@example.org"),
            otlp::text("istio.canonical_service", &format!("{side} of markone@example.org")),
            otlp::text("istio.canonical_revision", "of markone@example.org"),
            otlp::text("http.status_code", "503"),
        ];
        span
    };
    let caller = proxy("caller", &[], "outbound|80|for markone@example.org|pay.shop.svc");
    let callee = proxy("callee", &caller.span_id, "inbound|80||");
    request("mesh of markone@example.org", "prod", vec![caller, callee], 0)
}

#[test]
fn no_answer_contains_what_is_masked() {
    Tenancy::ALL.into_iter().for_each(masked_values_stay_hidden);
}

fn masked_values_stay_hidden(tenancy: Tenancy) {
    let roles = Roles::new(tenancy);
    let trace = otlp::trace_id();
    let first = span("cart", "prod", &trace, 0);
    roles.send(&request("cart", "prod", vec![first.clone()], 0));
    for n in 1..6 {
        let trace = if n < 3 { trace.clone() } else { otlp::trace_id() };
        roles.send(&sent(if n % 2 == 0 { "cart" } else { "bank" }, "prod", &trace, n));
    }
    roles.send(&calls());
    roles.send(&hop());
    // Of a span that is there, and of one that is not.
    roles.send_logs(&logs(&trace, &first.span_id));
    roles.send_logs(&logs(&trace, &[9; 8]));
    let known = Known { trace: &trace, span: &first.span_id };
    let hides = |text: &str, what: &str| {
        for marker in MARKERS {
            assert!(!text.contains(marker), "{tenancy:?} {what}: {marker} in {text}");
        }
    };
    for round in ["fresh", "sealed"] {
        for path in requests(&known) {
            let reply = roles.get(&path, "support");
            hides(&told(&reply), &format!("{round}: {path}"));
            assert!([200, 400, 403, 404].contains(&reply.status), "{path}: {}", reply.text());
        }
        check_questions(&roles, round);
        check_map(&roles, round);
        check_mesh(&roles, round);
        let attributes = roles.get("/api/v1/attributes?start=0", "support").text();
        for hidden in ["user.secret", "url.full", "markone"] {
            assert!(!attributes.contains(hidden), "{hidden}: {attributes}");
        }
        let shown = roles.get(&format!("/api/v1/traces/{}", otlp::hex(&trace)), "support").text();
        for text in ["[masked]", "sent to [mail]", "app:[token]@db", "order 12 [card] 7", "by [mail]"] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        roles.sealed();
    }
    let live = roles.live("support", "[mail]", || {
        roles.send(&sent("cart", "prod", &otlp::trace_id(), 7));
    });
    hides(&live, "live");
}

/// A log record with markers in every part that has texts.
fn logs(trace: &[u8], span: &[u8]) -> Value {
    let text = |key: &str, text: &str| json!({ "key": key, "value": { "stringValue": text } });
    let record = json!({
        "timeUnixNano": "1800000000000000000", "traceId": otlp::hex(trace), "spanId": otlp::hex(span),
        "severityText": "WARN", "body": { "stringValue": "told markone7@example.org about 4111 1111 1111 1111" },
        "attributes": [
            text("user.secret", "marktwo"), text("note", "markone8@example.org"),
            text("exception.type", "markone9@example.org"),
        ],
        "eventName": "mail to markone6@example.org",
    });
    let resource = json!({ "attributes": [text("service.name", "cart"), text("user.secret", "markthree"), text("env", "prod")] });
    json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "scope": { "name": "by markone5@example.org" }, "logRecords": [record] }] }] })
}

/// What is hidden finds nothing, and what is open is found as for everybody.
fn check_questions(roles: &Roles, round: &str) {
    for (query, seen) in [
        ("{ .user.secret = \"markone 1\" }", 0),
        ("{ .user.secret != nil }", 0),
        ("{ .http.url =~ \".*marktwo.*\" }", 0),
        ("{ .note =~ \".*markone.*\" }", 0),
        ("{ name = \"mail markone1@example.org\" }", 0),
        ("{ .card > 5 }", 0),
        ("{ .note = \"sent to [mail]\" }", 6),
        ("{ .note != \"sent to markone1@example.org\" }", 6),
        ("{ .note != \"sent to [mail]\" }", 0),
        ("{ name = \"mail [mail]\" && .open startsWith \"cart\" }", 2),
        ("{ .open = \"cart prod\" }", 2),
        ("{ .target endsWith \"db/shop\" }", 6),
        ("{ resource.service.name = \"cart of [mail]\" }", 1),
        ("{ resource.service.name = \"cart of markone@example.org\" }", 0),
    ] {
        assert_eq!(roles.traces(query, "support"), seen, "{round}: {query}");
        let spans = roles.counted(query, "support");
        assert_eq!(spans > 0.0, seen > 0, "{round}: {query}: {spans}");
    }
    assert_eq!(roles.traces("{ .note =~ \".*markone.*\" }", "admin"), 6);
    let operations = roles.get("/api/v1/services/cart%20of%20%5Bmail%5D/operations", "support").json();
    assert_eq!(operations["operations"], json!([{ "name": "call", "kind": "CLIENT" }]));
}

/// Peers that read the same are one.
fn check_map(roles: &Roles, round: &str) {
    let edges = roles.get("/api/v1/dependencies?start=0", "support").json()["edges"].clone();
    let edge = |edge: &Value| json!([edge["caller"], edge["callee"], edge["callCount"]]);
    let mut edges: Vec<Value> = edges.as_array().unwrap().iter().map(edge).collect();
    edges.retain(|edge| edge[0] == "cart of [mail]");
    let expected = [json!(["cart of [mail]", "[mail]", 2]), json!(["cart of [mail]", "password=[token]", 1])];
    assert_eq!(edges, expected, "{round}");
    let refused = roles.get("/api/v1/dependencies?start=0", "peers");
    assert_eq!(refused.status, 403, "the names of peers are masked by their key: {}", refused.text());
}

/// The edges of the mesh are there, and say of names what the role may see.
fn check_mesh(roles: &Roles, round: &str) {
    let edges = |role: &str| roles.get("/api/v1/mesh/edges?start=0", role).json()["edges"].to_string();
    let (whole, masked) = (edges("admin"), edges("support"));
    assert!(whole.matches("markone@example.org").count() >= 5, "{round}: {whole}");
    assert!(masked.contains("caller of [mail]") && masked.contains("callee of [mail]"), "{round}: {masked}");
}

/// What tells of all spans, or of the server, is refused to a role from which spans are hidden.
fn check_refusals(roles: &Roles, role: &str) {
    for path in ["/api/v1/usage", "/metrics", "/api/v1/traces?start=0&order=longest"] {
        let reply = roles.get(path, role);
        assert_eq!(reply.status, 403, "{role} {path}: {}", reply.text());
    }
    for path in ["/api/v1/traces?start=0&q=%7B%20%7D", "/api/v1/traces?start=0&q=%7B%7D%7Ccount()%3E0"] {
        let scanned = roles.get(path, role).json()["scanned"].clone();
        assert_eq!(scanned, json!({ "blocks": 0, "blocksRead": 0, "spans": 0 }), "{role} {path}");
    }
    let export = roles.get("/api/v1/export?start=0&format=otlp", role);
    assert_eq!((export.status, export.header("spandrel-traces-at-most")), (200, None), "{role}");
}

#[test]
fn a_role_of_some_services_sees_nothing_of_others() {
    Tenancy::ALL.into_iter().for_each(other_services_stay_hidden);
}

/// A log record of another service, or of another environment, that says so in its texts.
fn log_of(service: &str, environment: &str, trace: &[u8], span: &[u8]) -> Value {
    let text = |key: &str, text: &str| json!({ "key": key, "value": { "stringValue": text } });
    let said = format!("of {service}, only.{environment}");
    let record = json!({
        "timeUnixNano": otlp::now().to_string(), "traceId": otlp::hex(trace), "spanId": otlp::hex(span),
        "body": { "stringValue": said }, "attributes": [text("exception.type", &said)], "eventName": said,
    });
    let attributes = [text("service.name", service), text("deployment.environment", environment)];
    let scope_logs = json!([{ "logRecords": [record] }]);
    json!({ "resourceLogs": [{ "resource": { "attributes": attributes }, "scopeLogs": scope_logs }] })
}

fn other_services_stay_hidden(tenancy: Tenancy) {
    let roles = Roles::new(tenancy);
    let (shared, alone) = (otlp::trace_id(), otlp::trace_id());
    let first = span("cart", "prod", &shared, 1);
    // One says that it belongs to a span of the service that is seen, one to a span that is nowhere.
    for (trace, span) in [(&shared, &first.span_id), (&shared, &vec![7; 8]), (&alone, &vec![7; 8])] {
        roles.send_logs(&log_of("bank", "prod", trace, span));
    }
    roles.send(&request("cart", "prod", vec![first.clone()], 1));
    for (service, trace) in [("bank", &shared), ("bank", &alone), ("cart", &otlp::trace_id())] {
        roles.send(&sent(service, "prod", trace, 1));
    }
    let known = Known { trace: &shared, span: &first.span_id };
    for round in ["fresh", "sealed"] {
        for path in requests(&known) {
            let told = told(&roles.get(&path, "cart"));
            assert!(!told.contains("bank"), "{tenancy:?} {round}: {path}: {told}");
        }
        check_refusals(&roles, "cart");
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
        roles.sealed();
    }
    let live = roles.live("cart", "cart", || {
        for service in ["bank", "cart"] {
            roles.send(&sent(service, "prod", &otlp::trace_id(), 2));
        }
    });
    assert!(!live.contains("bank"), "{live}");
    // A change reaches what is seen, and no more.
    let pin =
        |trace: &[u8]| roles.ask("PUT", &format!("/api/v1/pins/{}", otlp::hex(trace)), "cart", None).status;
    assert_eq!((pin(&shared), pin(&alone)), (200, 404));
    let deleted = roles.ask("POST", "/api/v1/delete", "cart", Some(json!({ "q": "{ }" })));
    assert_eq!(deleted.status, 403, "{}", deleted.text());
    assert_eq!(roles.traces("{ }", "admin"), 5);
}

#[test]
fn a_role_with_a_condition_sees_the_spans_that_satisfy_it() {
    Tenancy::ALL.into_iter().for_each(spans_beyond_the_condition_stay_hidden);
}

fn spans_beyond_the_condition_stay_hidden(tenancy: Tenancy) {
    let roles = Roles::new(tenancy);
    let mixed = otlp::trace_id();
    let first = span("of-prod", "prod", &mixed, 1);
    for span in [&first.span_id, &vec![7; 8]] {
        roles.send_logs(&log_of("of-test", "test", &mixed, span));
    }
    roles.send(&request("of-prod", "prod", vec![first.clone()], 1));
    for (environment, trace) in [("test", &mixed), ("test", &otlp::trace_id()), ("prod", &otlp::trace_id())] {
        roles.send(&sent(&format!("of-{environment}"), environment, trace, 1));
    }
    let known = Known { trace: &mixed, span: &first.span_id };
    for round in ["fresh", "sealed"] {
        for path in requests(&known) {
            let told = told(&roles.get(&path, "prod"));
            let tells = told.contains("of-test") || told.contains("only.test");
            assert!(!tells, "{tenancy:?} {round}: {path}: {told}");
        }
        check_refusals(&roles, "prod");
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
    let live = roles.live("prod", "of-prod", || {
        for environment in ["test", "prod"] {
            roles.send(&sent(&format!("of-{environment}"), environment, &otlp::trace_id(), 2));
        }
    });
    assert!(!live.contains("of-test"), "{live}");
}

#[test]
fn a_role_that_cannot_be_is_refused_at_start() {
    for (roles, word) in [
        (r#"{"a": {"role": "admin", "services": ["x"]}}"#, "ingest, read or edit"),
        (r#"{"a": {"role": "read", "condition": "{ } | count() > 1"}}"#, "one filter"),
        (r#"{"a": {"role": "read", "mask": ["service.name"]}}"#, "service.name"),
        (
            r#"{"a": {"role": "read", "mask-detected": ["names"]}}"#,
            "card, mail, token, phone, address and key",
        ),
        (r#"{"read": {"role": "read"}}"#, "cannot be changed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused = Settings::on(folder.path()).with(&["--roles", roles]).try_start().err().unwrap();
        assert!(refused.stderr.contains(word), "{roles}: {}", refused.stderr);
    }
}
