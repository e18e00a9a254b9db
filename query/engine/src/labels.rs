//! Numbers the values of labels, and the groups of spans that have the same labels.
//!
//! A column's distinct values are numbered once for all tables that share them, so that rows are grouped by number.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_storage::table::{Classes, Codes, ListId, SpanTable, ValueColumn};
use spandrel_traceql::ast::Intrinsic;

use crate::bind::{Subject, What};
use crate::rows::{EMPTY, Rows, kind, status};
use crate::scalar::{Key, Scalar};

/// Numbers values and groups.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    numbers: FxHashMap<Key, u32>,
    values: Vec<Scalar<'static>>,
    groups: FxHashMap<Box<[u32]>, u32>,
    /// Bytes of all values.
    bytes: usize,
    /// The groups of single labels, by label.
    singles: Vec<Option<u32>>,
    /// The labels of each group.
    members: Vec<Box<[u32]>>,
    /// By column: the numbers of the values of the list that its tables shared last.
    known: FxHashMap<usize, (Option<ListId>, Vec<u32>)>,
    /// The classes whose names were numbered last, and the numbers. Tables of one block share them.
    names: Option<(Arc<Classes>, Vec<u32>)>,
}

/// The number of a value that did not occur yet.
const UNKNOWN: u32 = u32::MAX;
/// Bytes of a value in both tables.
const VALUE_BYTES: usize = 96;
/// Bytes of a group in both tables.
const GROUP_BYTES: usize = 96;

// === impl Labels ===

impl Labels {
    /// Bytes of values and groups.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.members.len() * GROUP_BYTES
    }

    pub(crate) fn groups(&self) -> usize {
        self.members.len()
    }

    /// The labels of a group.
    pub(crate) fn of_group(&self, group: usize) -> impl Iterator<Item = &Scalar<'static>> {
        self.members[group].iter().map(|label| &self.values[*label as usize])
    }

    /// The group of each row of a table.
    pub(crate) fn group_rows(&mut self, rows: Rows<'_>, by: &[Subject]) -> Vec<u32> {
        let labels: Vec<Vec<u32>> = by.iter().map(|subject| self.label_rows(rows, subject)).collect();
        match &labels[..] {
            [] => {
                let all = self.group(&[]);
                vec![all; rows.count()]
            }
            [labels] => labels.iter().map(|label| self.group_of_one(*label)).collect(),
            _ => {
                let mut key = Vec::with_capacity(labels.len());
                let group = |row: usize| {
                    key.clear();
                    key.extend(labels.iter().map(|labels| labels[row]));
                    self.group(&key)
                };
                (0..rows.count()).map(group).collect()
            }
        }
    }

    /// The group of a single label.
    fn group_of_one(&mut self, label: u32) -> u32 {
        let place = label as usize;
        if place >= self.singles.len() {
            self.singles.resize(place + 1, None);
        }
        match self.singles[place] {
            Some(group) => group,
            None => {
                let group = self.group(&[label]);
                self.singles[place] = Some(group);
                group
            }
        }
    }

    /// The group of a single value.
    pub(crate) fn group_value(&mut self, value: &Scalar<'_>) -> u32 {
        let label = self.number(value);
        self.group_of_one(label)
    }

    /// The group of another one's group.
    pub(crate) fn adopt(&mut self, other: &Self, group: usize) -> u32 {
        let labels: Vec<u32> = other.of_group(group).map(|value| self.number(value)).collect();
        self.group(&labels)
    }

    fn group(&mut self, labels: &[u32]) -> u32 {
        if let Some(known) = self.groups.get(labels) {
            return *known;
        }
        let group = self.members.len() as u32;
        self.members.push(labels.into());
        self.groups.insert(labels.into(), group);
        group
    }

    fn number(&mut self, value: &Scalar<'_>) -> u32 {
        let (values, bytes) = (&mut self.values, &mut self.bytes);
        *self.numbers.entry(value.key()).or_insert_with(|| {
            let owned = value.clone().into_owned();
            let text = if let Scalar::Text(text) = &owned { text.len() } else { 0 };
            // The key has the text once more.
            *bytes += VALUE_BYTES + 2 * text;
            values.push(owned);
            values.len() as u32 - 1
        })
    }

    /// The number of each row's first value.
    fn label_rows(&mut self, rows: Rows<'_>, subject: &Subject) -> Vec<u32> {
        if subject.of_parent {
            return self.label_one_by_one(rows, subject);
        }
        let table = rows.table;
        match &subject.what {
            What::Columns(names) => self.label_columns(rows, names, &Scalar::Nil),
            What::Text(column) => self.label_columns(rows, &[vec![*column]], &EMPTY),
            What::Intrinsic(Intrinsic::Name) => {
                let numbers = self.number_names(&table.classes);
                by_class(table, |class| numbers[class.name as usize])
            }
            What::Intrinsic(Intrinsic::Kind) => {
                by_class(table, |class| self.number(&Scalar::Kind(kind(class.flags.kind()))))
            }
            What::Intrinsic(Intrinsic::Status) => {
                by_class(table, |class| self.number(&Scalar::Status(status(class.flags.status()))))
            }
            What::Intrinsic(Intrinsic::Failed) => {
                by_class(table, |class| self.number(&Scalar::Bool(class.flags.failed())))
            }
            What::Intrinsic(_) => self.label_one_by_one(rows, subject),
        }
    }

    fn label_one_by_one(&mut self, rows: Rows<'_>, subject: &Subject) -> Vec<u32> {
        (0..rows.count()).map(|row| self.number(&rows.first(subject, row))).collect()
    }

    /// The number of each row's first value, and of `absent` for rows without one.
    fn label_columns(&mut self, rows: Rows<'_>, names: &[Vec<usize>], absent: &Scalar<'_>) -> Vec<u32> {
        let absent = self.number(absent);
        let mut labels = vec![absent; rows.count()];
        // The first value counts, so that of the last column is written first.
        for number in names.iter().flatten().rev() {
            let column = rows.column(*number);
            if column.values.is_empty() {
                continue;
            }
            let mut numbers = self.numbers_of(*number, column);
            let mut number_of = |code: usize| {
                if numbers[code] == UNKNOWN {
                    numbers[code] = self.number(&Scalar::of_value(&column.values[code]));
                }
                numbers[code]
            };
            match &column.codes {
                Codes::One(codes) => {
                    for (label, code) in labels.iter_mut().zip(codes).filter(|(_, code)| **code > 0) {
                        *label = number_of(*code as usize - 1);
                    }
                }
                Codes::Few { rows, codes } => {
                    for (row, code) in rows.iter().zip(codes).filter(|(_, code)| **code > 0) {
                        labels[*row as usize] = number_of(*code as usize - 1);
                    }
                }
                Codes::Grouped { groups, codes } => {
                    for (label, group) in labels.iter_mut().zip(groups.iter()) {
                        if let Some(value) = codes[*group as usize].checked_sub(1) {
                            *label = number_of(value as usize);
                        }
                    }
                }
                codes @ Codes::Many { .. } => {
                    for (row, label) in labels.iter_mut().enumerate() {
                        if let Some(code) = codes.of_row(row).next() {
                            *label = number_of(code);
                        }
                    }
                }
            }
            self.known.insert(*number, (column.list, numbers));
        }
        labels
    }

    fn number_names(&mut self, classes: &Arc<Classes>) -> Vec<u32> {
        if let Some((known, numbers)) = &self.names
            && Arc::ptr_eq(known, classes)
        {
            return numbers.clone();
        }
        let numbers: Vec<u32> =
            classes.names.iter().map(|name| self.number(&Scalar::Text(name.into()))).collect();
        self.names = Some((classes.clone(), numbers.clone()));
        numbers
    }

    /// What is known of the numbers of a column's values.
    fn numbers_of(&mut self, number: usize, column: &ValueColumn) -> Vec<u32> {
        let (list, mut numbers) = self.known.remove(&number).unwrap_or_default();
        if list.is_none() || list != column.list {
            numbers.clear();
        }
        numbers.resize(column.values.len(), UNKNOWN);
        numbers
    }
}

fn by_class(table: &SpanTable, label: impl FnMut(&spandrel_storage::table::SpanClass) -> u32) -> Vec<u32> {
    let by_class: Vec<u32> = table.classes.classes.iter().map(label).collect();
    table.class.iter().map(|class| by_class[*class as usize]).collect()
}
