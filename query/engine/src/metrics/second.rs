//! What is done with series: the largest of each step or of the whole range, and filters by value.

use spandrel_traceql::ast::{BinaryOp, SecondStage};

use super::Series;

/// Applies a second stage.
pub(super) fn apply(stage: SecondStage, series: &mut Vec<Series>) {
    match stage {
        SecondStage::TopK(count) => keep_by_step(series, count as usize, |a, b| b.total_cmp(&a)),
        SecondStage::BottomK(count) => keep_by_step(series, count as usize, |a, b| a.total_cmp(&b)),
        SecondStage::Top(count) => keep_by_mean(series, count as usize, |a, b| b.total_cmp(&a)),
        SecondStage::Bottom(count) => keep_by_mean(series, count as usize, |a, b| a.total_cmp(&b)),
        SecondStage::Filter(op, bound) => {
            let values = series.iter_mut().flat_map(|series| &mut series.values);
            values.filter(|value| !holds(op, **value, bound)).for_each(|value| *value = f64::NAN);
            drop_empty(series);
        }
    }
}

fn holds(op: BinaryOp, value: f64, bound: f64) -> bool {
    match op {
        BinaryOp::Eq => value == bound,
        BinaryOp::Ne => value != bound && !value.is_nan(),
        BinaryOp::Lt => value < bound,
        BinaryOp::Le => value <= bound,
        BinaryOp::Gt => value > bound,
        BinaryOp::Ge => value >= bound,
        _ => false,
    }
}

/// Keeps of each step the first values in an order; equal ones by the order of their series.
fn keep_by_step(series: &mut Vec<Series>, count: usize, order: fn(f64, f64) -> std::cmp::Ordering) {
    let steps = series.first().map_or(0, |series| series.values.len());
    for step in 0..steps {
        let value = |at: &usize| series[*at].values[step];
        let mut places: Vec<usize> = (0..series.len()).filter(|at| !value(at).is_nan()).collect();
        places.sort_by(|a, b| order(value(a), value(b)));
        places.iter().skip(count).for_each(|at| series[*at].values[step] = f64::NAN);
    }
    drop_empty(series);
}

/// Keeps the first series in an order of their means over the whole range, in that order.
fn keep_by_mean(series: &mut Vec<Series>, count: usize, order: fn(f64, f64) -> std::cmp::Ordering) {
    let mean = |series: &Series| {
        let known = series.values.iter().filter(|value| !value.is_nan());
        let (sum, count) = known.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
        sum / count as f64
    };
    drop_empty(series);
    series.sort_by(|a, b| order(mean(a), mean(b)));
    series.truncate(count);
}

fn drop_empty(series: &mut Vec<Series>) {
    series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::Scalar;

    fn series(name: i64, values: &[f64]) -> Series {
        let labels = vec![("n".to_owned(), Scalar::Int(name))];
        Series { labels, values: values.to_vec(), exemplars: Vec::new() }
    }

    fn names(series: &[Series]) -> Vec<i64> {
        let name = |series: &Series| if let Scalar::Int(name) = series.labels[0].1 { name } else { 0 };
        series.iter().map(name).collect()
    }

    #[test]
    fn the_largest_of_each_step_and_of_the_range() {
        let all = || vec![series(1, &[1.0, 9.0]), series(2, &[2.0, 1.0]), series(3, &[1.5, f64::NAN])];
        let mut by_step = all();
        apply(SecondStage::TopK(1), &mut by_step);
        assert_eq!(names(&by_step), [1, 2]);
        assert!(by_step[0].values[0].is_nan() && by_step[1].values[0] == 2.0);
        let mut by_mean = all();
        apply(SecondStage::Top(2), &mut by_mean);
        assert_eq!(names(&by_mean), [1, 2]);
        apply(SecondStage::Bottom(1), &mut by_mean);
        assert_eq!(names(&by_mean), [2]);
        let mut filtered = all();
        apply(SecondStage::Filter(BinaryOp::Gt, 8.0), &mut filtered);
        assert_eq!(names(&filtered), [1]);
    }
}
