//! Puts the blocks of a backup into an engine, and rebuilds their catalog and index rows.
//!
//! The engine records a restore in progress: until it is finished the store does not open, and the same restore
//! resumes where it stopped. Nothing here reads files.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use spandrel_block::record::RecordError;
use spandrel_block::{BlockKey, FormatError, Hour};
use spandrel_proto::TenantId;

use crate::backup::{self, Manifest};
use crate::encryption::{KEYRING_RECORD, is_encrypted_block};
use crate::engine::{Change, Engine, EngineError, Records};
use crate::ids::BackupId;
use crate::rebuild::{self, RebuildError};
use crate::records::backups::{clear_deletion_claims, remember};
use crate::records::carried_kinds;

/// How a restore treats data that the store already contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It refuses to restore.
    Keep,
    /// It removes them first.
    Replace,
}

/// A restore in progress.
pub struct Restore<'e> {
    engine: &'e dyn Engine,
    present: HashSet<BlockKey>,
}

/// What became of a block of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is stored.
    Stored,
    /// Its data key was deleted, so that it is left out.
    Ended,
}

/// Why a backup was not restored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RestoreError {
    /// The store is not empty.
    #[error(
        "the store is not empty, it holds {blocks} blocks; restore into a new --data-dir, or say --replace \
         to drop what it holds"
    )]
    NotEmpty {
        /// The number of blocks in the store.
        blocks: usize,
    },
    /// Another restore was not finished.
    #[error(
        "a restore of backup {0} into this store was not finished; restore that one again to go on with it, \
         or say --replace to drop what it left"
    )]
    Unfinished(BackupId),
    /// A block of the backup is damaged.
    #[error("the block is damaged: {0}")]
    Block(#[from] FormatError),
    /// The backup is encrypted, and the store is not.
    #[error("the backup is encrypted, and there is no master key: {0}")]
    Encrypted(String),
    /// A catalog row cannot be written, or the store's own records cannot be read.
    #[error("a record of the backup: {0}")]
    Row(#[from] RecordError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<RebuildError> for RestoreError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Block(error) => Self::Block(error),
            RebuildError::Row(error) => Self::Row(error),
        }
    }
}

/// The progress of a restore, as the engine records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The previous content is being removed.
    Clearing,
    /// Everything in the store comes from the backup.
    Filling,
}

const RECORD_KIND: &str = "restore";
const RECORD_NAME: &str = "unfinished";
/// The most blocks that one commit removes.
const REMOVED_AT_ONCE: usize = 256;

/// The backup whose restore is not finished, if any.
pub fn unfinished(engine: &dyn Records) -> Result<Option<BackupId>, EngineError> {
    Ok(state(engine)?.map(|(id, _)| id))
}

/// Checks that a backup may be restored here. Changes nothing.
pub fn admit(engine: &dyn Engine, id: BackupId, existing: Existing) -> Result<(), RestoreError> {
    let blocks = engine.catalog_rows()?.len();
    let keeps = existing == Existing::Keep;
    match state(engine)? {
        Some((other, _)) if other != id && keeps => Err(RestoreError::Unfinished(other)),
        None if blocks > 0 && keeps => Err(RestoreError::NotEmpty { blocks }),
        _ => Ok(()),
    }
}

fn state(engine: &dyn Records) -> Result<Option<(BackupId, Phase)>, EngineError> {
    let Some((_, value)) = engine.records(RECORD_KIND)?.into_iter().find(|(name, _)| name == RECORD_NAME)
    else {
        return Ok(None);
    };
    let damaged =
        || EngineError::damaged_record(RECORD_KIND, RECORD_NAME, "it does not say phase and backup");
    let text = String::from_utf8(value).map_err(|_| damaged())?;
    let (phase, id) = text.split_once(' ').ok_or_else(damaged)?;
    let phase = match phase {
        "clearing" => Phase::Clearing,
        "filling" => Phase::Filling,
        _ => return Err(damaged()),
    };
    Ok(Some((id.parse().map_err(|()| damaged())?, phase)))
}

fn put_state(engine: &dyn Records, id: BackupId, phase: Phase) -> Result<(), EngineError> {
    let phase = match phase {
        Phase::Clearing => "clearing",
        Phase::Filling => "filling",
    };
    engine.put_record(RECORD_KIND, RECORD_NAME, Some(format!("{phase} {id}").as_bytes()))
}

// === impl Restore ===

impl<'e> Restore<'e> {
    /// Begins the restore of a backup, or resumes it.
    pub fn begin(engine: &'e dyn Engine, id: BackupId, existing: Existing) -> Result<Self, RestoreError> {
        admit(engine, id, existing)?;
        if state(engine)? != Some((id, Phase::Filling)) {
            put_state(engine, id, Phase::Clearing)?;
            clear(engine)?;
            put_state(engine, id, Phase::Filling)?;
        }
        let present = engine.catalog_rows()?.into_iter().map(|(key, _)| key).collect();
        Ok(Self { engine, present })
    }

    /// Whether an earlier run of the same restore stored a block.
    pub fn has(&self, key: &BlockKey) -> bool {
        self.present.contains(key)
    }

    /// Stores a block, with catalog and index rows rebuilt from its bytes. An encrypted block stays as it is in the
    /// backup, so that the next backup need not fetch it again.
    pub fn put(&self, key: &BlockKey, bytes: Bytes) -> Result<Restored, RestoreError> {
        if !is_encrypted_block(&bytes) {
            let (change, _) = rebuild::from_bytes(key, bytes)?;
            self.engine.commit(&change)?;
            return Ok(Restored::Stored);
        }
        let encryption = self.engine.encryption().ok_or_else(|| {
            RestoreError::Encrypted("give it with --encryption-key-file or another of its flags".to_owned())
        })?;
        if encryption.is_ended(&bytes) {
            return Ok(Restored::Ended);
        }
        let (mut change, _) = rebuild::from_bytes(key, encryption.decrypt_block(key, &bytes)?)?;
        change.adds.iter_mut().for_each(|add| add.bytes = bytes.clone());
        self.engine.commit(&change)?;
        Ok(Restored::Stored)
    }

    /// Stores the records of the backup, except for its data keys, which belong into the keyring.
    pub fn put_records(&self, bytes: &[u8]) -> Result<(), RestoreError> {
        for record in backup::decode_records(bytes)?.iter().filter(|record| record.kind != KEYRING_RECORD) {
            self.engine.put_record(&record.kind, &record.name, Some(&record.value))?;
        }
        Ok(())
    }

    /// Finishes the restore: from now on the store opens. The store remembers the given backups, but not which
    /// deletions they exclude.
    pub fn finish(self, backups: &[Manifest]) -> Result<(), RestoreError> {
        for backup in backups {
            remember(self.engine, backup)?;
        }
        clear_deletion_claims(self.engine)?;
        self.engine.flush()?;
        Ok(self.engine.put_record(RECORD_KIND, RECORD_NAME, None)?)
    }
}

/// Removes every block, and the records that depend on them.
fn clear(engine: &dyn Engine) -> Result<(), EngineError> {
    // Lists are removed after the records that they lead to: after a kill, the next run finds these through the lists.
    for kind in carried_kinds(engine)?.into_iter().rev() {
        for (name, _) in engine.records(&kind)? {
            engine.put_record(&kind, &name, None)?;
        }
    }
    let mut windows: BTreeMap<(TenantId, Hour), Vec<BlockKey>> = BTreeMap::new();
    for (key, _) in engine.catalog_rows()? {
        windows.entry((key.tenant.clone(), key.hour)).or_default().push(key);
    }
    for ((tenant, hour), keys) in windows {
        for keys in keys.chunks(REMOVED_AT_ONCE) {
            let removes = keys.iter().map(|key| key.block).collect();
            engine.commit(&Change { tenant: tenant.clone(), hour, adds: Vec::new(), removes })?;
        }
    }
    engine.delete_blocks(&engine.unreferenced()?)?;
    // The backup may reuse block IDs, so index rows that name them must be removed, not only skipped. The beginning
    // of a purge removes them.
    engine.begin_purge()
}
