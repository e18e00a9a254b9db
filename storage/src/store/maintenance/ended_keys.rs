//! Removes the blocks whose data key was deleted: from the views of queries, from the catalog, and then as garbage; and the
//! counts of expired spans that were encrypted with it.
//!
//! No bytes are rewritten: they cannot be decrypted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::TenantId;

use crate::engine::{Change, Encryption, EngineError};
use crate::records::expired_rollups;
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
        let mut all_dropped = true;
        for ((tenant, hour), keys) in windows {
            all_dropped &= drop_window(core, &tenant, hour, &keys)?;
        }
        drop_rollups(core, encryption)?;
        self.is_due.store(!all_dropped, Ordering::Relaxed);
        Ok(())
    }
}

/// Removes blocks of a window. Returns whether all were in the view. A block that an append has written and not shown yet
/// is not: it is left for the next time, or it would come into the view after it has left the catalog.
fn drop_window(core: &Core, tenant: &TenantId, hour: Hour, keys: &[BlockKey]) -> Result<bool, EngineError> {
    let state = core.tenants.get_or_new(tenant);
    let view = state.view();
    let entries: Vec<Arc<BlockEntry>> = keys.iter().filter_map(|key| view.get(key.block).cloned()).collect();
    let all_shown = entries.len() == keys.len();
    if entries.is_empty() {
        return Ok(all_shown);
    }
    let blocks: HashSet<BlockId> = entries.iter().map(|entry| entry.key.block).collect();
    let removes = blocks.iter().copied().collect();
    core.commit(&Change { tenant: tenant.clone(), hour, adds: Vec::new(), removes })?;
    // Their traces cannot be read any more, which garbage collection does for other fresh blocks.
    state.forget_fresh(&blocks);
    core.replace(tenant, Vec::new(), &entries, RemovalReason::Expired);
    core.reader.forget(&blocks);
    core.recount_traces(&state);
    tracing::warn!(%tenant, hour = hour.0, blocks = blocks.len(), "the data key of these blocks was deleted: they are removed");
    Ok(all_shown)
}

fn drop_rollups(core: &Core, encryption: &dyn Encryption) -> Result<(), EngineError> {
    let ended = expired_rollups::remove_ended(&*core.engine, encryption)?;
    if !ended.is_empty() {
        for (_, state) in core.tenants.all() {
            state.expired_rollups.write().retain(|rollup| !ended.contains(&rollup.id()));
        }
    }
    Ok(())
}
