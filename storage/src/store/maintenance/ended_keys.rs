//! Removes the blocks whose data key was deleted: from the views of queries, from the catalog, and then as garbage.
//!
//! No bytes are rewritten: nobody can decrypt them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::TenantId;

use crate::engine::{Change, EngineError};
use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::garbage::RemovalReason;

/// Whether a removal has failed and is to be repeated.
#[derive(Debug, Default)]
pub(super) struct EndedKeys {
    is_due: AtomicBool,
}

// === impl EndedKeys ===

impl EndedKeys {
    /// Removes the blocks, if keys were deleted since this was last done.
    pub(super) fn drop_blocks(&self, core: &Core) -> Result<(), EngineError> {
        let Some(encryption) = core.engine.encryption() else { return Ok(()) };
        if !encryption.take_ended() && !self.is_due.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.is_due.store(true, Ordering::Relaxed);
        let mut windows: BTreeMap<(TenantId, Hour), Vec<BlockKey>> = BTreeMap::new();
        for key in encryption.ended_blocks()? {
            windows.entry((key.tenant.clone(), key.hour)).or_default().push(key);
        }
        for ((tenant, hour), keys) in windows {
            drop_window(core, &tenant, hour, &keys)?;
        }
        self.is_due.store(false, Ordering::Relaxed);
        Ok(())
    }
}

fn drop_window(core: &Core, tenant: &TenantId, hour: Hour, keys: &[BlockKey]) -> Result<(), EngineError> {
    let blocks: HashSet<BlockId> = keys.iter().map(|key| key.block).collect();
    let removes = keys.iter().map(|key| key.block).collect();
    core.commit(&Change { tenant: tenant.clone(), hour, adds: Vec::new(), removes })?;
    let state = core.tenants.get_or_new(tenant);
    let view = state.view();
    let entries: Vec<Arc<BlockEntry>> = keys.iter().filter_map(|key| view.get(key.block).cloned()).collect();
    // Their traces cannot be read any more, which garbage collection does for other fresh blocks.
    state.forget_fresh(&blocks);
    core.replace(tenant, Vec::new(), &entries, RemovalReason::Expired);
    core.reader.forget(&blocks);
    core.recount_traces(&state);
    tracing::warn!(%tenant, hour = hour.0, blocks = keys.len(), "the data key of these blocks was deleted: they are removed");
    Ok(())
}
