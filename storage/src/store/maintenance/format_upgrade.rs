//! Format upgrades: sealed blocks of format 1, and those that are not encrypted though the store is, are rewritten in
//! today's format, one by one when no merge is due. Fresh blocks are merged soon anyway.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use spandrel_block::BlockId;
use spandrel_proto::TenantId;

use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::View;
use crate::store::lifecycle::deletion::PlainFiles;
use crate::store::write::merge;
use crate::store::write::merge::plan::MergeJob;
use crate::store::write::replace::RewriteError;

/// Blocks that are to be rewritten.
#[derive(Debug, Default)]
pub(crate) struct FormatUpgrades {
    old: Mutex<BTreeSet<(TenantId, BlockId)>>,
    /// Blocks that are not encrypted, also fresh ones.
    plain: Mutex<BTreeSet<(TenantId, BlockId)>>,
    /// Whether files of an encrypted store may hold plain bytes.
    has_plain_files: AtomicBool,
}

// === impl FormatUpgrades ===

impl FormatUpgrades {
    /// Adds a block if it has format 1 or is not encrypted.
    pub(crate) fn observe(&self, core: &Core, entry: &BlockEntry) {
        let place = || (entry.key.tenant.clone(), entry.key.block);
        let encryption = core.engine.encryption();
        let is_plain = encryption.is_some_and(|engine| engine.is_plain_block(&entry.key).unwrap_or(false));
        if is_plain {
            self.plain.lock().insert(place());
        }
        if entry.row.meta.level > 0 && (is_plain || core.reader.is_old(entry).unwrap_or(false)) {
            self.old.lock().insert(place());
        }
    }

    /// Whether a block was not encrypted when the store was opened, and may not be now.
    pub(crate) fn has_plain_blocks(&self) -> bool {
        !self.plain.lock().is_empty()
    }

    /// Notes whether files may hold plain bytes.
    pub(crate) fn expect_plain_files(&self, may: bool) {
        self.has_plain_files.store(may, Ordering::Relaxed);
    }

    /// Whether all blocks are encrypted that can be, so that files may be purged of plain bytes.
    pub(super) fn plain_files(&self, core: &Core) -> PlainFiles {
        if !self.has_plain_files.load(Ordering::Relaxed) {
            return PlainFiles::Leave;
        }
        let entry =
            |(tenant, block): &(TenantId, BlockId)| core.tenants.get(tenant)?.view().get(*block).cloned();
        let mut plain = self.plain.lock();
        plain.retain(|place| entry(place).is_some());
        match plain.iter().filter_map(entry).all(|entry| core.is_damaged(&entry)) {
            false => PlainFiles::Leave,
            true if plain.is_empty() => PlainFiles::Purge,
            true => PlainFiles::PurgeButDamaged,
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
        let mut old = self.old.lock();
        let is_there = |block: BlockId| view.get(block).is_some_and(|entry| !core.is_damaged(entry));
        old.retain(|(of, block)| of != tenant || is_there(*block));
        let entry = old.iter().filter(|(of, _)| of == tenant).find_map(|(_, block)| view.get(*block))?;
        Some(MergeJob { level: entry.row.meta.level, blocks: vec![entry.clone()], later: Vec::new() })
    }
}
