//! The state of each tenant in memory: the view of its catalog, and the traces of its fresh blocks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use spandrel_block::{BlockId, RowRange, TraceTable};
use spandrel_proto::{TenantId, TraceId};

use super::block_reader::BlockEntry;
use super::deleted_traces::DeletedTraces;
use super::trace_cardinality::TraceCounter;
use super::view::View;
use crate::records::expired_rollups::ExpiredRollup;

/// All tenants that have stored a span, or that have a deletion or a rollup.
#[derive(Default)]
pub(crate) struct Tenants(RwLock<HashMap<TenantId, Arc<TenantState>>>);

/// The state of a tenant in memory.
#[derive(Default)]
pub(crate) struct TenantState {
    view: RwLock<Arc<View>>,
    /// Rows of traces in fresh blocks. Rows of a block are removed with its bytes, so that readers of an older view
    /// still find them.
    fresh: DashMap<TraceId, Vec<(BlockId, RowRange)>>,
    pub(crate) traces: Mutex<TraceCounter>,
    /// Fresh blocks whose traces could not be read when the store was opened.
    pub(crate) unindexed: Mutex<Vec<BlockId>>,
    pub(crate) deleted: DeletedTraces,
    pub(crate) expired_rollups: RwLock<Vec<Arc<ExpiredRollup>>>,
}

/// Memory of a trace in the map of fresh ones: with its first rows for the entry and spare room, then for further rows.
const FIRST_PART_BYTES: u64 = 128;
const PART_BYTES: u64 = 24;

// === impl Tenants ===

impl Tenants {
    pub(crate) fn get(&self, tenant: &TenantId) -> Option<Arc<TenantState>> {
        self.0.read().get(tenant).cloned()
    }

    pub(crate) fn get_or_new(&self, tenant: &TenantId) -> Arc<TenantState> {
        match self.get(tenant) {
            Some(state) => state,
            None => self.0.write().entry(tenant.clone()).or_default().clone(),
        }
    }

    pub(crate) fn all(&self) -> Vec<(TenantId, Arc<TenantState>)> {
        self.0.read().iter().map(|(tenant, state)| (tenant.clone(), state.clone())).collect()
    }
}

// === impl TenantState ===

impl TenantState {
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Adds and removes blocks in one step.
    pub(crate) fn change(&self, adds: impl IntoIterator<Item = Arc<BlockEntry>>, removes: &[BlockId]) {
        let mut view = self.view.write();
        *view = Arc::new(view.changed(adds, removes));
    }

    /// Adds the traces of a fresh block, of spans or of logs, before the block is in the view. Returns an estimate of the memory in bytes.
    pub(crate) fn add_fresh(&self, block: BlockId, traces: &TraceTable, logs: bool) -> u64 {
        let mut counter = self.traces.lock();
        let mut bytes = 0;
        for (trace, rows) in traces.entries() {
            let mut parts = self.fresh.entry(*trace).or_default();
            bytes += if parts.is_empty() { FIRST_PART_BYTES } else { PART_BYTES };
            parts.push((block, *rows));
            if !logs {
                counter.add(*trace);
            }
        }
        bytes
    }

    /// Removes the traces of a block that no reader holds any more.
    pub(crate) fn remove_fresh(&self, block: BlockId, traces: &TraceTable) {
        for (trace, _) in traces.entries() {
            self.fresh.remove_if_mut(trace, |_, parts| {
                parts.retain(|(known, _)| *known != block);
                parts.is_empty()
            });
        }
    }

    /// Removes the traces of blocks that cannot be read any more.
    pub(crate) fn forget_fresh(&self, blocks: &HashSet<BlockId>) {
        self.fresh.retain(|_, parts| {
            parts.retain(|(known, _)| !blocks.contains(known));
            !parts.is_empty()
        });
    }

    /// Visits the rows of a trace in each fresh block.
    pub(crate) fn each_fresh_part(&self, trace: TraceId, mut tell: impl FnMut(BlockId, RowRange)) {
        if let Some(parts) = self.fresh.get(&trace) {
            for (block, rows) in parts.iter() {
                tell(*block, *rows);
            }
        }
    }

    pub(crate) fn fresh_parts(&self, trace: TraceId) -> Vec<(BlockId, RowRange)> {
        self.fresh.get(&trace).map(|parts| parts.clone()).unwrap_or_default()
    }
}
