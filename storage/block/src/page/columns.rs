//! The rows of a page as columns, which are filled, encoded, decoded and merged.

use std::ops::Range;

use crate::shape::SlotTable;
use crate::zone_map::ZoneMap;

/// The columns of some rows, sorted by trace ID, and within a trace by start and span ID or, once the page of a sealed
/// block is full, in the order of the trace's tree.
#[derive(Debug, Default)]
pub(crate) struct PageColumns {
    /// Index into the block's classes.
    pub(crate) class: Vec<u32>,
    /// Index into the block's pairs of resource and scope.
    pub(crate) resource_scope: Vec<u32>,
    /// Nanoseconds since the epoch.
    pub(crate) start: Vec<u64>,
    /// End minus start in nanoseconds, wrapping.
    pub(crate) duration: Vec<u64>,
    /// The sequence number of the commit that stored the span.
    pub(crate) sequence: Vec<u64>,
    /// Big-endian.
    pub(crate) span_id: Vec<u64>,
    /// Big-endian; zero where the shape has no parent of eight bytes.
    pub(crate) parent: Vec<u64>,
    /// The row of the parent if it is in the same page and trace, else [`NO_ROW`]; filled when the page is full.
    pub(crate) parent_row: Vec<u32>,
    /// The first row of each trace; never empty in a page with rows.
    pub(crate) traces: Vec<u32>,
    /// Shapes of all events, in the order of their spans.
    pub(crate) events: Vec<u32>,
    /// Shapes of all links.
    pub(crate) links: Vec<u32>,
    slots: Vec<SlotColumn>,
}

/// The row of a parent that is not in the page.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// The values of one slot, in the order of the messages that have it.
#[derive(Debug, Default, Clone)]
pub(crate) struct SlotColumn {
    pub(crate) numbers: Vec<u64>,
    pub(crate) texts: Vec<u32>,
}

// === impl PageColumns ===

impl PageColumns {
    pub(crate) fn rows(&self) -> usize {
        self.class.len()
    }

    /// The rows of a trace, by the trace's number in the page.
    pub(crate) fn run(&self, number: usize) -> Range<usize> {
        let end = self.traces.get(number + 1).map_or(self.rows(), |end| *end as usize);
        self.traces[number] as usize..end
    }

    pub(crate) fn slots(&self) -> &[SlotColumn] {
        &self.slots
    }

    /// The zone map of these columns.
    pub(crate) fn zone_map(&self, slots: &SlotTable) -> ZoneMap {
        let numbers = self.slots.iter().enumerate().filter_map(|(at, column)| {
            let slot = (!column.numbers.is_empty()).then(|| slots.get(at as u32))?;
            ZoneMap::is_bounded(slot).then_some((at as u32, slot.encoding, column.numbers.as_slice()))
        });
        ZoneMap::of(&self.class, &self.start, &self.duration, numbers)
    }

    #[inline]
    pub(crate) fn push_number(&mut self, slot: u32, number: u64) {
        self.slot(slot).numbers.push(number);
    }

    #[inline]
    pub(crate) fn texts(&mut self, slot: u32) -> &mut Vec<u32> {
        &mut self.slot(slot).texts
    }

    /// Removes the last value of a slot.
    pub(crate) fn pop(&mut self, slot: u32) {
        let column = self.slot(slot);
        if column.texts.pop().is_none() {
            column.numbers.pop();
        }
    }

    #[inline]
    pub(crate) fn slot(&mut self, slot: u32) -> &mut SlotColumn {
        let slot = slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, SlotColumn::default);
        }
        &mut self.slots[slot]
    }

    /// Empties all columns and keeps their memory.
    pub(crate) fn clear(&mut self) {
        for column in [
            &mut self.class,
            &mut self.resource_scope,
            &mut self.parent_row,
            &mut self.traces,
            &mut self.events,
            &mut self.links,
        ] {
            column.clear();
        }
        for column in
            [&mut self.start, &mut self.duration, &mut self.sequence, &mut self.span_id, &mut self.parent]
        {
            column.clear();
        }
        for column in &mut self.slots {
            column.numbers.clear();
            column.texts.clear();
        }
    }
}
