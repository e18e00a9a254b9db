//! Blocks, and records beside them, that cannot be read: counted, told once, and set aside.

use std::collections::{BTreeSet, HashSet};

use parking_lot::Mutex;
use spandrel_block::BlockId;

use crate::api::Damage;
use crate::engine::EngineError;
use crate::store::core::block_reader::{BlockEntry, BlockError};

/// The damaged blocks that were met since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct DamagedBlocks(Mutex<HashSet<BlockId>>);

/// The damaged records that were met since the store was opened, by what is wrong with each.
#[derive(Debug, Default)]
pub(crate) struct DamagedRecords(Mutex<BTreeSet<String>>);

// === impl DamagedRecords ===

impl DamagedRecords {
    /// Counts a record that cannot be read, and tells the operator the first time, and what follows from it.
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
    /// Counts a block that cannot be read, for an answer and for the store, and tells the operator
    /// the first time.
    pub(crate) fn report(&self, entry: &BlockEntry, error: &BlockError, damage: &Damage) {
        damage.add();
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
