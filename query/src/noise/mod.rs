//! What takes the room, and what of it is noise: operations that repeat without meaning, names that are all different,
//! attributes that are all alike, and personal data; for each the rule that would remove it.
//!
//! Spans are read by a scan, through the view of the caller, so that nothing hidden is told. Everything is counted in
//! bytes of OTLP, as spans were sent. What is remembered is charged to the budget of the question. Rules are written as
//! text: this crate does not know the engine that applies them, and tests that know both compare them.

mod findings;
mod names;
mod rules;
mod tally;

use std::collections::BTreeMap;

use spandrel_engine::{Budget, QueryError};
use spandrel_proto::TenantId;
use spandrel_storage::TraceStore;
use spandrel_storage::plan::ScanPlan;

use self::tally::{Level, Service, Tally};
use crate::answers::{NoiseAnswer, NoiseAttribute, NoiseOperation, NoiseService};
use crate::question;

/// Spans that are looked at, unless a request says otherwise, and at the most.
pub(crate) const USUAL_SPANS: u64 = 200_000;
pub(crate) const MAX_SPANS: u64 = 2_000_000;
/// Services, operations and attributes that an answer lists.
const LISTED: usize = 20;
/// Findings of an answer.
const MAX_FINDINGS: usize = 100;
/// Spans between two looks at the clock.
const CLOCK_SPANS: u64 = 64;

/// Looks at the first spans of a scan.
pub(crate) fn report(
    store: &dyn TraceStore,
    tenant: &TenantId,
    plan: &ScanPlan,
    budget: &Budget,
    most: u64,
) -> Result<NoiseAnswer, QueryError> {
    let mut tally = Tally::default();
    let sampled = read(store, tenant, plan, budget, most, &mut tally)?;
    let partial_reason = question::reason(budget.why_partial(tally.unreadable > 0));
    let mut found = findings::of(&tally);
    let more_findings = found.len().saturating_sub(MAX_FINDINGS) as u64;
    found.truncate(MAX_FINDINGS);
    Ok(NoiseAnswer {
        trace_count: tally.traces,
        span_count: tally.spans,
        bytes: tally.bytes,
        sampled,
        services: services(&tally),
        operations: operations(&tally),
        attributes: attributes(&tally),
        findings: found,
        more_findings,
        partial: partial_reason.is_some(),
        partial_reason,
    })
}

/// Whether there were more spans.
fn read(
    store: &dyn TraceStore,
    tenant: &TenantId,
    plan: &ScanPlan,
    budget: &Budget,
    most: u64,
    tally: &mut Tally,
) -> Result<bool, QueryError> {
    if !budget.allows() {
        return Ok(false);
    }
    for trace in store.scan(tenant, plan)? {
        let (_, spans) = trace?;
        tally.begin_trace();
        for span in spans {
            if tally.spans >= most {
                tally.end_trace();
                return Ok(true);
            }
            tally.add(&span?, |bytes| budget.take(bytes));
            if tally.spans.is_multiple_of(CLOCK_SPANS) && !budget.allows() {
                tally.end_trace();
                return Ok(false);
            }
        }
        tally.end_trace();
    }
    Ok(false)
}

// === what takes the room ===

fn share(bytes: u64, tally: &Tally) -> f64 {
    if tally.bytes == 0 { 0.0 } else { bytes as f64 / tally.bytes as f64 }
}

/// Those that take the most room.
fn largest<T>(mut all: Vec<T>, bytes: impl Fn(&T) -> u64) -> Vec<T> {
    all.sort_by_key(|one| std::cmp::Reverse(bytes(one)));
    all.truncate(LISTED);
    all
}

fn services(tally: &Tally) -> Vec<NoiseService> {
    let one = |(name, service): (&String, &Service)| NoiseService {
        service: name.clone(),
        span_count: service.spans,
        bytes: service.bytes,
        byte_share: share(service.bytes, tally),
    };
    largest(tally.services.iter().map(one).collect(), |service| service.bytes)
}

fn operations(tally: &Tally) -> Vec<NoiseOperation> {
    let mut all = Vec::new();
    for (name, service) in &tally.services {
        // Probes of one operation are told apart by their paths.
        let mut joined: BTreeMap<_, [u64; 3]> = BTreeMap::new();
        for (key, operation) in &service.operations {
            let sum = joined.entry((&key.name, key.kind)).or_default();
            let more = [operation.spans, operation.errors, operation.bytes];
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        all.extend(joined.into_iter().map(|((operation, kind), [spans, errors, bytes])| NoiseOperation {
            service: name.clone(),
            name: operation.clone(),
            kind: kind.name().into(),
            span_count: spans,
            error_count: errors,
            bytes,
            byte_share: share(bytes, tally),
        }));
    }
    largest(all, |operation| operation.bytes)
}

fn attributes(tally: &Tally) -> Vec<NoiseAttribute> {
    let mut joined: BTreeMap<(Level, &str), [u64; 2]> = BTreeMap::new();
    for service in tally.services.values() {
        for ((level, key), attribute) in &service.attributes {
            let sum = joined.entry((*level, key)).or_default();
            (sum[0], sum[1]) = (sum[0] + attribute.values, sum[1] + attribute.bytes);
        }
    }
    let one = |((level, key), [values, bytes]): ((Level, &str), [u64; 2])| NoiseAttribute {
        name: level.named(key),
        span_count: values,
        bytes,
        byte_share: share(bytes, tally),
    };
    largest(joined.into_iter().map(one).collect(), |attribute| attribute.bytes)
}

#[cfg(test)]
mod tests;
