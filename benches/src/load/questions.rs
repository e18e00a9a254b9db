//! Queries traces and searches, one after another on one connection, and checks every answer, because a fast wrong
//! answer is worth nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::Deserialize;
use spandrel_benches::corpus::KnownTrace;
use spandrel_proto::{TraceId, UnixNanos};

use crate::Failure;
use crate::client::Connection;
use crate::ground_truth::GroundTruth;
use crate::latencies::Latencies;
use crate::machine::Meter;
use crate::results::Measurement;
use crate::server::Server;
use crate::targets;

/// A kind of query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A random trace of about 20 spans.
    UsualTrace,
    /// A random trace.
    AnyTrace,
    /// The largest trace.
    LargestTrace,
    /// An attribute value that few spans have.
    RareValue,
    /// An attribute value that no span has.
    AbsentValue,
    /// Spans of a service in the last hour: each service in turn.
    Service,
    /// Spans of an operation in the last hour: some operations in turn.
    Operation,
    /// Failed spans in the last hour.
    Failed,
    /// The newest traces of the last hour.
    Newest,
    /// Spans of the last hour by their duration.
    Duration,
    /// A question of the query engine.
    Engine(EngineQuestion),
}

/// Questions that are decided on tables of traces, or that pass over many spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineQuestion {
    /// Failed spans below a service, in the last hour.
    Descendant,
    /// Spans beside failed ones, in the last hour.
    Sibling,
    /// Server spans without a client span as their parent, in the last hour.
    Without,
    /// Traces by an aggregate of a service, in the last hour.
    Pipeline,
    /// Requests a second of every service, over a day.
    RateByService,
    /// Latency of every service, over a day.
    QuantileByService,
    /// Spans a second by an attribute, over everything.
    CountByAttribute,
    /// Latency by an attribute, over everything.
    QuantileByAttribute,
    /// What failed spans have that others have not, over everything.
    Compare,
}

/// How many queries of a kind are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) questions: u32,
    pub(crate) time: Duration,
}

/// Queries a server about the spans that were sent to it.
pub(crate) struct Asker<'a> {
    server: &'a Server,
    connection: Connection,
    ground_truth: &'a GroundTruth,
    /// The time of the first spans.
    since: UnixNanos,
    rng: Rng,
}

/// A query and its expected answer.
struct Question {
    path: String,
    /// The service or operation, for kinds that go through several of them in turn.
    about: Option<String>,
    expected: Expected,
}

enum Expected {
    Trace(KnownTrace),
    Only(KnownTrace),
    Nothing,
    /// The newest of many traces.
    Page,
    /// Traces, if there are any.
    Some,
    /// Series whose points sum up to so many spans.
    Spans(u64),
    /// Series or attributes, and all of them.
    Whole,
}

/// The parts of answers that are checked.
#[derive(Deserialize)]
struct TreeAnswer {
    trace: Summary,
}

#[derive(Deserialize)]
struct SearchAnswer {
    traces: Vec<Summary>,
    partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    id: String,
    span_count: u32,
    root_name: Option<String>,
}

/// Series, or the attributes of a comparison.
#[derive(Deserialize)]
struct SeriesAnswer {
    #[serde(default)]
    series: Vec<SeriesPoints>,
    partial: bool,
}

#[derive(Deserialize)]
struct SeriesPoints {
    points: Vec<PointValue>,
}

#[derive(Deserialize)]
struct PointValue {
    value: f64,
}

const PAGE: usize = 20;
/// Queries before the measurement, which fill caches.
const WARM_UP: usize = 25;
/// Queries of any trace warm up with one more for this many spans, so that nearly all blocks are read once.
const SPANS_OF_WARM_UP: u64 = 25_000;

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 19] = [
        Self::UsualTrace,
        Self::AnyTrace,
        Self::LargestTrace,
        Self::RareValue,
        Self::AbsentValue,
        Self::Service,
        Self::Operation,
        Self::Failed,
        Self::Newest,
        Self::Duration,
        Self::Engine(EngineQuestion::Descendant),
        Self::Engine(EngineQuestion::Sibling),
        Self::Engine(EngineQuestion::Without),
        Self::Engine(EngineQuestion::Pipeline),
        Self::Engine(EngineQuestion::RateByService),
        Self::Engine(EngineQuestion::QuantileByService),
        Self::Engine(EngineQuestion::CountByAttribute),
        Self::Engine(EngineQuestion::QuantileByAttribute),
        Self::Engine(EngineQuestion::Compare),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UsualTrace => "trace by ID, 20 spans",
            Self::AnyTrace => "trace by ID, any",
            Self::LargestTrace => "trace by ID, largest",
            Self::RareValue => "search, rare value",
            Self::AbsentValue => "search, absent value",
            Self::Service => "search, each service",
            Self::Operation => "search, operations",
            Self::Failed => "search, failed spans",
            Self::Newest => "search, newest",
            Self::Duration => "search, duration",
            Self::Engine(question) => question.name(),
        }
    }

    /// Sets the target of the percentile to which it applies.
    fn with_target(self, [p50, p95, p99]: [Measurement; 3]) -> Vec<Measurement> {
        match self {
            // The growth is measured by interleaved queries.
            Self::UsualTrace => vec![p50, p95, p99.at_most(targets::TRACE_P99)],
            Self::AnyTrace | Self::Newest => vec![p50, p95, p99],
            Self::LargestTrace => vec![p50, p95.at_most(targets::LARGE_TRACE)],
            Self::AbsentValue => vec![p50, p95.at_most(targets::ABSENT_P95)],
            Self::Duration => vec![p50, p95.at_most(targets::DURATION_P95)],
            Self::Engine(question) => vec![p50, p95.at_most(question.target())],
            Self::RareValue | Self::Service | Self::Operation | Self::Failed => {
                vec![p50, p95.at_most(targets::SEARCH_P95)]
            }
        }
    }
}

// === impl EngineQuestion ===

impl EngineQuestion {
    fn name(self) -> &'static str {
        match self {
            Self::Descendant => "engine, {A} >> {B}",
            Self::Sibling => "engine, {A} ~ {B}",
            Self::Without => "engine, {A} !> {B}",
            Self::Pipeline => "engine, by and count",
            Self::RateByService => "engine, rate by service",
            Self::QuantileByService => "engine, quantile by service",
            Self::CountByAttribute => "engine, count by attribute",
            Self::QuantileByAttribute => "engine, quantile by attribute",
            Self::Compare => "engine, compare",
        }
    }

    fn target(self) -> f64 {
        match self {
            Self::Descendant | Self::Sibling | Self::Without => targets::STRUCTURAL_P95,
            Self::Pipeline => targets::PIPELINE_P95,
            Self::RateByService | Self::QuantileByService => targets::ROLLUP_P95,
            Self::CountByAttribute | Self::QuantileByAttribute => targets::ATTRIBUTE_P95,
            Self::Compare => targets::COMPARE_P95,
        }
    }

    fn question(self, ground_truth: &GroundTruth, since: UnixNanos, at: usize) -> Question {
        let service = ground_truth.services[at % ground_truth.services.len()];
        let of_service = format!("{{ resource.service.name = \"{service}\" }}");
        let traces = |query: &str| Question { expected: Expected::Some, ..search_hour(query, None) };
        let series = |query: &str, rest: &str, expected| {
            let path = format!("/api/v1/metrics?q={}&{rest}", escaped(query));
            Question { path, about: None, expected }
        };
        let everything = format!("start={}", since.0);
        match self {
            Self::Descendant => traces(&format!("{of_service} >> {{ failed }}")),
            Self::Sibling => traces(&format!("{{ failed }} ~ {of_service}")),
            Self::Without => traces("{ kind = client } !> { kind = server }"),
            Self::Pipeline => traces("{ kind = client } | by(resource.service.name) | count() > 3"),
            Self::RateByService => {
                series("{ } | rate() by(resource.service.name)", "start=now-24h&step=6m", Expected::Whole)
            }
            Self::QuantileByService => series(
                "{ kind = server } | quantile_over_time(duration, 0.5, 0.99) by(resource.service.name)",
                "start=now-24h&step=6m",
                Expected::Whole,
            ),
            Self::CountByAttribute => series(
                "{ } | count_over_time() by(span.http.request.method)",
                &everything,
                Expected::Spans(ground_truth.spans),
            ),
            Self::QuantileByAttribute => series(
                "{ } | quantile_over_time(duration, 0.99) by(span.http.route)",
                &everything,
                Expected::Whole,
            ),
            Self::Compare => {
                let path = format!("/api/v1/attributes/compare?selection=%7Bfailed%7D&{everything}");
                Question { path, about: None, expected: Expected::Whole }
            }
        }
    }
}

// === impl Asker ===

impl<'a> Asker<'a> {
    pub(crate) async fn new(
        server: &'a Server,
        ground_truth: &'a GroundTruth,
        since: UnixNanos,
        seed: u64,
    ) -> Result<Self, Failure> {
        let connection = server.connect().await?;
        Ok(Self { server, connection, ground_truth, since, rng: Rng::with_seed(seed) })
    }

    /// Asserts that all spans acknowledged last are found, by ID and by search.
    pub(crate) async fn check_newest(&mut self) -> Result<(), Failure> {
        for trace in &self.ground_truth.newest {
            self.ask_once(&trace_by_id(*trace)).await?;
            if let Some(order) = trace.order {
                let question = self.search_order(&order.to_string(), Expected::Only(*trace));
                self.ask_once(&question).await?;
            }
        }
        Ok(())
    }

    /// Sends queries of one kind until the bounds are reached.
    pub(crate) async fn ask(&mut self, kind: Kind, bounds: Bounds) -> Result<Vec<Measurement>, Failure> {
        self.warm_up(kind).await?;
        let meter = Meter::start(self.server.pid);
        let mut times = Vec::new();
        let mut by_about: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        while times.len() < bounds.questions as usize && meter.spent().wall < bounds.time {
            let question = self.question(kind, times.len());
            let took = self.ask_once(&question).await?;
            times.push(took);
            if let Some(about) = question.about {
                by_about.entry(about).or_default().push(took);
            }
        }
        let cpu_ms = meter.spent().server.as_secs_f64() * 1e3 / times.len().max(1) as f64;
        let name = kind.name();
        let mut results = kind.with_target(Measurement::percentiles(name, &Latencies::of(times)));
        results.extend(slowest(kind, by_about));
        results.push(Measurement::new(format!("{name}, server CPU ms"), cpu_ms));
        Ok(results)
    }

    /// Sends queries of a kind that are not measured.
    pub(crate) async fn warm_up(&mut self, kind: Kind) -> Result<(), Failure> {
        let questions = match kind {
            Kind::UsualTrace | Kind::AnyTrace => {
                WARM_UP + (self.ground_truth.spans / SPANS_OF_WARM_UP) as usize
            }
            // They take longer, and two read all that there is to read.
            Kind::Engine(_) => 2,
            _ => WARM_UP,
        };
        for at in 0..questions {
            self.next(kind, at).await?;
        }
        Ok(())
    }

    /// Sends a query of a kind, which was sent `at` times before; returns its time.
    pub(crate) async fn next(&mut self, kind: Kind, at: usize) -> Result<Duration, Failure> {
        let question = self.question(kind, at);
        self.ask_once(&question).await
    }

    /// The next query of a kind, which was sent `at` times before.
    fn question(&mut self, kind: Kind, at: usize) -> Question {
        let ground_truth = self.ground_truth;
        match kind {
            Kind::UsualTrace => trace_by_id(ground_truth.usual(&mut self.rng)),
            Kind::AnyTrace => trace_by_id(ground_truth.any(&mut self.rng)),
            Kind::LargestTrace => trace_by_id(ground_truth.largest),
            Kind::RareValue => {
                let trace = ground_truth.with_order(&mut self.rng);
                let order = trace.order.map_or_else(String::new, |order| order.to_string());
                self.search_order(&order, Expected::Only(trace))
            }
            // A new value each time, so that no cache has the answer.
            Kind::AbsentValue => {
                let absent = format!("ord-{:012}-none", self.rng.u64(0..1_000_000_000_000));
                self.search_order(&absent, Expected::Nothing)
            }
            Kind::Service => {
                let service = ground_truth.services[at % ground_truth.services.len()];
                search_hour(&format!("{{ resource.service.name = \"{service}\" }}"), Some(service.to_owned()))
            }
            Kind::Operation => {
                let operation = &ground_truth.operations[at % ground_truth.operations.len()];
                let (service, name) = (operation.service, &operation.name);
                let query = format!("{{ resource.service.name = \"{service}\" && name = \"{name}\" }}");
                search_hour(&query, Some(format!("{service}: {name}")))
            }
            Kind::Failed => search_hour("{ failed }", None),
            Kind::Newest => search_hour("{ }", None),
            Kind::Duration => search_hour("{ duration > 2s }", None),
            Kind::Engine(question) => question.question(ground_truth, self.since, at),
        }
    }

    fn search_order(&self, order: &str, expected: Expected) -> Question {
        let query = format!("{{ .{} = \"{order}\" }}", KnownTrace::ORDER_ATTRIBUTE);
        Question { path: search(&query, &self.since.0.to_string()), about: None, expected }
    }

    async fn ask_once(&mut self, question: &Question) -> Result<Duration, Failure> {
        let path = &question.path;
        let began = Instant::now();
        let answer = self.connection.get(path).await?;
        let took = began.elapsed();
        if !answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body);
            return Err(format!("{path} was answered by {}: {text}", answer.status).into());
        }
        let lookup = |id: &str| self.ground_truth.trace(id.parse::<TraceId>().ok()?).copied();
        check(&answer.body, &question.expected, lookup)
            .map_err(|why| format!("{path} was answered wrongly: {why}"))?;
        Ok(took)
    }
}

/// The slowest of the services or operations that a kind goes through.
fn slowest(kind: Kind, by_about: BTreeMap<String, Vec<Duration>>) -> Option<Measurement> {
    let p95 = |times| Latencies::of(times).p95_ms;
    let (about, p95) = by_about
        .into_iter()
        .map(|(about, times)| (about, p95(times)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let name = format!("{}, slowest, p95 ms", kind.name());
    Some(Measurement::new(name, p95).at_most(targets::SEARCH_P95).note(Some(about)))
}

fn trace_by_id(trace: KnownTrace) -> Question {
    Question { path: format!("/api/v1/traces/{}", trace.id), about: None, expected: Expected::Trace(trace) }
}

fn search_hour(query: &str, about: Option<String>) -> Question {
    Question { path: search(query, "now-1h"), about, expected: Expected::Page }
}

fn search(query: &str, start: &str) -> String {
    format!("/api/v1/traces?q={}&start={start}&limit={PAGE}", escaped(query))
}

fn check(
    body: &[u8],
    expected: &Expected,
    lookup: impl Fn(&str) -> Option<KnownTrace>,
) -> Result<(), Failure> {
    let is_true = |summary: &Summary| {
        lookup(&summary.id).is_some_and(|trace| trace.spans == summary.span_count)
            && summary.root_name.is_some()
    };
    if let Expected::Trace(trace) = expected {
        let tree = serde_json::from_slice::<TreeAnswer>(body)?.trace;
        return match tree.id == trace.id.to_string() && is_true(&tree) {
            true => Ok(()),
            false => Err(format!("{} spans of {}, not {}", tree.span_count, tree.id, trace.spans).into()),
        };
    }
    if let Expected::Spans(_) | Expected::Whole = expected {
        return check_series(body, expected);
    }
    let answer: SearchAnswer = serde_json::from_slice(body)?;
    let ids: Vec<&str> = answer.traces.iter().map(|trace| trace.id.as_str()).collect();
    let right = match expected {
        Expected::Only(trace) => ids == [trace.id.to_string()],
        Expected::Nothing => ids.is_empty(),
        Expected::Some => ids.len() <= PAGE,
        _ => !ids.is_empty() && ids.len() <= PAGE,
    };
    if let Some(wrong) = answer.traces.iter().find(|summary| !is_true(summary)) {
        return Err(format!("{} does not have {} spans", wrong.id, wrong.span_count).into());
    }
    match right && !answer.partial {
        true => Ok(()),
        false => Err(format!("found {ids:?}, partial: {}", answer.partial).into()),
    }
}

fn check_series(body: &[u8], expected: &Expected) -> Result<(), Failure> {
    let answer: SeriesAnswer = serde_json::from_slice(body)?;
    if answer.partial {
        return Err("the answer is partial".into());
    }
    let points = answer.series.iter().flat_map(|series| &series.points);
    let sum: f64 = points.map(|point| point.value).sum();
    match expected {
        Expected::Spans(spans) if sum != *spans as f64 => Err(format!("{sum} spans, not {spans}").into()),
        _ => Ok(()),
    }
}

/// Percent-encodes a text for a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, spans: u32) -> KnownTrace {
        KnownTrace { id: id.parse().unwrap(), spans, order: None }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("{ a = \"b\" }"), "%7B%20a%20%3D%20%22b%22%20%7D");
    }

    #[test]
    fn wrong_answers_are_noticed() {
        let trace = known("abc", 3);
        let lookup = |id: &str| (id == trace.id.to_string()).then_some(trace);
        let is_right = |body: &str, expected| check(body.as_bytes(), &expected, lookup).is_ok();

        let tree =
            |spans| format!(r#"{{"trace":{{"id":"{}","spanCount":{spans},"rootName":"r"}}}}"#, trace.id);
        assert!(is_right(&tree(3), Expected::Trace(trace)));
        assert!(!is_right(&tree(2), Expected::Trace(trace)));

        let found = |spans, partial| {
            let id = trace.id;
            format!(
                r#"{{"traces":[{{"id":"{id}","spanCount":{spans},"rootName":"r"}}],"partial":{partial}}}"#
            )
        };
        assert!(is_right(&found(3, false), Expected::Only(trace)));
        assert!(is_right(&found(3, false), Expected::Page));
        assert!(!is_right(&found(2, false), Expected::Page));
        assert!(!is_right(&found(3, false), Expected::Only(known("def", 3))));
        assert!(!is_right(&found(3, true), Expected::Only(trace)));
        assert!(!is_right(&found(3, false), Expected::Nothing));
        assert!(!is_right(r#"{"traces":[],"partial":false}"#, Expected::Page));
    }
}
