//! Opening a store: reads the catalog and the traces of fresh blocks, deletes blocks that no catalog row names, and
//! resumes deletions.

mod rebuild_catalog_row;
mod take_over;

use std::sync::Arc;

use spandrel_block::{BlockKey, FormatError};
use spandrel_proto::TenantId;

use self::rebuild_catalog_row::readable_row;
use super::core::Core;
use super::core::block_reader::{BlockEntry, BlockError};
use super::core::config::{Clock, StoreConfig};
use super::lifecycle::Lifecycle;
use super::lifecycle::deletion::ResumeError;
use super::maintenance::FormatUpgrades;
use crate::api::Damage;
use crate::backup::BackupId;
use crate::encryption::{KeyError, is_encrypted_value};
use crate::engine::{Engine, EngineError};
use crate::failpoint::{self, Failpoint};
use crate::records;

/// The parts of an open store.
pub(super) struct Opened {
    pub(super) core: Arc<Core>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) upgrades: FormatUpgrades,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine cannot read its catalog or its records.
    #[error("reading the catalog: {0}{advice}", advice = .0.advice())]
    Engine(#[from] EngineError),
    /// A restore was not finished, so the store has only a part of a backup.
    #[error("a restore of backup {0} was not finished; run that `spandrel restore` again to go on")]
    RestoreInProgress(BackupId),
    /// A block has a newer format. It must not be quarantined, because retention would remove it in the end.
    #[error("block {block} of tenant {tenant}: {error}")]
    UnsupportedFormat {
        /// The tenant that owns the block.
        tenant: TenantId,
        /// The ID of the block.
        block: u64,
        /// The error about the format, with advice.
        error: FormatError,
    },
    /// A newer Spandrel wrote a record beside the blocks.
    #[error("record {0} was written by a newer Spandrel; use that one")]
    NewerRecord(String),
    /// The record of a deletion in progress is damaged. Without it the deleted spans would come back.
    #[error(
        "{0}; it says what must not come back, so the store stays closed: \
         restore a backup with `spandrel restore` into a new directory, and delete there what was to be deleted"
    )]
    Deletion(EngineError),
    /// The catalog row of a block is damaged, and so is the block.
    #[error(
        "{damage}, and the block itself is damaged as well ({error}): it is unknown which spans it held; stop the \
         server and run `spandrel repair`, which makes a new store without it, or restore a backup into a new directory"
    )]
    CatalogRowLost {
        /// The error about its catalog row.
        damage: EngineError,
        /// The error about the block.
        error: FormatError,
    },
    /// The store is encrypted, and its keys are missing.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A newer Spandrel wrote a row of the catalog.
    #[error("the catalog row of block {0} was written by a newer Spandrel; use that one")]
    NewerRow(u64),
}

/// Opens a store over an engine.
pub(super) fn open(
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    config: StoreConfig,
) -> Result<Opened, OpenError> {
    // Before anything else is read: without its keys everything would look damaged.
    if let Some(encryption) = engine.encryption() {
        encryption.take_ended();
        encryption.require_keys()?;
    }
    if let Some(backup) = crate::restore::unfinished(&*engine)? {
        return Err(OpenError::RestoreInProgress(backup));
    }
    if let Some(record) = records::newer(&*engine)? {
        return Err(OpenError::NewerRecord(record));
    }
    let core = Arc::new(Core::new(engine, clock, config));
    let upgrades = FormatUpgrades::default();
    failpoint::reach(Failpoint::OpenBegun);
    let rows = core.engine.catalog_rows()?;
    if core.engine.encryption().is_none() && rows.iter().any(|(_, row)| is_encrypted_value(row)) {
        return Err(KeyError::NoKeyring.into());
    }
    for (key, row) in rows {
        let row = readable_row(&core, &key, &row)?;
        adopt(&core, &upgrades, BlockEntry::new(key, row))?;
    }
    take_over::remove_ended(&core)?;
    let unreferenced = core.engine.unreferenced()?;
    // IDs of blocks that are still to be deleted must not be reused.
    for key in &unreferenced {
        core.committer.observe_block_id(key.block);
    }
    core.reserve_block_ids()?;
    failpoint::reach(Failpoint::OpenAdopted);
    core.engine.delete_blocks(&unreferenced)?;
    let lifecycle = Arc::new(Lifecycle::new(core.clone()));
    lifecycle.load_pins()?;
    core.load_expired_rollups()?;
    lifecycle.resume_deletions()?;
    take_over::records(&core, &upgrades)?;
    failpoint::reach(Failpoint::OpenTidied);
    Ok(Opened { core, lifecycle, upgrades })
}

/// Adds a block of the catalog to the state in memory.
fn adopt(core: &Core, upgrades: &FormatUpgrades, mut entry: BlockEntry) -> Result<(), OpenError> {
    core.committer.observe_block_id(entry.key.block);
    let meta = &entry.row.meta;
    core.committer.sequences.observe(meta.max_sequence);
    core.committer.observe_hour(entry.key.hour);
    let state = core.tenants.get_or_new(&entry.key.tenant);
    match core.reader.traces(&entry) {
        Ok(traces) if meta.level == 0 => {
            entry.memory_bytes = state.add_fresh(entry.key.block, &traces, meta.logs)
        }
        Ok(_) if meta.logs => {}
        Ok(traces) => {
            let mut counter = state.traces.lock();
            for (trace, _) in traces.entries() {
                counter.add(*trace);
            }
        }
        Err(BlockError::Format(error @ FormatError::Version(_))) => {
            return Err(OpenError::newer_block(&entry.key, error));
        }
        Err(BlockError::Engine(error @ EngineError::Key(_))) => return Err(error.into()),
        Err(error) => {
            core.report_damage(&entry, &error, &Damage::default());
            if meta.level == 0 {
                state.unindexed.lock().push(entry.key.block);
            }
        }
    }
    upgrades.observe(core, &entry);
    if meta.level == 0 {
        core.backlog.add(&entry);
    }
    state.change([Arc::new(entry)], &[]);
    Ok(())
}

// === impl OpenError ===

impl OpenError {
    pub(crate) fn newer_block(key: &BlockKey, error: FormatError) -> Self {
        Self::UnsupportedFormat { tenant: key.tenant.clone(), block: key.block.0, error }
    }
}

impl From<ResumeError> for OpenError {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::Engine(error) => Self::Engine(error),
            ResumeError::Damaged(error) => Self::Deletion(error),
        }
    }
}
