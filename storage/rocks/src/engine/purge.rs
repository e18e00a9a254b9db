//! Getting rid of what was deleted, down to the last byte in any file.
//!
//! Day by day a deleted page only loses its key: its bytes stay in a blob file until everything in
//! that file is dead, and in the log until the memtables are written out. That is cheap, and enough
//! where disk space is all that matters. A purge goes further: it writes out memtables, so that the
//! logs go; merges all keys, so that no older version of a row is left; and then moves what is alive
//! out of every blob file that holds something dead. Moving goes window by window: the room it takes
//! is that of one window, and ingest and merges get their turn in between.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

use rocksdb::{BottommostLevelCompaction, CompactOptions, DEFAULT_COLUMN_FAMILY_NAME};
use spandrel_block::BlockKey;
use spandrel_storage::engine::EngineError;

use super::{RocksEngine, failure, successor};
use crate::options::{CATALOG, FRESH, INDEX, REPLACED, SEALED};

/// How far a purge is.
#[derive(Debug, Default)]
pub(super) struct Purge {
    /// What is still to be moved: the keys of a window in one family.
    windows: VecDeque<(&'static str, Vec<u8>)>,
    /// Logs that were there when it began.
    logs: BTreeSet<PathBuf>,
}

/// Bytes in blob files that no key points at any more.
const GARBAGE: &str = "rocksdb.live-blob-file-garbage-size";
const BLOB_FILES: &str = "rocksdb.num-blob-files";
const ALL: [&str; 6] = [FRESH, SEALED, CATALOG, INDEX, REPLACED, DEFAULT_COLUMN_FAMILY_NAME];
/// Blocks' pages: the families with blob files.
const PAGES: [&str; 2] = [FRESH, SEALED];

// === impl RocksEngine ===

impl RocksEngine {
    /// One step of a purge; `begin` begins anew. Returns whether it is done.
    pub(super) fn purge_step(&self, begin: bool) -> Result<bool, EngineError> {
        let mut purge = self.purge.lock();
        if begin {
            *purge = self.begin_purge()?;
        }
        while let Some((family, window)) = purge.windows.pop_front() {
            if self.number(family, GARBAGE)? > 0 {
                self.move_live(family, &window)?;
                return Ok(false);
            }
        }
        self.is_settled(&purge.logs)
    }

    fn begin_purge(&self) -> Result<Purge, EngineError> {
        let mut purge = Purge { logs: self.files("log")?, ..Purge::default() };
        for name in ALL {
            self.db.flush_cf(&self.family(name)?).map_err(failure)?;
        }
        for name in ALL {
            self.compact(name, None, None)?;
        }
        for name in PAGES {
            let mut blocks = Vec::new();
            self.blocks_of(name, &mut blocks)?;
            let windows: BTreeSet<Vec<u8>> = blocks.iter().map(BlockKey::encode_window).collect();
            purge.windows.extend(windows.into_iter().map(|window| (name, window)));
        }
        Ok(purge)
    }

    /// Moves the live pages of a window into new blob files; old ones without a live page go.
    fn move_live(&self, name: &'static str, window: &[u8]) -> Result<(), EngineError> {
        let family = self.family(name)?;
        let set = |on: &str| {
            let options = [
                ("enable_blob_garbage_collection", on),
                ("blob_garbage_collection_age_cutoff", "1.0"),
                ("blob_garbage_collection_force_threshold", "1.0"),
            ];
            self.db.set_options_cf(&family, &options).map_err(failure)
        };
        set("true")?;
        let moved = self.compact(name, Some(window.to_vec()), successor(window));
        set("false")?;
        moved
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
        let is_empty = |log: &PathBuf| log.metadata().is_ok_and(|meta| meta.len() == 0);
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
