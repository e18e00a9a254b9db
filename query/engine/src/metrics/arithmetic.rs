//! Arithmetic between the series of two queries, joined by labels.

use rustc_hash::FxHashMap;
use spandrel_traceql::ast::BinaryOp;

use super::{MetricsAnswer, Series};
use crate::scalar::{Key, float_arithmetic};

/// Joins series with equal labels. A constant, and a series without labels on one side alone, goes with every series of
/// the other side; series without a partner are left out. A division by zero gives no value.
pub(super) fn join(
    op: BinaryOp,
    left: MetricsAnswer,
    right: MetricsAnswer,
    (left_is_scalar, right_is_scalar): (bool, bool),
) -> MetricsAnswer {
    let single = |series: &[Series]| matches!(series, [only] if only.labels.is_empty());
    let broadcast_left = left_is_scalar || single(&left.series) && !single(&right.series);
    let broadcast_right = right_is_scalar || single(&right.series) && !single(&left.series);
    let series = match (left.series.first(), right.series.first()) {
        (Some(one), Some(_)) if broadcast_left => {
            right.series.iter().map(|other| combine(op, one, other, other)).collect()
        }
        (Some(_), Some(one)) if broadcast_right => {
            left.series.iter().map(|other| combine(op, other, one, other)).collect()
        }
        _ => by_labels(op, &left.series, &right.series),
    };
    MetricsAnswer {
        times: Vec::new(),
        series,
        partial: left.partial.or(right.partial),
        estimated: left.estimated || right.estimated,
    }
}

fn by_labels(op: BinaryOp, left: &[Series], right: &[Series]) -> Vec<Series> {
    let partners: FxHashMap<Vec<(&str, Key)>, &Series> =
        right.iter().map(|series| (labels(series), series)).collect();
    let joined =
        |series: &Series| partners.get(&labels(series)).map(|other| combine(op, series, other, series));
    left.iter().filter_map(joined).collect()
}

/// The labels in the order of their names.
fn labels(series: &Series) -> Vec<(&str, Key)> {
    let mut labels: Vec<_> = series.labels.iter().map(|(name, value)| (name.as_str(), value.key())).collect();
    labels.sort_unstable();
    labels
}

fn combine(op: BinaryOp, left: &Series, right: &Series, labelled: &Series) -> Series {
    let values = left.values.iter().zip(&right.values).map(|(a, b)| float_arithmetic(op, *a, *b));
    let finite = values.map(|value| if value.is_finite() { value } else { f64::NAN });
    Series {
        labels: labelled.labels.clone(),
        values: finite.collect(),
        exemplars: labelled.exemplars.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::Scalar;

    fn answer(series: &[(&str, f64)]) -> MetricsAnswer {
        let one = |(name, value): &(&str, f64)| Series {
            labels: if name.is_empty() {
                Vec::new()
            } else {
                vec![("service".to_owned(), Scalar::Text((*name).to_owned().into()))]
            },
            values: vec![*value],
            exemplars: Vec::new(),
        };
        MetricsAnswer { series: series.iter().map(one).collect(), ..MetricsAnswer::default() }
    }

    fn values(answer: &MetricsAnswer) -> Vec<f64> {
        answer.series.iter().map(|series| series.values[0]).collect()
    }

    #[test]
    fn equal_labels_meet() {
        let joined = join(
            BinaryOp::Div,
            answer(&[("a", 6.0), ("b", 1.0)]),
            answer(&[("a", 3.0), ("c", 1.0)]),
            (false, false),
        );
        assert_eq!(values(&joined), [2.0]);
    }

    #[test]
    fn one_without_labels_goes_with_all_and_zero_divides_nothing() {
        let joined =
            join(BinaryOp::Div, answer(&[("a", 6.0), ("b", 3.0)]), answer(&[("", 3.0)]), (false, false));
        assert_eq!(values(&joined), [2.0, 1.0]);
        let joined = join(BinaryOp::Sub, answer(&[("", 1.0)]), answer(&[("a", 3.0)]), (true, false));
        assert_eq!(values(&joined), [-2.0]);
        let joined = join(BinaryOp::Div, answer(&[("a", 6.0)]), answer(&[("a", 0.0)]), (false, false));
        assert!(values(&joined)[0].is_nan());
    }
}
