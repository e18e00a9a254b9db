//! The counts of one field's values, which `compare` makes of both sides.
//!
//! Rows are counted by code, in the list of values that the tables of a pass share. A value is looked up once in each
//! list, and not in each table.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_storage::table::{Codes, ListId, SpanTable, ValueColumn};
use spandrel_traceql::ast::Field;

use crate::bind::{Subject, What};
use crate::labels::Labels;
use crate::rows::Rows;
use crate::scalar::Scalar;

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

/// The values of one field, and how many spans of both sides have them.
#[derive(Default)]
pub(super) struct Counts {
    labels: Labels,
    /// By group of `labels`. Without the counts of `listed`.
    values: Vec<[u64; 2]>,
    listed: ListedCounts,
    /// By group and point; empty if there is one point only.
    by_step: FxHashMap<(u32, u32), [u64; 2]>,
    /// There are more values than are counted.
    pub(super) too_many: bool,
}

/// The counts of the values of one list.
#[derive(Default)]
struct ListedCounts {
    list: Option<ListId>,
    /// By code, of both sides and of [`NEITHER`]; code 0 is no value.
    counts: Vec<[u64; 3]>,
    /// By index of the value, its group; [`NO_GROUP`] until it is counted.
    groups: Vec<u32>,
    /// Indices of values without a group.
    uncounted: Vec<u32>,
}

/// Counts of groups of rows, by side.
pub(super) type GroupCounts = OnceCell<(Arc<Vec<u32>>, Vec<[u64; 3]>)>;

/// The sides and points of the rows of a table.
#[derive(Clone, Copy)]
pub(super) struct Sides<'t> {
    /// 0 for the selection, 1 for the rest, or [`NEITHER`].
    pub(super) of_row: &'t [u8],
    /// The point of each row; `None` if there is one point only.
    pub(super) steps: Option<&'t [u32]>,
    /// The counts of groups of rows, which columns share.
    pub(super) groups: &'t GroupCounts,
}

/// Where the values of a field are in a table.
enum FieldOfTable<'t> {
    /// No row has one.
    Absent,
    /// In one column, each row of which has one value at the most.
    OneColumn(&'t ValueColumn),
    Other,
}

/// The side of a row that does not count.
pub(super) const NEITHER: u8 = 2;
/// Values of one attribute that are counted.
const MAX_VALUES: usize = 10_000;
const NO_GROUP: u32 = u32::MAX;
/// Bytes of a count in `by_step`.
const STEP_BYTES: usize = 32;

// === impl Comparison ===

impl Comparison {
    /// The spans of both sides with a value that start in a step.
    pub(super) fn count(&self, value: &ComparedValue, step: usize) -> [u64; 2] {
        match self.by_step.is_empty() {
            true => value.counts,
            false => self.by_step.get(&(value.group, step as u32)).copied().unwrap_or_default(),
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Counts the values of a table. Returns how many bytes more they take.
    pub(super) fn add(&mut self, rows: Rows<'_>, subject: &Subject, sides: Sides<'_>) -> usize {
        let (bytes, points) = (self.labels.bytes(), self.by_step.len());
        match FieldOfTable::of(rows.table, subject) {
            FieldOfTable::Absent => return 0,
            FieldOfTable::OneColumn(column) => self.add_column(column, sides),
            FieldOfTable::Other => self.add_rows(rows, subject, sides),
        }
        self.too_many = self.labels.groups() > MAX_VALUES && self.counted() > MAX_VALUES;
        self.labels.bytes() - bytes + (self.by_step.len() - points) * STEP_BYTES
    }

    /// Counts the codes of a column.
    fn add_column(&mut self, column: &ValueColumn, sides: Sides<'_>) {
        if column.list.is_none() || column.list != self.listed.list {
            self.flush();
            self.listed.list = column.list;
        }
        self.listed.add(column, sides);
        let Self { labels, listed, by_step, values, .. } = self;
        listed.group(|value| labels.group_value(&Scalar::of_value(&column.values[value])));
        values.resize(labels.groups(), [0; 2]);
        let Some(steps) = sides.steps else { return };
        let codes = column.codes.by_row(steps.len());
        for (row, (side, step)) in sides.of_row.iter().zip(steps).enumerate() {
            if let Some(value) = codes.of_row(row).next().filter(|_| *side != NEITHER) {
                by_step.entry((listed.groups[value], *step)).or_default()[usize::from(*side)] += 1;
            }
        }
    }

    /// Counts the first value of each row.
    fn add_rows(&mut self, rows: Rows<'_>, subject: &Subject, sides: Sides<'_>) {
        let groups = self.labels.group_rows(rows, std::slice::from_ref(subject));
        self.values.resize(self.labels.groups(), [0; 2]);
        for (row, (group, side)) in groups.into_iter().zip(sides.of_row).enumerate() {
            if *side == NEITHER {
                continue;
            }
            self.values[group as usize][usize::from(*side)] += 1;
            if let Some(steps) = sides.steps {
                self.by_step.entry((group, steps[row])).or_default()[usize::from(*side)] += 1;
            }
        }
    }

    /// Adds the counts of the list to those of the groups.
    fn flush(&mut self) {
        let ListedCounts { counts, groups, .. } = std::mem::take(&mut self.listed);
        let counted = groups.into_iter().zip(counts.into_iter().skip(1)).filter(|(g, _)| *g != NO_GROUP);
        for (group, counts) in counted {
            (0..2).for_each(|side| self.values[group as usize][side] += counts[side]);
        }
    }

    /// How many values have been counted.
    fn counted(&mut self) -> usize {
        self.flush();
        self.with_counts().count()
    }

    /// The groups of values, with their counts.
    fn with_counts(&self) -> impl Iterator<Item = (usize, &Scalar<'static>, [u64; 2])> {
        let counted = self.values.iter().enumerate().filter(|(_, counts)| **counts != [0, 0]);
        counted.filter_map(|(group, counts)| {
            let value = self.labels.of_group(group).next()?;
            (*value != Scalar::Nil).then_some((group, value, *counts))
        })
    }

    /// Adds the counts of another thread. Those of too many values are a part in any case.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.too_many |= other.too_many;
        if self.too_many {
            return;
        }
        self.flush();
        other.flush();
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
        self.too_many = self.counted() > MAX_VALUES;
    }

    /// The comparison, given the number of spans of both sides.
    pub(super) fn finish(mut self, field: Field, spans: [u64; 2]) -> Comparison {
        self.flush();
        let share = |counts: [u64; 2], side: usize| counts[side] as f64 / spans[side].max(1) as f64;
        let difference = |counts: [u64; 2]| (share(counts, 0) - share(counts, 1)).abs();
        let mut totals = [0; 2];
        let mut values: Vec<ComparedValue> = Vec::new();
        for (group, value, counts) in self.with_counts() {
            (0..2).for_each(|side| totals[side] += counts[side]);
            values.push(ComparedValue { value: value.clone(), counts, group: group as u32 });
        }
        values.sort_by_cached_key(|value| value.value.key());
        values.sort_by(|a, b| difference(b.counts).total_cmp(&difference(a.counts)));
        let largest = values.first().map_or(0.0, |value| difference(value.counts));
        Comparison {
            field,
            values,
            totals,
            difference: if self.too_many { 0.0 } else { largest },
            too_many_values: self.too_many,
            by_step: self.by_step,
        }
    }
}

// === impl Sides ===

impl<'t> Sides<'t> {
    /// How many rows of each group lie on each side.
    fn by_group(self, groups: &Arc<Vec<u32>>) -> Cow<'t, [[u64; 3]]> {
        let count = || {
            let mut counts = vec![[0; 3]; groups.iter().max().map_or(0, |most| *most as usize + 1)];
            for (group, side) in groups.iter().zip(self.of_row) {
                counts[*group as usize][usize::from(*side)] += 1;
            }
            counts
        };
        let (counted, counts) = self.groups.get_or_init(|| (groups.clone(), count()));
        if Arc::ptr_eq(counted, groups) { Cow::Borrowed(counts) } else { Cow::Owned(count()) }
    }
}

// === impl ListedCounts ===

impl ListedCounts {
    fn add(&mut self, column: &ValueColumn, sides: Sides<'_>) {
        let values = column.values.len();
        self.uncounted.extend(self.groups.len() as u32..values as u32);
        self.groups.resize(values, NO_GROUP);
        self.counts.resize(values + 1, [0; 3]);
        // Code 0 and rows that do not count have places of their own, so that nothing is asked of single rows.
        let counts = &mut self.counts;
        match &column.codes {
            Codes::Few { rows, codes } => {
                for (row, code) in rows.iter().zip(codes) {
                    counts[*code as usize][usize::from(sides.of_row[*row as usize])] += 1;
                }
            }
            Codes::Grouped { groups, codes } => {
                for (code, of_group) in codes.iter().zip(&*sides.by_group(groups)) {
                    (0..2).for_each(|side| counts[*code as usize][side] += of_group[side]);
                }
            }
            Codes::One(codes) => {
                for (code, side) in codes.iter().zip(sides.of_row) {
                    counts[*code as usize][usize::from(*side)] += 1;
                }
            }
            // `FieldOfTable` has sorted them out.
            Codes::Many { .. } => {}
        }
    }

    /// Gives values that have been counted for the first time their groups.
    fn group(&mut self, mut group_of: impl FnMut(usize) -> u32) {
        let Self { counts, groups, uncounted, .. } = self;
        uncounted.retain(|value| {
            let at = *value as usize;
            let [selected, others, _] = counts[at + 1];
            if selected + others > 0 {
                groups[at] = group_of(at);
            }
            groups[at] == NO_GROUP
        });
    }
}

// === impl FieldOfTable ===

impl<'t> FieldOfTable<'t> {
    fn of(table: &'t SpanTable, subject: &Subject) -> Self {
        let What::Columns(names) = &subject.what else { return Self::Other };
        let columns = names.iter().flatten().map(|number| &table.columns[*number]);
        let mut filled = columns.filter(|column| !column.values.is_empty());
        match (filled.next(), filled.next()) {
            _ if subject.of_parent => Self::Other,
            (None, _) => Self::Absent,
            (Some(ValueColumn { codes: Codes::Many { .. }, .. }), _) | (_, Some(_)) => Self::Other,
            (Some(column), None) => Self::OneColumn(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_storage::table::Value;
    use spandrel_traceql::ast::{FieldName, Intrinsic};

    use super::*;

    /// A table of one column with a row for each of these numbers.
    fn table(numbers: std::ops::Range<i64>, list: Option<ListId>) -> SpanTable {
        let rows = numbers.clone().count();
        let codes = Codes::One((1..=rows as u32).collect());
        let values = Arc::new(numbers.map(Value::Int).collect());
        SpanTable {
            traces: vec![(spandrel_proto::TraceId::MIN, rows as u32)],
            class: vec![0; rows],
            start: vec![0; rows],
            duration: vec![0; rows],
            columns: vec![ValueColumn { values, codes, list }],
            ..SpanTable::default()
        }
    }

    fn counts(tables: &[SpanTable]) -> Counts {
        let subject = Subject { of_parent: false, what: What::Columns(vec![vec![0]]) };
        let mut counts = Counts::default();
        for table in tables {
            let (sides, groups) = (vec![0; table.rows()], GroupCounts::new());
            let sides = Sides { of_row: &sides, steps: None, groups: &groups };
            counts.add(Rows { table, tree: None, derived: &[] }, &subject, sides);
        }
        counts
    }

    fn finish(counts: Counts) -> Comparison {
        let field = Field { of_parent: false, name: FieldName::Intrinsic(Intrinsic::Name) };
        counts.finish(field, [1, 0])
    }

    #[test]
    fn values_are_too_many_whatever_the_number_of_threads() {
        let most = MAX_VALUES as i64;
        for (end, too_many) in [(most, false), (most + 1, true)] {
            let mut half = counts(&[table(0..most / 2, None)]);
            half.merge(counts(&[table(most / 2..end, None)]));
            assert_eq!((half.too_many, counts(&[table(0..end, None)]).too_many), (too_many, too_many));
        }
    }

    #[test]
    fn a_shared_list_is_counted_over_tables() {
        let list = Some(ListId::unique());
        let tables = [table(0..3, list), table(0..5, list), table(2..4, Some(ListId::unique()))];
        let counted = finish(counts(&tables));
        let values: Vec<_> = counted.values.iter().map(|one| (one.value.clone(), one.counts[0])).collect();
        let expected = [(2, 3), (0, 2), (1, 2), (3, 2), (4, 1)];
        assert_eq!(values, expected.map(|(value, count)| (Scalar::Int(value), count)));
        assert_eq!((counted.totals, counted.too_many_values), ([10, 0], false));
    }
}
