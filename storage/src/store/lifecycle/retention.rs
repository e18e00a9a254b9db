//! Retention by age: a window is removed once its hour is older than the retention, and earlier or later for traces
//! with another retention by a rule. Pinned traces stay.
//!
//! The hour is that of arrival, so the clock of the span's sender does not matter. A window is examined once for each
//! retention that it exceeds. Which blocks were examined is kept in memory only, so a restart, perhaps with other
//! rules, examines them again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::{BlockId, Hour};
use spandrel_proto::{TenantId, TraceId};

use super::Lifecycle;
use super::expired_rollups::{self, ExpiredRollupBuilder};
use super::rules::{ExpiredTtl, Rules};
use crate::api::Damage;
use crate::engine::EngineError;
use crate::records::expired_rollups::ExpiredRollup;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;
use crate::store::read::trace_reader::TraceReader;
use crate::store::write::replace::RewriteError;
use crate::store::write::rewrite::{BlockDisposition, RewriteBatch};

/// The blocks that were examined, and for which retention.
#[derive(Debug, Default)]
pub(crate) struct RetentionProgress(Mutex<HashMap<BlockId, Duration>>);

/// Whether spans that are removed are rolled up for aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rollup {
    Keep,
    Skip,
}

/// One window of a tenant.
struct Window<'s> {
    lifecycle: &'s Lifecycle,
    tenant: &'s TenantId,
    state: &'s TenantState,
    hour: Hour,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Removes the spans of a tenant's windows that exceed their retention. Returns the number of changed windows.
    pub(crate) fn drop_expired(&self, tenant: &TenantId) -> Result<usize, RewriteError> {
        let core = &*self.core;
        let Some(state) = core.tenants.get(tenant) else { return Ok(0) };
        let (now, rules) = (core.clock.now(), Rules::of(&core.config, tenant));
        let mut changed = 0;
        for hour in state.view().hours() {
            let Some(expired) = rules.expired_ttl(hour, now) else { break };
            let window = Window { lifecycle: self, tenant, state: &state, hour };
            changed += usize::from(window.expire(&rules, expired)?);
        }
        expired_rollups::drop_expired(core, tenant, &state)?;
        if changed > 0 {
            core.recount_traces(&state);
        }
        Ok(changed)
    }

    /// Removes a window of any age, except for pinned traces. Returns whether that changed anything.
    pub(super) fn drop_window(&self, tenant: &TenantId, hour: Hour) -> Result<bool, RewriteError> {
        let Some(state) = self.core.tenants.get(tenant) else { return Ok(false) };
        let changed = Window { lifecycle: self, tenant, state: &state, hour }.drop_all()?;
        if changed {
            self.core.recount_traces(&state);
        }
        Ok(changed)
    }
}

// === impl Window ===

impl Window<'_> {
    fn expire(&self, rules: &Rules<'_>, expired: ExpiredTtl) -> Result<bool, RewriteError> {
        // A pin that is requested meanwhile waits for the lock, and then finds its trace or not.
        let _lock = self.lifecycle.lock();
        let core = &*self.lifecycle.core;
        let view = self.state.view();
        let due = self.blocks(&view, |entry| !self.lifecycle.retention.knows(entry, expired.time));
        if due.is_empty() {
            return Ok(false);
        }
        let retained = match expired.is_longest {
            true => HashSet::new(),
            false => {
                let readable: Vec<_> = due.iter().filter(|entry| !core.is_damaged(entry)).cloned().collect();
                let reader = TraceReader { core, tenant: self.tenant, state: self.state, view: &view };
                rules.retained_traces(reader, &readable, expired.time)?
            }
        };
        let pins = self.lifecycle.pins.of(self.tenant);
        // The traces of a damaged block are unknown, so it is removed with the last readable ones of its window.
        let damaged = match expired.is_longest && pins.is_empty() {
            true => BlockDisposition::Goes,
            false => BlockDisposition::Stays,
        };
        let stays = |trace: TraceId| retained.contains(&trace) || pins.contains_key(&trace);
        let rollup = match core.clock.now().minus(core.config.rollup_retention(self.tenant)) < self.hour.end()
        {
            true => Rollup::Keep,
            false => Rollup::Skip,
        };
        let changed = self.drop_spans(due, stays, damaged, rollup)?;
        for entry in self.state.view().iter().filter(|entry| entry.key.hour == self.hour) {
            self.lifecycle.retention.note(entry, expired.time);
        }
        Ok(changed)
    }

    fn drop_all(&self) -> Result<bool, RewriteError> {
        let _lock = self.lifecycle.lock();
        let pins = self.lifecycle.pins.of(self.tenant);
        let damaged = if pins.is_empty() { BlockDisposition::Goes } else { BlockDisposition::Stays };
        let blocks = self.blocks(&self.state.view(), |_| true);
        self.drop_spans(blocks, |trace| pins.contains_key(&trace), damaged, Rollup::Skip)
    }

    fn blocks(&self, view: &View, wanted: impl Fn(&BlockEntry) -> bool) -> Vec<Arc<BlockEntry>> {
        let of_window = |entry: &&Arc<BlockEntry>| entry.key.hour == self.hour && wanted(entry);
        let mut blocks: Vec<_> = view.iter().filter(of_window).cloned().collect();
        blocks.sort_by_key(|entry| entry.key.block);
        blocks
    }

    /// Removes all spans of some blocks except for those of the traces that stay.
    fn drop_spans(
        &self,
        blocks: Vec<Arc<BlockEntry>>,
        stays: impl Fn(TraceId) -> bool,
        damaged: BlockDisposition,
        rollup: Rollup,
    ) -> Result<bool, RewriteError> {
        let count = blocks.len();
        let dispositions: Vec<_> = blocks
            .into_iter()
            .map(|entry| {
                let disposition = self.disposition(&entry, &stays, damaged);
                (entry, disposition)
            })
            .collect();
        let (mut spans, mut is_changed) = (0, false);
        for batch in RewriteBatch::cut(dispositions) {
            spans += self.drop_batch(batch, &stays, rollup)?;
            is_changed = true;
        }
        if spans > 0 {
            metrics::counter!("spandrel_store_expired_spans_total").increment(spans);
            let (tenant, hour) = (self.tenant, self.hour.0);
            tracing::info!(%tenant, hour, blocks = count, spans, "dropped spans of a window");
        }
        Ok(is_changed)
    }

    fn disposition(
        &self,
        entry: &Arc<BlockEntry>,
        stays: impl Fn(TraceId) -> bool,
        damaged: BlockDisposition,
    ) -> BlockDisposition {
        let core = &*self.lifecycle.core;
        let disposition = match core.reader.traces(entry) {
            Ok(traces) => BlockDisposition::of(&traces, stays),
            Err(error) => {
                core.report_damage(entry, &error, &Damage::default());
                damaged
            }
        };
        match disposition {
            BlockDisposition::Shrinks if core.is_damaged(entry) => BlockDisposition::Stays,
            disposition => disposition,
        }
    }

    /// Rewrites one batch. Returns the number of removed spans.
    fn drop_batch(
        &self,
        batch: RewriteBatch,
        stays: impl Fn(TraceId) -> bool,
        rollup: Rollup,
    ) -> Result<u64, RewriteError> {
        let core = &*self.lifecycle.core;
        self.lifecycle.note_leaving(self.tenant, self.hour, &batch)?;
        let counts = rollup == Rollup::Keep && !batch.is_of_logs();
        let mut builder = counts.then(ExpiredRollupBuilder::default);
        if let Some(builder) = &mut builder {
            builder.add_blocks(core, self.state, &batch.going);
        }
        let prepared = batch.prepare(core, |row| {
            let (trace, sequence) = (row.key.trace(), row.sequence);
            let stays = stays(trace);
            let counts = !stays && !self.state.deleted.contains(trace, sequence);
            if let Some(builder) = builder.as_mut().filter(|_| counts) {
                builder.add(row);
            }
            stays
        })?;
        let (dropped, removed) = (prepared.dropped, prepared.removes());
        let rollup = self.keep_rollup(builder.unwrap_or_default(), &removed)?;
        if let Err(error) = prepared.commit(core) {
            if let Some(rollup) = rollup {
                core.drop_expired_rollup(self.state, &rollup)?;
            }
            return Err(error);
        }
        self.lifecycle.retention.remove(&removed);
        Ok(dropped)
    }

    /// Writes the rollup of spans that are about to be removed from some blocks; `None` without spans.
    fn keep_rollup(
        &self,
        builder: ExpiredRollupBuilder,
        blocks: &HashSet<BlockId>,
    ) -> Result<Option<Arc<ExpiredRollup>>, EngineError> {
        let (core, rows) = (&*self.lifecycle.core, builder.finish());
        if rows.is_empty() {
            return Ok(None);
        }
        let rollup = ExpiredRollup::new(core.next_block_id(), self.tenant, self.hour, blocks, &rows);
        rollup.map(|rollup| core.keep_expired_rollup(self.state, rollup, &rows)).transpose()
    }
}

// === impl RetentionProgress ===

impl RetentionProgress {
    fn knows(&self, entry: &BlockEntry, time: Duration) -> bool {
        self.0.lock().get(&entry.key.block) == Some(&time)
    }

    fn note(&self, entry: &BlockEntry, time: Duration) {
        self.0.lock().insert(entry.key.block, time);
    }

    fn remove(&self, gone: &HashSet<BlockId>) {
        self.0.lock().retain(|block, _| !gone.contains(block));
    }

    /// Drops the state, so that all blocks are examined again.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}
