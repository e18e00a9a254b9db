//! Which blocks the catalog names. The index may point at those; rows of all others go when a
//! compaction meets them.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use spandrel_block::BlockId;

/// The blocks of the catalog, as far as they are known. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveBlocks(Arc<RwLock<Option<HashSet<BlockId>>>>);

// === impl LiveBlocks ===

impl LiveBlocks {
    /// The catalog was read. Compactions may run before: they must neither take a block for gone nor
    /// wait, since a database that fails to open waits for them.
    pub(crate) fn know(&self, blocks: impl IntoIterator<Item = BlockId>) {
        self.0.write().get_or_insert_default().extend(blocks);
    }

    /// Blocks come.
    pub(crate) fn add(&self, blocks: &[BlockId]) {
        if let Some(known) = &mut *self.0.write() {
            known.extend(blocks);
        }
    }

    /// Blocks go.
    pub(crate) fn remove(&self, blocks: &[BlockId]) {
        if let Some(known) = &mut *self.0.write() {
            known.retain(|block| !blocks.contains(block));
        }
    }

    /// Whether a block is certainly not in the catalog.
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
        live.know([BlockId(2)]);
        assert!(live.is_gone(BlockId(1)) && !live.is_gone(BlockId(2)));
        live.add(&[BlockId(1)]);
        live.remove(&[BlockId(2)]);
        assert!(!live.is_gone(BlockId(1)) && live.is_gone(BlockId(2)));
    }
}
