//! Reads what is left of a store whose engine is damaged, for a repair (`repair.rs`).
//!
//! Changes nothing. Not for questions: those read the engine as it is, and their answers say what is missing.

use bytes::Bytes;
use spandrel_block::BlockKey;

use super::{EngineError, StoreRecord};

/// A store that is damaged.
pub trait Salvage {
    /// The blocks that can still be found. None of them was replaced or deleted: where that is unknown, this is an
    /// error.
    fn blocks(&self) -> Result<SalvagedBlocks, SalvageError>;

    /// As much of a block as can be read, each part at its offset. `bytes` is the least length that is known.
    fn read_block(&self, key: &BlockKey, bytes: u64) -> SalvagedBytes;

    /// Every record beside the blocks. If one of them cannot be read, this is an error.
    fn all_records(&self) -> Result<Vec<StoreRecord>, SalvageError>;

    /// Whether the end of the write-ahead log is damaged: the last writes are missing.
    fn wal_truncated(&self) -> bool;
}

/// The blocks that can still be found.
#[derive(Debug, Default)]
pub struct SalvagedBlocks {
    /// In the order of their keys.
    pub blocks: Vec<SalvagedBlock>,
    /// There may be more, of which not even the keys can be read.
    pub are_more_missing: bool,
}

/// A block of which something can still be read.
#[derive(Debug)]
pub struct SalvagedBlock {
    /// Its key.
    pub key: BlockKey,
    /// Its catalog row as it is stored, if that can be read.
    pub row: Option<Vec<u8>>,
    /// About how long it is; zero if that is unknown.
    pub bytes: u64,
}

/// What can still be read of the bytes of a block.
#[derive(Debug, Default)]
pub struct SalvagedBytes {
    /// Its bytes from the first one. Zeros stand for unreadable parts; an unreadable end is cut off.
    pub bytes: Bytes,
    /// Why something of it cannot be read.
    pub damage: Option<String>,
}

/// Why a store cannot be salvaged: deleted data could come back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SalvageError {
    /// Neither the catalog nor the list of replaced blocks.
    #[error(
        "neither the catalog nor the list of replaced blocks can be read ({0}), so that nobody can tell which \
         blocks were deleted, and those would come back; restore a backup with `spandrel restore` into a new \
         directory"
    )]
    Doubt(String),
    /// The store's own records.
    #[error(
        "the records beside the blocks cannot be read ({0}), and with them what is being deleted and must not \
         come back; restore a backup with `spandrel restore` into a new directory, and delete there what was to be \
         deleted"
    )]
    Records(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
