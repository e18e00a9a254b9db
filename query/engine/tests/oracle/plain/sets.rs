//! Pipelines: what they make of the spans of one trace.

use spandrel_traceql::ast::{
    Aggregate, FieldExpr, Pipeline, Relation, ScalarExpr, ScalarFilter, SpanSetExpr, SpanSetOp, Stage,
    StructuralResult,
};

use super::trace::Trace;
use super::value::{Value, arithmetic, compare, negate};

/// Some spans of a trace.
#[derive(Debug, Clone, Default)]
pub struct Set {
    /// Ascending.
    pub spans: Vec<usize>,
    /// The values by which the set was split off.
    pub by: Vec<(String, Value)>,
    /// The aggregates that were computed of it.
    pub values: Vec<(String, Value)>,
}

impl Trace {
    /// The sets that a pipeline makes of all spans.
    pub fn sets(&self, pipeline: &Pipeline) -> Vec<Set> {
        self.run(pipeline, (0..self.spans.len()).collect())
    }

    /// The spans of all sets.
    pub fn matched(&self, pipeline: &Pipeline) -> Vec<usize> {
        joined(&self.sets(pipeline))
    }

    fn run(&self, pipeline: &Pipeline, spans: Vec<usize>) -> Vec<Set> {
        let mut sets = vec![Set { spans, ..Set::default() }];
        for stage in &pipeline.stages {
            sets = match stage {
                Stage::Spans(expr) => sets.into_iter().filter_map(|set| self.narrow(expr, set)).collect(),
                Stage::Filter(filter) => {
                    sets.into_iter().filter_map(|set| self.filter(filter, set)).collect()
                }
                Stage::By(keys) => sets.into_iter().flat_map(|set| self.split(keys, set)).collect(),
                Stage::Coalesce if sets.is_empty() => sets,
                Stage::Coalesce => vec![Set { spans: joined(&sets), ..Set::default() }],
                Stage::Select(_) => sets,
            };
        }
        sets
    }

    // === Sets of spans ===

    /// The set without the spans that an expression does not select; an expression that holds without spans
    /// of its own takes none away.
    fn narrow(&self, expr: &SpanSetExpr, set: Set) -> Option<Set> {
        let selected = self.select(expr, &set.spans)?;
        Some(if selected.is_empty() { set } else { Set { spans: selected, ..set } })
    }

    /// The spans that an expression selects; `None` if it does not hold.
    fn select(&self, expr: &SpanSetExpr, within: &[usize]) -> Option<Vec<usize>> {
        let some = |spans: Vec<usize>| if spans.is_empty() { None } else { Some(spans) };
        match expr {
            SpanSetExpr::Filter(condition) => {
                some(within.iter().copied().filter(|span| self.holds(*span, condition)).collect())
            }
            SpanSetExpr::Binary(op, left, right) => {
                let (left, right) = (self.select(left, within), self.select(right, within));
                match (op, left, right) {
                    (SpanSetOp::And, left, right) => Some(union(left?, right?)),
                    (SpanSetOp::Or, None, None) => None,
                    (SpanSetOp::Or, left, right) => {
                        Some(union(left.unwrap_or_default(), right.unwrap_or_default()))
                    }
                    (SpanSetOp::Structural { relation, result }, left, right) => some(self.related(
                        *relation,
                        *result,
                        &left.unwrap_or_default(),
                        &right.unwrap_or_default(),
                    )),
                }
            }
            SpanSetExpr::Wrapped(pipeline) => some(joined(&self.run(pipeline, within.to_vec()))),
            SpanSetExpr::None(inner) => match self.select(inner, within) {
                Some(_) => None,
                None => Some(Vec::new()),
            },
            SpanSetExpr::All(inner) => self.select(inner, within).filter(|spans| spans == within),
        }
    }

    fn related(
        &self,
        relation: Relation,
        result: StructuralResult,
        left: &[usize],
        right: &[usize],
    ) -> Vec<usize> {
        let has_left = |span: &&usize| left.iter().any(|left| self.is(relation, **span, *left));
        let has_right = |span: &&usize| right.iter().any(|right| self.is(relation, *right, **span));
        match result {
            StructuralResult::Right => right.iter().filter(has_left).copied().collect(),
            StructuralResult::RightWithout => right.iter().filter(|span| !has_left(span)).copied().collect(),
            StructuralResult::Both => union(
                left.iter().filter(has_right).copied().collect(),
                right.iter().filter(has_left).copied().collect(),
            ),
        }
    }

    /// Whether `span` is the child, parent and so on of `other`.
    fn is(&self, relation: Relation, span: usize, other: usize) -> bool {
        let parent = |span: usize| self.parents[span];
        match relation {
            Relation::Child => parent(span) == Some(other),
            Relation::Parent => parent(other) == Some(span),
            Relation::Descendant => self.ancestors(span).contains(&other),
            Relation::Ancestor => self.ancestors(other).contains(&span),
            Relation::Sibling => span != other && parent(span).is_some() && parent(span) == parent(other),
        }
    }

    // === Other stages ===

    fn split(&self, keys: &[FieldExpr], set: Set) -> Vec<Set> {
        let mut groups: Vec<(Vec<Value>, Set)> = Vec::new();
        for span in set.spans {
            let values: Vec<Value> = keys.iter().map(|key| self.value(span, key).shown()).collect();
            let found = groups.iter_mut().find(|(known, _)| are_same(known, &values));
            if let Some((_, group)) = found {
                group.spans.push(span);
                continue;
            }
            let named = keys.iter().map(ToString::to_string).zip(values.clone());
            let by = set.by.iter().cloned().chain(named).collect();
            groups.push((values, Set { spans: vec![span], by, values: set.values.clone() }));
        }
        groups.into_iter().map(|(_, set)| set).collect()
    }

    fn filter(&self, filter: &ScalarFilter, mut set: Set) -> Option<Set> {
        let all = set.spans.clone();
        let side = |side, span| self.scalar(side, &all, span);
        let holds = |span| compare(filter.op, &side(&filter.left, span), &side(&filter.right, span));
        if has_field(&filter.left) || has_field(&filter.right) {
            set.spans.retain(|span| holds(*span));
        } else if !holds(0) {
            set.spans.clear();
        }
        for side in [&filter.left, &filter.right] {
            self.show_aggregates(side, &all, &mut set.values);
        }
        (!set.spans.is_empty()).then_some(set)
    }

    fn show_aggregates(&self, expr: &ScalarExpr, set: &[usize], shown: &mut Vec<(String, Value)>) {
        match expr {
            ScalarExpr::Literal(_) | ScalarExpr::Field(_) => {}
            ScalarExpr::Aggregate(_) | ScalarExpr::Wrapped(..) => {
                shown.push((expr.to_string(), self.scalar(expr, set, 0)));
            }
            ScalarExpr::Negate(inner) => self.show_aggregates(inner, set, shown),
            ScalarExpr::Arithmetic(_, left, right) => {
                self.show_aggregates(left, set, shown);
                self.show_aggregates(right, set, shown);
            }
        }
    }

    /// The value of a scalar for a set and one of its spans.
    fn scalar(&self, expr: &ScalarExpr, set: &[usize], span: usize) -> Value {
        match expr {
            ScalarExpr::Literal(literal) => Value::of_literal(literal),
            ScalarExpr::Field(field) => self.first(span, field),
            ScalarExpr::Aggregate(aggregate) => self.aggregate(aggregate, set),
            ScalarExpr::Wrapped(pipeline, aggregate) => self.aggregate(aggregate, &self.matched(pipeline)),
            ScalarExpr::Negate(inner) => negate(&self.scalar(inner, set, span)),
            ScalarExpr::Arithmetic(op, left, right) => {
                arithmetic(*op, &self.scalar(left, set, span), &self.scalar(right, set, span))
            }
        }
    }

    fn aggregate(&self, aggregate: &Aggregate, set: &[usize]) -> Value {
        let values = |expr: &FieldExpr| set.iter().map(|span| self.value(*span, expr)).collect::<Vec<_>>();
        let numbers = |expr| values(expr).iter().filter_map(Value::as_f64).filter(|n| !n.is_nan()).collect();
        let number = match aggregate {
            Aggregate::Count => return Value::Int(set.len() as i64),
            Aggregate::CountDistinct(expr) => return Value::Int(distinct(values(expr)) as i64),
            Aggregate::Min(expr) => smallest(numbers(expr)),
            Aggregate::Max(expr) => largest(numbers(expr)),
            Aggregate::Sum(expr) => sum(numbers(expr)),
            Aggregate::Avg(expr) => mean(numbers(expr)),
            Aggregate::Quantile(expr, q) => quantile(numbers(expr), *q),
        };
        number.map_or(Value::Nil, Value::Float)
    }
}

/// Whether two lists of values are one group.
pub fn are_same(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.is_same(right))
}

fn union(left: Vec<usize>, right: Vec<usize>) -> Vec<usize> {
    let mut all = [left, right].concat();
    all.sort_unstable();
    all.dedup();
    all
}

fn joined(sets: &[Set]) -> Vec<usize> {
    sets.iter().fold(Vec::new(), |all, set| union(all, set.spans.clone()))
}

fn has_field(expr: &ScalarExpr) -> bool {
    match expr {
        ScalarExpr::Field(_) => true,
        ScalarExpr::Literal(_) | ScalarExpr::Aggregate(_) | ScalarExpr::Wrapped(..) => false,
        ScalarExpr::Negate(inner) => has_field(inner),
        ScalarExpr::Arithmetic(_, left, right) => has_field(left) || has_field(right),
    }
}

// === Numbers of many spans ===

/// The number of different values; nil is none.
pub fn distinct(values: Vec<Value>) -> usize {
    let mut known: Vec<Value> = Vec::new();
    for value in values.iter().map(Value::shown).filter(|value| *value != Value::Nil) {
        if !known.iter().any(|known| known.is_same(&value)) {
            known.push(value);
        }
    }
    known.len()
}

pub fn smallest(numbers: Vec<f64>) -> Option<f64> {
    numbers.into_iter().reduce(f64::min)
}

pub fn largest(numbers: Vec<f64>) -> Option<f64> {
    numbers.into_iter().reduce(f64::max)
}

pub fn sum(numbers: Vec<f64>) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum())
}

pub fn mean(numbers: Vec<f64>) -> Option<f64> {
    let count = numbers.len() as f64;
    sum(numbers).map(|sum| sum / count)
}

/// The smallest number that a fraction `q` of all does not exceed.
pub fn quantile(mut numbers: Vec<f64>, q: f64) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let rank = (q * numbers.len() as f64).ceil().max(1.0) as usize;
    numbers.get(rank - 1).copied()
}
