//! `GET /api/v1/aggregates`: requests, errors and latencies over time.

use axum::http::Uri;
use spandrel_engine::{Budget, QueryError, requests};
use spandrel_proto::TenantId;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::plan::{AggregatePlan, GroupBy, KindFilter, Stop};
use spandrel_storage::{AggregateAnswer, TraceStore};

use super::fold::{Fold, fold};
use super::handler::{Answer, Asked, json};
use super::step::step;
use crate::answers::{AggregatesAnswer, Labels, Point, Series};
use crate::params::Params;
use crate::problem::Problem;
use crate::question;
use crate::times;

const PARAMETERS: [&str; 8] = ["service", "operation", "kind", "groupBy", "start", "end", "step", "fold"];

pub(super) const KINDS: [(&str, KindFilter); 7] = [
    ("any", KindFilter::Any),
    ("server", KindFilter::Only(SpanKind::Server)),
    ("client", KindFilter::Only(SpanKind::Client)),
    ("producer", KindFilter::Only(SpanKind::Producer)),
    ("consumer", KindFilter::Only(SpanKind::Consumer)),
    ("internal", KindFilter::Only(SpanKind::Internal)),
    ("unspecified", KindFilter::Only(SpanKind::Unspecified)),
];

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let now = state.now();
    let range = times::range(params.text("start"), params.text("end"), now)?;
    let max_points = state.config().max_aggregate_points;
    // Without an end the width counts up to now. Spans that start later, from clocks that run ahead, get points of
    // their own and must not decide the step of all others.
    let width = range.end.unwrap_or(now).since(range.start);
    let mut plan = AggregatePlan {
        service: params.text("service").map(str::to_owned),
        operation: params.text("operation").map(str::to_owned),
        kind: params.choice("kind", KindFilter::Requests, &KINDS)?,
        group_by: group_by(params.text("groupBy").unwrap_or_default())?,
        range,
        step: step(params.text("step"), width, max_points, "maxAggregatePoints")?,
        // A range whose start is no multiple of the step touches one point more.
        max_points: usize::try_from(max_points).unwrap_or(usize::MAX).saturating_add(1),
        stop: Stop::default(),
    };
    let step_nano = plan.step;
    let fold = fold(&params)?;
    let (answer, reason) = question::run(&state, move |store, budget| {
        plan.stop = budget.stop_signal();
        let answer = aggregate(store, &tenant, &plan, fold, budget)?;
        let reason = question::reason(budget.why_partial(answer.partial));
        Ok((answer, reason))
    })
    .await?;
    json(&AggregatesAnswer {
        step_nano,
        series: answer.series.into_iter().map(Series::from).collect(),
        estimated: answer.estimated,
        partial: answer.partial,
        partial_reason: reason,
    })
}

/// What a plan asks for, each request once where spans are folded.
pub(super) fn aggregate(
    store: &dyn TraceStore,
    tenant: &TenantId,
    plan: &AggregatePlan,
    fold: Fold,
    budget: &Budget,
) -> Result<AggregateAnswer, QueryError> {
    Ok(match fold {
        Fold::Nothing => store.aggregate(tenant, plan)?,
        Fold::Mesh => requests::requests(store, tenant, plan, budget)?.0,
    })
}

fn group_by(text: &str) -> Result<GroupBy, Problem> {
    let mut group_by = GroupBy::default();
    for word in text.split(',').map(|word| word.trim_matches(' ')).filter(|word| !word.is_empty()) {
        match word {
            "service" => group_by.service = true,
            "operation" => group_by.operation = true,
            "kind" => group_by.kind = true,
            other => {
                let allowed = "service, operation and kind, separated by commas";
                return Err(Problem::parameter("groupBy", format!("{other:?} is not one of {allowed}"))
                    .allowing(allowed));
            }
        }
    }
    Ok(group_by)
}

// === impl Series, Point ===

impl From<spandrel_storage::Series> for Series {
    fn from(series: spandrel_storage::Series) -> Self {
        Self {
            labels: Labels {
                service: series.service,
                operation: series.operation,
                kind: series.kind.map(|kind| kind.name().into()),
            },
            points: series.points.iter().filter(|point| point.request_count > 0).map(Point::from).collect(),
        }
    }
}

impl From<&spandrel_storage::Point> for Point {
    fn from(point: &spandrel_storage::Point) -> Self {
        let error_rate = point.error_count as f64 / point.request_count as f64;
        let quantile = |q| point.latency.quantile(q);
        Self {
            time_unix_nano: point.time.to_string(),
            request_count: point.request_count,
            error_count: point.error_count,
            error_rate,
            success_rate: 1.0 - error_rate,
            p50_nano: quantile(0.5),
            p75_nano: quantile(0.75),
            p90_nano: quantile(0.9),
            p95_nano: quantile(0.95),
            p99_nano: quantile(0.99),
            max_nano: point.latency.max(),
            exemplar_trace_ids: point.worst.iter().map(|span| span.trace.to_string()).collect(),
        }
    }
}
