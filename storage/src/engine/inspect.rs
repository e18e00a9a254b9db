//! What checks and repairs need of an engine: everything that is stored.

use bytes::Bytes;
use spandrel_block::{BlockKey, KeyError, RowRange, TraceKey};

use super::EngineError;

/// Lists everything that is stored, whether the catalog names it or not. Slow: it reads everything.
pub trait Inspect: Send + Sync {
    /// Every block of which a page is stored, named by the catalog or not.
    fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError>;

    /// As much of a block as can be read from its first byte on, without knowing how long it is.
    fn read_prefix(&self, key: &BlockKey) -> Result<Bytes, EngineError>;

    /// Calls `show` with every row of the trace index once, in any order.
    fn each_index_row(&self, show: &mut dyn FnMut(IndexRow)) -> Result<(), EngineError>;
}

/// A row of the trace index, or why it does not decode.
pub type IndexRow = Result<(TraceKey, RowRange), KeyError>;
