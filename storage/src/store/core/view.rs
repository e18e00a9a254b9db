//! The view: the live blocks of a tenant at one moment, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::{BlockId, Hour, RowRange};

use super::block_reader::BlockEntry;
use crate::api::Operation;

/// The live blocks of a tenant at one moment. Immutable; a change creates a new view.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// By block ID, in shards that views share: every append creates a view, and while merges wait there are thousands
    /// of blocks.
    shards: [Arc<Shard>; SHARDS],
}

type Shard = FxHashMap<BlockId, Arc<BlockEntry>>;

const SHARDS: usize = 64;

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

    /// Its blocks of spans, which is what queries look at.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.iter().filter(|entry| !entry.row.meta.logs)
    }

    /// Its blocks of log records.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.iter().filter(|entry| entry.row.meta.logs)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Keeps the rows of a trace that are spans in blocks of this view.
    pub(crate) fn resolve(&self, parts: Vec<(BlockId, RowRange)>) -> Vec<(Arc<BlockEntry>, RowRange)> {
        let mut parts = self.resolve_all(parts);
        parts.retain(|(entry, _)| !entry.row.meta.logs);
        parts
    }

    /// Keeps the rows of a trace, spans and logs, that are in blocks of this view.
    pub(crate) fn resolve_all(&self, parts: Vec<(BlockId, RowRange)>) -> Vec<(Arc<BlockEntry>, RowRange)> {
        parts.into_iter().filter_map(|(block, rows)| Some((self.get(block)?.clone(), rows))).collect()
    }

    /// The view with some blocks removed and others added.
    pub(super) fn changed(
        &self,
        adds: impl IntoIterator<Item = Arc<BlockEntry>>,
        removes: &[BlockId],
    ) -> Self {
        let mut next = self.clone();
        for block in removes {
            next.shard(*block).remove(block);
        }
        for entry in adds {
            next.shard(entry.key.block).insert(entry.key.block, entry);
        }
        next
    }

    fn shard(&mut self, block: BlockId) -> &mut Shard {
        Arc::make_mut(&mut self.shards[shard_of(block)])
    }

    pub(crate) fn hours(&self) -> BTreeSet<Hour> {
        self.iter().map(|entry| entry.key.hour).collect()
    }

    pub(crate) fn services(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self
            .spans()
            .flat_map(|entry| &entry.row.meta.services)
            .map(|service| service.name.as_str())
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn operations(&self, service: &str) -> Vec<Operation> {
        let mut found: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
        for entry in self.spans() {
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
