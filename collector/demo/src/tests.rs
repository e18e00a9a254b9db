//! The whole shop, played on simulated time into the SDK's in-memory exporter.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::fleet::Fleet;
use crate::incidents::Incidents;
use crate::rng::Rng;
use crate::schedule::{Schedule, WARM_UP};
use crate::stage::Stage;
use crate::topology::{Instance, Service};
use crate::{DemoConfig, DemoError, run, run_with_patience};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor, SpanData};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

/// The shop with an in-memory exporter for each instance.
struct Rehearsal {
    stage: Stage,
    schedule: Schedule,
    exporters: Vec<(Instance, InMemorySpanExporter)>,
}

/// A span and the instance that sent it.
struct Recorded {
    instance: Instance,
    span: SpanData,
}

impl Rehearsal {
    fn new(seed: u64) -> Self {
        let mut exporters = Vec::new();
        let fleet = Fleet::start(|instance| {
            let exporter = InMemorySpanExporter::default();
            exporters.push((instance.clone(), exporter.clone()));
            Ok::<_, Infallible>(SimpleSpanProcessor::new(exporter))
        })
        .unwrap();
        let stage = Stage::new(fleet, Rng::new(Some(seed)), Incidents::since(start() - WARM_UP));
        Self { stage, schedule: Schedule::starting(start(), 10.0), exporters }
    }

    fn play_until(&mut self, now: SystemTime) {
        while let Some((at, scene)) = self.schedule.due(now, &mut self.stage.rng) {
            scene.play(&mut self.stage, at);
        }
        self.stage.release(now);
    }
}

impl Recorded {
    fn attribute(&self, key: &str) -> Option<String> {
        attribute(&self.span, key)
    }

    fn trace(&self) -> TraceId {
        self.span.span_context.trace_id()
    }

    fn id(&self) -> SpanId {
        self.span.span_context.span_id()
    }

    fn failed(&self) -> bool {
        matches!(self.span.status, Status::Error { .. })
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == key)
        .map(|found| found.value.to_string())
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// All spans of the warm-up and of four minutes after it.
fn five_minutes(seed: u64) -> Vec<Recorded> {
    let mut rehearsal = Rehearsal::new(seed);
    rehearsal.play_until(start() + Duration::from_secs(240));
    // The providers live until the spans are read: shutting down empties the exporters.
    let _providers = rehearsal.stage.finish();
    recorded(&rehearsal.exporters)
}

fn recorded(exporters: &[(Instance, InMemorySpanExporter)]) -> Vec<Recorded> {
    let of_instance = |(instance, exporter): &(Instance, InMemorySpanExporter)| {
        let instance = instance.clone();
        let spans = exporter.get_finished_spans().unwrap();
        spans.into_iter().map(move |span| Recorded { instance: instance.clone(), span })
    };
    exporters.iter().flat_map(of_instance).collect()
}

fn by_id(recorded: &[Recorded]) -> HashMap<(TraceId, SpanId), &Recorded> {
    recorded.iter().map(|recorded| ((recorded.trace(), recorded.id()), recorded)).collect()
}

fn by_trace(recorded: &[Recorded]) -> HashMap<TraceId, Vec<&Recorded>> {
    let mut traces: HashMap<TraceId, Vec<&Recorded>> = HashMap::new();
    for recorded in recorded {
        traces.entry(recorded.trace()).or_default().push(recorded);
    }
    traces
}

#[test]
fn every_trace_is_one_tree() {
    let recorded = five_minutes(1);
    let by_id = by_id(&recorded);
    for (trace, spans) in by_trace(&recorded) {
        let roots = spans.iter().filter(|span| span.span.parent_span_id == SpanId::INVALID).count();
        assert_eq!(roots, 1, "trace {trace} has {roots} roots");
        for child in spans {
            assert!(child.span.start_time <= child.span.end_time);
            if child.span.parent_span_id != SpanId::INVALID {
                let parent = by_id[&(trace, child.span.parent_span_id)];
                assert!(parent.span.start_time <= child.span.start_time, "{} starts early", child.span.name);
            }
        }
    }
    let services: HashSet<_> = recorded.iter().map(|recorded| recorded.instance.service).collect();
    assert_eq!(services.len(), Service::ALL.len());
}

#[test]
fn only_server_and_consumer_spans_cross_from_one_instance_to_another() {
    let recorded = five_minutes(2);
    let by_id = by_id(&recorded);
    for child in recorded.iter().filter(|span| span.span.parent_span_id != SpanId::INVALID) {
        let parent = by_id[&(child.trace(), child.span.parent_span_id)];
        let entry = matches!(child.span.span_kind, SpanKind::Server | SpanKind::Consumer);
        assert_eq!(child.span.parent_span_is_remote, entry, "{}", child.span.name);
        assert_eq!(parent.instance.pod() != child.instance.pod(), entry, "{}", child.span.name);
        match child.span.span_kind {
            SpanKind::Server => assert_eq!(parent.span.span_kind, SpanKind::Client),
            SpanKind::Consumer => assert_eq!(parent.span.span_kind, SpanKind::Producer),
            _ => assert!(child.span.end_time <= parent.span.end_time, "{} ends late", child.span.name),
        }
    }
}

#[test]
fn spans_follow_the_semantic_conventions() {
    let required = |kind: &SpanKind, scope: &str| -> &[&str] {
        match (kind, scope) {
            (SpanKind::Server, "shop.http") => {
                &["http.request.method", "http.route", "url.path", "url.scheme"]
            }
            (SpanKind::Client, "shop.http") => {
                &["http.request.method", "url.full", "server.address", "server.port"]
            }
            (SpanKind::Server | SpanKind::Client, "shop.rpc") => {
                &["rpc.system.name", "rpc.method", "rpc.response.status_code", "server.address"]
            }
            (SpanKind::Client, "shop.database") => {
                &["db.system.name", "db.namespace", "db.operation.name", "db.query.text", "server.address"]
            }
            (SpanKind::Producer | SpanKind::Consumer, "shop.messaging") => {
                &["messaging.system", "messaging.destination.name", "messaging.operation.name"]
            }
            (SpanKind::Internal, "shop.app") => &[],
            (kind, scope) => panic!("no {kind:?} spans are expected from {scope}"),
        }
    };
    for recorded in five_minutes(3) {
        let span = &recorded.span;
        for key in required(&span.span_kind, span.instrumentation_scope.name()) {
            assert!(recorded.attribute(key).is_some(), "{} has no {key}", span.name);
        }
        let keys: HashSet<_> = span.attributes.iter().map(|attribute| &attribute.key).collect();
        assert_eq!(keys.len(), span.attributes.len(), "{} repeats an attribute", span.name);
        assert_eq!(recorded.failed(), recorded.attribute("error.type").is_some(), "{}", span.name);
        if let Some(status) = recorded.attribute("http.response.status_code") {
            let threshold = if span.span_kind == SpanKind::Client { 400 } else { 500 };
            assert_eq!(recorded.failed(), status.parse::<u16>().unwrap() >= threshold, "{}", span.name);
        }
        if span.span_kind == SpanKind::Client
            && let Some(code) = recorded.attribute("rpc.response.status_code")
        {
            assert_eq!(recorded.failed(), code != "OK", "{}", span.name);
        }
    }
}

#[test]
fn orders_carry_their_customer_and_their_worth() {
    let recorded = five_minutes(4);
    let orders: Vec<_> = recorded.iter().filter(|span| span.span.name == "POST /orders").collect();
    let complete = |order: &&&Recorded| {
        order.span.span_kind == SpanKind::Server
            && ["user.id", "session.id", "order.id", "cart.total"]
                .iter()
                .all(|key| order.attribute(key).is_some())
    };
    assert!(orders.iter().filter(complete).count() > 100);
}

#[test]
fn a_payment_instance_fails_and_others_are_tried() {
    let recorded = five_minutes(5);
    let charges: Vec<_> = recorded
        .iter()
        .filter(|span| {
            span.span.span_kind == SpanKind::Server && span.span.name == "shop.payment.v1.Payments/Charge"
        })
        .collect();
    let instances: HashSet<_> = charges.iter().map(|charge| charge.instance.pod()).collect();
    assert_eq!(instances.len(), Service::Payment.instance_count());

    // The second period begins 60 s after the start; its incident begins 20 s later.
    let ill_from = start() + Duration::from_secs(80);
    let in_incident = |charge: &&&Recorded| {
        (ill_from..ill_from + Duration::from_secs(20)).contains(&charge.span.start_time)
    };
    let rate = |failing: bool| {
        let of_those: Vec<_> = charges
            .iter()
            .filter(in_incident)
            .filter(|charge| (charge.instance.index == 1) == failing)
            .collect();
        of_those.iter().filter(|charge| charge.failed()).count() as f64 / of_those.len() as f64
    };
    assert!(rate(true) > 0.6 && rate(false) < 0.2, "failing {} others {}", rate(true), rate(false));

    let retried = by_trace(&recorded).into_values().any(|spans| {
        let tried: HashSet<_> = spans
            .iter()
            .filter(|span| {
                span.span.span_kind == SpanKind::Server && span.instance.service == Service::Payment
            })
            .map(|span| span.instance.pod())
            .collect();
        let root_failed =
            spans.iter().any(|span| span.span.parent_span_id == SpanId::INVALID && span.failed());
        let checkout = spans.iter().any(|span| span.instance.service == Service::Checkout);
        checkout && tried.len() >= 2 && !root_failed
    });
    assert!(retried, "no order succeeded at another payment instance");
}

#[test]
fn failures_reach_the_user_and_carry_a_stack_trace() {
    let recorded = five_minutes(6);
    let failed_roots = recorded
        .iter()
        .filter(|span| {
            span.span.parent_span_id == SpanId::INVALID && span.instance.service == Service::Gateway
        })
        .filter(|span| span.failed())
        .count();
    assert!(failed_roots > 5, "{failed_roots} failed visits");

    let stack_traces = recorded
        .iter()
        .flat_map(|recorded| recorded.span.events.iter())
        .filter(|event| event.name == "exception")
        .filter_map(|event| {
            event.attributes.iter().find(|attribute| attribute.key.as_str() == "exception.stacktrace")
        })
        .filter(|stack| stack.value.as_str().contains("at src/"))
        .count();
    assert!(stack_traces > 20, "{stack_traces} stack traces");
}

#[test]
fn consumers_run_later_and_link_to_their_producers() {
    let recorded = five_minutes(7);
    let by_id = by_id(&recorded);
    let mut in_own_trace = 0;
    let mut largest_batch = 0;
    let consumers: Vec<_> =
        recorded.iter().filter(|span| span.span.span_kind == SpanKind::Consumer).collect();
    for consumer in &consumers {
        assert!(!consumer.span.links.links.is_empty());
        for link in &consumer.span.links.links {
            let producer = by_id[&(link.span_context.trace_id(), link.span_context.span_id())];
            assert_eq!(producer.span.span_kind, SpanKind::Producer);
            assert!(producer.span.end_time <= consumer.span.start_time);
            assert_ne!(producer.instance.service, consumer.instance.service);
            in_own_trace += usize::from(producer.trace() != consumer.trace());
        }
        largest_batch = largest_batch.max(consumer.span.links.links.len());
    }
    assert!(in_own_trace > 100 && largest_batch >= 3, "{in_own_trace} and {largest_batch}");
    assert!(consumers.iter().any(|span| span.span.parent_span_id != SpanId::INVALID));
}

#[test]
fn the_usual_suspects_appear() {
    let recorded = five_minutes(8);
    let traces = by_trace(&recorded);
    let count = |spans: &[&Recorded], name: &str| spans.iter().filter(|span| span.span.name == name).count();
    assert!(traces.values().any(|spans| count(spans, "SELECT prices") >= 8), "no N+1 queries");
    assert!(
        traces
            .values()
            .any(|spans| count(spans, "settle payments") == 1 && (200..600).contains(&spans.len())),
        "no batch job of a few hundred spans"
    );
    assert!(
        recorded.iter().any(|span| span.instance.service == Service::Gateway
            && span.attribute("error.type").as_deref() == Some("cancelled")
            && span.attribute("http.response.status_code").is_none()),
        "no request was cancelled by its client"
    );
    let by_id = by_id(&recorded);
    assert!(
        recorded.iter().any(|server| server.span.span_kind == SpanKind::Server
            && by_id
                .get(&(server.trace(), server.span.parent_span_id))
                .is_some_and(|client| client.span.end_time < server.span.end_time)),
        "no server went on after its client had given up"
    );
    let slow = recorded.iter().any(|span| {
        let time = span.span.end_time.duration_since(span.span.start_time).unwrap();
        span.attribute("db.system.name").as_deref() == Some("postgresql") && time > Duration::from_millis(300)
    });
    assert!(slow, "no slow query");
}

#[test]
fn nothing_is_sent_before_it_has_happened() {
    let mut rehearsal = Rehearsal::new(9);
    for second in 0..30 {
        let now = start() + Duration::from_secs(second);
        rehearsal.play_until(now);
        assert!(recorded(&rehearsal.exporters).iter().all(|recorded| recorded.span.end_time <= now));
    }
    let (_, started) = rehearsal.stage.counts();
    let ended = recorded(&rehearsal.exporters).len() as u64;
    assert!(ended > 1_000 && ended < started, "{ended} of {started} spans have ended");
}

#[test]
fn a_seed_tells_one_story() {
    assert_eq!(story(&five_minutes(10)), story(&five_minutes(10)));
    assert_ne!(story(&five_minutes(10)), story(&five_minutes(11)));
}

/// Everything but the IDs, which are replaced by the indexes of the spans that they name.
fn story(recorded: &[Recorded]) -> Vec<String> {
    let places: HashMap<_, _> =
        recorded.iter().enumerate().map(|(place, span)| ((span.trace(), span.id()), place)).collect();
    let told = |recorded: &Recorded| {
        let span = &recorded.span;
        let parent = places.get(&(recorded.trace(), span.parent_span_id));
        let links: Vec<_> = span
            .links
            .iter()
            .map(|link| places[&(link.span_context.trace_id(), link.span_context.span_id())])
            .collect();
        format!(
            "{} {} {:?} {:?} {:?} {:?} {:?} {:?} {parent:?} {links:?}",
            recorded.instance.pod(),
            span.name,
            span.span_kind,
            span.start_time,
            span.end_time,
            span.attributes,
            span.events,
            span.status
        )
    };
    recorded.iter().map(told).collect()
}

#[tokio::test]
async fn without_a_server_the_error_says_what_to_do() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = DemoConfig { endpoint: format!("http://{closed}"), ..DemoConfig::default() };
    let error =
        run_with_patience(config, Duration::from_millis(100), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, DemoError::NothingListens { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("spandrel serve") && text.contains(&closed.to_string()), "{text}");
}

#[tokio::test]
async fn impossible_configurations_are_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = run(DemoConfig { rate, ..DemoConfig::default() }, std::future::pending()).await;
        assert!(matches!(refused, Err(DemoError::InvalidRate(_))), "{rate}");
    }
    for endpoint in ["localhost:4317", "ftp://127.0.0.1:4317", "http://", "http://a b"] {
        let config = DemoConfig { endpoint: endpoint.to_owned(), ..DemoConfig::default() };
        let refused = run_with_patience(config, Duration::ZERO, std::future::pending()).await;
        assert!(matches!(refused, Err(DemoError::InvalidEndpoint { .. })), "{endpoint}: {refused:?}");
    }
}
