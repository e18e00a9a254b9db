//! The storage engine below a trace store: blocks of bytes, a small conditional catalog, an index by trace.
//!
//! The traits require nothing that an object store with a relational catalog beside it could not provide: no
//! transaction across partitions, no merge operators, no counters, no global scans in order. `spandrel-rocks`
//! implements them on RocksDB for one machine; `MemoryEngine` in memory, for tests and benchmarks.

mod encryption;
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

pub use encryption::Encryption;
pub use error::{Cause, EngineError};
pub use inspect::{IndexRow, Inspect};
#[cfg(any(test, feature = "memory-engine"))]
pub use memory::MemoryEngine;
pub use records::{Records, StoreRecord};
pub use salvage::{Salvage, SalvageError, SalvagedBlock, SalvagedBlocks, SalvagedBytes};

/// The whole engine, as a store needs it.
pub trait Engine: BlockStore + Catalog + TraceIndex + Inspect + Records {
    /// Bytes that can still be written before the disk is full; `None` without such a bound.
    fn free_bytes(&self) -> Option<u64>;

    /// Bytes taken on disk.
    fn stored_bytes(&self) -> u64;

    /// Whether opening found the write-ahead log damaged and truncated it there: acknowledged spans may be missing.
    /// After a power loss, none are.
    fn wal_truncated(&self) -> bool {
        false
    }

    /// Whether the damaged store that a repair has replaced still exists beside this one. Deletions do not change it.
    fn keeps_damaged_store(&self) -> bool {
        false
    }

    /// Reclaims the space of deleted blocks, if so much was deleted that it is worth the work. Live data are not
    /// rewritten. Called after every deletion of blocks.
    fn reclaim(&self) -> Result<(), EngineError>;

    /// Reclaims all space of deleted blocks, without rewriting live data. Called after a while without writes.
    fn compact(&self) -> Result<(), EngineError>;

    /// Writes everything that is buffered to files.
    fn flush(&self) -> Result<(), EngineError>;

    /// Begins to rewrite files until they contain no byte of data that was deleted, removed or replaced before this
    /// call, however many live data have to be moved for it. Rows of the trace index whose blocks are gone are removed
    /// before it returns; [`Engine::continue_purge`] does the rest. Engines whose deletions leave nothing behind need
    /// not do anything.
    fn begin_purge(&self) -> Result<(), EngineError> {
        self.compact()
    }

    /// Does the next step of the purge that was begun last.
    fn continue_purge(&self) -> Result<PurgeProgress, EngineError> {
        Ok(PurgeProgress::Done)
    }

    /// How this engine encrypts, if it does.
    fn encryption(&self) -> Option<&dyn Encryption> {
        None
    }
}

/// The progress of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeProgress {
    /// Files may still hold deleted bytes.
    Pending,
    /// No file contains deleted bytes.
    Done,
}

/// Immutable blocks of bytes.
pub trait BlockStore: Send + Sync {
    /// Returns parts of a block, in the order of `ranges`.
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError>;

    /// Returns one part of a block.
    fn get_range(&self, key: &BlockKey, range: Range<u64>) -> Result<Bytes, EngineError> {
        let mut parts = self.get_ranges(key, std::slice::from_ref(&range))?;
        Ok(parts.pop().unwrap_or_default())
    }

    /// Removes blocks that no catalog row names any more. Unknown blocks are no error. A call that fails may have
    /// removed some of them, and may be repeated.
    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError>;

    /// Blocks that a commit has removed from the catalog and that are not deleted yet.
    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError>;
}

/// The live blocks, by window.
pub trait Catalog: Send + Sync {
    /// Every row of every window.
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError>;

    /// Makes a change durable as a whole, or not at all. It succeeds if and only if every removed
    /// row is still there; adds never conflict. Blocks and index rows of the change are stored
    /// before, or together with, its catalog rows.
    fn commit(&self, change: &Change) -> Result<(), EngineError>;

    /// Makes several changes durable, none of which removes a block: each as a whole, or not at all. Engines that can
    /// write them together should do so.
    fn commit_adds(&self, changes: &[Change]) -> Vec<Result<(), EngineError>> {
        changes.iter().map(|change| self.commit(change)).collect()
    }

    /// Replaces a row that cannot be read, as durably as a commit.
    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError>;
}

/// The blocks that contain a trace. A hint: rows may name blocks that left the catalog.
pub trait TraceIndex: Send + Sync {
    /// The blocks that contain spans of the trace, with their rows.
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError>;

    /// The blocks that contain spans of any of these traces, which are sorted and each there once; with the index of the
    /// trace among them, in that order. Engines that can read neighbouring rows together should do so.
    fn find_traces(
        &self,
        tenant: &TenantId,
        traces: &[TraceId],
    ) -> Result<Vec<(usize, BlockId, RowRange)>, EngineError> {
        let mut found = Vec::with_capacity(traces.len());
        for (at, trace) in traces.iter().enumerate() {
            found.extend(self.find_trace(tenant, *trace)?.into_iter().map(|(block, rows)| (at, block, rows)));
        }
        Ok(found)
    }
}

/// A change of one window.
#[derive(Debug, Clone)]
pub struct Change {
    /// The tenant of the window.
    pub tenant: TenantId,
    /// The hour of arrival of the window.
    pub hour: Hour,
    /// Blocks to add.
    pub adds: Vec<NewBlock>,
    /// Blocks to remove; they stay readable until they are deleted.
    pub removes: Vec<BlockId>,
}

/// A block to add.
#[derive(Debug, Clone)]
pub struct NewBlock {
    /// Its ID.
    pub id: BlockId,
    /// The encoded block.
    pub bytes: Bytes,
    /// Its catalog row, encoded.
    pub row: Vec<u8>,
    /// Whether it will be merged soon: engines may store such blocks apart from others.
    pub short_lived: bool,
    /// Its rows for the trace index; empty for fresh blocks, whose traces memory knows.
    pub index: Vec<(TraceId, RowRange)>,
}

impl Change {
    /// The key of a block in the changed window.
    pub fn key(&self, block: BlockId) -> BlockKey {
        BlockKey { tenant: self.tenant.clone(), hour: self.hour, block }
    }
}
