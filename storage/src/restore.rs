//! Puts the blocks of a backup into an engine, and makes catalog and index rows from them.
//!
//! A restore that was begun and not finished is remembered by the engine: a store does not open over
//! it, and the same restore goes on where it stopped. Nothing here reads files.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use spandrel_block::record::RecordError;
use spandrel_block::{BlockKey, FormatError, Hour};
use spandrel_proto::TenantId;

use crate::anew::{self, AnewError};
use crate::backup::{BackupId, Manifest, StoreRecord};
use crate::engine::{Change, Engine, EngineError, Records};
use crate::records::backups::{clear_deletion_claims, remember};
use crate::records::carried_kinds;

/// A restore under way.
pub struct Restore<'e> {
    engine: &'e dyn Engine,
    present: HashSet<BlockKey>,
}

/// Why a backup is not restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// There is data already.
    #[error(
        "the store is not empty, it holds {blocks} blocks; restore into a new --data-dir, or say --replace \
         to drop what it holds"
    )]
    NotEmpty {
        /// How many blocks.
        blocks: usize,
    },
    /// Another restore was not finished.
    #[error(
        "a restore of backup {0} into this store was not finished; restore that one again to go on with it, \
         or say --replace to drop what it left"
    )]
    Unfinished(BackupId),
    /// A block is not what was backed up.
    #[error("the block is damaged: {0}")]
    Block(#[from] FormatError),
    /// A catalog row cannot be written, or the store's own records cannot be read.
    #[error("a record of the backup: {0}")]
    Row(#[from] RecordError),
    /// The engine does not take it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<AnewError> for RestoreError {
    fn from(error: AnewError) -> Self {
        match error {
            AnewError::Block(error) => Self::Block(error),
            AnewError::Row(error) => Self::Row(error),
        }
    }
}

/// How far a restore is, as the engine remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What was there before is being dropped.
    Clearing,
    /// Everything that is there comes from the backup.
    Filling,
}

const RECORD_KIND: &str = "restore";
const RECORD_NAME: &str = "unfinished";
/// Blocks that are removed in one commit.
const REMOVED_AT_ONCE: usize = 256;

/// The backup whose restore was begun and not finished.
pub fn unfinished(engine: &dyn Records) -> Result<Option<BackupId>, EngineError> {
    Ok(state(engine)?.map(|(id, _)| id))
}

/// Whether a backup may be restored here. Changes nothing.
pub fn admit(engine: &dyn Engine, id: BackupId, replace: bool) -> Result<(), RestoreError> {
    let blocks = engine.read()?.len();
    match state(engine)? {
        Some((other, _)) if other != id && !replace => Err(RestoreError::Unfinished(other)),
        None if blocks > 0 && !replace => Err(RestoreError::NotEmpty { blocks }),
        _ => Ok(()),
    }
}

fn state(engine: &dyn Records) -> Result<Option<(BackupId, Phase)>, EngineError> {
    let Some((_, value)) = engine.records(RECORD_KIND)?.into_iter().find(|(name, _)| name == RECORD_NAME)
    else {
        return Ok(None);
    };
    let damaged = || EngineError::Io("the record of an unfinished restore is damaged".to_owned());
    let text = String::from_utf8(value).map_err(|_| damaged())?;
    let (phase, id) = text.split_once(' ').ok_or_else(damaged)?;
    let phase = match phase {
        "clearing" => Phase::Clearing,
        "filling" => Phase::Filling,
        _ => return Err(damaged()),
    };
    Ok(Some((id.parse().map_err(|()| damaged())?, phase)))
}

fn note(engine: &dyn Records, id: BackupId, phase: Phase) -> Result<(), EngineError> {
    let phase = match phase {
        Phase::Clearing => "clearing",
        Phase::Filling => "filling",
    };
    engine.put_record(RECORD_KIND, RECORD_NAME, Some(format!("{phase} {id}").as_bytes()))
}

// === impl Restore ===

impl<'e> Restore<'e> {
    /// Begins the restore of a backup, or goes on with it. `replace` drops what is there.
    pub fn begin(engine: &'e dyn Engine, id: BackupId, replace: bool) -> Result<Self, RestoreError> {
        admit(engine, id, replace)?;
        if state(engine)? != Some((id, Phase::Filling)) {
            note(engine, id, Phase::Clearing)?;
            clear(engine)?;
            note(engine, id, Phase::Filling)?;
        }
        let present = engine.read()?.into_iter().map(|(key, _)| key).collect();
        Ok(Self { engine, present })
    }

    /// Whether a block was put by an earlier run of the same restore.
    pub fn has(&self, key: &BlockKey) -> bool {
        self.present.contains(key)
    }

    /// Puts a block with its catalog row and index rows, made anew from its bytes.
    pub fn put(&self, key: &BlockKey, bytes: Bytes) -> Result<(), RestoreError> {
        let (change, _) = anew::sound(key, bytes)?;
        Ok(self.engine.commit(&change)?)
    }

    /// Puts the store's own records.
    pub fn put_records(&self, bytes: &[u8]) -> Result<(), RestoreError> {
        for record in StoreRecord::decode_all(bytes)? {
            self.engine.put_record(&record.kind, &record.name, Some(&record.value))?;
        }
        Ok(())
    }

    /// Ends the restore: from now on the store opens. It remembers the backups that it is told of, and
    /// takes none of them for later than a deletion.
    pub fn finish(self, backups: &[Manifest]) -> Result<(), RestoreError> {
        for backup in backups {
            remember(self.engine, backup)?;
        }
        clear_deletion_claims(self.engine)?;
        self.engine.flush()?;
        Ok(self.engine.put_record(RECORD_KIND, RECORD_NAME, None)?)
    }
}

/// Removes every block, and the records that go with them.
fn clear(engine: &dyn Engine) -> Result<(), EngineError> {
    // Those that lead to others last: whoever is killed here finds the others again.
    for kind in carried_kinds(engine)?.into_iter().rev() {
        for (name, _) in engine.records(&kind)? {
            engine.put_record(&kind, &name, None)?;
        }
    }
    let mut windows: BTreeMap<(TenantId, Hour), Vec<BlockKey>> = BTreeMap::new();
    for (key, _) in engine.read()? {
        windows.entry((key.tenant.clone(), key.hour)).or_default().push(key);
    }
    for ((tenant, hour), keys) in windows {
        for keys in keys.chunks(REMOVED_AT_ONCE) {
            let removes = keys.iter().map(|key| key.block).collect();
            engine.commit(&Change { tenant: tenant.clone(), hour, adds: Vec::new(), removes })?;
        }
    }
    engine.delete(&engine.unreferenced()?)?;
    // Numbers of blocks may come again with the backup: index rows that name them must be gone, not
    // only passed over. The first step of a purge sees to all rows.
    engine.purge(true).map(drop)
}
