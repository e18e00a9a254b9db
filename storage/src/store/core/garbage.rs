//! Blocks that have left the catalog, on their way out.
//!
//! They go in two stages. While anybody in this process reads a block it stays as it is: readers are counted, by
//! the references to its entry, so that none is ever too slow. Then what memory knows of it is let go at once, and
//! its pages are deleted: those of a block that a merge has replaced once its grace is over.
//!
//! The grace is for whoever knows the number of a block from elsewhere than from this process: who has read the
//! catalog and comes for the blocks next still finds them. It is no promise. Where room or privacy needs it the
//! grace ends early ([`Doomed::hurry`]), a clock that jumps shortens it or makes it a few times as long, and it does not
//! outlive the process: what no catalog row names is deleted when a store is opened. Readers of this process need none.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::{BlockId, BlockKey};
use spandrel_proto::UnixNanos;

use crate::engine::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::store::BlockTraceStore;
use crate::store::core::block_reader::BlockEntry;

/// The blocks that are on their way out.
#[derive(Default)]
pub(crate) struct Doomed(Mutex<Stages>);

#[derive(Default)]
struct Stages {
    /// Somebody may read them still.
    held: Vec<Leaving<Arc<BlockEntry>>>,
    /// Nobody does, and memory knows nothing else of them.
    kept: Vec<Leaving<BlockKey>>,
    /// They could not be deleted: nothing waits for them but deletions, which are not done before.
    failed: Vec<BlockKey>,
}

struct Leaving<B> {
    block: B,
    /// When a merge has replaced it; `None` without a grace.
    replaced: Option<UnixNanos>,
}

/// Why blocks leave the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A merge has put others in their place.
    Merged,
    /// By their age, for lack of room, or because they hold what is deleted: they get no grace.
    Cleaned,
}

// === impl Doomed ===

impl Doomed {
    /// Takes blocks that have left the catalog just now.
    pub(crate) fn take(&self, blocks: &[Arc<BlockEntry>], exit: Exit, now: UnixNanos) {
        let replaced = (exit == Exit::Merged).then_some(now);
        let leaving = blocks.iter().map(|block| Leaving { block: block.clone(), replaced });
        self.0.lock().held.extend(leaving);
    }

    /// Ends the grace of all that are here: room or privacy needs it.
    pub(crate) fn hurry(&self) {
        let stages = &mut *self.0.lock();
        stages.held.iter_mut().for_each(|leaving| leaving.replaced = None);
        stages.kept.iter_mut().for_each(|leaving| leaving.replaced = None);
    }

    /// Whether the pages of all are deleted that can be.
    pub(crate) fn is_empty(&self) -> bool {
        let stages = self.0.lock();
        stages.held.is_empty() && stages.kept.is_empty()
    }

    /// Those whose pages are not deleted yet, whoever reads them.
    pub(crate) fn blocks(&self) -> HashSet<BlockId> {
        let stages = self.0.lock();
        let held = stages.held.iter().map(|leaving| leaving.block.key.block);
        let kept = stages.kept.iter().map(|leaving| leaving.block.block);
        held.chain(kept).chain(stages.failed.iter().map(|key| key.block)).collect()
    }

    /// Takes those on that nobody reads any more.
    fn unread(&self) -> Vec<Arc<BlockEntry>> {
        let Stages { held, kept, .. } = &mut *self.0.lock();
        let unread = held.extract_if(.., |leaving| Arc::strong_count(&leaving.block) == 1);
        let take_on = |Leaving { block, replaced }: Leaving<Arc<BlockEntry>>| {
            kept.push(Leaving { block: block.key.clone(), replaced });
            block
        };
        unread.map(take_on).collect()
    }

    /// Takes some back that could not be deleted.
    fn fail(&self, keys: Vec<BlockKey>) {
        self.0.lock().failed.extend(keys);
    }

    /// Whether there are such.
    pub(crate) fn any_failed(&self) -> bool {
        !self.0.lock().failed.is_empty()
    }

    /// Gives them again.
    fn failed(&self) -> Vec<BlockKey> {
        std::mem::take(&mut self.0.lock().failed)
    }

    /// Lets those go whose pages are to be deleted now.
    fn due(&self, now: UnixNanos, grace: Duration) -> Vec<BlockKey> {
        let due = |leaving: &mut Leaving<BlockKey>| is_over(leaving.replaced, now, grace);
        self.0.lock().kept.extract_if(.., due).map(|leaving| leaving.block).collect()
    }
}

/// Whether a grace is over. By the distance to either side: a clock that was set back far keeps nothing for long.
fn is_over(replaced: Option<UnixNanos>, now: UnixNanos, grace: Duration) -> bool {
    replaced.is_none_or(|replaced| u128::from(now.0.abs_diff(replaced.0)) >= grace.as_nanos())
}

// === what is done about them ===

impl BlockTraceStore {
    /// Lets go of the blocks that nobody reads any more, and deletes the pages of those whose grace is over.
    pub(crate) fn delete_unread(&self) -> Result<(), EngineError> {
        self.forget_unread();
        if self.short_of_room().is_some() {
            self.doomed.hurry();
        }
        let now = self.clock.now();
        let keys = self.doomed.due(now, self.config.replaced_grace);
        if !keys.is_empty() {
            failpoint::reach(Failpoint::DeletionChosen);
            self.delete_pages(keys)?;
            failpoint::reach(Failpoint::DeletionDone);
            self.engine.reclaim(false)?;
        }
        if self.deletion_trouble.is_over(now) { self.delete_failed() } else { Ok(()) }
    }

    fn delete_pages(&self, keys: Vec<BlockKey>) -> Result<(), EngineError> {
        if let Err(error) = self.engine.delete(&keys) {
            self.doomed.fail(keys);
            return Err(error);
        }
        self.untidy.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// One by one: what cannot be deleted is in nobody's way.
    fn delete_failed(&self) -> Result<(), EngineError> {
        let tried = self.doomed.failed().into_iter().map(|key| self.delete_pages(vec![key]));
        tried.fold(Ok(()), Result::and)
    }

    /// Memory does not wait for the grace.
    fn forget_unread(&self) {
        let unread = self.doomed.unread();
        for entry in unread.iter().filter(|entry| entry.row.meta.level == 0) {
            if let (Some(state), Ok(traces)) = (self.tenant(&entry.key.tenant), self.reader.traces(entry)) {
                state.remove_fresh(entry.key.block, &traces);
            }
        }
        if !unread.is_empty() {
            self.reader.forget(&unread.iter().map(|entry| entry.key.block).collect());
        }
    }

    /// What is free on the disk, where that is less than what has to stay free.
    pub(crate) fn short_of_room(&self) -> Option<u64> {
        self.engine.free_bytes().filter(|free| *free < self.config.reserve_bytes)
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::{TenantId, TraceId};

    use super::*;
    use crate::api::TraceStore;
    use crate::engine::{BlockStore, MemoryEngine};
    use crate::store::StoreConfig;
    use crate::store::testing::{TestClock, request};

    /// Three fresh blocks of one trace.
    fn filled(engine: &MemoryEngine, clock: &Arc<TestClock>, trace: TraceId) -> BlockTraceStore {
        let config = StoreConfig { replaced_grace: GRACE, ..StoreConfig::default() };
        let store = BlockTraceStore::open(Arc::new(engine.clone()), clock.clone(), config).unwrap();
        (0..3).for_each(|_| store.append(&TenantId::default(), &[request(trace)]).unwrap());
        store
    }

    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn memory_does_not_wait_for_the_grace() {
        let (engine, clock) = (MemoryEngine::default(), Arc::<TestClock>::default());
        let trace = TraceId::from_bytes([7; 16]);
        let store = filled(&engine, &clock, trace);
        let state = store.tenant(&TenantId::default()).unwrap();
        let view = state.view();
        assert_eq!(state.fresh_parts(trace).len(), 3);
        store.seal_all();
        assert_eq!(state.fresh_parts(trace).len(), 3, "who has an older view finds them");
        drop(view);
        store.maintain();
        assert_eq!((state.fresh_parts(trace).len(), engine.unreferenced().unwrap().len()), (0, 3));
    }

    #[test]
    fn space_is_given_back_once_all_are_deleted() {
        let (engine, clock) = (MemoryEngine::default(), Arc::<TestClock>::default());
        let store = filled(&engine, &clock, TraceId::from_bytes([7; 16]));
        store.seal_all();
        for is_over in [false, true] {
            clock.advance(GRACE / 2);
            store.maintain();
            assert_eq!(engine.unreferenced().unwrap().is_empty(), is_over);
            assert_eq!(store.doomed.is_empty(), is_over);
            assert_eq!(store.untidy.load(Ordering::Relaxed), !is_over);
        }
    }

    #[test]
    fn what_cannot_be_deleted_rests_between_two_attempts() {
        let (engine, clock) = (MemoryEngine::default(), Arc::<TestClock>::default());
        let store = filled(&engine, &clock, TraceId::from_bytes([7; 16]));
        store.seal_all();
        clock.advance(GRACE);
        engine.fail_deletes(Some(EngineError::NoSpace("full".to_owned())));
        for _ in 0..3 {
            store.maintain();
            assert!(store.doomed.any_failed() && !store.deletion_trouble.is_over(store.clock.now()));
        }
        engine.fail_deletes(None);
        store.maintain();
        assert!(store.doomed.any_failed(), "it rests");
        clock.advance(Duration::from_secs(5));
        store.maintain();
        assert!(!store.doomed.any_failed() && engine.unreferenced().unwrap().is_empty());
    }

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
