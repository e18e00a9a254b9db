//! A page with open sections: its rows by number.

use std::ops::Range;
use std::sync::Arc;

use spandrel_proto::SpanId;

use super::packed::Column;
use super::read::{CorePage, IdsPage, TextTable, ValuesPage};
use super::row::Row;
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::zone_map::ZoneMap;

/// A page with everything that is needed to read its rows.
#[derive(Debug, Clone)]
pub struct OpenPage {
    /// The dictionary that rows refer to.
    pub dictionary: Arc<Dictionary>,
    /// Texts that the block's pages share.
    pub texts: Arc<TextTable>,
    /// The columns that every row has.
    pub core: Arc<CorePage>,
    /// Span IDs and parents of the rows.
    pub ids: Arc<IdsPage>,
    /// The values of slots, as columns.
    pub values: Arc<ValuesPage>,
}

// === impl OpenPage ===

impl OpenPage {
    /// The columns of a row; panics if the page does not have the row.
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

    /// The rows of a run; a run is the rows of one trace.
    pub(crate) fn run(&self, number: usize) -> Range<usize> {
        let begin = |run: usize| self.core.traces.get(run).map_or(self.core.rows(), |begin| *begin as usize);
        begin(number)..begin(number + 1)
    }

    /// The run that contains a row.
    pub fn run_of(&self, row: usize) -> Range<usize> {
        let behind = self.core.traces.partition_point(|begin| *begin as usize <= row);
        self.run(behind.saturating_sub(1))
    }

    /// Sorts rows of one trace by start and span ID, then by commit, then in the order of pushing. `None` if they are
    /// stored in this order.
    pub(crate) fn order_by_key(&self, rows: Range<usize>) -> Option<Vec<u32>> {
        if rows.clone().is_sorted_by_key(|row| self.key_in_trace(row)) {
            return None;
        }
        let mut order: Vec<u32> = rows.map(|row| row as u32).collect();
        // The sort is stable, and `tree.rs` stores equal keys in the order of pushing.
        order.sort_by_key(|row| self.key_in_trace(*row as usize));
        Some(order)
    }

    fn key_in_trace(&self, row: usize) -> (u64, u64, u64) {
        (self.core.start[row], self.ids.span_id[row], self.core.sequence[row])
    }

    /// Computes the zone map of the page.
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
