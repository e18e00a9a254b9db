//! Backups and checks of the store while it works.
//!
//! Both hold the view that they began with: a block that leaves the catalog meanwhile stays readable
//! until nobody holds it. The store remembers backups as records of its engine, each a manifest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use spandrel_block::BlockId;

use crate::api::Damage;
use crate::backup::{BackupBlock, BackupId, ContentHash, LostBlock, Manifest, Piece, StoreRecord};
use crate::check::{self, CheckProgress, CheckReport};
use crate::engine::{Engine, EngineError, Records};
use crate::failpoint::{self, Failpoint};
use crate::safekeeping::{BackupError, BackupReceiver, Safekeeping};
use crate::store::BlockTraceStore;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::lifecycle::deletion::record as notes;
use crate::store::lifecycle::expired_rollups;
use crate::store::lifecycle::pins;

/// What the store knows about backups.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    /// Hashes of blocks that an earlier backup has read: those need not be read again.
    hashes: Mutex<Option<HashMap<BlockId, ContentHash>>>,
    last: Mutex<BackupId>,
}

/// The kind of the engine's records that backups are remembered as.
pub(crate) const BACKUP_RECORD: &str = "backup";

// === impl Backups ===

impl Backups {
    /// A name that no backup of this store has had.
    fn next_id(&self, now: u64) -> BackupId {
        let mut last = self.last.lock();
        *last = BackupId(now.max(last.0.saturating_add(1)));
        *last
    }

    /// The hashes of blocks, those of others forgotten.
    fn hashes_of(&self, blocks: &[Arc<BlockEntry>], known: &[Manifest]) -> HashMap<BlockId, ContentHash> {
        let mut hashes = self.hashes.lock();
        let hashes = hashes.get_or_insert_with(|| {
            let all = known.iter().flat_map(|backup| &backup.blocks);
            all.filter_map(|block| Some((block.key.block, block.hash?))).collect()
        });
        let alive: HashSet<BlockId> = blocks.iter().map(|entry| entry.key.block).collect();
        hashes.retain(|block, _| alive.contains(block));
        hashes.clone()
    }

    fn learn(&self, backup: &Manifest) {
        let found = backup.blocks.iter().filter_map(|block| Some((block.key.block, block.hash?)));
        self.hashes.lock().get_or_insert_default().extend(found);
    }
}

/// The kinds of the engine's records that go with the blocks: without them, what is pinned would expire
/// after a restore, what is being deleted would come back, and what a rule has let go would not count.
///
/// Lists of traces before deletions: one that ends meanwhile removes its list last.
pub(crate) fn carried_kinds(engine: &dyn Records) -> Result<Vec<String>, EngineError> {
    let mut kinds = [pins::RECORD, notes::TRACES_RECORD, notes::RECORD].map(str::to_owned).to_vec();
    kinds.extend(expired_rollups::record_kinds(engine)?);
    Ok(kinds)
}

/// Every backup that an engine remembers, oldest first; what cannot be read is an error.
pub(crate) fn remembered(engine: &dyn Records) -> Result<Vec<Manifest>, EngineError> {
    let decode = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8_lossy(&bytes);
        Manifest::decode(&text)
            .map_err(|error| EngineError::Io(format!("the record of backup {name}: {error}")))
    };
    engine.records(BACKUP_RECORD)?.into_iter().map(decode).collect()
}

/// Remembers a backup, or what became of it since.
pub(crate) fn remember(engine: &dyn Records, backup: &Manifest) -> Result<(), EngineError> {
    engine.put_record(BACKUP_RECORD, &backup.id.to_string(), Some(backup.encode().as_bytes()))
}

/// Lets remembered backups say no more which deletions were done before them: after a restore there may be other
/// deletions of the same name. What cannot be read says nothing anyway.
pub(crate) fn doubt(engine: &dyn Records) -> Result<(), EngineError> {
    for (_, bytes) in engine.records(BACKUP_RECORD)? {
        match Manifest::decode(&String::from_utf8_lossy(&bytes)) {
            Ok(backup) if !backup.without.is_empty() => {
                remember(engine, &Manifest { without: Vec::new(), ..backup })?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn described(entry: &BlockEntry, hash: Option<ContentHash>) -> BackupBlock {
    let meta = &entry.row.meta;
    BackupBlock {
        key: entry.key.clone(),
        bytes: entry.row.bytes,
        spans: meta.spans,
        sequences: (meta.min_sequence, meta.max_sequence),
        hash,
    }
}

// === impl BlockTraceStore ===

impl BlockTraceStore {
    /// Every block of every tenant right now, held: none of them is deleted before it is let go.
    fn hold_everything(&self) -> Vec<Arc<BlockEntry>> {
        let states: Vec<_> = self.tenants.read().values().cloned().collect();
        let mut held: Vec<_> =
            states.iter().flat_map(|state| state.view().iter().cloned().collect::<Vec<_>>()).collect();
        held.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        held
    }

    /// The records that go with the blocks. No deletion is accepted between the looks at its list and its note: one
    /// without a list would keep a restored store closed.
    fn carried(&self) -> Result<Bytes, EngineError> {
        let _one_by_one = self.cleaning.lock();
        let mut all = Vec::new();
        for kind in carried_kinds(&*self.engine)? {
            let of_kind = self.engine.records(&kind)?.into_iter();
            all.extend(of_kind.map(|(name, value)| StoreRecord { kind: kind.clone(), name, value }));
        }
        let bytes = StoreRecord::encode_all(&all).map_err(|error| EngineError::Io(error.to_string()))?;
        Ok(bytes.into())
    }

    /// Passes one block on. A block that cannot be read costs the backup nothing but itself.
    fn pass_on(
        &self,
        entry: &BlockEntry,
        known: Option<ContentHash>,
        backup: &mut Manifest,
        receiver: &mut dyn BackupReceiver,
    ) -> Result<(), BackupError> {
        if let Some(hash) = known.filter(|hash| receiver.has(*hash)) {
            let block = described(entry, Some(hash));
            receiver.block(&block, None)?;
            backup.blocks.push(block);
            return Ok(());
        }
        match self.whole_block(entry, known) {
            Ok((bytes, hash)) => {
                let block = described(entry, Some(hash));
                receiver.block(&block, (!receiver.has(hash)).then_some(bytes))?;
                backup.blocks.push(block);
            }
            Err(error) => {
                self.report_damage(entry, &error, &Damage::default());
                let block = LostBlock { key: entry.key.clone(), reason: error.to_string() };
                receiver.lost(&block)?;
                backup.lost.push(block);
            }
        }
        Ok(())
    }

    fn whole_block(
        &self,
        entry: &BlockEntry,
        known: Option<ContentHash>,
    ) -> Result<(Bytes, ContentHash), BlockError> {
        let bytes = self.engine.get_range(&entry.key, 0..entry.row.bytes)?;
        let hash = ContentHash::of(&bytes);
        let changed = bytes.len() as u64 != entry.row.bytes || known.is_some_and(|known| known != hash);
        if changed {
            return Err(EngineError::Io("its bytes are not those that were stored".to_owned()).into());
        }
        Ok((bytes, hash))
    }
}

impl Safekeeping for BlockTraceStore {
    fn back_up(&self, name: Option<BackupId>, receiver: &mut dyn BackupReceiver) -> Result<(), BackupError> {
        let taken = self.clock.now();
        let known = remembered(&*self.engine)?;
        let id = match name {
            Some(name) if known.iter().any(|backup| backup.id == name) => {
                return Err(BackupError::Known(name));
            }
            Some(name) => name,
            None => {
                let newest = known.last().map_or(0, |backup| backup.id.0);
                self.backups.next_id(taken.0.max(newest.saturating_add(1)))
            }
        };
        // Before the view: of what was deleted by now it has nothing. By names, not times: clocks jump.
        let new = Manifest { without: self.clean_deletions()?, ..Manifest::new(id, taken) };
        let mut held = self.hold_everything();
        // Behind the view: counts of spans that have left it are there by now, and those of spans that are
        // about to leave are known for what they are when the store is opened.
        let records = self.carried()?;
        let piece = Piece::of(&records);
        let hashes = self.backups.hashes_of(&held, &known);
        let hash_of = |entry: &BlockEntry| hashes.get(&entry.key.block).copied();
        let blocks = held.iter().map(|entry| described(entry, hash_of(entry))).collect();
        let planned = Manifest { blocks, ..new.clone() };
        remember(&*self.engine, &planned)?;
        failpoint::reach(Failpoint::BackupPlanned);
        receiver.begin(&planned)?;
        receiver.records(piece, records)?;
        let mut backup = Manifest { records: Some(piece), ..new };
        // Passed on, a block may go: a long backup holds back no more than it has to.
        for entry in held.drain(..) {
            self.pass_on(&entry, hash_of(&entry), &mut backup, receiver)?;
            failpoint::reach(Failpoint::BackupPassedOn);
        }
        self.backups.learn(&backup);
        remember(&*self.engine, &backup)?;
        failpoint::reach(Failpoint::BackupRemembered);
        tracing::info!(%id, blocks = backup.blocks.len(), lost = backup.lost.len(), "a backup was taken");
        Ok(())
    }

    fn backups(&self) -> Result<Vec<Manifest>, BackupError> {
        Ok(remembered(&*self.engine)?)
    }

    fn forget_backup(&self, id: BackupId) -> Result<bool, BackupError> {
        let name = id.to_string();
        let known = self.engine.records(BACKUP_RECORD)?.iter().any(|(known, _)| *known == name);
        if known {
            self.engine.put_record(BACKUP_RECORD, &name, None)?;
        }
        Ok(known)
    }

    fn check(&self, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport> {
        let held = self.hold_everything();
        let keys = held.iter().map(|entry| entry.key.clone()).collect();
        let engine: &dyn Engine = &*self.engine;
        check::check_among(engine, Some(&keys), watch)
    }
}
