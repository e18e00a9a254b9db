//! Retention by age: a window goes once its hour is older than the retention, and before or after it
//! what the rules say of single traces. Pinned traces stay.
//!
//! The hour is that of arrival, so the age of a span's own clock does not matter. A window is looked
//! at once for each time that it outlives: which blocks were, is kept in memory only, so that a
//! restart, with other rules perhaps, looks again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::{BlockId, Hour};
use spandrel_proto::{TenantId, TraceId};

use crate::api::Damage;
use crate::store::BlockTraceStore;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::{TenantState, View};
use crate::store::lifecycle::expired_rollups::Counter;
use crate::store::lifecycle::pins::Pinned;
use crate::store::lifecycle::rules::{Outlived, Rules};
use crate::store::write::rewrite::{Fate, RewriteError, Step};

/// Blocks that were looked at, and for which time.
#[derive(Debug, Default)]
pub(crate) struct Retained(Mutex<HashMap<BlockId, Duration>>);

/// Thins the windows of a tenant that have outlived a time. Returns how many have changed.
pub(crate) fn drop_expired(store: &BlockTraceStore, tenant: &TenantId) -> Result<usize, RewriteError> {
    let Some(state) = store.tenant(tenant) else { return Ok(0) };
    let (now, rules) = (store.clock.now(), Rules::new(&store.config));
    let mut changed = 0;
    for hour in state.view().hours() {
        let Some(outlived) = rules.outlived(hour, now) else { break };
        let window = Window { store, tenant, state: &state, hour };
        changed += usize::from(window.outlive(&rules, outlived)?);
    }
    store.drop_expired_counts(&state)?;
    store.drop_expired_lost_counts()?;
    if changed > 0 {
        store.recount_traces(&state);
    }
    Ok(changed)
}

/// Drops a window whatever its age, but for what is pinned. Returns whether that changed anything.
pub(crate) fn drop_window(
    store: &BlockTraceStore,
    tenant: &TenantId,
    hour: Hour,
) -> Result<bool, RewriteError> {
    let Some(state) = store.tenant(tenant) else { return Ok(false) };
    let changed = Window { store, tenant, state: &state, hour }.drop_all()?;
    if changed {
        store.recount_traces(&state);
    }
    Ok(changed)
}

/// One window of a tenant.
struct Window<'s> {
    store: &'s BlockTraceStore,
    tenant: &'s TenantId,
    state: &'s TenantState,
    hour: Hour,
}

// === impl Window ===

impl Window<'_> {
    fn outlive(&self, rules: &Rules<'_>, outlived: Outlived) -> Result<bool, RewriteError> {
        // A pin that is set meanwhile waits, and finds its trace or not.
        let _one_by_one = self.store.cleaning.lock();
        let view = self.state.view();
        let due = self.blocks(&view, |entry| !self.store.retained.knows(entry, outlived.time));
        if due.is_empty() {
            return Ok(false);
        }
        let survivors = match outlived.is_longest {
            true => HashSet::new(),
            false => {
                let readable: Vec<_> =
                    due.iter().filter(|entry| !self.store.is_damaged(entry)).cloned().collect();
                let place = (self.tenant, self.state, &*view);
                rules.survivors(self.store, place, &readable, outlived.time)?
            }
        };
        let pins = self.store.pins.of(self.tenant);
        // What a damaged block holds, nobody knows: it goes with the last of its neighbours.
        let fate_of_damaged = if outlived.is_longest && pins.is_empty() { Fate::Goes } else { Fate::Stays };
        let stays = |trace: TraceId| survivors.contains(&trace) || pins.contains_key(&trace);
        let counts = self.store.clock.now().minus(self.store.config.rollup_retention()) < self.hour.end();
        let changed = self.thin(due, stays, fate_of_damaged, counts)?;
        for entry in self.state.view().iter().filter(|entry| entry.key.hour == self.hour) {
            self.store.retained.note(entry, outlived.time);
        }
        Ok(changed)
    }

    fn drop_all(&self) -> Result<bool, RewriteError> {
        let _one_by_one = self.store.cleaning.lock();
        let pins: Arc<Pinned> = self.store.pins.of(self.tenant);
        let fate_of_damaged = if pins.is_empty() { Fate::Goes } else { Fate::Stays };
        let blocks = self.blocks(&self.state.view(), |_| true);
        self.thin(blocks, |trace| pins.contains_key(&trace), fate_of_damaged, false)
    }

    fn blocks(&self, view: &View, wanted: impl Fn(&BlockEntry) -> bool) -> Vec<Arc<BlockEntry>> {
        let of_window = |entry: &&Arc<BlockEntry>| entry.key.hour == self.hour && wanted(entry);
        let mut blocks: Vec<_> = view.iter().filter(of_window).cloned().collect();
        blocks.sort_by_key(|entry| entry.key.block);
        blocks
    }

    /// Takes everything out of some blocks but the traces that stay, and counts it if asked to.
    fn thin(
        &self,
        blocks: Vec<Arc<BlockEntry>>,
        stays: impl Fn(TraceId) -> bool,
        fate_of_damaged: Fate,
        counts: bool,
    ) -> Result<bool, RewriteError> {
        let count = blocks.len();
        let fates = blocks.into_iter().map(|entry| {
            let fate = match self.store.reader.traces(&entry) {
                Ok(traces) => Fate::of(&traces, &stays),
                Err(error) => {
                    self.store.report_damage(&entry, &error, &Damage::default());
                    fate_of_damaged
                }
            };
            match fate {
                Fate::Shrinks if self.store.is_damaged(&entry) => (entry, Fate::Stays),
                fate => (entry, fate),
            }
        });
        let steps = Step::cut(fates.collect::<Vec<_>>());
        let mut spans = 0;
        for step in steps {
            self.store.note_leaving(self.tenant, self.hour, &step)?;
            let mut counter = counts.then(Counter::default);
            if let Some(counter) = &mut counter {
                counter.add_blocks(self.store, self.state, &step.going);
            }
            let prepared = step.prepare(self.store, |row| {
                let (trace, sequence) = (row.key.trace(), row.sequence);
                let stays = stays(trace);
                let counts = !stays && !self.state.is_deleted(trace, sequence);
                if let Some(counter) = counter.as_mut().filter(|_| counts) {
                    // A span that does not decode was not counted before, either.
                    let _ = counter.add(row);
                }
                stays
            })?;
            let (dropped, removed) = (prepared.dropped, prepared.removes());
            let place = (self.tenant, self.state, self.hour);
            let counter = counter.unwrap_or_default();
            let counted = self.store.keep_counts(place, counter, &removed)?;
            if let Err(error) = prepared.commit(self.store) {
                if let Some(counted) = counted {
                    self.store.drop_counts(self.state, &counted)?;
                }
                return Err(error);
            }
            self.store.retained.remove(&removed);
            spans += dropped;
        }
        if spans > 0 {
            metrics::counter!("spandrel_store_expired_spans_total").increment(spans);
            let (tenant, hour) = (self.tenant, self.hour.0);
            tracing::info!(%tenant, hour, blocks = count, spans, "dropped spans of a window");
        }
        Ok(spans > 0)
    }
}

// === impl Retained ===

impl Retained {
    fn knows(&self, entry: &BlockEntry, time: Duration) -> bool {
        self.0.lock().get(&entry.key.block) == Some(&time)
    }

    fn note(&self, entry: &BlockEntry, time: Duration) {
        self.0.lock().insert(entry.key.block, time);
    }

    fn remove(&self, gone: &HashSet<BlockId>) {
        self.0.lock().retain(|block, _| !gone.contains(block));
    }

    /// Everything is looked at again.
    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }
}
