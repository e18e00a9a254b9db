//! Garbage collection: removes blocks that have left the catalog, from memory once no reader holds them, and from the
//! engine once their grace period is over.

use spandrel_block::BlockKey;

use crate::engine::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::store::core::Core;

/// Whether deletes that failed are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryFailed {
    Yes,
    NotYet,
}

/// Removes due blocks; with `RetryFailed::Yes` also blocks that could not be deleted before.
pub(super) fn collect(core: &Core, retry: RetryFailed) -> Result<(), EngineError> {
    forget_unreferenced(core);
    if core.free_below_reserve().is_some() {
        core.garbage.end_grace();
    }
    let keys = core.garbage.take_due(core.clock.now(), core.config.replaced_grace);
    if !keys.is_empty() {
        failpoint::reach(Failpoint::GarbageChosen);
        delete_pages(core, keys)?;
        failpoint::reach(Failpoint::GarbageDeleted);
        core.engine.reclaim()?;
    }
    match retry {
        RetryFailed::Yes => delete_failed(core),
        RetryFailed::NotYet => Ok(()),
    }
}

fn delete_pages(core: &Core, keys: Vec<BlockKey>) -> Result<(), EngineError> {
    if let Err(error) = core.engine.delete_blocks(&keys) {
        core.garbage.add_failed(keys);
        return Err(error);
    }
    core.garbage.mark_garbage();
    Ok(())
}

/// Deletes the blocks one by one, so that a block that cannot be deleted does not affect the others.
fn delete_failed(core: &Core) -> Result<(), EngineError> {
    let mut result = Ok(());
    for key in core.garbage.take_failed() {
        result = result.and(delete_pages(core, vec![key]));
    }
    result
}

/// Drops blocks from memory that no reader holds, without waiting for the grace period.
fn forget_unreferenced(core: &Core) {
    let unreferenced = core.garbage.take_unreferenced();
    for entry in unreferenced.iter().filter(|entry| entry.row.meta.level == 0) {
        if let (Some(state), Ok(traces)) = (core.tenants.get(&entry.key.tenant), core.reader.traces(entry)) {
            state.remove_fresh(entry.key.block, &traces);
        }
    }
    if !unreferenced.is_empty() {
        core.reader.forget(&unreferenced.iter().map(|entry| entry.key.block).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use spandrel_proto::{TenantId, TraceId};

    use crate::api::TraceStore;
    use crate::engine::{BlockStore, EngineError, MemoryEngine};
    use crate::store::testing::{TestClock, request};
    use crate::store::{BlockTraceStore, StoreConfig};

    /// A store with three fresh blocks of one trace.
    fn filled(engine: &MemoryEngine, clock: &Arc<TestClock>, trace: TraceId) -> BlockTraceStore {
        let config = StoreConfig { replaced_grace: GRACE, ..StoreConfig::default() };
        let store = BlockTraceStore::open(Arc::new(engine.clone()), clock.clone(), config).unwrap();
        for _ in 0..3 {
            store.append(&TenantId::default(), &[request(trace)]).unwrap();
        }
        store
    }

    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn memory_does_not_wait_for_the_grace() {
        let (engine, clock) = (MemoryEngine::default(), Arc::<TestClock>::default());
        let trace = TraceId::from_bytes([7; 16]);
        let store = filled(&engine, &clock, trace);
        let state = store.core.tenants.get(&TenantId::default()).unwrap();
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
            assert_eq!(store.core.garbage.is_empty(), is_over);
            assert_eq!(store.core.garbage.has_garbage(), !is_over);
        }
    }

    #[test]
    fn what_cannot_be_deleted_rests_between_two_attempts() {
        let (engine, clock) = (MemoryEngine::default(), Arc::<TestClock>::default());
        let store = filled(&engine, &clock, TraceId::from_bytes([7; 16]));
        store.seal_all();
        clock.advance(GRACE);
        engine.fail_deletes(Some(EngineError::no_space("full")));
        for _ in 0..3 {
            store.maintain();
            assert!(store.core.garbage.any_failed() && !store.maintenance.may_collect_garbage());
        }
        engine.fail_deletes(None);
        store.maintain();
        assert!(store.core.garbage.any_failed(), "it rests");
        clock.advance(Duration::from_secs(5));
        store.maintain();
        assert!(!store.core.garbage.any_failed() && engine.unreferenced().unwrap().is_empty());
    }
}
