//! Backups of a store in use.

use crate::backup::{BackupReceiver, Manifest, ReceiverGone};
use crate::engine::EngineError;
use crate::ids::BackupId;

/// Takes backups.
///
/// # Contract
/// - A backup contains every span that was acknowledged before it began, fresh ones included. Its blocks stay readable
///   until they are sent, whatever is merged or dropped meanwhile.
/// - A backup is remembered, durably, from before its first block is sent until it is forgotten: deletions list the
///   backups that still contain their spans.
/// - All methods block; call them from threads that may wait.
pub trait Backups: Send + Sync {
    /// Takes a backup and sends it part by part. A caller that names the backup can have it forgotten even if the
    /// connection broke before the first part.
    fn back_up(&self, name: Option<BackupId>, receiver: &mut dyn BackupReceiver) -> Result<(), BackupError>;

    /// The remembered backups, complete or not, oldest first.
    fn backups(&self) -> Result<Vec<Manifest>, BackupError>;

    /// Forgets a backup that does not exist any more. Returns whether it was known.
    fn forget_backup(&self, id: BackupId) -> Result<bool, BackupError>;
}

/// Why a backup was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// The store's list of backups cannot be read or written.
    #[error("the list of backups: {0}")]
    Registry(#[from] EngineError),
    /// There is a backup with this name.
    #[error("there is a backup {0} already; give another name, or none")]
    Known(BackupId),
    /// The receiver of the backup is gone.
    #[error(transparent)]
    Gone(#[from] ReceiverGone),
}
