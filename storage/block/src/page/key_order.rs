//! Rows of a trace sorted by start and span ID, if they are stored in the order of their tree (`tree.rs`).
//!
//! Values are stored one after the other in columns, so reading a row takes the number of values in front of it. One
//! pass over the rows records these positions until all rows are read: 16 bytes for each value, a few times the size of
//! the page.

use std::ops::Range;

use super::cursor::{RowCursor, ValuePlace};
use super::open_page::OpenPage;

/// Rows of one trace that are not stored in key order.
#[derive(Debug, Clone)]
pub(crate) struct KeyOrder {
    rows: Range<usize>,
    /// Row numbers sorted by key; `next` is the index of the next one.
    order: Vec<u32>,
    next: usize,
    /// By stored row, and one more for the position behind the last row.
    begins: Vec<RowStart>,
    values: Vec<ValuePlace>,
}

/// The position of a row's values.
#[derive(Debug, Clone, Copy)]
struct RowStart {
    /// The index of its first value in `values`.
    values: usize,
    events: usize,
    links: usize,
}

// === impl KeyOrder ===

impl KeyOrder {
    /// Reads the positions of the rows of one trace, at whose first row `at` stands, and moves `at` to the row with the
    /// smallest key. `None` if the rows are stored in key order; `at` does not move then.
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

    /// Moves to a row by its index in key order.
    fn go_to(&mut self, nth: usize, at: &mut RowCursor) {
        let Some(row) = self.order.get(nth) else { return };
        self.next = nth + 1;
        at.row = *row as usize;
        let [begin, end] = [0, 1].map(|more| self.begins[at.row - self.rows.start + more]);
        (at.events, at.links) = (begin.events, begin.links);
        // Reversed, so that the position of a slot's first value in the row is set last and stays.
        for place in self.values[begin.values..end.values].iter().rev() {
            at.set(place.slot, place.taken, place.listed.0);
        }
    }

    /// Moves to the next row, or behind all rows after the last one. Returns whether there was a next row.
    pub(crate) fn advance(&mut self, at: &mut RowCursor) -> bool {
        if self.next < self.order.len() {
            self.go_to(self.next, at);
            return true;
        }
        self.leave(at);
        false
    }

    /// Moves to the stored row behind the range.
    pub(crate) fn leave(&self, at: &mut RowCursor) {
        at.row = self.rows.end;
        let end = self.begins[self.rows.len()];
        (at.events, at.links) = (end.events, end.links);
        self.values.iter().for_each(|place| at.set(place.slot, place.taken + 1, place.listed.1));
    }
}
