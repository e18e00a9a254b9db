//! Span sets of one trace: what a pipeline makes of its spans.
//!
//! A pipeline begins with one set of all spans, and each stage gets the sets of the stage before it. Everything here
//! works on rows of a table and its tree; no span is put together.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use spandrel_traceql::ast::{
    BinaryOp, FieldExpr, Pipeline, ScalarExpr, ScalarFilter, SpanSetExpr, SpanSetOp, Stage,
};

use crate::aggregate::BoundAggregate;
use crate::bind::{Columns, Condition, Expr, Subject};
use crate::error::QueryError;
use crate::limits::Budget;
use crate::rows::Rows;
use crate::scalar::{Key, Scalar, arithmetic, compare, negate};
use crate::structural;
use crate::tree::rows_of_traces;

/// A set of spans of one trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowSet {
    /// The rows, ascending.
    pub(crate) rows: Vec<u32>,
    /// The values by which it was split off, with the text of the expression.
    pub(crate) by: Vec<(String, Scalar<'static>)>,
    /// The aggregates that filters computed for it.
    pub(crate) values: Vec<(String, Scalar<'static>)>,
}

/// A pipeline bound to columns.
#[derive(Debug)]
pub(crate) struct BoundPipeline {
    stages: Vec<BoundStage>,
}

#[derive(Debug)]
enum BoundStage {
    Spans(SetExpr),
    Filter(Filter),
    By(Vec<(String, Expr)>),
    Coalesce,
}

#[derive(Debug)]
enum SetExpr {
    Filter(Condition),
    Binary(SpanSetOp, Box<SetExpr>, Box<SetExpr>),
    Wrapped(Box<BoundPipeline>),
    None(Box<SetExpr>),
    All(Box<SetExpr>),
}

#[derive(Debug)]
struct Filter {
    op: BinaryOp,
    left: Number,
    right: Number,
    /// Whether a field of single spans stands in it.
    by_span: bool,
    /// The aggregates in it, each with its text.
    aggregates: Vec<(String, SetAggregate)>,
}

/// A scalar of a set or of one of its spans.
#[derive(Debug)]
enum Number {
    Literal(Scalar<'static>),
    Subject(Subject),
    /// One of the filter's aggregates, by number.
    Aggregate(usize),
    Negate(Box<Number>),
    Arithmetic(BinaryOp, Box<Number>, Box<Number>),
}

#[derive(Debug)]
enum SetAggregate {
    /// Over the set.
    Own(BoundAggregate),
    /// Over what a pipeline of its own makes of the trace: the same for every set.
    OfTrace(BoundPipeline, BoundAggregate),
}

/// The spans of a table while a pipeline runs for each of its traces. What depends on the trace alone is computed once,
/// however many sets the pipeline makes of it, and conditions for the whole table.
struct Evaluation<'t> {
    rows: Rows<'t>,
    /// The rows of the trace.
    trace: Range<usize>,
    budget: &'t Budget,
    /// By the address of a condition: for each row, whether it holds.
    matching: RefCell<FxHashMap<usize, Rc<Vec<bool>>>>,
    /// By the address of an aggregate of the trace.
    of_trace: RefCell<FxHashMap<usize, Scalar<'static>>>,
}

// === Binding ===

impl BoundPipeline {
    pub(crate) fn bind(pipeline: &Pipeline, columns: &mut Columns) -> Result<Self, QueryError> {
        let mut bound = Self { stages: Vec::new() };
        for stage in &pipeline.stages {
            match stage {
                Stage::Spans(expr) => bound.stages.push(BoundStage::Spans(bind_set(expr, columns)?)),
                Stage::Filter(filter) => {
                    bound.stages.push(BoundStage::Filter(Filter::bind(filter, columns)?))
                }
                Stage::By(keys) => {
                    let key = |expr: &FieldExpr| Ok((expr.to_string(), columns.expr(expr)?));
                    let keys: Result<_, QueryError> = keys.iter().map(key).collect();
                    bound.stages.push(BoundStage::By(keys?));
                }
                Stage::Coalesce => bound.stages.push(BoundStage::Coalesce),
                // It only says what the answer shows.
                Stage::Select(_) => {}
            }
        }
        Ok(bound)
    }

    /// The condition on single spans, if the pipeline is nothing else.
    pub(crate) fn as_condition(&self) -> Option<&Condition> {
        match &self.stages[..] {
            [BoundStage::Spans(SetExpr::Filter(condition))] => Some(condition),
            _ => None,
        }
    }
}

fn bind_set(expr: &SpanSetExpr, columns: &mut Columns) -> Result<SetExpr, QueryError> {
    Ok(match expr {
        SpanSetExpr::Filter(condition) => SetExpr::Filter(columns.condition(condition)?),
        SpanSetExpr::Binary(op, left, right) => {
            if matches!(op, SpanSetOp::Structural { .. }) {
                columns.need_tree();
            }
            SetExpr::Binary(*op, Box::new(bind_set(left, columns)?), Box::new(bind_set(right, columns)?))
        }
        SpanSetExpr::Wrapped(pipeline) => SetExpr::Wrapped(Box::new(BoundPipeline::bind(pipeline, columns)?)),
        SpanSetExpr::None(inner) => SetExpr::None(Box::new(bind_set(inner, columns)?)),
        SpanSetExpr::All(inner) => SetExpr::All(Box::new(bind_set(inner, columns)?)),
    })
}

impl Filter {
    fn bind(filter: &ScalarFilter, columns: &mut Columns) -> Result<Self, QueryError> {
        let mut aggregates = Vec::new();
        let left = Number::bind(&filter.left, columns, &mut aggregates)?;
        let right = Number::bind(&filter.right, columns, &mut aggregates)?;
        let by_span = left.is_by_span() || right.is_by_span();
        Ok(Self { op: filter.op, left, right, by_span, aggregates })
    }
}

impl Number {
    fn bind(
        expr: &ScalarExpr,
        columns: &mut Columns,
        aggregates: &mut Vec<(String, SetAggregate)>,
    ) -> Result<Self, QueryError> {
        let aggregate = match expr {
            ScalarExpr::Literal(literal) => return Ok(Self::Literal(Scalar::of_literal(literal))),
            ScalarExpr::Field(field) => return Ok(Self::Subject(columns.subject(field))),
            ScalarExpr::Negate(inner) => {
                return Ok(Self::Negate(Box::new(Self::bind(inner, columns, aggregates)?)));
            }
            ScalarExpr::Arithmetic(op, left, right) => {
                let left = Box::new(Self::bind(left, columns, aggregates)?);
                return Ok(Self::Arithmetic(*op, left, Box::new(Self::bind(right, columns, aggregates)?)));
            }
            ScalarExpr::Aggregate(aggregate) => SetAggregate::Own(BoundAggregate::bind(aggregate, columns)?),
            ScalarExpr::Wrapped(pipeline, aggregate) => {
                let pipeline = BoundPipeline::bind(pipeline, columns)?;
                SetAggregate::OfTrace(pipeline, BoundAggregate::bind(aggregate, columns)?)
            }
        };
        aggregates.push((expr.to_string(), aggregate));
        Ok(Self::Aggregate(aggregates.len() - 1))
    }

    fn is_by_span(&self) -> bool {
        match self {
            Self::Subject(_) => true,
            Self::Negate(inner) => inner.is_by_span(),
            Self::Arithmetic(_, left, right) => left.is_by_span() || right.is_by_span(),
            Self::Literal(_) | Self::Aggregate(_) => false,
        }
    }

    /// The value for a row, given those of the filter's aggregates.
    fn of<'t>(&self, rows: Rows<'t>, row: usize, aggregates: &[Scalar<'static>]) -> Scalar<'t> {
        let value = |number: &Self| number.of(rows, row, aggregates);
        match self {
            Self::Literal(literal) => literal.clone(),
            Self::Subject(subject) => rows.first(subject, row),
            Self::Aggregate(at) => aggregates[*at].clone(),
            Self::Negate(inner) => negate(&value(inner)),
            Self::Arithmetic(op, left, right) => arithmetic(*op, &value(left), &value(right)),
        }
    }
}

// === Evaluation ===

impl BoundPipeline {
    /// The sets that the pipeline makes of the spans of the table's only trace; not all of them once the budget is used
    /// up.
    pub(crate) fn sets(&self, rows: Rows<'_>, budget: &Budget) -> Vec<RowSet> {
        Evaluation::new(rows, budget, 0..rows.count()).run(self, 0..rows.count())
    }

    /// Hands the sets of each trace of the table to a function.
    pub(crate) fn sets_of_each(&self, rows: Rows<'_>, budget: &Budget, mut take: impl FnMut(Vec<RowSet>)) {
        let mut evaluation = Evaluation::new(rows, budget, 0..0);
        for trace in rows_of_traces(rows.table) {
            evaluation.of_trace.get_mut().clear();
            evaluation.trace = trace.clone();
            take(evaluation.run(self, trace));
        }
    }

    /// The rows of all sets of all traces of the table, ascending.
    pub(crate) fn rows(&self, rows: Rows<'_>, budget: &Budget) -> Vec<u32> {
        let mut all = Vec::new();
        self.sets_of_each(rows, budget, |sets| all.extend(join(sets).into_iter().flat_map(|set| set.rows)));
        all
    }
}

impl<'t> Evaluation<'t> {
    fn new(rows: Rows<'t>, budget: &'t Budget, trace: Range<usize>) -> Self {
        let (matching, of_trace) = Default::default();
        Self { rows, trace, budget, matching, of_trace }
    }

    /// Runs a pipeline on rows of the trace.
    fn run(&self, pipeline: &BoundPipeline, rows: impl IntoIterator<Item = usize>) -> Vec<RowSet> {
        let rows = rows.into_iter().map(|row| row as u32).collect();
        self.run_on(pipeline, RowSet { rows, ..RowSet::default() })
    }

    fn run_on(&self, pipeline: &BoundPipeline, begin: RowSet) -> Vec<RowSet> {
        let mut sets = vec![begin];
        for stage in &pipeline.stages {
            sets = match stage {
                BoundStage::Spans(expr) => self.each(sets, |set| self.select(expr, set)),
                BoundStage::Filter(filter) => self.each(sets, |set| self.filter(filter, set)),
                BoundStage::By(keys) => self.each(sets, |set| split(self.rows, set, keys)),
                BoundStage::Coalesce => join(sets).into_iter().collect(),
            };
            if sets.is_empty() {
                break;
            }
        }
        sets
    }

    /// What a stage makes of each set, while the budget allows.
    fn each<I: IntoIterator<Item = RowSet>>(
        &self,
        sets: Vec<RowSet>,
        stage: impl Fn(RowSet) -> I,
    ) -> Vec<RowSet> {
        sets.into_iter().take_while(|_| self.budget.allows()).flat_map(stage).collect()
    }

    /// The part of a set that an expression selects. An expression that holds without spans of its own selects all.
    fn select(&self, expr: &SetExpr, set: RowSet) -> Option<RowSet> {
        let selected = self.eval(expr, &set.rows)?;
        Some(if selected.is_empty() { set } else { RowSet { rows: selected, ..set } })
    }

    /// The rows of a set that an expression selects; `None` if it does not hold. `none(...)` may hold without a row.
    fn eval(&self, expr: &SetExpr, within: &[u32]) -> Option<Vec<u32>> {
        match expr {
            SetExpr::Filter(condition) => {
                let matching = self.matching(condition);
                some(within.iter().copied().filter(|row| matching[*row as usize]).collect())
            }
            SetExpr::Binary(SpanSetOp::And, left, right) => {
                Some(union(self.eval(left, within)?, self.eval(right, within)?))
            }
            SetExpr::Binary(SpanSetOp::Or, left, right) => {
                match (self.eval(left, within), self.eval(right, within)) {
                    (Some(left), Some(right)) => Some(union(left, right)),
                    (left, right) => left.or(right),
                }
            }
            SetExpr::Binary(SpanSetOp::Structural { relation, result }, left, right) => {
                let left = self.eval(left, within).unwrap_or_default();
                let right = self.eval(right, within).unwrap_or_default();
                some(structural::join(self.rows.tree?, &self.trace, *relation, *result, left, right))
            }
            SetExpr::Wrapped(pipeline) => {
                let begin = RowSet { rows: within.to_vec(), ..RowSet::default() };
                join(self.run_on(pipeline, begin)).map(|set| set.rows)
            }
            SetExpr::None(inner) => self.eval(inner, within).is_none().then(Vec::new),
            SetExpr::All(inner) => self.eval(inner, within).filter(|rows| rows.len() == within.len()),
        }
    }

    fn matching(&self, condition: &Condition) -> Rc<Vec<bool>> {
        let address = std::ptr::from_ref(condition) as usize;
        let mut known = self.matching.borrow_mut();
        known.entry(address).or_insert_with(|| Rc::new(self.rows.matching(condition))).clone()
    }

    /// The set, or its spans for which a comparison holds; `None` if nothing is left.
    fn filter(&self, filter: &Filter, mut set: RowSet) -> Option<RowSet> {
        let values: Vec<Scalar<'static>> =
            filter.aggregates.iter().map(|(_, aggregate)| self.aggregate(aggregate, &set)).collect();
        let holds = |row| {
            let (left, right) =
                (filter.left.of(self.rows, row, &values), filter.right.of(self.rows, row, &values));
            compare(filter.op, &left, &right)
        };
        if filter.by_span {
            set.rows.retain(|row| holds(*row as usize));
        } else if !holds(self.trace.start) {
            return None;
        }
        let names = filter.aggregates.iter().map(|(name, _)| name.clone());
        set.values.extend(names.zip(values));
        (!set.rows.is_empty()).then_some(set)
    }

    fn aggregate(&self, aggregate: &SetAggregate, set: &RowSet) -> Scalar<'static> {
        let (pipeline, of_sets) = match aggregate {
            SetAggregate::Own(aggregate) => return aggregate.of(self.rows, &set.rows),
            SetAggregate::OfTrace(pipeline, aggregate) => (pipeline, aggregate),
        };
        let address = std::ptr::from_ref(aggregate) as usize;
        if let Some(known) = self.of_trace.borrow().get(&address) {
            return known.clone();
        }
        let joined = join(self.run(pipeline, self.trace.clone())).unwrap_or_default();
        let value = of_sets.of(self.rows, &joined.rows);
        self.of_trace.borrow_mut().insert(address, value.clone());
        value
    }
}

fn some(rows: Vec<u32>) -> Option<Vec<u32>> {
    (!rows.is_empty()).then_some(rows)
}

/// All rows of both, ascending.
fn union(mut left: Vec<u32>, right: Vec<u32>) -> Vec<u32> {
    left.extend(right);
    left.sort_unstable();
    left.dedup();
    left
}

/// One set of all rows.
fn join(sets: Vec<RowSet>) -> Option<RowSet> {
    let mut sets = sets.into_iter();
    let first = sets.next()?;
    let mut rows = first.rows;
    sets.for_each(|set| rows.extend(set.rows));
    Some(RowSet { rows: union(rows, Vec::new()), ..RowSet::default() })
}

/// A set for each combination of values, in the order in which they come.
fn split(rows: Rows<'_>, set: RowSet, keys: &[(String, Expr)]) -> Vec<RowSet> {
    let mut groups: Vec<RowSet> = Vec::new();
    let mut known: FxHashMap<Vec<Key>, usize> = FxHashMap::default();
    for row in set.rows {
        let values: Vec<Scalar<'_>> = keys.iter().map(|(_, expr)| rows.value(expr, row as usize)).collect();
        let place = *known.entry(values.iter().map(Scalar::key).collect()).or_insert(groups.len());
        if place == groups.len() {
            let named = keys.iter().zip(values).map(|((name, _), value)| (name.clone(), value.into_owned()));
            let by = set.by.iter().cloned().chain(named).collect();
            groups.push(RowSet { rows: Vec::new(), by, values: set.values.clone() });
        }
        groups[place].rows.push(row);
    }
    groups
}
