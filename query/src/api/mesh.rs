//! `GET /api/v1/mesh/edges`: what the proxies of a mesh saw of the calls between workloads. `mesh/hops.rs` has those of
//! one trace.

use std::collections::BTreeMap;

use axum::http::Uri;
use spandrel_engine::{Budget, QueryError};
use spandrel_mesh::balance::Verdict;
use spandrel_mesh::edges::{Edge, EdgeCounter, Instance, Party, Side, Steps};
use spandrel_mesh::names::{flag_named, keys};
use spandrel_mesh::span::MeshSpan;
use spandrel_mesh::timeline::Shift;
use spandrel_proto::TenantId;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{ReadError, TraceSpans, TraceStore};

use super::handler::{Answer, Asked, json};
use super::step::step;
use crate::answers::{
    MeshAttempts, MeshBalance, MeshCode, MeshEdge, MeshEdgesAnswer, MeshFlags, MeshInstance, MeshMeaning,
    MeshParty, MeshPoint, MeshShare, MeshShift, MeshSide, MeshSubset, MeshTimeline,
};
use crate::params::Params;
use crate::problem::Problem;
use crate::{question, times};

const PARAMETERS: [&str; 4] = ["q", "start", "end", "step"];

mod hops;

pub(super) use hops::get as hops;

pub(super) async fn edges(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let everything = format!("{{ span.{} = \"proxy\" }}", keys::COMPONENT);
    let predicate = question::predicate(params.text("q").unwrap_or(&everything))
        .map_err(|error| Problem::parameter("q", error))?;
    let now = state.now();
    let range = times::range(params.text("start"), params.text("end"), now)?;
    let width = range.end.unwrap_or(now).since(range.start);
    let steps = match params.text("step") {
        Some(text) => {
            let step = step(Some(text), width, state.config().max_aggregate_points, "maxAggregatePoints")?;
            Some(Steps { start: range.start.0, step })
        }
        None => None,
    };
    let plan = ScanPlan { predicate, range };
    json(&question::run(&state, move |store, budget| answer(store, budget, &tenant, &plan, steps)).await?)
}

fn answer(
    store: &dyn TraceStore,
    budget: &Budget,
    tenant: &TenantId,
    plan: &ScanPlan,
    steps: Option<Steps>,
) -> Result<MeshEdgesAnswer, QueryError> {
    let mut counter = steps.map_or_else(EdgeCounter::default, EdgeCounter::over_time);
    let mut scan = store.scan(tenant, plan)?;
    let known_damage = scan.damaged_blocks > 0;
    while budget.allows()
        && let Some(trace) = scan.next()
    {
        let (_, spans) = trace?;
        counter.add(&read(spans)?);
    }
    let partial = known_damage || counter.left_out() || scan.damage().blocks() > 0;
    let why = budget.why_partial(partial);
    let proxy_span_count = counter.proxy_spans();
    let edges = counter.finish().into_iter().map(|(parties, edge)| shown(parties, &edge, steps)).collect();
    Ok(MeshEdgesAnswer {
        edges,
        proxy_span_count,
        partial: why.is_some(),
        partial_reason: question::reason(why),
    })
}

/// The spans of a trace; those that cannot be read are left out.
fn read(spans: TraceSpans) -> Result<Vec<MeshSpan>, ReadError> {
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

fn shown((caller, callee): (Party, Party), edge: &Edge, steps: Option<Steps>) -> MeshEdge {
    MeshEdge {
        caller: caller.into(),
        callee: callee.into(),
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
        balance: balance(edge),
        timeline: steps.map(|steps| timeline(edge, steps)),
    }
}

fn timeline(edge: &Edge, steps: Steps) -> MeshTimeline {
    let at = |step: u32| (steps.start + u64::from(step) * steps.step).to_string();
    let share = |(instance, count): (&String, u64)| MeshShare {
        instance: instance.clone(),
        zone: edge.instances.get(instance).and_then(|known| known.zone.clone()),
        attempt_count: count,
    };
    let point = |(step, counts): (u32, &BTreeMap<String, u64>)| MeshPoint {
        start_unix_nano: at(step),
        instances: counts.iter().map(|(instance, count)| share((instance, *count))).collect(),
    };
    let shift = |shift: &Shift| MeshShift {
        change: shift.change.name().into(),
        instance: shift.instance.clone(),
        start_unix_nano: at(shift.step),
        attempt_count: shift.share.0,
        attempt_count_of_all: shift.share.1,
        attempts_without: shift.without,
        others: shift.others.iter().map(|(instance, count)| share((instance, *count))).collect(),
        text: shift.text(),
    };
    MeshTimeline {
        step_nano: steps.step,
        points: edge.timeline.steps().map(point).collect(),
        shifts: edge.timeline.shifts().iter().map(shift).collect(),
    }
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

fn balance(edge: &Edge) -> MeshBalance {
    let first_attempts: u64 = edge.instances.values().map(|instance| instance.first_attempts).sum();
    let verdict = edge.balance();
    let (word, text) = match verdict {
        Verdict::OneInstance => ("oneInstance", "there are no two instances to balance".to_owned()),
        Verdict::TooFew { needed } => {
            ("tooFew", format!("too few to tell: {first_attempts} first attempts, {needed} are needed"))
        }
        Verdict::Agrees(policy) => {
            ("agrees", format!("{first_attempts} first attempts agree with {}", policy.words()))
        }
        Verdict::Uneven { instance, times } => {
            let name = edge.instances.keys().nth(instance).map_or("", |name| name);
            (
                "uneven",
                format!("{name} gets {times:.1} times its equal share of {first_attempts} first attempts"),
            )
        }
    };
    let policy = match verdict {
        Verdict::Agrees(policy) => Some(policy.name().into()),
        _ => None,
    };
    MeshBalance { verdict: word.into(), policy, text }
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

// === impl MeshParty ===

impl From<Party> for MeshParty {
    fn from(party: Party) -> Self {
        let (kind, name, namespace) = match party {
            Party::Workload(workload) => ("workload", workload.name, workload.namespace),
            Party::Address(address) => ("address", address, String::new()),
            Party::NoRoute => ("noRoute", String::new(), String::new()),
            Party::Unknown => ("unknown", String::new(), String::new()),
        };
        Self { kind: kind.into(), name, namespace }
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
