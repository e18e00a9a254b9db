//! The catalog in memory: which blocks a tenant has right now, and where fresh traces lie.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use spandrel_block::{BlockId, Hour, RowRange, TraceTable};
use spandrel_proto::TraceId;

use super::block::BlockEntry;
use super::counter::TraceCounter;
use super::counts::Counted;
use crate::api::Operation;

/// The blocks of a tenant at one moment. Immutable; a change makes a new one.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    blocks: HashMap<BlockId, Arc<BlockEntry>>,
}

/// Everything in memory about a tenant.
#[derive(Default)]
pub(crate) struct TenantState {
    view: RwLock<Arc<View>>,
    /// Parts of traces in fresh blocks. Rows of a block leave when its bytes do, so that whoever
    /// holds an older view still finds them.
    fresh: DashMap<TraceId, Vec<(BlockId, RowRange)>>,
    pub(crate) traces: Mutex<TraceCounter>,
    /// Fresh blocks whose traces could not be read when the store was opened.
    pub(crate) unindexed: Mutex<Vec<BlockId>>,
    /// Traces that a deletion has promised to take, each with the last commit that it takes of it.
    pub(crate) hidden: RwLock<HashMap<TraceId, u64>>,
    /// Counts of spans that a rule has let go.
    pub(crate) counted: RwLock<Vec<Arc<Counted>>>,
}

// === impl View ===

impl View {
    pub(crate) fn get(&self, block: BlockId) -> Option<&Arc<BlockEntry>> {
        self.blocks.get(&block)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.blocks.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn hours(&self) -> BTreeSet<Hour> {
        self.iter().map(|entry| entry.key.hour).collect()
    }

    pub(crate) fn services(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self
            .iter()
            .flat_map(|entry| &entry.row.meta.services)
            .map(|service| service.name.as_str())
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn operations(&self, service: &str) -> Vec<Operation> {
        let mut found: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
        for entry in self.iter() {
            let services = &entry.row.meta.services;
            let Ok(at) = services.binary_search_by(|known| known.name.as_str().cmp(service)) else {
                continue;
            };
            for operation in &services[at].operations {
                found.entry(&operation.name).or_default().extend(operation.kinds());
            }
        }
        let each = |(name, kinds): (&str, BTreeSet<_>)| {
            kinds.into_iter().map(move |kind| Operation { name: name.to_owned(), kind }).collect::<Vec<_>>()
        };
        found.into_iter().flat_map(each).collect()
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
        let mut next = View::clone(&view);
        removes.iter().for_each(|block| drop(next.blocks.remove(block)));
        next.blocks.extend(adds.into_iter().map(|entry| (entry.key.block, entry)));
        *view = Arc::new(next);
    }

    /// Makes the traces of a fresh block known. Comes before the block is in the view.
    pub(crate) fn add_fresh(&self, block: BlockId, traces: &TraceTable) {
        let mut counter = self.traces.lock();
        for (trace, rows) in traces.entries() {
            self.fresh.entry(*trace).or_default().push((block, *rows));
            counter.add(*trace);
        }
    }

    /// Forgets the traces of a block that is gone for good.
    pub(crate) fn remove_fresh(&self, block: BlockId, traces: &TraceTable) {
        for (trace, _) in traces.entries() {
            self.fresh.remove_if_mut(trace, |_, parts| {
                parts.retain(|(known, _)| *known != block);
                parts.is_empty()
            });
        }
    }

    pub(crate) fn fresh_parts(&self, trace: TraceId) -> Vec<(BlockId, RowRange)> {
        self.fresh.get(&trace).map(|parts| parts.clone()).unwrap_or_default()
    }
}
