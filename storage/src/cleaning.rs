//! Cleaning what is stored: deletion for privacy, and traces that are pinned against cleaning.
//!
//! Retention needs no questions and is not here: see `StoreConfig`.

use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::api::ReadError;
use crate::backup::BackupId;
use crate::engine::EngineError;
use crate::plan::ScanPlan;

/// Deletes traces for good, and keeps others from going.
///
/// # Contract
/// - A deletion takes **whole traces**: every span stored so far of each trace that has a matching
///   span. What one span says about a person, its neighbours usually say, too.
/// - `delete` returns once it is durable which traces go; from then on no reader sees them, and no
///   SIGKILL keeps them. Neither the question nor anything that was stored is written anywhere.
/// - A deletion is **done** when no file of the store holds a byte of the deleted spans: blocks, their
///   filters and dictionaries, catalog rows, counts and logs included. Backups that may hold some are named, not changed.
/// - Spans that arrive after `delete` was called are new: they stay, also those of a deleted trace,
///   though nobody may see these before the deletion is done.
/// - A pinned trace outlives retention, its rules and the bound of the disk; never a deletion.
/// - All methods block; call them from threads that may wait.
pub trait Cleaning: Send + Sync {
    /// Begins to delete every trace that has a span that satisfies the plan.
    fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, CleaningError>;

    /// How far a deletion is; `None` when there never was one of this ID.
    fn deletion(&self, tenant: &TenantId, id: DeletionId) -> Result<Option<Deletion>, CleaningError>;

    /// All deletions that are remembered, latest first.
    fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, CleaningError>;

    /// Pins a trace that is stored. Returns since when it is pinned; `None` when it is not stored, or is being
    /// deleted: what arrives of it meanwhile can be pinned when that is done.
    fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, CleaningError>;

    /// Takes the pin away. Returns whether there was one.
    fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, CleaningError>;

    /// The pinned traces and since when they are, by trace ID.
    fn pins(&self, tenant: &TenantId) -> Vec<(TraceId, UnixNanos)>;
}

/// Names a deletion. Later ones have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeletionId(pub u64);

/// A deletion and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Its name.
    pub id: DeletionId,
    /// When it was asked for.
    pub accepted: UnixNanos,
    /// When nothing was left of the spans; `None` while it is under way.
    pub finished: Option<UnixNanos>,
    /// Traces that go, or went.
    pub traces: u64,
    /// Spans that are gone so far.
    pub spans: u64,
    /// Blocks that cannot be read, and so may hold more to delete.
    pub damaged_blocks: u64,
    /// Backups that may still hold some of the spans, oldest first. None that begins when it is done is among
    /// them, unless there were damaged blocks.
    pub backups: Vec<(BackupId, UnixNanos)>,
    /// A damaged store that a repair has replaced is still there, and may hold some of the spans.
    pub damaged_store: bool,
}

/// Why something was not cleaned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CleaningError {
    /// It could not be read what there is.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be made durable.
    #[error("the store could not note it down: {0}; nothing was deleted or pinned, try again")]
    Write(#[from] EngineError),
    /// Others who let spans go, or keep them, have their turn.
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

impl std::fmt::Display for DeletionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for DeletionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| plain);
        number.map(Self).ok_or_else(|| format!("{text:?} is not the ID of a deletion: 16 hex digits"))
    }
}
