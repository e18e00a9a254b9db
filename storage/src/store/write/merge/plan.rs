//! Which blocks are merged next.

use std::collections::BTreeMap;
use std::sync::Arc;

use spandrel_block::{BlockId, Hour};

use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::config::StoreConfig;
use crate::store::core::view::View;

/// Blocks of one window that become blocks of one level.
pub(crate) struct MergeJob {
    pub(crate) blocks: Vec<Arc<BlockEntry>>,
    /// The level of the new blocks.
    pub(crate) level: u8,
    /// Fresh blocks of the window that are left to the next merge.
    pub(crate) later: Vec<BlockId>,
}

/// Which merges are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Those that have waited long enough, or have enough to merge.
    Now,
    /// All fresh blocks, due or not.
    Everything,
}

/// Merged blocks that are still small are merged again, so many at a time.
const FAN_IN: usize = 8;
/// Levels stop here: a span is rewritten so often at the most.
const MAX_LEVEL: u8 = 4;
/// How well large spans compress, at the least.
const DEFLATED: u64 = 4;

/// The next merge of a tenant. Fresh blocks first: they press back on ingest.
pub(super) fn choose(core: &Core, view: &View, due: Due) -> Option<MergeJob> {
    let mut groups: BTreeMap<(u8, Hour), Vec<&Arc<BlockEntry>>> = BTreeMap::new();
    for entry in view.iter().filter(|entry| !core.is_damaged(entry)) {
        let level = entry.row.meta.level;
        if level == 0 || (level < MAX_LEVEL && entry.row.meta.spans < core.config.sealed_rows / 2) {
            groups.entry((level, entry.key.hour)).or_default().push(entry);
        }
    }
    let ((level, _), blocks) = groups.iter().find(|((level, _), blocks)| match level {
        0 => due == Due::Everything || is_due(core, blocks),
        _ => blocks.len() >= FAN_IN,
    })?;
    let mut blocks: Vec<_> = blocks.iter().map(|entry| (*entry).clone()).collect();
    // By what they hold, not by when they were written: rows that were carried over come first in the next merge.
    blocks.sort_by_key(|entry| (entry.row.meta.min_sequence, entry.key.block));
    let later = blocks.split_off(blocks_for_one_merge(&core.config, &blocks));
    let later = later.iter().map(|entry| entry.key.block).filter(|_| *level == 0).collect();
    Some(MergeJob { blocks, level: level + 1, later })
}

/// How many blocks, from the first, one merge takes: those that make a full block by their rows or, where spans
/// are large, by their bytes, and not too many to have a page of each in memory.
fn blocks_for_one_merge(config: &StoreConfig, blocks: &[Arc<BlockEntry>]) -> usize {
    let StoreConfig { sealed_rows, sealed_bytes, max_merge_blocks, .. } = *config;
    let (mut rows, mut bytes) = (0u64, 0u64);
    let full = blocks.iter().position(|entry| {
        rows += u64::from(entry.row.meta.spans);
        bytes += entry.row.bytes;
        rows >= u64::from(sealed_rows) || bytes >= sealed_bytes as u64 / DEFLATED
    });
    full.map_or(blocks.len(), |last| (last + 1).max(2)).min(max_merge_blocks).min(blocks.len())
}

/// Merges wait while ingest is busy, so that it has the CPU; for a bounded time, and for a bounded number of blocks
/// and spans. Fresh blocks are searched by attribute as fast as sealed ones; aggregates and the service map look at
/// all their rows.
fn is_due(core: &Core, fresh: &[&Arc<BlockEntry>]) -> bool {
    let config = &core.config;
    let now = core.clock.now();
    let (mut blocks, mut age) = (config.merge_blocks, config.merge_age);
    if core.backlog.load.is_busy(now, config.busy_percent) {
        blocks = blocks.max(config.merge_blocks_busy);
        age = age.max(config.merge_age_busy);
    }
    let oldest = fresh.iter().map(|entry| entry.row.meta.created).min();
    // Senders are refused above the bound of the backlog, in whichever window it is: merges begin well before.
    core.above_high_watermark()
        || fresh.len() >= blocks
        || fresh.iter().map(|entry| u64::from(entry.row.meta.spans)).sum::<u64>() >= config.merge_spans
        || oldest.is_some_and(|oldest| oldest <= now.minus(age))
}
