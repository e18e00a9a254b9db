//! An engine that dies: at some change it stops, with or without having made it, and makes none after
//! it. What a process that is killed at that moment leaves, without a process.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use spandrel_block::{BlockId, BlockKey, RowRange};
use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::Engine;
use spandrel_storage::engine::{BlockStore, Catalog, Change, EngineError, Records, TraceIndex};

use crate::pass_on::pass_on;

/// When an engine dies. Clones speak of the same engine.
#[derive(Debug, Clone, Default)]
pub struct Fate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// It lives for ever.
    #[default]
    Lives,
    /// So many changes succeed; the next one is the last, and is made or not.
    Dies { after: u64, made: bool },
    /// It makes no more changes.
    Dead,
}

/// An engine with a fate.
pub struct MortalEngine {
    inner: Arc<dyn Engine>,
    fate: Fate,
}

// === impl Fate ===

impl Fate {
    /// After so many changes the next one is the last; `made` says whether it takes place.
    pub fn dies(&self, after: u64, made: bool) {
        *self.0.lock() = State::Dies { after, made };
    }
}

// === impl MortalEngine ===

impl MortalEngine {
    /// An engine that lives, until its fate is another.
    pub fn new(inner: Arc<dyn Engine>, fate: Fate) -> Self {
        *fate.0.lock() = State::Lives;
        Self { inner, fate }
    }

    fn change(&self, make: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
        let mut state = self.fate.0.lock();
        let made = match &mut *state {
            State::Lives => return make(),
            State::Dies { after, .. } if *after > 0 => {
                *after -= 1;
                return make();
            }
            State::Dies { made, .. } => *made,
            State::Dead => false,
        };
        *state = State::Dead;
        if made {
            make()?;
        }
        Err(EngineError::Io("the engine is dead".to_owned()))
    }
}

impl Catalog for MortalEngine {
    fn read(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        self.inner.read()
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        self.change(|| self.inner.commit(change))
    }

    fn mend(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        self.inner.mend(key, row)
    }
}

impl BlockStore for MortalEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        self.inner.get_ranges(key, ranges)
    }

    fn delete(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        self.change(|| self.inner.delete(keys))
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.unreferenced()
    }
}

impl TraceIndex for MortalEngine {
    fn find(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        self.inner.find(tenant, trace)
    }
}

impl Records for MortalEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        self.inner.records(kind)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        self.change(|| self.inner.put_record(kind, name, value))
    }
}

pass_on!(MortalEngine);
