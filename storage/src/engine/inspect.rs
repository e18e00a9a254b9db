//! Access to everything that is stored, for checks and repairs.

use bytes::Bytes;
use spandrel_block::{BlockKey, KeyError, RowRange, TraceKey};

use super::EngineError;

/// Lists everything that is stored, in the catalog or not. Slow, because it reads everything.
pub trait Inspect: Send + Sync {
    /// Every block with a stored page, in the catalog or not.
    fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError>;

    /// The readable bytes of a block from its first byte on; its length need not be known.
    fn read_prefix(&self, key: &BlockKey) -> Result<Bytes, EngineError>;

    /// Calls `show` with every row of the trace index once, in any order.
    fn each_index_row(&self, show: &mut dyn FnMut(IndexRow)) -> Result<(), EngineError>;
}

/// A row of the trace index, or why it does not decode.
pub type IndexRow = Result<(TraceKey, RowRange), KeyError>;
