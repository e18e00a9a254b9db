//! The order of rows in a page of a sealed block: those of each trace depth first, a span before its descendants,
//! siblings and roots by start and ID.
//!
//! Rows are pushed by start and span ID, and pages are cut in that order: all rows of a trace in one page start no
//! later than those in the next. Rows of several blocks are merged by start, so readers sort a page's rows in that
//! order again (`merge.rs`, `storage/src/store/read/merge_iter.rs`). Fresh blocks keep the order of starts, because
//! they are merged within seconds.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::columns::{NO_ROW, PageColumns};
use super::shred::SpanSchema;
use crate::shape::{EVENTS, FieldEncoding, Level, ValueKind};

/// Finds parents and the order, and sorts the columns. Its memory is reused for the next page.
#[derive(Debug, Default)]
pub(crate) struct TreeOrder {
    /// The span's number in its trace by its ID.
    ids: FxHashMap<u64, u32>,
    forest: Forest,
    /// For each place, the row that moves to it.
    order: Vec<u32>,
    /// For each row, the place that it moves to.
    places: Vec<u32>,
    moves: bool,
    values: Values,
    /// Buffers for one column while it is sorted.
    narrow: Vec<u32>,
    wide: Vec<u64>,
}

/// The tree of the spans of one trace in a page, by their numbers in the trace.
#[derive(Debug, Default)]
struct Forest {
    /// The parent of each span; the number of spans stands for the parent of roots.
    parents: Vec<u32>,
    /// The last child of each span; `before` has the previous sibling of each child.
    last_child: Vec<u32>,
    before: Vec<u32>,
    left: Vec<u32>,
}

/// Moves the values of rows; the shape of a row tells how many values it has.
#[derive(Debug, Default)]
struct Values {
    /// By shape: the columns that have values of it.
    steps: Vec<Vec<ColumnStep>>,
    /// By column.
    cursors: Vec<Cursor>,
    /// The values of a trace row by row; `rows` has the index of each row's first value.
    lifted: Vec<u64>,
    rows: Vec<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    /// The number of values that were read or skipped.
    taken: u32,
    /// The trace that used the column last; `filled` is the position of its next value to write.
    met: u32,
    filled: u32,
}

/// A column (of events, of links, or of a slot) and the type of its values.
#[derive(Debug, Clone, Copy)]
struct ColumnStep {
    column: u32,
    kind: ColumnKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    Event,
    Link,
    Number,
    Text,
}

const EVENT_COLUMN: u32 = 0;
const LINK_COLUMN: u32 = 1;
/// The column of the first slot.
const FIRST_SLOT: u32 = 2;

const NONE: u32 = u32::MAX;
/// The parent of a span that was already visited.
const PLACED: u32 = u32::MAX - 1;
/// In a run of up to this many rows, parents are searched row by row, else in a hash map.
const SHORT_RUN: usize = 32;

// === impl TreeOrder ===

impl TreeOrder {
    /// Finds the row of each row's parent. If spans share an ID, the parent is the last one in front of the child,
    /// since parents start before their children, and most of them shortly before. In a long run, where that would be
    /// slow to find, it is the last one of all.
    pub(crate) fn find_parents(&mut self, columns: &mut PageColumns) {
        columns.parent_row.clear();
        for run in 0..columns.traces.len() {
            let rows = columns.run(run);
            let ids = &columns.span_id[rows.clone()];
            let is_long = ids.len() > SHORT_RUN;
            if is_long {
                self.ids.clear();
                self.ids.extend(ids.iter().zip(0..).map(|(id, span)| (*id, span)));
            }
            for (at, &parent) in columns.parent[rows.clone()].iter().enumerate() {
                let found = match parent {
                    0 => None,
                    _ if is_long => self.ids.get(&parent).map(|span| *span as usize),
                    _ => {
                        let before = ids[..at].iter().rposition(|id| *id == parent);
                        before.or_else(|| Some(at + ids[at..].iter().position(|id| *id == parent)?))
                    }
                };
                columns.parent_row.push(found.map_or(NO_ROW, |span| (rows.start + span) as u32));
            }
        }
    }

    /// Finds the order of a page's rows, given their parents. Returns whether a row moves.
    pub(crate) fn find_order(&mut self, columns: &PageColumns) -> bool {
        self.order.clear();
        for run in 0..columns.traces.len() {
            let rows = columns.run(run);
            let (begin, order) = (rows.start as u32, &mut self.order);
            self.forest.visit(begin, &columns.parent_row[rows.clone()], &mut |span| order.push(begin + span));
            self.find_places(columns, rows);
        }
        self.moves = self.order.iter().zip(0..).any(|(row, place)| *row != place);
        self.moves
    }

    /// The row that moves to each place; `None` if no row moves.
    pub(crate) fn order(&self) -> Option<&[u32]> {
        self.moves.then_some(&self.order)
    }

    /// Sorts the columns that every row has.
    pub(crate) fn move_rows(&mut self, columns: &mut PageColumns) {
        if !self.moves {
            return;
        }
        for row in columns.parent_row.iter_mut().filter(|row| **row != NO_ROW) {
            *row = self.places[*row as usize];
        }
        for column in [&mut columns.class, &mut columns.resource_scope, &mut columns.parent_row] {
            self.narrow.clear();
            self.narrow.extend(self.order.iter().map(|row| column[*row as usize]));
            std::mem::swap(column, &mut self.narrow);
        }
        for column in [
            &mut columns.start,
            &mut columns.duration,
            &mut columns.sequence,
            &mut columns.span_id,
            &mut columns.parent,
        ] {
            self.wide.clear();
            self.wide.extend(self.order.iter().map(|row| column[*row as usize]));
            std::mem::swap(column, &mut self.wide);
        }
    }

    /// Sorts the values of pushed rows, before the rows move.
    pub(crate) fn move_values(&mut self, columns: &mut PageColumns, schema: &SpanSchema) {
        self.values.begin_page(schema);
        for run in 0..columns.traces.len() {
            let rows = columns.run(run);
            let order = &self.order[rows.clone()];
            if order.iter().zip(rows.start as u32..).all(|(row, place)| *row == place) {
                self.values.pass(columns, schema, rows);
            } else {
                self.values.apply(columns, schema, rows.clone(), order);
            }
        }
    }

    /// Records the place of each row. Spans with the same start, ID and commit keep the order in which they were
    /// pushed, wherever they are in the tree, because readers cannot find it out in another way.
    fn find_places(&mut self, columns: &PageColumns, rows: Range<usize>) {
        self.places.resize(columns.rows(), 0);
        for (row, place) in self.order[rows.clone()].iter().zip(rows.start as u32..) {
            self.places[*row as usize] = place;
        }
        let key = |row: usize| (columns.start[row], columns.span_id[row], columns.sequence[row]);
        let mut begin = rows.start;
        while begin < rows.end {
            let end = (begin + 1..rows.end).find(|row| key(*row) != key(begin)).unwrap_or(rows.end);
            if end - begin > 1 {
                let places = &mut self.places[begin..end];
                places.sort_unstable();
                places.iter().zip(begin as u32..).for_each(|(place, row)| self.order[*place as usize] = row);
            }
            begin = end;
        }
    }
}

// === impl Values ===

impl Values {
    fn begin_page(&mut self, schema: &SpanSchema) {
        let slots = schema.slots.slots();
        let step = |slot: &u32| {
            let column = FIRST_SLOT + slot;
            let slot = &slots[*slot as usize];
            match slot.encoding.value_kind() {
                ValueKind::Number | ValueKind::Double => {
                    Some(ColumnStep { column, kind: ColumnKind::Number })
                }
                ValueKind::Text => Some(ColumnStep { column, kind: ColumnKind::Text }),
                ValueKind::None if slot.encoding != FieldEncoding::Nested || slot.level != Level::Span => {
                    None
                }
                ValueKind::None if slot.field == EVENTS => {
                    Some(ColumnStep { column: EVENT_COLUMN, kind: ColumnKind::Event })
                }
                ValueKind::None => Some(ColumnStep { column: LINK_COLUMN, kind: ColumnKind::Link }),
            }
        };
        let shapes = &schema.shapes.shapes()[self.steps.len()..];
        self.steps.extend(shapes.iter().map(|shape| shape.slots.iter().filter_map(step).collect()));
        self.cursors.clear();
        self.cursors.resize(FIRST_SLOT as usize + slots.len(), Cursor::default());
    }

    /// Skips the values of a trace whose rows do not move.
    fn pass(&mut self, columns: &PageColumns, schema: &SpanSchema, rows: Range<usize>) {
        for class in &columns.class[rows] {
            count(&self.steps, &mut self.cursors, columns, schema.classes[*class as usize].shape);
        }
    }

    /// Moves the values of a trace's rows.
    fn apply(&mut self, columns: &mut PageColumns, schema: &SpanSchema, rows: Range<usize>, order: &[u32]) {
        let Self { steps, cursors, lifted, rows: begins } = self;
        lifted.clear();
        begins.clear();
        // The first row plus one identifies the trace: no two traces of a page share it, and it is never the default 0.
        let trace = rows.start as u32 + 1;
        for class in &columns.class[rows.clone()] {
            begins.push(lifted.len());
            lift(steps, cursors, columns, schema.classes[*class as usize].shape, trace, lifted);
        }
        for row in order.iter().map(|row| *row as usize) {
            let mut values = &lifted[begins[row - rows.start]..];
            put(steps, cursors, columns, schema.classes[columns.class[row] as usize].shape, &mut values);
        }
    }
}

/// Skips the values of a message with this shape.
fn count(steps: &[Vec<ColumnStep>], cursors: &mut [Cursor], columns: &PageColumns, shape: u32) {
    for ColumnStep { column, kind } in &steps[shape as usize] {
        let place = cursors[*column as usize].taken as usize;
        cursors[*column as usize].taken += 1;
        match kind {
            ColumnKind::Number | ColumnKind::Text => {}
            ColumnKind::Event => count(steps, cursors, columns, columns.events[place]),
            ColumnKind::Link => count(steps, cursors, columns, columns.links[place]),
        }
    }
}

/// Copies the values of a message from their columns to `lifted`.
fn lift(
    steps: &[Vec<ColumnStep>],
    cursors: &mut [Cursor],
    columns: &PageColumns,
    shape: u32,
    trace: u32,
    lifted: &mut Vec<u64>,
) {
    for &ColumnStep { column, kind } in &steps[shape as usize] {
        let cursor = &mut cursors[column as usize];
        let place = cursor.taken as usize;
        if cursor.met != trace {
            (cursor.met, cursor.filled) = (trace, cursor.taken);
        }
        cursor.taken += 1;
        let nested = match kind {
            ColumnKind::Number => {
                lifted.push(columns.slots()[(column - FIRST_SLOT) as usize].numbers[place]);
                continue;
            }
            ColumnKind::Text => {
                lifted.push(u64::from(columns.slots()[(column - FIRST_SLOT) as usize].texts[place]));
                continue;
            }
            ColumnKind::Event => columns.events[place],
            ColumnKind::Link => columns.links[place],
        };
        lifted.push(u64::from(nested));
        lift(steps, cursors, columns, nested, trace, lifted);
    }
}

/// Writes the values of a message to the next positions of their trace.
fn put(
    steps: &[Vec<ColumnStep>],
    cursors: &mut [Cursor],
    columns: &mut PageColumns,
    shape: u32,
    values: &mut &[u64],
) {
    for &ColumnStep { column, kind } in &steps[shape as usize] {
        let Some((value, rest)) = values.split_first() else { return };
        *values = rest;
        let cursor = &mut cursors[column as usize];
        let place = cursor.filled as usize;
        cursor.filled += 1;
        match kind {
            ColumnKind::Number => columns.slot(column - FIRST_SLOT).numbers[place] = *value,
            ColumnKind::Text => columns.slot(column - FIRST_SLOT).texts[place] = *value as u32,
            ColumnKind::Event => {
                columns.events[place] = *value as u32;
                put(steps, cursors, columns, *value as u32, values);
            }
            ColumnKind::Link => {
                columns.links[place] = *value as u32;
                put(steps, cursors, columns, *value as u32, values);
            }
        }
    }
}

// === impl Forest ===

impl Forest {
    /// Visits the spans of a trace, which are sorted by start, depth first. Parents are rows from `begin` on, or
    /// [`NO_ROW`].
    fn visit(&mut self, begin: u32, parents: &[u32], visit: &mut impl FnMut(u32)) {
        let roots = parents.len() as u32;
        self.last_child.clear();
        self.last_child.resize(parents.len() + 1, NONE);
        self.before.clear();
        self.parents.clear();
        for (child, &parent) in (0..).zip(parents) {
            let is_root = parent == NO_ROW || parent == begin + child;
            let parent = if is_root { roots } else { parent - begin };
            let last = &mut self.last_child[parent as usize];
            self.before.push(std::mem::replace(last, child));
            self.parents.push(parent);
        }
        self.push_children(roots);
        self.visit_left(visit);
        // Spans in a cycle of parents, and their descendants, are below no root: the first one that is not visited is
        // treated as a root.
        for span in 0..roots {
            self.left.push(span);
            self.visit_left(visit);
        }
    }

    fn visit_left(&mut self, visit: &mut impl FnMut(u32)) {
        while let Some(span) = self.left.pop() {
            let parent = &mut self.parents[span as usize];
            if *parent != PLACED {
                *parent = PLACED;
                visit(span);
                self.push_children(span);
            }
        }
    }

    /// The last child is pushed first, so that the first child is visited next.
    fn push_children(&mut self, parent: u32) {
        let mut child = self.last_child[parent as usize];
        while child != NONE {
            self.left.push(child);
            child = self.before[child as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(spans: &[(u64, u64)]) -> Vec<u32> {
        let mut columns = PageColumns::default();
        (columns.span_id, columns.parent) = spans.iter().copied().unzip();
        columns.class = vec![0; spans.len()];
        columns.traces = vec![0];
        let mut tree = TreeOrder::default();
        tree.find_parents(&mut columns);
        let mut order = Vec::new();
        tree.forest.visit(0, &columns.parent_row, &mut |span| order.push(span));
        order
    }

    #[test]
    fn a_span_comes_in_front_of_what_it_caused_and_siblings_by_start() {
        // Two concurrent calls, each with a child; then a second root, and a span whose parent is missing.
        assert_eq!(order(&[(1, 0), (2, 1), (3, 1), (4, 2), (5, 3), (6, 0), (7, 99)]), [0, 1, 3, 2, 4, 5, 6]);
        // A child with a clock that is behind.
        assert_eq!(order(&[(2, 1), (1, 0)]), [1, 0]);
        assert_eq!(order(&[]), [0; 0]);
    }

    #[test]
    fn spans_that_cause_each_other_come_once() {
        assert_eq!(order(&[(1, 2), (2, 1), (3, 2), (4, 4), (5, 0)]), [3, 4, 0, 1, 2]);
    }

    proptest! {
        #[test]
        fn every_span_has_one_place_and_a_parent_that_is_there_comes_first(
            parents in prop::collection::vec(0u64..80, 0..70)
        ) {
            let spans: Vec<(u64, u64)> = parents.iter().zip(1..).map(|(parent, id)| (id, *parent)).collect();
            let order = order(&spans);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.iter().copied().eq(0..spans.len() as u32));
            let place = |id: u64| order.iter().position(|span| spans[*span as usize].0 == id);
            for (id, parent) in &spans {
                let is_acyclic = {
                    let mut at = *id;
                    let mut steps = 0;
                    while at > 0 && at as usize <= spans.len() && steps <= spans.len() {
                        at = spans[at as usize - 1].1;
                        steps += 1;
                    }
                    steps <= spans.len()
                };
                if let Some(parent) = place(*parent).filter(|_| is_acyclic) {
                    prop_assert!(Some(parent) < place(*id));
                }
            }
        }
    }
}
