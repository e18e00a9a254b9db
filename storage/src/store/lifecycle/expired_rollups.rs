//! Rolls up spans before a rule removes them, so that aggregates still add them up, and drops these rollups after a
//! retention of their own. Spans that are being deleted are not rolled up.

use std::collections::HashMap;
use std::sync::Arc;

use spandrel_block::{LatencySketch, MINUTE};
use spandrel_proto::TenantId;

use crate::engine::EngineError;
use crate::records::expired_rollups::ExpiredRollupRow;
use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::tenant::TenantState;
use crate::store::write::inputs::InputRow;
use crate::store::write::rewrite;

/// Builds the rollup of expired spans.
#[derive(Default)]
pub(crate) struct ExpiredRollupBuilder(HashMap<(u32, String, String, u8), ExpiredRollupRow>);

/// The bits of the flags that distinguish requests and kinds, as in a block's rollups.
const KIND_AND_PARENT: u8 = 0b0100_0111;

// === impl ExpiredRollupBuilder ===

impl ExpiredRollupBuilder {
    pub(crate) fn add(&mut self, row: &InputRow<'_>) {
        let Some(span) = row.summary() else { return };
        let (minute, flags) = ((row.key.start() / MINUTE) as u32, span.flags.0 & KIND_AND_PARENT);
        let (service, operation) = (span.service.to_owned(), span.operation.to_owned());
        let key = (minute, service.clone(), operation.clone(), flags);
        let rollup = self.0.entry(key).or_insert_with(|| ExpiredRollupRow {
            minute,
            service,
            operation,
            flags,
            count: 0,
            errors: 0,
            latency: LatencySketch::default(),
        });
        rollup.count += 1;
        rollup.errors += u64::from(span.flags.failed());
        rollup.latency.add(span.duration);
    }

    /// Adds every span of blocks that are removed, except for those that are being deleted. An unreadable block adds
    /// nothing more than what was read of it.
    pub(crate) fn add_blocks(&mut self, core: &Core, state: &TenantState, blocks: &[Arc<BlockEntry>]) {
        let readable: Vec<_> = blocks.iter().filter(|entry| !core.is_damaged(entry)).cloned().collect();
        let added = rewrite::each_row(core, &readable, |row| {
            if !state.deleted.contains(row.key.trace(), row.sequence) {
                self.add(row);
            }
        });
        if let Err(error) = added {
            tracing::debug!(%error, "a block that is removed was not counted completely");
        }
    }

    pub(crate) fn finish(self) -> Vec<ExpiredRollupRow> {
        self.0.into_values().collect()
    }
}

/// Drops the rollups of a tenant, and unreadable ones, that have outlived their retention.
pub(super) fn drop_expired(core: &Core, tenant: &TenantId, state: &TenantState) -> Result<(), EngineError> {
    let horizon = core.clock.now().minus(core.config.rollup_retention(tenant));
    let rollups = state.expired_rollups.read().clone();
    for rollup in rollups.iter().filter(|rollup| rollup.hour().end() <= horizon) {
        core.drop_expired_rollup(state, rollup)?;
    }
    // Whose the unreadable ones are is not known.
    let longest = core.config.longest_rollup_retention();
    core.drop_unreadable_rollups(core.clock.now().minus(longest))
}
