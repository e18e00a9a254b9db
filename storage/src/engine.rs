//! What a trace store needs below it: blocks of bytes, a small conditional catalog, an index by trace.
//!
//! The traits ask for nothing that an object store with a relational catalog beside it could not
//! give: no transaction across partitions, no merge operators, no counters, no global scans in order.
//! `spandrel-rocks` implements them on RocksDB for one machine; [`MemoryEngine`] for tests.

mod inspect;
mod memory;
mod salvage;

use std::ops::Range;

use bytes::Bytes;
use spandrel_block::{BlockId, BlockKey, Hour, RowRange};
use spandrel_proto::{TenantId, TraceId};

pub use inspect::{IndexRow, Inspect, Records};
pub use memory::MemoryEngine;
pub use salvage::{LeftBlock, LeftBlocks, LeftBytes, Salvage, SalvageError};

/// Everything that a store needs below it.
pub trait Engine: BlockStore + Catalog + TraceIndex + Inspect + Records {
    /// Bytes that can still be written before the disk is full; `None` when there is no such bound.
    fn free_bytes(&self) -> Option<u64>;

    /// Bytes taken on disk.
    fn stored_bytes(&self) -> u64;

    /// Whether opening found its log damaged and cut it off there: acknowledged spans may be missing. After
    /// a power loss they are not.
    fn log_was_cut(&self) -> bool {
        false
    }

    /// Whether a damaged store that a repair has replaced is still beside it: what is deleted is not deleted there.
    fn keeps_damaged_store(&self) -> bool {
        false
    }

    /// Gives back space that deleted blocks took, without rewriting live data. Called after every
    /// deletion, and with `quiet` once nothing was written for a while: the engine decides when it
    /// is worth the work.
    fn reclaim(&self, quiet: bool) -> Result<(), EngineError>;

    /// Writes out everything that is buffered.
    fn flush(&self) -> Result<(), EngineError>;

    /// One step towards files without a byte of what was deleted, removed or replaced before `begin`,
    /// however much live data has to be moved for it. Returns whether it is done. Engines whose
    /// deletions leave nothing behind need not do anything.
    fn purge(&self, begin: bool) -> Result<bool, EngineError> {
        let _ = begin;
        self.reclaim(true).map(|()| true)
    }
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

    /// Removes blocks that no catalog row names any more. Unknown blocks are no error. One that fails may be tried
    /// again, and may have removed some.
    fn delete(&self, keys: &[BlockKey]) -> Result<(), EngineError>;

    /// Blocks that a commit has removed from the catalog but that were not deleted yet.
    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError>;
}

/// Which blocks exist.
pub trait Catalog: Send + Sync {
    /// Every row of every partition.
    fn read(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError>;

    /// Makes a change durable as a whole, or not at all. It succeeds if and only if every removed
    /// row is still there; adds never conflict. Blocks and index rows of the change are stored
    /// before, or together with, its catalog rows.
    fn commit(&self, change: &Change) -> Result<(), EngineError>;

    /// Puts a row into the place of one that cannot be read. Durable like a commit.
    fn mend(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError>;
}

/// Where the parts of a trace lie. A hint: rows may name blocks that left the catalog.
pub trait TraceIndex: Send + Sync {
    /// Blocks that hold a part of the trace, and which rows.
    fn find(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError>;
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

/// What an engine could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A removed row was not there: somebody else changed the partition.
    #[error("the catalog changed meanwhile")]
    Conflict,
    /// The disk is full. Nothing of the change is there, and the engine stays usable.
    #[error("no space left on the device: {0}")]
    NoSpace(String),
    /// A write or sync failed: what it was about is uncertain.
    #[error("{0}")]
    Io(String),
    /// What is stored cannot be read any more, and what is not written out yet may depend on it.
    #[error("{0}")]
    Damaged(String),
    /// The block is not there.
    #[error("block {0:?} is not in the store")]
    NotFound(BlockKey),
}

impl EngineError {
    /// What the operator can do about it, to be put behind it; nothing where there is nothing to say.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Damaged(_) => {
                "; stop the server and run `spandrel repair`, which puts all that can be read into a new store"
            }
            Self::Conflict | Self::NoSpace(_) | Self::Io(_) | Self::NotFound(_) => "",
        }
    }
}

impl Change {
    /// The key of a block in the changed partition.
    pub fn key(&self, block: BlockId) -> BlockKey {
        BlockKey { tenant: self.tenant.clone(), hour: self.hour, block }
    }
}
