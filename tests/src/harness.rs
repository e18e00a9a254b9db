//! A store on some engine, with a clock of its own, that can be shut down and opened again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_rocks::{DataDir, Durability, LockError, RocksEngine};
use spandrel_storage::engine::MemoryEngine;
use spandrel_storage::plan::{Order, Predicate, SearchPlan};
use spandrel_storage::{BlockTraceStore, Clock, Engine, SearchAnswer, StoreConfig, TraceStore, TraceSummary};
use tempfile::TempDir;

use crate::crashing_engine::{CrashPlan, CrashingEngine};
use crate::server::eventually;
use crate::spans::{BEGIN, HOUR, Sent, decoded};

/// A clock that tests move.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

/// Where a store keeps its blocks.
#[derive(Clone)]
pub enum Backend {
    /// In memory: contents are shared by the stores that are opened on it.
    Memory(MemoryEngine),
    /// In a directory.
    Rocks(Arc<TempDir>, Durability),
    /// In a directory that outlives the test, or the process.
    Folder(PathBuf, Durability),
    /// On one of the others, until it crashes.
    Crashing(Box<Backend>, CrashPlan),
    /// On an engine of the test's own.
    Own(Arc<dyn Engine>),
}

/// A store under test.
pub struct Harness {
    /// What the store takes for the time.
    pub clock: Arc<ManualClock>,
    /// What it was opened with.
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
    /// Sets the time; backwards is fine.
    pub fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }

    /// Moves the time on.
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
    /// In memory.
    pub fn memory() -> Self {
        Self::Memory(MemoryEngine::default())
    }

    /// RocksDB in a new directory.
    pub fn rocks() -> Self {
        Self::Rocks(Arc::new(tempfile::tempdir().unwrap()), Durability::Sync)
    }

    /// RocksDB without fsync, where many stores come and go.
    pub fn quick_rocks() -> Self {
        Self::Rocks(Arc::new(tempfile::tempdir().unwrap()), Durability::Os)
    }

    /// Opens the engine, or says why not.
    pub fn engine(&self) -> Result<Arc<dyn Engine>, String> {
        match self {
            Self::Memory(engine) => Ok(Arc::new(engine.clone())),
            Self::Rocks(directory, durability) => rocks(directory.path(), *durability),
            Self::Folder(directory, durability) => rocks(directory, *durability),
            Self::Crashing(backend, plan) => {
                Ok(Arc::new(CrashingEngine::new(backend.engine()?, plan.clone())))
            }
            Self::Own(engine) => Ok(engine.clone()),
        }
    }

    /// The backend as SIGKILL would leave it right now. Opening it does not need the old one closed.
    fn image(&self) -> Self {
        match self {
            Self::Rocks(directory, durability) => {
                let image = tempfile::tempdir().unwrap();
                copy(directory.path(), image.path());
                Self::Rocks(Arc::new(image), *durability)
            }
            Self::Crashing(backend, plan) => Self::Crashing(Box::new(backend.image()), plan.clone()),
            other => other.clone(),
        }
    }
}

/// Copies a folder and all that is in it, as it is at one moment: RocksDB's own threads go on, and
/// what changed meanwhile is copied again.
pub fn copy(from: &Path, to: &Path) {
    eventually("a moment in which nothing changes", || {
        fs::remove_dir_all(to).or_else(absent).unwrap();
        let before = contents(from).ok()?;
        copy_files(from, to).ok()?;
        (contents(from).ok()? == before).then_some(())
    });
}

/// Every file below a folder, with its length and when it changed last.
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
    // A process that another thread starts right now has all our locks for a moment, until it becomes
    // what it will be.
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

    /// An empty store with settings of the test's own.
    pub fn with(backend: Backend, config: StoreConfig) -> Self {
        Self::at(backend, config, BEGIN).unwrap()
    }

    /// A store that may be there already, at this time; or why it does not open.
    pub fn at(backend: Backend, config: StoreConfig, now: u64) -> Result<Self, String> {
        let clock = Arc::new(ManualClock(AtomicU64::new(now)));
        let mut harness = Self { clock, config, backend, open: None };
        harness.try_restart()?;
        Ok(harness)
    }

    /// Shuts the store down, whatever it was doing, and opens it again.
    pub fn restart(&mut self) {
        self.try_restart().unwrap();
    }

    /// The same, where it may be that it does not open.
    pub fn try_restart(&mut self) -> Result<(), String> {
        // RocksDB has to be closed before it can be opened again.
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

    /// What the store stands on.
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

    /// Answers a search.
    pub fn search(&self, plan: &SearchPlan) -> SearchAnswer {
        self.store().search(&TenantId::default(), plan).unwrap()
    }

    /// All traces with a span that satisfies `predicate`, newest first.
    pub fn find(&self, predicate: Predicate) -> Vec<TraceSummary> {
        let answer = self.search(&plan(predicate));
        assert!(!answer.partial && answer.next.is_none(), "not everything was found");
        answer.traces
    }

    /// Rounds of background work.
    pub fn maintain(&self, rounds: usize) {
        for _ in 0..rounds {
            self.store().maintain();
        }
    }

    /// Checks something now, after a restart, after a merge, and after both.
    pub fn whatever_happens(&mut self, check: impl Fn(&Self)) {
        check(self);
        self.restart();
        check(self);
        self.store().seal_all();
        check(self);
        self.restart();
        check(self);
        // Replaced blocks are deleted now, if they were not before.
        self.clock.advance(HOUR / 60);
        self.maintain(1);
        check(self);
    }
}

/// Small bounds, so that small tests meet them. Nothing that was replaced stays for a while: a block that goes too
/// early, while somebody reads it, is missed at once, and clocks may stand still.
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
    SearchPlan { predicate, range: TimeRange::ALL, order: Order::Newest, limit: 1000, after: None }
}
