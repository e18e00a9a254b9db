//! What a series remembers of the spans of each step.

use rustc_hash::FxHashSet;
use spandrel_traceql::ast::MetricsFunction;

use super::sketch::Sketch;

/// What is remembered, by step.
#[derive(Debug, Clone)]
pub(crate) enum Accumulator {
    Count(Vec<u64>),
    /// NaN while a step has no number.
    Min(Vec<f64>),
    Max(Vec<f64>),
    /// The sum, and the count of numbers.
    Sum(Vec<(f64, u64)>),
    Sketch(Vec<Sketch>),
    /// Hashes of distinct values.
    Distinct(Vec<FxHashSet<u64>>),
}

// === impl Accumulator ===

impl Accumulator {
    pub(crate) fn new(function: &MetricsFunction, steps: usize) -> Self {
        use MetricsFunction::*;
        match function {
            Rate | CountOverTime => Self::Count(vec![0; steps]),
            MinOverTime(_) => Self::Min(vec![f64::NAN; steps]),
            MaxOverTime(_) => Self::Max(vec![f64::NAN; steps]),
            SumOverTime(_) | AvgOverTime(_) => Self::Sum(vec![(0.0, 0); steps]),
            QuantileOverTime(..) | HistogramOverTime(_) => Self::Sketch(vec![Sketch::default(); steps]),
            CountDistinctOverTime(_) => Self::Distinct(vec![FxHashSet::default(); steps]),
        }
    }

    /// Bytes that it takes when it is made.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Count(steps) => steps.len() * 8,
            Self::Min(steps) | Self::Max(steps) => steps.len() * 8,
            Self::Sum(steps) => steps.len() * 16,
            Self::Sketch(steps) => steps.len() * size_of::<Sketch>(),
            Self::Distinct(steps) => steps.len() * size_of::<FxHashSet<u64>>(),
        }
    }

    /// Counts a span.
    #[inline]
    pub(crate) fn count(&mut self, step: usize) {
        if let Self::Count(steps) = self {
            steps[step] += 1;
        }
    }

    /// Adds a number. Returns how many bytes more it takes.
    #[inline]
    pub(crate) fn add(&mut self, step: usize, number: f64) -> usize {
        match self {
            Self::Min(steps) => steps[step] = steps[step].min(number),
            Self::Max(steps) => steps[step] = steps[step].max(number),
            Self::Sum(steps) => {
                steps[step].0 += number;
                steps[step].1 += 1;
            }
            Self::Sketch(steps) => return steps[step].add(number),
            Self::Count(_) | Self::Distinct(_) => {}
        }
        0
    }

    /// Adds a distinct value. Returns whether it is new.
    pub(crate) fn add_distinct(&mut self, step: usize, hash: u64) -> bool {
        if let Self::Distinct(steps) = self { steps[step].insert(hash) } else { false }
    }

    /// Adds what another one of the same kind remembers.
    pub(crate) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(mine), Self::Count(others)) => {
                mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
            }
            (Self::Min(mine), Self::Min(others)) => {
                mine.iter_mut().zip(others).for_each(|(mine, other)| *mine = mine.min(other));
            }
            (Self::Max(mine), Self::Max(others)) => {
                mine.iter_mut().zip(others).for_each(|(mine, other)| *mine = mine.max(other));
            }
            (Self::Sum(mine), Self::Sum(others)) => mine.iter_mut().zip(others).for_each(|(mine, other)| {
                mine.0 += other.0;
                mine.1 += other.1;
            }),
            (Self::Sketch(mine), Self::Sketch(others)) => {
                mine.iter_mut().zip(&others).for_each(|(mine, other)| mine.merge(other));
            }
            (Self::Distinct(mine), Self::Distinct(others)) => {
                mine.iter_mut().zip(others).for_each(|(mine, other)| mine.extend(other));
            }
            // Those of one question are of one kind.
            _ => {}
        }
    }

    /// The values of each series that comes of it, with the label by which it differs from the others: a quantile, or
    /// the upper bound of a bucket.
    pub(crate) fn finish(self, function: &MetricsFunction, step: u64) -> Vec<(Option<f64>, Vec<f64>)> {
        let seconds = step as f64 / 1e9;
        let count = |counts: Vec<u64>| counts.into_iter().map(|count| count as f64);
        match (self, function) {
            (Self::Count(counts), MetricsFunction::Rate) => {
                vec![(None, count(counts).map(|count| count / seconds).collect())]
            }
            (Self::Count(counts), _) => vec![(None, count(counts).collect())],
            (Self::Min(values) | Self::Max(values), _) => vec![(None, values)],
            (Self::Sum(sums), MetricsFunction::AvgOverTime(_)) => {
                vec![(None, sums.into_iter().map(|(sum, count)| sum / count as f64).collect())]
            }
            (Self::Sum(sums), _) => {
                let sum = |(sum, count): (f64, u64)| if count == 0 { f64::NAN } else { sum };
                vec![(None, sums.into_iter().map(sum).collect())]
            }
            (Self::Sketch(sketches), MetricsFunction::QuantileOverTime(_, quantiles)) => {
                let of = |q: f64| sketches.iter().map(move |sketch| sketch.quantile(q).unwrap_or(f64::NAN));
                quantiles.iter().map(|q| (Some(*q), of(*q).collect())).collect()
            }
            (Self::Sketch(sketches), _) => histogram(&sketches),
            (Self::Distinct(steps), _) => {
                vec![(None, steps.into_iter().map(|values| values.len() as f64).collect())]
            }
        }
    }
}

/// A series for each power of two that bounds a number in any step.
fn histogram(sketches: &[Sketch]) -> Vec<(Option<f64>, Vec<f64>)> {
    let steps: Vec<Vec<(f64, u64)>> = sketches.iter().map(Sketch::powers_of_two).collect();
    let mut bounds: Vec<f64> = steps.iter().flatten().map(|(bound, _)| *bound).collect();
    bounds.sort_unstable_by(f64::total_cmp);
    bounds.dedup();
    let count = |step: &Vec<(f64, u64)>, bound: f64| {
        step.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count as f64)
    };
    let series = |bound: f64| (Some(bound), steps.iter().map(|step| count(step, bound)).collect());
    bounds.into_iter().map(series).collect()
}
