//! Receives the parts of a backup.

use bytes::Bytes;

use super::{BackupBlock, Blob, ContentHash, LostBlock, Manifest};

/// Takes the parts of a backup as the store reads them. An error ends the backup.
pub trait BackupReceiver {
    /// The backup begins. At most the blocks of this manifest follow; some have no hash yet.
    fn begin(&mut self, backup: &Manifest) -> Result<(), ReceiverGone>;

    /// The store's own records.
    fn records(&mut self, blob: Blob, bytes: Bytes) -> Result<(), ReceiverGone>;

    /// Whether the receiver already has the contents of this hash.
    fn has(&self, hash: ContentHash) -> bool;

    /// The next block; without its bytes if the receiver has them.
    fn block(&mut self, block: &BackupBlock, bytes: Option<Bytes>) -> Result<(), ReceiverGone>;

    /// A block that cannot be read.
    fn lost(&mut self, block: &LostBlock) -> Result<(), ReceiverGone>;
}

/// The receiver of a backup is gone, for example because its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of the backup has gone")]
pub struct ReceiverGone;
