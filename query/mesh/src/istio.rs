//! Istio's standard metrics, counted from the spans of proxies instead of by the proxies themselves: names, labels and
//! buckets are those of `istio.io` (Observability, Istio Standard Metrics), so that dashboards and Kiali's queries read
//! them. The exposition format is Prometheus' text format 0.0.4.
//!
//! What spans do not say has the value `unknown`, as Istio writes it: principals and the security policy are left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use spandrel_proto::TimeRange;
use spandrel_proto::UnixNanos;

use crate::edges::{self, Party};
use crate::hops::{self, Hop, is_waypoint};
use crate::names::UNKNOWN;
use crate::span::MeshSpan;
use crate::workload::{Workload, workload_of_host};

/// Counters since they were made.
#[derive(Debug, Default)]
pub struct IstioMetrics {
    series: BTreeMap<Labels, Values>,
    /// Requests that were not counted, because there were too many series.
    dropped: u64,
}

/// What tells the series of a metric apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    reporter: &'static str,
    source: Side,
    destination: Side,
    /// The host that was called.
    destination_service: String,
    protocol: &'static str,
    code: String,
    grpc_status: String,
    flags: String,
}

/// A workload on one side of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Side {
    deployment: String,
    namespace: String,
    canonical_service: String,
    canonical_revision: String,
}

#[derive(Debug, Default)]
struct Values {
    requests: u64,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// The bounds of Envoy's histograms, of milliseconds and of bytes.
const BOUNDS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6,
    3.6e6,
];
/// Labels come from outside. More series are not counted, but what they lack is.
const MAX_SERIES: usize = 2_000;
/// Longer labels are cut.
const MAX_LABEL_BYTES: usize = 128;

// === impl IstioMetrics ===

impl IstioMetrics {
    /// Counts the requests of a trace of which a proxy's span ends in a range: proxies report at the end. Ranges that follow
    /// each other count each request once.
    pub fn add(&mut self, spans: &[MeshSpan], range: &TimeRange) {
        for hop in hops::join(spans) {
            let seen =
                hop.caller.map(|caller| (caller, if is_waypoint(caller) { "waypoint" } else { "source" }));
            let answered = hop.callees.iter().map(|callee| (*callee, "destination"));
            for (span, reporter) in seen.into_iter().chain(answered) {
                if range.contains(UnixNanos(span.start.saturating_add(span.duration))) {
                    self.count(Labels::of(&hop, span, reporter), span);
                }
            }
        }
    }

    /// Adds what others have counted.
    pub fn merge(&mut self, other: Self) {
        for (labels, values) in other.series {
            if self.series.len() >= MAX_SERIES && !self.series.contains_key(&labels) {
                self.dropped += values.requests;
            } else {
                self.series.entry(labels).or_default().merge(&values);
            }
        }
        self.dropped += other.dropped;
    }

    fn count(&mut self, labels: Labels, span: &MeshSpan) {
        if self.series.len() >= MAX_SERIES && !self.series.contains_key(&labels) {
            self.dropped += 1;
            return;
        }
        let values = self.series.entry(labels).or_default();
        values.requests += 1;
        values.duration.add(span.duration as f64 / 1e6);
        if let Some(bytes) = span.facts.request_bytes {
            values.request_bytes.add(bytes as f64);
        }
        if let Some(bytes) = span.facts.response_bytes {
            values.response_bytes.add(bytes as f64);
        }
    }

    /// The metrics as a scraper reads them.
    pub fn exposition(&self) -> String {
        let mut out = String::new();
        type Of = fn(&Values) -> &Histogram;
        let histograms: [(&str, &str, Of); 3] = [
            ("istio_request_duration_milliseconds", "Durations of requests.", |values| &values.duration),
            ("istio_request_bytes", "Sizes of request bodies.", |values| &values.request_bytes),
            ("istio_response_bytes", "Sizes of response bodies.", |values| &values.response_bytes),
        ];
        let labels: Vec<(String, &Values)> =
            self.series.iter().map(|(labels, values)| (labels.to_string(), values)).collect();
        head(&mut out, "istio_requests_total", "counter", "Requests that proxies reported.");
        for (labels, values) in &labels {
            let _ = writeln!(out, "istio_requests_total{{{labels}}} {}", values.requests);
        }
        for (name, help, of) in histograms {
            head(&mut out, name, "histogram", help);
            for (labels, values) in &labels {
                of(values).write(&mut out, name, labels);
            }
        }
        let dropped = "spandrel_span_metrics_dropped_total";
        head(
            &mut out,
            dropped,
            "counter",
            "Requests that were not counted, because there were too many series.",
        );
        let _ = writeln!(out, "{dropped} {}", self.dropped);
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

// === impl Labels ===

impl Labels {
    fn of(hop: &Hop<'_>, span: &MeshSpan, reporter: &'static str) -> Self {
        let has_route = edges::callee_of(hop) != Party::NoRoute;
        let callee = if reporter == "destination" { Some(span) } else { hop.callees.first().copied() };
        // What a request without a route calls is whatever its sender writes.
        let caller = hop.caller.filter(|_| has_route);
        let called = || caller.and_then(|caller| caller.facts.callee.clone());
        let host = caller.and_then(|caller| caller.facts.host.clone());
        let host = host.or_else(|| span.facts.host.clone().filter(|_| has_route));
        let outcome = &span.facts.outcome;
        Self {
            reporter,
            source: hop.caller.map_or_else(|| Side::named(None), Side::of),
            destination: callee.map_or_else(|| Side::named(called()), Side::of),
            destination_service: host.map_or_else(unknown, cut),
            protocol: if outcome.grpc_code.is_some() { "grpc" } else { "http" },
            code: outcome.code.map_or_else(unknown, |code| code.to_string()),
            grpc_status: outcome.grpc_code.map(|code| code.to_string()).unwrap_or_default(),
            flags: cut(outcome.flags.clone()),
        }
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (source, destination) = (&self.source, &self.destination);
        let service_name = workload_of_host(&self.destination_service).name;
        let labels = [
            ("reporter", self.reporter),
            ("source_workload", &source.deployment),
            ("source_workload_namespace", &source.namespace),
            ("source_canonical_service", &source.canonical_service),
            ("source_canonical_revision", &source.canonical_revision),
            ("destination_workload", &destination.deployment),
            ("destination_workload_namespace", &destination.namespace),
            ("destination_canonical_service", &destination.canonical_service),
            ("destination_canonical_revision", &destination.canonical_revision),
            ("destination_service", &self.destination_service),
            ("destination_service_name", &service_name),
            ("destination_service_namespace", &destination.namespace),
            ("request_protocol", self.protocol),
            ("response_code", &self.code),
            ("grpc_response_status", &self.grpc_status),
            ("response_flags", &self.flags),
        ];
        for (place, (name, value)) in labels.into_iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(f, "{comma}{name}=\"{value}\"")?;
        }
        Ok(())
    }
}

fn cut(mut label: String) -> String {
    label.truncate(label.floor_char_boundary(MAX_LABEL_BYTES));
    label
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

// === impl Side ===

impl Side {
    /// The workload of a proxy.
    fn of(span: &MeshSpan) -> Self {
        let mut side = Self::named(Some(span.facts.workload.clone()));
        // A waypoint's version and pod are its own, and not those of the workload that it speaks for.
        if is_waypoint(span) {
            return side;
        }
        if let Some(revision) = &span.facts.revision {
            side.canonical_revision = cut(revision.clone());
        }
        if let Some(pod) = &span.facts.pod {
            side.deployment = cut(deployment_of(pod).to_owned());
        }
        side
    }

    fn named(workload: Option<Workload>) -> Self {
        let Workload { name, namespace } = workload.unwrap_or_default();
        let or_unknown = |text: String| if text.is_empty() { unknown() } else { cut(text) };
        let name = or_unknown(name);
        Self {
            deployment: name.clone(),
            namespace: or_unknown(namespace),
            canonical_service: name,
            canonical_revision: unknown(),
        }
    }
}

/// The Deployment of a pod: Kubernetes adds the hash of a template, of 8 to 10 characters, and 5 more.
fn deployment_of(pod: &str) -> &str {
    let is_hash = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let of_template =
        pod.rsplit_once('-').filter(|(_, id)| id.len() == 5 && is_hash(id)).map(|(rest, _)| rest);
    let named = of_template.and_then(|rest| rest.rsplit_once('-'));
    match named.filter(|(_, hash)| (8..=10).contains(&hash.len()) && is_hash(hash)) {
        Some((name, _)) => name,
        None => pod,
    }
}

// === impl Values, Histogram ===

impl Values {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.duration.merge(&other.duration);
        self.request_bytes.merge(&other.request_bytes);
        self.response_bytes.merge(&other.response_bytes);
    }
}

impl Histogram {
    fn merge(&mut self, other: &Self) {
        for (bucket, count) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += count;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    fn add(&mut self, value: f64) {
        if let Some(bucket) = BOUNDS.iter().position(|bound| value <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        if self.count == 0 {
            return;
        }
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(self.buckets) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Side as ListenerSide;
    use crate::testing::listener;

    fn range(start: u64, end: u64) -> TimeRange {
        TimeRange { start: UnixNanos(start), end: Some(UnixNanos(end)) }
    }

    fn spans() -> [MeshSpan; 3] {
        let mut spans = [
            listener(1, None, ListenerSide::Caller, "checkout", 200, "-").lasting(30_000_000),
            listener(2, Some(1), ListenerSide::Callee, "payment", 503, "UF").lasting(2_000_000),
            listener(3, Some(1), ListenerSide::Callee, "payment", 200, "-").lasting(20_000_000),
        ];
        spans[0].told().pod = Some("checkout-v2-7f8c6b5d94-x8w2m".to_owned());
        spans[0].told().host = Some("payment.shop.svc.cluster.local".to_owned());
        spans
    }

    #[test]
    fn both_sides_report_each_in_its_own_words() {
        let mut metrics = IstioMetrics::default();
        metrics.add(&spans(), &range(0, 40_000_000));
        let text = metrics.exposition();
        let line = |parts: &[&str]| text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        let source = line(&["istio_requests_total{", "reporter=\"source\""]).unwrap();
        for part in [
            "source_workload=\"checkout-v2\"",
            "source_canonical_service=\"checkout\"",
            "destination_service=\"payment.shop.svc.cluster.local\"",
            "destination_service_name=\"payment\"",
            "response_code=\"200\"",
            "} 1",
        ] {
            assert!(source.contains(part), "{part}: {source}");
        }
        assert!(
            line(&["reporter=\"destination\"", "response_code=\"503\"", "response_flags=\"UF\""]).is_some()
        );
        let bucket = ["istio_request_duration_milliseconds_bucket", "reporter=\"source\"", "le=\"50\"} 1"];
        assert!(line(&bucket).is_some(), "{text}");
        assert!(line(&["reporter=\"source\"", "le=\"25\"} 0"]).is_some());
        assert!(!text.contains("istio_request_bytes_count"), "sizes that were not sent are not made up");
    }

    #[test]
    fn ranges_that_follow_each_other_count_each_span_once() {
        let mut metrics = IstioMetrics::default();
        for start in 0..40 {
            metrics.add(&spans(), &range(start * 1_000_000, (start + 1) * 1_000_000));
        }
        let requests: u64 = metrics.series.values().map(|values| values.requests).sum();
        assert_eq!(requests, 3);
    }

    #[test]
    fn labels_from_outside_are_escaped_and_bounded() {
        let mut metrics = IstioMetrics::default();
        for number in 0..MAX_SERIES + 5 {
            let mut span = listener(1, None, ListenerSide::Caller, "checkout", 200, "-");
            span.told().outcome.flags = format!("\"{number}\\\n");
            metrics.add(&[span], &range(0, 10_000));
        }
        assert_eq!(metrics.series.len(), MAX_SERIES);
        let text = metrics.exposition();
        assert!(text.contains("spandrel_span_metrics_dropped_total 5\n"));
        assert!(text.contains(r#"response_flags="\"7\\\n""#));
    }

    #[test]
    fn hosts_that_no_route_fits_are_one_series() {
        let mut metrics = IstioMetrics::default();
        for number in 0..10 {
            let mut span = listener(1, None, ListenerSide::Caller, "gateway", 404, "NR");
            span.told().host = Some(format!("invented-{number}.example.com"));
            metrics.add(&[span], &range(0, 10_000));
        }
        assert_eq!(metrics.series.len(), 1);
    }

    #[test]
    fn pods_name_their_deployments() {
        assert_eq!(deployment_of("payment-v1-7f8c6b5d94-x8w2m"), "payment-v1");
        assert_eq!(deployment_of("payment-a"), "payment-a");
        assert_eq!(deployment_of("istio-ingressgateway-abcde"), "istio-ingressgateway-abcde");
    }
}
