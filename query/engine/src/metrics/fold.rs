//! Series from the columns of spans: page by page where single spans decide, else trace by trace.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use spandrel_proto::{SpanId, UnixNanos};
use spandrel_storage::table::{FoldPlan, SkippedColumns, SpanTable, TableFold, Value};
use spandrel_traceql::ast::{Field, FieldExpr, Intrinsic, MetricsFunction, Pipeline};

use super::accumulator::Accumulator;
use super::{Context, Exemplar, MetricsAnswer, Series};
use crate::bind::{Columns, Condition, Expr, Subject, What};
use crate::error::QueryError;
use crate::labels::Labels;
use crate::limits::Partial;
use crate::pass::{Tables, pass};
use crate::predicate;
use crate::rows::Rows;
use crate::scalar::{Key, Scalar};
use crate::sets::BoundPipeline;
use crate::tree::Tree;

/// What is computed of which spans.
struct Task<'q> {
    function: &'q MetricsFunction,
    /// The value of a span; `None` where spans are counted.
    value: Option<Expr>,
    by: Vec<Subject>,
    choice: Choice,
    columns: Columns,
    context: Context<'q>,
}

/// How the spans that count are chosen.
enum Choice {
    /// The store did it.
    All,
    /// By a condition on single spans.
    Condition(Condition),
    /// By what a pipeline makes of whole traces.
    Pipeline(BoundPipeline),
}

/// The groups that one thread has seen.
struct Worker<'q> {
    task: &'q Task<'q>,
    labels: Labels,
    /// By group; none while no span has added a value.
    groups: Vec<Option<Group>>,
    /// How many there are.
    made: usize,
}

struct Group {
    accumulator: Accumulator,
    /// By step, the span with the largest value. Empty without exemplars.
    exemplars: Vec<Option<Exemplar>>,
}

/// Quantiles of one function.
const MAX_QUANTILES: usize = 16;

/// Computes the series of a fold.
pub(super) fn run(
    spans: &Pipeline,
    function: &MetricsFunction,
    by: &[Field],
    context: Context<'_>,
) -> Result<MetricsAnswer, QueryError> {
    let mut columns = Columns::default();
    if let MetricsFunction::QuantileOverTime(_, quantiles) = function
        && quantiles.len() > MAX_QUANTILES
    {
        return Err(QueryError::Unsupported(format!(
            "quantile_over_time takes at most {MAX_QUANTILES} quantiles"
        )));
    }
    let value = argument(function).map(|expr| columns.expr(expr)).transpose()?;
    let subjects = by.iter().map(|field| columns.subject(field)).collect();
    let bound = predicate::of_pipeline(spans);
    let whole = columns.need_traces(context.store, context.tenant);
    let choice = Choice::of(spans, bound.exact && !whole, &mut columns)?;
    let plan = FoldPlan {
        predicate: bound.predicate,
        range: context.range,
        columns: columns.names().to_vec(),
        ids: columns.needs_ids || context.exemplars > 0,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: context.budget.stop_signal(),
    };
    let task = Task { function, value, by: subjects, choice, columns, context };
    let (mut worker, partial) = task.run(plan)?;
    let mut series = worker.finish(by);
    limit(&mut series, context);
    Ok(MetricsAnswer { series, partial, ..MetricsAnswer::default() })
}

fn argument(function: &MetricsFunction) -> Option<&FieldExpr> {
    use MetricsFunction::*;
    match function {
        Rate | CountOverTime => None,
        MinOverTime(expr)
        | MaxOverTime(expr)
        | SumOverTime(expr)
        | AvgOverTime(expr)
        | QuantileOverTime(expr, _)
        | HistogramOverTime(expr)
        | CountDistinctOverTime(expr) => Some(expr),
    }
}

// === impl Choice ===

impl Choice {
    /// What the store decides exactly, where tables are not of whole traces, needs no columns here.
    fn of(spans: &Pipeline, exact: bool, columns: &mut Columns) -> Result<Self, QueryError> {
        if exact {
            return Ok(Self::All);
        }
        let pipeline = BoundPipeline::bind(spans, columns)?;
        Ok(match pipeline.as_condition() {
            Some(condition) => Self::Condition(condition.clone()),
            None => Self::Pipeline(pipeline),
        })
    }
}

// === impl Task ===

impl Task<'_> {
    /// Passes over the spans in several threads and joins what they found.
    fn run(&self, plan: FoldPlan) -> Result<(Worker<'_>, Option<Partial>), QueryError> {
        let Context { store, tenant, budget, .. } = self.context;
        let needs_traces = self.columns.need_traces(store, tenant);
        let whole_traces = needs_traces || matches!(self.choice, Choice::Pipeline(_));
        let tables = Tables::of(whole_traces);
        let (workers, partial) = pass((store, tenant), &plan, tables, budget, || Worker::new(self))?;
        let mut all = Worker::new(self);
        workers.into_iter().for_each(|worker| all.merge(worker));
        Ok((all, partial))
    }
}

// === impl Worker ===

impl TableFold for Worker<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        let task = self.task;
        if !task.context.budget.allows() {
            return false;
        }
        let tree = task.columns.needs_tree.then(|| Tree::of(table, task.columns.names()));
        let derived = task.columns.derive(table, tree.as_ref());
        let rows = Rows { table, tree: tree.as_ref(), derived: &derived };
        match self.chosen(rows) {
            Some(chosen) if chosen.is_empty() => true,
            chosen => self.add_rows(rows, chosen),
        }
    }
}

impl<'q> Worker<'q> {
    fn new(task: &'q Task<'q>) -> Self {
        Self { task, labels: Labels::default(), groups: Vec::new(), made: 0 }
    }

    /// The rows that count; `None` for all.
    fn chosen(&self, rows: Rows<'_>) -> Option<Vec<u32>> {
        let in_range =
            |row: &u32| self.task.context.range.contains(UnixNanos(rows.table.start[*row as usize]));
        match &self.task.choice {
            Choice::All => None,
            Choice::Condition(condition) => {
                let matching = rows.matching(condition);
                Some(
                    (0..rows.count() as u32).filter(|row| matching[*row as usize]).filter(in_range).collect(),
                )
            }
            Choice::Pipeline(pipeline) => {
                Some(pipeline.rows(rows, self.task.context.budget).into_iter().filter(in_range).collect())
            }
        }
    }

    fn add_rows(&mut self, rows: Rows<'_>, chosen: Option<Vec<u32>>) -> bool {
        let before = self.labels.bytes();
        let groups = self.labels.group_rows(rows, &self.task.by);
        if !self.task.context.budget.take(self.labels.bytes() - before) {
            return false;
        }
        self.groups.resize_with(self.labels.groups(), || None);
        let table = rows.table;
        let mut steps = self.task.context.steps.finder();
        let values = Values::of(rows, self.task);
        let budget = self.task.context.budget;
        let mut add = |row: usize| {
            if !values.is_known(row) {
                return true;
            }
            // Spans of a series too many do not count, those of the others still do.
            let Some(group) = self.group(groups[row] as usize) else { return budget.allows() };
            let step = steps.at(table.start[row]);
            let number = match &values {
                Values::Count => {
                    group.accumulator.count(step);
                    table.duration[row] as f64
                }
                Values::Durations => table.duration[row] as f64,
                Values::Numbers(numbers) => numbers[row],
                Values::Distinct(hashes) => {
                    let is_new = hashes[row].is_some_and(|hash| group.accumulator.add_distinct(step, hash));
                    return !is_new || budget.take(16);
                }
            };
            let grown = group.accumulator.add(step, number);
            group.see(step, table, row, number);
            grown == 0 || budget.take(grown)
        };
        match chosen {
            None => (0..table.rows()).all(&mut add),
            Some(chosen) => chosen.into_iter().all(|row| add(row as usize)),
        }
    }

    /// A group, made when its first span comes; `None` if there are too many.
    fn group(&mut self, at: usize) -> Option<&mut Group> {
        if self.groups[at].is_none() {
            let Context { steps, budget, exemplars, .. } = self.task.context;
            if self.made >= budget.limits().series {
                budget.stop(Partial::Series);
                return None;
            }
            let accumulator = Accumulator::new(self.task.function, steps.count);
            let exemplars = if exemplars > 0 { vec![None; steps.count] } else { Vec::new() };
            if !budget.take(accumulator.size() + exemplars.len() * size_of::<Exemplar>()) {
                return None;
            }
            self.made += 1;
            self.groups[at] = Some(Group { accumulator, exemplars });
        }
        self.groups[at].as_mut()
    }

    fn merge(&mut self, other: Self) {
        for (at, group) in other.groups.into_iter().enumerate() {
            let Some(group) = group else { continue };
            let mine = self.labels.adopt(&other.labels, at) as usize;
            self.groups.resize_with(self.labels.groups(), || None);
            match &mut self.groups[mine] {
                Some(known) => known.merge(group),
                none => *none = Some(group),
            }
        }
    }

    fn finish(&mut self, by: &[Field]) -> Vec<Series> {
        let mut all = Vec::new();
        for (at, group) in std::mem::take(&mut self.groups).into_iter().enumerate() {
            let Some(group) = group else { continue };
            let names = by.iter().map(ToString::to_string);
            let labels: Vec<_> = names.zip(self.labels.of_group(at).cloned()).collect();
            let exemplars = spread(group.exemplars, self.task.context.exemplars);
            let finished = group.accumulator.finish(self.task.function, self.task.context.steps.step);
            let many = matches!(self.task.function, MetricsFunction::QuantileOverTime(..));
            for (which, values) in finished {
                let mut labels = labels.clone();
                let name = if many { "p" } else { "__bucket" };
                labels.extend(which.map(|which| (name.to_owned(), Scalar::Float(which))));
                all.push(Series { labels, values, exemplars: exemplars.clone() });
            }
        }
        fill_counts(&mut all, self.task.function, by, self.task.context.steps.count);
        sort(&mut all);
        all
    }
}

/// A count without labels is zero where no span matches, so that it can be compared and computed with.
pub(super) fn fill_counts(series: &mut Vec<Series>, function: &MetricsFunction, by: &[Field], steps: usize) {
    let counts = matches!(function, MetricsFunction::Rate | MetricsFunction::CountOverTime);
    if counts && by.is_empty() && series.is_empty() {
        series.push(Series { values: vec![0.0; steps], ..Series::default() });
    }
}

/// Each thread has made as many series as there may be; together they may have more.
fn limit(series: &mut Vec<Series>, context: Context<'_>) {
    // Quantiles and buckets are series of one group.
    let group = |series: &Series| {
        let own = series.labels.iter().filter(|(name, _)| name != "p" && name != "__bucket");
        own.map(|(_, value)| value.key()).collect::<Vec<Key>>()
    };
    let (mut groups, mut last) = (0, None);
    let within = series.iter().take_while(|series| {
        let group = Some(group(series));
        if group != last {
            groups += 1;
            last = group;
        }
        groups <= context.budget.limits().series
    });
    let kept = within.count();
    if kept < series.len() {
        context.budget.stop(Partial::Series);
        series.truncate(kept);
    }
}

/// Sorts series by their labels.
pub(super) fn sort(series: &mut [Series]) {
    series.sort_by_cached_key(|series| {
        series.labels.iter().map(|(_, value)| value.key()).collect::<Vec<Key>>()
    });
}

/// At most `count` exemplars, spread over the steps.
fn spread(exemplars: Vec<Option<Exemplar>>, count: usize) -> Vec<Exemplar> {
    let known: Vec<Exemplar> = exemplars.into_iter().flatten().collect();
    if known.len() <= count {
        return known;
    }
    (0..count).map(|at| known[at * known.len() / count]).collect()
}

// === impl Group ===

impl Group {
    /// Keeps the span as an exemplar if its value is the largest of the step.
    fn see(&mut self, step: usize, table: &SpanTable, row: usize, value: f64) {
        let Some(known) = self.exemplars.get_mut(step) else { return };
        if known.is_some_and(|known| known.value >= value) {
            return;
        }
        let run = table.traces.partition_point(|(_, end)| *end as usize <= row);
        *known = Some(Exemplar {
            trace: table.traces[run].0,
            span: SpanId::from_bytes(table.span_id[row].to_be_bytes()),
            time: UnixNanos(table.start[row]),
            value,
        });
    }

    fn merge(&mut self, other: Self) {
        self.accumulator.merge(other.accumulator);
        for (known, other) in self.exemplars.iter_mut().zip(other.exemplars) {
            if other.is_some_and(|other| known.is_none_or(|known| known.value < other.value)) {
                *known = other;
            }
        }
    }
}

/// The values of the rows of a table.
enum Values {
    Count,
    Durations,
    /// NaN without a number.
    Numbers(Vec<f64>),
    Distinct(Vec<Option<u64>>),
}

// === impl Values ===

impl Values {
    fn of(rows: Rows<'_>, task: &Task<'_>) -> Self {
        let Some(expr) = &task.value else { return Self::Count };
        if let MetricsFunction::CountDistinctOverTime(_) = task.function {
            return Self::Distinct((0..rows.count()).map(|row| hash(&rows.value(expr, row))).collect());
        }
        match expr {
            Expr::Subject(Subject { of_parent: false, what: What::Intrinsic(Intrinsic::Duration) }) => {
                Self::Durations
            }
            Expr::Subject(Subject { of_parent: false, what: What::Columns(names) }) => {
                Self::Numbers(numbers_of(rows, names))
            }
            expr => {
                let number = |row| rows.value(expr, row).number().unwrap_or(f64::NAN);
                Self::Numbers((0..rows.count()).map(number).collect())
            }
        }
    }

    /// Whether a row has a value that counts.
    fn is_known(&self, row: usize) -> bool {
        match self {
            Self::Count | Self::Durations => true,
            Self::Numbers(numbers) => !numbers[row].is_nan(),
            Self::Distinct(hashes) => hashes[row].is_some(),
        }
    }
}

/// The number that each row's first value is; each distinct value is looked at once.
fn numbers_of(rows: Rows<'_>, names: &[Vec<usize>]) -> Vec<f64> {
    let mut numbers = vec![f64::NAN; rows.count()];
    for number in names.iter().flatten().rev() {
        let column = rows.column(*number);
        let mut known = vec![None; column.values.len()];
        let of_value = |value: &Value| Scalar::of_value(value).number().unwrap_or(f64::NAN);
        let codes = column.codes.by_row(rows.count());
        for (row, number) in numbers.iter_mut().enumerate() {
            if let Some(code) = codes.of_row(row).next() {
                *number = *known[code].get_or_insert_with(|| of_value(&column.values[code]));
            }
        }
    }
    numbers
}

fn hash(value: &Scalar<'_>) -> Option<u64> {
    let key = value.key();
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    (key != Key::Nil).then(|| hasher.finish())
}
