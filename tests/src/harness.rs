//! A store on any engine, with a manual clock, that can be shut down and opened again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_rocks::{DataDir, Durability, LockError, RocksEngine};
use spandrel_storage::encryption::{EncryptedEngine, MemoryKeys};
use spandrel_storage::engine::MemoryEngine;
use spandrel_storage::plan::{Effort, Order, Predicate, SearchPlan};
use spandrel_storage::{BlockTraceStore, Clock, Engine, SearchAnswer, StoreConfig, TraceStore, TraceSummary};
use tempfile::TempDir;

use crate::crashing_engine::{CrashPlan, CrashingEngine};
use crate::server::eventually;
use crate::spans::{BEGIN, HOUR, Sent, decoded};

/// A clock that tests move.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

/// Where the blocks of a store are.
#[derive(Clone)]
pub enum Backend {
    /// In memory; all stores that are opened on it share the contents.
    Memory(MemoryEngine),
    /// In a temporary directory.
    Rocks(Arc<TempDir>, Durability),
    /// In a directory that outlives the test or the process.
    Folder(PathBuf, Durability),
    /// Encrypted, on another backend.
    Encrypted(Box<Backend>, MemoryKeys),
    /// On another backend, until it crashes.
    Crashing(Box<Backend>, CrashPlan),
    /// On an engine that the test provides.
    Own(Arc<dyn Engine>),
}

/// A store under test.
pub struct Harness {
    /// The clock of the store.
    pub clock: Arc<ManualClock>,
    /// The configuration for the next start.
    pub config: StoreConfig,
    backend: Backend,
    open: Option<Open>,
}

struct Open {
    store: Arc<BlockTraceStore>,
    engine: Arc<dyn Engine>,
}

// === impl ManualClock ===

impl ManualClock {
    /// Sets the time, also backwards.
    pub fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }

    pub fn advance(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

// === impl Backend ===

impl Backend {
    pub fn memory() -> Self {
        Self::Memory(MemoryEngine::default())
    }

    /// RocksDB in a new directory.
    pub fn rocks() -> Self {
        Self::Rocks(Arc::new(tempfile::tempdir().unwrap()), Durability::Sync)
    }

    /// RocksDB without fsync, for tests that open many stores.
    pub fn quick_rocks() -> Self {
        Self::Rocks(Arc::new(tempfile::tempdir().unwrap()), Durability::Os)
    }

    /// The same backend, encrypted under a new master key.
    pub fn encrypted(self) -> Self {
        Self::Encrypted(Box::new(self), MemoryKeys::random().unwrap())
    }

    /// Opens the engine; the error says why it does not open.
    pub fn engine(&self) -> Result<Arc<dyn Engine>, String> {
        match self {
            Self::Memory(engine) => Ok(Arc::new(engine.clone())),
            Self::Rocks(directory, durability) => rocks(directory.path(), *durability),
            Self::Folder(directory, durability) => rocks(directory, *durability),
            Self::Crashing(backend, plan) => {
                Ok(Arc::new(CrashingEngine::new(backend.engine()?, plan.clone())))
            }
            Self::Encrypted(backend, keys) => {
                let keyring = keys.open().map_err(|error| error.to_string())?;
                Ok(Arc::new(EncryptedEngine::new(backend.engine()?, keyring)))
            }
            Self::Own(engine) => Ok(engine.clone()),
        }
    }

    /// The backend as SIGKILL would leave it now. The old store need not be closed.
    fn image(&self) -> Self {
        match self {
            Self::Rocks(directory, durability) => {
                let image = tempfile::tempdir().unwrap();
                copy(directory.path(), image.path());
                Self::Rocks(Arc::new(image), *durability)
            }
            Self::Crashing(backend, plan) => Self::Crashing(Box::new(backend.image()), plan.clone()),
            Self::Encrypted(backend, keys) => Self::Encrypted(Box::new(backend.image()), keys.clone()),
            other => other.clone(),
        }
    }
}

/// Copies a folder as of one moment. RocksDB's threads may change files meanwhile; then the copy starts again.
pub fn copy(from: &Path, to: &Path) {
    eventually("a moment in which nothing changes", || {
        fs::remove_dir_all(to).or_else(absent).unwrap();
        let before = contents(from).ok()?;
        copy_files(from, to).ok()?;
        (contents(from).ok()? == before).then_some(())
    });
}

/// Every file below a folder, with its length and time of modification.
fn contents(folder: &Path) -> io::Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            found.extend(contents(&entry.path())?);
        } else {
            found.insert(entry.path(), (about.len(), about.modified()?));
        }
    }
    Ok(found)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn rocks(directory: &Path, durability: Durability) -> Result<Arc<dyn Engine>, String> {
    // A child process that another thread starts inherits the locks, and holds them from fork to exec.
    let locked =
        eventually("the lock of a directory that was let go", || match DataDir::lock(directory, 1 << 20) {
            Err(LockError::Taken(_)) => None,
            locked => Some(locked),
        });
    let disk = locked.map_err(|error| error.to_string())?;
    let engine = RocksEngine::open(disk, durability).map_err(|error| error.to_string())?;
    Ok(Arc::new(engine))
}

// === impl Harness ===

impl Harness {
    /// An empty store on `backend`.
    pub fn new(backend: Backend) -> Self {
        Self::with(backend, config())
    }

    /// An empty store with this configuration.
    pub fn with(backend: Backend, config: StoreConfig) -> Self {
        Self::at(backend, config, BEGIN).unwrap()
    }

    /// A new or existing store at this time; the error says why it does not open.
    pub fn at(backend: Backend, config: StoreConfig, now: u64) -> Result<Self, String> {
        let clock = Arc::new(ManualClock(AtomicU64::new(now)));
        let mut harness = Self { clock, config, backend, open: None };
        harness.try_restart()?;
        Ok(harness)
    }

    /// Drops the store, whatever it is doing, and opens it again.
    pub fn restart(&mut self) {
        self.try_restart().unwrap();
    }

    /// The same; the error says why the store does not open.
    pub fn try_restart(&mut self) -> Result<(), String> {
        // RocksDB must release the directory before it can be opened again.
        self.open = None;
        let engine = self.backend.engine()?;
        let store = BlockTraceStore::open(engine.clone(), self.clock.clone(), self.config.clone())
            .map_err(|error| error.to_string())?;
        self.open = Some(Open { store: Arc::new(store), engine });
        Ok(())
    }

    /// Ends the store as SIGKILL does, and opens the remains.
    pub fn crash(&mut self) {
        self.backend = self.backend.image();
        self.restart();
    }

    /// The store.
    pub fn store(&self) -> &Arc<BlockTraceStore> {
        &self.open.as_ref().unwrap().store
    }

    /// The engine under the store.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.open.as_ref().unwrap().engine
    }

    /// Stores spans as one request.
    pub fn append(&self, spans: &[Sent]) {
        self.append_for(&TenantId::default(), spans);
    }

    /// Stores spans of a tenant as one request.
    pub fn append_for(&self, tenant: &TenantId, spans: &[Sent]) {
        self.store().append(tenant, &[decoded(spans)]).unwrap();
    }

    /// All spans of a trace; it has to be readable.
    pub fn trace(&self, id: TraceId) -> Vec<Sent> {
        self.trace_for(&TenantId::default(), id)
    }

    /// All spans of a tenant's trace.
    pub fn trace_for(&self, tenant: &TenantId, id: TraceId) -> Vec<Sent> {
        let Some(spans) = self.store().trace(tenant, id).unwrap() else { return Vec::new() };
        let damage = spans.damage();
        let found = spans.map(|span| Sent::from_stored(&span.unwrap())).collect();
        assert_eq!(damage.blocks(), 0, "blocks are damaged");
        found
    }

    pub fn search(&self, plan: &SearchPlan) -> SearchAnswer {
        self.store().search(&TenantId::default(), plan).unwrap()
    }

    /// All traces with a span that satisfies `predicate`, newest first.
    pub fn find(&self, predicate: Predicate) -> Vec<TraceSummary> {
        let answer = self.search(&plan(predicate));
        assert!(!answer.partial && answer.next.is_none(), "not everything was found");
        answer.traces
    }

    /// Runs rounds of background work.
    pub fn maintain(&self, rounds: usize) {
        for _ in 0..rounds {
            self.store().maintain();
        }
    }

    /// Runs a check now, after a restart, after a merge, and after another restart.
    pub fn whatever_happens(&mut self, check: impl Fn(&Self)) {
        check(self);
        self.restart();
        check(self);
        self.store().seal_all();
        check(self);
        self.restart();
        check(self);
        // The remaining replaced blocks are deleted here.
        self.clock.advance(HOUR / 60);
        self.maintain(1);
        check(self);
    }
}

/// Small limits, which small tests reach. Replaced blocks have no grace period: so tests notice a block that is deleted
/// too early, and may stop the clock.
pub fn config() -> StoreConfig {
    StoreConfig {
        reserve_bytes: 1 << 20,
        cache_bytes: 8 << 20,
        replaced_grace: Duration::ZERO,
        ..StoreConfig::default()
    }
}

/// A search over all of time for at most 1,000 traces, newest first.
pub fn plan(predicate: Predicate) -> SearchPlan {
    let effort = Effort::default();
    SearchPlan { predicate, range: TimeRange::ALL, order: Order::Newest, limit: 1000, after: None, effort }
}
