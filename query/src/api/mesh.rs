//! `GET /api/v1/mesh/edges`: what the proxies of a mesh saw of the calls between workloads. `mesh/hops.rs` has those of
//! one trace.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::Uri;
use spandrel_engine::mesh_spans::{self, TraceFold};
use spandrel_engine::{Budget, Partial, QueryError};
use spandrel_mesh::edge::{Edge, Instance, Side};
use spandrel_mesh::edges::{Counted, EdgeCounter, OverTime, Party, Steps};
use spandrel_mesh::names::{self, flag_named, keys};
use spandrel_mesh::span::MeshSpan;
use spandrel_mesh::timeline::Shift;
use spandrel_proto::{TenantId, Tenants, TimeRange, UnixNanos};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use spandrel_storage::{ReadError, TraceSpans, TraceStore};

use super::handler::{Answer, Asked, json};
use super::step::step;
use crate::answers::{
    MeshAttempts, MeshCode, MeshEdge, MeshEdgesAnswer, MeshFlags, MeshGroup, MeshInstance, MeshMeaning,
    MeshParty, MeshPoint, MeshShare, MeshShift, MeshSide, MeshSubset, MeshTimeline,
};
use crate::params::Params;
use crate::problem::Problem;
use crate::slices::{self, Section, Slices};
use crate::{question, times};

const PARAMETERS: [&str; 6] = ["q", "start", "end", "step", "weights", "stormThreshold"];
/// Loads are counted by the minute where no step is asked for.
const MINUTE: u64 = 60_000_000_000;
/// Spans of proxies may arrive so long after they ended: Envoy keeps them for five seconds.
pub(super) const SETTLES: u64 = 10_000_000_000;

mod balance;
mod hops;
mod retries;

pub(super) use hops::get as hops;

pub(super) async fn edges(Asked { state, tenant, restricted, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let predicate = match params.text("q") {
        Some(text) => question::predicate(text).map_err(|error| Problem::parameter("q", error))?,
        None => of_proxies(),
    };
    let now = state.now();
    let range = times::range(params.text("start"), params.text("end"), now)?;
    let width = range.end.unwrap_or(now).since(range.start);
    let (step, over_time) = match params.text("step") {
        Some(text) => {
            let step = step(Some(text), width, state.config().max_aggregate_points, "maxAggregatePoints")?;
            (step, OverTime::Instances)
        }
        None => (MINUTE, OverTime::Loads),
    };
    let steps = Steps { start: range.start.0 / step * step, step };
    let slices = (params.text("q").is_none() && !restricted).then(|| state.mesh_slices());
    let shown = Shown {
        steps,
        over_time,
        settled: now.0.saturating_sub(SETTLES),
        weights: balance::weights(&params)?,
        storm_threshold: retries::threshold(&params)?,
    };
    let asked = Counting { tenant, predicate, range, steps, over_time, slices, now };
    json(&question::run(&state, move |store, budget| answer(store, budget, &asked, &shown)).await?)
}

/// The spans of proxies.
pub(super) fn of_proxies() -> Predicate {
    let component = Field::Attribute(AttributeScope::Span, keys::COMPONENT.to_owned());
    Predicate::Compare(component, Comparison::Eq(Literal::String(names::PROXY.to_owned())))
}

/// What is shown of edges.
struct Shown {
    steps: Steps,
    over_time: OverTime,
    /// Spans from this time on, in Unix nanoseconds, may still be on their way.
    settled: u64,
    /// What instances were configured to get.
    weights: BTreeMap<String, f64>,
    /// Attempts of a request from which on retries are a storm.
    storm_threshold: f64,
}

/// Which requests are counted, and how.
struct Counting {
    tenant: TenantId,
    /// Traces with a span that satisfies this.
    predicate: Predicate,
    range: TimeRange,
    steps: Steps,
    over_time: OverTime,
    /// The slices that were counted before and the tenants that they are of; `None` for a question with a filter.
    slices: Option<(Arc<Slices>, Tenants)>,
    now: UnixNanos,
}

fn answer(
    store: &dyn TraceStore,
    budget: &Budget,
    asked: &Counting,
    shown: &Shown,
) -> Result<MeshEdgesAnswer, QueryError> {
    let mut counter = EdgeCounter::new(asked.range, asked.steps, asked.over_time);
    let mut partial = None;
    for section in asked.sections() {
        if !budget.allows() {
            break;
        }
        let (counted, why) = asked.count(store, budget, section)?;
        counter.merge(&counted);
        partial = partial.or(why);
        // Names come from outside, so what is kept of them counts.
        if !budget.has(counter.bytes()) {
            break;
        }
    }
    let counted = counter.finish();
    let why = partial.or(budget.why_partial(counted.left_out));
    let edges = counted.edges.iter().map(|(parties, edge)| shown.edge(parties, edge, &counted)).collect();
    Ok(MeshEdgesAnswer {
        edges,
        proxy_span_count: counted.proxy_spans,
        partial: why.is_some(),
        partial_reason: question::reason(why),
    })
}

// === impl Counting ===

impl Counting {
    fn sections(&self) -> Vec<Section> {
        // Without slices, too, because a pass looks at so many traces at most.
        slices::sections(self.range, self.now)
    }

    /// What a section of the range has, from what was counted before or anew.
    fn count(
        &self,
        store: &dyn TraceStore,
        budget: &Budget,
        Section { range, is_slice }: Section,
    ) -> Result<(Arc<EdgeCounter>, Option<Partial>), QueryError> {
        let slices = self.slices.as_ref().filter(|_| is_slice && slices::fit(self.steps));
        let version = slices.and_then(|_| store.version(&self.tenant, slices::around(range)));
        let (Some((slices, tenants)), Some(version)) = (slices, version) else {
            let (counter, partial) = self.fold(store, budget, range, self.steps, self.over_time)?;
            return Ok((Arc::new(counter), partial));
        };
        if let Some(counted) = slices.get(tenants, range, version) {
            return Ok((counted, None));
        }
        let steps = slices::steps(range);
        let (mut counter, partial) = self.fold(store, budget, range, steps, OverTime::Instances)?;
        counter.settle();
        let counted = Arc::new(counter);
        if partial.is_none() {
            slices.put(tenants, range, version, counted.clone());
        }
        Ok((counted, partial))
    }

    fn fold(
        &self,
        store: &dyn TraceStore,
        budget: &Budget,
        range: TimeRange,
        steps: Steps,
        over_time: OverTime,
    ) -> Result<(EdgeCounter, Option<Partial>), QueryError> {
        let worker = || Edges(EdgeCounter::new(range, steps, over_time));
        let predicate = self.predicate.clone();
        let (workers, partial) =
            mesh_spans::fold_traces(store, &self.tenant, predicate, range, budget, worker)?;
        let mut counter = EdgeCounter::new(range, steps, over_time);
        workers.iter().for_each(|worker| counter.merge(&worker.0));
        Ok((counter, partial))
    }
}

/// Counts edges in one thread.
struct Edges(EdgeCounter);

impl TraceFold for Edges {
    fn add(&mut self, spans: &[MeshSpan]) {
        self.0.add(spans);
    }
}

/// The spans of a trace; those that cannot be read are left out.
pub(super) fn read(spans: TraceSpans) -> Result<Vec<MeshSpan>, ReadError> {
    let mut read = Vec::new();
    for stored in spans {
        let stored = stored?;
        match MeshSpan::read(&stored.resource, &stored.span) {
            Ok(span) => read.push(span),
            Err(error) => tracing::warn!(%error, "a stored span could not be read"),
        }
    }
    Ok(read)
}

// === impl Shown ===

impl Shown {
    fn edge(&self, (caller, callee): &(Party, Party), edge: &Edge, counted: &Counted) -> MeshEdge {
        MeshEdge {
            caller: party(caller, counted),
            callee: party(callee, counted),
            client: (&edge.client).into(),
            server: (&edge.server).into(),
            attempts: MeshAttempts {
                count: edge.attempts,
                most_of_one_request: edge.most_attempts,
                retried_request_count: edge.retried_requests,
                failed_over_request_count: edge.failed_over_requests,
                unseen_count: edge.unseen_attempts,
                requests_without_caller: edge.requests_without_caller,
                known_zones_count: edge.attempts_of_known_zones,
                cross_zone_count: edge.cross_zone_attempts,
            },
            subsets: edge.subsets.iter().map(subset).collect(),
            instances: edge.instances.iter().map(instance).collect(),
            versions: groups(&edge.by(|instance| instance.revision.as_ref())),
            zones: groups(&edge.by(|instance| instance.zone.as_ref())),
            balance: balance::of(edge, &self.weights),
            retries: retries::of(edge, self.steps, self.storm_threshold),
            timeline: (self.over_time == OverTime::Instances).then(|| self.timeline(edge)),
        }
    }

    fn timeline(&self, edge: &Edge) -> MeshTimeline {
        let Steps { start, step } = self.steps;
        let at = |number: u32| (start + u64::from(number) * step).to_string();
        let share = |(instance, count): (&String, u64)| MeshShare {
            instance: instance.clone(),
            zone: edge.instances.get(instance).and_then(|known| known.zone.clone()),
            attempt_count: count,
        };
        let point = |(step, counts): (&u32, &BTreeMap<String, u64>)| MeshPoint {
            start_unix_nano: at(*step),
            instances: counts.iter().map(|(instance, count)| share((instance, *count))).collect(),
        };
        let shift = |shift: &Shift| MeshShift {
            change: shift.change.name().into(),
            instance: shift.instance.clone(),
            start_unix_nano: at(shift.step),
            attempt_count: shift.share.0,
            attempt_count_of_all: shift.share.1,
            attempts_without: shift.without,
            settled: shift.is_settled,
            others: shift.others.iter().map(|(instance, count)| share((instance, *count))).collect(),
            text: shift.text(),
        };
        // The step in which spans may still be on their way, and those behind it.
        let unsettled = u32::try_from(self.settled.saturating_sub(start) / step).ok();
        MeshTimeline {
            step_nano: step,
            points: edge.timeline.steps().iter().map(point).collect(),
            shifts: edge.timeline.shifts(unsettled).iter().map(shift).collect(),
        }
    }
}

fn groups(groups: &BTreeMap<&str, Side>) -> Vec<MeshGroup> {
    groups.iter().map(|(name, seen)| MeshGroup { name: (*name).to_owned(), seen: seen.into() }).collect()
}

fn subset((subset, count): (&String, &u64)) -> MeshSubset {
    MeshSubset { subset: subset.clone(), request_count: *count }
}

fn instance((name, instance): (&String, &Instance)) -> MeshInstance {
    MeshInstance {
        instance: name.clone(),
        zone: instance.zone.clone(),
        revision: instance.revision.clone(),
        first_attempt_count: instance.first_attempts,
        retry_count: instance.retries,
        unordered_count: instance.unordered,
        seen: (&instance.seen).into(),
    }
}

fn flags(counts: &BTreeMap<String, u64>) -> Vec<MeshFlags> {
    let of = |(flags, count): (&String, &u64)| MeshFlags {
        flags: flags.clone(),
        request_count: *count,
        meanings: meanings(flags),
    };
    counts.iter().map(of).collect()
}

/// What the flags of a request mean, those that are known.
fn meanings(flags: &str) -> Vec<MeshMeaning> {
    let meaning = |flag: &spandrel_mesh::names::Flag| MeshMeaning {
        flag: flag.name.to_owned(),
        meaning: flag.meaning.into(),
        caused_by: flag.cause.name().into(),
    };
    flags.split(',').filter_map(flag_named).map(meaning).collect()
}

/// A side with the names under which its spans are stored.
fn party(party: &Party, counted: &Counted) -> MeshParty {
    let mut shown = MeshParty::from(party.clone());
    if let Party::Workload(workload) = party {
        shown.services = counted.services.get(workload).into_iter().flatten().cloned().collect();
    }
    shown
}

// === impl MeshParty ===

impl From<Party> for MeshParty {
    fn from(party: Party) -> Self {
        let (kind, name, namespace) = match party {
            Party::Workload(workload) => ("workload", workload.name, workload.namespace),
            Party::Address(address) => ("address", address, String::new()),
            Party::NoRoute => ("noRoute", String::new(), String::new()),
            Party::Unknown => ("unknown", String::new(), String::new()),
        };
        Self { kind: kind.into(), name, namespace, services: Vec::new() }
    }
}

// === impl MeshSide ===

impl From<&Side> for MeshSide {
    fn from(side: &Side) -> Self {
        let code = |(code, count): (&u16, &u64)| MeshCode { code: *code, request_count: *count };
        Self {
            request_count: side.requests,
            error_count: side.errors,
            client_error_count: side.client_errors,
            injected_count: side.injected,
            abandoned_count: side.abandoned,
            p50_nano: side.latency.quantile(0.5),
            p95_nano: side.latency.quantile(0.95),
            p99_nano: side.latency.quantile(0.99),
            codes: side.codes.iter().map(code).collect(),
            flags: flags(&side.flags),
        }
    }
}
