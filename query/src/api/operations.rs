//! `GET /api/v1/operations`: every operation with its share of time and of errors; and how one span compares with those
//! of its operation.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use spandrel_engine::Budget;
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{SpanId, TenantId, TimeRange, TraceId};
use spandrel_storage::plan::{AggregatePlan, GroupBy, KindFilter, Stop};
use spandrel_storage::{AggregateAnswer, Point, ReadError, Series, TraceStore};

use super::aggregates::{KINDS, aggregate};
use super::fold::fold;
use super::handler::{Answer, Asked, json};
use crate::answers::{OperationStats, OperationTable, SpanPercentile};
use crate::assemble::{Shown, assemble};
use crate::params::Params;
use crate::problem::Problem;
use crate::question;
use crate::times;

const PARAMETERS: [&str; 5] = ["service", "kind", "start", "end", "fold"];
const SPAN_PARAMETERS: [&str; 2] = ["start", "end"];

pub(super) async fn table(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let plan = AggregatePlan {
        service: params.text("service").map(str::to_owned),
        kind: params.choice("kind", KindFilter::Requests, &KINDS)?,
        ..whole(range)
    };
    let fold = fold(&params)?;
    let table = question::run(&state, move |store, budget| {
        let plan = AggregatePlan { stop: budget.stop_signal(), ..plan };
        let answer = aggregate(store, &tenant, &plan, fold, budget)?;
        let partial_reason = question::reason(budget.why_partial(answer.partial));
        Ok(OperationTable { partial_reason, ..operation_table(&answer) })
    })
    .await?;
    json(&table)
}

pub(super) async fn percentile(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answer {
    let params = Params::parse(&uri, &SPAN_PARAMETERS)?;
    let Path((trace, span)) = path.map_err(|error| Problem::parameter("traceId", error.body_text()))?;
    let trace: TraceId = trace.parse().map_err(|error| Problem::parameter("traceId", error))?;
    let span: SpanId = span.parse().map_err(|error| Problem::parameter("spanId", error))?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let (span, like_it) = state.run_query(move |store| find_span(store, &tenant, trace, span, range)).await?;
    json(&question::run(&state, move |store, budget| Ok(compare(store, budget, &span, like_it)?)).await?)
}

/// One point for the whole range, for each operation and kind.
fn whole(range: TimeRange) -> AggregatePlan {
    AggregatePlan {
        service: None,
        operation: None,
        kind: KindFilter::Any,
        group_by: GroupBy { service: true, operation: true, kind: true },
        range,
        step: u64::MAX / MINUTE * MINUTE,
        max_points: 1,
        stop: Stop::default(),
    }
}

/// Steps of whole minutes are answered from sums.
const MINUTE: u64 = 60_000_000_000;

fn operation_table(answer: &AggregateAnswer) -> OperationTable {
    let points = || answer.series.iter().flat_map(|series| &series.points);
    let time: f64 = points().map(|point| point.latency.total()).sum();
    let errors: u64 = points().map(|point| point.error_count).sum();
    let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
    let stats = |series: &Series, point: &Point| {
        let total = point.latency.total();
        OperationStats {
            service: series.service.clone().unwrap_or_default(),
            name: series.operation.clone().unwrap_or_default(),
            kind: series.kind.map(|kind| kind.name()).unwrap_or_default().into(),
            request_count: point.request_count,
            error_count: point.error_count,
            error_rate: share(point.error_count as f64, point.request_count as f64),
            time_share: share(total, time),
            error_share: share(point.error_count as f64, errors as f64),
            total_nano: total as u64,
            p50_nano: point.latency.quantile(0.5),
            p95_nano: point.latency.quantile(0.95),
            p99_nano: point.latency.quantile(0.99),
            max_nano: point.latency.max(),
            exemplar_trace_ids: point.worst.iter().map(|span| span.trace.to_string()).collect(),
        }
    };
    let of_series = |series: &Series| {
        let point = series.points.first().filter(|point| point.request_count > 0)?;
        Some(stats(series, point))
    };
    let mut operations: Vec<OperationStats> = answer.series.iter().filter_map(of_series).collect();
    operations.sort_by(|a, b| b.time_share.total_cmp(&a.time_share));
    OperationTable { operations, estimated: answer.estimated, partial: answer.partial, partial_reason: None }
}

/// A span that is compared with those of the same service, name and kind.
struct Compared {
    tenant: TenantId,
    service: String,
    name: String,
    kind: SpanKind,
    duration: u64,
}

/// Finds a span, and the aggregate over those that it is compared with.
fn find_span(
    store: &dyn TraceStore,
    tenant: &TenantId,
    trace: TraceId,
    span: SpanId,
    range: TimeRange,
) -> Result<(Compared, AggregatePlan), Problem> {
    let not_found = || Problem::not_found(format!("span {span} of trace {trace} is not stored here"));
    let spans = store.trace(tenant, trace)?.ok_or_else(not_found)?;
    let damage = spans.damage();
    let assembled = assemble(spans, &damage, Shown::All)?.ok_or_else(not_found)?;
    let span = assembled.spans.iter().find(|known| known.id == span).ok_or_else(not_found)?;
    let view = spandrel_proto::otlp::SpanView::parse(&span.message)
        .map_err(|error| Problem::unreadable(error.to_string()))?;
    let compared = Compared {
        tenant: tenant.clone(),
        service: assembled.resource_of(span).service.clone(),
        name: view.name.to_owned(),
        kind: span.kind,
        duration: span.duration(),
    };
    let plan = AggregatePlan {
        service: Some(compared.service.clone()),
        operation: Some(compared.name.clone()),
        kind: KindFilter::Only(compared.kind),
        ..whole(range)
    };
    Ok((compared, plan))
}

fn compare(
    store: &dyn TraceStore,
    budget: &Budget,
    span: &Compared,
    plan: AggregatePlan,
) -> Result<SpanPercentile, ReadError> {
    let answer = store.aggregate(&span.tenant, &AggregatePlan { stop: budget.stop_signal(), ..plan })?;
    let latency = answer.series.first().and_then(|series| series.points.first()).map(|point| &point.latency);
    let latency = latency.cloned().unwrap_or_default();
    Ok(SpanPercentile {
        service: span.service.clone(),
        name: span.name.clone(),
        kind: span.kind.name().into(),
        duration_nano: span.duration,
        slower_than: latency.share_below(span.duration),
        span_count: latency.count(),
        p50_nano: latency.quantile(0.5),
        p95_nano: latency.quantile(0.95),
        p99_nano: latency.quantile(0.99),
        max_nano: latency.max(),
        partial: answer.partial,
        partial_reason: question::reason(budget.why_partial(answer.partial)),
    })
}
