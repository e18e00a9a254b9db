//! `GET /api/v1/aggregates`: requests, errors and latencies over time.

use axum::extract::State;
use axum::http::Uri;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::plan::{AggregatePlan, GroupBy, KindFilter};

use super::handler::{Answer, Tenant, json};
use crate::answers::{AggregatesAnswer, Labels, Point, Series};
use crate::duration::{self, SECOND, parse_duration};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::times;

const PARAMETERS: [&str; 7] = ["service", "operation", "kind", "groupBy", "start", "end", "step"];

const KINDS: [(&str, KindFilter); 7] = [
    ("any", KindFilter::Any),
    ("server", KindFilter::Only(SpanKind::Server)),
    ("client", KindFilter::Only(SpanKind::Client)),
    ("producer", KindFilter::Only(SpanKind::Producer)),
    ("consumer", KindFilter::Only(SpanKind::Consumer)),
    ("internal", KindFilter::Only(SpanKind::Internal)),
    ("unspecified", KindFilter::Only(SpanKind::Unspecified)),
];

/// A query that names no step gets about this many points.
const USUAL_POINTS: u64 = 60;

/// Steps that are easy to read on an axis, in seconds. Longer steps are whole days.
const USUAL_STEPS: [u64; 11] = [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200];

const DAY: u64 = 86_400 * SECOND;

pub(super) async fn get(State(state): State<QueryState>, Tenant(tenant): Tenant, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let now = state.now();
    let range = times::range(params.text("start"), params.text("end"), now)?;
    let max_points = state.config().max_aggregate_points;
    // Without an end the width counts up to now. Spans that start later, from clocks that run ahead, get points of
    // their own and must not decide the step of all others.
    let width = range.end.unwrap_or(now).since(range.start);
    let plan = AggregatePlan {
        service: params.text("service").map(str::to_owned),
        operation: params.text("operation").map(str::to_owned),
        kind: params.choice("kind", KindFilter::Requests, &KINDS)?,
        group_by: group_by(params.text("groupBy").unwrap_or_default())?,
        range,
        step: step(params.text("step"), width, max_points)?,
        // A range whose start is no multiple of the step touches one point more.
        max_points: usize::try_from(max_points).unwrap_or(usize::MAX).saturating_add(1),
    };
    let step_nano = plan.step;
    let answer = state.run_query(move |store| Ok(store.aggregate(&tenant, &plan)?)).await?;
    json(&AggregatesAnswer {
        step_nano,
        series: answer.series.into_iter().map(Series::from).collect(),
        estimated: answer.estimated,
        partial: answer.partial,
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

fn step(text: Option<&str>, width: u64, max_points: u64) -> Result<u64, Problem> {
    let Some(text) = text else { return Ok(usual_step(width, max_points)) };
    let seconds = text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(SECOND));
    let Some(step) = seconds.or_else(|| parse_duration(text)).filter(|step| *step > 0) else {
        let allowed = format!("whole seconds, or {}", duration::ALLOWED);
        return Err(Problem::parameter("step", format!("{text:?} is not a step; allowed: {allowed}"))
            .allowing(allowed));
    };
    if width / step > max_points {
        let least = width.div_ceil(max_points).div_ceil(SECOND);
        let detail = format!(
            "the range would have more than {max_points} points (maxAggregatePoints); \
             use a step of {least}s or more, or a shorter range"
        );
        return Err(Problem::parameter("step", detail));
    }
    Ok(step)
}

/// The first usual step that covers the range with at most sixty points, or fewer if the limit is lower.
fn usual_step(width: u64, max_points: u64) -> u64 {
    let least = width.div_ceil(USUAL_POINTS.min(max_points).max(1));
    let usual = USUAL_STEPS.iter().map(|seconds| seconds * SECOND).find(|step| *step >= least);
    usual.unwrap_or_else(|| least.div_ceil(DAY) * DAY)
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600 * SECOND;

    #[test]
    fn the_usual_step_gives_about_sixty_points() {
        let check = |seconds: u64, step: u64| {
            assert_eq!(usual_step(seconds * SECOND, 100), step * SECOND, "{seconds}")
        };
        check(0, 60);
        check(900, 60);
        check(3_600, 60);
        check(3_601, 120);
        check(86_400, 1_800);
        check(604_800, 10_800);
        check(365 * 86_400, 7 * 86_400);
        assert!(usual_step(u64::MAX, 100) >= u64::MAX / USUAL_POINTS);
        assert_eq!(usual_step(3_600 * SECOND, 10), 600 * SECOND);
    }

    #[test]
    fn steps_are_positive_and_not_too_many() {
        let check = |text, nanos| assert_eq!(step(Some(text), HOUR, 100).ok(), nanos, "{text}");
        check("60", Some(60 * SECOND));
        check("60s", Some(60 * SECOND));
        check("5m", Some(300 * SECOND));
        check("36s", Some(36 * SECOND));
        check("35s", None);
        check("0", None);
        check("-1", None);
        check("x", None);
        assert!(step(Some("1s"), HOUR, 100).unwrap_err().detail().contains("a step of 36s"));
    }
}
