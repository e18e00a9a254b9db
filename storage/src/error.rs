//! Errors of the trace store, one for each part of its API.

use crate::engine::EngineError;

/// Why a batch was not stored. The sender gets the text, which says what is wrong and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is full; ingest resumes once there is room.
    #[error("the disk is full: {free} bytes free, {needed} needed; free some space and send again")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that have to be free.
        needed: u64,
    },
    /// Too many spans wait to be merged; the sender should retry later.
    #[error("the store is behind with merging ({unsealed_spans} spans wait); send again later")]
    Overloaded {
        /// Spans in fresh blocks.
        unsealed_spans: u64,
    },
    /// A write or sync failed. Acknowledged spans are safe; the store takes no writes until a restart.
    #[error("the store takes no writes since a write failed ({0}); check the disk and restart")]
    Poisoned(String),
    /// The batch could not be encoded as a block. None of it is stored, and the store stays usable.
    #[error("the spans could not be written as a block ({0}); none of them is stored")]
    Encode(String),
    /// The store is encrypted, and has no key for new data. None of the batch is stored, and the store stays usable.
    #[error("the spans cannot be encrypted ({0}); send again later")]
    NoKey(String),
    /// The store is shutting down.
    #[error("the store is closing; send to another instance or later")]
    Closed,
}

/// Why a query failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The engine could not read.
    #[error("reading the store failed: {0}")]
    Io(String),
    /// The role of the caller sees a part, and the answer would tell something of the rest.
    #[error("{0}")]
    Restricted(String),
}

/// Why traces were not deleted, pinned or unpinned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LifecycleError {
    /// The stored traces could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The change could not be made durable.
    #[error("the store could not record it: {0}; nothing was deleted or pinned, try again")]
    Write(#[from] EngineError),
    /// Retention, a deletion or a pin holds the lifecycle lock.
    #[error("retention or another deletion is at work; nothing was deleted or pinned, try again in a moment")]
    Busy,
    /// The query matches more traces than one deletion may take.
    #[error(
        "more than {limit} traces match (maxDeletedTraces); delete a shorter time at once, or lower the retention"
    )]
    TooMany {
        /// The most traces of one deletion.
        limit: usize,
    },
    /// The caller asks about several tenants at once.
    #[error("a change needs one tenant, and the request is about several")]
    SeveralTenants,
    /// The caller does not see everything that the change would reach.
    #[error("{0}")]
    Restricted(String),
}

// === impl ReadError ===

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self::Io(error.to_string())
    }
}
