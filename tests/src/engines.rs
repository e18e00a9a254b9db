//! Engines whose commits a test holds back, or does something beside.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use spandrel_block::{BlockId, BlockKey, RowRange};
use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::Engine;
use spandrel_storage::engine::{BlockStore, Catalog, Change, EngineError, Records, TraceIndex};

use crate::delegate::delegate;

/// Delegates every call, and calls a test back at a commit.
pub struct HookedEngine {
    inner: Arc<dyn Engine>,
    hook: Mutex<Option<(Moment, Hook)>>,
}

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    BeforeCommit,
    AfterCommit,
}

type Hook = Box<dyn FnOnce() + Send>;

/// Delegates every call, but commits of one tenant wait at a gate.
pub struct GatedEngine {
    inner: Arc<dyn Engine>,
    tenant: TenantId,
    gate: Mutex<Gate>,
    moved: Condvar,
}

#[derive(Default)]
struct Gate {
    waiting: usize,
    open: bool,
}

// === impl HookedEngine ===

impl HookedEngine {
    pub fn new(inner: Arc<dyn Engine>) -> Arc<Self> {
        Arc::new(Self { inner, hook: Mutex::default() })
    }

    /// Calls back once, at the next commit.
    pub fn at_next_commit(&self, moment: Moment, hook: impl FnOnce() + Send + 'static) {
        *self.hook.lock() = Some((moment, Box::new(hook)));
    }

    fn call(&self, moment: Moment) {
        let due = self.hook.lock().take_if(|(wanted, _)| *wanted == moment);
        // Without the lock: a hook may commit, too.
        if let Some((_, hook)) = due {
            hook();
        }
    }
}

impl Catalog for HookedEngine {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        self.inner.catalog_rows()
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        self.call(Moment::BeforeCommit);
        self.inner.commit(change)?;
        self.call(Moment::AfterCommit);
        Ok(())
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        self.inner.put_catalog_row(key, row)
    }
}

impl BlockStore for HookedEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        self.inner.get_ranges(key, ranges)
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        self.inner.delete_blocks(keys)
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.unreferenced()
    }
}

impl TraceIndex for HookedEngine {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        self.inner.find_trace(tenant, trace)
    }
}

impl Records for HookedEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        self.inner.records(kind)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        self.inner.put_record(kind, name, value)
    }
}

delegate!(HookedEngine);

// === impl GatedEngine ===

impl GatedEngine {
    /// An engine whose gate is closed.
    pub fn new(inner: Arc<dyn Engine>, tenant: TenantId) -> Arc<Self> {
        Arc::new(Self { inner, tenant, gate: Mutex::default(), moved: Condvar::new() })
    }

    /// Waits until a commit waits at the gate.
    pub fn await_arrival(&self) {
        let mut gate = self.gate.lock();
        self.moved.wait_while(&mut gate, |gate| gate.waiting == 0);
    }

    /// Opens the gate for all commits.
    pub fn open(&self) {
        self.gate.lock().open = true;
        self.moved.notify_all();
    }
}

impl Catalog for GatedEngine {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        self.inner.catalog_rows()
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        if change.tenant == self.tenant {
            let mut gate = self.gate.lock();
            gate.waiting += 1;
            self.moved.notify_all();
            self.moved.wait_while(&mut gate, |gate| !gate.open);
        }
        self.inner.commit(change)
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        self.inner.put_catalog_row(key, row)
    }
}

impl BlockStore for GatedEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        self.inner.get_ranges(key, ranges)
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        self.inner.delete_blocks(keys)
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.unreferenced()
    }
}

impl TraceIndex for GatedEngine {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        self.inner.find_trace(tenant, trace)
    }
}

impl Records for GatedEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        self.inner.records(kind)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        self.inner.put_record(kind, name, value)
    }
}

delegate!(GatedEngine);
