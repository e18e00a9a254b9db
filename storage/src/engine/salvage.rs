//! What can still be read of a store whose engine is damaged, for whoever makes it anew (`repair.rs`).
//!
//! Only reads. Not for questions: those see the engine as it is, and are told what they miss.

use bytes::Bytes;
use spandrel_block::BlockKey;

use super::EngineError;
use crate::backup::StoreRecord;

/// A store that is damaged.
pub trait Salvage {
    /// The blocks that it has, as far as that can be told. None among them was replaced or deleted: what may
    /// have been is an error.
    fn blocks(&self) -> Result<LeftBlocks, SalvageError>;

    /// As much of a block as can be read, each part at its place. It is at least so long, as far as is known.
    fn read(&self, key: &BlockKey, bytes: u64) -> LeftBytes;

    /// Every record beside the blocks. That one of them cannot be read is an error.
    fn all_records(&self) -> Result<Vec<StoreRecord>, SalvageError>;

    /// Whether the end of its log is damaged: what was written last is missing.
    fn log_is_cut(&self) -> bool;
}

/// The blocks that are left.
#[derive(Debug, Default)]
pub struct LeftBlocks {
    /// In the order of their keys.
    pub blocks: Vec<LeftBlock>,
    /// There may be others, of which not even the keys can be read.
    pub are_more_missing: bool,
}

/// A block that is left, or something of it.
#[derive(Debug)]
pub struct LeftBlock {
    /// Its key.
    pub key: BlockKey,
    /// Its catalog row as it is stored, if that can be read.
    pub row: Option<Vec<u8>>,
    /// About how long it is; zero if nobody knows.
    pub bytes: u64,
}

/// What is left of the bytes of a block.
#[derive(Debug, Default)]
pub struct LeftBytes {
    /// From its first byte on. Zeros stand for what cannot be read, but for its end, which is not there then.
    pub bytes: Bytes,
    /// Why something of it cannot be read.
    pub damage: Option<String>,
}

/// Why a store is not made anew: something could come back that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
