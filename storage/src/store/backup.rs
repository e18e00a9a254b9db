//! Backups and checks of a store in use.
//!
//! Both hold the view that they began with: a block that leaves the catalog meanwhile stays readable until no reader
//! holds it. The store remembers backups as records of its engine, each a manifest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use spandrel_block::BlockId;

use super::core::Core;
use super::core::block_reader::{BlockEntry, BlockError};
use super::lifecycle::Lifecycle;
use crate::api::Damage;
use crate::backup::{self, BackupBlock, BackupId, BackupReceiver, Blob, LostBlock, Manifest};
use crate::backups::BackupError;
use crate::check::{self, CheckProgress, CheckReport};
use crate::engine::{Engine, EngineError, StoreRecord};
use crate::failpoint::{self, Failpoint};
use crate::records::{backups, carried_kinds};

/// Takes backups and remembers them.
pub(super) struct BackupJobs {
    core: Arc<Core>,
    lifecycle: Arc<Lifecycle>,
    /// Hashes and stored lengths of blocks that an earlier backup has read, so that these blocks are not read again.
    hashes: Mutex<Option<HashMap<BlockId, Blob>>>,
    last: Mutex<BackupId>,
}

// === impl BackupJobs ===

impl BackupJobs {
    pub(super) fn new(core: Arc<Core>, lifecycle: Arc<Lifecycle>) -> Self {
        Self { core, lifecycle, hashes: Mutex::default(), last: Mutex::default() }
    }

    /// An ID that no backup of this store has had.
    fn next_id(&self, now: u64) -> BackupId {
        let mut last = self.last.lock();
        *last = BackupId(now.max(last.0.saturating_add(1)));
        *last
    }

    /// The known hashes of blocks. Drops the hashes of all other blocks.
    fn hashes_of(&self, blocks: &[Arc<BlockEntry>], known: &[Manifest]) -> HashMap<BlockId, Blob> {
        let mut hashes = self.hashes.lock();
        let hashes = hashes.get_or_insert_with(|| {
            let all = known.iter().flat_map(|backup| &backup.blocks);
            all.filter_map(|block| Some((block.key.block, block.blob()?))).collect()
        });
        let alive: HashSet<BlockId> = blocks.iter().map(|entry| entry.key.block).collect();
        hashes.retain(|block, _| alive.contains(block));
        hashes.clone()
    }

    fn learn(&self, backup: &Manifest) {
        let found = backup.blocks.iter().filter_map(|block| Some((block.key.block, block.blob()?)));
        self.hashes.lock().get_or_insert_default().extend(found);
    }

    /// Every live block of every tenant. None of them is deleted while the result is held.
    fn snapshot_blocks(&self) -> Vec<Arc<BlockEntry>> {
        let tenants = self.core.tenants.all();
        let mut held: Vec<_> =
            tenants.iter().flat_map(|(_, state)| state.view().iter().cloned().collect::<Vec<_>>()).collect();
        held.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        held
    }

    /// The records that a backup contains. Takes the lifecycle lock, so that no deletion is accepted between reading
    /// its list and its record: a record without a list would keep a restored store from opening.
    fn carried(&self) -> Result<Bytes, EngineError> {
        let _lock = self.lifecycle.lock();
        let engine = &self.core.engine;
        let mut all = Vec::new();
        // Encrypted records stay as they are, and the keys that they need come with them, encrypted as well.
        let encryption = engine.encryption();
        all.extend(encryption.map(|encryption| encryption.wrapped_keys()).transpose()?);
        for kind in carried_kinds(&**engine)? {
            let of_kind = match encryption {
                Some(encryption) => encryption.stored_records(&kind)?,
                None => engine.records(&kind)?,
            };
            let of_kind = of_kind.into_iter();
            all.extend(of_kind.map(|(name, value)| StoreRecord { kind: kind.clone(), name, value }));
        }
        let bytes = backup::encode_records(&all)?;
        Ok(bytes.into())
    }

    /// Sends one block. An unreadable block is recorded as lost, and the backup goes on.
    fn send_block(
        &self,
        entry: &BlockEntry,
        known: Option<Blob>,
        backup: &mut Manifest,
        receiver: &mut dyn BackupReceiver,
    ) -> Result<(), BackupError> {
        if let Some(blob) = known.filter(|blob| receiver.has(blob.hash)) {
            let block = described(entry, Some(blob));
            receiver.block(&block, None)?;
            backup.blocks.push(block);
            return Ok(());
        }
        match self.whole_block(entry, known) {
            Ok((bytes, blob)) => {
                let block = described(entry, Some(blob));
                receiver.block(&block, (!receiver.has(blob.hash)).then_some(bytes))?;
                backup.blocks.push(block);
            }
            Err(error) => {
                self.core.report_damage(entry, &error, &Damage::default());
                let block = LostBlock { key: entry.key.clone(), reason: error.to_string() };
                receiver.lost(&block)?;
                backup.lost.push(block);
            }
        }
        Ok(())
    }

    /// A block as it is stored, encrypted or not.
    fn whole_block(&self, entry: &BlockEntry, known: Option<Blob>) -> Result<(Bytes, Blob), BlockError> {
        let (engine, plain_bytes) = (&self.core.engine, entry.row.bytes);
        let (bytes, is_whole) = match engine.encryption() {
            Some(encryption) => (encryption.stored_block(&entry.key, plain_bytes)?, true),
            None => {
                let bytes = engine.get_range(&entry.key, 0..plain_bytes)?;
                let is_whole = bytes.len() as u64 == plain_bytes;
                (bytes, is_whole)
            }
        };
        let blob = Blob::of(&bytes);
        if !is_whole || known.is_some_and(|known| known != blob) {
            return Err(EngineError::damaged("its bytes are not those that were stored").into());
        }
        Ok((bytes, blob))
    }

    pub(super) fn back_up(
        &self,
        name: Option<BackupId>,
        receiver: &mut dyn BackupReceiver,
    ) -> Result<(), BackupError> {
        let taken = self.core.clock.now();
        let known = backups::remembered(&*self.core.engine)?;
        let id = match name {
            Some(name) if known.iter().any(|backup| backup.id == name) => {
                return Err(BackupError::Known(name));
            }
            Some(name) => name,
            None => {
                let newest = known.last().map_or(0, |backup| backup.id.0);
                self.next_id(taken.0.max(newest.saturating_add(1)))
            }
        };
        // Read before the view, which therefore contains nothing of these finished deletions. Compared by ID and not by
        // time, because clocks jump.
        let new = Manifest { without: self.lifecycle.clean_deletions()?, ..Manifest::new(id, taken) };
        let mut held = self.snapshot_blocks();
        // Read after the view: rollups of spans that have left the view exist by now, and rollups of spans that are
        // about to leave do not count in a restored store that still has their blocks.
        let records = self.carried()?;
        let piece = Blob::of(&records);
        let hashes = self.hashes_of(&held, &known);
        let hash_of = |entry: &BlockEntry| hashes.get(&entry.key.block).copied();
        let blocks = held.iter().map(|entry| described(entry, hash_of(entry))).collect();
        let planned = Manifest { blocks, ..new.clone() };
        backups::remember(&*self.core.engine, &planned)?;
        failpoint::reach(Failpoint::BackupPlanned);
        receiver.begin(&planned)?;
        receiver.records(piece, records)?;
        let mut backup = Manifest { records: Some(piece), ..new };
        // Each block is released once it is sent, so that a long backup delays as little garbage collection as
        // possible.
        for entry in held.drain(..) {
            self.send_block(&entry, hash_of(&entry), &mut backup, receiver)?;
            failpoint::reach(Failpoint::BackupPassedOn);
        }
        self.learn(&backup);
        backups::remember(&*self.core.engine, &backup)?;
        failpoint::reach(Failpoint::BackupRemembered);
        tracing::info!(%id, blocks = backup.blocks.len(), lost = backup.lost.len(), "a backup was taken");
        Ok(())
    }

    pub(super) fn backups(&self) -> Result<Vec<Manifest>, EngineError> {
        backups::remembered(&*self.core.engine)
    }

    pub(super) fn forget_backup(&self, id: BackupId) -> Result<bool, EngineError> {
        backups::forget(&*self.core.engine, id)
    }

    pub(super) fn check(&self, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport> {
        let held = self.snapshot_blocks();
        let keys = held.iter().map(|entry| entry.key.clone()).collect();
        let engine: &dyn Engine = &*self.core.engine;
        check::check_among(engine, Some(&keys), watch)
    }
}

/// Describes a block. The length of one that no backup has read yet is that of the plain block, an estimate.
fn described(entry: &BlockEntry, blob: Option<Blob>) -> BackupBlock {
    let meta = &entry.row.meta;
    BackupBlock {
        key: entry.key.clone(),
        bytes: blob.map_or(entry.row.bytes, |blob| blob.bytes),
        spans: meta.span_rows(),
        sequences: (meta.min_sequence, meta.max_sequence),
        hash: blob.map(|blob| blob.hash),
    }
}
