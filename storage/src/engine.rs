//! What a trace store needs below it: blocks of bytes, a small conditional catalog, an index by trace.
//!
//! The traits ask for nothing that an object store with a relational catalog beside it could not
//! give: no transaction across partitions, no merge operators, no counters, no global scans in order.
//! `spandrel-rocks` implements them on RocksDB for one machine; `MemoryEngine` in memory, for tests and benchmarks.

mod error;
mod inspect;
#[cfg(any(test, feature = "memory-engine"))]
mod memory;
mod records;
mod salvage;

use std::ops::Range;

use bytes::Bytes;
use spandrel_block::{BlockId, BlockKey, Hour, RowRange};
use spandrel_proto::{TenantId, TraceId};

pub use error::{Cause, EngineError};
pub use inspect::{IndexRow, Inspect};
#[cfg(any(test, feature = "memory-engine"))]
pub use memory::MemoryEngine;
pub use records::{Records, StoreRecord};
pub use salvage::{Salvage, SalvageError, SalvagedBlock, SalvagedBlocks, SalvagedBytes};

/// Everything that a store needs below it.
pub trait Engine: BlockStore + Catalog + TraceIndex + Inspect + Records {
    /// Bytes that can still be written before the disk is full; `None` when there is no such bound.
    fn free_bytes(&self) -> Option<u64>;

    /// Bytes taken on disk.
    fn stored_bytes(&self) -> u64;

    /// Whether opening found the write-ahead log damaged and truncated it there: acknowledged spans may be missing.
    /// After a power loss none is.
    fn wal_truncated(&self) -> bool {
        false
    }

    /// Whether the damaged store that a repair has replaced still lies beside this one. Deletions do not reach it.
    fn keeps_damaged_store(&self) -> bool {
        false
    }

    /// Gives back space that deleted blocks took, if so much was deleted that it is worth the work. Live data is
    /// not rewritten. Called after every deletion.
    fn reclaim(&self) -> Result<(), EngineError>;

    /// Gives back all space that deleted blocks took, without rewriting live data. Called once nothing was written
    /// for a while.
    fn compact(&self) -> Result<(), EngineError>;

    /// Writes out everything that is buffered.
    fn flush(&self) -> Result<(), EngineError>;

    /// Begins to rewrite files until they hold no byte of what was deleted, removed or replaced before this call,
    /// however much live data has to be moved for it. Rows of the trace index whose blocks are gone are removed
    /// before it returns; [`Engine::continue_purge`] does the rest. Engines whose deletions leave nothing behind
    /// need not do anything.
    fn begin_purge(&self) -> Result<(), EngineError> {
        self.compact()
    }

    /// The next step of the purge that was begun last.
    fn continue_purge(&self) -> Result<PurgeProgress, EngineError> {
        Ok(PurgeProgress::Done)
    }
}

/// How far a purge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeProgress {
    /// Files may still hold deleted bytes.
    Pending,
    /// No file does.
    Done,
}

/// Immutable blocks of bytes.
pub trait BlockStore: Send + Sync {
    /// Parts of a block, in the order asked for.
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError>;

    /// One part of a block.
    fn get_range(&self, key: &BlockKey, range: Range<u64>) -> Result<Bytes, EngineError> {
        let mut parts = self.get_ranges(key, std::slice::from_ref(&range))?;
        Ok(parts.pop().unwrap_or_default())
    }

    /// Removes blocks that no catalog row names any more. Unknown blocks are no error. A call that fails may have
    /// removed some of them, and may be repeated.
    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError>;

    /// Blocks that a commit has removed from the catalog but that were not deleted yet.
    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError>;
}

/// Which blocks exist.
pub trait Catalog: Send + Sync {
    /// Every row of every partition.
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError>;

    /// Makes a change durable as a whole, or not at all. It succeeds if and only if every removed
    /// row is still there; adds never conflict. Blocks and index rows of the change are stored
    /// before, or together with, its catalog rows.
    fn commit(&self, change: &Change) -> Result<(), EngineError>;

    /// Replaces a row that cannot be read. Durable like a commit.
    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError>;
}

/// Where the parts of a trace lie. A hint: rows may name blocks that left the catalog.
pub trait TraceIndex: Send + Sync {
    /// Blocks that hold a part of the trace, and which rows.
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError>;
}

/// A change of one partition.
#[derive(Debug, Clone)]
pub struct Change {
    /// Whose partition.
    pub tenant: TenantId,
    /// Its hour of arrival.
    pub hour: Hour,
    /// Blocks that come.
    pub adds: Vec<NewBlock>,
    /// Blocks that go; they stay readable until they are deleted.
    pub removes: Vec<BlockId>,
}

/// A block that comes into being.
#[derive(Debug, Clone)]
pub struct NewBlock {
    /// Its ID.
    pub id: BlockId,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its catalog row, encoded.
    pub row: Vec<u8>,
    /// It will be merged soon: engines may keep such blocks apart from those that stay.
    pub short_lived: bool,
    /// Its rows for the trace index; fresh blocks have none, they are found through memory.
    pub index: Vec<(TraceId, RowRange)>,
}

impl Change {
    /// The key of a block in the changed partition.
    pub fn key(&self, block: BlockId) -> BlockKey {
        BlockKey { tenant: self.tenant.clone(), hour: self.hour, block }
    }
}
