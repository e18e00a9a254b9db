//! A backup that is kept in memory, checked as it comes, and can be restored from there.

use std::collections::BTreeMap;

use bytes::Bytes;
use spandrel_storage::backup::{BackupBlock, BackupId, Blob, ContentHash, LostBlock, Manifest, verify};
use spandrel_storage::restore::{Existing, Restore, RestoreError};
use spandrel_storage::{BackupReceiver, BlockTraceStore, Engine, ReceiverGone, Safekeeping};

/// A backup in memory.
#[derive(Default)]
pub struct MemoryBackup {
    /// What it was said to be of when it began.
    pub planned: Option<Manifest>,
    /// The store's own records.
    pub records: Bytes,
    /// Its blocks.
    pub blocks: Vec<BackupBlock>,
    /// Blocks that could not be read.
    pub lost: Vec<LostBlock>,
    /// Bytes by their hash, of earlier backups, too.
    pub bytes: BTreeMap<ContentHash, Bytes>,
    /// Blocks that were sent.
    pub fetched: usize,
    /// Goes after so many blocks.
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
    /// Of what a store has now.
    pub fn of(store: &BlockTraceStore) -> Self {
        let mut kept = Self::default();
        store.back_up(None, &mut kept).unwrap();
        kept
    }

    /// Once more, with everything of last time here.
    pub fn again(self, store: &BlockTraceStore) -> Self {
        let mut kept = Self { bytes: self.bytes, ..Self::default() };
        store.back_up(None, &mut kept).unwrap();
        kept
    }

    /// Its name.
    pub fn id(&self) -> BackupId {
        self.planned.as_ref().unwrap().id
    }

    /// Puts everything into an engine.
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
