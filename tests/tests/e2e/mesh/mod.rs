//! Traffic of a real Envoy mesh, over gRPC and HTTP as Envoy frames it, read back by ID, by search, in trees and in
//! counts. The expected answers are computed here, from the recorded bodies and from `truth.json`, which comes from the
//! proxies' logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::Value;
use spandrel_tests::api::Api;
use spandrel_tests::fixtures;
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{Body, Connection, PROTOBUF, percent_encoded};
use spandrel_tests::otlp::{flat, hex};
use spandrel_tests::server::{Server, Settings};

mod edges;
mod recordings;

/// Envoy sends bodies in pieces of about this size.
const CHUNK: usize = 4_096;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

type Sent = (ResourceSpans, ScopeSpans, Span);

/// The recorded traffic.
struct Mesh {
    bodies: Vec<Vec<u8>>,
    traces: BTreeMap<String, Vec<Sent>>,
    truth: Value,
}

impl Mesh {
    fn load(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let folder = fixtures::unpack(test, "mesh/otlp-grpc", folder.path()).map(|path| (path, folder))?;
        let bodies = fixtures::bodies(&folder.0);
        let truth = serde_json::from_slice(&fs::read(folder.0.join("truth.json")).unwrap()).unwrap();
        let mut traces: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for body in &bodies {
            let request = ExportTraceServiceRequest::decode(&**body).unwrap();
            for sent in flat(&request.resource_spans) {
                traces.entry(hex(&sent.2.trace_id)).or_default().push(sent);
            }
        }
        Some(Self { bodies, traces, truth })
    }

    fn spans(&self) -> impl Iterator<Item = &Sent> {
        self.traces.values().flatten()
    }

    /// The number of chosen spans of each trace that has any.
    fn counts(&self, chosen: impl Fn(&Sent) -> bool) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (trace, spans) in &self.traces {
            let count = spans.iter().filter(|sent| chosen(sent)).count();
            if count > 0 {
                counts.insert(trace.clone(), count as u64);
            }
        }
        counts
    }
}

fn tag<'s>(span: &'s Span, key: &str) -> Option<&'s str> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    let Some(Any::StringValue(text)) = &value.value else { panic!("Envoy's {key} is no text") };
    Some(text)
}

fn service(resource: &ResourceSpans) -> &str {
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    let Some(Any::StringValue(text)) = &name.value.as_ref().unwrap().value else { panic!("no name") };
    text
}

/// Contract section 4: failed is ERROR, or UNSET with the attribute.
fn failed(span: &Span) -> bool {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    code == 2 || code == 0 && tag(span, "error") == Some("true")
}

/// Contract section 4: the HTTP status if it is 400 or more, else Envoy's flags. Envoy sends no other error attributes.
fn error_code(span: &Span) -> Option<&str> {
    if !failed(span) {
        return None;
    }
    let status =
        tag(span, "http.status_code").filter(|code| code.parse::<u32>().is_ok_and(|code| code >= 400));
    status.or_else(|| tag(span, "response_flags").filter(|flags| *flags != "-"))
}

/// The third part of `sidecar~IP~POD.NAMESPACE~DOMAIN`, without its namespace.
fn pod(span: &Span) -> Option<&str> {
    let pod = tag(span, "node_id")?.split('~').nth(2)?;
    pod.rsplit_once('.').map(|(pod, _)| pod)
}

fn check(server: &Server, mesh: &Mesh) {
    let mut api = server.api();
    let spans = mesh.spans().count() as u64;
    assert_eq!(mesh.truth["spans"]["total"], spans);
    assert_eq!(mesh.truth["traces"], mesh.traces.len());
    assert_eq!((api.status("spanCount"), api.status("traceCount")), (spans, mesh.traces.len() as u64));
    for (id, sent) in &mesh.traces {
        check_lossless(&mut api, id, sent);
        check_tree(&api.tree(id), sent);
    }
    check_searches(&mut api, mesh);
    check_mesh_fields(&mut api, mesh);
    check_hops(&mut api, mesh);
    check_names(&mut api, mesh);
    check_aggregates(&mut api, mesh);
    edges::check(&mut api, &mesh.truth);
}

fn check_lossless(api: &mut Api, id: &str, sent: &[Sent]) {
    let stored = api.otlp(id).unwrap_or_else(|| panic!("trace {id} is gone"));
    let by_id = |all: &[Sent]| {
        all.iter().map(|sent| (sent.2.span_id.clone(), sent.clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(by_id(&flat(&stored.resource_spans)), by_id(sent), "trace {id}");
}

fn check_tree(trace: &Value, sent: &[Sent]) {
    let id = trace["id"].as_str().unwrap();
    let by_id: BTreeMap<String, &Sent> = sent.iter().map(|sent| (hex(&sent.2.span_id), sent)).collect();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for segment in trace["segments"].as_array().unwrap() {
        for span in segment["spans"].as_array().unwrap() {
            check_span(span, segment, by_id[span["id"].as_str().unwrap()]);
            seen.insert(span["id"].as_str().unwrap(), segment["id"].as_str().unwrap());
        }
        check_segment(segment, &by_id, trace, &seen);
    }
    assert_eq!(seen.len(), sent.len(), "{id}: every span once");
    assert_eq!(trace["spanCount"], sent.len(), "{id}");
    assert_eq!(trace["errorCount"], sent.iter().filter(|sent| failed(&sent.2)).count(), "{id}");
    let entries = sent.iter().filter(|sent| begins_segment(sent, &by_id)).count();
    assert_eq!(
        (&trace["segmentCount"], trace["segments"].as_array().unwrap().len()),
        (&entries.into(), entries),
        "{id}"
    );
    // Every request came through the gateway, whose span is the root even if it has a parent outside the mesh.
    let root = &by_id[trace["segments"][0]["id"].as_str().unwrap()];
    assert_eq!((service(&root.0), root.2.kind), ("istio-ingressgateway.istio-system", SERVER), "{id}");
    assert_eq!(
        (trace["rootName"].as_str(), trace["rootService"].as_str()),
        (Some(&*root.2.name), Some(service(&root.0))),
        "{id}"
    );
    assert_eq!(trace["errorCode"].as_str(), error_code(&root.2), "{id}");
    // The only warning of these traces is about a caller outside the mesh.
    let outside = trace["warnings"].as_array().unwrap();
    assert_eq!(outside.len(), usize::from(!root.2.parent_span_id.is_empty()), "{id}: {outside:?}");
    assert!(
        outside.iter().all(|note| note.as_str().unwrap().starts_with("external parent")),
        "{id}: {outside:?}"
    );
    let start = sent.iter().map(|sent| sent.2.start_time_unix_nano).min().unwrap();
    assert_eq!(trace["startUnixNano"], start.to_string(), "{id}");
}

fn check_span(span: &Value, segment: &Value, sent: &Sent) {
    let (of, wire) = (span["id"].as_str().unwrap(), &sent.2);
    assert_eq!(span["name"], wire.name, "{of}");
    assert_eq!(span["errorCode"].as_str(), error_code(wire), "{of}");
    let status = ["UNSET", "OK", "ERROR"][wire.status.as_ref().map_or(0, |status| status.code) as usize];
    assert_eq!(span["status"], status, "{of}: status stays as sent");
    assert_eq!(span["durationNano"], wire.end_time_unix_nano - wire.start_time_unix_nano, "{of}");
    assert!(span["selfNano"].as_u64().unwrap() <= span["durationNano"].as_u64().unwrap(), "{of}");
    assert_eq!(segment["service"], service(&sent.0), "{of}");
    if let Some(pod) = pod(wire) {
        assert_eq!(segment["instance"], pod, "{of}: from node_id");
    }
}

fn check_segment(
    segment: &Value,
    by_id: &BTreeMap<String, &Sent>,
    trace: &Value,
    seen: &BTreeMap<&str, &str>,
) {
    let entry = by_id[segment["id"].as_str().unwrap()];
    assert_eq!(segment["spans"][0]["id"], segment["id"]);
    assert_eq!(segment["errorCode"].as_str(), error_code(&entry.2));
    // The tree names the parent even if it was never sent; only a stored parent has a segment.
    let parent = hex(&entry.2.parent_span_id);
    let named = (!parent.is_empty()).then_some(&*parent);
    assert_eq!(segment["parentSpanId"].as_str(), named, "{}: {}", trace["id"], segment["id"]);
    let above =
        by_id.contains_key(&parent).then(|| *seen.get(&*parent).expect("segments stand parents first"));
    assert_eq!(segment["parentSegmentId"].as_str(), above);
}

/// Contract section 4, segment. Envoy's resources have neither namespace nor instance.
fn begins_segment(sent: &Sent, by_id: &BTreeMap<String, &Sent>) -> bool {
    let Some(parent) = by_id.get(&hex(&sent.2.parent_span_id)) else { return true };
    let enters = [SERVER, CONSUMER].contains(&sent.2.kind) && sent.2.flags & 0x300 != 0x100;
    service(&parent.0) != service(&sent.0) || enters
}

/// Compares a search with the expected traces and their numbers of matching spans.
fn check_search(api: &mut Api, query: &str, expected: &BTreeMap<String, u64>) {
    let found = api.search(query);
    let ids = |trace: &Value| trace["id"].as_str().unwrap().to_owned();
    let counts: BTreeMap<String, u64> =
        found.iter().map(|trace| (ids(trace), trace["matchedSpanCount"].as_u64().unwrap())).collect();
    assert_eq!(counts.len(), found.len(), "{query}: a trace stands there twice");
    assert_eq!(&counts, expected, "{query}");
    let starts: Vec<&str> = found.iter().map(|trace| trace["startUnixNano"].as_str().unwrap()).collect();
    assert!(starts.is_sorted_by(|a, b| a >= b), "{query}: newest first");
}

fn check_searches(api: &mut Api, mesh: &Mesh) {
    check_search(api, "{ }", &mesh.counts(|_| true));
    for name in mesh.spans().map(|sent| service(&sent.0)).collect::<BTreeSet<_>>() {
        check_search(
            api,
            &format!("{{ resource.service.name = \"{name}\" }}"),
            &mesh.counts(|sent| service(&sent.0) == name),
        );
    }
    for (phase, truth) in mesh.truth["phases"].as_object().unwrap() {
        let in_phase = mesh.counts(|sent| tag(&sent.2, "demo.phase") == Some(phase));
        assert_eq!(
            in_phase.len() as u64,
            truth["traces"]
                .as_array()
                .map_or_else(|| truth["traces"].as_u64().unwrap(), |all| all.len() as u64)
        );
        check_search(api, &format!("{{ .demo.phase = \"{phase}\" }}"), &in_phase);
        check_search(
            api,
            &format!("{{ span.demo.phase = \"{phase}\" && failed = true }}"),
            &mesh.counts(|sent| tag(&sent.2, "demo.phase") == Some(phase) && failed(&sent.2)),
        );
    }
    for node in mesh.spans().filter_map(|sent| tag(&sent.2, "node_id")).collect::<BTreeSet<_>>() {
        check_search(
            api,
            &format!("{{ span.node_id = \"{node}\" }}"),
            &mesh.counts(|sent| tag(&sent.2, "node_id") == Some(node)),
        );
    }
    for (kind, number) in [("server", SERVER), ("client", CLIENT), ("consumer", CONSUMER)] {
        check_search(api, &format!("{{ kind = {kind} }}"), &mesh.counts(|sent| sent.2.kind == number));
    }
    check_search(
        api,
        "{ status = error && .response_flags = \"URX\" }",
        &mesh.counts(|sent| {
            tag(&sent.2, "response_flags") == Some("URX") && sent.2.status.as_ref().unwrap().code == 2
        }),
    );
    check_search(
        api,
        "{ duration > 200ms && resource.service.name = \"checkout.shop\" }",
        &mesh.counts(|sent| {
            service(&sent.0) == "checkout.shop"
                && sent.2.end_time_unix_nano - sent.2.start_time_unix_nano > 200_000_000
        }),
    );
}

/// Fields of the mesh in queries, held against the attributes that the proxies sent.
fn check_mesh_fields(api: &mut Api, mesh: &Mesh) {
    let is_proxy = |sent: &Sent| tag(&sent.2, "component") == Some("proxy");
    let is_listener = |sent: &Sent| is_proxy(sent) && tag(&sent.2, "node_id").is_some();
    let has_flag = |sent: &Sent, flag: &str| {
        tag(&sent.2, "response_flags").is_some_and(|flags| flags.split(',').any(|known| known == flag))
    };
    check_search(api, "{ mesh.role = \"proxy-listener\" }", &mesh.counts(is_listener));
    check_search(
        api,
        "{ mesh.role = \"proxy-attempt\" }",
        &mesh.counts(|sent| is_proxy(sent) && !is_listener(sent)),
    );
    check_search(api, "{ mesh.role = \"app\" }", &mesh.counts(|sent| !is_proxy(sent)));
    for pod in mesh.spans().filter_map(|sent| pod(&sent.2)).collect::<BTreeSet<_>>() {
        let query = format!("{{ mesh.instance = \"{pod}\" }}");
        check_search(api, &query, &mesh.counts(|sent| self::pod(&sent.2) == Some(pod)));
    }
    for flag in ["DC", "FI", "DI", "UF", "UH", "UO", "UT", "URX", "NR"] {
        let query = format!("{{ mesh.flags = \"{flag}\" }}");
        check_search(api, &query, &mesh.counts(|sent| has_flag(sent, flag)));
    }
    let is_subset = |sent: &Sent, version: &str| {
        tag(&sent.2, "upstream_cluster").is_some_and(|cluster| cluster.split('|').nth(2) == Some(version))
    };
    for version in ["v1", "v2"] {
        let query = format!("{{ mesh.subset = \"{version}\" }}");
        check_search(api, &query, &mesh.counts(|sent| is_subset(sent, version)));
    }
    let of_payment = |sent: &Sent| service(&sent.0).split('.').next() == Some("payment");
    check_search(api, "{ mesh.workload = \"payment\" }", &mesh.counts(of_payment));
    check_search(
        api,
        "{ mesh.direction = \"inbound\" && mesh.outcome = \"abandoned\" }",
        &mesh.counts(|sent| {
            let is_inbound =
                tag(&sent.2, "upstream_cluster").is_some_and(|cluster| cluster.starts_with("inbound|"));
            is_inbound && tag(&sent.2, "http.status_code") == Some("0") && has_flag(sent, "DC")
        }),
    );
}

fn check_names(api: &mut Api, mesh: &Mesh) {
    let services: BTreeSet<&str> = mesh.spans().map(|sent| service(&sent.0)).collect();
    let answer = api.json("services");
    let listed: BTreeSet<&str> =
        answer["services"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(listed, services);
    for name in services {
        let operations: BTreeSet<&str> =
            mesh.spans().filter(|sent| service(&sent.0) == name).map(|sent| &*sent.2.name).collect();
        let answer = api.json(&format!("services/{name}/operations"));
        let listed: BTreeSet<&str> = answer["operations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(listed, operations, "{name}");
    }
}

/// The hops of single traces, held against what the proxies sent: each listener is in one hop, and the attempts of all
/// hops of a phase are those of its edges.
fn check_hops(api: &mut Api, mesh: &Mesh) {
    let mut attempts: BTreeMap<String, u64> = BTreeMap::new();
    for (trace, sent) in &mesh.traces {
        let answer = api.json(&format!("traces/{trace}/hops"));
        assert_eq!(answer["partial"], false, "{trace}");
        let hops = answer["hops"].as_array().unwrap();
        let mut in_hops: Vec<&str> = hops
            .iter()
            .flat_map(|hop| hop["spanIds"].as_array().unwrap())
            .map(|id| id.as_str().unwrap())
            .collect();
        in_hops.sort_unstable();
        for listener in sent.iter().filter(|sent| tag(&sent.2, "node_id").is_some()) {
            let id = hex(&listener.2.span_id);
            assert_eq!(in_hops.iter().filter(|known| **known == id).count(), 1, "{trace}: {id}");
        }
        for (at, hop) in hops.iter().enumerate() {
            let inside = hop["inside"].as_u64();
            assert!(inside.is_none_or(|outer| (outer as usize) < at), "{trace}: {hop}");
            let duration = hop["durationNano"].as_u64().unwrap();
            let named = |part: &&Value| part["part"] != "toProxy";
            let parts = hop["times"].as_array().unwrap().iter().filter(named);
            let sum: u64 = parts.map(|part| part["durationNano"].as_u64().unwrap()).sum();
            let is_nested = hop["outcome"]["class"] != "abandoned";
            assert!(
                !is_nested || sum >= duration,
                "{trace}: parts of {sum} ns in a hop of {duration} ns: {hop}"
            );
            let phase = sent.iter().find_map(|sent| tag(&sent.2, "demo.phase")).unwrap_or_default();
            *attempts.entry(phase.to_owned()).or_default() += hop["attemptCount"].as_u64().unwrap();
        }
    }
    for phase in mesh.truth["phases"].as_object().unwrap().keys() {
        let query = percent_encoded(&format!("{{ span.demo.phase = \"{phase}\" }}"));
        let answer = api.json(&format!("mesh/edges?start=0&q={query}"));
        let edges = answer["edges"].as_array().unwrap();
        let of_edges: u64 = edges.iter().map(|edge| edge["attempts"]["count"].as_u64().unwrap()).sum();
        assert_eq!(attempts.get(phase).copied().unwrap_or(0), of_edges, "{phase}");
    }
}

fn check_aggregates(api: &mut Api, mesh: &Mesh) {
    let start = mesh.spans().map(|sent| sent.2.start_time_unix_nano).min().unwrap();
    let end = mesh.spans().map(|sent| sent.2.start_time_unix_nano).max().unwrap() + 1;
    for name in mesh.spans().map(|sent| service(&sent.0)).collect::<BTreeSet<_>>() {
        // A request is a SERVER or CONSUMER span, or one without a parent.
        let requests = mesh
            .spans()
            .filter(|sent| service(&sent.0) == name)
            .filter(|sent| [SERVER, CONSUMER].contains(&sent.2.kind) || sent.2.parent_span_id.is_empty());
        let (mut total, mut errors) = (0, 0);
        requests.for_each(|sent| {
            total += 1;
            errors += u64::from(failed(&sent.2));
        });
        let answer = api.json(&format!("aggregates?service={name}&start={start}&end={end}&step=10s"));
        let mut counted = (0, 0);
        for point in
            answer["series"].as_array().unwrap().iter().flat_map(|one| one["points"].as_array().unwrap())
        {
            let (of_point, failed) =
                (point["requestCount"].as_u64().unwrap(), point["errorCount"].as_u64().unwrap());
            if of_point > 0 {
                let (rate, success) =
                    (point["errorRate"].as_f64().unwrap(), point["successRate"].as_f64().unwrap());
                assert!((rate + success - 1.0).abs() < 1e-9, "{point}");
                assert!((rate - failed as f64 / of_point as f64).abs() < 1e-9, "{point}");
                let at = |field: &str| point[field].as_u64().unwrap();
                assert!(
                    at("p50Nano") <= at("p90Nano")
                        && at("p90Nano") <= at("p99Nano")
                        && at("p99Nano") <= at("maxNano"),
                    "{point}"
                );
            }
            counted = (counted.0 + of_point, counted.1 + failed);
        }
        assert_eq!(counted, (total, errors), "requests and errors of {name}");
    }
}

#[test]
fn over_grpc() {
    let Some(mesh) = Mesh::load("the mesh over gRPC") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let mut sender = Grpc::connect(server.otlp_grpc()).unwrap();
    for body in &mesh.bodies {
        assert_eq!(sender.export(body).unwrap().partial_success, None);
    }
    check(&server, &mesh);
    server.stop();
    // The same checks after a restart, when nothing is in memory.
    let server = Settings::on(data.path()).start();
    check(&server, &mesh);
    server.stop();
}

#[test]
fn over_http_in_chunks() {
    let Some(mesh) = Mesh::load("the mesh over HTTP") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let mut sender = Connection::open(server.otlp_http()).unwrap();
    for body in &mesh.bodies {
        let reply = sender.request("POST", "/v1/traces", PROTOBUF, Body::Chunked(body, CHUNK)).unwrap();
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", reply.text());
    }
    check(&server, &mesh);
    server.stop();
}
