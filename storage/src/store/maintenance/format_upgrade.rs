//! Format upgrades: sealed blocks of format 1 are rewritten in today's format, one by one when no merge is due.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use spandrel_block::BlockId;
use spandrel_proto::TenantId;

use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::View;
use crate::store::write::merge;
use crate::store::write::merge::plan::MergeJob;
use crate::store::write::replace::RewriteError;

/// Blocks of format 1 that are to be rewritten.
#[derive(Debug, Default)]
pub(crate) struct FormatUpgrades(Mutex<BTreeSet<(TenantId, BlockId)>>);

// === impl FormatUpgrades ===

impl FormatUpgrades {
    /// Adds a sealed block if it has format 1.
    pub(crate) fn observe(&self, core: &Core, entry: &BlockEntry) {
        if core.reader.is_old(entry).unwrap_or(false) {
            self.0.lock().insert((entry.key.tenant.clone(), entry.key.block));
        }
    }

    /// Rewrites one block of a tenant. Returns whether there was one.
    pub(super) fn upgrade_one(&self, core: &Core, tenant: &TenantId) -> Result<bool, RewriteError> {
        let Some(state) = core.tenants.get(tenant) else { return Ok(false) };
        let Some(job) = self.pick_format_upgrade(core, tenant, &state.view()) else { return Ok(false) };
        merge::run(core, tenant, &state, &job)?;
        Ok(true)
    }

    fn pick_format_upgrade(&self, core: &Core, tenant: &TenantId, view: &View) -> Option<MergeJob> {
        let mut old = self.0.lock();
        let is_there = |block: BlockId| view.get(block).is_some_and(|entry| !core.is_damaged(entry));
        old.retain(|(of, block)| of != tenant || is_there(*block));
        let entry = old.iter().filter(|(of, _)| of == tenant).find_map(|(_, block)| view.get(*block))?;
        Some(MergeJob { level: entry.row.meta.level, blocks: vec![entry.clone()], later: Vec::new() })
    }
}
