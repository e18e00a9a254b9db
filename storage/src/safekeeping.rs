//! Looking after what is stored: backups and checks of a store that goes on working meanwhile.

use bytes::Bytes;

use crate::backup::{BackupBlock, BackupId, Blob, ContentHash, LostBlock, Manifest};
use crate::check::{CheckProgress, CheckReport};
use crate::engine::EngineError;

/// Backups and checks.
///
/// # Contract
/// - A backup holds every span that was acknowledged before it began, fresh ones included. Blocks
///   that it holds stay readable until it has passed them on, whatever is merged or dropped meanwhile.
/// - A backup is remembered, durably, before its first block is passed on, and until it is forgotten:
///   whoever deletes spans can say which backups still hold them.
/// - All methods block; call them from threads that may wait.
pub trait Safekeeping: Send + Sync {
    /// Takes a backup and passes it on piece by piece. Whoever names it can have it forgotten even if
    /// he has not heard a word of it.
    fn back_up(&self, name: Option<BackupId>, receiver: &mut dyn BackupReceiver) -> Result<(), BackupError>;

    /// The backups that were begun and not forgotten, oldest first.
    fn backups(&self) -> Result<Vec<Manifest>, BackupError>;

    /// Forgets a backup that is no more. Returns whether it was known.
    fn forget_backup(&self, id: BackupId) -> Result<bool, BackupError>;

    /// Checks everything. `watch` is told how far it is, and says whether to go on; without it there
    /// is no report.
    fn check(&self, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport>;
}

/// Who a backup is passed on to. An error ends the backup.
pub trait BackupReceiver {
    /// The backup begins. Its blocks are what is to come, at the most; some have no hash yet.
    fn begin(&mut self, backup: &Manifest) -> Result<(), ReceiverGone>;

    /// The store's own records.
    fn records(&mut self, piece: Blob, bytes: Bytes) -> Result<(), ReceiverGone>;

    /// Whether these bytes need not be sent.
    fn has(&self, hash: ContentHash) -> bool;

    /// The next block; without its bytes if the receiver has them.
    fn block(&mut self, block: &BackupBlock, bytes: Option<Bytes>) -> Result<(), ReceiverGone>;

    /// A block that cannot be read.
    fn lost(&mut self, block: &LostBlock) -> Result<(), ReceiverGone>;
}

/// Nobody takes the backup any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the backup any more")]
pub struct ReceiverGone;

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
