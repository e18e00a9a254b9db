//! The trace table of a block: its traces, and the rows of each.
//!
//! Layout: the sorted trace IDs (16 bytes each), then for each trace its number of rows as a varint.

use bytes::{Buf, Bytes};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::put_varint;

use crate::format::{FormatError, take_varint};
use crate::keys::RowRange;

/// The traces of a block, sorted by ID, with the rows of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceTable {
    traces: Vec<(TraceId, RowRange)>,
}

// === impl TraceTable ===

impl TraceTable {
    /// Adds the next row; rows have to be sorted by trace.
    pub(crate) fn push_row(&mut self, trace: TraceId) {
        match self.traces.last_mut() {
            Some((last, range)) if *last == trace => range.rows += 1,
            last => {
                let first = last.map_or(0, |(_, range)| range.first + range.rows);
                self.traces.push((trace, RowRange { first, rows: 1 }));
            }
        }
    }

    /// All traces with their rows.
    pub fn entries(&self) -> &[(TraceId, RowRange)] {
        &self.traces
    }

    /// The trace of each row, by row number.
    pub fn of_rows(&self) -> impl Iterator<Item = TraceId> {
        self.traces.iter().flat_map(|(trace, rows)| std::iter::repeat_n(*trace, rows.rows as usize))
    }

    /// The rows of one trace; `None` if the block does not contain it.
    pub fn find(&self, trace: TraceId) -> Option<RowRange> {
        let at = self.traces.binary_search_by_key(&trace, |entry| entry.0).ok()?;
        Some(self.traces[at].1)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.traces.len() * 18);
        self.traces.iter().for_each(|(trace, _)| out.extend_from_slice(trace.as_bytes()));
        self.traces.iter().for_each(|(_, range)| put_varint(&mut out, u64::from(range.rows)));
        out
    }

    /// Decodes the table, given the number of traces and rows of the block.
    pub fn decode(mut bytes: Bytes, traces: usize, rows: u32) -> Result<Self, FormatError> {
        let damaged = FormatError::Damaged("trace table");
        if traces.checked_mul(16).is_none_or(|n| n > bytes.len()) {
            return Err(damaged);
        }
        let ids = bytes.split_to(traces * 16);
        let mut table = Self { traces: Vec::with_capacity(traces) };
        let mut first = 0u32;
        for id in ids.as_chunks::<16>().0 {
            let trace = TraceId::from_bytes(*id);
            let count = take_varint(&mut bytes).and_then(|n| u32::try_from(n).ok()).ok_or(damaged.clone())?;
            let in_order = table.traces.last().is_none_or(|(last, _)| *last < trace);
            let next = first.checked_add(count).filter(|next| *next <= rows && count > 0 && in_order);
            table.traces.push((trace, RowRange { first, rows: count }));
            first = next.ok_or(damaged.clone())?;
        }
        if first == rows && !bytes.has_remaining() { Ok(table) } else { Err(damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TraceId {
        TraceId::from_bytes([n; 16])
    }

    #[test]
    fn finds_rows_and_comes_back() {
        let mut table = TraceTable::default();
        [1, 1, 2, 5, 5, 5].iter().for_each(|n| table.push_row(id(*n)));
        let table = TraceTable::decode(table.encode().into(), 3, 6).unwrap();
        assert_eq!(table.find(id(5)), Some(RowRange { first: 3, rows: 3 }));
        assert_eq!(table.find(id(3)), None);
    }

    #[test]
    fn damage_is_noticed() {
        let mut table = TraceTable::default();
        [1, 2].iter().for_each(|n| table.push_row(id(*n)));
        let bytes = Bytes::from(table.encode());
        for (cut, traces, rows) in [(34, 2, 3), (34, 2, 1), (33, 2, 2), (34, 3, 2), (34, usize::MAX, 2)] {
            assert!(TraceTable::decode(bytes.slice(..cut), traces, rows).is_err(), "{cut} {traces} {rows}");
        }
        let mut swapped = bytes.to_vec();
        swapped[0] = 9;
        assert!(TraceTable::decode(swapped.into(), 2, 2).is_err());
    }
}
