//! Decides when a block that is being written is full.

use spandrel_block::BlockWriter;

use crate::store::core::config::StoreConfig;

/// Bounds of a block that is being written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealLimits {
    rows: u32,
    bytes: usize,
}

/// The trace of the next row, compared with that of the last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextRow {
    OfNewTrace,
    OfSameTrace,
}

/// The limit of the schema's fill level, in percent: a reader decodes the whole dictionary, and a sender may use any
/// number of attribute names.
const VOCABULARY_PERCENT: usize = 100;
/// A block is cut within a trace only if the trace exceeds the limits this many times.
const INSIDE_TRACE: u32 = 4;

// === impl SealLimits ===

impl SealLimits {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        Self { rows: config.sealed_rows, bytes: config.sealed_bytes }
    }

    /// Whether the block ends before the next row: between traces, or within a trace that fills several blocks.
    pub(crate) fn is_full(&self, writer: &BlockWriter, next: NextRow) -> bool {
        let factor = match next {
            NextRow::OfNewTrace => 1,
            NextRow::OfSameTrace => INSIDE_TRACE,
        };
        writer.rows() >= self.rows * factor
            || writer.body_bytes() >= self.bytes * factor as usize
            || writer.schema_percent() >= VOCABULARY_PERCENT * factor as usize
    }
}

// === impl NextRow ===

impl NextRow {
    /// Compares the next row's trace with that of the last row.
    pub(crate) fn after<T: PartialEq>(last: Option<T>, trace: T) -> Self {
        if last == Some(trace) { Self::OfSameTrace } else { Self::OfNewTrace }
    }
}
