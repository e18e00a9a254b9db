//! The marker file `HAS-LOG`, which records that a store has a write-ahead log, and the number of its newest file.
//!
//! RocksDB records the log files that it has closed, and notices if one is missing. It does not record the file that it
//! is writing to: without that file it opens as if nothing had been written after the others. The marker records its
//! number before anything in it is acknowledged. `recovery.rs` decides what happens when a log file is missing.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rocksdb::properties::CURRENT_SUPER_VERSION_NUMBER;
use spandrel_storage::failpoint::{self, Failpoint};

use crate::database::Database;
use crate::options;

/// The name of the marker file. Its text explains itself to an operator who finds it.
pub(crate) const MARKER: &str = "HAS-LOG";
const UNFINISHED: &str = "HAS-LOG.tmp";
const TEXT: &str = "\
    This store has a write-ahead log: files whose names end in .log. They hold acknowledged spans, and without\n\
    them the store does not open. The newest of them, or a later one, has to be there:\n";

/// The marker of an open store.
pub(crate) struct WalMarker {
    folder: PathBuf,
    /// The state of the database, as [`state`] counts it, for which the marker was last checked; zero at first.
    right_for: AtomicU64,
    /// The number in the file.
    noted: Mutex<u64>,
}

/// The number of a log file, from its name. Zero is the file by which an operator abandons a log.
pub(crate) fn log_number(name: &Path) -> Option<u64> {
    let is_log = name.extension().is_some_and(|extension| extension == "log");
    name.file_stem()?.to_str()?.parse().ok().filter(|_| is_log)
}

/// The name of a file of the log.
pub(crate) fn log_name(number: u64) -> String {
    format!("{number:06}.log")
}

/// The number in a marker. Markers of older versions have none, and one that cannot be read has none either; both show
/// only that there is a log.
pub(crate) fn read(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join(MARKER)).ok()?;
    log_number(Path::new(text.lines().last()?))
}

/// A number that changes whenever RocksDB switches a memtable, and with it perhaps the log file.
fn state(db: &Database) -> u64 {
    let versions = options::ALL.iter().filter_map(|name| {
        let family = db.cf_handle(name)?;
        db.property_int_value_cf(&family, CURRENT_SUPER_VERSION_NUMBER).ok().flatten()
    });
    versions.sum()
}

// === impl WalMarker ===

impl WalMarker {
    /// Creates the marker of the store in a folder. Nothing is recorded yet.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, right_for: AtomicU64::new(0), noted: Mutex::new(0) }
    }

    /// Records the newest log file if it has changed. Called after every write and before the write is acknowledged.
    /// Lists the folder only when RocksDB has changed its files.
    pub(crate) fn keep(&self, db: &Database) -> io::Result<()> {
        let state = state(db);
        if self.right_for.load(Ordering::Acquire) == state {
            return Ok(());
        }
        let mut noted = self.noted.lock();
        // The state was read before the folder, so the next call notices later changes.
        let newest = self.newest()?;
        if newest != *noted {
            failpoint::reach(Failpoint::LogSwitched);
            self.write(newest)?;
            *noted = newest;
            failpoint::reach(Failpoint::LogNoted);
        }
        self.right_for.store(state, Ordering::Release);
        Ok(())
    }

    fn newest(&self) -> io::Result<u64> {
        let mut newest = 0;
        for entry in fs::read_dir(&self.folder)? {
            newest = newest.max(log_number(Path::new(&entry?.file_name())).unwrap_or(0));
        }
        Ok(newest)
    }

    /// Syncs the folder before the marker is written, so that no power loss leaves a marker without its log file.
    fn write(&self, newest: u64) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()?;
        let unfinished = self.folder.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(format!("{TEXT}{}\n", log_name(newest)).as_bytes())?;
        file.sync_all()?;
        fs::rename(unfinished, self.folder.join(MARKER))?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_gives_its_number_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None, "there is none");
        for number in [7, 1_234_567] {
            WalMarker::new(folder.path().to_owned()).write(number).unwrap();
            assert_eq!(read(folder.path()), Some(number));
            assert!(!folder.path().join(UNFINISHED).exists());
        }
        // Text of an older version, and bytes that a damaged disk may return.
        for text in [&b"This store has a write-ahead log"[..], b"", b"\xff\xfe", b"x\n00.log.log\n", b"12\n"]
        {
            fs::write(folder.path().join(MARKER), text).unwrap();
            assert_eq!(read(folder.path()), None, "{text:?}");
        }
    }

    #[test]
    fn only_files_of_the_log_have_numbers() {
        let numbers = ["000012.log", "000000.log", "000012.sst", "LOG", "a.log", ".log", "1234567.log"]
            .map(|name| log_number(Path::new(name)));
        assert_eq!(numbers, [Some(12), Some(0), None, None, None, None, Some(1_234_567)]);
        assert_eq!(log_number(Path::new(&log_name(12))), Some(12));
    }
}
