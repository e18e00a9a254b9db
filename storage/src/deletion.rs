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
/// - A deletion takes **whole traces**: every span stored so far of each trace that has a matching span, because the
///   other spans of a trace usually tell the same about a person.
/// - `delete` returns once the list of its traces is durable; from then on no reader sees them, and no SIGKILL keeps
///   them. Neither the query nor anything that was stored is written anywhere.
/// - A deletion is **done** when no file of the store contains a byte of the deleted spans: blocks, their filters and
///   dictionaries, catalog rows, counts and logs included. Backups that may contain some are listed, not changed.
/// - Spans that arrive after `delete` was called are new: they stay, also those of a deleted trace, though no reader
///   sees these before the deletion is done.
/// - All methods block; call them from threads that may wait.
pub trait Deletions: Send + Sync {
    /// Begins to delete every trace that has a span that satisfies the plan.
    fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, LifecycleError>;

    /// Deletes everything that is stored of a tenant at the time of the call, what rules have left of expired spans
    /// included, and removes its pins. Spans that arrive later stay. In a store that encrypts, its data keys are deleted
    /// when this returns.
    fn delete_tenant(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError>;

    /// The state of a deletion; `None` if there never was one with this ID, or it is not remembered any more.
    fn deletion(&self, tenant: &TenantId, id: DeletionId) -> Result<Option<Deletion>, LifecycleError>;

    /// All deletions that are remembered, latest first.
    fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError>;
}

/// A deletion and its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Its ID.
    pub id: DeletionId,
    /// The time of the request.
    pub accepted: UnixNanos,
    /// The time when the last byte of the spans was removed; `None` while it is in progress.
    pub finished: Option<UnixNanos>,
    /// Number of traces to delete.
    pub traces: u64,
    /// Number of spans deleted so far.
    pub spans: u64,
    /// Number of blocks that cannot be read, and so may contain more spans to delete.
    pub damaged_blocks: u64,
    /// Backups that may still contain some of the spans, oldest first. No backup that begins after the deletion is done
    /// is among them, unless there were damaged blocks.
    pub backups: Vec<(BackupId, UnixNanos)>,
    /// A damaged store that a repair has replaced still exists, and may contain some of the spans.
    pub damaged_store: bool,
}
