//! `GET /api/v1/operations`: every operation with its share of time and of errors; and how one span compares with those
//! of its operation.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use spandrel_proto::{SpanId, TenantId, TimeRange, TraceId};
use spandrel_storage::plan::{AggregatePlan, GroupBy, KindFilter};
use spandrel_storage::{AggregateAnswer, Point, Series, TraceStore};

use super::aggregates::KINDS;
use super::handler::{Answer, Tenant, json};
use crate::answers::{OperationStats, OperationTable, SpanPercentile};
use crate::assemble::assemble;
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::times;

const PARAMETERS: [&str; 4] = ["service", "kind", "start", "end"];
const SPAN_PARAMETERS: [&str; 2] = ["start", "end"];

pub(super) async fn table(State(state): State<QueryState>, Tenant(tenant): Tenant, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let plan = AggregatePlan {
        service: params.text("service").map(str::to_owned),
        kind: params.choice("kind", KindFilter::Requests, &KINDS)?,
        ..whole(range)
    };
    let answer = state.run_query(move |store| Ok(store.aggregate(&tenant, &plan)?)).await?;
    json(&operation_table(&answer))
}

pub(super) async fn percentile(
    State(state): State<QueryState>,
    Tenant(tenant): Tenant,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answer {
    let params = Params::parse(&uri, &SPAN_PARAMETERS)?;
    let Path((trace, span)) = path.map_err(|error| Problem::parameter("traceId", error.body_text()))?;
    let trace: TraceId = trace.parse().map_err(|error| Problem::parameter("traceId", error))?;
    let span: SpanId = span.parse().map_err(|error| Problem::parameter("spanId", error))?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    json(&state.run_query(move |store| compare_span(store, &tenant, trace, span, range)).await?)
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
    OperationTable { operations, estimated: answer.estimated, partial: answer.partial }
}

/// Compares a span with those of the same service, name and kind.
fn compare_span(
    store: &dyn TraceStore,
    tenant: &TenantId,
    trace: TraceId,
    span: SpanId,
    range: TimeRange,
) -> Result<SpanPercentile, Problem> {
    let not_found = || Problem::not_found(format!("span {span} of trace {trace} is not stored here"));
    let spans = store.trace(tenant, trace)?.ok_or_else(not_found)?;
    let damage = spans.damage();
    let assembled = assemble(spans, &damage)?.ok_or_else(not_found)?;
    let span = assembled.spans.iter().find(|known| known.id == span).ok_or_else(not_found)?;
    let view = spandrel_proto::otlp::SpanView::parse(&span.message)
        .map_err(|error| Problem::unreadable(error.to_string()))?;
    let plan = AggregatePlan {
        service: Some(assembled.resource_of(span).service.clone()),
        operation: Some(view.name.to_owned()),
        kind: KindFilter::Only(span.kind),
        ..whole(range)
    };
    let answer = store.aggregate(tenant, &plan)?;
    let latency = answer.series.first().and_then(|series| series.points.first()).map(|point| &point.latency);
    let latency = latency.cloned().unwrap_or_default();
    Ok(SpanPercentile {
        service: plan.service.unwrap_or_default(),
        name: view.name.to_owned(),
        kind: span.kind.name().into(),
        duration_nano: span.duration(),
        slower_than: latency.share_below(span.duration()),
        span_count: latency.count(),
        p50_nano: latency.quantile(0.5),
        p95_nano: latency.quantile(0.95),
        p99_nano: latency.quantile(0.99),
        max_nano: latency.max(),
    })
}
