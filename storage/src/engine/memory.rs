//! An engine in memory: the same semantics, nothing durable. For tests of the layers above.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;
use spandrel_block::{BlockId, BlockKey, Hour, RowRange, TraceKey};
use spandrel_proto::{TenantId, TraceId};

use super::{BlockStore, Catalog, Change, Engine, EngineError, IndexRow, Inspect, Records, TraceIndex};

/// Keeps everything in maps. Shares its contents between clones, so a "restart" is a second store
/// over a clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    state: std::sync::Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    blocks: BTreeMap<BlockKey, Bytes>,
    catalog: BTreeMap<BlockKey, Vec<u8>>,
    unreferenced: BTreeSet<BlockKey>,
    index: BTreeMap<TraceKey, RowRange>,
    records: BTreeMap<(String, String), Vec<u8>>,
    failure: Option<EngineError>,
    failure_of_deletes: Option<EngineError>,
    free: Option<u64>,
}

// === impl MemoryEngine ===

impl MemoryEngine {
    /// Makes every later commit fail with this error, or succeed again.
    pub fn fail_commits(&self, failure: Option<EngineError>) {
        self.state.lock().failure = failure;
    }

    /// Like [`Self::fail_commits`], for deletes.
    pub fn fail_deletes(&self, failure: Option<EngineError>) {
        self.state.lock().failure_of_deletes = failure;
    }

    /// Sets the free bytes on the disk; `None` for no bound.
    pub fn leave_free(&self, bytes: Option<u64>) {
        self.state.lock().free = bytes;
    }

    /// Flips a bit of a stored block at this offset, if the block is long enough.
    pub fn damage(&self, key: &BlockKey, offset: usize) {
        if let Some(block) = self.state.lock().blocks.get_mut(key) {
            let mut bytes = block.to_vec();
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1;
            }
            *block = bytes.into();
        }
    }

    /// The keys of all stored blocks.
    pub fn block_keys(&self) -> Vec<BlockKey> {
        self.state.lock().blocks.keys().cloned().collect()
    }

    /// Changes rows of the trace index without the store's knowledge; `keep` may change rows, and returns whether to
    /// keep them.
    pub fn damage_index(&self, mut keep: impl FnMut(&TraceKey, &mut RowRange) -> bool) {
        self.state.lock().index.retain(|key, rows| keep(key, rows));
    }

    /// Changes catalog rows without the store's knowledge, like `damage_index`.
    pub fn damage_catalog(&self, mut keep: impl FnMut(&BlockKey, &mut Vec<u8>) -> bool) {
        self.state.lock().catalog.retain(|key, row| keep(key, row));
    }
}

impl Engine for MemoryEngine {
    fn free_bytes(&self) -> Option<u64> {
        self.state.lock().free
    }

    fn stored_bytes(&self) -> u64 {
        self.state.lock().blocks.values().map(|block| block.len() as u64).sum()
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        self.compact()
    }

    fn compact(&self) -> Result<(), EngineError> {
        let state = &mut *self.state.lock();
        state.index.retain(|key, _| {
            let block = BlockKey { tenant: key.tenant.clone(), hour: key.hour, block: key.block };
            state.catalog.contains_key(&block)
        });
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl BlockStore for MemoryEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        let state = self.state.lock();
        let block = state.blocks.get(key).ok_or_else(|| EngineError::NotFound(key.clone()))?;
        let clamp = |at: u64| (at as usize).min(block.len());
        Ok(ranges.iter().map(|range| block.slice(clamp(range.start)..clamp(range.end))).collect())
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if let Some(failure) = &state.failure_of_deletes {
            return Err(failure.clone());
        }
        for key in keys {
            state.blocks.remove(key);
            state.unreferenced.remove(key);
        }
        Ok(())
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        Ok(self.state.lock().unreferenced.iter().cloned().collect())
    }
}

impl Catalog for MemoryEngine {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        Ok(self.state.lock().catalog.iter().map(|(key, row)| (key.clone(), row.clone())).collect())
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if change.removes.iter().any(|block| !state.catalog.contains_key(&change.key(*block))) {
            return Err(EngineError::Conflict);
        }
        for block in &change.removes {
            let key = change.key(*block);
            state.catalog.remove(&key);
            state.unreferenced.insert(key);
        }
        for block in &change.adds {
            let key = change.key(block.id);
            state.blocks.insert(key.clone(), block.bytes.clone());
            state.catalog.insert(key, block.row.clone());
            for (trace, rows) in &block.index {
                let (tenant, hour) = (change.tenant.clone(), change.hour);
                state.index.insert(TraceKey { tenant, trace: *trace, hour, block: block.id }, *rows);
            }
        }
        Ok(())
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        self.state.lock().catalog.insert(key.clone(), row.to_vec());
        Ok(())
    }
}

impl TraceIndex for MemoryEngine {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        let state = self.state.lock();
        let first = TraceKey { tenant: tenant.clone(), trace, hour: Hour(0), block: BlockId(0) };
        let rows =
            state.index.range(first..).take_while(|(key, _)| key.tenant == *tenant && key.trace == trace);
        Ok(rows.map(|(key, rows)| (key.block, *rows)).collect())
    }
}

impl Inspect for MemoryEngine {
    fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError> {
        Ok(self.block_keys())
    }

    fn read_prefix(&self, key: &BlockKey) -> Result<Bytes, EngineError> {
        Ok(self.state.lock().blocks.get(key).cloned().unwrap_or_default())
    }

    fn each_index_row(&self, show: &mut dyn FnMut(IndexRow)) -> Result<(), EngineError> {
        self.state.lock().index.iter().for_each(|(key, rows)| show(Ok((key.clone(), *rows))));
        Ok(())
    }
}

impl Records for MemoryEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let state = self.state.lock();
        let of_kind = state.records.iter().filter(|((known, _), _)| known == kind);
        Ok(of_kind.map(|((_, name), value)| (name.clone(), value.clone())).collect())
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        let key = (kind.to_owned(), name.to_owned());
        let mut state = self.state.lock();
        match value {
            Some(value) => drop(state.records.insert(key, value.to_vec())),
            None => drop(state.records.remove(&key)),
        }
        Ok(())
    }
}
