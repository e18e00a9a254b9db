//! Damaged blocks, and damaged records beside them: counted, logged once, and kept apart.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use spandrel_block::BlockId;
use spandrel_proto::UnixNanos;

use super::block_reader::{BlockEntry, BlockError};
use crate::api::Damage;
use crate::engine::EngineError;

/// Damage that was found since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    pub(crate) blocks: Arc<DamagedBlocks>,
    pub(crate) records: DamagedRecords,
    /// Unreadable rollups of expired spans, each with its approximate latest minute. Their tenants and blocks are
    /// unknown, so every aggregate is partial.
    pub(crate) rollups: Mutex<BTreeMap<String, UnixNanos>>,
}

/// The damaged blocks that were found since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct DamagedBlocks(Mutex<HashSet<BlockId>>);

/// The damaged records that were found since the store was opened, each as its error.
#[derive(Debug, Default)]
pub(crate) struct DamagedRecords(Mutex<BTreeSet<String>>);

// === impl DamagedRecords ===

impl DamagedRecords {
    /// Counts an unreadable record, and logs it the first time with its consequence, `follows`.
    pub(crate) fn report(&self, error: &EngineError, follows: &str) {
        if self.0.lock().insert(error.to_string()) {
            tracing::error!(%error, "a record beside the blocks is damaged; {follows}");
            metrics::counter!("spandrel_store_damaged_records_total").increment(1);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().len() as u64
    }
}

// === impl DamagedBlocks ===

impl DamagedBlocks {
    /// Counts an unreadable block in an answer and in the store, and logs it the first time. A block whose key is
    /// missing is not damaged.
    pub(crate) fn report(&self, entry: &BlockEntry, error: &BlockError, damage: &Damage) {
        // Its data have ended, and background work is about to remove it.
        if matches!(error, BlockError::Engine(EngineError::KeyEnded(_))) {
            return;
        }
        damage.add_block(entry.key.block);
        if matches!(error, BlockError::Engine(EngineError::Key(_))) {
            tracing::error!(block = ?entry.key, %error, "a block cannot be decrypted now");
            return;
        }
        if self.0.lock().insert(entry.key.block) {
            tracing::error!(block = ?entry.key, %error, "a block is damaged; it is set aside and the rest is served");
            metrics::counter!("spandrel_store_damaged_blocks_total").increment(1);
        }
    }

    pub(crate) fn contains(&self, block: BlockId) -> bool {
        self.0.lock().contains(&block)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().len() as u64
    }
}
