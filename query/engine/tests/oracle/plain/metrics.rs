//! Series over time.

use std::cmp::Ordering;

use spandrel_traceql::ast::{BinaryOp, Field, FieldExpr, Metrics, MetricsFunction, Pipeline, SecondStage};

use super::counts::{compared, series_of_comparison};
use super::sets::{are_same, distinct, largest, mean, quantile, smallest, sum};
use super::trace::Trace;
use super::value::{Value, float};

/// One series; its values are NaN where it has none.
#[derive(Debug, Clone)]
pub struct Series {
    pub labels: Vec<(String, Value)>,
    pub values: Vec<f64>,
}

/// The points of a question: the spans that start in `begin..end`, in steps that begin at multiples of
/// `step`.
#[derive(Debug, Clone, Copy)]
pub struct Points {
    pub begin: u64,
    pub end: u64,
    pub step: u64,
}

/// The values of the spans that have the same labels.
struct Group {
    labels: Vec<Value>,
    /// By point.
    values: Vec<Vec<Value>>,
}

// === impl Points ===

impl Points {
    pub fn contain(&self, start: u64) -> bool {
        self.begin <= start && start < self.end
    }

    pub fn of(&self, start: u64) -> usize {
        (start / self.step - self.begin / self.step) as usize
    }

    pub fn count(&self) -> usize {
        self.of(self.end - 1) + 1
    }
}

/// The series of a query; sorted by labels, unless the query orders them.
pub fn series(traces: &[Trace], query: &Metrics, points: Points) -> Vec<Series> {
    match query {
        Metrics::Fold { spans, function, by } => fold(traces, spans, function, by, points),
        Metrics::Compare { spans, selection, range, .. } => {
            let compared = compared(traces, spans, selection, *range, points);
            series_of_comparison(&compared, points)
        }
        Metrics::Second(inner, stage) => second(series(traces, inner, points), *stage, points),
        Metrics::Scalar(number) => vec![Series { labels: Vec::new(), values: vec![*number; points.count()] }],
        Metrics::Arithmetic(op, left, right) => {
            let (of_left, of_right) = (series(traces, left, points), series(traces, right, points));
            let is_scalar = |side: &Metrics| matches!(side, Metrics::Scalar(_));
            join(*op, (of_left, is_scalar(left)), (of_right, is_scalar(right)))
        }
    }
}

// === Series of spans ===

fn fold(
    traces: &[Trace],
    spans: &Pipeline,
    function: &MetricsFunction,
    by: &[Field],
    points: Points,
) -> Vec<Series> {
    let mut groups: Vec<Group> = Vec::new();
    for trace in traces {
        for span in trace.matched(spans) {
            let start = trace.spans[span].start();
            let value = argument(function).map_or(Value::Bool(true), |expr| trace.value(span, expr));
            if !points.contain(start) || !counts(function, &value) {
                continue;
            }
            let labels: Vec<Value> = by.iter().map(|field| trace.first(span, field).shown()).collect();
            let known = groups.iter().position(|group| are_same(&group.labels, &labels));
            let at = known.unwrap_or_else(|| {
                groups.push(Group { labels, values: vec![Vec::new(); points.count()] });
                groups.len() - 1
            });
            groups[at].values[points.of(start)].push(value);
        }
    }
    if groups.is_empty() && by.is_empty() && argument(function).is_none() {
        groups.push(Group { labels: Vec::new(), values: vec![Vec::new(); points.count()] });
    }
    let mut all: Vec<Series> =
        groups.iter().flat_map(|group| series_of_group(group, function, by, points)).collect();
    all.sort_by(by_labels);
    all
}

fn argument(function: &MetricsFunction) -> Option<&FieldExpr> {
    use MetricsFunction::*;
    match function {
        Rate | CountOverTime => None,
        MinOverTime(expr) | MaxOverTime(expr) | SumOverTime(expr) | AvgOverTime(expr) => Some(expr),
        QuantileOverTime(expr, _) | HistogramOverTime(expr) | CountDistinctOverTime(expr) => Some(expr),
    }
}

/// Whether a function counts a span with such a value.
fn counts(function: &MetricsFunction, value: &Value) -> bool {
    match function {
        MetricsFunction::Rate | MetricsFunction::CountOverTime => true,
        MetricsFunction::CountDistinctOverTime(_) => *value != Value::Nil,
        _ => value.as_f64().is_some_and(|number| !number.is_nan()),
    }
}

fn series_of_group(group: &Group, function: &MetricsFunction, by: &[Field], points: Points) -> Vec<Series> {
    use MetricsFunction::*;
    let numbers = |values: &Vec<Value>| values.iter().filter_map(Value::as_f64).collect::<Vec<f64>>();
    let series = |extra: Option<(&str, f64)>, of: &dyn Fn(&Vec<Value>) -> Option<f64>| {
        let labels = by.iter().map(ToString::to_string).zip(group.labels.clone());
        let extra = extra.map(|(name, value)| (name.to_owned(), Value::Float(value)));
        let values = group.values.iter().map(|values| of(values).unwrap_or(f64::NAN)).collect();
        Series { labels: labels.chain(extra).collect(), values }
    };
    let count = |values: &Vec<Value>| values.len() as f64;
    match function {
        Rate => vec![series(None, &|values| Some(count(values) / (points.step as f64 / 1e9)))],
        CountOverTime => vec![series(None, &|values| Some(count(values)))],
        MinOverTime(_) => vec![series(None, &|values| smallest(numbers(values)))],
        MaxOverTime(_) => vec![series(None, &|values| largest(numbers(values)))],
        SumOverTime(_) => vec![series(None, &|values| sum(numbers(values)))],
        AvgOverTime(_) => vec![series(None, &|values| mean(numbers(values)))],
        CountDistinctOverTime(_) => vec![series(None, &|values| Some(distinct(values.clone()) as f64))],
        QuantileOverTime(_, quantiles) => {
            let one = |q: &f64| series(Some(("p", *q)), &|values| quantile(numbers(values), *q));
            quantiles.iter().map(one).collect()
        }
        HistogramOverTime(_) => {
            let all = group.values.iter().flat_map(numbers);
            let mut bounds: Vec<f64> = all.map(bucket).collect();
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
            let in_bucket = |values: &Vec<Value>, bound: f64| {
                numbers(values).into_iter().filter(|number| bucket(*number) == bound).count() as f64
            };
            let one = |bound| series(Some(("__bucket", bound)), &|values| Some(in_bucket(values, bound)));
            bounds.into_iter().map(one).collect()
        }
    }
}

/// The smallest power of two above a number; 0 for what is not positive.
fn bucket(number: f64) -> f64 {
    if number <= 0.0 || number.is_infinite() {
        return number.max(0.0);
    }
    let mut bound = 1.0;
    while bound <= number {
        bound *= 2.0;
    }
    while bound / 2.0 > number {
        bound /= 2.0;
    }
    bound
}

fn by_labels(left: &Series, right: &Series) -> Ordering {
    let pairs = left.labels.iter().zip(&right.labels);
    let orders = pairs.map(|((_, left), (_, right))| order(left, right));
    orders.fold(Ordering::Equal, Ordering::then)
}

/// The order of labels: by type, then by value.
fn order(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Nil => 0,
        Value::Bool(_) => 1,
        Value::Int(_) => 2,
        Value::Float(_) => 3,
        Value::Text(_) | Value::List(_) => 4,
        Value::Status(_) => 5,
        Value::Kind(_) => 6,
        Value::Other => 7,
    };
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Status(left), Value::Status(right)) => (*left as u8).cmp(&(*right as u8)),
        (Value::Kind(left), Value::Kind(right)) => (*left as u8).cmp(&(*right as u8)),
        _ => rank(left).cmp(&rank(right)),
    }
}

// === What is done with series ===

fn second(mut series: Vec<Series>, stage: SecondStage, points: Points) -> Vec<Series> {
    match stage {
        SecondStage::TopK(count) => keep_of_each_point(&mut series, count, points, descending),
        SecondStage::BottomK(count) => keep_of_each_point(&mut series, count, points, f64::total_cmp),
        SecondStage::Top(count) => return first_by_mean(series, count, descending),
        SecondStage::Bottom(count) => return first_by_mean(series, count, f64::total_cmp),
        SecondStage::Filter(op, bound) => {
            for value in series.iter_mut().flat_map(|series| &mut series.values) {
                if !holds(op, *value, bound) {
                    *value = f64::NAN;
                }
            }
        }
    }
    with_values(series)
}

fn descending(left: &f64, right: &f64) -> Ordering {
    right.total_cmp(left)
}

fn holds(op: BinaryOp, value: f64, bound: f64) -> bool {
    match op {
        _ if value.is_nan() => false,
        BinaryOp::Eq => value == bound,
        BinaryOp::Ne => value != bound,
        BinaryOp::Lt => value < bound,
        BinaryOp::Le => value <= bound,
        BinaryOp::Gt => value > bound,
        _ => value >= bound,
    }
}

/// Keeps of each point the first `count` values in an order; of equal ones those of the first series.
fn keep_of_each_point(series: &mut [Series], count: u32, points: Points, order: fn(&f64, &f64) -> Ordering) {
    for point in 0..points.count() {
        let mut known: Vec<(f64, usize)> = Vec::new();
        for (at, series) in series.iter().enumerate() {
            known.push((series.values[point], at));
        }
        known.retain(|(value, _)| !value.is_nan());
        known.sort_by(|(left, _), (right, _)| order(left, right));
        for (_, at) in known.into_iter().skip(count as usize) {
            series[at].values[point] = f64::NAN;
        }
    }
}

fn first_by_mean(series: Vec<Series>, count: u32, order: fn(&f64, &f64) -> Ordering) -> Vec<Series> {
    let mean_of = |series: &Series| {
        let known: Vec<f64> = series.values.iter().copied().filter(|value| !value.is_nan()).collect();
        mean(known).unwrap_or(f64::NAN)
    };
    let mut series = with_values(series);
    series.sort_by(|left, right| order(&mean_of(left), &mean_of(right)));
    series.truncate(count as usize);
    series
}

fn with_values(mut series: Vec<Series>) -> Vec<Series> {
    series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
    series
}

/// Joins series with equal labels. A constant, and a series without labels on one side alone, goes with every
/// series of the other side.
fn join(
    op: BinaryOp,
    (left, left_is_scalar): (Vec<Series>, bool),
    (right, right_is_scalar): (Vec<Series>, bool),
) -> Vec<Series> {
    let is_single = |series: &[Series]| series.len() == 1 && series[0].labels.is_empty();
    let left_goes_with_all = left_is_scalar || is_single(&left) && !is_single(&right);
    let right_goes_with_all = right_is_scalar || is_single(&right) && !is_single(&left);
    let mut joined = Vec::new();
    for left in &left {
        for right in &right {
            let labels = if left_goes_with_all { &right.labels } else { &left.labels };
            if left_goes_with_all || right_goes_with_all || have_same_labels(left, right) {
                joined.push(Series { labels: labels.clone(), values: computed(op, left, right) });
            }
        }
    }
    joined
}

fn have_same_labels(left: &Series, right: &Series) -> bool {
    let has = |series: &Series, (name, value): &(String, Value)| {
        series.labels.iter().any(|(known, of)| known == name && of.is_same(value))
    };
    left.labels.len() == right.labels.len() && left.labels.iter().all(|label| has(right, label))
}

fn computed(op: BinaryOp, left: &Series, right: &Series) -> Vec<f64> {
    let values = left.values.iter().zip(&right.values).map(|(left, right)| float(op, *left, *right));
    values.map(|value| if value.is_finite() { value } else { f64::NAN }).collect()
}
