//! The catalog in memory: which blocks a tenant has right now, and where fresh traces lie.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use spandrel_block::{BlockId, Hour, RowRange, TraceTable};
use spandrel_proto::TraceId;

use crate::api::Operation;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::trace_cardinality::TraceCounter;
use crate::store::lifecycle::expired_rollups::Counted;

/// The blocks of a tenant at one moment. Immutable; a change makes a new one.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// By the number of the block, in shards that views share: every append makes a view, and while
    /// merges wait there are thousands of blocks.
    shards: [Arc<Shard>; SHARDS],
}

type Shard = FxHashMap<BlockId, Arc<BlockEntry>>;

const SHARDS: usize = 64;
/// What a part of a trace takes in the map of fresh ones: the first one with the entry and room for more.
const FIRST_PART_BYTES: u64 = 128;
const PART_BYTES: u64 = 24;

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

impl Default for View {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Arc::default()) }
    }
}

impl View {
    pub(crate) fn get(&self, block: BlockId) -> Option<&Arc<BlockEntry>> {
        self.shards[shard_of(block)].get(&block)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    fn shard(&mut self, block: BlockId) -> &mut Shard {
        Arc::make_mut(&mut self.shards[shard_of(block)])
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

fn shard_of(block: BlockId) -> usize {
    block.0 as usize % SHARDS
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
        removes.iter().for_each(|block| drop(next.shard(*block).remove(block)));
        adds.into_iter().for_each(|entry| drop(next.shard(entry.key.block).insert(entry.key.block, entry)));
        *view = Arc::new(next);
    }

    /// Makes the traces of a fresh block known, and says about how many bytes that takes. Comes before the
    /// block is in the view.
    pub(crate) fn add_fresh(&self, block: BlockId, traces: &TraceTable) -> u64 {
        let mut counter = self.traces.lock();
        let mut bytes = 0;
        for (trace, rows) in traces.entries() {
            let mut parts = self.fresh.entry(*trace).or_default();
            bytes += if parts.is_empty() { FIRST_PART_BYTES } else { PART_BYTES };
            parts.push((block, *rows));
            counter.add(*trace);
        }
        bytes
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

    /// Tells where fresh parts of a trace lie.
    pub(crate) fn each_fresh_part(&self, trace: TraceId, mut tell: impl FnMut(BlockId, RowRange)) {
        if let Some(parts) = self.fresh.get(&trace) {
            parts.iter().for_each(|(block, rows)| tell(*block, *rows));
        }
    }

    pub(crate) fn fresh_parts(&self, trace: TraceId) -> Vec<(BlockId, RowRange)> {
        self.fresh.get(&trace).map(|parts| parts.clone()).unwrap_or_default()
    }
}
