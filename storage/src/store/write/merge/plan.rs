//! Chooses the blocks of the next merge.

use std::collections::BTreeMap;
use std::sync::Arc;

use spandrel_block::{BlockId, Hour};

use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::config::StoreConfig;
use crate::store::core::view::View;

/// Blocks of one window that are merged into blocks of one level.
pub(crate) struct MergeJob {
    pub(crate) blocks: Vec<Arc<BlockEntry>>,
    /// The level of the new blocks.
    pub(crate) level: u8,
    /// Fresh blocks of the window that the next merge reads.
    pub(crate) later: Vec<BlockId>,
}

// === impl MergeJob ===

impl MergeJob {
    /// Whether it merges blocks of logs, and not of spans.
    pub(crate) fn is_of_logs(&self) -> bool {
        self.blocks.first().is_some_and(|entry| entry.row.meta.logs)
    }
}

/// Which merges are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Merges that have waited long enough, or have enough to merge.
    Now,
    /// All fresh blocks, due or not.
    Everything,
}

/// Merged blocks that are still small are merged again in groups of this size.
const FAN_IN: usize = 8;
/// The highest level, which bounds how often a span is rewritten.
const MAX_LEVEL: u8 = 4;
/// The assumed compression ratio of large spans, a lower bound.
const DEFLATED: u64 = 4;

/// Chooses the next merge of a tenant. Fresh blocks first, because they cause back-pressure.
pub(super) fn choose(core: &Core, view: &View, due: Due) -> Option<MergeJob> {
    // Blocks of spans and blocks of logs are merged apart.
    let mut groups: BTreeMap<(u8, Hour, bool), Vec<&Arc<BlockEntry>>> = BTreeMap::new();
    for entry in view.iter().filter(|entry| !core.is_damaged(entry)) {
        let level = entry.row.meta.level;
        if level == 0 || (level < MAX_LEVEL && is_small(&core.config, entry)) {
            groups.entry((level, entry.key.hour, entry.row.meta.logs)).or_default().push(entry);
        }
    }
    let ((level, ..), blocks) = groups.iter().find(|((level, ..), blocks)| match level {
        0 => due == Due::Everything || is_due(core, blocks),
        _ => blocks.len() >= FAN_IN,
    })?;
    let mut blocks: Vec<_> = blocks.iter().map(|entry| (*entry).clone()).collect();
    // Sorted by the age of their spans, not of the blocks, so that carried-over rows are in the next merge.
    blocks.sort_by_key(|entry| (entry.row.meta.min_sequence, entry.key.block));
    let later = blocks.split_off(blocks_for_one_merge(&core.config, &blocks));
    let later = later.iter().map(|entry| entry.key.block).filter(|_| *level == 0).collect();
    Some(MergeJob { blocks, level: level + 1, later })
}

/// Whether a merged block is less than half full, by its rows and by its bytes.
fn is_small(config: &StoreConfig, entry: &BlockEntry) -> bool {
    let (spans, bytes) = (entry.row.meta.spans, entry.row.bytes);
    spans < config.sealed_rows / 2 && bytes < config.sealed_bytes as u64 / DEFLATED / 2
}

/// How many of the blocks one merge takes: as many as fill a sealed block by their rows or, if spans are large, by
/// their bytes, and not more than can have a page each in memory.
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

/// Whether fresh blocks are to be merged now. Merges wait while ingest is busy, to leave the CPU to it, but only for a
/// bounded time, and for a bounded number of blocks and spans. Fresh blocks are searched by attribute as fast as sealed
/// ones; aggregates and the service map read all their rows.
fn is_due(core: &Core, fresh: &[&Arc<BlockEntry>]) -> bool {
    let config = &core.config;
    let now = core.clock.now();
    let (mut blocks, mut age) = (config.merge_blocks, config.merge_age);
    if core.backlog.load.is_busy(now, config.busy_percent) {
        blocks = blocks.max(config.merge_blocks_busy);
        age = age.max(config.merge_age_busy);
    }
    let oldest = fresh.iter().map(|entry| entry.row.meta.created).min();
    // Senders are refused above the bounds of the backlog of all windows together, so merges begin well before.
    core.above_high_watermark()
        || fresh.len() >= blocks
        || fresh.iter().map(|entry| u64::from(entry.row.meta.spans)).sum::<u64>() >= config.merge_spans
        || oldest.is_some_and(|oldest| oldest <= now.minus(age))
}
