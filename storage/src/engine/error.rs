//! Errors of an engine, and what they mean for the caller. Every error keeps its cause.

use std::error::Error;
use std::sync::Arc;

use spandrel_block::BlockKey;
use spandrel_block::record::RecordError;

/// The error below an [`EngineError`].
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why an engine failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// A row to remove does not exist: another writer changed the window.
    #[error("the catalog changed meanwhile")]
    Conflict,
    /// The disk is full. Nothing of the change is stored, and the engine stays usable.
    #[error("no space left on the device: {0}")]
    NoSpace(#[source] Cause),
    /// A read, write or sync failed. Whether a write is stored is uncertain.
    #[error("{0}")]
    Io(#[source] Cause),
    /// A file of the engine is damaged, and buffered data may depend on it.
    #[error("{0}")]
    Damaged(#[source] Cause),
    /// A small record beside the blocks does not decode.
    #[error("the record of {kind} {name}: {source}")]
    DamagedRecord {
        /// The kind of record: a pin, a deletion.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The error of decoding it.
        source: Cause,
    },
    /// A row of the catalog or of the trace index does not decode.
    #[error("{table} row of {key}: {source}")]
    DamagedRow {
        /// The table that the row is in.
        table: &'static str,
        /// The key of the row, readable or in hexadecimal.
        key: String,
        /// The error of decoding it.
        source: Cause,
    },
    /// A value cannot be encoded, so nothing was written.
    #[error("encoding a record: {0}")]
    Encode(#[from] RecordError),
    /// The keys of an encrypted store cannot be used. Nothing is stored, and the engine stays usable.
    #[error("{0}")]
    Key(#[source] Cause),
    /// The data key was deleted, and with it what it encrypted. Nothing is stored, and the engine stays usable.
    #[error("{0}")]
    KeyEnded(#[source] Cause),
    /// The block is not stored.
    #[error("block {0:?} is not in the store")]
    NotFound(BlockKey),
}

// === impl EngineError ===

impl EngineError {
    /// The disk is full.
    pub fn no_space(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::NoSpace(cause.into().into())
    }

    /// A read, write or sync failed.
    pub fn io(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Io(cause.into().into())
    }

    /// A file of the engine is damaged.
    pub fn damaged(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged(cause.into().into())
    }

    /// A small record beside the blocks does not decode.
    pub fn damaged_record(
        kind: &'static str,
        name: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::DamagedRecord { kind, name: name.into(), source: cause.into().into() }
    }

    /// A row of the catalog or of the trace index does not decode.
    pub fn damaged_row(
        table: &'static str,
        key: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::DamagedRow { table, key: key.into(), source: cause.into().into() }
    }

    /// The keys of an encrypted store cannot be used.
    pub fn key(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Key(cause.into().into())
    }

    /// The data key was deleted, and with it what it encrypted.
    pub fn key_ended(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::KeyEnded(cause.into().into())
    }

    /// Whether the failed change may be stored all the same, or in part.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Conflict | Self::NoSpace(_) | Self::Encode(_) => false,
            Self::Key(_) | Self::KeyEnded(_) => false,
            Self::Io(_) | Self::Damaged(_) | Self::NotFound(_) => true,
            Self::DamagedRecord { .. } | Self::DamagedRow { .. } => true,
        }
    }

    /// Advice for the operator, to be appended to the message; may be empty.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Damaged(_) => {
                "; stop the server and run `spandrel repair`, which puts all that can be read into a new store"
            }
            Self::Conflict | Self::NoSpace(_) | Self::Io(_) | Self::NotFound(_) | Self::Encode(_) => "",
            Self::DamagedRecord { .. } | Self::DamagedRow { .. } | Self::Key(_) | Self::KeyEnded(_) => "",
        }
    }
}
