//! Purge: removes deleted data from every file, down to the last byte.
//!
//! A deletion normally removes only the key of a page. Its bytes stay in a blob file until all of that file is dead,
//! and in the log until the memtables are flushed. That is cheap, and enough for reclaiming disk space. A purge goes
//! further: it flushes memtables, so that RocksDB removes the logs; it compacts all keys, so that no older version of
//! a row is left; and then it moves live pages out of every blob file that holds a dead one. It moves one window at a
//! time, so it needs free space for one window, and ingest and merges run in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use rocksdb::{BottommostLevelCompaction, CompactOptions};
use spandrel_block::BlockKey;
use spandrel_storage::encryption::block_bytes;
use spandrel_storage::engine::{Catalog as _, Engine as _, EngineError, PurgeProgress};
use spandrel_storage::failpoint::{self, Failpoint};

use super::{RocksEngine, successor};
use crate::database::failure;
use crate::options::{ALL, CATALOG, FRESH, SEALED};

/// The state of a purge.
#[derive(Debug, Default)]
pub(super) struct Purge {
    /// Windows whose live pages are still to be moved.
    windows: VecDeque<Window>,
    /// The log files at its beginning.
    logs: BTreeSet<PathBuf>,
    /// RocksDB's count of background errors at its beginning: a compaction does not report its own.
    failures: u64,
}

/// A window in one family.
#[derive(Debug, Clone)]
struct Window {
    family: &'static str,
    /// The common prefix of its keys.
    keys: Vec<u8>,
    /// Bytes of its blocks.
    bytes: u64,
}

/// The property that counts the bytes in blob files that no key refers to.
const GARBAGE: &str = "rocksdb.live-blob-file-garbage-size";
const BLOB_FILES: &str = "rocksdb.num-blob-files";
const FAILURES: &str = "rocksdb.background-errors";
/// The size of a log file before anything is written to it. Any row is longer.
const EMPTY_LOG: u64 = 32;
/// The families with blob files.
const PAGES: [&str; 2] = [FRESH, SEALED];

// === impl RocksEngine ===

impl RocksEngine {
    /// Moves the live data of the next window whose family has dead data in blob files.
    pub(super) fn move_one_window(&self, purge: &mut Purge) -> Result<PurgeProgress, EngineError> {
        while let Some(window) = purge.windows.pop_front() {
            if self.number(window.family, GARBAGE)? == 0 {
                purge.windows.retain(|other| other.family != window.family);
                continue;
            }
            if let Err(error) = self.move_live(&window, purge.failures) {
                purge.windows.push_front(window);
                purge.failures = self.number(CATALOG, FAILURES)?;
                return Err(error);
            }
            failpoint::reach(Failpoint::PurgeMoved);
            return Ok(PurgeProgress::Pending);
        }
        Ok(if self.is_settled(&purge.logs)? { PurgeProgress::Done } else { PurgeProgress::Pending })
    }

    pub(super) fn new_purge(&self) -> Result<Purge, EngineError> {
        let failures = self.number(CATALOG, FAILURES)?;
        let logs = self.files("log")?;
        for name in ALL {
            self.db.flush_cf(&self.family(name)?).map_err(failure)?;
        }
        for name in ALL {
            self.compact(name, None, None)?;
        }
        self.check_failures(failures)?;
        let mut sizes: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (key, row) in self.catalog_rows()? {
            // A row that does not decode is damage, which a check reports.
            let bytes = block_bytes(&row).unwrap_or(0);
            *sizes.entry(key.encode_window()).or_default() += bytes;
        }
        let mut purge = Purge { logs, failures, ..Purge::default() };
        for family in PAGES {
            let mut blocks = Vec::new();
            self.blocks_of(family, &mut blocks)?;
            let here: BTreeSet<Vec<u8>> = blocks.iter().map(BlockKey::encode_window).collect();
            let window =
                |keys: Vec<u8>| Window { family, bytes: sizes.get(&keys).copied().unwrap_or(0), keys };
            purge.windows.extend(here.into_iter().map(window));
        }
        Ok(purge)
    }

    fn check_failures(&self, before: u64) -> Result<(), EngineError> {
        if self.number(CATALOG, FAILURES)? == before {
            return Ok(());
        }
        Err(EngineError::io("moving live data away from deleted data failed; RocksDB's LOG file says why"))
    }

    /// Moves the live pages of a window into new blob files, so that the old ones become dead.
    fn move_live(&self, window: &Window, failures: u64) -> Result<(), EngineError> {
        // Both copies exist until RocksDB removes the old files.
        let needed = window.bytes.saturating_add(self.data_dir.reserve_bytes());
        if self.free_bytes().is_some_and(|free| free < needed) {
            return Err(EngineError::no_space(format!("{needed} bytes are needed to move a window")));
        }
        let family = self.family(window.family)?;
        let set = |on: &str| {
            let options = [
                ("enable_blob_garbage_collection", on),
                ("blob_garbage_collection_age_cutoff", "1.0"),
                ("blob_garbage_collection_force_threshold", "1.0"),
            ];
            self.db.set_options_cf(&family, &options).map_err(failure)
        };
        set("true")?;
        let moved = self.compact(window.family, Some(window.keys.clone()), successor(&window.keys));
        set("false")?;
        moved.and_then(|()| self.check_failures(failures))
    }

    fn compact(&self, name: &str, start: Option<Vec<u8>>, end: Option<Vec<u8>>) -> Result<(), EngineError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(&self.family(name)?, start, end, &options);
        Ok(())
    }

    /// Whether RocksDB has removed the files that it no longer needs. It does so with a delay.
    fn is_settled(&self, logs: &BTreeSet<PathBuf>) -> Result<bool, EngineError> {
        // An empty log stays: RocksDB writes to it next.
        let is_empty = |log: &PathBuf| log.metadata().is_ok_and(|meta| meta.len() <= EMPTY_LOG);
        let old_logs = self.files("log")?.into_iter().filter(|log| logs.contains(log) && !is_empty(log));
        let live_tables = self.db.live_files().map_err(failure)?.len();
        let mut live_blobs = 0;
        for name in ALL {
            live_blobs += self.number(name, BLOB_FILES)?;
        }
        Ok(old_logs.count() == 0
            && self.files("sst")?.len() == live_tables
            && self.files("blob")?.len() as u64 == live_blobs)
    }

    fn number(&self, family: &str, property: &str) -> Result<u64, EngineError> {
        let number = self.db.property_int_value_cf(&self.family(family)?, property).map_err(failure)?;
        Ok(number.unwrap_or(0))
    }

    /// The files of a kind in RocksDB's directory.
    fn files(&self, extension: &str) -> Result<BTreeSet<PathBuf>, EngineError> {
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(self.db.path()).map_err(EngineError::io)? {
            let path = entry.map_err(EngineError::io)?.path();
            if path.extension().is_some_and(|known| known == extension) {
                found.insert(path);
            }
        }
        Ok(found)
    }
}
