//! `GET /api/v1/metrics`: series that a TraceQL query makes; `GET /api/v1/histogram`: latencies as a heatmap.

use axum::http::Uri;
use spandrel_engine::metrics::{self, Exemplar, MetricsPlan, Series};
use spandrel_proto::{TimeRange, UnixNanos};
use spandrel_traceql::ast::{Field, FieldExpr, FieldName, Intrinsic, Metrics, MetricsFunction};

use super::handler::{Answer, Asked, json};
use super::step::step;
use crate::answers::{
    HistogramAnswer, HistogramBucket, MetricsAnswer, MetricsExemplar, MetricsPoint, MetricsSeries,
};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::{question, times};

const PARAMETERS: [&str; 5] = ["q", "start", "end", "step", "exemplars"];
const HISTOGRAM_PARAMETERS: [&str; 4] = ["q", "start", "end", "step"];

/// The most exemplars of each series.
const MAX_EXEMPLARS: usize = 1_000;

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let (query, hinted) = question::series(&params, "q")?;
    let (range, step) = range_and_step(&params, &state)?;
    let exemplars = params.number("exemplars", hinted.unwrap_or(0), 0, MAX_EXEMPLARS)?.min(MAX_EXEMPLARS);
    let answer = question::run(&state, move |store, budget| {
        let plan = MetricsPlan { query: &query, range, step, exemplars };
        metrics::metrics(store, &tenant, &plan, budget)
    });
    let answer = answer.await?;
    let series = |series: &Series| MetricsSeries {
        labels: question::object(&series.labels),
        points: points(&answer.times, &series.values),
        exemplars: series.exemplars.iter().map(MetricsExemplar::from).collect(),
    };
    json(&MetricsAnswer {
        step_nano: step,
        series: answer.series.iter().map(series).collect(),
        estimated: answer.estimated,
        partial: answer.partial.is_some(),
        partial_reason: question::reason(answer.partial),
    })
}

pub(super) async fn histogram(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &HISTOGRAM_PARAMETERS)?;
    let spans = question::pipeline(&params, "q")?;
    let (range, step) = range_and_step(&params, &state)?;
    let duration = Field { of_parent: false, name: FieldName::Intrinsic(Intrinsic::Duration) };
    let function = MetricsFunction::HistogramOverTime(FieldExpr::Field(duration));
    let answer = question::run(&state, move |store, budget| {
        let query = Metrics::Fold { spans, function, by: Vec::new() };
        let plan = MetricsPlan { query: &query, range, step, exemplars: 0 };
        metrics::metrics(store, &tenant, &plan, budget)
    });
    let answer = answer.await?;
    let bucket = |series: &Series| HistogramBucket {
        up_to_nano: series.labels.last().and_then(|(_, bound)| bound.as_number()).unwrap_or_default(),
        counts: series.values.iter().map(|count| *count as u64).collect(),
    };
    json(&HistogramAnswer {
        step_nano: step,
        times_unix_nano: answer.times.iter().map(ToString::to_string).collect(),
        buckets: answer.series.iter().map(bucket).collect(),
        partial: answer.partial.is_some(),
        partial_reason: question::reason(answer.partial),
    })
}

/// A range with an end, and the step of its points.
fn range_and_step(params: &Params, state: &QueryState) -> Result<(TimeRange, u64), Problem> {
    let now = state.now();
    let range = times::range(params.text("start"), params.text("end"), now)?;
    // Without an end the range ends behind the present, so that the last point is not empty.
    let end = range.end.unwrap_or(UnixNanos(now.0.max(range.start.0).saturating_add(1)));
    // A range whose start is no multiple of the step touches one point more.
    let most = (state.config().question.points as u64).saturating_sub(1).max(1);
    let step = step(params.text("step"), end.since(range.start), most, "maxMetricsPoints")?;
    Ok((TimeRange { end: Some(end), ..range }, step))
}

fn points(times: &[UnixNanos], values: &[f64]) -> Vec<MetricsPoint> {
    let known = times.iter().zip(values).filter(|(_, value)| value.is_finite());
    known.map(|(time, value)| MetricsPoint { time_unix_nano: time.to_string(), value: *value }).collect()
}

impl From<&Exemplar> for MetricsExemplar {
    fn from(exemplar: &Exemplar) -> Self {
        Self {
            trace_id: exemplar.trace.to_string(),
            span_id: exemplar.span.to_string(),
            time_unix_nano: exemplar.time.to_string(),
            value: exemplar.value,
        }
    }
}
