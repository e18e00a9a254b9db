//! The blocks that the catalog names. A compaction removes index rows of all other blocks.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use spandrel_block::BlockId;

/// The blocks of the catalog, once the catalog was read. Clones share the set.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveBlocks(Arc<RwLock<Option<HashSet<BlockId>>>>);

// === impl LiveBlocks ===

impl LiveBlocks {
    /// Adds the blocks of the catalog after it was read. Compactions that run earlier must not treat blocks as gone,
    /// and must not wait for the catalog either, since a database that fails to open waits for its compactions.
    pub(crate) fn initialise(&self, blocks: impl IntoIterator<Item = BlockId>) {
        self.0.write().get_or_insert_default().extend(blocks);
    }

    /// Adds blocks that were committed.
    pub(crate) fn add(&self, blocks: &[BlockId]) {
        if let Some(known) = &mut *self.0.write() {
            known.extend(blocks);
        }
    }

    /// Removes blocks that left the catalog.
    pub(crate) fn remove(&self, blocks: &[BlockId]) {
        if let Some(known) = &mut *self.0.write() {
            known.retain(|block| !blocks.contains(block));
        }
    }

    /// Whether the catalog certainly does not name a block.
    pub(crate) fn is_gone(&self, block: BlockId) -> bool {
        self.0.read().as_ref().is_some_and(|known| !known.contains(&block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_gone_before_the_catalog_is_known() {
        let live = LiveBlocks::default();
        assert!(!live.is_gone(BlockId(1)));
        live.initialise([BlockId(2)]);
        assert!(live.is_gone(BlockId(1)) && !live.is_gone(BlockId(2)));
        live.add(&[BlockId(1)]);
        live.remove(&[BlockId(2)]);
        assert!(!live.is_gone(BlockId(1)) && live.is_gone(BlockId(2)));
    }
}
