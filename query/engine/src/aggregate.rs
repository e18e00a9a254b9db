//! Aggregates over the spans of a set: counts, sums, extremes, distinct values and quantiles, all exact.

use rustc_hash::FxHashSet;
use spandrel_traceql::ast::Aggregate;

use crate::bind::{Columns, Expr};
use crate::error::QueryError;
use crate::rows::Rows;
use crate::scalar::{Key, Scalar};

/// An aggregate bound to columns.
#[derive(Debug, Clone)]
pub(crate) enum BoundAggregate {
    Count,
    Min(Expr),
    Max(Expr),
    Sum(Expr),
    Avg(Expr),
    CountDistinct(Expr),
    Quantile(Expr, f64),
}

// === impl BoundAggregate ===

impl BoundAggregate {
    pub(crate) fn bind(aggregate: &Aggregate, columns: &mut Columns) -> Result<Self, QueryError> {
        Ok(match aggregate {
            Aggregate::Count => Self::Count,
            Aggregate::Min(expr) => Self::Min(columns.expr(expr)?),
            Aggregate::Max(expr) => Self::Max(columns.expr(expr)?),
            Aggregate::Sum(expr) => Self::Sum(columns.expr(expr)?),
            Aggregate::Avg(expr) => Self::Avg(columns.expr(expr)?),
            Aggregate::CountDistinct(expr) => Self::CountDistinct(columns.expr(expr)?),
            Aggregate::Quantile(expr, q) => Self::Quantile(columns.expr(expr)?, *q),
        })
    }

    /// Its value over some rows. Spans without a number do not count; without any, the aggregate is nil.
    pub(crate) fn of(&self, rows: Rows<'_>, set: &[u32]) -> Scalar<'static> {
        let numbers = |expr| numbers(rows, expr, set);
        match self {
            Self::Count => Scalar::Int(set.len() as i64),
            Self::CountDistinct(expr) => Scalar::Int(distinct(rows, expr, set) as i64),
            Self::Min(expr) => nil_or(numbers(expr).into_iter().reduce(f64::min)),
            Self::Max(expr) => nil_or(numbers(expr).into_iter().reduce(f64::max)),
            Self::Sum(expr) => nil_or(numbers(expr).into_iter().reduce(|sum, number| sum + number)),
            Self::Avg(expr) => {
                let numbers = numbers(expr);
                let sum: f64 = numbers.iter().sum();
                nil_or((!numbers.is_empty()).then(|| sum / numbers.len() as f64))
            }
            Self::Quantile(expr, q) => nil_or(quantile(numbers(expr), *q)),
        }
    }
}

fn numbers(rows: Rows<'_>, expr: &Expr, set: &[u32]) -> Vec<f64> {
    set.iter().filter_map(|row| rows.value(expr, *row as usize).number()).filter(|n| !n.is_nan()).collect()
}

fn nil_or(number: Option<f64>) -> Scalar<'static> {
    number.map_or(Scalar::Nil, Scalar::Float)
}

/// The number that a fraction `q` of all does not exceed.
fn quantile(mut numbers: Vec<f64>, q: f64) -> Option<f64> {
    let rank = ((q * numbers.len() as f64).ceil() as usize).clamp(1, numbers.len().max(1));
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(rank - 1).copied()
}

fn distinct(rows: Rows<'_>, expr: &Expr, set: &[u32]) -> usize {
    let keys = set.iter().map(|row| rows.value(expr, *row as usize).key());
    keys.filter(|key| *key != Key::Nil).collect::<FxHashSet<Key>>().len()
}
