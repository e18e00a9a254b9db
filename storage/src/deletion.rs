//! Deletion of traces for privacy.
//!
//! Retention needs no requests and is not here: see `StoreConfig`.

use spandrel_proto::{TenantId, UnixNanos};

use crate::error::LifecycleError;
use crate::ids::{BackupId, DeletionId};
use crate::plan::ScanPlan;

/// Deletes traces for good.
///
/// # Contract
/// - A deletion takes **whole traces**: every span stored so far of each trace that has a matching
///   span. What one span says about a person, its neighbours usually say, too.
/// - `delete` returns once it is durable which traces go; from then on no reader sees them, and no
///   SIGKILL keeps them. Neither the query nor anything that was stored is written anywhere.
/// - A deletion is **done** when no file of the store holds a byte of the deleted spans: blocks, their
///   filters and dictionaries, catalog rows, counts and logs included. Backups that may hold some are named, not changed.
/// - Spans that arrive after `delete` was called are new: they stay, also those of a deleted trace,
///   though no reader sees these before the deletion is done.
/// - All methods block; call them from threads that may wait.
pub trait Deletions: Send + Sync {
    /// Begins to delete every trace that has a span that satisfies the plan.
    fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, LifecycleError>;

    /// How far a deletion is; `None` when there never was one of this ID.
    fn deletion(&self, tenant: &TenantId, id: DeletionId) -> Result<Option<Deletion>, LifecycleError>;

    /// All deletions that are remembered, latest first.
    fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError>;
}

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
