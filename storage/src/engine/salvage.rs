//! Reads what is left of a store whose engine is damaged, for a repair (`repair.rs`).
//!
//! Changes nothing. Not for queries: those read the engine as it is, and their answers say that they are partial.

use bytes::Bytes;
use spandrel_block::BlockKey;

use super::{EngineError, StoreRecord};

/// A store that is damaged.
pub trait Salvage {
    /// The blocks that can still be found. None of them was replaced or deleted; if that is unknown, this returns an
    /// error.
    fn blocks(&self) -> Result<SalvagedBlocks, SalvageError>;

    /// The readable parts of a block, each at its offset. The block is known to have at least `bytes` bytes.
    fn read_block(&self, key: &BlockKey, bytes: u64) -> SalvagedBytes;

    /// Every record beside the blocks. An error if one of them cannot be read.
    fn all_records(&self) -> Result<Vec<StoreRecord>, SalvageError>;

    /// Whether the end of the write-ahead log is damaged: the last writes are missing.
    fn wal_truncated(&self) -> bool;
}

/// The blocks that can still be found.
#[derive(Debug, Default)]
pub struct SalvagedBlocks {
    /// Sorted by key.
    pub blocks: Vec<SalvagedBlock>,
    /// More blocks may exist, whose keys cannot be read.
    pub are_more_missing: bool,
}

/// A block that can be read at least in part.
#[derive(Debug)]
pub struct SalvagedBlock {
    /// Its key.
    pub key: BlockKey,
    /// Its catalog row as it is stored, if it can be read.
    pub row: Option<Vec<u8>>,
    /// Its length in bytes, an estimate; zero if it is unknown.
    pub bytes: u64,
}

/// The readable bytes of a block.
#[derive(Debug, Default)]
pub struct SalvagedBytes {
    /// Its bytes from the first one on. Zeros stand for unreadable parts; an unreadable end is cut off.
    pub bytes: Bytes,
    /// Why a part cannot be read; `None` if everything was read.
    pub damage: Option<String>,
}

/// Why a store cannot be salvaged: deleted data could come back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SalvageError {
    /// Neither the catalog nor the list of replaced blocks can be read.
    #[error(
        "neither the catalog nor the list of replaced blocks can be read ({0}), so that it is unknown which \
         blocks were deleted, and those would come back; restore a backup with `spandrel restore` into a new \
         directory"
    )]
    Doubt(String),
    /// The store's own records cannot be read.
    #[error(
        "the records beside the blocks cannot be read ({0}), and with them what is being deleted and must not \
         come back; restore a backup with `spandrel restore` into a new directory, and delete there what was to be \
         deleted"
    )]
    Records(String),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
