//! A page whose sections are open: what its rows are, by number.

use std::ops::Range;
use std::sync::Arc;

use spandrel_proto::SpanId;

use super::packed::Column;
use super::read::{CorePage, IdsPage, TextTable, ValuesPage};
use super::row::Row;
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::zone_map::ZoneMap;

/// A page with everything that its rows are made of.
#[derive(Debug, Clone)]
pub struct OpenPage {
    /// What rows refer to.
    pub dictionary: Arc<Dictionary>,
    /// Texts that the block's pages share.
    pub texts: Arc<TextTable>,
    /// The columns that every row has.
    pub core: Arc<CorePage>,
    /// Their IDs.
    pub ids: Arc<IdsPage>,
    /// The values of slots.
    pub values: Arc<ValuesPage>,
}

// === impl OpenPage ===

impl OpenPage {
    /// What its columns say of a row that it has.
    pub(crate) fn row(&self, at: usize) -> Row {
        let Self { core, ids, .. } = self;
        Row {
            class: core.class[at],
            resource_scope: core.resource_scope[at],
            start: core.start[at],
            duration: core.duration[at],
            sequence: core.sequence[at],
            span_id: SpanId::from_bytes(ids.span_id[at].to_be_bytes()),
            parent: ids.parent[at],
        }
    }

    /// The rows of a run: those of one trace.
    pub(crate) fn run(&self, number: usize) -> Range<usize> {
        let begin = |run: usize| self.core.traces.get(run).map_or(self.core.rows(), |begin| *begin as usize);
        begin(number)..begin(number + 1)
    }

    /// The run of a row.
    pub fn run_of(&self, row: usize) -> Range<usize> {
        let behind = self.core.traces.partition_point(|begin| *begin as usize <= row);
        self.run(behind.saturating_sub(1))
    }

    /// Rows of one trace by start and span ID; of spans that have both in common, by commit, and then as they came.
    /// Nothing where they stand so.
    pub(crate) fn order_by_key(&self, rows: Range<usize>) -> Option<Vec<u32>> {
        if rows.clone().is_sorted_by_key(|row| self.key_in_trace(row)) {
            return None;
        }
        let mut order: Vec<u32> = rows.map(|row| row as u32).collect();
        // As they came is as they stand: `tree.rs` leaves them so.
        order.sort_by_key(|row| self.key_in_trace(*row as usize));
        Some(order)
    }

    fn key_in_trace(&self, row: usize) -> (u64, u64, u64) {
        (self.core.start[row], self.ids.span_id[row], self.core.sequence[row])
    }

    /// The bounds of what it holds.
    pub(crate) fn zone(&self) -> Result<ZoneMap, FormatError> {
        let Self { core, dictionary, values, .. } = self;
        let mut numbers = Vec::new();
        for (at, slot) in dictionary.slots.iter().enumerate().filter(|(_, slot)| ZoneMap::is_bounded(slot)) {
            if let Some(Column::Numbers(column)) = values.decode_column(at as u32, slot.encoding)? {
                numbers.push((at as u32, slot.encoding, column));
            }
        }
        let numbers = numbers.iter().map(|(at, encoding, column)| (*at, *encoding, column.as_slice()));
        Ok(ZoneMap::of(&core.class, &core.start, &core.duration, numbers))
    }
}
