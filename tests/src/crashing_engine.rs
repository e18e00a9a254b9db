//! An engine that crashes in a chosen change, applies that change or loses it, and refuses all later ones. It leaves
//! the same state as a killed process, without a process.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use spandrel_block::{BlockId, BlockKey, RowRange};
use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::Engine;
use spandrel_storage::engine::{BlockStore, Catalog, Change, EngineError, Records, TraceIndex};

use crate::delegate::delegate;

/// When an engine crashes. Clones share one plan.
#[derive(Debug, Clone, Default)]
pub struct CrashPlan(Arc<Mutex<State>>);

/// Whether the change in which the engine crashes is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastChange {
    /// The change is applied, but the caller gets an error.
    Made,
    /// The change is not applied.
    Lost,
}

#[derive(Debug, Default)]
enum State {
    /// No crash is planned.
    #[default]
    Running,
    /// So many changes succeed; the engine crashes in the next one.
    CrashesAfter(u64, LastChange),
    /// The engine makes no more changes.
    Crashed,
}

/// An engine that crashes as its plan says.
pub struct CrashingEngine {
    inner: Arc<dyn Engine>,
    plan: CrashPlan,
}

// === impl CrashPlan ===

impl CrashPlan {
    /// After so many changes the engine crashes in the next one.
    pub fn crash_after(&self, changes: u64, last: LastChange) {
        *self.0.lock() = State::CrashesAfter(changes, last);
    }
}

// === impl CrashingEngine ===

impl CrashingEngine {
    /// An engine that runs until its plan is changed.
    pub fn new(inner: Arc<dyn Engine>, plan: CrashPlan) -> Self {
        *plan.0.lock() = State::Running;
        Self { inner, plan }
    }

    fn change(&self, make: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
        let mut state = self.plan.0.lock();
        let last = match &mut *state {
            State::Running => return make(),
            State::CrashesAfter(changes, _) if *changes > 0 => {
                *changes -= 1;
                return make();
            }
            State::CrashesAfter(_, last) => *last,
            State::Crashed => LastChange::Lost,
        };
        *state = State::Crashed;
        if last == LastChange::Made {
            make()?;
        }
        Err(EngineError::io("the engine has crashed"))
    }
}

impl Catalog for CrashingEngine {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        self.inner.catalog_rows()
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        self.change(|| self.inner.commit(change))
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        self.inner.put_catalog_row(key, row)
    }
}

impl BlockStore for CrashingEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        self.inner.get_ranges(key, ranges)
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        self.change(|| self.inner.delete_blocks(keys))
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.unreferenced()
    }
}

impl TraceIndex for CrashingEngine {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        self.inner.find_trace(tenant, trace)
    }
}

impl Records for CrashingEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        self.inner.records(kind)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        self.change(|| self.inner.put_record(kind, name, value))
    }
}

delegate!(CrashingEngine);
