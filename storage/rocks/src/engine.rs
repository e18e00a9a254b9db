//! [`Engine`] on RocksDB.

mod inspect;
mod purge;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rocksdb::{
    BoundColumnFamily, DBPinnableSlice, Direction, ErrorKind, IteratorMode, ReadOptions, WriteBatch,
    WriteOptions,
};
use spandrel_block::record::{self, RecordError};
use spandrel_block::{BlockId, BlockKey, CatalogRow, RowRange, TraceKey};
use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::engine::{BlockStore, Catalog, Change, Engine, EngineError, TraceIndex};
use spandrel_storage::failpoint::{self, Failpoint};

use crate::disk::Disk;
use crate::folders::{Folders, State};
use crate::live::LiveBlocks;
use crate::mark::LogMark;
use crate::options::{ALL, CATALOG, FRESH, INDEX, REPLACED, SEALED};
use crate::recovery::{self, Opened};

/// What survives when `commit` has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Power loss and SIGKILL: the log is fsynced.
    Sync,
    /// SIGKILL: the log is with the operating system.
    Os,
    /// Neither: there is no log.
    None,
}

pub(crate) use self::inspect::{block_of_page, pages_of, record_of};

pub(crate) type Database = rocksdb::DBWithThreadMode<rocksdb::MultiThreaded>;

/// Blocks, catalog and index in one RocksDB.
pub struct RocksEngine {
    db: Database,
    disk: Arc<Disk>,
    durability: Durability,
    log_was_cut: bool,
    mark: LogMark,
    live: LiveBlocks,
    /// Commits that remove rows check them first, and so go one by one.
    removing: Mutex<()>,
    dead_bytes: AtomicU64,
    purge: Mutex<purge::Purge>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB does not open.
    #[error("cannot open the store in {path}: {error}")]
    Rocks {
        /// Where.
        path: PathBuf,
        /// Why.
        error: rocksdb::Error,
    },
    /// The folder does not say what is in it.
    #[error("the files of the store in {path} cannot be listed: {error}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is damaged or gone.
    #[error(
        "the store in {path} is damaged ({error}); put back the file if it is elsewhere, or run `spandrel repair`, \
         which puts all that can be read into a new store, or restore a backup into another directory"
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        error: rocksdb::Error,
    },
    /// So much is damaged or gone that nothing can be read.
    #[error(
        "the store in {path} cannot be read ({error}); put back the file if it is elsewhere, or restore a backup \
         into another directory"
    )]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        error: rocksdb::Error,
    },
    /// A table is damaged or gone, and a log or the end of the manifest as well.
    #[error(
        "the store in {path} is damaged ({error}), and so is its write-ahead log or its manifest: nobody can tell what \
         they would have changed, and what was deleted could come back; restore a backup into another directory"
    )]
    LogAsWell {
        /// Where.
        path: PathBuf,
        /// What else is wrong.
        error: rocksdb::Error,
    },
    /// The log is gone, or the newest of its files.
    #[error(
        "the store in {path} has lost its write-ahead log ({missing}), and with it the spans that were acknowledged \
         last; put it back, or restore a backup into another directory. To go on without what it held, put an \
         empty file 000000.log there"
    )]
    Logless {
        /// Where.
        path: PathBuf,
        /// The file, or all of them.
        missing: String,
    },
    /// There are data, and nothing that leads to them.
    #[error(
        "the store in {path} has lost its file CURRENT, and with it what its other files are; put that file \
         back, or restore a backup into another directory"
    )]
    Headless {
        /// Where.
        path: PathBuf,
    },
    /// A repair was interrupted, and cannot be ended.
    #[error(
        "{path} holds a repaired store that cannot be put at its place: {error}; see to that and start again"
    )]
    Swap {
        /// The data directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is half of a store that a repair was making, and not the one that it was to be made of.
    #[error(
        "there is no store in {path}, but half of one that an interrupted repair has left in {repaired}. If the \
         damaged store was moved away, put it back as {store} and repair again; to begin with an empty store, remove \
         {repaired}"
    )]
    Doubtful {
        /// The data directory.
        path: PathBuf,
        /// What there is.
        repaired: PathBuf,
        /// What is missing.
        store: PathBuf,
    },
    /// Log files were given up, and something else is damaged.
    #[error(
        "log files of the store in {path} were given up (000000.log): start the server once, which goes on without \
         them. If it does not open, nobody can tell what they would have changed, and what was deleted could come \
         back: restore a backup into another directory"
    )]
    LogGivenUp {
        /// Where.
        path: PathBuf,
    },
    /// The disk is too full to open it.
    #[error("cannot open the store in {path}: the disk is full; free some space and start again ({error})")]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What did not fit.
        error: rocksdb::Error,
    },
    /// The catalog cannot be read.
    #[error("{0}{advice}", advice = .0.advice())]
    Engine(#[from] EngineError),
}

/// Bytes of a block in one value.
pub(crate) const PAGE: u64 = 64 << 10;
/// Deleted bytes that are worth a flush and a compaction of keys.
const DEAD_BYTES: u64 = 64 << 20;
/// Of the rows of replaced blocks: the number of their pages.
const REPLACED_VERSION: u8 = 1;

// === impl RocksEngine ===

impl RocksEngine {
    /// Opens the store in a directory that this process has locked.
    pub fn open(disk: Disk, durability: Durability) -> Result<Self, OpenError> {
        let folders = Folders(disk.directory());
        if folders.keep_a_damaged_one() {
            tracing::warn!(
                folder = %folders.damaged().display(),
                "the damaged store of a repair is still there: it takes room, and holds also what is deleted from now on"
            );
        }
        match folders.state() {
            State::Plain => {}
            State::HalfMade => tracing::warn!(
                folder = %folders.repaired().display(),
                "an interrupted repair has left half of a store, which is not used; repair again, or remove it"
            ),
            // It is complete, as a file in it says (`folders.rs`). Without it, a new and empty store would be made.
            State::HalfSwapped => {
                let path = disk.directory().to_owned();
                folders.finish_swap().map_err(|error| OpenError::Swap { path, error })?;
                tracing::info!("a repair was interrupted at its end, and is finished");
            }
            State::Doubtful => return Err(OpenError::doubtful(folders)),
        }
        Self::open_in(&folders.in_use(), Arc::new(disk), durability)
    }

    /// Opens a store in any folder of a directory.
    pub(crate) fn open_in(path: &Path, disk: Arc<Disk>, durability: Durability) -> Result<Self, OpenError> {
        let live = LiveBlocks::default();
        let Opened { db, mark, log_was_cut } = recovery::open(path, &disk, &live)?;
        disk.sync_entries()
            .map_err(|error| EngineError::Io(format!("syncing {}: {error}", path.display())))?;
        let engine = Self {
            db,
            disk,
            durability,
            log_was_cut,
            mark,
            live,
            removing: Mutex::default(),
            dead_bytes: AtomicU64::new(0),
            purge: Mutex::default(),
        };
        engine.live.know(engine.read()?.into_iter().map(|(key, _)| key.block));
        Ok(engine)
    }

    /// Whether there is a store in a data directory.
    pub fn exists(data_dir: &Path) -> bool {
        Folders(data_dir).have_a_store()
    }

    /// The data directory.
    pub fn disk(&self) -> &Disk {
        &self.disk
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
            self.disk.release_reserve();
        }
        result?;
        self.mark.keep(&self.db).unwrap_or_else(|error| {
            tracing::warn!(%error, "which log is the newest cannot be noted; should it get lost, nobody may notice");
        });
        Ok(())
    }

    /// Checks that removed rows are there and turns them into replaced blocks.
    fn stage_removes(&self, batch: &mut WriteBatch, change: &Change) -> Result<(), EngineError> {
        let (catalog, replaced) = (self.family(CATALOG)?, self.family(REPLACED)?);
        for block in &change.removes {
            let key = change.key(*block).encode();
            let row = self.db.get_cf(&catalog, &key).map_err(failure)?.ok_or(EngineError::Conflict)?;
            batch.delete_cf(&catalog, &key);
            let pages = match CatalogRow::decode(&row) {
                Ok(row) => row.bytes.div_ceil(PAGE) as u32,
                Err(_) => pages_of(&self.db, &change.key(*block))?,
            };
            let pages = record::encode(REPLACED_VERSION, &pages);
            batch.put_cf(&replaced, &key, pages.map_err(damaged)?);
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

    /// Deletes a block of any length.
    fn stage_whole(&self, batch: &mut WriteBatch, key: &BlockKey) -> Result<(), EngineError> {
        for family in [FRESH, SEALED] {
            batch.delete_range_cf(&self.family(family)?, key.encode_page(0), key.encode_page(u32::MAX));
        }
        Ok(())
    }

    /// A page of a block, in whichever family it is.
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

    /// Writes out memtables and merges keys, so that blob files without a live page go.
    fn drop_dead_files(&self) -> Result<(), EngineError> {
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
    /// Closing RocksDB waits for its recovery from a full disk, which may wait for a flush that nobody
    /// begins any more. Told of the shutdown first, the recovery gives up.
    fn drop(&mut self) {
        self.db.cancel_all_background_work(false);
    }
}

// === impl OpenError ===

impl OpenError {
    pub(crate) fn doubtful(folders: Folders<'_>) -> Self {
        let [repaired, store] = [folders.repaired(), folders.in_use()];
        Self::Doubtful { path: folders.0.to_owned(), repaired, store }
    }

    /// Whether the store itself is damaged, and not what it stands on.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Engine(_) | Self::Damaged { .. } | Self::Headless { .. } | Self::Logless { .. } => true,
            Self::Unreadable { .. } | Self::LogAsWell { .. } | Self::LogGivenUp { .. } => true,
            Self::Rocks { .. } | Self::NoSpace { .. } | Self::Folder { .. } => false,
            Self::Swap { .. } | Self::Doubtful { .. } => false,
        }
    }
}

fn damaged(error: RecordError) -> EngineError {
    EngineError::Io(error.to_string())
}

pub(crate) fn family<'d>(db: &'d Database, name: &str) -> Result<Arc<BoundColumnFamily<'d>>, EngineError> {
    db.cf_handle(name).ok_or_else(|| EngineError::Io(format!("column family {name} is missing")))
}

pub(crate) fn failure(error: rocksdb::Error) -> EngineError {
    if is_no_space(&error) {
        EngineError::NoSpace(error.to_string())
    } else if recovery::is_damage(&error) {
        EngineError::Damaged(error.to_string())
    } else {
        EngineError::Io(error.to_string())
    }
}

pub(crate) fn is_no_space(error: &rocksdb::Error) -> bool {
    let said = |text: &str| error.as_ref().contains(text);
    error.kind() == ErrorKind::IOError && (said("No space left") || said("quota exceeded"))
}

impl Engine for RocksEngine {
    fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes()
    }

    fn stored_bytes(&self) -> u64 {
        self.disk.stored_bytes()
    }

    fn log_was_cut(&self) -> bool {
        self.log_was_cut
    }

    fn keeps_damaged_store(&self) -> bool {
        Folders(self.disk.directory()).keep_a_damaged_one()
    }

    fn reclaim(&self, quiet: bool) -> Result<(), EngineError> {
        self.disk.keep_reserve();
        if quiet {
            self.flush()?;
        }
        if quiet || self.dead_bytes.load(Ordering::Relaxed) >= DEAD_BYTES {
            self.dead_bytes.store(0, Ordering::Relaxed);
            self.drop_dead_files()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        // The store's own records as well: one that is not written out would keep every log since.
        for name in ALL {
            self.db.flush_cf(&self.family(name)?).map_err(failure)?;
            failpoint::reach(Failpoint::Flushed);
        }
        Ok(())
    }

    fn purge(&self, begin: bool) -> Result<bool, EngineError> {
        self.purge_step(begin)
    }
}

impl BlockStore for RocksEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        ranges.iter().map(|range| self.read_range(key, range)).collect()
    }

    fn delete(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        let replaced = self.family(REPLACED)?;
        let (mut batch, mut dead_bytes) = (WriteBatch::default(), 0);
        for key in keys {
            let encoded = key.encode();
            let pages = self.db.get_cf(&replaced, &encoded).map_err(failure)?;
            let Some(pages) = pages else { continue };
            let pages = match record::decode::<u32>(REPLACED_VERSION, &pages) {
                Ok(pages) => pages,
                Err(error) => {
                    tracing::error!(block = ?key, %error, "how long a replaced block is was damaged; all of it goes");
                    self.stage_whole(&mut batch, key)?;
                    0
                }
            };
            for page in 0..pages {
                // Which of the two families it is in does not matter: a delete of nothing costs a key.
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
            keys.push(BlockKey::decode(&key).map_err(|error| EngineError::Io(error.to_string()))?);
        }
        Ok(keys)
    }
}

impl Catalog for RocksEngine {
    fn read(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        let mut rows = Vec::new();
        for row in self.db.iterator_cf(&self.family(CATALOG)?, IteratorMode::Start) {
            let (key, value) = row.map_err(failure)?;
            let key = BlockKey::decode(&key).map_err(|error| EngineError::Io(error.to_string()))?;
            rows.push((key, value.into_vec()));
        }
        Ok(rows)
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        self.stage_adds(&mut batch, change)?;
        let added: Vec<BlockId> = change.adds.iter().map(|block| block.id).collect();
        // Before their rows are there, so that no compaction takes the new index rows for old ones.
        self.live.add(&added);
        failpoint::reach(Failpoint::CommitStaged);
        let result = if change.removes.is_empty() {
            self.write(batch)
        } else {
            let _one_by_one = self.removing.lock();
            self.stage_removes(&mut batch, change).and_then(|()| self.write(batch))
        };
        failpoint::reach(Failpoint::CommitWritten);
        let gone = if result.is_ok() { &change.removes } else { &added };
        self.live.remove(gone);
        result
    }

    fn mend(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.family(CATALOG)?, key.encode(), row);
        self.write(batch)
    }
}

impl TraceIndex for RocksEngine {
    fn find(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        let prefix = TraceKey::prefix(tenant, trace);
        let mut read = ReadOptions::default();
        if let Some(end) = successor(&prefix) {
            read.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(&prefix, Direction::Forward);
        let mut found = Vec::new();
        for row in self.db.iterator_cf_opt(&self.family(INDEX)?, read, mode) {
            let (key, value) = row.map_err(failure)?;
            let damaged = |error: spandrel_block::KeyError| EngineError::Io(error.to_string());
            found.push((
                TraceKey::decode(&key).map_err(damaged)?.block,
                RowRange::decode(&value).map_err(damaged)?,
            ));
        }
        Ok(found)
    }
}

/// The first key behind all keys with a prefix.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
