//! The recorded mesh in other forms: as Zipkin sends it, and made into what the same mesh would have sent with spans of
//! its applications, with a span for each attempt, or with the recommended tags. Edges stay those of the proxies' logs, and
//! where proxies are folded, each request counts once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::Value;
use spandrel_tests::api::Api;
use spandrel_tests::fixtures;
use spandrel_tests::http::{Body, Connection, JSON, PROTOBUF, percent_encoded};
use spandrel_tests::otlp::hex;
use spandrel_tests::server::{Server, Settings};

use super::{CLIENT, Mesh, SERVER, Sent, edges, pod, service, tag};

#[test]
fn the_same_mesh_by_zipkin_has_the_edges_of_its_own_logs() {
    let folder = tempfile::tempdir().unwrap();
    let Some(recorded) = fixtures::unpack("the mesh as Zipkin", "mesh/zipkin-json", folder.path()) else {
        return;
    };
    let truth = serde_json::from_slice(&fs::read(recorded.join("truth.json")).unwrap()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let mut sender = Connection::open(server.address("zipkin")).unwrap();
    for body in fixtures::bodies_named(&recorded, "-http.json") {
        let reply = sender.request("POST", "/api/v2/spans", JSON, Body::Sized(&body)).unwrap();
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    edges::check(&mut server.api(), &truth);
    server.stop();
}

#[test]
fn applications_that_send_spans_change_no_edge_and_add_no_request() {
    let Some(mesh) = Mesh::load("the mesh with applications") else { return };
    let (data, server) = serve(&with_apps(&mesh));
    let mut api = server.api();
    edges::check(&mut api, &mesh.truth);
    edges::check_balance(&mut api);
    edges::check_retries(&mut api);
    check_folded_counts(&mut api, &mesh);
    check_folded_calls(&mut api, &mesh);
    check_folded_trees(&mut api, &mesh);
    check_span_metrics(&server);
    server.stop();
    drop(data);
}

/// Edges of long ranges are put together from slices that were counted before; those of a question with a filter are
/// counted anew.
#[test]
fn edges_from_slices_are_those_that_are_counted_anew() {
    let Some(mesh) = Mesh::load("the mesh in slices") else { return };
    let bodies = with_apps(&mesh);
    let (late, soon) = bodies.split_first().unwrap();
    let (data, server) = serve(soon);
    let mut api = server.api();
    let (start, end) = range(&mesh);
    // Not at the beginning of a slice.
    let start = start - 7 * 60_000_000_000 - 123;
    let all = percent_encoded("{ span.component = \"proxy\" }");
    let check = |api: &mut Api, parameters: &str| {
        let asked = format!("mesh/edges?start={start}&end={end}{parameters}");
        let (from_slices, anew) = (api.json(&asked), api.json(&format!("{asked}&q={all}")));
        assert_eq!(from_slices, anew, "{parameters}");
        from_slices
    };
    for parameters in ["", "", "&step=60", "&step=240", "&step=7"] {
        check(&mut api, parameters);
    }
    let before = check(&mut api, "");
    let mut sender = Connection::open(server.otlp_http()).unwrap();
    assert_eq!(sender.request("POST", "/v1/traces", PROTOBUF, Body::Sized(late)).unwrap().status, 200);
    assert_ne!(check(&mut api, ""), before, "what came late counts");
    server.stop();
    drop(data);
}

#[test]
fn a_span_for_each_attempt_changes_no_edge_and_adds_no_request() {
    let Some(mesh) = Mesh::load("the mesh with attempts") else { return };
    let (data, server) = serve(&with_attempts(&mesh));
    let mut api = server.api();
    edges::check(&mut api, &mesh.truth);
    check_folded_counts(&mut api, &mesh);
    server.stop();
    drop(data);
}

#[test]
fn the_recommended_tags_tell_of_attempts_to_a_dead_pod() {
    let Some(mesh) = Mesh::load("the mesh with tags") else { return };
    // The third of three attempts reached an instance, as the log of the recording has it.
    let mut sent: Vec<Sent> = mesh.spans().cloned().collect();
    let children = children(&sent);
    let is_caller = |sent: &Sent| service(&sent.0) == "checkout.shop" && sent.2.kind == CLIENT;
    let of_phase = |sent: &Sent| tag(&sent.2, "demo.phase") == Some("locality_failover");
    let attempts = |sent: &Sent| children.get(&sent.2.span_id).map_or(0, Vec::len);
    let missing = mesh.truth["phases"]["locality_failover"]["attempts_without_server_span"].as_u64().unwrap();
    let chosen =
        sent.iter().position(|sent| is_caller(sent) && of_phase(sent) && attempts(sent) == 1).unwrap();
    sent[chosen].2.attributes.push(text("upstream_attempts", &(1 + missing).to_string()));
    let trace = hex(&sent[chosen].2.trace_id);
    let (data, server) = serve(&requests(sent));
    let mut api = server.api();
    let query = percent_encoded("{ span.demo.phase = \"locality_failover\" }");
    let answer = api.json(&format!("mesh/edges?start=0&q={query}"));
    let to_payment =
        answer["edges"].as_array().unwrap().iter().find(|edge| edge["callee"]["name"] == "payment").unwrap();
    let attempts =
        &mesh.truth["phases"]["locality_failover"]["edges"]["checkout->payment"]["client"]["attempts"];
    assert_eq!(
        (&to_payment["attempts"]["count"], &to_payment["attempts"]["unseenCount"]),
        (attempts, &missing.into())
    );
    let hops = api.json(&format!("traces/{trace}/hops"));
    let told = hops["hops"]
        .as_array()
        .unwrap()
        .iter()
        .any(|hop| hop["story"].as_str().unwrap().contains("reached no proxy"));
    assert!(told, "{hops}");
    server.stop();
    drop(data);
}

// === checks ===

/// Requests of each workload: attempts that reached its proxy, and for the gateway what came from outside.
fn check_folded_counts(api: &mut Api, mesh: &Mesh) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for sent in mesh.spans().filter(|sent| tag(&sent.2, "node_id").is_some()) {
        let is_inbound =
            tag(&sent.2, "upstream_cluster").is_some_and(|cluster| cluster.starts_with("inbound|"));
        let is_gateway = tag(&sent.2, "node_id").unwrap().starts_with("router~");
        if is_inbound || is_gateway {
            *expected.entry(workload(sent).to_owned()).or_default() += 1;
        }
    }
    let (start, end) = range(mesh);
    let answer = api.json(&format!("aggregates?fold=mesh&groupBy=service&start={start}&end={end}&step=1h"));
    assert_eq!(answer["partial"], false, "{answer}");
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for series in answer["series"].as_array().unwrap() {
        let count: u64 = series["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["requestCount"].as_u64().unwrap())
            .sum();
        counted.insert(series["labels"]["service"].as_str().unwrap().to_owned(), count);
    }
    assert_eq!(counted, expected);
    let table = api.json(&format!("operations?fold=mesh&service=payment&start={start}&end={end}"));
    let of_payment: u64 =
        table["operations"].as_array().unwrap().iter().map(|one| one["requestCount"].as_u64().unwrap()).sum();
    assert_eq!(of_payment, expected["payment"], "{table}");
    let query = percent_encoded("{ mesh.request = true } | count_over_time() by(mesh.workload)");
    let metrics = api.json(&format!("metrics?q={query}&start={start}&end={end}&step=1h"));
    let total: f64 = metrics["series"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|series| series["points"].as_array().unwrap())
        .filter_map(|point| point["value"].as_f64())
        .sum();
    assert_eq!(total as u64, expected.values().sum::<u64>(), "{metrics}");
}

/// The service map between workloads has the calls of the proxies' logs, once each.
fn check_folded_calls(api: &mut Api, mesh: &Mesh) {
    let (start, end) = range(mesh);
    let answer = api.json(&format!("dependencies?fold=mesh&start={start}&end={end}"));
    let edges = answer["edges"].as_array().unwrap();
    let between: BTreeMap<String, u64> = edges
        .iter()
        .filter(|edge| edge["kind"] == "rpc")
        .map(|edge| {
            (
                format!("{}->{}", edge["caller"].as_str().unwrap(), edge["callee"].as_str().unwrap()),
                edge["callCount"].as_u64().unwrap(),
            )
        })
        .collect();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for phase in mesh.truth["phases"].as_object().unwrap().values() {
        for (name, edge) in phase["edges"].as_object().unwrap() {
            let reached = edge["server"]["requests"].as_u64().unwrap_or(0);
            if reached > 0 {
                *expected.entry(name.clone()).or_default() += reached;
            }
        }
    }
    assert_eq!(between, expected, "{answer}");
    let payment = answer["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .find(|workload| workload["name"] == "payment")
        .unwrap();
    assert_eq!(payment["namespace"], "shop");
    assert_eq!(payment["services"], serde_json::json!(["payment", "payment.shop"]), "raw names are kept");
}

/// A folded tree shows each application once, with its proxies as parts, and loses no span.
fn check_folded_trees(api: &mut Api, mesh: &Mesh) {
    for (id, sent) in mesh.traces.iter().take(60) {
        let whole = api.tree(id);
        let folded = api.json(&format!("traces/{id}?fold=mesh"));
        let folded = &folded["trace"];
        let spans: Vec<&Value> = folded["segments"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|segment| segment["spans"].as_array().unwrap())
            .collect();
        let parts: Vec<&Value> =
            spans.iter().filter_map(|span| span["folded"].as_array()).flatten().collect();
        assert_eq!(folded["foldedSpanCount"].as_u64().unwrap_or(0), parts.len() as u64);
        assert_eq!(spans.len() + parts.len(), whole["spanCount"].as_u64().unwrap() as usize, "{id}");
        let ids: BTreeSet<&str> =
            spans.iter().chain(&parts).map(|span| span["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), spans.len() + parts.len(), "{id}: each span once");
        // Every listener of a callee with an application below it is a part of that one.
        for listener in sent.iter().filter(|sent| is_answered(sent)) {
            let listener = hex(&listener.2.span_id);
            let shown = spans.iter().find(|span| {
                span["folded"]
                    .as_array()
                    .is_some_and(|parts| parts.iter().any(|part| part["id"] == *listener))
            });
            assert_eq!(shown.map(|span| span["kind"].as_str().unwrap()), Some("SERVER"), "{id}: {listener}");
        }
        for span in &spans {
            let parent = span["parentId"].as_str();
            assert!(
                parent.is_none_or(|parent| ids.contains(parent) || span["warnings"] != serde_json::json!([])),
                "{id}: {span}"
            );
        }
    }
}

/// The recording is older than the server, and span metrics count from its start.
fn check_span_metrics(server: &Server) {
    let reply = spandrel_tests::http::get(server.http(), "/metrics/spans");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("# TYPE istio_requests_total counter"), "{}", reply.text());
    assert!(reply.text().contains("spandrel_span_metrics_behind_seconds 0"), "{}", reply.text());
}

fn range(mesh: &Mesh) -> (u64, u64) {
    let starts = || mesh.spans().map(|sent| sent.2.start_time_unix_nano);
    (starts().min().unwrap(), starts().max().unwrap() + 3_600_000_000_000)
}

// === other forms ===

fn serve(bodies: &[Vec<u8>]) -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let mut sender = Connection::open(server.otlp_http()).unwrap();
    for body in bodies {
        let reply = sender.request("POST", "/v1/traces", PROTOBUF, Body::Sized(body)).unwrap();
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", reply.text());
    }
    (data, server)
}

/// A hundred spans to a body.
fn requests(sent: Vec<Sent>) -> Vec<Vec<u8>> {
    let whole = |(resource, scope, span): &Sent| ResourceSpans {
        scope_spans: vec![ScopeSpans { spans: vec![span.clone()], ..scope.clone() }],
        ..resource.clone()
    };
    let body = |sent: &[Sent]| {
        ExportTraceServiceRequest { resource_spans: sent.iter().map(whole).collect() }.encode_to_vec()
    };
    sent.chunks(100).map(body).collect()
}

fn children(sent: &[Sent]) -> HashMap<Vec<u8>, Vec<usize>> {
    let mut children: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (at, (_, _, span)) in sent.iter().enumerate() {
        children.entry(span.parent_span_id.clone()).or_default().push(at);
    }
    children
}

/// Adds spans of applications: one for each answer of an application, and one for each call that it makes. The proxy's
/// span of the call becomes the child of that of the application.
fn with_apps(mesh: &Mesh) -> Vec<Vec<u8>> {
    let mut all: Vec<Sent> = mesh.spans().cloned().collect();
    let children = children(&all);
    let mut added = Vec::new();
    let mut ids = (1..).map(id);
    for at in 0..all.len() {
        if !is_answered(&all[at]) {
            continue;
        }
        let listener = all[at].2.clone();
        let app = application(&all[at]);
        let answer = inside(&listener, SERVER, ids.next().unwrap(), listener.span_id.clone());
        for call in children.get(&listener.span_id).into_iter().flatten() {
            let proxy = &mut all[*call].2;
            let client = Span {
                start_time_unix_nano: proxy.start_time_unix_nano,
                end_time_unix_nano: proxy.end_time_unix_nano,
                ..inside(proxy, CLIENT, ids.next().unwrap(), answer.span_id.clone())
            };
            proxy.parent_span_id = client.span_id.clone();
            added.push((app.clone(), ScopeSpans::default(), client));
        }
        added.push((app, ScopeSpans::default(), answer));
    }
    all.extend(added);
    requests(all)
}

/// Whether an application answered at a listener: no response began otherwise, or the proxy made it.
fn is_answered(sent: &Sent) -> bool {
    let is_inbound = tag(&sent.2, "upstream_cluster").is_some_and(|cluster| cluster.starts_with("inbound|"));
    is_inbound && tag(&sent.2, "response_flags") == Some("-")
}

/// The resource of the application beside a proxy.
fn application(sent: &Sent) -> ResourceSpans {
    let attributes = vec![text("service.name", workload(sent)), text("k8s.pod.name", pod(&sent.2).unwrap())];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ResourceSpans { resource, ..ResourceSpans::default() }
}

fn workload(sent: &Sent) -> &str {
    tag(&sent.2, "istio.canonical_service").unwrap()
}

/// A span a little shorter than another one, of the same trace and phase.
fn inside(of: &Span, kind: i32, id: Vec<u8>, parent: Vec<u8>) -> Span {
    let phase = tag(of, "demo.phase").map(|phase| text("demo.phase", phase));
    Span {
        trace_id: of.trace_id.clone(),
        span_id: id,
        parent_span_id: parent,
        name: "POST /".to_owned(),
        kind,
        start_time_unix_nano: of.start_time_unix_nano + 1_000,
        end_time_unix_nano: of.end_time_unix_nano.max(of.start_time_unix_nano + 2_000) - 1_000,
        attributes: phase.into_iter().collect(),
        ..Span::default()
    }
}

fn id(number: usize) -> Vec<u8> {
    (0xA44_0000_0000_0000 + number as u64).to_be_bytes().to_vec()
}

/// Adds a span for each attempt of a sidecar that reached an instance, which turns the listener's kind to SERVER.
fn with_attempts(mesh: &Mesh) -> Vec<Vec<u8>> {
    let mut all: Vec<Sent> = mesh.spans().cloned().collect();
    let children = children(&all);
    let mut added = Vec::new();
    for at in 0..all.len() {
        let is_sidecar = tag(&all[at].2, "node_id").is_some_and(|node| node.starts_with("sidecar~"));
        let is_caller =
            tag(&all[at].2, "upstream_cluster").is_some_and(|cluster| cluster.starts_with("outbound|"));
        if !is_sidecar || !is_caller {
            continue;
        }
        for reached in children.get(&all[at].2.span_id).into_iter().flatten() {
            let listener = all[*reached].2.clone();
            let mut attempt = inside(&all[at].2, CLIENT, id(added.len()), all[at].2.span_id.clone());
            (attempt.start_time_unix_nano, attempt.end_time_unix_nano) =
                (listener.start_time_unix_nano - 1, listener.end_time_unix_nano + 1);
            let copied = ["upstream_cluster", "istio.canonical_service", "istio.namespace"];
            attempt.attributes.extend(copied.iter().filter_map(|key| Some(text(key, tag(&all[at].2, key)?))));
            attempt.attributes.push(text("component", "proxy"));
            attempt.attributes.push(text("upstream_address", "10.0.0.1:8080"));
            all[*reached].2.parent_span_id = attempt.span_id.clone();
            added.push((all[at].0.clone(), all[at].1.clone(), attempt));
        }
        all[at].2.kind = SERVER;
    }
    all.extend(added);
    requests(all)
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
