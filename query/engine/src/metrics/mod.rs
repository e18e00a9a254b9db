//! Series over time: what a metrics query computes of spans, step by step.
//!
//! Data flows one way: `fold` (or `rollup`, where sums that the store keeps suffice) makes series of spans, `second`
//! chooses among them, `arithmetic` joins those of two queries. Points stand at multiples of the step since the epoch.

mod accumulator;
mod arithmetic;
mod compare;
mod compare_counts;
mod fold;
mod rollup;
mod second;
mod sketch;

use spandrel_proto::{SpanId, TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::TraceStore;
use spandrel_traceql::ast::{FieldExpr, Metrics, Pipeline};

use crate::error::QueryError;
use crate::limits::{Budget, Partial};
use crate::scalar::Scalar;

pub use compare_counts::{ComparedValue, Comparison};

/// A question for series.
#[derive(Debug, Clone)]
pub struct MetricsPlan<'q> {
    /// What is asked.
    pub query: &'q Metrics,
    /// Spans count that start in it. It has an end.
    pub range: TimeRange,
    /// The width of a point in nanoseconds; not zero. One as wide as the range gives one point.
    pub step: u64,
    /// The most exemplars of each series.
    pub exemplars: usize,
}

/// Series over time.
#[derive(Debug, Default)]
pub struct MetricsAnswer {
    /// The times of the points.
    pub times: Vec<UnixNanos>,
    /// The series; sorted by labels, unless the query ordered them.
    pub series: Vec<Series>,
    /// Why spans or series may be missing.
    pub partial: Option<Partial>,
    /// Some counted spans were expired by a rule, so their starts are known by the minute only.
    pub estimated: bool,
}

/// One series.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// What its spans have in common.
    pub labels: Vec<(String, Scalar<'static>)>,
    /// The value of each point; NaN without one.
    pub values: Vec<f64>,
    /// Spans that stand for it.
    pub exemplars: Vec<Exemplar>,
}

/// A span that stands for a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace: TraceId,
    /// Its ID.
    pub span: SpanId,
    /// Its start.
    pub time: UnixNanos,
    /// The value that it added.
    pub value: f64,
}

/// The points of a question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) first: u64,
    pub(crate) step: u64,
    pub(crate) count: usize,
}

/// Finds the points of spans that follow each other, which mostly share one.
pub(crate) struct StepFinder {
    steps: Steps,
    /// The begin of the last point.
    begin: u64,
    /// Its number.
    at: usize,
}

/// What one question needs to be answered.
#[derive(Clone, Copy)]
struct Context<'q> {
    store: &'q dyn TraceStore,
    tenant: &'q TenantId,
    range: TimeRange,
    steps: Steps,
    exemplars: usize,
    budget: &'q Budget,
}

/// Compares how often each value of each attribute occurs in a selection of spans and in the rest.
pub fn comparisons(
    store: &dyn TraceStore,
    tenant: &TenantId,
    spans: &Pipeline,
    selection: &FieldExpr,
    range: TimeRange,
    budget: &Budget,
) -> Result<(Vec<Comparison>, Option<Partial>), QueryError> {
    let end = range.end.map_or(u64::MAX, |end| end.0);
    let steps = Steps { first: range.start.0, step: end.saturating_sub(range.start.0).max(1), count: 1 };
    let context = Context { store, tenant, range, steps, exemplars: 0, budget };
    let (all, partial) = compare::compare(spans, selection, None, context)?;
    Ok((all, budget.met().or(partial)))
}

/// Computes series.
pub fn metrics(
    store: &dyn TraceStore,
    tenant: &TenantId,
    plan: &MetricsPlan<'_>,
    budget: &Budget,
) -> Result<MetricsAnswer, QueryError> {
    let steps = Steps::of(plan.range, plan.step, budget.limits().points)?;
    let context = Context { store, tenant, range: plan.range, steps, exemplars: plan.exemplars, budget };
    let mut answer = eval(plan.query, context)?;
    charge_points(&mut answer, budget);
    answer.times = (0..steps.count).map(|at| steps.time(at)).collect();
    answer.partial = budget.met().or(answer.partial);
    Ok(answer)
}

/// Leaves out series whose points would take more than the question may.
fn charge_points(answer: &mut MetricsAnswer, budget: &Budget) {
    let is_left = |series: &Series| budget.take(series.values.len() * POINT_BYTES);
    let whole = answer.series.iter().take_while(|series| is_left(series)).count();
    answer.series.truncate(whole);
}

/// Bytes of a point in an answer.
const POINT_BYTES: usize = 48;

fn eval(query: &Metrics, context: Context<'_>) -> Result<MetricsAnswer, QueryError> {
    if !context.budget.allows() {
        return Ok(MetricsAnswer::default());
    }
    Ok(match query {
        Metrics::Fold { spans, function, by } => {
            let rollup = rollup::plan(spans, function, by, context);
            match rollup.filter(|_| context.exemplars == 0) {
                Some(rollup) => rollup.run(context)?,
                None => fold::run(spans, function, by, context)?,
            }
        }
        Metrics::Compare { spans, selection, top, range } => {
            compare::run(spans, selection, *top as usize, *range, context)?
        }
        Metrics::Second(inner, stage) => {
            let mut answer = eval(inner, context)?;
            second::apply(*stage, &mut answer.series);
            answer
        }
        Metrics::Scalar(value) => {
            let series = Series { values: vec![*value; context.steps.count], ..Series::default() };
            MetricsAnswer { series: vec![series], ..MetricsAnswer::default() }
        }
        Metrics::Arithmetic(op, left, right) => {
            let is_scalar = |side: &Metrics| matches!(side, Metrics::Scalar(_));
            let sides = (is_scalar(left), is_scalar(right));
            arithmetic::join(*op, eval(left, context)?, eval(right, context)?, sides)
        }
    })
}

// === impl Steps ===

impl Steps {
    fn of(range: TimeRange, step: u64, most: usize) -> Result<Self, QueryError> {
        let unsupported = |text: String| Err(QueryError::Unsupported(text));
        let Some(end) = range.end else {
            return unsupported("a metrics query needs a range with an end".to_owned());
        };
        if step == 0 || end <= range.start {
            return unsupported("the range and the step of a metrics query must not be empty".to_owned());
        }
        let first = range.start.0 / step * step;
        let count = (end.0 - first).div_ceil(step);
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(Self { first, step, count }),
            _ => unsupported(format!(
                "{count} points are more than {most} (maxMetricsPoints); take a longer step or a shorter range"
            )),
        }
    }

    pub(crate) fn time(&self, at: usize) -> UnixNanos {
        UnixNanos(self.first + at as u64 * self.step)
    }

    /// The point of a start, which lies in the range.
    pub(crate) fn at(&self, start: u64) -> usize {
        ((start.saturating_sub(self.first)) / self.step) as usize
    }

    /// Finds points one after the other.
    pub(crate) fn finder(self) -> StepFinder {
        StepFinder { steps: self, begin: self.first, at: 0 }
    }
}

// === impl StepFinder ===

impl StepFinder {
    /// Like [`Steps::at`], but divides only where the point is another one than the last.
    #[inline]
    pub(crate) fn at(&mut self, start: u64) -> usize {
        if start.wrapping_sub(self.begin) >= self.steps.step {
            self.at = self.steps.at(start);
            self.begin = self.steps.time(self.at).0;
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_found_whatever_the_order() {
        let steps = Steps { first: 100, step: 7, count: 5 };
        let mut finder = steps.finder();
        for start in [100, 106, 107, 100, 134, 133, 113, 114, 120, 101] {
            assert_eq!(finder.at(start), steps.at(start), "{start}");
        }
    }
}
