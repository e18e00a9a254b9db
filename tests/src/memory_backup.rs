//! A backup in memory, checked while it arrives, for restoring.

use std::collections::BTreeMap;

use bytes::Bytes;
use spandrel_storage::backup::{BackupBlock, BackupId, Blob, ContentHash, LostBlock, Manifest, verify};
use spandrel_storage::restore::{Existing, Restore, RestoreError};
use spandrel_storage::{BackupReceiver, Backups, BlockTraceStore, Engine, ReceiverGone};

/// A backup in memory.
#[derive(Default)]
pub struct MemoryBackup {
    /// The manifest with which it began.
    pub planned: Option<Manifest>,
    /// The store's own records.
    pub records: Bytes,
    /// Its blocks.
    pub blocks: Vec<BackupBlock>,
    /// Blocks that could not be read.
    pub lost: Vec<LostBlock>,
    /// Bytes by their hash, also those of earlier backups.
    pub bytes: BTreeMap<ContentHash, Bytes>,
    /// The number of blocks that were sent.
    pub fetched: usize,
    /// Breaks the backup off after so many blocks.
    pub patience: Option<usize>,
}

impl BackupReceiver for MemoryBackup {
    fn begin(&mut self, backup: &Manifest) -> Result<(), ReceiverGone> {
        self.planned = Some(backup.clone());
        Ok(())
    }

    fn records(&mut self, piece: Blob, bytes: Bytes) -> Result<(), ReceiverGone> {
        assert_eq!(Blob::of(&bytes), piece);
        self.records = bytes;
        Ok(())
    }

    fn has(&self, hash: ContentHash) -> bool {
        self.bytes.contains_key(&hash)
    }

    fn block(&mut self, block: &BackupBlock, bytes: Option<Bytes>) -> Result<(), ReceiverGone> {
        if self.patience == Some(self.blocks.len()) {
            return Err(ReceiverGone);
        }
        let hash = block.hash.expect("a hash");
        match bytes {
            None => assert!(self.has(hash), "a block that is not here was not sent"),
            Some(bytes) => {
                assert_eq!((ContentHash::of(&bytes), bytes.len() as u64), (hash, block.bytes));
                verify(bytes.clone()).expect("a sound block");
                assert!(self.bytes.insert(hash, bytes).is_none(), "a block that is here was sent");
                self.fetched += 1;
            }
        }
        self.blocks.push(block.clone());
        Ok(())
    }

    fn lost(&mut self, block: &LostBlock) -> Result<(), ReceiverGone> {
        self.lost.push(block.clone());
        Ok(())
    }
}

impl MemoryBackup {
    /// A backup of a store.
    pub fn of(store: &BlockTraceStore) -> Self {
        let mut kept = Self::default();
        store.back_up(None, &mut kept).unwrap();
        kept
    }

    /// The next backup of a store, which need not send the blocks of this one.
    pub fn again(self, store: &BlockTraceStore) -> Self {
        let mut kept = Self { bytes: self.bytes, ..Self::default() };
        store.back_up(None, &mut kept).unwrap();
        kept
    }

    pub fn id(&self) -> BackupId {
        self.planned.as_ref().unwrap().id
    }

    /// Restores the backup into an engine.
    pub fn restore(&self, engine: &dyn Engine) -> Result<(), RestoreError> {
        let restore = Restore::begin(engine, self.id(), Existing::Keep)?;
        restore.put_records(&self.records)?;
        for block in &self.blocks {
            if !restore.has(&block.key) {
                restore.put(&block.key, self.bytes[&block.hash.unwrap()].clone())?;
            }
        }
        restore.finish(&[])
    }
}
