//! Rows of a trace by start and span ID, where they stand in the order of their tree (`tree.rs`).
//!
//! Values lie in columns, one behind the other: to read a row, one has to know how many lie in front of it. So the
//! rows are walked over once, and what was found is kept until all have been read: 16 bytes for each value, a few times
//! what the page itself takes.

use std::ops::Range;

use super::cursor::{RowCursor, ValuePlace};
use super::open_page::OpenPage;

/// Some rows of one trace that do not stand by their keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyOrder {
    rows: Range<usize>,
    /// By key, and which of them comes next.
    order: Vec<u32>,
    next: usize,
    /// As the rows stand, and once more for what is behind the last one.
    begins: Vec<RowStart>,
    values: Vec<ValuePlace>,
}

/// What lies in front of a row.
#[derive(Debug, Clone, Copy)]
struct RowStart {
    /// Of `values`.
    values: usize,
    events: usize,
    links: usize,
}

// === impl KeyOrder ===

impl KeyOrder {
    /// Walks over rows of one trace, the first of which is at hand, and goes to the one that comes first. Nothing
    /// where they stand by their keys: then the first is still at hand.
    pub(crate) fn begin(page: &OpenPage, rows: Range<usize>, at: &mut RowCursor) -> Option<Self> {
        let order = page.order_by_key(rows.clone())?;
        let (begins, values) = (Vec::with_capacity(rows.len() + 1), Vec::new());
        let mut this = Self { rows, order, next: 0, begins, values };
        for _ in this.rows.clone() {
            this.note_begin(at);
            at.pass(page, &mut |place| this.values.push(place));
        }
        this.note_begin(at);
        this.go_to(0, at);
        Some(this)
    }

    fn note_begin(&mut self, at: &RowCursor) {
        self.begins.push(RowStart { values: self.values.len(), events: at.events, links: at.links });
    }

    /// The rows as they stand.
    pub(crate) fn rows(&self) -> &Range<usize> {
        &self.rows
    }

    /// Which one is at hand, by key.
    pub(crate) fn at(&self) -> usize {
        self.next - 1
    }

    /// The row that comes behind it.
    pub(crate) fn row_behind(&self) -> Option<usize> {
        self.order.get(self.next).map(|row| *row as usize)
    }

    /// Goes to a row by its place in the order.
    pub(crate) fn go_to(&mut self, nth: usize, at: &mut RowCursor) {
        let Some(row) = self.order.get(nth) else { return };
        self.next = nth + 1;
        at.row = *row as usize;
        let [begin, end] = [0, 1].map(|more| self.begins[at.row - self.rows.start + more]);
        (at.events, at.links) = (begin.events, begin.links);
        // Of values of one slot the first counts.
        for place in self.values[begin.values..end.values].iter().rev() {
            at.set(place.slot, place.taken, place.listed.0);
        }
    }

    /// Goes to the next row; behind the last one, to the row behind all of them. Tells whether there was one.
    pub(crate) fn advance(&mut self, at: &mut RowCursor) -> bool {
        if self.next < self.order.len() {
            self.go_to(self.next, at);
            return true;
        }
        self.leave(at);
        false
    }

    /// Goes to the row behind all of them.
    pub(crate) fn leave(&self, at: &mut RowCursor) {
        at.row = self.rows.end;
        let end = self.begins[self.rows.len()];
        (at.events, at.links) = (end.events, end.links);
        self.values.iter().for_each(|place| at.set(place.slot, place.taken + 1, place.listed.1));
    }
}
