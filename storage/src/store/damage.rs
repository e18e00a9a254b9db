//! Blocks that cannot be read: counted, told once, and set aside.

use std::collections::HashSet;

use parking_lot::Mutex;
use spandrel_block::BlockId;

use super::block::{BlockEntry, BlockError};
use crate::api::Damage;

/// The damaged blocks that were met since the store was opened.
#[derive(Debug, Default)]
pub(super) struct DamagedBlocks(Mutex<HashSet<BlockId>>);

// === impl DamagedBlocks ===

impl DamagedBlocks {
    /// Counts a block that cannot be read, for an answer and for the store, and tells the operator
    /// the first time.
    pub(super) fn report(&self, entry: &BlockEntry, error: &BlockError, damage: &Damage) {
        damage.add();
        if self.0.lock().insert(entry.key.block) {
            tracing::error!(block = ?entry.key, %error, "a block is damaged; it is set aside and the rest is served");
            metrics::counter!("spandrel_store_damaged_blocks_total").increment(1);
        }
    }

    pub(super) fn contains(&self, block: BlockId) -> bool {
        self.0.lock().contains(&block)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.lock().len() as u64
    }
}
