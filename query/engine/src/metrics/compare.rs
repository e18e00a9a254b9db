//! `compare`: how often each value of each attribute occurs in a selection of spans and in the rest.

use rustc_hash::FxHashSet;
use spandrel_proto::UnixNanos;
use spandrel_storage::table::{
    AttributeLevel, FoldPlan, KnownAttribute, SkippedColumns, SpanTable, TableFold,
};
use spandrel_traceql::ast::{AttributeName, Field, FieldExpr, FieldName, Intrinsic, Pipeline, Scope};

use super::compare_counts::{ComparedValue, Comparison, Counts, GroupCounts, NEITHER, Sides};
use super::{Context, MetricsAnswer, Series};
use crate::bind::{Columns, Condition, Subject, What};
use crate::error::QueryError;
use crate::limits::Partial;
use crate::pass::{Tables, pass};
use crate::predicate;
use crate::rows::Rows;
use crate::scalar::Scalar;
use crate::sets::BoundPipeline;
use crate::tree::Tree;

/// Attributes that are compared.
const MAX_FIELDS: usize = 1_000;
/// The names of the sides in labels.
const SIDES: [&str; 2] = ["selection", "baseline"];

struct Task<'q> {
    pipeline: BoundPipeline,
    selection: Condition,
    /// Selected spans start in it.
    selected_range: Option<(i64, i64)>,
    fields: Vec<(Field, Subject)>,
    columns: Columns,
    /// The number of columns that conditions need.
    needed: usize,
    /// Columns of fields with too many values.
    skipped: SkippedColumns,
    context: Context<'q>,
}

struct Worker<'q> {
    task: &'q Task<'q>,
    /// The spans of both sides.
    spans: [u64; 2],
    counts: Vec<Counts>,
}

/// The series of `compare`: of each attribute the `top` values of both sides, and the totals.
pub(super) fn run(
    spans: &Pipeline,
    selection: &FieldExpr,
    top: usize,
    selected_range: Option<(i64, i64)>,
    context: Context<'_>,
) -> Result<MetricsAnswer, QueryError> {
    let (comparisons, partial) = compare(spans, selection, selected_range, context)?;
    let all = comparisons.into_iter().flat_map(|comparison| series(comparison, top, context));
    let is_left = |_: &Series| context.budget.take(context.steps.count * 8);
    let series = all.take_while(is_left).collect();
    Ok(MetricsAnswer { series, partial, ..MetricsAnswer::default() })
}

/// Compares all attributes of spans, resources, and what every span has.
pub(super) fn compare(
    spans: &Pipeline,
    selection: &FieldExpr,
    selected_range: Option<(i64, i64)>,
    context: Context<'_>,
) -> Result<(Vec<Comparison>, Option<Partial>), QueryError> {
    let mut columns = Columns::default();
    let pipeline = BoundPipeline::bind(spans, &mut columns)?;
    let selection = columns.condition(selection)?;
    // The columns so far are needed to the end.
    let needed = columns.names().len();
    let fields = compared_fields(context)?;
    let fields = fields.into_iter().map(|field| (field.clone(), columns.subject(&field))).collect();
    let skipped = SkippedColumns::none_of(columns.names().len());
    let plan = FoldPlan {
        predicate: predicate::of_pipeline(spans).predicate,
        range: context.range,
        columns: columns.names().to_vec(),
        ids: columns.needs_ids,
        after: 0,
        skipped: skipped.clone(),
        stop: context.budget.stop_signal(),
    };
    let task = Task { pipeline, selection, selected_range, fields, columns, needed, skipped, context };
    let whole_traces =
        task.columns.need_traces(context.store, context.tenant) || task.pipeline.as_condition().is_none();
    let (source, tables) = ((context.store, context.tenant), Tables::of(whole_traces));
    let (workers, partial) = pass(source, &plan, tables, context.budget, || Worker::new(&task))?;
    let mut workers = workers.into_iter();
    let mut all = workers.next().unwrap_or_else(|| Worker::new(&task));
    workers.for_each(|worker| all.merge(worker));
    Ok((all.finish(), partial))
}

/// The fields that are compared. Old and new names of an attribute are one field.
fn compared_fields(context: Context<'_>) -> Result<Vec<Field>, QueryError> {
    let intrinsics = [Intrinsic::Name, Intrinsic::Kind, Intrinsic::Status, Intrinsic::StatusMessage];
    let intrinsic = |intrinsic| Field { of_parent: false, name: FieldName::Intrinsic(intrinsic) };
    let mut fields: Vec<Field> = intrinsics.into_iter().map(intrinsic).collect();
    let mut known = FxHashSet::default();
    for KnownAttribute { level, key, .. } in context.store.attributes(context.tenant, context.range)? {
        let scope = match level {
            AttributeLevel::Span => Scope::Span,
            AttributeLevel::Resource => Scope::Resource,
            AttributeLevel::Scope => Scope::Instrumentation,
            AttributeLevel::Event | AttributeLevel::Link => continue,
        };
        let newest = spandrel_proto::semconv::names_of(&key).map_or(key.as_str(), |names| names[0]);
        let name = AttributeName { scope, key: newest.to_owned(), is_literal: false };
        let field = Field { of_parent: false, name: FieldName::Attribute(name) };
        if !known.insert(field.clone()) {
            continue;
        }
        if known.len() > MAX_FIELDS {
            context.budget.stop(Partial::Series);
            break;
        }
        fields.push(field);
    }
    Ok(fields)
}

fn series(comparison: Comparison, top: usize, context: Context<'_>) -> Vec<Series> {
    let (name, steps) = (comparison.field.to_string(), context.steps.count);
    let label = |name: &str, text: &str| (name.to_owned(), Scalar::Text(text.to_owned().into()));
    let mut all = Vec::new();
    for (side, side_name) in SIDES.into_iter().enumerate() {
        let mut values: Vec<&ComparedValue> =
            comparison.values.iter().filter(|value| value.counts[side] > 0).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.counts[side]));
        for value in values.into_iter().take(top) {
            let labels = vec![label("__meta_type", side_name), (name.clone(), value.value.clone())];
            let values = (0..steps).map(|step| comparison.count(value, step)[side] as f64).collect();
            all.push(Series { labels, values, exemplars: Vec::new() });
        }
        let mut labels = vec![label("__meta_type", &format!("{side_name}_total")), label(&name, "")];
        labels[1].1 = Scalar::Nil;
        if comparison.too_many_values {
            labels.push(label("__meta_error", "__too_many_values__"));
        }
        let mut totals = vec![0.0; steps];
        for value in &comparison.values {
            let counts = (0..steps).map(|step| comparison.count(value, step)[side] as f64);
            totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        all.push(Series { labels, values: totals, exemplars: Vec::new() });
    }
    all
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
        let sides = task.sides(rows);
        (0..2).for_each(|side| {
            self.spans[side] += sides.iter().filter(|s| usize::from(**s) == side).count() as u64
        });
        let Context { budget, steps, .. } = task.context;
        let steps: Option<Vec<u32>> =
            (steps.count > 1).then(|| table.start.iter().map(|start| steps.at(*start) as u32).collect());
        let groups = GroupCounts::new();
        let sides = Sides { of_row: &sides, steps: steps.as_deref(), groups: &groups };
        let mut fields = task.fields.iter().zip(&mut self.counts);
        fields.all(|((_, subject), counts)| {
            if counts.too_many {
                task.skip(subject);
                return true;
            }
            budget.take(counts.add(rows, subject, sides))
        })
    }
}

impl Task<'_> {
    /// Reads the columns of a field no more.
    fn skip(&self, subject: &Subject) {
        let numbers = match &subject.what {
            What::Columns(names) => names.concat(),
            What::Text(number) => vec![*number],
            What::Intrinsic(_) => Vec::new(),
        };
        let unneeded = numbers.into_iter().filter(|number| *number >= self.needed);
        unneeded.for_each(|number| self.skipped.skip(number));
    }

    /// The side of each row.
    fn sides(&self, rows: Rows<'_>) -> Vec<u8> {
        let table = rows.table;
        let selected = rows.matching(&self.selection);
        let in_time = |start: u64| {
            let start = i64::try_from(start).unwrap_or(i64::MAX);
            self.selected_range.is_none_or(|(begin, end)| begin <= start && start < end)
        };
        let mut sides = vec![NEITHER; rows.count()];
        for row in self.pipeline.rows(rows, self.context.budget) {
            let row = row as usize;
            if self.context.range.contains(UnixNanos(table.start[row])) {
                sides[row] = u8::from(!(selected[row] && in_time(table.start[row])));
            }
        }
        sides
    }
}

impl<'q> Worker<'q> {
    fn new(task: &'q Task<'q>) -> Self {
        Self { task, spans: [0; 2], counts: task.fields.iter().map(|_| Counts::default()).collect() }
    }

    fn merge(&mut self, other: Self) {
        (0..2).for_each(|side| self.spans[side] += other.spans[side]);
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, other)| mine.merge(other));
    }

    fn finish(self) -> Vec<Comparison> {
        let fields = self.task.fields.iter().map(|(field, _)| field.clone());
        let compared = fields.zip(self.counts).map(|(field, counts)| counts.finish(field, self.spans));
        let mut all: Vec<Comparison> = compared.filter(|one| one.totals != [0, 0]).collect();
        all.sort_by(|a, b| b.difference.total_cmp(&a.difference));
        all
    }
}
