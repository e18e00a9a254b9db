//! `compare`: how often each value of each attribute occurs in a selection of spans and in the rest.

use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_proto::UnixNanos;
use spandrel_storage::table::{
    AttributeLevel, Codes, FoldPlan, KnownAttribute, SkippedColumns, SpanTable, TableFold, Value, ValueColumn,
};
use spandrel_traceql::ast::{AttributeName, Field, FieldExpr, FieldName, Intrinsic, Pipeline, Scope};

use super::{Context, MetricsAnswer, Series};
use crate::bind::{Columns, Condition, Subject, What};
use crate::error::QueryError;
use crate::labels::Labels;
use crate::limits::Partial;
use crate::pass::{Tables, pass};
use crate::predicate;
use crate::rows::Rows;
use crate::scalar::{Key, Scalar};
use crate::sets::BoundPipeline;
use crate::tree::Tree;

/// How often each value of an attribute occurs on both sides.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The attribute.
    pub field: Field,
    /// Its values; those whose shares differ most come first.
    pub values: Vec<ComparedValue>,
    /// Selected spans that have the attribute, and others that have it.
    pub totals: [u64; 2],
    /// The largest difference between the shares of a value on both sides, from 0 to 1; a share is that of all spans of
    /// the side, with the attribute or without.
    pub difference: f64,
    /// It has more values than are counted, as IDs do.
    pub too_many_values: bool,
    /// By value and point; empty if there is one point only.
    by_step: FxHashMap<(u32, u32), [u64; 2]>,
}

/// One value of an attribute.
#[derive(Debug, Clone)]
pub struct ComparedValue {
    /// The value.
    pub value: Scalar<'static>,
    /// Selected spans with it, and others.
    pub counts: [u64; 2],
    /// Its number in `by_step` of its comparison.
    group: u32,
}

/// Attributes that are compared.
const MAX_FIELDS: usize = 1_000;
/// Values of one attribute that are counted.
const MAX_VALUES: usize = 10_000;
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

/// The values of one field.
#[derive(Default)]
struct Counts {
    labels: Labels,
    /// By value.
    values: Vec<[u64; 2]>,
    /// By value and point; empty if there is one point only.
    by_step: FxHashMap<(u32, u32), [u64; 2]>,
    totals: [u64; 2],
    too_many: bool,
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
    let whole_traces = task.columns.needs_tree || task.pipeline.as_condition().is_none();
    let (source, tables) = ((context.store, context.tenant), Tables::of(whole_traces));
    let (workers, partial) = pass(source, &plan, tables, context.budget, || Worker::new(&task))?;
    let mut all = Worker::new(&task);
    workers.into_iter().for_each(|worker| all.merge(worker));
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

// === impl Comparison ===

impl Comparison {
    /// The spans of both sides with a value that start in a step.
    fn count(&self, value: &ComparedValue, step: usize) -> [u64; 2] {
        match self.by_step.is_empty() {
            true => value.counts,
            false => self.by_step.get(&(value.group, step as u32)).copied().unwrap_or_default(),
        }
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
        let rows = Rows { table, tree: tree.as_ref() };
        let sides = task.sides(rows);
        (0..2).for_each(|side| {
            self.spans[side] += sides.iter().filter(|s| usize::from(**s) == side).count() as u64
        });
        task.fields
            .iter()
            .zip(&mut self.counts)
            .all(|((_, subject), counts)| counts.add(rows, subject, &sides, task))
    }
}

/// The side of a row that does not count.
const NEITHER: u8 = 2;

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
        let totalled = self.counts.into_iter().map(Counts::with_totals);
        let compared = fields.zip(totalled).filter(|(_, counts)| counts.totals != [0, 0]);
        let mut all: Vec<Comparison> =
            compared.map(|(field, counts)| counts.finish(field, self.spans)).collect();
        all.sort_by(|a, b| b.difference.total_cmp(&a.difference));
        all
    }
}

/// A column in which each row has one value at most.
struct OneValueColumn<'t> {
    values: &'t [Value],
    codes: &'t [u32],
}

/// The only column of a field that has values in a table, if its rows have one value each.
fn only_column<'t>(table: &'t SpanTable, subject: &Subject) -> Option<OneValueColumn<'t>> {
    let What::Columns(names) = &subject.what else { return None };
    let columns = names.iter().flatten().map(|number| &table.columns[*number]);
    let mut filled = columns.filter(|column| !column.values.is_empty());
    match (filled.next(), filled.next()) {
        (Some(ValueColumn { values, codes: Codes::One(codes) }), None) if !subject.of_parent => {
            Some(OneValueColumn { values, codes })
        }
        _ => None,
    }
}

// === impl Counts ===

impl Counts {
    /// Counts the values of a table. `false` if there is no memory for more.
    fn add(&mut self, rows: Rows<'_>, subject: &Subject, sides: &[u8], task: &Task<'_>) -> bool {
        if self.too_many {
            task.skip(subject);
            return true;
        }
        let before = self.labels.bytes();
        let (budget, steps) = (task.context.budget, task.context.steps);
        if steps.count == 1
            && let Some(column) = only_column(rows.table, subject)
        {
            self.add_column(column, sides);
            return budget.take(self.labels.bytes() - before);
        }
        let groups = self.labels.group_rows(rows, std::slice::from_ref(subject));
        self.values.resize(self.labels.groups(), [0; 2]);
        self.too_many = self.values.len() > MAX_VALUES;
        let points_before = self.by_step.len();
        for (row, (group, side)) in groups.into_iter().zip(sides).enumerate() {
            if *side == NEITHER {
                continue;
            }
            self.values[group as usize][usize::from(*side)] += 1;
            if steps.count > 1 {
                let step = steps.at(rows.table.start[row]) as u32;
                self.by_step.entry((group, step)).or_default()[usize::from(*side)] += 1;
            }
        }
        budget.take(self.labels.bytes() - before + (self.by_step.len() - points_before) * 32)
    }

    /// Counts the codes of a column, and then each of its values once.
    fn add_column(&mut self, column: OneValueColumn<'_>, sides: &[u8]) {
        // Code 0 is no value, and side 2 does not count: both have a place, so that nothing is asked of single rows.
        let mut counts = vec![[0u32; 3]; column.values.len() + 1];
        for (code, side) in column.codes.iter().zip(sides) {
            counts[*code as usize][usize::from(*side)] += 1;
        }
        for (value, counts) in column.values.iter().zip(&counts[1..]).filter(|(_, c)| c[0] + c[1] > 0) {
            let group = self.labels.group_value(&Scalar::of_value(value)) as usize;
            self.values.resize(self.labels.groups(), [0; 2]);
            (0..2).for_each(|side| self.values[group][side] += u64::from(counts[side]));
        }
        self.too_many = self.values.len() > MAX_VALUES;
    }

    /// Counts the spans that have the field.
    fn with_totals(mut self) -> Self {
        for (group, counts) in self.values.iter().enumerate() {
            if self.labels.of_group(group).all(|value| *value != Scalar::Nil) {
                (0..2).for_each(|side| self.totals[side] += counts[side]);
            }
        }
        self
    }

    fn merge(&mut self, other: Self) {
        self.too_many |= other.too_many;
        let adopted: Vec<u32> =
            (0..other.values.len()).map(|group| self.labels.adopt(&other.labels, group)).collect();
        self.values.resize(self.labels.groups(), [0; 2]);
        for (group, counts) in adopted.iter().zip(other.values) {
            (0..2).for_each(|side| self.values[*group as usize][side] += counts[side]);
        }
        for ((group, step), counts) in other.by_step {
            let mine = self.by_step.entry((adopted[group as usize], step)).or_default();
            (0..2).for_each(|side| mine[side] += counts[side]);
        }
    }

    fn finish(self, field: Field, spans: [u64; 2]) -> Comparison {
        let share = |counts: [u64; 2], side: usize| counts[side] as f64 / spans[side].max(1) as f64;
        let difference = |counts: [u64; 2]| (share(counts, 0) - share(counts, 1)).abs();
        let mut values: Vec<ComparedValue> = Vec::new();
        for (group, counts) in self.values.iter().enumerate() {
            let value = self.labels.of_group(group).next().cloned().unwrap_or(Scalar::Nil);
            if value.key() != Key::Nil && *counts != [0, 0] {
                values.push(ComparedValue { value, counts: *counts, group: group as u32 });
            }
        }
        values.sort_by_cached_key(|value| value.value.key());
        values.sort_by(|a, b| difference(b.counts).total_cmp(&difference(a.counts)));
        let largest = values.first().map_or(0.0, |value| difference(value.counts));
        Comparison {
            field,
            values,
            totals: self.totals,
            difference: if self.too_many { 0.0 } else { largest },
            too_many_values: self.too_many,
            by_step: self.by_step,
        }
    }
}
