//! [`Engine`] on RocksDB.

mod inspect;
mod purge;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rocksdb::{
    BoundColumnFamily, DBAccess, DBPinnableSlice, DBRawIteratorWithThreadMode, Direction, IteratorMode,
    ReadOptions, WriteBatch, WriteOptions,
};
use spandrel_block::record;
use spandrel_block::{BlockId, BlockKey, KeyError, RowRange, TraceKey};
use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::encryption::block_bytes;
use spandrel_storage::engine::{BlockStore, Catalog, Change, Engine, EngineError, PurgeProgress, TraceIndex};
use spandrel_storage::failpoint::{self, Failpoint};

use crate::data_dir::DataDir;
use crate::database::{Database, failure, family};
use crate::error::RocksOpenError;
use crate::layout::{Layout, LayoutState};
use crate::live_blocks::LiveBlocks;
use crate::options::{ALL, CATALOG, FRESH, INDEX, REPLACED, SEALED};
use crate::recovery::{self, Opened};
use crate::wal_marker::WalMarker;

/// The failures that a write survives once `commit` has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Power loss and SIGKILL: the log is fsynced.
    Sync,
    /// SIGKILL: the log is written, but not fsynced.
    Os,
    /// Neither: there is no log.
    None,
}

pub(crate) use self::inspect::{block_of_page, hex, pages_of, record_of};

/// Blocks, catalog and index in one RocksDB.
pub struct RocksEngine {
    db: Database,
    data_dir: Arc<DataDir>,
    durability: Durability,
    wal_truncated: bool,
    marker: WalMarker,
    live_blocks: LiveBlocks,
    /// Commits that remove rows check first that the rows exist, so these commits run one at a time.
    removing: Mutex<()>,
    dead_bytes: AtomicU64,
    purge: Mutex<purge::Purge>,
}

/// Bytes of a block in one value.
pub(crate) const PAGE: u64 = 64 << 10;
/// After this many deleted bytes, a flush and a compaction of keys are worth their cost.
const DEAD_BYTES: u64 = 64 << 20;
/// The name of the index family in errors.
const INDEX_TABLE: &str = "trace index";
/// Rows of the index that are stepped over rather than searched past.
const NEAR: usize = 16;
/// The version of the rows of replaced blocks, which hold the number of pages of the block.
const REPLACED_VERSION: u8 = 1;

// === impl RocksEngine ===

impl RocksEngine {
    /// Opens the store in a directory that this process has locked.
    pub fn open(data_dir: DataDir, durability: Durability) -> Result<Self, RocksOpenError> {
        let layout = Layout(data_dir.directory());
        if layout.has_damaged_store() {
            tracing::warn!(
                folder = %layout.damaged().display(),
                "the damaged store of a repair is still there: it takes room, and holds also what is deleted from now on"
            );
        }
        match layout.state() {
            LayoutState::Plain => {}
            LayoutState::RepairIncomplete => tracing::warn!(
                folder = %layout.repaired().display(),
                "an interrupted repair has left half of a store, which is not used; repair again, or remove it"
            ),
            // The repaired store is complete (`layout.rs`). Unless it is renamed, a new, empty store would be created.
            LayoutState::SwapPending => {
                let path = data_dir.directory().to_owned();
                layout.finish_swap().map_err(|error| RocksOpenError::Swap { path, error })?;
                tracing::info!("a repair was interrupted at its end, and is finished");
            }
            LayoutState::StoreMissing => return Err(RocksOpenError::incomplete_repair(layout)),
        }
        Self::open_in(&layout.in_use(), Arc::new(data_dir), durability)
    }

    /// Opens a store in any folder of a directory.
    pub(crate) fn open_in(
        path: &Path,
        data_dir: Arc<DataDir>,
        durability: Durability,
    ) -> Result<Self, RocksOpenError> {
        let live = LiveBlocks::default();
        let Opened { db, marker, wal_truncated } = recovery::open(path, &data_dir, &live)?;
        data_dir
            .sync_entries()
            .map_err(|error| EngineError::io(format!("syncing {}: {error}", path.display())))?;
        let engine = Self {
            db,
            data_dir,
            durability,
            wal_truncated,
            marker,
            live_blocks: live,
            removing: Mutex::default(),
            dead_bytes: AtomicU64::new(0),
            purge: Mutex::default(),
        };
        engine.live_blocks.initialise(engine.catalog_rows()?.into_iter().map(|(key, _)| key.block));
        Ok(engine)
    }

    /// Whether there is a store in a data directory.
    pub fn exists(data_dir: &Path) -> bool {
        Layout(data_dir).has_store()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>, EngineError> {
        family(&self.db, name)
    }

    fn write_options(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        match self.durability {
            Durability::Sync => options.set_sync(true),
            Durability::Os => options.set_sync(false),
            Durability::None => options.disable_wal(true),
        }
        options
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        let started = std::time::Instant::now();
        let result = self.db.write_opt(batch, &self.write_options()).map_err(failure);
        metrics::histogram!("spandrel_store_fsync_seconds").record(started.elapsed().as_secs_f64());
        if let Err(EngineError::NoSpace(_)) = result {
            self.data_dir.release_reserve();
        }
        result?;
        self.marker.keep(&self.db).unwrap_or_else(|error| {
            tracing::warn!(%error, "the newest log file cannot be marked: if it gets lost, the store may open without it");
        });
        Ok(())
    }

    /// Stages the removal of catalog rows, which have to exist, and adds a row for each replaced block.
    fn stage_removes(&self, batch: &mut WriteBatch, change: &Change) -> Result<(), EngineError> {
        let (catalog, replaced) = (self.family(CATALOG)?, self.family(REPLACED)?);
        for block in &change.removes {
            let key = change.key(*block).encode();
            let row = self.db.get_cf(&catalog, &key).map_err(failure)?.ok_or(EngineError::Conflict)?;
            batch.delete_cf(&catalog, &key);
            let pages = match block_bytes(&row) {
                Some(bytes) => bytes.div_ceil(PAGE) as u32,
                None => pages_of(&self.db, &change.key(*block))?,
            };
            let pages = record::encode(REPLACED_VERSION, &pages);
            batch.put_cf(&replaced, &key, pages?);
        }
        Ok(())
    }

    fn stage_adds(&self, batch: &mut WriteBatch, change: &Change) -> Result<(), EngineError> {
        let (catalog, index) = (self.family(CATALOG)?, self.family(INDEX)?);
        for block in &change.adds {
            let key = change.key(block.id);
            let pages = self.family(if block.short_lived { FRESH } else { SEALED })?;
            for (page, bytes) in block.bytes.chunks(PAGE as usize).enumerate() {
                batch.put_cf(&pages, key.encode_page(page as u32), bytes);
            }
            batch.put_cf(&catalog, key.encode(), &block.row);
            for (trace, rows) in &block.index {
                let (tenant, hour) = (change.tenant.clone(), change.hour);
                let key = TraceKey { tenant, trace: *trace, hour, block: block.id };
                batch.put_cf(&index, key.encode(), rows.encode());
            }
        }
        Ok(())
    }

    /// Stages the deletion of a block of unknown length.
    fn stage_whole(&self, batch: &mut WriteBatch, key: &BlockKey) -> Result<(), EngineError> {
        for family in [FRESH, SEALED] {
            batch.delete_range_cf(&self.family(family)?, key.encode_page(0), key.encode_page(u32::MAX));
        }
        Ok(())
    }

    /// A page of a block, from the family that contains it.
    fn page(&self, key: &BlockKey, page: u32) -> Result<Option<DBPinnableSlice<'_>>, EngineError> {
        let encoded = key.encode_page(page);
        for family in [SEALED, FRESH] {
            let found = self.db.get_pinned_cf(&self.family(family)?, &encoded).map_err(failure)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn read_range(&self, key: &BlockKey, range: &Range<u64>) -> Result<Bytes, EngineError> {
        let mut out = BytesMut::with_capacity(range.end.saturating_sub(range.start) as usize);
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            let begin = page * PAGE;
            let found = self.page(key, page as u32)?;
            let Some(bytes) = found else { return Err(EngineError::NotFound(key.clone())) };
            let clamp = |at: u64| (at.saturating_sub(begin) as usize).min(bytes.len());
            out.extend_from_slice(&bytes[clamp(range.start)..clamp(range.end)]);
        }
        Ok(out.freeze())
    }

    /// Flushes memtables and compacts keys, so that RocksDB drops blob files without a live page.
    fn drop_dead_files(&self) -> Result<(), EngineError> {
        self.dead_bytes.store(0, Ordering::Relaxed);
        for name in [FRESH, SEALED] {
            let family = self.family(name)?;
            self.db.flush_cf(&family).map_err(failure)?;
            self.db.compact_range_cf(&family, None::<&[u8]>, None::<&[u8]>);
            failpoint::reach(Failpoint::FilesDropped);
        }
        Ok(())
    }
}

impl Drop for RocksEngine {
    /// Closing RocksDB waits for its recovery from a full disk, which may wait for a flush that no thread starts any
    /// more. If background work is cancelled first, the recovery gives up.
    fn drop(&mut self) {
        self.db.cancel_all_background_work(false);
    }
}

impl Engine for RocksEngine {
    fn free_bytes(&self) -> Option<u64> {
        self.data_dir.free_bytes()
    }

    fn stored_bytes(&self) -> u64 {
        self.data_dir.stored_bytes()
    }

    fn wal_truncated(&self) -> bool {
        self.wal_truncated
    }

    fn keeps_damaged_store(&self) -> bool {
        Layout(self.data_dir.directory()).has_damaged_store()
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        self.data_dir.keep_reserve();
        if self.dead_bytes.load(Ordering::Relaxed) >= DEAD_BYTES {
            self.drop_dead_files()?;
        }
        Ok(())
    }

    fn compact(&self) -> Result<(), EngineError> {
        self.data_dir.keep_reserve();
        self.flush()?;
        self.drop_dead_files()
    }

    fn flush(&self) -> Result<(), EngineError> {
        // Flushes all families, because one with unflushed records would keep all later log files.
        for name in ALL {
            self.db.flush_cf(&self.family(name)?).map_err(failure)?;
            failpoint::reach(Failpoint::Flushed);
        }
        Ok(())
    }

    fn begin_purge(&self) -> Result<(), EngineError> {
        let mut purge = self.purge.lock();
        *purge = self.new_purge()?;
        failpoint::reach(Failpoint::PurgeBegun);
        Ok(())
    }

    fn continue_purge(&self) -> Result<PurgeProgress, EngineError> {
        self.move_one_window(&mut self.purge.lock())
    }
}

impl BlockStore for RocksEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        ranges.iter().map(|range| self.read_range(key, range)).collect()
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        let replaced = self.family(REPLACED)?;
        let (mut batch, mut dead_bytes) = (WriteBatch::default(), 0);
        for key in keys {
            let encoded = key.encode();
            let pages = self.db.get_cf(&replaced, &encoded).map_err(failure)?;
            let Some(pages) = pages else { continue };
            let pages = match record::decode::<u32>(REPLACED_VERSION, &pages) {
                Ok(pages) => pages,
                Err(error) => {
                    tracing::error!(block = ?key, %error, "the length of a replaced block is damaged; its whole key range is deleted");
                    self.stage_whole(&mut batch, key)?;
                    0
                }
            };
            for page in 0..pages {
                // A page is in one of the two families. Deleting an absent key costs little.
                batch.delete_cf(&self.family(FRESH)?, key.encode_page(page));
                batch.delete_cf(&self.family(SEALED)?, key.encode_page(page));
            }
            batch.delete_cf(&replaced, &encoded);
            dead_bytes += u64::from(pages) * PAGE;
        }
        failpoint::reach(Failpoint::DeleteStaged);
        self.write(batch)?;
        self.dead_bytes.fetch_add(dead_bytes, Ordering::Relaxed);
        failpoint::reach(Failpoint::DeleteWritten);
        Ok(())
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        let mut keys = Vec::new();
        for row in self.db.iterator_cf(&self.family(REPLACED)?, IteratorMode::Start) {
            let (key, _) = row.map_err(failure)?;
            keys.push(
                BlockKey::decode(&key)
                    .map_err(|error| EngineError::damaged_row(REPLACED, hex(&key), error))?,
            );
        }
        Ok(keys)
    }
}

impl Catalog for RocksEngine {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        let mut rows = Vec::new();
        for row in self.db.iterator_cf(&self.family(CATALOG)?, IteratorMode::Start) {
            let (key, value) = row.map_err(failure)?;
            let key = BlockKey::decode(&key)
                .map_err(|error| EngineError::damaged_row(CATALOG, hex(&key), error))?;
            rows.push((key, value.into_vec()));
        }
        Ok(rows)
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        self.stage_adds(&mut batch, change)?;
        let added: Vec<BlockId> = change.adds.iter().map(|block| block.id).collect();
        // Added before the rows are written, so that no compaction removes the new index rows as stale.
        self.live_blocks.add(&added);
        failpoint::reach(Failpoint::CommitStaged);
        let result = if change.removes.is_empty() {
            self.write(batch)
        } else {
            let _one_by_one = self.removing.lock();
            self.stage_removes(&mut batch, change).and_then(|()| self.write(batch))
        };
        failpoint::reach(Failpoint::CommitWritten);
        let gone = if result.is_ok() { &change.removes } else { &added };
        self.live_blocks.remove(gone);
        result
    }

    /// One write and one sync for all of them.
    fn commit_adds(&self, changes: &[Change]) -> Vec<Result<(), EngineError>> {
        let mut batch = WriteBatch::default();
        let staged = changes.iter().try_for_each(|change| self.stage_adds(&mut batch, change));
        let added: Vec<BlockId> =
            changes.iter().flat_map(|change| &change.adds).map(|block| block.id).collect();
        self.live_blocks.add(&added);
        failpoint::reach(Failpoint::CommitStaged);
        let result = staged.and_then(|()| self.write(batch));
        failpoint::reach(Failpoint::CommitWritten);
        if result.is_err() {
            self.live_blocks.remove(&added);
        }
        vec![result; changes.len()]
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.family(CATALOG)?, key.encode(), row);
        self.write(batch)
    }
}

impl TraceIndex for RocksEngine {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        let prefix = TraceKey::prefix(tenant, trace);
        let mut read = ReadOptions::default();
        if let Some(end) = successor(&prefix) {
            read.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(&prefix, Direction::Forward);
        let mut found = Vec::new();
        for row in self.db.iterator_cf_opt(&self.family(INDEX)?, read, mode) {
            let (key, value) = row.map_err(failure)?;
            let damaged =
                |error: KeyError| EngineError::damaged_row(INDEX_TABLE, format!("trace {trace}"), error);
            found.push((
                TraceKey::decode(&key).map_err(damaged)?.block,
                RowRange::decode(&value).map_err(damaged)?,
            ));
        }
        Ok(found)
    }

    fn find_traces(
        &self,
        tenant: &TenantId,
        traces: &[TraceId],
    ) -> Result<Vec<(usize, BlockId, RowRange)>, EngineError> {
        // Steps from trace to trace leave the prefix of a trace.
        let mut read = ReadOptions::default();
        read.set_total_order_seek(true);
        let mut rows = self.db.raw_iterator_cf_opt(&self.family(INDEX)?, read);
        let mut found = Vec::with_capacity(traces.len());
        for (at, trace) in traces.iter().enumerate() {
            let prefix = TraceKey::prefix(tenant, *trace);
            step_to(&mut rows, &prefix, at > 0);
            while let Some((key, value)) = rows.item()
                && key.starts_with(&prefix)
            {
                let damaged =
                    |error: KeyError| EngineError::damaged_row(INDEX_TABLE, format!("trace {trace}"), error);
                let (key, value) = (TraceKey::decode(key), RowRange::decode(value));
                found.push((at, key.map_err(damaged)?.block, value.map_err(damaged)?));
                rows.next();
            }
            rows.status().map_err(failure)?;
        }
        Ok(found)
    }
}

/// Moves an iterator to the first key that is not before `key`. Steps cost less than a search if it is near already.
fn step_to<D: DBAccess>(rows: &mut DBRawIteratorWithThreadMode<'_, D>, key: &[u8], is_positioned: bool) {
    for _ in 0..if is_positioned { NEAR } else { 0 } {
        match rows.key() {
            Some(here) if here < key => rows.next(),
            _ => return,
        }
    }
    if rows.key().is_none_or(|here| here < key) && (rows.valid() || !is_positioned) {
        rows.seek(key);
    }
}

/// The first key behind all keys with a prefix.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
