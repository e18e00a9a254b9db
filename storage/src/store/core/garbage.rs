//! The queue of blocks that have left the catalog and wait for garbage collection.
//!
//! Blocks are removed in two stages. While a reader of this process holds a block it stays unchanged: readers are
//! counted, by the references to its entry, so even the slowest one is safe. Then the block is dropped from memory
//! immediately, and its pages are deleted; those of a block that a merge has replaced once its grace period is over.
//!
//! The grace period protects readers in other processes that read the catalog first and the blocks later. It is not
//! guaranteed. It ends early if space or privacy needs it ([`GarbageQueue::end_grace`]), a clock that jumps shortens or
//! prolongs it, and it does not outlive the process: blocks that no catalog row names are deleted when a store is
//! opened. Readers of this process do not need it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::{BlockId, BlockKey};
use spandrel_proto::UnixNanos;

use super::block_reader::BlockEntry;

/// Blocks that wait for garbage collection.
pub(crate) struct GarbageQueue {
    stages: Mutex<Stages>,
    /// Whether blocks were written or deleted since the engine was last compacted.
    has_garbage: AtomicBool,
}

#[derive(Default)]
struct Stages {
    /// Readers may still hold them.
    held: Vec<PendingRemoval<Arc<BlockEntry>>>,
    /// No reader holds them, and they are dropped from memory.
    unreferenced: Vec<PendingRemoval<BlockKey>>,
    /// They could not be deleted. Only deletions wait for them, and are not finished before.
    failed: Vec<BlockKey>,
}

struct PendingRemoval<B> {
    block: B,
    /// When a merge replaced it; `None` without a grace period.
    replaced: Option<UnixNanos>,
}

/// Why a block leaves the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovalReason {
    /// A merge has replaced it.
    Merged,
    /// Retention or a deletion removes it, without a grace period.
    Expired,
}

// === impl GarbageQueue ===

impl Default for GarbageQueue {
    /// An empty queue. The engine was not compacted since it was opened, so there may be garbage.
    fn default() -> Self {
        Self { stages: Mutex::default(), has_garbage: AtomicBool::new(true) }
    }
}

impl GarbageQueue {
    /// Adds blocks that have just left the catalog.
    pub(crate) fn add(&self, blocks: &[Arc<BlockEntry>], reason: RemovalReason, now: UnixNanos) {
        let replaced = (reason == RemovalReason::Merged).then_some(now);
        let pending = blocks.iter().map(|block| PendingRemoval { block: block.clone(), replaced });
        self.stages.lock().held.extend(pending);
    }

    /// Ends the grace period of all blocks in the queue, because space or privacy needs it.
    pub(crate) fn end_grace(&self) {
        let stages = &mut *self.stages.lock();
        for pending in &mut stages.held {
            pending.replaced = None;
        }
        for pending in &mut stages.unreferenced {
            pending.replaced = None;
        }
    }

    /// Whether the queue is empty, except for blocks that could not be deleted.
    pub(crate) fn is_empty(&self) -> bool {
        let stages = self.stages.lock();
        stages.held.is_empty() && stages.unreferenced.is_empty()
    }

    /// The blocks whose pages are not deleted yet.
    pub(crate) fn blocks(&self) -> HashSet<BlockId> {
        let stages = self.stages.lock();
        let held = stages.held.iter().map(|pending| pending.block.key.block);
        let unreferenced = stages.unreferenced.iter().map(|pending| pending.block.block);
        held.chain(unreferenced).chain(stages.failed.iter().map(|key| key.block)).collect()
    }

    /// Moves blocks that no reader holds to the next stage, and returns them.
    pub(crate) fn take_unreferenced(&self) -> Vec<Arc<BlockEntry>> {
        let Stages { held, unreferenced, .. } = &mut *self.stages.lock();
        let unread = held.extract_if(.., |pending| Arc::strong_count(&pending.block) == 1);
        let take_on = |PendingRemoval { block, replaced }: PendingRemoval<Arc<BlockEntry>>| {
            unreferenced.push(PendingRemoval { block: block.key.clone(), replaced });
            block
        };
        unread.map(take_on).collect()
    }

    /// Removes the blocks from the queue whose pages are to be deleted now, and returns them.
    pub(crate) fn take_due(&self, now: UnixNanos, grace: Duration) -> Vec<BlockKey> {
        let due = |pending: &mut PendingRemoval<BlockKey>| is_over(pending.replaced, now, grace);
        self.stages.lock().unreferenced.extract_if(.., due).map(|pending| pending.block).collect()
    }

    /// Adds blocks that could not be deleted.
    pub(crate) fn add_failed(&self, keys: Vec<BlockKey>) {
        self.stages.lock().failed.extend(keys);
    }

    /// Whether there are blocks that could not be deleted.
    pub(crate) fn any_failed(&self) -> bool {
        !self.stages.lock().failed.is_empty()
    }

    /// Removes the blocks that could not be deleted from the queue, for another attempt.
    pub(crate) fn take_failed(&self) -> Vec<BlockKey> {
        std::mem::take(&mut self.stages.lock().failed)
    }

    /// Records that blocks were written or deleted, so that the engine is compacted later.
    pub(crate) fn mark_garbage(&self) {
        self.has_garbage.store(true, Ordering::Release);
    }

    /// Whether the engine is to be compacted; the caller has to do it.
    pub(crate) fn take_mark(&self) -> bool {
        self.has_garbage.swap(false, Ordering::Acquire)
    }

    /// Whether the engine is to be compacted.
    #[cfg(test)]
    pub(crate) fn has_garbage(&self) -> bool {
        self.has_garbage.load(Ordering::Relaxed)
    }
}

/// Whether a grace period is over. Compares the distance in both directions, so that a clock that was set back far does
/// not keep blocks for long.
fn is_over(replaced: Option<UnixNanos>, now: UnixNanos, grace: Duration) -> bool {
    replaced.is_none_or(|replaced| u128::from(now.0.abs_diff(replaced.0)) >= grace.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_ends_however_the_clock_goes() {
        let (grace, replaced) = (Duration::from_nanos(5), Some(UnixNanos(100)));
        for now in [96, 99, 100, 101, 104] {
            assert!(!is_over(replaced, UnixNanos(now), grace), "{now}");
        }
        for now in [0, 95, 105, u64::MAX] {
            assert!(is_over(replaced, UnixNanos(now), grace), "{now}");
        }
        assert!(is_over(None, UnixNanos(100), grace));
        assert!(is_over(replaced, UnixNanos(100), Duration::ZERO));
    }
}
