//! `GET /api/v1/traces/{traceId}/hops`: one trace as the requests between workloads, each with its attempts, where its
//! time went, and what became of it in words.

use std::collections::HashSet;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use spandrel_engine::{Budget, QueryError};
use spandrel_mesh::explain::{Attempt, Explained, explain};
use spandrel_mesh::facts::Role;
use spandrel_mesh::outcome::Outcome;
use spandrel_mesh::span::MeshSpan;
use spandrel_proto::{AnsweredTraces, SpanId, TenantId, TraceId};
use spandrel_storage::TraceStore;

use super::meanings;
use crate::answers::{MeshAttempt, MeshHop, MeshHopsAnswer, MeshOutcome, MeshPart};
use crate::api::handler::{Answer, Asked, json, part};
use crate::params::Params;
use crate::problem::Problem;
use crate::question;

/// Bytes that memory takes for a span, about.
const SPAN_BYTES: usize = 1_024;

pub(in crate::api) async fn get(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Params::parse(&uri, &[])?;
    let id =
        part("traceId", path)?.parse::<TraceId>().map_err(|error| Problem::parameter("traceId", error))?;
    let answer = question::run(&state, move |store, budget| answer(store, budget, &tenant, id)).await?;
    let mut response = json(&answer.ok_or_else(|| crate::api::trace::unknown(id))?)?;
    response.extensions_mut().insert(AnsweredTraces(1));
    Ok(response)
}

fn answer(
    store: &dyn TraceStore,
    budget: &Budget,
    tenant: &TenantId,
    id: TraceId,
) -> Result<Option<MeshHopsAnswer>, QueryError> {
    let Some(stored) = store.trace(tenant, id)? else { return Ok(None) };
    let damage = stored.damage();
    let mut spans = Vec::new();
    for span in stored {
        let span = span?;
        if !budget.take(SPAN_BYTES) || !budget.allows() {
            break;
        }
        match MeshSpan::read(&span.resource, &span.span) {
            Ok(span) => spans.push(span),
            Err(error) => tracing::warn!(%error, "a stored span could not be read"),
        }
    }
    let why = budget.why_partial(damage.blocks() > 0);
    Ok(Some(MeshHopsAnswer {
        trace_id: id.to_string(),
        proxy_span_count: spans.iter().filter(|span| span.facts.role != Role::App).count() as u64,
        hops: explain(&spans).iter().map(hop).collect(),
        partial: why.is_some(),
        partial_reason: question::reason(why),
    }))
}

fn hop(hop: &Explained<'_>) -> MeshHop {
    let (caller, callee) = hop.parties();
    let told_by = hop.told_by();
    let mut seen = HashSet::new();
    let span_ids: Vec<String> =
        hop.spans().filter(|span| seen.insert(span.id)).map(|span| span.id.to_string()).collect();
    MeshHop {
        caller: caller.into(),
        callee: callee.into(),
        inside: hop.inside.map(|outer| outer as u64),
        start_unix_nano: told_by.map_or(0, |span| span.start).to_string(),
        duration_nano: told_by.map_or(0, |span| span.duration),
        outcome: outcome(told_by),
        told_by: if hop.hop.caller.is_some() { "caller".into() } else { "callee".into() },
        attempt_count: hop.hop.attempt_count() as u64,
        unseen_attempt_count: hop.unseen() as u64,
        attempts: hop.attempts.iter().map(attempt).collect(),
        times: hop
            .times
            .iter()
            .map(|(part, nanos)| MeshPart { part: part.name().into(), duration_nano: *nanos })
            .collect(),
        story: hop.story(),
        span_ids,
    }
}

fn attempt(attempt: &Attempt<'_>) -> MeshAttempt {
    let id = |span: Option<&MeshSpan>| span.map(|span| SpanId::to_string(&span.id));
    let either = attempt.either();
    MeshAttempt {
        made_span_id: id(attempt.made),
        reached_span_id: id(attempt.reached),
        instance: attempt.instance().map(str::to_owned),
        zone: attempt.reached.and_then(|reached| reached.facts.zone.clone()),
        start_unix_nano: either.map_or(0, |span| span.start).to_string(),
        duration_nano: either.map_or(0, |span| span.duration),
        outcome: outcome(either),
    }
}

fn outcome(span: Option<&MeshSpan>) -> MeshOutcome {
    let outcome = span.map_or_else(Outcome::default, |span| span.facts.outcome.clone());
    MeshOutcome {
        code: outcome.code,
        grpc_code: outcome.grpc_code,
        class: outcome.class().name().into(),
        meanings: meanings(&outcome.flags),
        flags: outcome.flags,
    }
}
