//! Backups of a store that goes on working meanwhile.

use crate::backup::{BackupReceiver, Manifest, ReceiverGone};
use crate::engine::EngineError;
use crate::ids::BackupId;

/// Takes backups.
///
/// # Contract
/// - A backup holds every span that was acknowledged before it began, fresh ones included. Blocks
///   that it holds stay readable until it has passed them on, whatever is merged or dropped meanwhile.
/// - A backup is remembered, durably, before its first block is passed on, and until it is forgotten:
///   deletions name the backups that still hold their spans.
/// - All methods block; call them from threads that may wait.
pub trait Backups: Send + Sync {
    /// Takes a backup and passes it on part by part. A caller that gives it a name can have it forgotten even if the
    /// connection broke before the first part.
    fn back_up(&self, name: Option<BackupId>, receiver: &mut dyn BackupReceiver) -> Result<(), BackupError>;

    /// The backups that were begun and not forgotten, oldest first.
    fn backups(&self) -> Result<Vec<Manifest>, BackupError>;

    /// Forgets a backup that is no more. Returns whether it was known.
    fn forget_backup(&self, id: BackupId) -> Result<bool, BackupError>;
}

/// Why there is no backup.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// The store's list of backups cannot be read or written.
    #[error("the list of backups: {0}")]
    Registry(#[from] EngineError),
    /// There is one of this name.
    #[error("there is a backup {0} already; give another name, or none")]
    Known(BackupId),
    /// Its receiver has gone.
    #[error(transparent)]
    Gone(#[from] ReceiverGone),
}
