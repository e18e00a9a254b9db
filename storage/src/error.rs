//! Why the trace store refuses: one error for each part of its API.

use crate::engine::EngineError;

/// Why a batch was not stored. The text is for the sender: it says what is wrong and what to do.
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
    /// Merging is behind; send again a little later.
    #[error("the store is behind with merging ({unsealed_spans} spans wait); send again later")]
    Overloaded {
        /// Spans in fresh blocks.
        unsealed_spans: u64,
    },
    /// A write or sync failed. What was acknowledged is safe; nothing more is taken until a restart.
    #[error("the store takes no writes since a write failed ({0}); check the disk and restart")]
    Poisoned(String),
    /// The batch could not be encoded as a block. None of it is stored, and the store goes on.
    #[error("the spans could not be written as a block ({0}); none of them is stored")]
    Encode(String),
    /// The store is shutting down.
    #[error("the store is closing; send to another instance or later")]
    Closed,
}

/// Why a question was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The engine could not read.
    #[error("reading the store failed: {0}")]
    Io(String),
}

/// Why traces were not deleted, pinned or unpinned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LifecycleError {
    /// It could not be read what there is.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be made durable.
    #[error("the store could not record it: {0}; nothing was deleted or pinned, try again")]
    Write(#[from] EngineError),
    /// Retention, a deletion or a pin holds the lifecycle lock.
    #[error("retention or another deletion is at work; nothing was deleted or pinned, try again in a moment")]
    Busy,
    /// More than one deletion may take.
    #[error(
        "more than {limit} traces match (maxDeletedTraces); delete a shorter time at once, or lower the retention"
    )]
    TooMany {
        /// Traces of one deletion at the most.
        limit: usize,
    },
}

// === impl ReadError ===

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self::Io(error.to_string())
    }
}
