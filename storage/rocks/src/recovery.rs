//! Opening a store after a power loss, a full disk or a damaged file.
//!
//! Every acknowledged write was synced before the next one began, so a power loss can tear only the log's last group of
//! writes, which was not acknowledged. It depends on the disk which parts of that group are kept. If the end is
//! missing, RocksDB ignores the rest. If the middle is missing, that looks like damage. So damage in the log first
//! fails the strict open. Then, if nothing else is wrong, the log is truncated at the damage: the store is as it was at
//! one moment, while skipping the damage could keep a deletion without the merge that made it harmless. Truncation is
//! logged as an error, because a torn write and a flipped bit in the log look the same.
//!
//! RocksDB does not notice that the newest log file, or all of them, are missing: it opens with the content of the
//! other files, as if nothing had been written after that. Operators tidy up files that end in `.log`, so the store
//! marks its newest log file (`wal_marker.rs`) and does not open without it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{DBRecoveryMode, ErrorKind};

use crate::data_dir::DataDir;
use crate::database::{Database, is_damage, is_no_space};
use crate::error::RocksOpenError;
use crate::live_blocks::LiveBlocks;
use crate::options;
use crate::orphans::BlobFiles;
use crate::wal_marker::{self, WalMarker};

/// An empty file of this name abandons missing log files: the store opens without their content.
pub(crate) const NO_LOG: &str = "000000.log";

/// Tolerates only a torn end of the last log file.
pub(crate) const STRICT: DBRecoveryMode = DBRecoveryMode::TolerateCorruptedTailRecords;

/// An open database.
pub(crate) struct Opened {
    pub(crate) db: Database,
    pub(crate) marker: WalMarker,
    /// The log was truncated at damage, or abandoned.
    pub(crate) wal_truncated: bool,
}

/// The facts from which missing files are detected.
#[derive(Debug, Default)]
struct Files {
    has_current: bool,
    has_data: bool,
    /// The number of the newest log.
    log: Option<u64>,
    is_abandoned: bool,
    has_marker: bool,
    /// The number in the marker: this log file, or a later one, has to exist.
    marked: Option<u64>,
}

/// Fails if files are missing that RocksDB does not miss. Returns whether log files were abandoned.
pub(crate) fn admit(path: &Path) -> Result<bool, RocksOpenError> {
    let files = Files::list(path).map_err(|error| RocksOpenError::Folder { path: path.to_owned(), error })?;
    if files.lack_current() {
        return Err(RocksOpenError::MissingCurrent { path: path.to_owned() });
    }
    if files.lack_log() && !files.is_abandoned {
        let missing = files.marked.map_or_else(|| "*.log".to_owned(), wal_marker::log_name);
        return Err(RocksOpenError::MissingWal { path: path.to_owned(), missing });
    }
    Ok(files.lack_log())
}

/// Opens the database of a data directory.
pub(crate) fn open(path: &Path, data_dir: &DataDir, live: &LiveBlocks) -> Result<Opened, RocksOpenError> {
    let is_abandoned = admit(path)?;
    let open = |recovery| {
        let families = options::families(live, data_dir.reserve_bytes());
        let mut database = options::database(recovery);
        // If the log was abandoned, this makes RocksDB drop its record of the missing log files.
        database.set_track_and_verify_wals_in_manifest(!is_abandoned);
        Database::open_cf_descriptors(&database, path, families)
    };
    let blobs = BlobFiles::list(path);
    let mut opened = open(STRICT);
    // Opening may flush the content of a killed process's log, which takes space.
    if opened.as_ref().is_err_and(is_no_space) {
        data_dir.release_reserve();
        opened = open(STRICT);
    }
    let mut wal_truncated = false;
    opened
        .or_else(|error| match error.kind() {
            ErrorKind::Corruption => open(DBRecoveryMode::PointInTime).inspect(|_| {
                wal_truncated = true;
                metrics::counter!("spandrel_store_log_cut_total").increment(1);
                tracing::error!(
                    %error,
                    "the end of the write-ahead log was damaged, and was truncated. After a power loss that is \
                     harmless: it was not acknowledged. If there was none, check the disk: acknowledged spans \
                     may be missing"
                );
            }),
            _ => Err(error),
        })
        .map_err(|error| failed_to_open(path, error))
        .inspect(|db| match blobs {
            Ok(blobs) => blobs.remove_orphans(db, &options::ALL),
            Err(error) => tracing::warn!(%error, "blob files that a killed process left are not looked for"),
        })
        .map(|db| {
            let marker = WalMarker::new(path.to_owned());
            let marked = marker.keep(&db);
            match marked {
                // A full disk may have no room for the marker. The store opens all the same, since the marker is an
                // additional check.
                Err(error) => tracing::warn!(%error, "the newest log file cannot be marked"),
                // The operator abandoned the log for this start only, and the marker names the current log file. If the
                // file stayed, it would also abandon log files that go missing later.
                Ok(()) => drop(fs::remove_file(path.join(NO_LOG))),
            }
            if is_abandoned {
                tracing::error!("log files were abandoned: what they held is missing");
            }
            Opened { db, marker, wal_truncated: wal_truncated || is_abandoned }
        })
}

fn failed_to_open(path: &Path, error: rocksdb::Error) -> RocksOpenError {
    let path = path.to_owned();
    if is_no_space(&error) {
        RocksOpenError::NoSpace { path, error }
    } else if is_damage(&error) {
        RocksOpenError::Damaged { path, error }
    } else {
        RocksOpenError::Rocks { path, error }
    }
}

// === impl Files ===

impl Files {
    /// Lists a folder; one that does not exist yet has no files.
    fn list(path: &Path) -> io::Result<Self> {
        let mut files = Self { marked: wal_marker::read(path), ..Self::default() };
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries?,
        };
        for entry in entries {
            let name = PathBuf::from(entry?.file_name());
            match name.extension().and_then(OsStr::to_str) {
                Some("sst" | "blob") => files.has_data = true,
                Some("log") if name.as_os_str() == NO_LOG => files.is_abandoned = true,
                Some("log") => files.log = files.log.max(wal_marker::log_number(&name)),
                _ if name.as_os_str() == wal_marker::MARKER => files.has_marker = true,
                _ if name.as_os_str() == "CURRENT" => files.has_current = true,
                _ => {}
            }
        }
        Ok(files)
    }

    /// Whether there are data, but `CURRENT`, which RocksDB needs to find them, is missing. RocksDB would take the
    /// folder for a new store and remove the data. RocksDB creates `CURRENT` before it writes data.
    fn lack_current(&self) -> bool {
        !self.has_current && (self.has_data || self.log.is_some())
    }

    /// Whether all log files are missing, or the newest. RocksDB creates a log file before it writes data, and
    /// removes an old one only after it has created a new one.
    fn lack_log(&self) -> bool {
        (self.has_marker || self.has_data) && (self.log.is_none() || self.log < self.marked)
    }
}
