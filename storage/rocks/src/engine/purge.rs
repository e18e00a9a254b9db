//! Getting rid of what was deleted, down to the last byte in any file.
//!
//! Day by day a deleted page only loses its key: its bytes stay in a blob file until everything in
//! that file is dead, and in the log until the memtables are written out. That is cheap, and enough
//! where disk space is all that matters. A purge goes further: it writes out memtables, so that the
//! logs go; merges all keys, so that no older version of a row is left; and then moves what is alive
//! out of every blob file that holds something dead. Moving goes window by window: the room it takes
//! is that of one window, and ingest and merges get their turn in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use rocksdb::{BottommostLevelCompaction, CompactOptions};
use spandrel_block::{BlockKey, CatalogRow};
use spandrel_storage::engine::{Catalog as _, Engine as _, EngineError};
use spandrel_storage::failpoint::{self, Failpoint};

use super::{RocksEngine, failure, successor};
use crate::options::{ALL, CATALOG, FRESH, SEALED};

/// How far a purge is.
#[derive(Debug, Default)]
pub(super) struct Purge {
    /// What is still to be moved.
    windows: VecDeque<Window>,
    /// Logs that were there when it began.
    logs: BTreeSet<PathBuf>,
    /// What RocksDB had failed at by then: moving says nothing of its own failures.
    failures: u64,
}

/// A window in one family.
#[derive(Debug, Clone)]
struct Window {
    family: &'static str,
    /// What its keys begin with.
    keys: Vec<u8>,
    /// Bytes of its blocks.
    bytes: u64,
}

/// Bytes in blob files that no key points at any more.
const GARBAGE: &str = "rocksdb.live-blob-file-garbage-size";
const BLOB_FILES: &str = "rocksdb.num-blob-files";
const FAILURES: &str = "rocksdb.background-errors";
/// What a log begins with before anything is written to it; a row of any block is longer.
const EMPTY_LOG: u64 = 32;
/// Blocks' pages: the families with blob files.
const PAGES: [&str; 2] = [FRESH, SEALED];

// === impl RocksEngine ===

impl RocksEngine {
    /// One step of a purge; `begin` begins anew. Returns whether it is done.
    pub(super) fn purge_step(&self, begin: bool) -> Result<bool, EngineError> {
        let mut purge = self.purge.lock();
        if begin {
            *purge = self.begin_purge()?;
            failpoint::reach(Failpoint::PurgeBegun);
        }
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
            return Ok(false);
        }
        self.is_settled(&purge.logs)
    }

    fn begin_purge(&self) -> Result<Purge, EngineError> {
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
        for (key, row) in self.read()? {
            // What does not decode is damage, and other people's business.
            let bytes = CatalogRow::decode(&row).map_or(0, |row| row.bytes);
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
        let what = "moving live data away from deleted data failed; RocksDB's LOG file says why";
        Err(EngineError::Io(what.to_owned()))
    }

    /// Moves the live pages of a window into new blob files; old ones without a live page go.
    fn move_live(&self, window: &Window, failures: u64) -> Result<(), EngineError> {
        // Both copies are there until the old files go.
        let needed = window.bytes.saturating_add(self.disk.reserve_bytes());
        if self.free_bytes().is_some_and(|free| free < needed) {
            return Err(EngineError::NoSpace(format!("{needed} bytes are needed to move a window")));
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

    /// Whether files that are no longer needed are really gone: RocksDB removes them a little later.
    fn is_settled(&self, logs: &BTreeSet<PathBuf>) -> Result<bool, EngineError> {
        // An empty log stays, to be written to.
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
        let unreadable = |error: std::io::Error| EngineError::Io(error.to_string());
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(self.db.path()).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|known| known == extension) {
                found.insert(path);
            }
        }
        Ok(found)
    }
}
