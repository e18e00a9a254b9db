//! The one implementation of [`TraceStore`], over any [`Engine`].
//!
//! Data flows one way: `append` writes a fresh block and its catalog row in one commit and makes it
//! visible; the merge turns fresh blocks into sealed ones; retention drops windows. A block that left
//! the catalog stays readable until the last reader lets go of it; one that a merge has replaced, for a
//! grace at least (`core/garbage.rs`).

mod backup;
mod core;
mod lifecycle;
mod maintenance;
mod open;
mod query;
mod read;
mod records;
#[cfg(test)]
mod testing;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use spandrel_block::{BlockId, BlockKey, FormatError, Hour};
use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};

pub(crate) use self::backup::{
    carried_kinds, doubt as doubt_backups, remember as remember_backup, remembered as remembered_backups,
};
pub use self::core::config::{Clock, LimitValue, RetentionRule, StoreConfig, SystemClock};
pub(crate) use self::records::{newer as newer_record, unreadable as unreadable_records};

use self::core::block_reader::{BlockEntry, BlockError, BlockReader};
use self::core::garbage::{self, Exit};
use self::core::quarantine::{DamagedBlocks, DamagedRecords};
use self::core::sequences::Sequences;
use self::core::view::TenantState;
use self::core::{ingest_load, trace_cardinality};
use self::lifecycle::{deletion, disk_quota, pins, retention};
use self::maintenance::backoff::Trouble;
use self::query::{aggregate, dependencies, scan, search};
use self::write::merge;
use crate::api::{
    AggregateAnswer, AppendError, Damage, DependencyAnswer, Operation, ReadError, SearchAnswer, StoreStatus,
    TraceScan, TraceSpans, TraceStore,
};
use crate::backup::BackupId;
use crate::cleaning::Cleaning;
use crate::engine::{Change, Engine, EngineError};
use crate::failpoint::{self, Failpoint};
use crate::plan::{AggregatePlan, ScanPlan, SearchPlan};
use crate::safekeeping::Safekeeping;

/// Keeps spans as blocks in an engine.
pub struct BlockTraceStore {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    config: StoreConfig,
    reader: Arc<BlockReader>,
    tenants: RwLock<HashMap<TenantId, Arc<TenantState>>>,
    next_block: AtomicU64,
    sequences: Sequences,
    last_hour: Mutex<Hour>,
    appended_spans: AtomicU64,
    unsealed_spans: AtomicU64,
    /// Bytes of memory that know of fresh blocks.
    unsealed_bytes: AtomicU64,
    last_append: AtomicU64,
    load: ingest_load::Load,
    /// Blocks were written or deleted since space was last given back.
    untidy: AtomicBool,
    merge_trouble: Trouble,
    retention_trouble: Trouble,
    deletion_trouble: Trouble,
    cleaning_trouble: Trouble,
    doomed: garbage::Doomed,
    damaged: Arc<DamagedBlocks>,
    damaged_records: DamagedRecords,
    /// Counts that nobody can tell whose they are, and about when they were.
    lost_counts: Mutex<BTreeMap<String, UnixNanos>>,
    /// Blocks of format 1, which are taken over into today's when there is nothing else to do.
    old_blocks: Mutex<BTreeSet<(TenantId, BlockId)>>,
    backups: backup::Backups,
    /// One round of background work at a time, whichever thread does it.
    maintaining: Mutex<()>,
    /// Whoever takes spans out of blocks, or says which may not go, does so alone.
    cleaning: Mutex<()>,
    pins: pins::Pins,
    retained: retention::Retained,
    limit: disk_quota::Limit,
    deletions: deletion::Deletions,
    poison: RwLock<Option<String>>,
    closed: AtomicBool,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine does not give its catalog.
    #[error("reading the catalog: {0}{advice}", advice = .0.advice())]
    Engine(#[from] EngineError),
    /// What is there is a part of a backup.
    #[error("a restore of backup {0} was not finished; run that `spandrel restore` again to go on")]
    HalfRestored(BackupId),
    /// A block is of a newer format. Setting it aside would be to drop it in the end.
    #[error("block {block} of tenant {tenant}: {error}")]
    Newer {
        /// Whose block.
        tenant: TenantId,
        /// Its number.
        block: u64,
        /// Which format it is of, and what to do.
        error: FormatError,
    },
    /// So is a record beside the blocks.
    #[error("record {0} was written by a newer Spandrel; use that one")]
    NewerRecord(String),
    /// A deletion is under way, and nobody can tell any more of what. Without it, what it deletes would come back.
    #[error(
        "{0}; it says what must not come back, so the store stays closed: \
         restore a backup with `spandrel restore` into a new directory, and delete there what was to be deleted"
    )]
    Deletion(EngineError),
    /// Neither the catalog nor the block itself says what is in a block.
    #[error(
        "{damage}, and the block itself is damaged as well ({error}): nobody knows what is missing without it; stop the \
         server and run `spandrel repair`, which makes a new store without it, or restore a backup into a new directory"
    )]
    Lost {
        /// What is wrong with its row.
        damage: EngineError,
        /// What is wrong with the block.
        error: FormatError,
    },
    /// And so is a row of the catalog.
    #[error("the catalog row of block {0} was written by a newer Spandrel; use that one")]
    NewerRow(u64),
}

/// Of what may wait to be merged, this share in percent is enough to be pressed.
const PRESSED: u64 = 75;
/// Without an append for so long, a store is quiet.
const QUIET: Duration = Duration::from_secs(5);

// === impl OpenError ===

impl OpenError {
    pub(crate) fn newer_block(key: &BlockKey, error: FormatError) -> Self {
        Self::Newer { tenant: key.tenant.clone(), block: key.block.0, error }
    }
}

// === opening and closing ===

impl BlockTraceStore {
    /// Opens a store over an engine: reads the catalog and finds the traces of fresh blocks again.
    pub fn open(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        config: StoreConfig,
    ) -> Result<Self, OpenError> {
        if let Some(backup) = crate::restore::unfinished(&*engine)? {
            return Err(OpenError::HalfRestored(backup));
        }
        if let Some(record) = records::newer(&*engine)? {
            return Err(OpenError::NewerRecord(record));
        }
        let store = Self {
            reader: Arc::new(BlockReader::new(engine.clone(), config.cache_bytes)),
            tenants: RwLock::default(),
            next_block: AtomicU64::new(1),
            sequences: Sequences::default(),
            last_hour: Mutex::new(Hour(0)),
            appended_spans: AtomicU64::new(0),
            unsealed_spans: AtomicU64::new(0),
            unsealed_bytes: AtomicU64::new(0),
            last_append: AtomicU64::new(0),
            load: ingest_load::Load::default(),
            untidy: AtomicBool::new(true),
            merge_trouble: Trouble::default(),
            retention_trouble: Trouble::default(),
            deletion_trouble: Trouble::default(),
            cleaning_trouble: Trouble::default(),
            doomed: garbage::Doomed::default(),
            damaged: Arc::default(),
            damaged_records: DamagedRecords::default(),
            lost_counts: Mutex::default(),
            old_blocks: Mutex::default(),
            backups: backup::Backups::default(),
            maintaining: Mutex::default(),
            cleaning: Mutex::default(),
            pins: pins::Pins::default(),
            retained: retention::Retained::default(),
            limit: disk_quota::Limit::default(),
            deletions: deletion::Deletions::default(),
            poison: RwLock::default(),
            closed: AtomicBool::new(false),
            engine,
            clock,
            config,
        };
        failpoint::reach(Failpoint::OpenBegun);
        for (key, row) in store.engine.read()? {
            let row = store.readable_row(&key, &row)?;
            store.adopt(BlockEntry::new(key, row))?;
        }
        let unreferenced = store.engine.unreferenced()?;
        // Numbers of blocks that are still to be deleted must not be given again.
        unreferenced.iter().for_each(|key| store.see_block(key.block));
        store.take_numbers()?;
        failpoint::reach(Failpoint::OpenAdopted);
        store.engine.delete(&unreferenced)?;
        store.load_pins()?;
        store.load_counts()?;
        store.resume_deletions()?;
        failpoint::reach(Failpoint::OpenTidied);
        Ok(store)
    }

    fn adopt(&self, mut entry: BlockEntry) -> Result<(), OpenError> {
        self.see_block(entry.key.block);
        let meta = &entry.row.meta;
        self.sequences.see(meta.max_sequence);
        self.last_hour.lock().max_assign(entry.key.hour);
        let state = self.tenant_or_new(&entry.key.tenant);
        match self.reader.traces(&entry) {
            Ok(traces) if meta.level == 0 => entry.held = state.add_fresh(entry.key.block, &traces),
            Ok(traces) => {
                let mut counter = state.traces.lock();
                traces.entries().iter().for_each(|(trace, _)| counter.add(*trace));
            }
            Err(BlockError::Format(error @ FormatError::Version(_))) => {
                return Err(OpenError::newer_block(&entry.key, error));
            }
            Err(error) => {
                self.report_damage(&entry, &error, &Damage::default());
                if meta.level == 0 {
                    state.unindexed.lock().push(entry.key.block);
                }
            }
        }
        if meta.level == 0 {
            self.waits(&entry);
        } else if self.reader.is_old(&entry).unwrap_or(false) {
            self.old_blocks.lock().insert((entry.key.tenant.clone(), entry.key.block));
        }
        state.change([Arc::new(entry)], &[]);
        Ok(())
    }

    fn see_block(&self, block: BlockId) {
        self.next_block.fetch_max(block.0 + 1, Ordering::Relaxed);
    }

    /// Takes no more writes and writes out what is buffered.
    pub fn close(&self) -> Result<(), EngineError> {
        self.closed.store(true, Ordering::Relaxed);
        failpoint::reach(Failpoint::CloseBegun);
        self.engine.flush()
    }

    /// The limits that this store obeys.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }
}

// === background work ===

impl BlockTraceStore {
    /// One round of background work: merge what is due, drop what is too old, delete what nobody
    /// reads any more and has no grace. Returns whether a merge took place, so that the caller comes back at once.
    pub fn maintain(&self) -> bool {
        self.maintain_with(false)
    }

    /// The same for a thread that gives way to whoever is served: while so much waits to be merged that senders will
    /// be sent away, all of it is left to [`Self::catch_up`].
    pub fn maintain_at_leisure(&self) -> bool {
        !self.is_pressed() && self.maintain_with(false)
    }

    /// The same for a thread that gives way to nobody, while there is need of it.
    pub fn catch_up(&self) -> bool {
        self.is_pressed() && self.maintain_with(false)
    }

    /// Merges all fresh blocks, due or not, until none is left.
    pub fn seal_all(&self) {
        while self.maintain_with(true) {}
    }

    fn maintain_with(&self, everything: bool) -> bool {
        let _one_round = self.maintaining.lock();
        if self.poison.read().is_some() {
            return false;
        }
        let tenants: Vec<TenantId> = self.tenants.read().keys().cloned().collect();
        let mut merged = false;
        for tenant in &tenants {
            if everything || self.merge_trouble.is_over(self.clock.now()) {
                let result = merge::merge_once(self, tenant, everything);
                merged |= *result.as_ref().unwrap_or(&false);
                let failed =
                    self.merge_trouble.note(result, self.clock.now(), "a merge failed; its blocks stay");
                metrics::counter!("spandrel_store_merge_failures_total").increment(u64::from(failed));
            }
            let result = retention::drop_expired(self, tenant);
            self.retention_trouble.note(result, self.clock.now(), "retention failed");
        }
        let result = disk_quota::enforce(self);
        merged |= *result.as_ref().unwrap_or(&false);
        self.retention_trouble.note(result, self.clock.now(), "keeping to the bound of the disk failed");
        // While what failed rests, a round without trouble does not mean that it works again.
        let rests = self.doomed.any_failed() && !self.deletion_trouble.is_over(self.clock.now());
        let result = self.delete_unread().and_then(|()| self.tidy_when_quiet());
        if !rests || result.is_err() {
            self.deletion_trouble.note(result, self.clock.now(), "deleting replaced blocks failed");
        }
        if everything || self.cleaning_trouble.is_over(self.clock.now()) {
            let result = self.continue_deletions();
            merged |= *result.as_ref().unwrap_or(&false);
            self.cleaning_trouble.note(result, self.clock.now(), "a deletion failed");
        }
        merged
    }

    /// Once nothing was written for a while, buffers are written out and space is given back.
    fn tidy_when_quiet(&self) -> Result<(), EngineError> {
        let last = UnixNanos(self.last_append.load(Ordering::Relaxed));
        let quiet = self.unsealed_spans.load(Ordering::Relaxed) == 0
            && self.doomed.is_empty()
            && last < self.clock.now().minus(QUIET);
        if quiet && self.untidy.swap(false, Ordering::Relaxed) {
            self.engine.reclaim(true)?;
        }
        Ok(())
    }

    /// Counts a fresh block among what waits to be merged.
    fn waits(&self, fresh: &BlockEntry) {
        self.unsealed_spans.fetch_add(u64::from(fresh.row.meta.spans), Ordering::Relaxed);
        self.unsealed_bytes.fetch_add(fresh.held, Ordering::Relaxed);
    }

    /// Whether senders will be sent away soon, unless merges take place.
    fn is_pressed(&self) -> bool {
        self.share_waiting() >= PRESSED
    }

    /// What waits to be merged, as a share of what may wait, in percent.
    fn share_waiting(&self) -> u64 {
        let StoreConfig { max_unsealed_spans, max_unsealed_bytes, .. } = self.config;
        let share = |waiting: &AtomicU64, most: u64| {
            waiting.load(Ordering::Relaxed).saturating_mul(100) / most.max(1)
        };
        share(&self.unsealed_spans, max_unsealed_spans).max(share(&self.unsealed_bytes, max_unsealed_bytes))
    }

    /// Puts new blocks in the place of old ones, after the engine has.
    fn replace(&self, tenant: &TenantId, new: Vec<Arc<BlockEntry>>, old: &[Arc<BlockEntry>], exit: Exit) {
        let Some(state) = self.tenant(tenant) else { return };
        let removes: Vec<BlockId> = old.iter().map(|entry| entry.key.block).collect();
        state.change(new, &removes);
        for entry in old.iter().filter(|entry| entry.row.meta.level == 0) {
            self.unsealed_spans.fetch_sub(u64::from(entry.row.meta.spans), Ordering::Relaxed);
            self.unsealed_bytes.fetch_sub(entry.held, Ordering::Relaxed);
        }
        self.doomed.take(old, exit, self.clock.now());
    }

    fn recount_traces(&self, state: &TenantState) {
        let mut counter = trace_cardinality::TraceCounter::default();
        for entry in state.view().iter() {
            if let Ok(traces) = self.reader.traces(entry) {
                traces.entries().iter().for_each(|(trace, _)| counter.add(*trace));
            }
        }
        *state.traces.lock() = counter;
    }
}

// === what all of them need ===

impl BlockTraceStore {
    fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantState>> {
        self.tenants.read().get(tenant).cloned()
    }

    fn tenant_or_new(&self, tenant: &TenantId) -> Arc<TenantState> {
        match self.tenant(tenant) {
            Some(state) => state,
            None => self.tenants.write().entry(tenant.clone()).or_default().clone(),
        }
    }

    fn next_block_id(&self) -> BlockId {
        BlockId(self.next_block.fetch_add(1, Ordering::Relaxed))
    }

    /// The one way to the engine's commit. What a failed write was about is uncertain, and a lost sync
    /// is never tried again: nothing more is written until a restart.
    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        let result = self.engine.commit(change);
        if let Err(EngineError::NoSpace(_)) = &result {
            self.doomed.hurry();
        }
        if let Err(error @ (EngineError::Io(_) | EngineError::Damaged(_) | EngineError::NotFound(_))) =
            &result
        {
            let reason = format!("{error}{}", error.advice());
            tracing::error!(error = %reason, "a write failed; the store takes no more writes until a restart");
            *self.poison.write() = Some(reason);
        }
        result
    }

    fn report_damage(&self, entry: &BlockEntry, error: &BlockError, damage: &Damage) {
        self.damaged.report(entry, error, damage);
    }

    fn is_damaged(&self, entry: &BlockEntry) -> bool {
        self.damaged.contains(entry.key.block)
    }
}

impl TraceStore for BlockTraceStore {
    fn cleaning(&self) -> Option<&dyn Cleaning> {
        Some(self)
    }

    fn safekeeping(&self) -> Option<&dyn Safekeeping> {
        Some(self)
    }

    fn append(&self, tenant: &TenantId, requests: &[Decoded]) -> Result<(), AppendError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let began = self.clock.now();
        let commit = self.sequences.begin();
        self.store_batch(tenant, requests, commit.number)?;
        commit.make_visible();
        self.load.spent(self.clock.now().since(began));
        failpoint::reach(Failpoint::AppendVisible);
        Ok(())
    }

    fn trace(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let Some(state) = self.tenant(tenant) else { return Ok(None) };
        let view = state.view();
        let parts = self.parts(tenant, &state, &view, id);
        if parts.is_empty() {
            return Ok(None);
        }
        let stored = parts.iter().map(|(_, rows)| u64::from(rows.rows)).sum();
        let damage = Damage::default();
        let rows = self.merged_parts(&state, &view, id, parts, &damage);
        let spans = rows.map(|row| Ok(row.into_stored()));
        Ok(Some(TraceSpans { stored, spans: Box::new(spans), damage }))
    }

    fn search(&self, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        search::search(self, tenant, plan)
    }

    fn scan(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        Ok(scan::scan(self, tenant, plan))
    }

    fn aggregate(&self, tenant: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        aggregate::aggregate(self, tenant, plan)
    }

    fn dependencies(&self, tenant: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError> {
        dependencies::dependencies(self, tenant, range)
    }

    fn services(&self, tenant: &TenantId) -> Vec<String> {
        self.tenant(tenant).map(|state| state.view().services()).unwrap_or_default()
    }

    fn operations(&self, tenant: &TenantId, service: &str) -> Vec<Operation> {
        self.tenant(tenant).map(|state| state.view().operations(service)).unwrap_or_default()
    }

    fn status(&self) -> StoreStatus {
        let mut status = StoreStatus {
            store_bytes: self.engine.stored_bytes(),
            appended_spans: self.appended_spans.load(Ordering::Relaxed),
            damaged_blocks: self.damaged.count(),
            log_was_cut: self.engine.log_was_cut(),
            damaged_records: self.damaged_records.count(),
            ..StoreStatus::default()
        };
        let states: Vec<_> = self.tenants.read().values().cloned().collect();
        for state in states {
            status.trace_count += state.traces.lock().count();
            for meta in state.view().iter().map(|entry| &entry.row.meta) {
                status.span_count += u64::from(meta.spans);
                if meta.level == 0 {
                    status.fresh_block_count += 1;
                    status.unsealed_span_count += u64::from(meta.spans);
                }
                status.oldest =
                    Some(status.oldest.map_or(meta.min_start, |oldest| oldest.min(meta.min_start)));
                status.newest = status.newest.max(Some(meta.max_start));
            }
        }
        status
    }

    fn refusal(&self) -> Option<AppendError> {
        if self.closed.load(Ordering::Relaxed) {
            return Some(AppendError::Closed);
        }
        if let Some(reason) = &*self.poison.read() {
            return Some(AppendError::Poisoned(reason.clone()));
        }
        if let Some(free) = self.short_of_room() {
            return Some(AppendError::DiskFull { free, needed: self.config.reserve_bytes });
        }
        if let needed @ 1.. = self.limit.excess(self.arrival_hour()) {
            return Some(AppendError::DiskFull { free: 0, needed });
        }
        let unsealed_spans = self.unsealed_spans.load(Ordering::Relaxed);
        (self.share_waiting() >= 100).then_some(AppendError::Overloaded { unsealed_spans })
    }
}

/// Raises a value to another.
trait MaxAssign: Ord + Copy {
    fn max_assign(&mut self, other: Self) {
        *self = (*self).max(other);
    }
}

impl MaxAssign for Hour {}
